/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Orders between services: replies, parallel calls, deadlines, permissions, sizes. */
#include <pthread.h>
#include <sys/stat.h>

#include "bus_fixture.h"

struct agent {
	struct bus *bus;
	int orders;      /* received */
	bool is_holding; /* keeps requests instead of answering */
	struct bus_request *held[64];
	int held_count;
	uint64_t trace_id; /* of the last order */
	char session[64];
	uint64_t deadline_usec;
};

struct outcome {
	int is_there;
	enum bus_outcome outcome;
	char cause[256];
	uint32_t port;
	Vpnsip__Envelope__BodyCase body;
};

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct outcome *result = context;

	assert_false(result->is_there);
	assert_non_null(reply);
	result->is_there = 1;
	result->outcome = outcome;
	result->body = reply->body_case;
	snprintf(result->cause, sizeof(result->cause), "%s", bus_cause(reply));
	if (reply->body_case == VPNSIP__ENVELOPE__BODY_PORT_RESERVED)
		result->port = reply->port_reserved->port;
}

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct agent *agent = context;

	agent->orders++;
	agent->trace_id = order->trace_id;
	agent->deadline_usec = order->deadline_mono_usec;
	snprintf(agent->session, sizeof(agent->session), "%s", order->session);
	assert_int_equal(bus_request_uid(request), getuid());
	if (agent->is_holding) {
		agent->held[agent->held_count++] = request;
		return;
	}
	if (order->body_case == VPNSIP__ENVELOPE__BODY_SET_PEER)
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "tunnel %s is missing",
		         order->set_peer->tunnel);
	else
		bus_done(request);
}

static const struct bus_handlers agent_handlers = {.request = on_request};
static const struct bus_handlers no_handlers;

static void open_pair(struct fixture *fixture, struct agent *tunnel, struct bus **coordinator)
{
	tunnel->bus = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                          .handlers = &agent_handlers,
	                                                          .context = tunnel});
	*coordinator = open_bus_with(fixture,
	                             (struct bus_options){.self = COORDINATOR,
	                                                  .handlers = &no_handlers,
	                                                  .calls = BUS_SERVICE(TUNNEL_AGENT)});
}

static uint64_t check_tunnel(struct bus *bus, unsigned timeout_msec, struct outcome *result)
{
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;

	order.tunnel = "vsip7";
	return bus_call(bus, TUNNEL_AGENT, "vsip7", &order.base, timeout_msec, on_reply, result);
}

static void an_order_is_answered(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	struct outcome done = {0}, refused = {0};
	Vpnsip__SetPeer order = VPNSIP__SET_PEER__INIT;
	struct bus *coordinator;

	open_pair(fixture, &tunnel, &coordinator);
	check_tunnel(coordinator, 1000, &done);
	assert_false(done.is_there);
	assert_true(run_until(fixture->base, 1500, is_set, &done.is_there));
	assert_int_equal(done.outcome, BUS_DONE);
	assert_int_equal(done.body, VPNSIP__ENVELOPE__BODY_DONE);
	assert_string_equal(tunnel.session, "vsip7");
	assert_true(tunnel.trace_id != 0);
	assert_true(tunnel.deadline_usec > bus_mono_usec(coordinator));

	order.tunnel = "vsip9";
	bus_call(coordinator, TUNNEL_AGENT, NULL, &order.base, 1000, on_reply, &refused);
	assert_true(run_until(fixture->base, 1500, is_set, &refused.is_there));
	assert_int_equal(refused.outcome, BUS_FAILED);
	assert_string_equal(refused.cause, "tunnel vsip9 is missing");
	bus_close(coordinator);
	bus_close(tunnel.bus);
}

static void close_pair(struct agent *tunnel, struct bus *coordinator)
{
	bus_close(coordinator);
	bus_close(tunnel->bus);
}

struct many {
	struct outcome *outcomes;
	int count;
};

static bool all_are_there(void *context)
{
	const struct many *many = context;

	for (int i = 0; i < many->count; i++)
		if (!many->outcomes[i].is_there)
			return false;
	return true;
}

static bool is_holding_something(void *context)
{
	return ((const struct agent *)context)->held_count > 0;
}

static void calls_run_in_parallel(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {.is_holding = true};
	struct outcome outcomes[100] = {0};
	struct many first = {outcomes, 10}, all = {outcomes, 100};
	struct bus *coordinator;

	open_pair(fixture, &tunnel, &coordinator);
	for (int i = 0; i < 10; i++)
		check_tunnel(coordinator, 2000, &outcomes[i]);
	run_until(fixture->base, 200, NULL, NULL);
	assert_int_equal(tunnel.held_count, 10);
	assert_false(outcomes[0].is_there);
	while (tunnel.held_count > 0)
		bus_done(tunnel.held[--tunnel.held_count]);
	assert_true(run_until(fixture->base, 1000, all_are_there, &first));

	/* More than a service can have open at once. */
	tunnel.is_holding = false;
	for (int i = 10; i < 100; i++)
		check_tunnel(coordinator, 2000, &outcomes[i]);
	assert_true(run_until(fixture->base, 2000, all_are_there, &all));
	for (int i = 0; i < 100; i++)
		assert_int_equal(outcomes[i].outcome, BUS_DONE);
	assert_int_equal(tunnel.orders, 100);
	close_pair(&tunnel, coordinator);
}

static void silence_ends_at_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {.is_holding = true};
	struct outcome late = {0}, next = {0};
	struct bus *coordinator;
	uint64_t before;

	open_pair(fixture, &tunnel, &coordinator);
	check_tunnel(coordinator, 1000, &next);
	assert_true(run_until(fixture->base, 1000, is_holding_something, &tunnel));
	bus_done(tunnel.held[--tunnel.held_count]);
	assert_true(run_until(fixture->base, 1000, is_set, &next.is_there));

	before = bus_mono_usec(coordinator);
	check_tunnel(coordinator, 150, &late);
	assert_true(run_until(fixture->base, 1000, is_set, &late.is_there));
	assert_int_equal(late.outcome, BUS_TIMED_OUT);
	assert_string_equal(late.cause, "tunnel-agent did not answer CheckTunnel within 150 ms");
	assert_in_range(bus_mono_usec(coordinator) - before, 150000, 400000);

	/* The late reply reaches nobody, and the pooled connection serves the next call. */
	bus_done(tunnel.held[--tunnel.held_count]);
	tunnel.is_holding = false;
	next.is_there = 0;
	check_tunnel(coordinator, 1000, &next);
	assert_true(run_until(fixture->base, 1000, is_set, &next.is_there));
	assert_int_equal(next.outcome, BUS_DONE);
	close_pair(&tunnel, coordinator);
}

static void an_absent_peer_is_waited_for_until_the_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	struct outcome early = {0}, patient = {0};
	struct bus *coordinator =
		open_bus_with(fixture, (struct bus_options){.self = COORDINATOR,
	                                                    .handlers = &no_handlers,
	                                                    .calls = BUS_SERVICE(TUNNEL_AGENT)});

	check_tunnel(coordinator, 100, &early);
	check_tunnel(coordinator, 5000, &patient);
	assert_true(run_until(fixture->base, 1000, is_set, &early.is_there));
	assert_int_equal(early.outcome, BUS_NOT_SENT);
	assert_string_equal(early.cause,
	                    "tunnel-agent was not running to receive CheckTunnel within 100 ms");
	tunnel.bus = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                         .handlers = &agent_handlers,
	                                                         .context = &tunnel});
	assert_true(run_until(fixture->base, 3000, is_set, &patient.is_there));
	assert_int_equal(patient.outcome, BUS_DONE);
	assert_int_equal(tunnel.orders, 1);
	close_pair(&tunnel, coordinator);
}

static void a_cancelled_call_is_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {.is_holding = true};
	struct outcome forgotten = {0};
	struct bus *coordinator;
	uint64_t id;

	open_pair(fixture, &tunnel, &coordinator);
	id = check_tunnel(coordinator, 2000, &forgotten);
	assert_true(run_until(fixture->base, 1000, is_holding_something, &tunnel));
	bus_cancel(coordinator, id);
	bus_cancel(coordinator, id + 1000);
	bus_done(tunnel.held[0]);
	run_until(fixture->base, 100, NULL, NULL);
	assert_false(forgotten.is_there);
	close_pair(&tunnel, coordinator);
}

static void closing_fails_what_is_under_way(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {.is_holding = true};
	struct outcome given_up = {0};
	struct bus *coordinator;

	open_pair(fixture, &tunnel, &coordinator);
	check_tunnel(coordinator, 2000, &given_up);
	assert_true(run_until(fixture->base, 1000, is_holding_something, &tunnel));
	close_pair(&tunnel, coordinator);
	assert_true(given_up.is_there);
	assert_int_equal(given_up.outcome, BUS_NOT_SENT);
}

static void what_must_not_be_sent_is_refused_by_the_sender(void **state)
{
	struct fixture *fixture = *state;
	Vpnsip__InstallSa foreign = VPNSIP__INSTALL_SA__INIT;
	Vpnsip__Done no_order = VPNSIP__DONE__INIT;
	Vpnsip__CheckTunnel big = VPNSIP__CHECK_TUNNEL__INIT;
	struct outcome refused[3] = {0};
	struct many all = {refused, 3};
	struct agent tunnel = {0};
	struct bus *coordinator;
	char *name = malloc(70000);

	open_pair(fixture, &tunnel, &coordinator);
	memset(name, 'x', 69999);
	name[69999] = '\0';
	big.tunnel = name;
	bus_call(coordinator, TUNNEL_AGENT, NULL, &foreign.base, 500, on_reply, &refused[0]);
	bus_call(coordinator, TUNNEL_AGENT, NULL, &no_order.base, 500, on_reply, &refused[1]);
	bus_call(coordinator, TUNNEL_AGENT, NULL, &big.base, 500, on_reply, &refused[2]);
	assert_true(run_until(fixture->base, 300, all_are_there, &all));
	for (int i = 0; i < 3; i++)
		assert_int_equal(refused[i].outcome, BUS_NOT_SENT);
	assert_string_equal(refused[0].cause, "InstallSa to tunnel-agent is not permitted");
	assert_string_equal(refused[2].cause, "CheckTunnel to tunnel-agent is too big");
	assert_int_equal(tunnel.orders, 0);
	free(name);
	close_pair(&tunnel, coordinator);
}

static void reply_with_nonsense(void *context, struct bus_request *request,
                                const Vpnsip__Envelope *order)
{
	Vpnsip__PortReserved port = VPNSIP__PORT_RESERVED__INIT;

	(void)context;
	(void)order;
	bus_reply(request, &port.base);
}

static void reply_with_much(struct bus_request *request, size_t count)
{
	Vpnsip__TunnelSnapshot snapshot = VPNSIP__TUNNEL_SNAPSHOT__INIT;
	Vpnsip__DropCount drop = VPNSIP__DROP_COUNT__INIT;
	Vpnsip__DropCount **drops = calloc(count, sizeof(*drops));

	drop.packets = UINT64_MAX;
	for (size_t i = 0; i < count; i++)
		drops[i] = &drop;
	snapshot.drops = drops;
	snapshot.n_drops = count;
	bus_reply(request, &snapshot.base);
	free(drops);
}

static void reply_with_too_much(void *context, struct bus_request *request)
{
	(void)context;
	reply_with_much(request, 400000);
}

static void reply_with_a_headend(void *context, struct bus_request *request)
{
	(void)context;
	reply_with_much(request, 100000);
}

static void a_large_snapshot_passes(void **state)
{
	static const struct bus_handlers headend = {.snapshot = reply_with_a_headend};
	struct fixture *fixture = *state;
	struct outcome result = {0};
	Vpnsip__GetSnapshot ask = VPNSIP__GET_SNAPSHOT__INIT;
	struct bus *tunnel = open_bus_with(
		fixture, (struct bus_options){.self = TUNNEL_AGENT, .handlers = &headend});
	struct bus *coordinator =
		open_bus_with(fixture, (struct bus_options){.self = COORDINATOR,
	                                                    .handlers = &no_handlers,
	                                                    .calls = BUS_SERVICE(TUNNEL_AGENT)});

	bus_call(coordinator, TUNNEL_AGENT, NULL, &ask.base, 2000, on_reply, &result);
	assert_true(run_until(fixture->base, 2500, is_set, &result.is_there));
	assert_int_equal(result.outcome, BUS_DONE);
	assert_int_equal(result.body, VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT);
	bus_close(coordinator);
	bus_close(tunnel);
}

static void a_wrong_reply_becomes_a_failure(void **state)
{
	static const struct bus_handlers wrong = {.request = reply_with_nonsense,
	                                          .snapshot = reply_with_too_much};
	struct fixture *fixture = *state;
	struct outcome results[2] = {0};
	struct many all = {results, 2};
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;
	Vpnsip__GetSnapshot ask = VPNSIP__GET_SNAPSHOT__INIT;
	struct bus *tunnel = open_bus_with(
		fixture, (struct bus_options){.self = TUNNEL_AGENT, .handlers = &wrong});
	struct bus *coordinator =
		open_bus_with(fixture, (struct bus_options){.self = COORDINATOR,
	                                                    .handlers = &no_handlers,
	                                                    .calls = BUS_SERVICE(TUNNEL_AGENT)});

	bus_call(coordinator, TUNNEL_AGENT, NULL, &order.base, 1000, on_reply, &results[0]);
	bus_call(coordinator, TUNNEL_AGENT, NULL, &ask.base, 1000, on_reply, &results[1]);
	assert_true(run_until(fixture->base, 1500, all_are_there, &all));
	assert_int_equal(results[0].outcome, BUS_FAILED);
	assert_string_equal(results[0].cause, "PortReserved is no answer to CheckTunnel");
	assert_int_equal(results[1].outcome, BUS_FAILED);
	assert_non_null(strstr(results[1].cause, "is too big"));
	bus_close(coordinator);
	bus_close(tunnel);
}

static void a_second_instance_is_refused(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	struct outcome done = {0};
	struct bus *coordinator;
	char why[256];

	open_pair(fixture, &tunnel, &coordinator);
	assert_null(bus_open(&(struct bus_options){.self = TUNNEL_AGENT,
	                                           .run_directory = fixture->run_directory,
	                                           .base = fixture->base,
	                                           .environment = &bus_system_environment,
	                                           .is_listening = true,
	                                           .handlers = &no_handlers},
	                     why, sizeof(why)));
	assert_non_null(strstr(why, "another instance of tunnel-agent is running (process "));
	check_tunnel(coordinator, 1000, &done);
	assert_true(run_until(fixture->base, 1500, is_set, &done.is_there));
	assert_int_equal(done.outcome, BUS_DONE);
	close_pair(&tunnel, coordinator);
}

static void a_path_too_long_for_a_socket_is_refused(void **state)
{
	struct fixture *fixture = *state;
	char why[512], directory[160];

	snprintf(directory, sizeof(directory), "%s/%0100d", fixture->run_directory, 0);
	mkdir(directory, 0755);
	assert_null(bus_open(&(struct bus_options){.self = TUNNEL_AGENT,
	                                           .run_directory = directory,
	                                           .base = fixture->base,
	                                           .environment = &bus_system_environment,
	                                           .is_listening = true,
	                                           .handlers = &no_handlers},
	                     why, sizeof(why)));
	assert_non_null(strstr(why, "cannot listen on /tmp/"));
	assert_null(bus_open(&(struct bus_options){.self = CLI,
	                                           .run_directory = directory,
	                                           .base = fixture->base,
	                                           .environment = &bus_system_environment,
	                                           .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                           .handlers = &no_handlers},
	                     why, sizeof(why)));
	assert_non_null(strstr(why, "cannot dial /tmp/"));
}

struct foreign {
	struct bus *bus;
	enum bus_outcome first, second;
	int is_finished;
	int posted[3];
	int posted_count;
};

static void note(struct foreign *foreign, int number)
{
	foreign->posted[foreign->posted_count++] = number;
}

static void note_one(void *context)
{
	note(context, 1);
}

static void note_two(void *context)
{
	note(context, 2);
}

static void finish_foreign(void *context)
{
	note(context, 3);
	((struct foreign *)context)->is_finished = 1;
}

static void *call_from_a_thread(void *context)
{
	struct foreign *foreign = context;
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;
	Vpnsip__Envelope *reply;

	bus_post(foreign->bus, note_one, foreign);
	order.tunnel = "vsip7";
	reply = bus_call_blocking(foreign->bus, TUNNEL_AGENT, "vsip7", &order.base, 1000,
	                          &foreign->first);
	bus_free_envelope(reply);
	bus_post(foreign->bus, note_two, foreign);
	reply = bus_call_blocking(foreign->bus, SIP_AGENT, NULL, &order.base, 100,
	                          &foreign->second);
	bus_free_envelope(reply);
	bus_post(foreign->bus, finish_foreign, foreign);
	return NULL;
}

static void a_foreign_thread_may_call_and_post(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	struct foreign foreign = {0};
	pthread_t thread;

	open_pair(fixture, &tunnel, &foreign.bus);
	pthread_create(&thread, NULL, call_from_a_thread, &foreign);
	assert_true(run_until(fixture->base, 3000, is_set, &foreign.is_finished));
	pthread_join(thread, NULL);
	assert_int_equal(foreign.first, BUS_DONE);
	assert_int_equal(foreign.second, BUS_NOT_SENT); /* not permitted */
	assert_int_equal(foreign.posted_count, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(foreign.posted[i], i + 1);
	close_pair(&tunnel, foreign.bus);
}

static void a_blocking_call_ends_at_its_deadline(void **state)
{
	struct fixture *fixture = *state;
	struct agent tunnel = {0};
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;
	enum bus_outcome outcome;
	Vpnsip__Envelope *reply;
	struct bus *coordinator;
	uint64_t before;

	/* The loop that would answer does not run meanwhile. */
	open_pair(fixture, &tunnel, &coordinator);
	run_until(fixture->base, 100, NULL, NULL);
	before = bus_mono_usec(coordinator);
	reply = bus_call_blocking(coordinator, TUNNEL_AGENT, NULL, &order.base, 200, &outcome);
	assert_int_equal(outcome, BUS_TIMED_OUT);
	assert_string_equal(bus_cause(reply),
	                    "tunnel-agent did not answer CheckTunnel within 200 ms");
	assert_in_range(bus_mono_usec(coordinator) - before, 190000, 600000);
	bus_free_envelope(reply);
	close_pair(&tunnel, coordinator);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(an_order_is_answered),
		BUS_TEST(calls_run_in_parallel),
		BUS_TEST(silence_ends_at_the_deadline),
		BUS_TEST(an_absent_peer_is_waited_for_until_the_deadline),
		BUS_TEST(a_cancelled_call_is_forgotten),
		BUS_TEST(closing_fails_what_is_under_way),
		BUS_TEST(what_must_not_be_sent_is_refused_by_the_sender),
		BUS_TEST(a_wrong_reply_becomes_a_failure),
		BUS_TEST(a_large_snapshot_passes),
		BUS_TEST(a_second_instance_is_refused),
		BUS_TEST(a_path_too_long_for_a_socket_is_refused),
		BUS_TEST(a_foreign_thread_may_call_and_post),
		BUS_TEST(a_blocking_call_ends_at_its_deadline),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
