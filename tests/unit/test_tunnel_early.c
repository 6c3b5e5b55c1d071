/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ESP packets that arrive before their inbound SA is installed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/tunnel_fixture.h"

#define OTHER_SPI 0x3333

/* The tunnel under test has its peer and no SA yet; the peer has its outbound SA. */
static struct tunnel tunnel;
static struct tunnel peer;
static const struct sa_limits none;

static int set_up(void **state)
{
	(void)state;
	fixture_init(&tunnel);
	fixture_init(&peer);
	tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START);
	install_sa_with(&peer, false, IN_SPI, &none, START);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tunnel_destroy(&tunnel);
	tunnel_destroy(&peer);
	return 0;
}

/* The peer's next packet, of `size` inner octets, arrives. Whether it was kept. */
static bool arrive(size_t size, uint64_t now)
{
	uint8_t room[2048], *packet;
	size_t sealed_size;

	packet = seal_from_peer(peer.sas.outbound[0], room, size, "10.1.0.5", &sealed_size);
	return tunnel_keep_early(&tunnel, &peer_address, packet, sealed_size, now);
}

/* A packet of nobody's SA from this address. */
static bool arrive_forged(const char *source, size_t size, uint64_t now)
{
	uint8_t packet[2048] = {0, 0, 0x33, 0x33};
	struct sockaddr_storage address = peer_address;

	inet_pton(AF_INET, source, &((struct sockaddr_in *)&address)->sin_addr);
	return tunnel_keep_early(&tunnel, &address, packet, size, now);
}

/* Opens what was kept for IN_SPI; returns how many were good and in the peer's order. */
static unsigned serve(uint64_t now)
{
	uint8_t packet[EARLY_OCTETS], *inner;
	unsigned count = 0;
	uint32_t last = 0;
	size_t size, inner_size;

	while ((size = tunnel_take_early(&tunnel, IN_SPI, packet)) > 0) {
		uint32_t sequence = esp_sequence(packet);

		assert_true(sequence > last);
		last = sequence;
		count += tunnel_unseal(&tunnel, packet, size, now, &inner, &inner_size);
	}
	return count;
}

static void serves_them_in_order_with_their_sa(void **state)
{
	(void)state;
	assert_true(arrive(84, START));
	assert_true(arrive_forged("198.51.100.2", 100, START));
	assert_true(arrive(1400, START + 1));
	assert_true(arrive(84, START + 2));
	assert_int_equal(tunnel.in.packets, 0);
	install_sa_with(&tunnel, true, IN_SPI, &none, START + MSEC);
	assert_int_equal(serve(START + MSEC), 3);
	assert_int_equal(tunnel.in.packets, 3);
	assert_int_equal(tunnel.early_packets, 3);
	assert_int_equal(tunnel.early.count, 1); /* the one of another SPI waits on */
	assert_int_equal(tunnel.drops[DROP_UNKNOWN_SPI], 0);
	/* With its SA there a packet is not kept but opened. */
	assert_false(arrive(84, START + MSEC));
}

static void keeps_nothing_of_strangers(void **state)
{
	(void)state;
	assert_false(arrive_forged("203.0.113.66", 100, START));
	assert_true(
		arrive_forged("198.51.100.2", 100, START)); /* the control: the peer's address */
	assert_false(arrive_forged("198.51.100.2", 7, START));
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(tunnel.early.count, 0);
	assert_int_equal(tunnel.drops[DROP_UNKNOWN_SPI], 1);
	assert_false(arrive_forged("198.51.100.2", 100, START));
}

/* Even with the peer's address forged: what was kept before the flood stays, and the room does not grow. */
static void a_flood_pushes_nothing_out(void **state)
{
	unsigned kept = 0;

	(void)state;
	assert_true(arrive(84, START));
	for (unsigned i = 0; i < 100000; i++)
		kept += arrive_forged("198.51.100.2", 100, START + i);
	assert_int_equal(kept, EARLY_PACKETS - 1);
	assert_int_equal(tunnel.early.count, EARLY_PACKETS);
	install_sa_with(&tunnel, true, IN_SPI, &none, START + MSEC);
	assert_int_equal(serve(START + MSEC), 1);
}

static void bounds_octets(void **state)
{
	unsigned kept = 0;

	(void)state;
	for (unsigned i = 0; i < EARLY_PACKETS; i++)
		kept += arrive_forged("198.51.100.2", 2000, START);
	assert_int_equal(kept, EARLY_OCTETS / 2000);
	assert_true(tunnel.early.used <= EARLY_OCTETS);
}

static void forgets_them_after_a_second(void **state)
{
	(void)state;
	assert_true(arrive(84, START));
	tunnel_advance(&tunnel, START + SECOND - 1);
	assert_int_equal(tunnel.early.count, 1);
	tunnel_advance(&tunnel, START + SECOND);
	assert_int_equal(tunnel.early.count, 0);
	assert_int_equal(tunnel.drops[DROP_UNKNOWN_SPI], 1);
	install_sa_with(&tunnel, true, IN_SPI, &none, START + SECOND);
	assert_int_equal(serve(START + SECOND), 0);
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(serves_them_in_order_with_their_sa), TEST(keeps_nothing_of_strangers),
		TEST(a_flood_pushes_nothing_out),         TEST(bounds_octets),
		TEST(forgets_them_after_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
