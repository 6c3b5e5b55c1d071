/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A message that is changed on its way is not carried out, even where it still can be read as one. */
#include <pthread.h>

#include "bus_fixture.h"
#include "sp_client.h"

#include "bus/internal.h"

#define KEY         "0123456789abcdef0123456789abcdef"
#define TIMES       60
#define ORDER_MSEC  400
#define POINT(name) VPNSIP__FAULT_POINT__##name

/** An ike-agent that orders and a tunnel-agent that obeys; the cli orders the faults. */
struct scene {
	struct fixture *fixture;
	struct bus *ike, *tunnel, *cli;
	unsigned executed, executed_wrongly, seen, seen_wrongly, ended, done;
	int is_set, is_finished;
	enum bus_outcome blocking;
};

/** An order with a key in it, as it is sent. */
struct order {
	Vpnsip__InstallChild child;
	Vpnsip__InstallSa sa;
	Vpnsip__Secret key;
};

static const ProtobufCMessage *order_with_key(struct order *order)
{
	vpnsip__install_child__init(&order->child);
	vpnsip__install_sa__init(&order->sa);
	vpnsip__secret__init(&order->key);
	order->key.octets = (ProtobufCBinaryData){strlen(KEY), (uint8_t *)KEY};
	order->sa.spi = 0x12345678;
	order->sa.encryption_key = &order->key;
	order->child.inbound = &order->sa;
	return &order->child.base;
}

static bool has_key(const Vpnsip__InstallSa *sa)
{
	return sa != NULL && sa->spi == 0x12345678 && sa->encryption_key != NULL &&
	       sa->encryption_key->octets.len == strlen(KEY) &&
	       memcmp(sa->encryption_key->octets.data, KEY, strlen(KEY)) == 0;
}

static void on_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct scene *scene = context;

	scene->executed++;
	if (order->body_case != VPNSIP__ENVELOPE__BODY_INSTALL_CHILD ||
	    !has_key(order->install_child->inbound))
		scene->executed_wrongly++;
	bus_done(request);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct scene *scene = context;

	scene->seen++;
	if (event->body_case != VPNSIP__ENVELOPE__BODY_TUNNEL_CHANGED ||
	    strcmp(event->tunnel_changed->tunnel, KEY) != 0)
		scene->seen_wrongly++;
}

static const struct bus_handlers tunnel_handlers = {.request = on_order};
static const struct bus_handlers ike_handlers = {.event = on_event};
static const struct bus_handlers no_handlers;

static bool is_complete(void *context)
{
	const struct scene *scene = context;

	return bus_peer_health(scene->ike, TUNNEL_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP &&
	       peers_are_complete(scene->cli);
}

static void open_scene(struct scene *scene, struct fixture *fixture)
{
	memset(scene, 0, sizeof(*scene));
	scene->fixture = fixture;
	scene->tunnel = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                            .handlers = &tunnel_handlers,
	                                                            .allows_faults = true,
	                                                            .context = scene});
	scene->ike = open_bus_with(fixture,
	                           (struct bus_options){.self = IKE_AGENT,
	                                                .handlers = &ike_handlers,
	                                                .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                .allows_faults = true,
	                                                .context = scene});
	scene->cli = open_bus_with(
		fixture,
		(struct bus_options){.self = CLI,
	                             .calls = BUS_SERVICE(TUNNEL_AGENT) | BUS_SERVICE(IKE_AGENT),
	                             .handlers = &no_handlers});
	assert_true(run_until(fixture->base, 3000, is_complete, scene));
	/* An onlooker is up as soon as it is connected; its first event is to be heard. */
	run_until(fixture->base, 100, NULL, NULL);
}

static void close_scene(struct scene *scene)
{
	bus_close(scene->cli);
	bus_close(scene->ike);
	bus_close(scene->tunnel);
}

static void reset(struct scene *scene)
{
	scene->executed = scene->executed_wrongly = 0;
	scene->seen = scene->seen_wrongly = 0;
	scene->ended = scene->done = 0;
}

/** The order as an envelope of ike-agent's, packed without a checksum. */
static size_t pack(uint8_t *octets, uint64_t request_id)
{
	Vpnsip__Envelope envelope = VPNSIP__ENVELOPE__INIT;
	struct order order;

	order_with_key(&order);
	envelope.kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope.source = IKE_AGENT;
	envelope.epoch = 4711;
	envelope.request_id = request_id;
	envelope.session = "vsip7";
	envelope.body_case = VPNSIP__ENVELOPE__BODY_INSTALL_CHILD;
	envelope.install_child = &order.child;
	return vpnsip__envelope__pack(&envelope, octets);
}

/** Sends the order once for each of its octets, with that one changed before or after the checksum was made. */
static unsigned send_changed(struct scene *scene, int fd, bool is_checksum_right)
{
	struct expected_undecodable expected = {&scene->tunnel->counters.undecodable_messages, 0};
	const uint64_t before = *expected.counter;
	uint8_t octets[1024];
	unsigned sent = 0;

	for (size_t at = 0, end = 1; at < end; at++) {
		size_t size = pack(octets, at + 1);

		if (is_checksum_right) {
			end = size;
			octets[at] ^= 0x01;
			sp_send_request(fd, octets, sp_add_checksum(octets, size));
			run_until(scene->fixture->base, 4, NULL, NULL);
		} else {
			end = sp_add_checksum(octets, size);
			octets[at] ^= 0x01;
			sp_send_request(fd, octets, end);
			expected.count = before + ++sent;
			assert_true(
				run_until(scene->fixture->base, 2000, is_undecodable, &expected));
		}
	}
	return sent;
}

static bool is_executed(void *context)
{
	return ((struct scene *)context)->executed > 0;
}

static bool is_key_changed(void *context)
{
	return ((struct scene *)context)->executed_wrongly >= strlen(KEY);
}

/** Unchanged it is carried out; without a checksum it is not. */
static void check_unchanged(struct scene *scene)
{
	uint8_t octets[1024];
	int fd = sp_connect(scene->fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);

	assert_true(fd >= 0);
	sp_send_request(fd, octets, sp_add_checksum(octets, pack(octets, 5000)));
	assert_true(run_until(scene->fixture->base, 2000, is_executed, scene));
	sp_send_request(fd, octets, pack(octets, 5001));
	run_until(scene->fixture->base, 100, NULL, NULL);
	assert_int_equal(scene->executed, 1);
	assert_int_equal(scene->executed_wrongly, 0);
	close(fd);
	reset(scene);
}

static void a_changed_order_is_not_carried_out(void **state)
{
	struct scene scene;
	unsigned sent;
	int fd;

	open_scene(&scene, *state);
	check_unchanged(&scene);
	fd = sp_connect(scene.fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	assert_true(fd >= 0);
	sent = send_changed(&scene, fd, false);
	print_message("%u octets\n", sent);
	assert_true(sent > strlen(KEY));
	assert_int_equal(scene.executed, 0);
	assert_null(sp_receive_reply(fd));

	/* Control: the same changes with a checksum that was made after them; the key is changed in some. */
	send_changed(&scene, fd, true);
	assert_true(run_until(scene.fixture->base, 2000, is_key_changed, &scene));
	close(fd);
	close_scene(&scene);
}

static void on_set(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)reply;
	assert_int_equal(outcome, BUS_DONE);
	*(int *)context = 1;
}

static void operate(struct scene *scene, Vpnsip__Service where, const ProtobufCMessage *order)
{
	scene->is_set = 0;
	bus_call(scene->cli, where, NULL, order, 2000, on_set, &scene->is_set);
	assert_true(run_until(scene->fixture->base, 2500, is_set, &scene->is_set));
}

/** All that passes there from now on is changed. */
static void corrupt(struct scene *scene, Vpnsip__FaultPoint point, Vpnsip__Service where)
{
	Vpnsip__SetFault fault = VPNSIP__SET_FAULT__INIT;

	fault.point = point;
	fault.action = VPNSIP__FAULT_ACTION__FAULT_CORRUPT;
	fault.seed = 4711;
	operate(scene, where, &fault.base);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct scene *scene = context;

	(void)reply;
	scene->ended++;
	if (outcome == BUS_DONE)
		scene->done++;
}

static bool all_ended(void *context)
{
	return ((const struct scene *)context)->ended == TIMES;
}

static void order_and_publish(struct scene *scene)
{
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;
	struct order order;

	reset(scene);
	fact.tunnel = KEY;
	for (int n = 0; n < TIMES; n++) {
		bus_call(scene->ike, TUNNEL_AGENT, "vsip7", order_with_key(&order), ORDER_MSEC,
		         on_reply, scene);
		bus_publish(scene->tunnel, "vsip7", &fact.base);
		run_until(scene->fixture->base, 2, NULL, NULL);
	}
	assert_true(run_until(scene->fixture->base, ORDER_MSEC + 1000, all_ended, scene));
	assert_int_equal(scene->executed_wrongly, 0);
	assert_int_equal(scene->seen_wrongly, 0);
}

static uint64_t undecodable(const struct scene *scene)
{
	return scene->tunnel->counters.undecodable_messages +
	       scene->ike->counters.undecodable_messages;
}

static void what_is_changed_at_any_point_is_dropped(void **state)
{
	const struct {
		Vpnsip__FaultPoint point;
		Vpnsip__Service where;
		unsigned executed, done;
	} rows[] = {{POINT(SEND_REQUEST), IKE_AGENT, 0, 0},
	            {POINT(BEFORE_HANDLER), TUNNEL_AGENT, 0, 0},
	            {POINT(AFTER_EFFECT), TUNNEL_AGENT, TIMES, 0},
	            {POINT(SEND_REPLY), TUNNEL_AGENT, TIMES, 0},
	            {POINT(RECEIVE_REPLY), IKE_AGENT, TIMES, 0},
	            {POINT(SEND_EVENT), TUNNEL_AGENT, TIMES, TIMES},
	            {POINT(RECEIVE_EVENT), IKE_AGENT, TIMES, TIMES}};
	Vpnsip__ClearFaults clear = VPNSIP__CLEAR_FAULTS__INIT;
	struct scene scene;

	open_scene(&scene, *state);
	order_and_publish(&scene);
	assert_int_equal(scene.executed, TIMES);
	assert_int_equal(scene.done, TIMES);
	assert_int_equal(scene.seen, TIMES);
	assert_int_equal(undecodable(&scene), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t before = undecodable(&scene);

		corrupt(&scene, rows[i].point, rows[i].where);
		order_and_publish(&scene);
		print_message("point %d: %u executed, %u done, %u seen\n", rows[i].point,
		              scene.executed, scene.done, scene.seen);
		assert_int_equal(scene.executed, rows[i].executed);
		assert_int_equal(scene.done, rows[i].done);
		assert_true(undecodable(&scene) >= before + TIMES);
		operate(&scene, rows[i].where, &clear.base);
	}
	close_scene(&scene);
}

static void *install_from_a_thread(void *context)
{
	struct scene *scene = context;
	struct order order;

	bus_free_envelope(bus_call_blocking(scene->ike, TUNNEL_AGENT, "vsip7",
	                                    order_with_key(&order), ORDER_MSEC, &scene->blocking));
	__atomic_store_n(&scene->is_finished, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void so_is_what_a_foreign_thread_sends_and_gets(void **state)
{
	const struct {
		Vpnsip__FaultPoint point; /* 0 = no fault */
		unsigned executed;
		enum bus_outcome outcome;
	} rows[] = {{0, 1, BUS_DONE},
	            {POINT(SEND_REQUEST), 0, BUS_TIMED_OUT},
	            {POINT(RECEIVE_REPLY), 1, BUS_LOST}};
	struct scene scene;

	open_scene(&scene, *state);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		Vpnsip__ClearFaults clear = VPNSIP__CLEAR_FAULTS__INIT;
		pthread_t thread;

		reset(&scene);
		scene.is_finished = 0;
		if (rows[i].point != 0)
			corrupt(&scene, rows[i].point, IKE_AGENT);
		assert_int_equal(pthread_create(&thread, NULL, install_from_a_thread, &scene), 0);
		assert_true(run_until(scene.fixture->base, 2000, is_set, &scene.is_finished));
		pthread_join(thread, NULL);
		assert_int_equal(scene.blocking, rows[i].outcome);
		assert_int_equal(scene.executed, rows[i].executed);
		assert_int_equal(scene.executed_wrongly, 0);
		operate(&scene, IKE_AGENT, &clear.base);
	}
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_changed_order_is_not_carried_out, fixture_set_up,
	                                        fixture_tear_down),
		cmocka_unit_test_setup_teardown(what_is_changed_at_any_point_is_dropped,
	                                        fixture_set_up, fixture_tear_down),
		cmocka_unit_test_setup_teardown(so_is_what_a_foreign_thread_sends_and_gets,
	                                        fixture_set_up, fixture_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
