/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A coordinator that orders and a tunnel-agent that obeys, and the faults that the cli sets at both. */
#ifndef VPNSIP_TESTS_BUS_INJECT_SCENE_H
#define VPNSIP_TESTS_BUS_INJECT_SCENE_H

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include "bus_fixture.h"
#include "sp_client.h"

#include "bus/internal.h"

/** How long nothing may come before nothing is believed to come. */
#define QUIET_MSEC 100
/** Until an order whose message is lost is given up. */
#define LOST_MSEC  800
/** Of a message that is delayed: another one overtakes it, however busy the machine. */
#define DELAY_MSEC 1000
/** For what must come. A limit, not a measure: it is reached only when the test fails. */
#define LIMIT_MSEC 20000

#define POINT(name)  VPNSIP__FAULT_POINT__##name
#define ACTION(name) VPNSIP__FAULT_ACTION__FAULT_##name

/** A coordinator that orders and a tunnel-agent that obeys; both allow faults. The cli sets them. */
struct scene {
	struct fixture *fixture;
	struct bus *coordinator, *tunnel, *cli;
	char executed[32], replied[32],
		seen[32];  /* the letters of the orders and events, as they came */
	char last[2];      /* seen */
	unsigned ended;    /* calls with an outcome */
	unsigned expected; /* of them, or of the letters seen */
	int is_set;
	bool is_answered;
	enum bus_outcome outcomes['d'];
	Vpnsip__FaultStatus status; /* of the first fault; its texts are not there */
	char cause[128];
};

static inline void append(char *list, const char *letter)
{
	if (strlen(list) < 31)
		snprintf(list + strlen(list), 2, "%s", letter);
}

static inline void on_order(void *context, struct bus_request *request,
                            const Vpnsip__Envelope *order)
{
	struct scene *scene = context;

	append(scene->executed, order->check_tunnel->tunnel);
	bus_done(request);
}

static inline void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct scene *scene = context;

	append(scene->seen, event->tunnel_changed->tunnel);
	snprintf(scene->last, sizeof(scene->last), "%s", event->tunnel_changed->tunnel);
}

static const struct bus_handlers tunnel_handlers = {.request = on_order};
static const struct bus_handlers coordinator_handlers = {.event = on_event};
static const struct bus_handlers no_handlers;

static inline bool is_complete(void *context)
{
	const struct scene *scene = context;

	return bus_peer_health(scene->coordinator, TUNNEL_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP &&
	       peers_are_complete(scene->cli);
}

static inline void publish(struct scene *scene, const char *letter)
{
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;

	fact.tunnel = (char *)letter;
	bus_publish(scene->tunnel, letter, &fact.base);
}

static inline void reset(struct scene *scene)
{
	scene->executed[0] = scene->replied[0] = scene->seen[0] = scene->last[0] = '\0';
	scene->ended = 0;
}

static inline bool has_seen_the_last(void *context)
{
	return strchr(((const struct scene *)context)->last, 'z') != NULL;
}

static inline void open_scene(struct scene *scene, struct fixture *fixture)
{
	memset(scene, 0, sizeof(*scene));
	scene->fixture = fixture;
	scene->tunnel = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                            .handlers = &tunnel_handlers,
	                                                            .allows_faults = true,
	                                                            .context = scene});
	scene->coordinator =
		open_bus_with(fixture, (struct bus_options){.self = COORDINATOR,
	                                                    .handlers = &coordinator_handlers,
	                                                    .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                    .allows_faults = true,
	                                                    .context = scene});
	scene->cli = open_bus_with(
		fixture,
		(struct bus_options){.self = CLI,
	                             .calls = BUS_SERVICE(TUNNEL_AGENT) | BUS_SERVICE(COORDINATOR),
	                             .handlers = &no_handlers});
	assert_true(run_until(fixture->base, LIMIT_MSEC, is_complete, scene));
	/* An onlooker is up as soon as it is connected, which the publisher may not know yet. */
	for (int i = 0; i < LIMIT_MSEC / 10 && scene->seen[0] == '\0'; i++) {
		publish(scene, "x");
		run_until(fixture->base, 10, NULL, NULL);
	}
	assert_true(scene->seen[0] != '\0');
	publish(scene, "z");
	assert_true(run_until(fixture->base, LIMIT_MSEC, has_seen_the_last, scene));
	reset(scene);
}

static inline void close_scene(struct scene *scene)
{
	bus_close(scene->cli);
	bus_close(scene->coordinator);
	bus_close(scene->tunnel);
}

static inline void on_set(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct scene *scene = context;

	scene->is_set = 1;
	scene->is_answered = outcome == BUS_DONE || outcome == BUS_FAILED;
	snprintf(scene->cause, sizeof(scene->cause), "%s", bus_cause(reply));
	if (outcome == BUS_DONE && reply->body_case == VPNSIP__ENVELOPE__BODY_FAULT_LIST &&
	    reply->fault_list->n_faults > 0)
		scene->status = *reply->fault_list->faults[0];
}

/**
 * These orders may be given twice. A connection may end before the answer: on a busy machine a service that has just been
 * started takes its own listener for deaf, and replaces it.
 */
static inline void operate(struct scene *scene, Vpnsip__Service where,
                           const ProtobufCMessage *order)
{
	scene->is_answered = false;
	for (int i = 0; i < 10 && !scene->is_answered; i++) {
		scene->is_set = 0;
		bus_call(scene->cli, where, NULL, order, LIMIT_MSEC, on_set, scene);
		assert_true(
			run_until(scene->fixture->base, 2 * LIMIT_MSEC, is_set, &scene->is_set));
	}
}

static inline void set_fault(struct scene *scene, Vpnsip__Service where, Vpnsip__SetFault fault)
{
	operate(scene, where, &fault.base);
	assert_string_equal(scene->cause, "");
}

static inline void clear_faults(struct scene *scene, Vpnsip__Service where)
{
	Vpnsip__ClearFaults clear = VPNSIP__CLEAR_FAULTS__INIT;

	operate(scene, where, &clear.base);
}

static inline Vpnsip__SetFault fault_of(Vpnsip__FaultPoint point, Vpnsip__FaultAction action,
                                        const char *message)
{
	Vpnsip__SetFault fault = VPNSIP__SET_FAULT__INIT;

	fault.point = point;
	fault.action = action;
	fault.message = (char *)message;
	fault.delay_msec = action == ACTION(DELAY) ? DELAY_MSEC : 0;
	fault.count = 1;
	fault.seed = 4711;
	return fault;
}

struct labelled {
	struct scene *scene;
	char letter[2];
};

static inline void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct labelled *labelled = context;
	struct scene *scene = labelled->scene;

	(void)reply;
	scene->ended++;
	scene->outcomes[(int)labelled->letter[0]] = outcome;
	if (outcome == BUS_DONE)
		append(scene->replied, labelled->letter);
	free(labelled);
}

static inline void order(struct scene *scene, char letter, unsigned timeout_msec)
{
	struct labelled *labelled = calloc(1, sizeof(*labelled));
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;

	*labelled = (struct labelled){scene, {letter}};
	check.tunnel = labelled->letter;
	bus_call(scene->coordinator, TUNNEL_AGENT, labelled->letter, &check.base, timeout_msec,
	         on_reply, labelled);
}

static inline bool all_ended(void *context)
{
	const struct scene *scene = context;

	return scene->ended >= scene->expected;
}

static inline void await_ended(struct scene *scene, unsigned count)
{
	scene->expected = count;
	assert_true(run_until(scene->fixture->base, LIMIT_MSEC, all_ended, scene));
}

static inline bool all_seen(void *context)
{
	const struct scene *scene = context;

	return strlen(scene->seen) >= scene->expected;
}

/** And no more than these. */
static inline void await_seen(struct scene *scene, size_t count)
{
	scene->expected = (unsigned)count;
	assert_true(run_until(scene->fixture->base, LIMIT_MSEC, all_seen, scene));
	run_until(scene->fixture->base, QUIET_MSEC, NULL, NULL);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

#endif
