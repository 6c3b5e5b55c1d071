/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Held packets: bounds, order and pace, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/tunnel_fixture.h"

/* What a packet weighs on the wire in the pacing. */
#define WIRE_BITS(size) (((size) + 73) * 8)

static void keeps_order_and_drops_oldest(void **state)
{
	struct hold hold;
	uint8_t packet[100];
	unsigned dropped = 0;
	size_t size;

	(void)state;
	hold_init(&hold, sizeof(packet), 1000000, HOLD);
	assert_null(hold_first(&hold, &size));
	for (unsigned number = 0; number < 100; number++) {
		memset(packet, (int)number, sizeof(packet));
		dropped += hold_add(&hold, packet, 1 + number % 100, START + number);
	}
	assert_int_equal(dropped, 100 - HOLD_PACKETS);
	for (unsigned number = 100 - HOLD_PACKETS; number < 100; number++) {
		const uint8_t *first = hold_first(&hold, &size);

		assert_int_equal(size, 1 + number % 100);
		assert_int_equal(first[0], number);
		assert_int_equal(first[size - 1], number);
		hold_drop_first(&hold);
	}
	assert_int_equal(hold.bytes, 0);
	hold_drop_first(&hold);
	assert_int_equal(hold.count, 0);
	hold_drop_all(&hold);
}

static bool is_even(void *context, const uint8_t *packet, size_t size)
{
	(void)context;
	(void)size;
	return packet[0] % 2 == 0;
}

/* The ring is full and begins in its middle. */
static void filter_keeps_order_sizes_and_ages(void **state)
{
	struct hold hold;
	uint8_t packet[100];
	size_t size;

	(void)state;
	hold_init(&hold, sizeof(packet), 1000000, HOLD);
	for (unsigned number = 0; number < 100; number++) {
		memset(packet, (int)number, sizeof(packet));
		hold_add(&hold, packet, 1 + number, START + number);
	}
	hold_filter(&hold, is_even, NULL);
	assert_int_equal(hold.count, HOLD_PACKETS / 2);
	for (unsigned number = 100 - HOLD_PACKETS; number < 100; number += 2) {
		const uint8_t *first = hold_first(&hold, &size);

		assert_int_equal(size, 1 + number);
		assert_int_equal(first[0], number);
		assert_int_equal(first[size - 1], number);
		assert_int_equal(hold_expires_usec(&hold), START + number + HOLD);
		hold_drop_first(&hold);
	}
	assert_int_equal(hold.bytes, 0);
	assert_int_equal(hold.count, 0);
	hold_drop_all(&hold);
}

static void bounds_bytes(void **state)
{
	struct hold hold;
	uint8_t packet[1500] = {0};

	(void)state;
	hold_init(&hold, sizeof(packet), 4000, HOLD);
	assert_int_equal(hold_add(&hold, packet, 1500, START), 0);
	assert_int_equal(hold_add(&hold, packet, 1500, START), 0);
	assert_int_equal(hold_add(&hold, packet, 1500, START), 1);
	assert_int_equal(hold.bytes, 3000);
	assert_int_equal(hold_add(&hold, packet, 1501, START), 1); /* larger than the largest */
	assert_int_equal(hold.count, 2);
	/* One packet always fits. */
	hold.byte_limit = 100;
	assert_int_equal(hold_add(&hold, packet, 1500, START), 2);
	assert_int_equal(hold.count, 1);
	hold_drop_all(&hold);
}

static void expires_by_age(void **state)
{
	struct hold hold;
	uint8_t packet[100] = {0};

	(void)state;
	hold_init(&hold, sizeof(packet), 4000, HOLD);
	assert_int_equal(hold_expires_usec(&hold), UINT64_MAX);
	hold_add(&hold, packet, 100, START);
	hold_add(&hold, packet, 100, START + SECOND);
	assert_int_equal(hold_expires_usec(&hold), START + HOLD);
	assert_int_equal(hold_expire(&hold, START + HOLD - 1), 0);
	assert_int_equal(hold_expire(&hold, START + HOLD), 1);
	assert_int_equal(hold_expire(&hold, START + HOLD + SECOND), 1);
	assert_int_equal(hold.count, 0);
	hold_drop_all(&hold);
}

/* Runs the release timer from `now` until the hold is empty; returns the time of the last packet. */
static uint64_t drain(struct tunnel *tunnel, uint64_t now, uint64_t lateness, uint8_t first)
{
	uint8_t packet[2048], number = first;
	uint64_t released = now;

	while (tunnel->state == TUNNEL_DRAINING) {
		uint64_t next = tunnel_next_release_usec(tunnel, now);

		if (next > now)
			now = next + lateness;
		while (tunnel_release(tunnel, packet, now) > 0) {
			assert_int_equal(packet[20], number++);
			released = now;
		}
	}
	return released;
}

static void start_draining(struct tunnel *tunnel, unsigned count, uint32_t rate_kbit)
{
	fixture_init(tunnel);
	for (unsigned i = 0; i < count; i++)
		take_payload(tunnel, (uint8_t)i, START);
	tunnel_set_peer(tunnel, ATTEMPT, &peer_address, START);
	install_sas(tunnel, START);
	tunnel_open(tunnel, ATTEMPT, rate_kbit, START + SECOND);
	assert_int_equal(tunnel->state, TUNNEL_DRAINING);
}

static void releases_at_the_negotiated_rate(void **state)
{
	static const uint32_t rates_kbit[] = {64, 128, 1000, 20000};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct tunnel tunnel;
		uint64_t expected, last;

		start_draining(&tunnel, 40, rates_kbit[i]);
		last = drain(&tunnel, START + SECOND, 0, 0);
		expected = 39 * (WIRE_BITS(PACKET_SIZE) * 1000 / rates_kbit[i]);
		assert_int_equal(last - START - SECOND, expected);
		assert_int_equal(tunnel.state, TUNNEL_OPEN);
		tunnel_destroy(&tunnel);
	}
}

/* A timer that is always late by 1 ms does not slow it down at the end. */
static void makes_up_for_late_timers(void **state)
{
	struct tunnel tunnel;
	uint64_t last;

	(void)state;
	start_draining(&tunnel, 40, 20000);
	last = drain(&tunnel, START + SECOND, MSEC, 0);
	assert_in_range(last - START - SECOND, 39 * (WIRE_BITS(PACKET_SIZE) / 20),
	                39 * (WIRE_BITS(PACKET_SIZE) / 20) + 2 * MSEC);
	tunnel_destroy(&tunnel);
}

/* A pause is no credit for a burst. */
static void does_not_burst_after_a_pause(void **state)
{
	struct tunnel tunnel;
	uint8_t packet[2048];
	unsigned burst = 0;

	(void)state;
	start_draining(&tunnel, 40, 1000);
	while (tunnel_release(&tunnel, packet, START + 6 * SECOND) > 0)
		burst++;
	assert_in_range(burst, 1, 2);
	tunnel_destroy(&tunnel);
}

/* Live packets queue behind the held ones and pass directly once those are gone. */
static void queues_live_packets_behind(void **state)
{
	struct tunnel tunnel;

	(void)state;
	start_draining(&tunnel, 5, 1000);
	assert_int_equal(take_payload(&tunnel, 5, START + SECOND), TUNNEL_HELD);
	assert_int_equal(take_payload(&tunnel, 6, START + SECOND), TUNNEL_HELD);
	drain(&tunnel, START + SECOND, 0, 0);
	assert_int_equal(take_payload(&tunnel, 7, START + 2 * SECOND), TUNNEL_SEND);
	tunnel_destroy(&tunnel);
}

static void counts_overflow(void **state)
{
	struct tunnel tunnel;

	(void)state;
	fixture_init(&tunnel);
	for (unsigned i = 0; i < 70; i++)
		take_payload(&tunnel, (uint8_t)i, START);
	assert_int_equal(tunnel.hold.count, HOLD_PACKETS);
	assert_int_equal(tunnel.drops[DROP_HOLD_OVERFLOW], 6);
	assert_int_equal(tunnel.wanting_since_usec, START);
	tunnel_destroy(&tunnel);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_order_and_drops_oldest),
		cmocka_unit_test(filter_keeps_order_sizes_and_ages),
		cmocka_unit_test(bounds_bytes),
		cmocka_unit_test(expires_by_age),
		cmocka_unit_test(releases_at_the_negotiated_rate),
		cmocka_unit_test(makes_up_for_late_timers),
		cmocka_unit_test(does_not_burst_after_a_pause),
		cmocka_unit_test(queues_live_packets_behind),
		cmocka_unit_test(counts_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
