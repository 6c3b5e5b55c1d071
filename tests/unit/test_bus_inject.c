/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Faults on order: each action at each point. A process that is to be stopped or killed is this program started again,
 * with the run directory as its argument.
 */
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

static void append(char *list, const char *letter)
{
	if (strlen(list) < 31)
		snprintf(list + strlen(list), 2, "%s", letter);
}

static void on_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct scene *scene = context;

	append(scene->executed, order->check_tunnel->tunnel);
	bus_done(request);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct scene *scene = context;

	append(scene->seen, event->tunnel_changed->tunnel);
	snprintf(scene->last, sizeof(scene->last), "%s", event->tunnel_changed->tunnel);
}

static const struct bus_handlers tunnel_handlers = {.request = on_order};
static const struct bus_handlers coordinator_handlers = {.event = on_event};
static const struct bus_handlers no_handlers;

static bool is_complete(void *context)
{
	const struct scene *scene = context;

	return bus_peer_health(scene->coordinator, TUNNEL_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP &&
	       peers_are_complete(scene->cli);
}

static void publish(struct scene *scene, const char *letter)
{
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;

	fact.tunnel = (char *)letter;
	bus_publish(scene->tunnel, letter, &fact.base);
}

static void reset(struct scene *scene)
{
	scene->executed[0] = scene->replied[0] = scene->seen[0] = scene->last[0] = '\0';
	scene->ended = 0;
}

static bool has_seen_the_last(void *context)
{
	return strchr(((const struct scene *)context)->last, 'z') != NULL;
}

static void open_scene(struct scene *scene, struct fixture *fixture)
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

static void close_scene(struct scene *scene)
{
	bus_close(scene->cli);
	bus_close(scene->coordinator);
	bus_close(scene->tunnel);
}

static void on_set(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
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
static void operate(struct scene *scene, Vpnsip__Service where, const ProtobufCMessage *order)
{
	scene->is_answered = false;
	for (int i = 0; i < 10 && !scene->is_answered; i++) {
		scene->is_set = 0;
		bus_call(scene->cli, where, NULL, order, LIMIT_MSEC, on_set, scene);
		assert_true(
			run_until(scene->fixture->base, 2 * LIMIT_MSEC, is_set, &scene->is_set));
	}
}

static void set_fault(struct scene *scene, Vpnsip__Service where, Vpnsip__SetFault fault)
{
	operate(scene, where, &fault.base);
	assert_string_equal(scene->cause, "");
}

static void clear_faults(struct scene *scene, Vpnsip__Service where)
{
	Vpnsip__ClearFaults clear = VPNSIP__CLEAR_FAULTS__INIT;

	operate(scene, where, &clear.base);
}

static Vpnsip__SetFault fault_of(Vpnsip__FaultPoint point, Vpnsip__FaultAction action,
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

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
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

static void order(struct scene *scene, char letter, unsigned timeout_msec)
{
	struct labelled *labelled = calloc(1, sizeof(*labelled));
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;

	*labelled = (struct labelled){scene, {letter}};
	check.tunnel = labelled->letter;
	bus_call(scene->coordinator, TUNNEL_AGENT, labelled->letter, &check.base, timeout_msec,
	         on_reply, labelled);
}

static bool all_ended(void *context)
{
	const struct scene *scene = context;

	return scene->ended >= scene->expected;
}

static void await_ended(struct scene *scene, unsigned count)
{
	scene->expected = count;
	assert_true(run_until(scene->fixture->base, LIMIT_MSEC, all_ended, scene));
}

static bool all_seen(void *context)
{
	const struct scene *scene = context;

	return strlen(scene->seen) >= scene->expected;
}

/** And no more than these. */
static void await_seen(struct scene *scene, size_t count)
{
	scene->expected = (unsigned)count;
	assert_true(run_until(scene->fixture->base, LIMIT_MSEC, all_seen, scene));
	run_until(scene->fixture->base, QUIET_MSEC, NULL, NULL);
}

struct order_case {
	Vpnsip__FaultPoint point;
	Vpnsip__FaultAction action;
	Vpnsip__Service where;
	const char *executed, *replied;
	bool is_repeated; /* the receiver saw one twice */
};

/* Of the orders a and b, sent one after the other, the first is hit. */
static const struct order_case order_cases[] = {
	{POINT(SEND_REQUEST), ACTION(DROP), COORDINATOR, "b", "b", false},
	{POINT(SEND_REQUEST), ACTION(DELAY), COORDINATOR, "ba", "ba", false},
	{POINT(SEND_REQUEST), ACTION(DUPLICATE), COORDINATOR, "ab", "ab", true},
	{POINT(SEND_REQUEST), ACTION(REORDER), COORDINATOR, "ba", "ba", false},
	{POINT(BEFORE_HANDLER), ACTION(DROP), TUNNEL_AGENT, "b", "b", false},
	{POINT(BEFORE_HANDLER), ACTION(DELAY), TUNNEL_AGENT, "ba", "ba", false},
	{POINT(BEFORE_HANDLER), ACTION(DUPLICATE), TUNNEL_AGENT, "ab", "ab", true},
	{POINT(BEFORE_HANDLER), ACTION(REORDER), TUNNEL_AGENT, "ba", "ba", false},
	{POINT(AFTER_EFFECT), ACTION(DROP), TUNNEL_AGENT, "ab", "b", false},
	{POINT(AFTER_EFFECT), ACTION(DELAY), TUNNEL_AGENT, "ab", "ba", false},
	{POINT(AFTER_EFFECT), ACTION(DUPLICATE), TUNNEL_AGENT, "ab", "ab", false},
	{POINT(AFTER_EFFECT), ACTION(REORDER), TUNNEL_AGENT, "ab", "ba", false},
	{POINT(SEND_REPLY), ACTION(DROP), TUNNEL_AGENT, "ab", "b", false},
	{POINT(SEND_REPLY), ACTION(DELAY), TUNNEL_AGENT, "ab", "ba", false},
	{POINT(SEND_REPLY), ACTION(DUPLICATE), TUNNEL_AGENT, "ab", "ab", false},
	{POINT(SEND_REPLY), ACTION(REORDER), TUNNEL_AGENT, "ab", "ba", false},
	{POINT(RECEIVE_REPLY), ACTION(DROP), COORDINATOR, "ab", "b", false},
	{POINT(RECEIVE_REPLY), ACTION(DELAY), COORDINATOR, "ab", "ba", false},
	{POINT(RECEIVE_REPLY), ACTION(DUPLICATE), COORDINATOR, "ab", "ab", false},
	{POINT(RECEIVE_REPLY), ACTION(REORDER), COORDINATOR, "ab", "ba", false},
};

struct first_order {
	const struct scene *scene;
	const struct order_case *row;
	uint64_t injected;
};

/** The first has been hit, and has come as far as it shall before the second. */
static bool is_hit(void *context)
{
	const struct first_order *first = context;
	const struct scene *scene = first->scene;
	struct bus *bus = first->row->where == COORDINATOR ? scene->coordinator : scene->tunnel;

	return faults_injected(bus->faults) > first->injected &&
	       (first->row->executed[0] == 'b' || scene->executed[0] == 'a') &&
	       (first->row->replied[0] == 'b' || scene->replied[0] == 'a');
}

/** Calls have no order among themselves: these follow each other only where the first has waited for the second. */
static void assert_letters(const char *letters, const char *expected, bool is_ordered)
{
	assert_int_equal(strlen(letters), strlen(expected));
	for (const char *letter = expected; *letter != '\0'; letter++)
		assert_non_null(strchr(letters, *letter));
	if (is_ordered)
		assert_string_equal(letters, expected);
}

static void check_order_case(struct scene *scene, const struct order_case *row)
{
	const bool is_reordered = row->action == ACTION(REORDER);

	print_message("point %d action %d: executed %s, replied %s\n", row->point, row->action,
	              scene->executed, scene->replied);
	assert_letters(scene->executed, row->executed,
	               !is_reordered || row->point != POINT(SEND_REQUEST));
	assert_letters(scene->replied, row->replied,
	               !is_reordered || row->point == POINT(RECEIVE_REPLY));
	assert_int_equal(scene->outcomes['b'], BUS_DONE);
	assert_int_equal(scene->outcomes['a'],
	                 strchr(row->replied, 'a') != NULL ? BUS_DONE : BUS_TIMED_OUT);
}

static void run_order_case(struct scene *scene, const struct order_case *row)
{
	struct event_base *base = scene->fixture->base;
	const uint64_t *repeated = &scene->tunnel->counters.repeated_requests;
	struct expected_count expected = {repeated, *repeated + row->is_repeated};
	struct bus *bus = row->where == COORDINATOR ? scene->coordinator : scene->tunnel;
	struct first_order first = {scene, row, faults_injected(bus->faults)};

	reset(scene);
	set_fault(scene, row->where, fault_of(row->point, row->action, "CheckTunnel"));
	order(scene, 'a', strchr(row->replied, 'a') != NULL ? LIMIT_MSEC : LOST_MSEC);
	assert_true(run_until(base, LIMIT_MSEC, is_hit, &first));
	/* What shall come behind the second has not come before it was sent. */
	assert_true(row->executed[0] == 'a' || scene->executed[0] == '\0');
	assert_true(row->replied[0] == 'a' || scene->replied[0] == '\0');
	order(scene, 'b', LIMIT_MSEC);
	await_ended(scene, 2);
	assert_true(run_until(base, LIMIT_MSEC, is_counted, &expected));
	run_until(base, QUIET_MSEC, NULL, NULL);
	check_order_case(scene, row);
	assert_int_equal(*repeated, expected.count);
	assert_int_equal(faults_injected(bus->faults), first.injected + 1);
	clear_faults(scene, row->where);
}

static void each_action_at_each_point_of_an_order(void **state)
{
	struct scene scene;

	open_scene(&scene, *state);
	for (size_t i = 0; i < sizeof(order_cases) / sizeof(*order_cases); i++)
		run_order_case(&scene, &order_cases[i]);
	close_scene(&scene);
}

struct event_case {
	Vpnsip__FaultAction action;
	const char *seen;
};

static void each_action_at_each_point_of_an_event(void **state)
{
	static const struct event_case cases[] = {{ACTION(DROP), "b"},
	                                          {ACTION(DELAY), "ba"},
	                                          {ACTION(DUPLICATE), "aab"},
	                                          {ACTION(REORDER), "ba"}};
	const Vpnsip__FaultPoint points[] = {POINT(SEND_EVENT), POINT(RECEIVE_EVENT)};
	struct scene scene;

	open_scene(&scene, *state);
	for (size_t i = 0; i < 8; i++) {
		const struct event_case *row = &cases[i % 4];
		const Vpnsip__FaultPoint point = points[i / 4];
		const Vpnsip__Service where = point == POINT(SEND_EVENT) ? TUNNEL_AGENT
		                                                         : COORDINATOR;

		reset(&scene);
		set_fault(&scene, where, fault_of(point, row->action, "TunnelChanged"));
		publish(&scene, "a");
		publish(&scene, "b");
		await_seen(&scene, strlen(row->seen));
		print_message("point %d action %d: seen %s\n", point, row->action, scene.seen);
		assert_string_equal(scene.seen, row->seen);
		clear_faults(&scene, where);
	}
	close_scene(&scene);
}

/** Changed octets reach the parser at every point, and nobody falls. */
static void changed_octets_are_survived(void **state)
{
	const struct {
		Vpnsip__FaultPoint point;
		Vpnsip__Service where;
	} points[] = {{POINT(SEND_REQUEST), COORDINATOR},  {POINT(BEFORE_HANDLER), TUNNEL_AGENT},
	              {POINT(AFTER_EFFECT), TUNNEL_AGENT}, {POINT(SEND_REPLY), TUNNEL_AGENT},
	              {POINT(RECEIVE_REPLY), COORDINATOR}, {POINT(SEND_EVENT), TUNNEL_AGENT},
	              {POINT(RECEIVE_EVENT), COORDINATOR}};
	struct scene scene;
	uint64_t unreadable;

	open_scene(&scene, *state);
	for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++) {
		Vpnsip__SetFault fault = fault_of(points[i].point, ACTION(CORRUPT), "");

		fault.count = 0;
		set_fault(&scene, points[i].where, fault);
		reset(&scene);
		for (int n = 0; n < 60; n++) {
			order(&scene, 'c', LOST_MSEC);
			publish(&scene, "c");
			run_until(scene.fixture->base, 2, NULL, NULL);
		}
		await_ended(&scene, 60);
		clear_faults(&scene, points[i].where);
	}
	unreadable = scene.tunnel->counters.undecodable_messages +
	             scene.tunnel->counters.refused_messages;
	assert_true(unreadable > 0);
	assert_true(scene.coordinator->counters.undecodable_messages > 0);
	reset(&scene);
	order(&scene, 'a', LIMIT_MSEC);
	order(&scene, 'b', LIMIT_MSEC);
	await_ended(&scene, 2);
	assert_int_equal(strlen(scene.replied), 2);
	close_scene(&scene);
}

static void a_fault_skips_counts_and_has_its_chance(void **state)
{
	Vpnsip__GetFaults get = VPNSIP__GET_FAULTS__INIT;
	Vpnsip__SetFault fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "TunnelChanged");
	uint64_t injected;
	char before[32];
	struct scene scene;

	open_scene(&scene, *state);
	fault.skip = 1;
	fault.count = 2;
	set_fault(&scene, TUNNEL_AGENT, fault);
	for (const char *letter = "a\0b\0c\0d\0e\0"; *letter != '\0'; letter += 2)
		publish(&scene, letter);
	await_seen(&scene, 3);
	assert_string_equal(scene.seen, "ade");

	/* Another session, and another message, are let through. */
	fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "TunnelChanged");
	fault.session = "b";
	clear_faults(&scene, TUNNEL_AGENT);
	set_fault(&scene, TUNNEL_AGENT, fault);
	reset(&scene);
	publish(&scene, "a");
	publish(&scene, "b");
	await_seen(&scene, 1);
	assert_string_equal(scene.seen, "a");

	/* The same seed, the same faults. */
	clear_faults(&scene, TUNNEL_AGENT);
	fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "TunnelChanged");
	fault.count = 0;
	fault.probability_permille = 500;
	for (int round = 0; round < 2; round++) {
		reset(&scene);
		set_fault(&scene, TUNNEL_AGENT, fault);
		injected = faults_injected(scene.tunnel->faults);
		for (char letter[2] = "a"; letter[0] <= 'z'; letter[0]++)
			publish(&scene, letter);
		await_seen(&scene, 26 - (faults_injected(scene.tunnel->faults) - injected));
		assert_in_range(strlen(scene.seen), 5, 21);
		if (round == 1)
			assert_string_equal(scene.seen, before);
		snprintf(before, sizeof(before), "%s", scene.seen);
	}
	operate(&scene, TUNNEL_AGENT, &get.base);
	assert_int_equal(scene.status.matched, 26);
	assert_int_equal(scene.status.injected, 26 - strlen(scene.seen));
	close_scene(&scene);
}

struct expected_hits {
	struct bus *bus;
	uint64_t count;
};

static bool are_hit(void *context)
{
	const struct expected_hits *expected = context;

	return faults_injected(expected->bus->faults) >= expected->count;
}

static void heartbeats_and_steering_are_hit_only_by_name(void **state)
{
	struct expected_hits expected;
	Vpnsip__GetFaults get = VPNSIP__GET_FAULTS__INIT;
	Vpnsip__SetFault fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "");
	struct scene scene;

	open_scene(&scene, *state);
	fault.count = 0;
	set_fault(&scene, TUNNEL_AGENT, fault);
	fault.point = POINT(BEFORE_HANDLER);
	set_fault(&scene, TUNNEL_AGENT, fault);
	run_until(scene.fixture->base, 1200, NULL, NULL);
	operate(&scene, TUNNEL_AGENT, &get.base);
	assert_int_equal(scene.status.matched, 0);
	clear_faults(&scene, TUNNEL_AGENT);
	fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "Heartbeat");
	expected = (struct expected_hits){scene.tunnel, faults_injected(scene.tunnel->faults) + 1};
	set_fault(&scene, TUNNEL_AGENT, fault);
	assert_true(run_until(scene.fixture->base, LIMIT_MSEC, are_hit, &expected));
	operate(&scene, TUNNEL_AGENT, &get.base);
	assert_int_equal(scene.status.injected, 1);
	close_scene(&scene);
}

static void faults_are_refused_where_they_are_not_allowed(void **state)
{
	struct fixture *fixture = *state;
	struct scene scene = {.fixture = fixture};
	Vpnsip__SetFault fault = fault_of(POINT(SEND_EVENT), ACTION(KILL), "");

	scene.tunnel = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                           .handlers = &tunnel_handlers,
	                                                           .context = &scene});
	scene.cli = open_bus_with(fixture, (struct bus_options){.self = CLI,
	                                                        .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                        .handlers = &no_handlers});
	operate(&scene, TUNNEL_AGENT, &fault.base);
	assert_string_equal(scene.cause, "it was not started with --allow-faults");
	publish(&scene, "a");
	bus_fault_point(scene.tunnel, "nowhere");
	bus_close(scene.cli);
	bus_close(scene.tunnel);
}

static void a_fault_that_makes_no_sense_is_refused(void **state)
{
	struct scene scene;
	Vpnsip__SetFault fault;

	open_scene(&scene, *state);
	fault = fault_of(POINT(SEND_EVENT), ACTION(DROP), "TunnelsChanged");
	operate(&scene, TUNNEL_AGENT, &fault.base);
	assert_string_equal(scene.cause, "no such fault: there is no such message");
	fault = fault_of(POINT(NAMED_POINT), ACTION(DROP), "x");
	operate(&scene, TUNNEL_AGENT, &fault.base);
	assert_non_null(strstr(scene.cause, "named point"));
	fault = fault_of(POINT(SEND_EVENT), ACTION(DELAY), "");
	fault.delay_msec = 0;
	operate(&scene, TUNNEL_AGENT, &fault.base);
	assert_non_null(strstr(scene.cause, "a delay is"));
	close_scene(&scene);
}

struct awaited_reply {
	int fd;
	Vpnsip__Envelope *reply;
};

static bool has_replied(void *context)
{
	struct awaited_reply *awaited = context;

	if (awaited->reply == NULL)
		awaited->reply = sp_receive_reply(awaited->fd);
	return awaited->reply != NULL;
}

/** The reply to the first order is lost; the order comes again. */
static void check_kept_reply(struct scene *scene, Vpnsip__FaultPoint point, const char *executed)
{
	Vpnsip__Envelope envelope = VPNSIP__ENVELOPE__INIT;
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	struct event_base *base = scene->fixture->base;
	struct expected_hits hits = {scene->tunnel, faults_injected(scene->tunnel->faults) + 1};
	struct awaited_reply awaited = {0};

	envelope.kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope.source = COORDINATOR;
	envelope.epoch = 4711;
	envelope.request_id = (uint64_t)point;
	envelope.body_case = VPNSIP__ENVELOPE__BODY_CHECK_TUNNEL;
	envelope.check_tunnel = &check;
	check.tunnel = "a";
	set_fault(scene, TUNNEL_AGENT, fault_of(point, ACTION(DROP), "CheckTunnel"));
	reset(scene);
	awaited.fd = sp_connect(scene->fixture->run_directory, "tunnel-agent", "requests.sock",
	                        SP_REQ);
	sp_send_envelope(awaited.fd, &envelope);
	assert_true(run_until(base, LIMIT_MSEC, are_hit, &hits));
	sp_send_envelope(awaited.fd, &envelope);
	assert_true(run_until(base, LIMIT_MSEC, has_replied, &awaited));
	assert_int_equal(awaited.reply->body_case, VPNSIP__ENVELOPE__BODY_DONE);
	bus_free_envelope(awaited.reply);
	assert_string_equal(scene->executed, executed);
	close(awaited.fd);
}

/** A reply that is lost after the effect is not kept: the order is carried out again. One lost on its way is kept. */
static void only_a_reply_that_was_given_is_kept(void **state)
{
	struct scene scene;

	open_scene(&scene, *state);
	check_kept_reply(&scene, POINT(AFTER_EFFECT), "aa");
	check_kept_reply(&scene, POINT(SEND_REPLY), "a");
	close_scene(&scene);
}

/* The process that is stopped and killed: a tunnel-agent that does all there is to do. */

struct victim {
	struct bus *bus;
	char effect[128]; /* a file: an order was carried out */
	char permit[128]; /* a file: it may begin, by itself */
};

static void create(const char *path)
{
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
}

static void on_victims_order(void *context, struct bus_request *request,
                             const Vpnsip__Envelope *order)
{
	struct victim *victim = context;

	(void)order;
	create(victim->effect);
	bus_done(request);
}

static void on_victims_turn(evutil_socket_t fd, short what, void *context)
{
	struct victim *victim = context;
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;
	Vpnsip__ReportSaLimit report = VPNSIP__REPORT_SA_LIMIT__INIT;

	(void)fd;
	(void)what;
	if (access(victim->permit, F_OK) != 0)
		return;
	bus_fault_point(victim->bus, "victim.turn");
	bus_publish(victim->bus, NULL, &fact.base);
	bus_call(victim->bus, IKE_AGENT, NULL, &report.base, 1000, NULL, NULL);
}

static void victims_log(int level, const char *format, ...)
{
	va_list arguments;

	(void)level;
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static int be_the_victim(const char *run_directory)
{
	const struct timeval turn = {.tv_usec = 50000};
	static const struct bus_handlers handlers = {.request = on_victims_order};
	struct victim victim = {0};
	struct event_base *base = event_base_new();
	char why[256];

	snprintf(victim.effect, sizeof(victim.effect), "%s/effect", run_directory);
	snprintf(victim.permit, sizeof(victim.permit), "%s/permit", run_directory);
	victim.bus = bus_open(&(struct bus_options){.self = TUNNEL_AGENT,
	                                            .run_directory = run_directory,
	                                            .base = base,
	                                            .environment = &bus_system_environment,
	                                            .is_listening = true,
	                                            .allows_faults = true,
	                                            .subscribes = BUS_SERVICE(IKE_AGENT),
	                                            .handlers = &handlers,
	                                            .log = victims_log,
	                                            .context = &victim},
	                      why, sizeof(why));
	if (victim.bus == NULL)
		return 1;
	event_add(event_new(base, -1, EV_PERSIST, on_victims_turn, &victim), &turn);
	return event_base_dispatch(base);
}

struct attack {
	struct scene scene;
	struct bus *ike;
	char effect[128], permit[128]; /* as struct victim's */
	pid_t victim;
	bool has_fallen;
	int status;
};

static bool has_fallen(void *context)
{
	struct attack *attack = context;

	if (!attack->has_fallen)
		attack->has_fallen = waitpid(attack->victim, &attack->status,
		                             WNOHANG | WUNTRACED) == attack->victim;
	return attack->has_fallen;
}

static void on_ikes_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	(void)context;
	(void)order;
	bus_done(request);
}

static void begin_attack(struct attack *attack, struct fixture *fixture)
{
	static const struct bus_handlers ike_handlers = {.request = on_ikes_order};
	char *arguments[] = {"victim", fixture->run_directory, NULL};
	struct scene *scene = &attack->scene;

	scene->fixture = fixture;
	snprintf(attack->effect, sizeof(attack->effect), "%s/effect", fixture->run_directory);
	snprintf(attack->permit, sizeof(attack->permit), "%s/permit", fixture->run_directory);
	assert_int_equal(
		posix_spawn(&attack->victim, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
	attack->ike = open_bus_with(
		fixture, (struct bus_options){.self = IKE_AGENT, .handlers = &ike_handlers});
	scene->coordinator = open_bus_with(fixture,
	                                   (struct bus_options){.self = COORDINATOR,
	                                                        .handlers = &coordinator_handlers,
	                                                        .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                        .context = scene});
	scene->cli = open_bus_with(fixture, (struct bus_options){.self = CLI,
	                                                         .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                         .handlers = &no_handlers});
}

static void end_attack(struct attack *attack)
{
	bus_close(attack->scene.cli);
	bus_close(attack->scene.coordinator);
	bus_close(attack->ike);
	unlink(attack->effect);
	unlink(attack->permit);
}

/** Gives the victim occasion until it falls: what is sent before its connections are up may be lost. */
static void await_fall(struct attack *attack, Vpnsip__FaultPoint point)
{
	const bool is_of_orders = point == POINT(BEFORE_HANDLER) || point == POINT(AFTER_EFFECT) ||
	                          point == POINT(SEND_REPLY);
	Vpnsip__IkeChanged fact = VPNSIP__IKE_CHANGED__INIT;

	for (unsigned msec = 0; msec < LIMIT_MSEC && !attack->has_fallen; msec += LOST_MSEC) {
		if (is_of_orders)
			order(&attack->scene, 'a', LOST_MSEC);
		bus_publish(attack->ike, NULL, &fact.base);
		run_until(attack->scene.fixture->base, LOST_MSEC, has_fallen, attack);
	}
	assert_true(attack->has_fallen);
}

static void attack(struct fixture *fixture, Vpnsip__FaultPoint point, Vpnsip__FaultAction action)
{
	struct attack attack = {0};
	struct scene *scene = &attack.scene;

	begin_attack(&attack, fixture);
	set_fault(scene, TUNNEL_AGENT,
	          fault_of(point, action, point == POINT(NAMED_POINT) ? "victim.turn" : ""));
	create(attack.permit);
	await_fall(&attack, point);
	if (action == ACTION(KILL)) {
		assert_true(WIFSIGNALED(attack.status) && WTERMSIG(attack.status) == SIGKILL);
	} else {
		assert_true(WIFSTOPPED(attack.status));
		kill(attack.victim, SIGCONT);
		clear_faults(scene, TUNNEL_AGENT);
		kill(attack.victim, SIGKILL);
		waitpid(attack.victim, NULL, 0);
	}
	if (point == POINT(AFTER_EFFECT) || point == POINT(SEND_REPLY))
		assert_int_equal(access(attack.effect, F_OK), 0);
	else if (action == ACTION(KILL))
		assert_int_not_equal(access(attack.effect, F_OK), 0);
	run_until(fixture->base, QUIET_MSEC, NULL, NULL);
	end_attack(&attack);
}

static void a_process_is_stopped_and_killed_at_each_point(void **state)
{
	for (Vpnsip__FaultPoint point = POINT(SEND_EVENT); point <= POINT(NAMED_POINT); point++) {
		print_message("point %d\n", point);
		attack(*state, point, ACTION(STALL));
		attack(*state, point, ACTION(KILL));
	}
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(each_action_at_each_point_of_an_order),
		BUS_TEST(each_action_at_each_point_of_an_event),
		BUS_TEST(changed_octets_are_survived),
		BUS_TEST(a_fault_skips_counts_and_has_its_chance),
		BUS_TEST(heartbeats_and_steering_are_hit_only_by_name),
		BUS_TEST(faults_are_refused_where_they_are_not_allowed),
		BUS_TEST(a_fault_that_makes_no_sense_is_refused),
		BUS_TEST(only_a_reply_that_was_given_is_kept),
		BUS_TEST(a_process_is_stopped_and_killed_at_each_point),
	};

	if (argc == 2)
		return be_the_victim(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
