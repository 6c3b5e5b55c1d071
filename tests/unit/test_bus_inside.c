/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Looking inside a service: internals, traces, debug switches; and what happens when there is too much to do. */
#include <sys/stat.h>
#include <syslog.h>

#include "bus_fixture.h"
#include "sp_client.h"

#include "bus/internal.h"
#include "bus/reply_cache.h"
#include "bus/transport_nng.h"

#define STRANGER   65534
/** From so many orders under way on none are begun. */
#define OPEN_LIMIT (TRANSPORT_REQUESTS_MAXIMUM * 3 / 4)

struct scene {
	struct fixture *fixture;
	struct bus *agent, *caller, *cli;
	bool is_holding;
	struct bus_request *held[TRANSPORT_REQUESTS_MAXIMUM];
	int held_count;
	int replies;
	enum bus_outcome outcome;
	char cause[200];
	Vpnsip__Envelope *reply; /* the last one to the operator, copied */
	Vpnsip__SetLog log_order;
	char category[32];
};

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct scene *scene = context;

	if (scene->is_holding && order->body_case == VPNSIP__ENVELOPE__BODY_CLEAR_PEER)
		scene->held[scene->held_count++] = request;
	else
		bus_done(request);
}

static void describe(void *context, struct bus_description *description)
{
	(void)context;
	bus_describe(description, "tunnel %s: attempt %d", "vsip7", 12);
	bus_describe_counter(description, "tunnels.up", 3);
}

static void describe_log(void *context, struct bus_description *description)
{
	(void)context;
	bus_describe(description, "sip messages vsip7");
}

static int set_log(void *context, const Vpnsip__SetLog *order)
{
	struct scene *scene = context;

	scene->log_order = *order;
	snprintf(scene->category, sizeof(scene->category), "%s", order->category);
	return strcmp(order->category, "nonsense") == 0 ? -1 : 0;
}

static const struct bus_handlers agent_handlers = {.request = on_request,
                                                   .describe = describe,
                                                   .describe_log = describe_log,
                                                   .set_log = set_log};
static const struct bus_handlers no_handlers;

static void open_scene(struct scene *scene, struct fixture *fixture)
{
	memset(scene, 0, sizeof(*scene));
	scene->fixture = fixture;
	scene->agent = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                           .handlers = &agent_handlers,
	                                                           .context = scene});
	scene->caller = open_bus_with(fixture,
	                              (struct bus_options){.self = COORDINATOR,
	                                                   .handlers = &no_handlers,
	                                                   .calls = BUS_SERVICE(TUNNEL_AGENT)});
	scene->cli = open_bus_with(fixture,
	                           (struct bus_options){.self = CLI,
	                                                .handlers = &no_handlers,
	                                                .calls = BUS_SERVICE(TUNNEL_AGENT) |
	                                                         BUS_SERVICE(COORDINATOR)});
}

static void close_scene(struct scene *scene)
{
	bus_free_envelope(scene->reply);
	bus_close(scene->cli);
	bus_close(scene->caller);
	bus_close(scene->agent);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct scene *scene = context;
	size_t size;
	uint8_t *octets = envelope_pack(reply, &size);

	scene->replies++;
	scene->outcome = outcome;
	snprintf(scene->cause, sizeof(scene->cause), "%s", bus_cause(reply));
	bus_free_envelope(scene->reply);
	scene->reply = vpnsip__envelope__unpack(NULL, size, octets);
	free(octets);
}

static void ask(struct scene *scene, Vpnsip__Service where, const ProtobufCMessage *order)
{
	scene->replies = 0;
	bus_call(scene->cli, where, NULL, order, 2000, on_reply, scene);
	assert_true(run_until(scene->fixture->base, 2500, is_set, &scene->replies));
}

static uint64_t counter(const Vpnsip__Internals *internals, const char *name)
{
	for (size_t i = 0; i < internals->n_counters; i++)
		if (strcmp(internals->counters[i]->name, name) == 0)
			return internals->counters[i]->value;
	fail_msg("no counter %s", name);
	return 0;
}

static const Vpnsip__Internals *internals_of(struct scene *scene, Vpnsip__Service where)
{
	Vpnsip__GetInternals get = VPNSIP__GET_INTERNALS__INIT;

	ask(scene, where, &get.base);
	assert_int_equal(scene->outcome, BUS_DONE);
	return scene->reply->internals;
}

static void order(struct scene *scene, const char *session, const ProtobufCMessage *body)
{
	bus_call(scene->caller, TUNNEL_AGENT, session, body, 5000, on_reply, scene);
}

static void what_stands_inside_is_told(void **state)
{
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	const Vpnsip__Internals *inside;
	struct scene scene;

	open_scene(&scene, *state);
	order(&scene, NULL, &check.base);
	assert_true(run_until(scene.fixture->base, 2000, is_set, &scene.replies));
	inside = internals_of(&scene, TUNNEL_AGENT);
	assert_int_equal(inside->n_state, 1);
	assert_string_equal(inside->state[0], "tunnel vsip7: attempt 12");
	assert_int_equal(inside->n_debug_switches, 1);
	assert_string_equal(inside->debug_switches[0], "sip messages vsip7");
	assert_int_equal(counter(inside, "tunnels.up"), 3);
	assert_int_equal(counter(inside, "requests.served"), 2);
	assert_int_equal(counter(inside, "requests.open"), 1);
	assert_int_equal(counter(inside, "faults.injected"), 0);
	assert_int_equal(counter(inside, "description.omitted"), 0);
	inside = internals_of(&scene, COORDINATOR);
	assert_int_equal(inside->n_state, 0);
	assert_int_equal(counter(inside, "calls.sent"), 1);
	assert_int_equal(counter(inside, "calls.in-flight"), 0);
	assert_int_equal(counter(inside, "trace.noted"), 1);
	close_scene(&scene);
}

static void debug_switches_are_the_services_own(void **state)
{
	Vpnsip__SetLog set = VPNSIP__SET_LOG__INIT;
	struct scene scene;

	open_scene(&scene, *state);
	set.level = LOG_DEBUG;
	set.category = "tunnel";
	ask(&scene, TUNNEL_AGENT, &set.base);
	assert_int_equal(scene.outcome, BUS_DONE);
	assert_string_equal(scene.category, "tunnel");
	assert_int_equal(scene.log_order.level, LOG_DEBUG);
	set.category = "nonsense";
	ask(&scene, TUNNEL_AGENT, &set.base);
	assert_string_equal(scene.cause, "there is no debug switch 'nonsense'");
	ask(&scene, COORDINATOR, &set.base);
	assert_string_equal(scene.cause, "vpnsip-coordinator has no debug switches");
	close_scene(&scene);
}

/** What changes how a service works is for root alone; looking is for all. */
static void steering_is_for_root(void **state)
{
	struct fixture *fixture = *state;
	struct scene scene;
	Vpnsip__Envelope envelope = VPNSIP__ENVELOPE__INIT, *reply;
	Vpnsip__SetLog set = VPNSIP__SET_LOG__INIT;
	Vpnsip__GetFaults get = VPNSIP__GET_FAULTS__INIT;
	char path[256];
	int fd;

	if (getuid() != 0)
		skip();
	open_scene(&scene, fixture);
	chmod(fixture->run_directory, 0755);
	snprintf(path, sizeof(path), "%s/tunnel-agent", fixture->run_directory);
	chmod(path, 0755);
	snprintf(path, sizeof(path), "%s/tunnel-agent/requests.sock", fixture->run_directory);
	chmod(path, 0666);
	assert_int_equal(seteuid(STRANGER), 0);
	fd = sp_connect(fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	assert_int_equal(seteuid(0), 0);
	assert_true(fd >= 0);

	envelope.kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope.source = CLI;
	envelope.epoch = 1;
	envelope.request_id = 1;
	envelope.body_case = VPNSIP__ENVELOPE__BODY_SET_LOG;
	envelope.set_log = &set;
	set.category = "tunnel";
	sp_send_envelope(fd, &envelope);
	run_until(fixture->base, 100, NULL, NULL);
	reply = sp_receive_reply(fd);
	assert_non_null(reply);
	assert_string_equal(bus_cause(reply), "SetLog is for root alone, not for uid 65534");
	assert_string_equal(scene.category, "");
	bus_free_envelope(reply);

	envelope.request_id = 2;
	envelope.body_case = VPNSIP__ENVELOPE__BODY_GET_FAULTS;
	envelope.get_faults = &get;
	sp_send_envelope(fd, &envelope);
	run_until(fixture->base, 100, NULL, NULL);
	reply = sp_receive_reply(fd);
	assert_non_null(reply);
	assert_int_equal(reply->body_case, VPNSIP__ENVELOPE__BODY_FAULT_LIST);
	assert_false(reply->fault_list->is_allowed);
	bus_free_envelope(reply);
	close(fd);
	close_scene(&scene);
}

static const Vpnsip__Trace *trace_of(struct scene *scene, uint64_t attempt)
{
	Vpnsip__GetTrace get = VPNSIP__GET_TRACE__INIT;

	get.session = "vsip7";
	get.attempt = attempt;
	ask(scene, COORDINATOR, &get.base);
	assert_int_equal(scene->outcome, BUS_DONE);
	return scene->reply->trace;
}

static void note(struct scene *scene, uint64_t attempt, const char *text)
{
	bus_trace(scene->caller, attempt != 0 ? "vsip7" : NULL, attempt,
	          VPNSIP__TRACE_KIND__TRACE_STATE, NULL, false, "%s", text);
}

static void a_trace_tells_the_life_of_an_attempt(void **state)
{
	Vpnsip__SetPeer set_peer = VPNSIP__SET_PEER__INIT;
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	const Vpnsip__Trace *trace;
	struct scene scene;

	open_scene(&scene, *state);
	/* An INVITE of nobody yet; then it is known whose it is, within the same trace. */
	bus_resume_trace(scene.caller, 77);
	bus_trace(scene.caller, NULL, 0, VPNSIP__TRACE_KIND__TRACE_SIP, "203.0.113.5:5060", true,
	          "INVITE");
	note(&scene, 5, "READY -> CALLING");
	set_peer.tunnel = "vsip7";
	set_peer.attempt = 5;
	order(&scene, "vsip7", &set_peer.base);
	check.tunnel = "vsip7";
	order(&scene, "vsip7", &check.base);
	run_until(scene.fixture->base, 300, NULL, NULL);
	assert_int_equal(scene.replies, 2);
	assert_int_equal(bus_current_trace(scene.caller), 0);
	bus_trace(scene.caller, NULL, 0, VPNSIP__TRACE_KIND__TRACE_SIP, NULL, true, "OPTIONS");
	note(&scene, 6, "another attempt");

	trace = trace_of(&scene, 5);
	assert_int_equal(trace->forgotten, 0);
	assert_int_equal(trace->n_entries, 4);
	assert_string_equal(trace->entries[0]->text, "READY -> CALLING");
	assert_string_equal(trace->entries[1]->text, "SetPeer");
	assert_int_equal(trace->entries[1]->kind, VPNSIP__TRACE_KIND__TRACE_BUS_REQUEST);
	assert_int_equal(trace->entries[1]->peer, TUNNEL_AGENT);
	assert_string_equal(trace->entries[1]->outcome, "");
	assert_true(trace->entries[1]->duration_usec > 0);
	assert_string_equal(trace->entries[2]->text, "INVITE");
	assert_string_equal(trace->entries[2]->outside, "203.0.113.5:5060");
	assert_string_equal(trace->entries[3]->text, "CheckTunnel");
	for (size_t i = 0; i < trace->n_entries; i++)
		assert_int_equal(trace->entries[i]->trace_id, 77);
	assert_int_equal(trace_of(&scene, 6)->n_entries, 1);
	assert_int_equal(trace_of(&scene, 7)->n_entries, 0);
	close_scene(&scene);
}

static void a_trace_keeps_the_first_and_the_last(void **state)
{
	const Vpnsip__Trace *trace;
	struct scene scene;
	char text[16];

	open_scene(&scene, *state);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "%d", i);
		note(&scene, 5, text);
	}
	trace = trace_of(&scene, 5);
	assert_int_equal(trace->n_entries, 256);
	assert_int_equal(trace->forgotten, 744);
	assert_string_equal(trace->entries[191]->text, "191");
	assert_string_equal(trace->entries[192]->text, "936");
	assert_string_equal(trace->entries[255]->text, "999");

	/* The last hundred that are over, and the one that runs. */
	for (uint64_t attempt = 6; attempt <= 110; attempt++)
		note(&scene, attempt, "it");
	assert_int_equal(trace_of(&scene, 9)->n_entries, 0);
	assert_int_equal(trace_of(&scene, 10)->n_entries, 1);
	assert_int_equal(trace_of(&scene, 110)->n_entries, 1);
	close_scene(&scene);
}

static void note_call(struct scene *scene, uint64_t attempt, unsigned entries, int text_size)
{
	char session[16];

	snprintf(session, sizeof(session), "vsip%d", (int)attempt);
	for (unsigned i = 0; i < entries; i++)
		bus_trace(scene->caller, session, attempt, VPNSIP__TRACE_KIND__TRACE_STATE, NULL,
		          false, "%0*u", text_size, i);
}

static void the_traces_of_a_thousand_calls_have_a_limit(void **state)
{
	const size_t limit = 6 << 20;
	const Vpnsip__Internals *inside;
	struct scene scene;
	uint64_t attempt = 0;

	/* Tens of thousands of the same allocation. */
	if (getenv("ALLOC_COUNT") != NULL || getenv("ALLOC_FAILURE") != NULL)
		skip();
	open_scene(&scene, *state);
	while (attempt < 1100)
		note_call(&scene, ++attempt, 40, 60);
	inside = internals_of(&scene, COORDINATOR);
	assert_int_equal(counter(inside, "trace.entries"), 1100 * 40);
	assert_int_equal(counter(inside, "trace.attempts"), 1100);
	assert_true(counter(inside, "trace.octets") < limit);

	/* Twice as much as there is room for, although of each 64 are kept; the oldest goes. */
	while (attempt < 1600)
		note_call(&scene, ++attempt, 100, 400);
	inside = internals_of(&scene, COORDINATOR);
	assert_true(counter(inside, "trace.octets") <= limit);
	assert_true(counter(inside, "trace.octets") > limit - 50000);
	assert_true(counter(inside, "trace.attempts") < 300);
	assert_int_equal(counter(inside, "trace.entries"), 64 * counter(inside, "trace.attempts"));
	close_scene(&scene);
}

static void sessions_that_rest_push_no_trace_out(void **state)
{
	const Vpnsip__Internals *inside;
	const Vpnsip__Trace *trace;
	struct scene scene;

	/* Hundreds of thousands of the same allocation, each of which would be made to fail in a run of its own. */
	if (getenv("ALLOC_COUNT") != NULL || getenv("ALLOC_FAILURE") != NULL)
		skip();
	open_scene(&scene, *state);
	for (uint64_t attempt = 1; attempt <= 1000; attempt++)
		note_call(&scene, attempt, 30, 60);
	/* Some hours of signs of life. */
	for (int round = 0; round < 20; round++)
		for (uint64_t attempt = 1; attempt <= 1000; attempt++)
			note_call(&scene, attempt, 15, 30);
	inside = internals_of(&scene, COORDINATOR);
	assert_int_equal(counter(inside, "trace.attempts"), 1000);
	trace = trace_of(&scene, 7);
	assert_int_equal(trace->n_entries, 64);
	assert_int_equal(trace->forgotten, 30 + 20 * 15 - 64);
	for (int i = 0; i < 30; i++)
		assert_int_equal(strtoul(trace->entries[i]->text, NULL, 10), i);
	for (int i = 1; i <= 15; i++)
		assert_int_equal(strtoul(trace->entries[64 - i]->text, NULL, 10), 15 - i);
	close_scene(&scene);
}

static bool all_are_held(void *context)
{
	return ((const struct scene *)context)->held_count >= OPEN_LIMIT;
}

static void overload_sheds_what_begins_and_never_what_ends(void **state)
{
	Vpnsip__ClearPeer clear = VPNSIP__CLEAR_PEER__INIT;
	Vpnsip__SendIkePacket send = VPNSIP__SEND_IKE_PACKET__INIT;
	struct bus *ike;
	struct scene scene;

	open_scene(&scene, *state);
	ike = open_bus_with(scene.fixture,
	                    (struct bus_options){.self = IKE_AGENT,
	                                         .handlers = &no_handlers,
	                                         .calls = BUS_SERVICE(TUNNEL_AGENT)});
	scene.is_holding = true;
	for (int i = 0; i < OPEN_LIMIT; i++)
		order(&scene, NULL, &clear.base);
	assert_true(run_until(scene.fixture->base, 2000, all_are_held, &scene));
	bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 1000, on_reply, &scene);
	assert_true(run_until(scene.fixture->base, 1500, is_set, &scene.replies));
	assert_int_equal(scene.outcome, BUS_FAILED);
	assert_string_equal(scene.cause,
	                    "tunnel-agent is overloaded: SendIkePacket found 768 orders under way");
	assert_int_equal(scene.reply->failed->kind, VPNSIP__FAILURE_KIND__RESOURCE);
	assert_int_equal(scene.agent->counters.shed_requests, 1);
	order(&scene, NULL, &clear.base);
	run_until(scene.fixture->base, 50, NULL, NULL);
	assert_int_equal(scene.held_count, OPEN_LIMIT + 1);
	while (scene.held_count > 0)
		bus_done(scene.held[--scene.held_count]);

	/* A loop that is late: the orders come while it does something else. */
	run_until(scene.fixture->base, 100, NULL, NULL);
	scene.is_holding = false;
	scene.replies = 0;
	order(&scene, NULL, &clear.base);
	bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 3000, on_reply, &scene);
	usleep(1200000);
	run_until(scene.fixture->base, 200, NULL, NULL);
	assert_int_equal(scene.replies, 2);
	assert_int_equal(scene.agent->counters.shed_requests, 2);
	assert_int_equal(scene.agent->counters.served_requests, OPEN_LIMIT + 4);
	bus_close(ike);
	close_scene(&scene);
}

static bool are_three_hundred_held(void *context)
{
	return ((const struct scene *)context)->held_count >= 300;
}

static bool are_few_places_left(void *context)
{
	return ((const struct scene *)context)->agent->transport->slot_count <= 16;
}

static void slow_orders_keep_no_others_waiting(void **state)
{
	Vpnsip__ClearPeer clear = VPNSIP__CLEAR_PEER__INIT;
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	struct scene scene;

	open_scene(&scene, *state);
	scene.is_holding = true;
	for (int i = 0; i < 300; i++)
		order(&scene, NULL, &clear.base);
	assert_true(run_until(scene.fixture->base, 2000, are_three_hundred_held, &scene));
	order(&scene, NULL, &check.base);
	assert_true(run_until(scene.fixture->base, 500, is_set, &scene.replies));
	while (scene.held_count > 0)
		bus_done(scene.held[--scene.held_count]);
	assert_true(run_until(scene.fixture->base, 2000, are_few_places_left, &scene));
	scene.replies = 0;
	order(&scene, NULL, &check.base);
	assert_true(run_until(scene.fixture->base, 500, is_set, &scene.replies));
	close_scene(&scene);
}

static bool are_all_replied(void *context)
{
	return *(const int *)context == 100;
}

/** Packets that come and go for hours do not make it forget what it has done: an order that comes again is not carried out twice. */
static void packets_push_no_reply_out(void **state)
{
	Vpnsip__CheckTunnel check = VPNSIP__CHECK_TUNNEL__INIT;
	Vpnsip__SendIkePacket send = VPNSIP__SEND_IKE_PACKET__INIT;
	struct reply_key key = {.source = COORDINATOR};
	const uint8_t *octets;
	struct scene scene;
	struct bus *ike;
	size_t size;

	open_scene(&scene, *state);
	ike = open_bus_with(scene.fixture,
	                    (struct bus_options){.self = IKE_AGENT,
	                                         .handlers = &no_handlers,
	                                         .calls = BUS_SERVICE(TUNNEL_AGENT)});
	order(&scene, NULL, &check.base);
	assert_true(run_until(scene.fixture->base, 1000, is_set, &scene.replies));
	key.epoch = scene.caller->epoch;
	key.request_id = atomic_load(&scene.caller->last_request_id);
	assert_int_equal(reply_cache_find(scene.agent->replies, &key, &octets, &size),
	                 REPLY_STORED);
	for (int sent = 0; sent < REPLY_CACHE_SIZE; sent += 100) {
		scene.replies = 0;
		for (int i = 0; i < 100; i++)
			bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 1000, on_reply, &scene);
		assert_true(run_until(scene.fixture->base, 2000, are_all_replied, &scene.replies));
		assert_int_equal(scene.outcome, BUS_DONE);
	}
	assert_int_equal(reply_cache_find(scene.agent->replies, &key, &octets, &size),
	                 REPLY_STORED);
	bus_close(ike);
	close_scene(&scene);
}

static void too_many_unanswered_are_not_sent(void **state)
{
	Vpnsip__SendIkePacket send = VPNSIP__SEND_IKE_PACKET__INIT;
	Vpnsip__RemoveSa remove = VPNSIP__REMOVE_SA__INIT;
	struct fixture *fixture = *state;
	struct scene scene = {.fixture = fixture};
	struct bus *ike = open_bus_with(fixture,
	                                (struct bus_options){.self = IKE_AGENT,
	                                                     .handlers = &no_handlers,
	                                                     .calls = BUS_SERVICE(TUNNEL_AGENT)});

	for (int i = 0; i < 256; i++)
		bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 400, NULL, NULL);
	bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 400, on_reply, &scene);
	run_until(fixture->base, 20, NULL, NULL);
	assert_int_equal(scene.replies, 1);
	assert_int_equal(scene.outcome, BUS_NOT_SENT);
	assert_non_null(strstr(scene.cause, "too many wait for their answer"));
	assert_int_equal(ike->counters.shed_calls, 1);
	bus_call(ike, TUNNEL_AGENT, NULL, &remove.base, 500, on_reply, &scene);
	run_until(fixture->base, 100, NULL, NULL);
	assert_int_equal(scene.replies, 1); /* it waits */
	run_until(fixture->base, 600, NULL, NULL);
	assert_int_equal(scene.replies, 2);
	scene.replies = 0;
	bus_call(ike, TUNNEL_AGENT, NULL, &send.base, 3000, on_reply, &scene);
	run_until(fixture->base, 50, NULL, NULL);
	assert_int_equal(scene.replies, 0); /* there is room again */
	bus_close(ike);
	bus_free_envelope(scene.reply);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(what_stands_inside_is_told),
		BUS_TEST(debug_switches_are_the_services_own),
		BUS_TEST(steering_is_for_root),
		BUS_TEST(a_trace_tells_the_life_of_an_attempt),
		BUS_TEST(a_trace_keeps_the_first_and_the_last),
		BUS_TEST(the_traces_of_a_thousand_calls_have_a_limit),
		BUS_TEST(sessions_that_rest_push_no_trace_out),
		BUS_TEST(overload_sheds_what_begins_and_never_what_ends),
		BUS_TEST(slow_orders_keep_no_others_waiting),
		BUS_TEST(packets_push_no_reply_out),
		BUS_TEST(too_many_unanswered_are_not_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
