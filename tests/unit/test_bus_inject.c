/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Faults on order: each action at each point, but for those that stop a process. */
#include "bus_inject_scene.h"
#include "nng_leaks.h"

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

int main(void)
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
