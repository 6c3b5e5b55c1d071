/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every state of a tunnel against every event. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/unit/tunnel_fixture.h"

enum trial {
	TRIAL_PAYLOAD,
	TRIAL_MULTICAST,
	TRIAL_SET_PEER_SAME,
	TRIAL_SET_PEER_NEWER,
	TRIAL_SET_PEER_OLDER,
	TRIAL_OPEN_SAME,
	TRIAL_OPEN_NEWER,
	TRIAL_OPEN_OLDER,
	TRIAL_CLEAR_SAME,
	TRIAL_CLEAR_NEWER,
	TRIAL_CLEAR_OLDER,
	TRIAL_HOLD_TOO_OLD,
	TRIAL_COUNT
};

static const char *const trial_names[TRIAL_COUNT] = {
	"payload",       "multicast",   "SetPeer same", "SetPeer newer",
	"SetPeer older", "Open same",   "Open newer",   "Open older",
	"Clear same",    "Clear newer", "Clear older",  "hold too old",
};

static const char *const state_names[TUNNEL_STATE_COUNT] = {"RESTING", "WANTING", "PEERED",
                                                            "DRAINING", "OPEN"};

struct expectation {
	int result; /* verdict or order result; 0 = none */
	enum tunnel_state next;
};

/* In RESTING and WANTING no attempt is in force (so ATTEMPT is as new as ATTEMPT + 1, and none is older). */
static const struct expectation expectations[TUNNEL_STATE_COUNT][TRIAL_COUNT] =
	{
		[TUNNEL_RESTING] =
			{
				[TRIAL_PAYLOAD] = {TUNNEL_HELD, TUNNEL_WANTING},
				[TRIAL_MULTICAST] = {TUNNEL_DROPPED, TUNNEL_RESTING},
				[TRIAL_SET_PEER_SAME] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_NEWER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_OLDER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_OPEN_SAME] = {ORDER_NO_PEER, TUNNEL_RESTING},
				[TRIAL_OPEN_NEWER] = {ORDER_NO_PEER, TUNNEL_RESTING},
				[TRIAL_OPEN_OLDER] = {ORDER_NO_PEER, TUNNEL_RESTING},
				[TRIAL_CLEAR_SAME] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_NEWER] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_OLDER] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_HOLD_TOO_OLD] = {0, TUNNEL_RESTING},
			},
		[TUNNEL_WANTING] =
			{
				[TRIAL_PAYLOAD] = {TUNNEL_HELD, TUNNEL_WANTING},
				[TRIAL_MULTICAST] = {TUNNEL_DROPPED, TUNNEL_WANTING},
				[TRIAL_SET_PEER_SAME] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_NEWER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_OLDER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_OPEN_SAME] = {ORDER_NO_PEER, TUNNEL_WANTING},
				[TRIAL_OPEN_NEWER] = {ORDER_NO_PEER, TUNNEL_WANTING},
				[TRIAL_OPEN_OLDER] = {ORDER_NO_PEER, TUNNEL_WANTING},
				[TRIAL_CLEAR_SAME] = {ORDER_DONE, TUNNEL_WANTING},
				[TRIAL_CLEAR_NEWER] = {ORDER_DONE, TUNNEL_WANTING},
				[TRIAL_CLEAR_OLDER] = {ORDER_DONE, TUNNEL_WANTING},
				[TRIAL_HOLD_TOO_OLD] = {0, TUNNEL_RESTING},
			},
		[TUNNEL_PEERED] =
			{
				[TRIAL_PAYLOAD] = {TUNNEL_HELD, TUNNEL_PEERED},
				[TRIAL_MULTICAST] = {TUNNEL_DROPPED, TUNNEL_PEERED},
				[TRIAL_SET_PEER_SAME] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_NEWER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_OLDER] = {ORDER_STALE, TUNNEL_PEERED},
				[TRIAL_OPEN_SAME] = {ORDER_DONE, TUNNEL_OPEN},
				[TRIAL_OPEN_NEWER] = {ORDER_NO_PEER, TUNNEL_PEERED},
				[TRIAL_OPEN_OLDER] = {ORDER_STALE, TUNNEL_PEERED},
				[TRIAL_CLEAR_SAME] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_NEWER] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_OLDER] = {ORDER_STALE, TUNNEL_PEERED},
				[TRIAL_HOLD_TOO_OLD] = {0, TUNNEL_PEERED},
			},
		[TUNNEL_DRAINING] =
			{
				[TRIAL_PAYLOAD] = {TUNNEL_HELD, TUNNEL_DRAINING},
				[TRIAL_MULTICAST] = {TUNNEL_HELD, TUNNEL_DRAINING},
				[TRIAL_SET_PEER_SAME] = {ORDER_DONE, TUNNEL_DRAINING},
				[TRIAL_SET_PEER_NEWER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_OLDER] = {ORDER_STALE, TUNNEL_DRAINING},
				[TRIAL_OPEN_SAME] = {ORDER_DONE, TUNNEL_DRAINING},
				[TRIAL_OPEN_NEWER] = {ORDER_NO_PEER, TUNNEL_DRAINING},
				[TRIAL_OPEN_OLDER] = {ORDER_STALE, TUNNEL_DRAINING},
				[TRIAL_CLEAR_SAME] = {ORDER_DONE, TUNNEL_WANTING},
				[TRIAL_CLEAR_NEWER] = {ORDER_DONE, TUNNEL_WANTING},
				[TRIAL_CLEAR_OLDER] = {ORDER_STALE, TUNNEL_DRAINING},
				[TRIAL_HOLD_TOO_OLD] = {0, TUNNEL_OPEN},
			},
		[TUNNEL_OPEN] =
			{
				[TRIAL_PAYLOAD] = {TUNNEL_SEND, TUNNEL_OPEN},
				[TRIAL_MULTICAST] = {TUNNEL_SEND, TUNNEL_OPEN},
				[TRIAL_SET_PEER_SAME] = {ORDER_DONE, TUNNEL_OPEN},
				[TRIAL_SET_PEER_NEWER] = {ORDER_DONE, TUNNEL_PEERED},
				[TRIAL_SET_PEER_OLDER] = {ORDER_STALE, TUNNEL_OPEN},
				[TRIAL_OPEN_SAME] = {ORDER_DONE, TUNNEL_OPEN},
				[TRIAL_OPEN_NEWER] = {ORDER_NO_PEER, TUNNEL_OPEN},
				[TRIAL_OPEN_OLDER] = {ORDER_STALE, TUNNEL_OPEN},
				[TRIAL_CLEAR_SAME] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_NEWER] = {ORDER_DONE, TUNNEL_RESTING},
				[TRIAL_CLEAR_OLDER] = {ORDER_STALE, TUNNEL_OPEN},
				[TRIAL_HOLD_TOO_OLD] = {0, TUNNEL_OPEN},
			},
};

static void bring_to(struct tunnel *tunnel, enum tunnel_state state)
{
	fixture_init(tunnel);
	if (state == TUNNEL_WANTING || state == TUNNEL_DRAINING)
		take_payload(tunnel, 1, START);
	if (state >= TUNNEL_PEERED)
		tunnel_set_peer(tunnel, ATTEMPT, &peer_address, START);
	install_sas(tunnel, START);
	if (state >= TUNNEL_DRAINING)
		tunnel_open(tunnel, ATTEMPT, 1000, START);
	assert_int_equal(tunnel->state, state);
}

static int run_trial(struct tunnel *tunnel, enum trial trial)
{
	switch (trial) {
	case TRIAL_PAYLOAD:
		return take_payload(tunnel, 2, START);
	case TRIAL_MULTICAST:
		return take_multicast(tunnel, START);
	case TRIAL_SET_PEER_SAME:
	case TRIAL_SET_PEER_NEWER:
	case TRIAL_SET_PEER_OLDER:
		return tunnel_set_peer(tunnel,
		                       trial == TRIAL_SET_PEER_SAME    ? ATTEMPT
		                       : trial == TRIAL_SET_PEER_NEWER ? ATTEMPT + 1
		                                                       : ATTEMPT - 1,
		                       &peer_address, START);
	case TRIAL_OPEN_SAME:
	case TRIAL_OPEN_NEWER:
	case TRIAL_OPEN_OLDER:
		return tunnel_open(tunnel,
		                   trial == TRIAL_OPEN_SAME    ? ATTEMPT
		                   : trial == TRIAL_OPEN_NEWER ? ATTEMPT + 1
		                                               : ATTEMPT - 1,
		                   1000, START);
	case TRIAL_CLEAR_SAME:
	case TRIAL_CLEAR_NEWER:
	case TRIAL_CLEAR_OLDER:
		return tunnel_clear_peer(tunnel,
		                         trial == TRIAL_CLEAR_SAME    ? ATTEMPT
		                         : trial == TRIAL_CLEAR_NEWER ? ATTEMPT + 1
		                                                      : ATTEMPT - 1,
		                         START);
	default:
		tunnel_advance(tunnel, START + HOLD);
		return 0;
	}
}

static void handles_every_event_in_every_state(void **state)
{
	(void)state;
	for (enum tunnel_state from = 0; from < TUNNEL_STATE_COUNT; from++) {
		for (enum trial trial = 0; trial < TRIAL_COUNT; trial++) {
			const struct expectation *expected = &expectations[from][trial];
			struct tunnel tunnel;
			int result;

			bring_to(&tunnel, from);
			result = run_trial(&tunnel, trial);
			if (result != expected->result || tunnel.state != expected->next)
				fail_msg("%s in %s: result %d (expected %d), then %s (expected %s)",
				         trial_names[trial], state_names[from], result,
				         expected->result, state_names[tunnel.state],
				         state_names[expected->next]);
			tunnel_destroy(&tunnel);
		}
	}
}

/* An order that was overtaken by the end of its session must not bring it back. */
static void refuses_cleared_attempts(void **state)
{
	struct tunnel tunnel;

	(void)state;
	fixture_init(&tunnel);
	assert_false(tunnel_is_stale(&tunnel, ATTEMPT));
	assert_int_equal(tunnel_clear_peer(&tunnel, ATTEMPT, START), ORDER_DONE);
	assert_int_equal(tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START), ORDER_STALE);
	assert_true(tunnel_is_stale(&tunnel, ATTEMPT));
	assert_int_equal(tunnel_set_peer(&tunnel, ATTEMPT + 2, &peer_address, START), ORDER_DONE);
	assert_true(tunnel_is_stale(&tunnel, ATTEMPT + 1));
	assert_false(tunnel_is_stale(&tunnel, ATTEMPT + 2));
	tunnel_destroy(&tunnel);
}

static void keeps_held_packets_for_the_next_session(void **state)
{
	struct tunnel tunnel;

	(void)state;
	bring_to(&tunnel, TUNNEL_PEERED);
	take_payload(&tunnel, 1, START + SECOND);
	tunnel_clear_peer(&tunnel, ATTEMPT, START + 2 * SECOND);
	assert_int_equal(tunnel.state, TUNNEL_WANTING);
	assert_int_equal(tunnel.wanting_since_usec, START + 2 * SECOND);
	assert_int_equal(tunnel.hold.count, 1);
	tunnel_advance(&tunnel, START + SECOND + HOLD - 1);
	assert_int_equal(tunnel.state, TUNNEL_WANTING);
	tunnel_advance(&tunnel, START + SECOND + HOLD);
	assert_int_equal(tunnel.state, TUNNEL_RESTING);
	assert_int_equal(tunnel.drops[DROP_HOLD_EXPIRED], 1);
	tunnel_destroy(&tunnel);
}

/* While IKE takes leave the outbound SA is gone already: what would not have placed a call must not place one because it was held. */
static void calls_again_for_payload_only(void **state)
{
	struct tunnel tunnel;

	(void)state;
	bring_to(&tunnel, TUNNEL_OPEN);
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	assert_int_equal(take_multicast(&tunnel, START), TUNNEL_HELD);
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(tunnel.state, TUNNEL_RESTING);
	assert_int_equal(tunnel.drops[DROP_MULTICAST], 1);
	tunnel_destroy(&tunnel);

	bring_to(&tunnel, TUNNEL_OPEN);
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	take_multicast(&tunnel, START);
	take_payload(&tunnel, 1, START);
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(tunnel.state, TUNNEL_WANTING);
	assert_int_equal(tunnel.hold.count, 1);
	tunnel_destroy(&tunnel);
}

/* Keys of one session never serve another; those that came ahead of SetPeer are kept. */
static void removes_sas_with_their_session(void **state)
{
	struct tunnel tunnel;

	(void)state;
	bring_to(&tunnel, TUNNEL_OPEN);
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(tunnel.sas.inbound_count + tunnel.sas.outbound_count, 0);
	install_sas(&tunnel, START);
	tunnel_set_peer(&tunnel, ATTEMPT + 1, &peer_address, START);
	assert_int_equal(tunnel.sas.inbound_count + tunnel.sas.outbound_count, 2);
	tunnel_set_peer(&tunnel, ATTEMPT + 2, &peer_address, START);
	assert_int_equal(tunnel.sas.inbound_count + tunnel.sas.outbound_count, 0);
	tunnel_destroy(&tunnel);
}

static void wipes_orphaned_sas(void **state)
{
	struct tunnel tunnel;

	(void)state;
	fixture_init(&tunnel);
	install_sas(&tunnel, START);
	tunnel_advance(&tunnel, START + 60 * SECOND - 1);
	assert_int_equal(tunnel.sas.inbound_count, 1);
	tunnel_advance(&tunnel, START + 60 * SECOND);
	assert_int_equal(tunnel.sas.inbound_count + tunnel.sas.outbound_count, 0);
	tunnel_destroy(&tunnel);
}

/* In an open session a missing SA makes packets wait for IKE, not for a call. */
static void waits_for_an_sa_in_an_open_session(void **state)
{
	struct tunnel tunnel;
	uint8_t packet[2048];

	(void)state;
	bring_to(&tunnel, TUNNEL_OPEN);
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	assert_int_equal(take_payload(&tunnel, 1, START), TUNNEL_HELD);
	assert_int_equal(tunnel.state, TUNNEL_DRAINING);
	assert_int_equal(tunnel_next_release_usec(&tunnel, START), UINT64_MAX);
	assert_int_equal(tunnel_release(&tunnel, packet, START), 0);
	install_sas(&tunnel, START);
	assert_int_equal(tunnel_release(&tunnel, packet, START), PACKET_SIZE);
	assert_int_equal(tunnel.state, TUNNEL_OPEN);
	tunnel_destroy(&tunnel);
}

static void never_sends_ipv6(void **state)
{
	const uint8_t solicitation[48] = {0x60};

	(void)state;
	for (enum tunnel_state from = 0; from < TUNNEL_STATE_COUNT; from++) {
		struct tunnel tunnel;

		bring_to(&tunnel, from);
		assert_int_equal(tunnel_take(&tunnel, solicitation, sizeof(solicitation), START),
		                 TUNNEL_DROPPED);
		assert_int_equal(tunnel.state, from);
		assert_int_equal(tunnel.drops[DROP_IPV6], 1);
		tunnel_destroy(&tunnel);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles_every_event_in_every_state),
		cmocka_unit_test(refuses_cleared_attempts),
		cmocka_unit_test(keeps_held_packets_for_the_next_session),
		cmocka_unit_test(calls_again_for_payload_only),
		cmocka_unit_test(removes_sas_with_their_session),
		cmocka_unit_test(wipes_orphaned_sas),
		cmocka_unit_test(waits_for_an_sa_in_an_open_session),
		cmocka_unit_test(never_sends_ipv6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
