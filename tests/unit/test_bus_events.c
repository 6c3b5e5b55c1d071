/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Events may get lost; what a subscriber knows may not. The library's own counters are set here to lose some. */
#include "bus_fixture.h"

#include "bus/internal.h"
#include "bus/redact.h"

#define LOG_SIZE 64

/** What a subscriber was told, in order: "s3" a snapshot that held 3, "e4" an event that said 4, "u", "a" health. */
struct subscriber {
	struct bus *bus;
	char told[LOG_SIZE][24];
	int count;
	int snapshots;
	uint64_t last_trace;
};

/** An owner whose whole state is one number. */
struct owner {
	struct bus *bus;
	uint32_t value;
	bool is_holding;
	struct bus_request *held;
};

static void tell(struct subscriber *subscriber, const char *format, unsigned value)
{
	assert_true(subscriber->count < LOG_SIZE);
	snprintf(subscriber->told[subscriber->count++], sizeof(subscriber->told[0]), format, value);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct subscriber *subscriber = context;

	assert_int_equal(event->body_case, VPNSIP__ENVELOPE__BODY_TUNNEL_CHANGED);
	subscriber->last_trace = event->trace_id;
	tell(subscriber, "e%u", event->tunnel_changed->mtu);
}

static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct subscriber *subscriber = context;

	assert_int_equal(peer, TUNNEL_AGENT);
	assert_int_equal(snapshot->body_case, VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT);
	subscriber->snapshots++;
	tell(subscriber, "s%u", snapshot->tunnel_snapshot->tunnels[0]->mtu);
}

static void on_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	(void)peer;
	tell(context, health == VPNSIP__PEER_HEALTH__PEER_UP ? "up" : "away", 0);
}

static const struct bus_handlers subscriber_handlers = {
	.event = on_event, .resync = on_resync, .peer = on_peer};

static void answer_snapshot(struct owner *owner, struct bus_request *request)
{
	Vpnsip__TunnelSnapshot snapshot = VPNSIP__TUNNEL_SNAPSHOT__INIT;
	Vpnsip__TunnelChanged tunnel = VPNSIP__TUNNEL_CHANGED__INIT;
	Vpnsip__TunnelChanged *tunnels[] = {&tunnel};

	tunnel.mtu = owner->value;
	snapshot.tunnels = tunnels;
	snapshot.n_tunnels = 1;
	bus_reply(request, &snapshot.base);
}

static void on_snapshot(void *context, struct bus_request *request)
{
	struct owner *owner = context;

	if (owner->is_holding)
		owner->held = request;
	else
		answer_snapshot(owner, request);
}

static const struct bus_handlers owner_handlers = {.snapshot = on_snapshot};

static void publish(struct owner *owner)
{
	Vpnsip__TunnelChanged changed = VPNSIP__TUNNEL_CHANGED__INIT;

	changed.mtu = ++owner->value;
	bus_publish(owner->bus, "vsip7", &changed.base);
}

static void lose(struct owner *owner)
{
	owner->value++;
	owner->bus->sequence++;
}

static void open_owner(struct fixture *fixture, struct owner *owner)
{
	owner->bus = open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                         .handlers = &owner_handlers,
	                                                         .context = owner});
}

static bool is_told_more(void *context)
{
	return ((struct subscriber *)context)->count >= LOG_SIZE;
}

static void settle(struct fixture *fixture, struct subscriber *subscriber, unsigned msec)
{
	run_until(fixture->base, msec, is_told_more, subscriber);
}

static bool has_snapshot(void *context)
{
	return ((struct subscriber *)context)->snapshots > 0;
}

static void open_both(struct fixture *fixture, struct owner *owner, struct subscriber *subscriber)
{
	open_owner(fixture, owner);
	subscriber->bus =
		open_bus_with(fixture, (struct bus_options){.self = COORDINATOR,
	                                                    .handlers = &subscriber_handlers,
	                                                    .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                    .context = subscriber});
	if (!owner->is_holding)
		assert_true(run_until(fixture->base, 2000, has_snapshot, subscriber));
}

static void close_both(struct owner *owner, struct subscriber *subscriber)
{
	bus_close(subscriber->bus);
	bus_close(owner->bus);
}

static void assert_told(const struct subscriber *subscriber, const char *expected)
{
	char told[1024] = "";
	size_t length = 0;

	for (int i = 0; i < subscriber->count; i++)
		length += (size_t)snprintf(told + length, sizeof(told) - length, "%s%s",
		                           i > 0 ? " " : "", subscriber->told[i]);
	assert_string_equal(told, expected);
}

static void events_follow_the_snapshot_in_order(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	for (int i = 0; i < 5; i++)
		publish(&owner);
	settle(fixture, &subscriber, 200);
	assert_told(&subscriber, "up s10 e11 e12 e13 e14 e15");
	assert_true(subscriber.last_trace != 0);
	close_both(&owner, &subscriber);
}

static void a_gap_is_filled_by_a_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	publish(&owner);
	settle(fixture, &subscriber, 100);
	lose(&owner);
	lose(&owner);
	publish(&owner);
	settle(fixture, &subscriber, 200);
	publish(&owner);
	settle(fixture, &subscriber, 100);
	assert_told(&subscriber, "up s10 e11 s14 e15");
	assert_int_equal(subscriber.bus->peers[TUNNEL_AGENT].counters.events_lost, 2);
	assert_int_equal(subscriber.bus->peers[TUNNEL_AGENT].counters.gaps, 1);
	close_both(&owner, &subscriber);
}

static bool is_asked(void *context)
{
	return ((struct owner *)context)->held != NULL;
}

static void events_during_the_snapshot_are_replayed(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};
	uint64_t sequence;
	uint32_t value;

	open_both(fixture, &owner, &subscriber);
	owner.is_holding = true;
	lose(&owner);
	publish(&owner);
	assert_true(run_until(fixture->base, 1000, is_asked, &owner));
	publish(&owner); /* 13: in the snapshot, must not be told again */
	sequence = owner.bus->sequence;
	value = owner.value;
	publish(&owner); /* 14 and 15: after it */
	publish(&owner);
	settle(fixture, &subscriber, 100);
	assert_told(&subscriber, "up s10");

	/* The reply as of the moment between 13 and 14. */
	owner.bus->sequence = sequence;
	owner.value = value;
	answer_snapshot(&owner, owner.held);
	owner.bus->sequence += 2;
	owner.value += 2;
	settle(fixture, &subscriber, 200);
	assert_told(&subscriber, "up s10 s13 e14 e15");
	close_both(&owner, &subscriber);
}

static void a_gap_within_the_replay_asks_again(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	owner.is_holding = true;
	lose(&owner);
	publish(&owner);
	assert_true(run_until(fixture->base, 1000, is_asked, &owner));
	owner.is_holding = false;
	lose(&owner);
	publish(&owner);
	settle(fixture, &subscriber, 100);
	owner.bus->sequence -= 2;
	owner.value -= 2;
	answer_snapshot(&owner, owner.held);
	owner.bus->sequence += 2;
	owner.value += 2;
	settle(fixture, &subscriber, 300);
	assert_told(&subscriber, "up s10 s12 s14");
	close_both(&owner, &subscriber);
}

static void a_lost_last_event_is_missed_by_the_heartbeat(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	lose(&owner);
	settle(fixture, &subscriber, 1400);
	assert_told(&subscriber, "up s10 s11");
	close_both(&owner, &subscriber);
}

static void a_new_start_of_the_owner_is_a_new_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	publish(&owner);
	settle(fixture, &subscriber, 100);
	bus_close(owner.bus);
	settle(fixture, &subscriber, 100);
	owner.value = 30;
	open_owner(fixture, &owner);
	settle(fixture, &subscriber, 2200);
	publish(&owner);
	settle(fixture, &subscriber, 100);
	assert_told(&subscriber, "up s10 e11 away up s30 e31");
	close_both(&owner, &subscriber);
}

static void a_new_epoch_alone_is_a_new_snapshot(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};

	open_both(fixture, &owner, &subscriber);
	owner.bus->epoch++;
	owner.bus->sequence = 0;
	publish(&owner);
	settle(fixture, &subscriber, 200);
	assert_told(&subscriber, "up s10 s11");
	close_both(&owner, &subscriber);
}

static void others_may_not_publish_it(void **state)
{
	struct fixture *fixture = *state;
	struct owner owner = {.value = 10};
	struct subscriber subscriber = {0};
	Vpnsip__CallChanged foreign = VPNSIP__CALL_CHANGED__INIT;

	open_both(fixture, &owner, &subscriber);
	/* The sender refuses; forged past it, the receiver does. */
	bus_publish(owner.bus, NULL, &foreign.base);
	events_publish_unnumbered(owner.bus, NULL, &foreign.base);
	owner.bus->self = SIP_AGENT;
	events_publish_unnumbered(owner.bus, NULL, &foreign.base);
	owner.bus->self = TUNNEL_AGENT;
	settle(fixture, &subscriber, 200);
	assert_told(&subscriber, "up s10");
	assert_int_equal(subscriber.bus->counters.refused_messages, 2);
	close_both(&owner, &subscriber);
}

/* The tap. */

struct onlooker {
	struct bus *bus;
	int taps;
	int events;
	Vpnsip__TapPoint points[16];
	char key[32];
};

static void on_tap(void *context, const Vpnsip__Envelope *tapped)
{
	struct onlooker *onlooker = context;
	const ProtobufCBinaryData *octets = &tapped->tapped->envelope;
	Vpnsip__Envelope *inner = vpnsip__envelope__unpack(NULL, octets->len, octets->data);

	assert_non_null(inner);
	assert_true(onlooker->taps < 16);
	onlooker->points[onlooker->taps++] = tapped->tapped->point;
	if (inner->body_case == VPNSIP__ENVELOPE__BODY_INSTALL_SA)
		snprintf(onlooker->key, sizeof(onlooker->key), "%.*s",
		         (int)inner->install_sa->encryption_key->octets.len,
		         (char *)inner->install_sa->encryption_key->octets.data);
	vpnsip__envelope__free_unpacked(inner, NULL);
}

static void on_seen(void *context, const Vpnsip__Envelope *event)
{
	(void)event;
	((struct onlooker *)context)->events++;
}

static const struct bus_handlers onlooker_handlers = {.tap = on_tap, .event = on_seen};

struct installer {
	char received[32];
	int replies;
};

static void on_install(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	const ProtobufCBinaryData *key = &order->install_sa->encryption_key->octets;

	snprintf(((struct installer *)context)->received, 32, "%.*s", (int)key->len,
	         (char *)key->data);
	bus_done(request);
}

static void count_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)reply;
	assert_int_equal(outcome, BUS_DONE);
	(*(int *)context)++;
}

static void install(struct fixture *fixture, struct bus *ike, int *replies)
{
	Vpnsip__InstallSa order = VPNSIP__INSTALL_SA__INIT;
	Vpnsip__Secret key = VPNSIP__SECRET__INIT;

	key.octets.data = (uint8_t *)"0123456789abcdef";
	key.octets.len = 16;
	order.encryption_key = &key;
	*replies = 0;
	bus_call(ike, TUNNEL_AGENT, "vsip7", &order.base, 1000, count_reply, replies);
	assert_true(run_until(fixture->base, 1500, is_set, replies));
	run_until(fixture->base, 100, NULL, NULL);
}

static void enable_tap(struct fixture *fixture, struct bus *cli, Vpnsip__Service service,
                       unsigned lifetime_sec)
{
	Vpnsip__EnableTap order = VPNSIP__ENABLE_TAP__INIT;
	int replies = 0;

	order.lifetime_sec = lifetime_sec;
	bus_call(cli, service, NULL, &order.base, 1000, count_reply, &replies);
	assert_true(run_until(fixture->base, 1500, is_set, &replies));
}

static void a_tap_shows_orders_without_their_secrets(void **state)
{
	static const struct bus_handlers installer_handlers = {.request = on_install};
	static const struct bus_handlers no_handlers;
	struct fixture *fixture = *state;
	struct installer installer = {0};
	struct onlooker onlooker = {0};
	unsigned both = BUS_SERVICE(TUNNEL_AGENT) | BUS_SERVICE(IKE_AGENT);
	int replies;
	struct bus *tunnel = open_bus_with(fixture,
	                                   (struct bus_options){.self = TUNNEL_AGENT,
	                                                        .handlers = &installer_handlers,
	                                                        .context = &installer});
	struct bus *ike = open_bus_with(fixture,
	                                (struct bus_options){.self = IKE_AGENT,
	                                                     .handlers = &no_handlers,
	                                                     .calls = BUS_SERVICE(TUNNEL_AGENT)});

	onlooker.bus = open_bus_with(fixture, (struct bus_options){.self = CLI,
	                                                           .handlers = &onlooker_handlers,
	                                                           .subscribes = both,
	                                                           .context = &onlooker});
	install(fixture, ike, &replies);
	assert_int_equal(onlooker.taps, 0);
	assert_string_equal(installer.received, "0123456789abcdef");

	enable_tap(fixture, onlooker.bus, TUNNEL_AGENT, 30);
	enable_tap(fixture, onlooker.bus, IKE_AGENT, 30);
	run_until(fixture->base, 100, NULL, NULL);
	memset(onlooker.points, 0, sizeof(onlooker.points));
	onlooker.taps = 0;
	install(fixture, ike, &replies);
	assert_int_equal(onlooker.taps, 4); /* sent and received, order and reply */
	assert_string_equal(onlooker.key, REDACTED_TEXT);
	assert_string_equal(installer.received, "0123456789abcdef");

	enable_tap(fixture, onlooker.bus, TUNNEL_AGENT, 0);
	enable_tap(fixture, onlooker.bus, IKE_AGENT, 0);
	onlooker.taps = 0;
	install(fixture, ike, &replies);
	assert_int_equal(onlooker.taps, 0);
	assert_int_equal(onlooker.events, 0);
	bus_close(onlooker.bus);
	bus_close(ike);
	bus_close(tunnel);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(events_follow_the_snapshot_in_order),
		BUS_TEST(a_gap_is_filled_by_a_snapshot),
		BUS_TEST(events_during_the_snapshot_are_replayed),
		BUS_TEST(a_gap_within_the_replay_asks_again),
		BUS_TEST(a_lost_last_event_is_missed_by_the_heartbeat),
		BUS_TEST(a_new_start_of_the_owner_is_a_new_snapshot),
		BUS_TEST(a_new_epoch_alone_is_a_new_snapshot),
		BUS_TEST(others_may_not_publish_it),
		BUS_TEST(a_tap_shows_orders_without_their_secrets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
