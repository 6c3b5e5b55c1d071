/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What becomes of a tunnel's SAs when ike-agent dies, comes back, or knows nothing of them. Virtual clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tunnel_fixture.h"

#define OTHER_IN_SPI  0x3333
#define OTHER_OUT_SPI 0x4444

static struct tunnel tunnel;

static int open_session(void **state)
{
	(void)state;
	fixture_init(&tunnel);
	assert_int_equal(tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START), ORDER_DONE);
	install_sas(&tunnel, START);
	assert_int_equal(tunnel_open(&tunnel, ATTEMPT, 1000, START), ORDER_DONE);
	return 0;
}

static int end_session(void **state)
{
	(void)state;
	tunnel_destroy(&tunnel);
	return 0;
}

static unsigned sas_left(void)
{
	return tunnel.sas.inbound_count + tunnel.sas.outbound_count;
}

/* The control of all below: with IKE there the SAs stay. */
static void keeps_covered_sas(void **state)
{
	(void)state;
	tunnel_advance(&tunnel, START + 3600 * SECOND);
	assert_int_equal(sas_left(), 2);
}

static void traffic_goes_on_without_ike_for_a_minute(void **state)
{
	uint64_t died = START + 100 * SECOND;

	(void)state;
	tunnel_set_cover(&tunnel, false, died);
	tunnel_advance(&tunnel, died + 60 * SECOND - 1);
	assert_int_equal(take_payload(&tunnel, 1, died + 60 * SECOND - 1), TUNNEL_SEND);
	tunnel_set_cover(&tunnel, false, died + 30 * SECOND); /* told twice */
	tunnel_advance(&tunnel, died + 60 * SECOND);
	assert_int_equal(sas_left(), 0);
	assert_int_equal(tunnel.orphans_removed, 1);
	/* Nothing may leave in clear or unsealed: packets wait, as they do for a first SA. */
	assert_int_equal(take_payload(&tunnel, 1, died + 61 * SECOND), TUNNEL_HELD);
	assert_true(tunnel_wants_sa(&tunnel, died + 61 * SECOND));
}

static void cover_in_time_saves_them(void **state)
{
	(void)state;
	tunnel_set_cover(&tunnel, false, START);
	tunnel_set_cover(&tunnel, true, START + 59 * SECOND);
	tunnel_advance(&tunnel, START + 3600 * SECOND);
	assert_int_equal(sas_left(), 2);
	tunnel_set_cover(&tunnel, false, START + 3600 * SECOND);
	tunnel_advance(&tunnel, START + 3659 * SECOND);
	assert_int_equal(sas_left(), 2);
	tunnel_advance(&tunnel, START + 3660 * SECOND);
	assert_int_equal(sas_left(), 0);
}

/* A peer alone is not enough, nor is IKE alone. */
static void needs_peer_and_cover(void **state)
{
	struct tunnel other;

	(void)state;
	fixture_init(&other);
	install_sas(&other, START);
	tunnel_set_cover(&other, false, START + 30 * SECOND);
	tunnel_set_peer(&other, ATTEMPT, &peer_address, START + 40 * SECOND);
	tunnel_advance(&other, START + 60 * SECOND);
	assert_int_equal(other.sas.inbound_count, 0);
	tunnel_destroy(&other);
}

/* What ike-agent made after its restart sends at once; what came before still receives for a while. */
static void successor_of_a_new_owner_retires_the_old(void **state)
{
	const struct sa_terms terms = {.replay_window = 64, .owner = 2};
	uint64_t now = START + 10 * SECOND;

	(void)state;
	install_sa_of(&tunnel, true, OTHER_IN_SPI, &terms, now);
	install_sa_of(&tunnel, false, OTHER_OUT_SPI, &terms, now);
	assert_int_equal(sa_find_outbound(&tunnel.sas, now)->spi, OTHER_OUT_SPI);
	tunnel_advance(&tunnel, now + SA_RETIRED_USEC - 1);
	assert_non_null(sa_find(&tunnel.sas, true, IN_SPI));
	tunnel_advance(&tunnel, now + SA_RETIRED_USEC);
	assert_int_equal(sas_left(), 2);
	assert_non_null(sa_find(&tunnel.sas, true, OTHER_IN_SPI));
}

/* An SA of the same owner is removed by its order alone. */
static void successor_of_the_same_owner_retires_nothing(void **state)
{
	const struct sa_terms terms = {.replay_window = 64};

	(void)state;
	install_sa_of(&tunnel, true, OTHER_IN_SPI, &terms, START);
	tunnel_advance(&tunnel, START + 60 * SECOND);
	assert_int_equal(tunnel.sas.inbound_count, 2);
}

/* Not while it can send, not on a resting tunnel: there a packet wants a peer. */
static void wants_an_sa_only_in_an_open_session(void **state)
{
	(void)state;
	assert_int_equal(take_payload(&tunnel, 1, START), TUNNEL_SEND);
	assert_false(tunnel_wants_sa(&tunnel, START));
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	assert_false(tunnel_wants_sa(&tunnel, START));
	assert_int_equal(take_payload(&tunnel, 2, START), TUNNEL_HELD);
	assert_true(tunnel_wants_sa(&tunnel, START));
	install_sas(&tunnel, START);
	assert_false(tunnel_wants_sa(&tunnel, START));
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(take_payload(&tunnel, 3, START), TUNNEL_HELD);
	assert_int_equal(tunnel.state, TUNNEL_WANTING);
	assert_false(tunnel_wants_sa(&tunnel, START));
}

/* tunnel-agent was restarted: a packet, IKE's new SAs and the coordinator's orders come in any order. */
static void restart_within_a_session(void **state)
{
	struct tunnel fresh;
	uint8_t packet[2048];

	(void)state;
	fixture_init(&fresh);
	assert_int_equal(take_payload(&fresh, 1, START), TUNNEL_HELD);
	install_sas(&fresh, START);
	assert_int_equal(tunnel_release(&fresh, packet, START), 0);
	assert_int_equal(tunnel_set_peer(&fresh, ATTEMPT, &peer_address, START), ORDER_DONE);
	assert_int_equal(fresh.sas.outbound_count, 1);
	assert_int_equal(tunnel_open(&fresh, ATTEMPT, 1000, START), ORDER_DONE);
	assert_int_equal(tunnel_release(&fresh, packet, START), PACKET_SIZE);
	assert_int_equal(fresh.state, TUNNEL_OPEN);
	tunnel_destroy(&fresh);
}

/* The session ended while tunnel-agent was away: an end finds SAs and no peer. */
static void end_without_a_peer_wipes_sas(void **state)
{
	struct tunnel fresh;

	(void)state;
	fixture_init(&fresh);
	install_sas(&fresh, START);
	assert_int_equal(tunnel_clear_peer(&fresh, ATTEMPT, START), ORDER_DONE);
	assert_int_equal(fresh.sas.inbound_count + fresh.sas.outbound_count, 0);
	tunnel_destroy(&fresh);
}

/* What is in force already is not told again. */
static void repeated_orders_change_nothing(void **state)
{
	unsigned revision = tunnel.revision;

	(void)state;
	assert_int_equal(tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START), ORDER_DONE);
	assert_int_equal(tunnel_open(&tunnel, ATTEMPT, 1000, START), ORDER_DONE);
	tunnel_remove_sa(&tunnel, true, OTHER_IN_SPI, START);
	assert_int_equal(tunnel.revision, revision);
	assert_int_equal(tunnel.state, TUNNEL_OPEN);
}

#define CASE(function) cmocka_unit_test_setup_teardown(function, open_session, end_session)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(keeps_covered_sas),
		CASE(traffic_goes_on_without_ike_for_a_minute),
		CASE(cover_in_time_saves_them),
		CASE(needs_peer_and_cover),
		CASE(successor_of_a_new_owner_retires_the_old),
		CASE(successor_of_the_same_owner_retires_nothing),
		CASE(wants_an_sa_only_in_an_open_session),
		CASE(restart_within_a_session),
		CASE(end_without_a_peer_wipes_sas),
		CASE(repeated_orders_change_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
