/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Dummy packets, packets that are too big, and SPIs that nobody knows, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/tunnel_fixture.h"

static struct tunnel tunnel;

static int set_up(void **state)
{
	(void)state;
	fixture_init(&tunnel);
	tunnel.options.recovers_unknown_spi = true;
	tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START);
	install_sas(&tunnel, START);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tunnel_destroy(&tunnel);
	return 0;
}

static bool send_dummy(uint64_t now)
{
	uint8_t room[ESP_HEADROOM + TUNNEL_DUMMY_MAXIMUM + ESP_TAILROOM], *packet;
	size_t size;

	return tunnel_seal_dummy(&tunnel, room + ESP_HEADROOM, now, &packet, &size);
}

static void dummies_by_rate(void **state)
{
	unsigned count = 0;

	(void)state;
	tunnel.options.dummy_rate = 100;
	assert_int_equal(tunnel_next_dummy_usec(&tunnel, START), UINT64_MAX);
	assert_false(send_dummy(START)); /* not open */
	tunnel_open(&tunnel, ATTEMPT, 0, START);
	for (uint64_t now = START; now < START + SECOND; now += MSEC)
		while (send_dummy(now))
			count++;
	assert_int_equal(count, 100);
	/* A late timer is made up for, a pause is not. */
	for (count = 0; send_dummy(START + SECOND + 30 * MSEC);)
		count++;
	assert_int_equal(count, 4);
	for (count = 0; send_dummy(START + 60 * SECOND);)
		count++;
	assert_in_range(count, 1, 2);
	assert_int_equal(tunnel.out.packets, 0);
	assert_int_equal(tunnel.sas.outbound[0]->packets, tunnel.dummies_sent);
	assert_int_equal(tunnel.sas.outbound[0]->bytes, 0);
	tunnel_advance(&tunnel, START + IDLE);
	assert_true(tunnel.is_idle);
	tunnel_clear_peer(&tunnel, ATTEMPT, START + IDLE);
	assert_false(send_dummy(START + IDLE + SECOND));
}

static void dummies_by_interval(void **state)
{
	uint8_t room[2048], *packet;
	size_t size;

	(void)state;
	tunnel.options.dummy_usec = 5 * SECOND;
	tunnel_open(&tunnel, ATTEMPT, 0, START);
	assert_int_equal(tunnel_next_dummy_usec(&tunnel, START), START + 5 * SECOND);
	assert_false(send_dummy(START + 5 * SECOND - 1));
	build_packet(room + ESP_HEADROOM, PACKET_SIZE, "10.2.0.9", 1);
	assert_true(tunnel_seal(&tunnel, room + ESP_HEADROOM, PACKET_SIZE, START + 4 * SECOND,
	                        &packet, &size));
	assert_false(send_dummy(START + 9 * SECOND - 1));
	assert_true(send_dummy(START + 9 * SECOND));
	assert_false(send_dummy(START + 9 * SECOND));
	/* Keepalives are no ESP. */
	tunnel_note_sent(&tunnel, START + 13 * SECOND);
	assert_true(send_dummy(START + 14 * SECOND));
}

static void too_big_only_if_not_to_be_fragmented(void **state)
{
	uint8_t packet[PACKET_SIZE];

	(void)state;
	tunnel_open(&tunnel, ATTEMPT, 0, START);
	tunnel.plain_mtu = PACKET_SIZE - 1;
	tunnel.options.outer = (struct outer_policy){DF_COPY, ECN_PROPAGATE, true};
	build_packet(packet, PACKET_SIZE, "10.2.0.9", 1);
	packet[6] = 0x40;
	assert_int_equal(tunnel_take(&tunnel, packet, PACKET_SIZE, START), TUNNEL_TOO_BIG);
	packet[6] = 0;
	assert_int_equal(tunnel_take(&tunnel, packet, PACKET_SIZE, START), TUNNEL_SEND);
	packet[6] = 0x40;
	tunnel.options.outer.df_bit = DF_CLEAR;
	assert_int_equal(tunnel_take(&tunnel, packet, PACKET_SIZE, START), TUNNEL_SEND);
	assert_int_equal(tunnel.drops[DROP_TOO_BIG], 1);
}

static void receive_unknown(uint32_t spi, uint64_t now)
{
	uint8_t packet[60] = {0};

	packet[3] = (uint8_t)spi;
	packet[7] = 1;
	tunnel_keep_early(&tunnel, &peer_address, packet, sizeof(packet), now);
}

static void unknown_spis_are_told_seldom(void **state)
{
	uint32_t spi;

	(void)state;
	/* Before the session is open IKE is at work anyway. */
	receive_unknown(1, START);
	tunnel_advance(&tunnel, START + 2 * SECOND);
	assert_false(tunnel_next_unknown_spi(&tunnel, &spi));
	tunnel_open(&tunnel, ATTEMPT, 0, START + 2 * SECOND);
	receive_unknown(2, START + 3 * SECOND);
	assert_false(tunnel_next_unknown_spi(&tunnel, &spi)); /* its SA may still come */
	tunnel_advance(&tunnel, START + 4 * SECOND);
	assert_true(tunnel_next_unknown_spi(&tunnel, &spi));
	assert_int_equal(spi, 2);
	assert_false(tunnel_next_unknown_spi(&tunnel, &spi));
	for (unsigned i = 5; i < 14; i++) {
		receive_unknown(3, START + i * SECOND);
		tunnel_advance(&tunnel, START + (i + 1) * SECOND);
		assert_int_equal(tunnel_next_unknown_spi(&tunnel, &spi), i == 13);
	}
	assert_int_equal(tunnel.unknown_spi_reports, 2);
	tunnel.options.recovers_unknown_spi = false;
	receive_unknown(4, START + 40 * SECOND);
	tunnel_advance(&tunnel, START + 42 * SECOND);
	assert_false(tunnel_next_unknown_spi(&tunnel, &spi));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(dummies_by_rate),
		TEST(dummies_by_interval),
		TEST(too_big_only_if_not_to_be_fragmented),
		TEST(unknown_spis_are_told_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
