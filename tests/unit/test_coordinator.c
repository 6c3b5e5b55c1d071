/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator's state machines: every state x event pair against a table of expectations, and the stories of D5
 * told through the pure core with virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_world.h"

/* Short names for the table below: ignored, the same state, and the states. */
enum {
	IGNORED = SESSION_STATE_COUNT + 1,
	SAME = SESSION_STATE_COUNT,
	CALL = SESSION_CALLING,
	RING = SESSION_RINGING,
	NEGO = SESSION_NEGOTIATING,
	MEND = SESSION_MENDING,
	HANG = SESSION_HANGING_UP,
	STOP = SESSION_STOPPING_IKE,
	RELE = SESSION_RELEASING,
	REST = SESSION_READY,
};
#define _ IGNORED

/* The next state for each event, own call; the columns are enum session_event_type. The failed step is one that matters. */
/* clang-format off */
static const int expected_outgoing[SESSION_STATE_COUNT][SESSION_EVENT_COUNT] = {
	/*                 trigger      release      stepfail     answered     confirmed    ended        ikedown      dead         timeout      surveyed    lost        toolong
	                          opcall       stepdone     ringing      offered      failed       ikeup        idle         linelost     probe       compared    unwatched */
	[SESSION_READY]       = { CALL, CALL,  _,    _,    _,    _,    _,    RING, _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _ },
	[SESSION_CALLING]     = { _,    _,     HANG, SAME, HANG, RING, NEGO, SAME, _,    HANG, HANG, _,    _,    _,    _,    HANG, HANG, _,    _,    _,    HANG, _,    _ },
	[SESSION_RINGING]     = { _,    _,     HANG, SAME, HANG, _,    NEGO, SAME, SAME, HANG, HANG, SAME, HANG, _,    _,    HANG, HANG, _,    _,    _,    HANG, _,    _ },
	[SESSION_NEGOTIATING] = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, SAME, HANG, HANG, SAME, HANG, _,    _,    HANG, HANG, SAME, _,    _,    HANG, _,    HANG },
	[SESSION_ESTABLISHED] = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, _,    HANG, HANG, _,    HANG, HANG, HANG, HANG, _,    SAME, _,    SAME, _,    HANG, HANG },
	[SESSION_HANGING_UP]  = { _,    _,     _,    SAME, SAME, _,    _,    SAME, _,    STOP, STOP, _,    _,    _,    _,    _,    STOP, _,    _,    _,    _,    _,    _ },
	[SESSION_STOPPING_IKE] = { _,   _,     _,    SAME, SAME, _,    _,    SAME, _,    SAME, SAME, _,    _,    _,    _,    _,    RELE, _,    _,    _,    _,    _,    _ },
	[SESSION_RELEASING]   = { _,    _,     _,    SAME, SAME, _,    _,    SAME, _,    SAME, SAME, _,    _,    _,    _,    _,    REST, _,    _,    _,    _,    _,    _ },
	[SESSION_HOLDDOWN]    = { _,    CALL,  REST, _,    _,    _,    _,    RING, _,    _,    _,    _,    _,    _,    _,    _,    REST, _,    _,    _,    _,    _,    _ },
	[SESSION_ADOPTING]    = { _,    _,     SAME, _,    _,    _,    _,    SAME, _,    _,    _,    _,    _,    _,    _,    _,    REST, _,    REST, _,    _,    _,    _ },
	[SESSION_MENDING]     = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, _,    HANG, HANG, SAME, SAME, HANG, HANG, HANG, HANG, SAME, _,    SAME, _,    HANG, HANG },
	[SESSION_PARTING]     = { _,    _,     HANG, SAME, SAME, _,    _,    HANG, _,    HANG, HANG, _,    _,    HANG, HANG, HANG, HANG, _,    _,    _,    _,    HANG, HANG },
};
/* clang-format on */
#undef _

static void deliver(struct world *world, enum session_event_type type)
{
	struct media media = offer_media(512, VPNSIP__SETUP_ROLE__PASSIVE);
	const struct call_report call = {
		.call_id = type == EVENT_CALL_OFFERED ? "another" : "own",
		.media = &media,
		.attempt = world->session->attempt,
		.direction = VPNSIP__DIRECTION__OUTGOING,
		.local_number = world->line.number,
		.remote_number = PEER,
		.sip_status = 500,
		.cause = "test",
	};
	const struct session_event event = {.type = type,
	                                    .step = STEP_SET_PEER,
	                                    .cause = "test",
	                                    .kind = VPNSIP__FAILURE_KIND__SYSTEM,
	                                    .call = &call};

	session_handle(world->session, &event);
}

static void check_pair(enum session_state state, enum session_event_type type, bool is_incoming)
{
	struct world *world = world_create(OWN_LOW);
	uint32_t ignored;
	int expected = expected_outgoing[state][type], now;

	world_to_state(world, state, is_incoming);
	ignored = world->session->ignored_events;
	deliver(world, type);
	now = world->session->state;
	if (is_incoming && state == SESSION_RINGING && type == EVENT_CALL_ANSWERED)
		expected = SAME; /* an answer to a call that we did not make */
	if (is_incoming && state == SESSION_RINGING && type == EVENT_CALL_OFFERED)
		expected = HANG; /* the caller calls anew: the older call gives way */
	if (expected == IGNORED) {
		assert_int_equal(world->session->ignored_events, ignored + 1);
		assert_int_equal(now, state);
		assert_int_equal(world->ordered, 0);
	} else {
		assert_int_equal(world->session->ignored_events, ignored);
		assert_int_equal(now, expected == SAME ? state : (enum session_state)expected);
	}
	world_destroy(world);
}

static void every_state_meets_every_event(void **unused)
{
	(void)unused;
	for (enum session_state state = 0; state < SESSION_STATE_COUNT; state++)
		for (enum session_event_type type = 0; type < SESSION_EVENT_COUNT; type++) {
			check_pair(state, type, false);
			if ((state >= SESSION_RINGING && state <= SESSION_RELEASING) ||
			    state == SESSION_MENDING || state == SESSION_PARTING)
				check_pair(state, type, true);
		}
}

static void tables_are_closed(void **unused)
{
	(void)unused;
	for (enum session_state state = 0; state < SESSION_STATE_COUNT; state++) {
		const struct session_state_description *description = &session_states[state];

		assert_non_null(description->name);
		assert_non_null(description->handle);
		assert_int_equal(description->accepts >> SESSION_EVENT_COUNT, 0);
		assert_int_equal(description->may_become >> SESSION_STATE_COUNT, 0);
		/* Only rest and the running session, guarded by idle and peer-dead, may last for ever. */
		if (state != SESSION_READY && state != SESSION_ESTABLISHED)
			assert_true(description->timer >= 0 || description->limit_msec > 0);
	}
}

static void own_call_from_trigger_to_rest(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct tunnel_report idle = {.tunnel = TUNNEL, .is_idle = true};
	(void)unused;

	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	assert_int_equal(world->ordered, STEPS_PREPARING);
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_PLACE_CALL));
	assert_int_equal(address_port(&world->session->local.address), 50001);
	world_destroy(world);

	world = world_create(OWN_LOW);
	walk_outgoing(world, SESSION_NEGOTIATING);
	assert_int_equal(world->session->negotiated_kbit, 512);
	assert_int_equal(world->ordered, BIT(STEP_START_IKE));
	finish_ordered(world);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->ordered, BIT(STEP_OPEN_TUNNEL));
	finish_ordered(world);

	idle.attempt = world->session->attempt;
	core_tunnel_changed(world->core, &idle);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
	assert_string_equal(world->session->cause, "idle for 120 s");
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_STOPPING_IKE);
	assert_int_equal(world->ordered, BIT(STEP_STOP_IKE));
	assert_string_equal(world->session->cause, "idle for 120 s");
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->ordered, STEPS_PATH_ENDS);
	assert_string_equal(world->session->cause, "idle for 120 s");
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, 0);
	assert_int_equal(world->session->attempt, 0);
	world_destroy(world);
}

static void incoming_call_is_answered_last(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	offer_call(world, "theirs");
	assert_int_equal(world->session->state, SESSION_RINGING);
	assert_int_equal(world->ordered, STEPS_PREPARING);
	finish_ordered(world);
	assert_int_equal(world->ordered, STEPS_PATH | BIT(STEP_START_IKE));
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_ANSWER_CALL));
	assert_int_equal(world->session->local.bandwidth_kbit, 512);
	assert_int_equal(world->session->local.role, VPNSIP__SETUP_ROLE__PASSIVE);
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_NEGOTIATING);
	/* IKE may be faster than the ACK. */
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->session->state, SESSION_NEGOTIATING);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "theirs",
	            VPNSIP__CALL_STATUS__CALL_CONFIRMED, NULL, 0);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	world_destroy(world);
}

static void offers_that_cannot_be_served_are_refused(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct media low = offer_media(32, VPNSIP__SETUP_ROLE__ACTIVE);
	struct call_report stranger = {
		.call_id = "x",
		.direction = VPNSIP__DIRECTION__INCOMING,
		.local_number = OWN_LOW,
		.remote_number = "0311112222",
		.status = VPNSIP__CALL_STATUS__CALL_OFFERED,
		.media = &low,
	};
	(void)unused;

	core_call_changed(world->core, &stranger);
	assert_int_equal(world->rejected, 403);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "low", VPNSIP__CALL_STATUS__CALL_OFFERED,
	            &low, 0);
	assert_int_equal(world->rejected, 488);
	world->peer.has_fingerprint = true;
	world->peer.fingerprint_size = 32;
	strcpy(world->peer.fingerprint_hash, "SHA-256");
	offer_call(world, "unpinned");
	assert_int_equal(world->rejected, 488);
	assert_int_equal(world->rejections, 3);
	assert_int_equal(world->session->state, SESSION_READY);
	world_destroy(world);
}

/* Nothing else vouches for a self-signed certificate: without its fingerprint no call is answered, and none goes on. */
static void self_signed_needs_a_fingerprint(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct media answer = offer_media(512, VPNSIP__SETUP_ROLE__PASSIVE);
	(void)unused;

	world->ike.authentication = AUTHENTICATION_SELF_SIGNED;
	offer_call(world, "bare");
	assert_int_equal(world->rejected, 488);
	assert_int_equal(world->session->state, SESSION_READY);
	walk_outgoing(world, SESSION_CALLING);
	/* That of a key does not do. */
	answer.fingerprint_count = 1;
	answer.fingerprints[0] =
		(struct fingerprint){.subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY,
	                             .hash = "SHA-256",
	                             .size = 32};
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "ours", VPNSIP__CALL_STATUS__CALL_ANSWERED,
	            &answer, 0);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_non_null(
		strstr(world->session->cause, "the fingerprint of a certificate is missing"));
	world_destroy(world);
	world = world_create(OWN_LOW);
	world->ike.authentication = AUTHENTICATION_SELF_SIGNED;
	walk_outgoing(world, SESSION_CALLING);
	answer.fingerprints[0].subject = VPNSIP__FINGERPRINT_SUBJECT__CERTIFICATE;
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "ours", VPNSIP__CALL_STATUS__CALL_ANSWERED,
	            &answer, 0);
	assert_int_equal(world->session->state, SESSION_NEGOTIATING);
	world_destroy(world);
}

static void psk_fingerprint_of_another_key_is_never_answered(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct media offer = offer_media(512, VPNSIP__SETUP_ROLE__ACTIVE);
	struct media ours = {.fingerprint_count = 1};
	struct step_result prepared = {.is_done = true, .media = &ours};
	(void)unused;

	ours.fingerprints[0] =
		(struct fingerprint){.subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY,
	                             .hash = "SHA-256",
	                             .value = {1},
	                             .size = 32};
	offer.fingerprint_count = 1;
	offer.fingerprints[0] = ours.fingerprints[0];
	offer.fingerprints[0].value[0] = 2;
	report_call(world, VPNSIP__DIRECTION__INCOMING, "theirs", VPNSIP__CALL_STATUS__CALL_OFFERED,
	            &offer, 0);
	core_step_finished(world->core, world->session, world->session->attempt, STEP_PREPARE_IKE,
	                   &prepared);
	world->ordered = 0;
	finish(world, STEP_RESERVE_PORT, true);
	finish(world, STEP_CHECK_TUNNEL, true);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_int_equal(world->session->reject_status, 488);
	assert_int_equal(world->ordered, BIT(STEP_REJECT_CALL));
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->ordered, BIT(STEP_REMOVE_TRANSLATION));
	world_destroy(world);
}

static void crossing_calls_lower_number_wins(void **unused)
{
	struct world *low = world_create(OWN_LOW), *high = world_create(OWN_HIGH);
	(void)unused;

	walk_outgoing(low, SESSION_CALLING);
	offer_call(low, "theirs");
	assert_int_equal(low->rejected, 486);
	assert_int_equal(low->session->state, SESSION_CALLING);

	walk_outgoing(high, SESSION_CALLING);
	offer_call(high, "theirs");
	assert_int_equal(high->rejections, 0);
	assert_int_equal(high->session->state, SESSION_HANGING_UP);
	assert_int_equal(high->ordered, BIT(STEP_HANG_UP));
	finish_release(high);
	assert_int_equal(high->session->state, SESSION_RINGING);
	assert_int_equal(high->session->direction, VPNSIP__DIRECTION__INCOMING);
	assert_string_equal(high->session->call_id, "theirs");
	world_destroy(low);
	world_destroy(high);
}

static void busy_right_away_is_glare_once_then_hold_down_doubles(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	uint64_t waits_msec[4];
	(void)unused;

	for (int i = 0; i < 4; i++) {
		walk_outgoing(world, SESSION_CALLING);
		world->now_usec += 100000;
		report_call(world, VPNSIP__DIRECTION__OUTGOING, "own",
		            VPNSIP__CALL_STATUS__CALL_ENDED, NULL, 486);
		finish_release(world);
		assert_int_equal(world->session->state, SESSION_HOLDDOWN);
		waits_msec[i] = world->state_timer_msec;
		world->session->wants_peer = false;
		core_session_timeout(world->core, world->session, false);
		assert_int_equal(world->session->state, SESSION_READY);
	}
	assert_in_range(waits_msec[0], 200, 600);
	assert_int_equal(waits_msec[1], 30000);
	assert_int_equal(waits_msec[2], 60000);
	assert_int_equal(waits_msec[3], 120000);
	world_destroy(world);
}

static void second_call_of_a_running_peer_is_decided_by_a_probe(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct tunnel_report heard = {.tunnel = TUNNEL};
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	offer_call(world, "again");
	assert_int_equal(world->ordered, BIT(STEP_PROBE_PEER));
	assert_int_equal(world->probe_timer_msec, 2000);
	heard.last_received_usec = world->now_usec + 1;
	core_tunnel_changed(world->core, &heard);
	assert_int_equal(world->rejected, 486);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);

	world->now_usec += 10000000;
	offer_call(world, "once-more");
	core_session_timeout(world->core, world->session, true);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	finish_release(world);
	assert_int_equal(world->session->state, SESSION_RINGING);
	assert_string_equal(world->session->call_id, "once-more");
	world_destroy(world);
}

static void unconfirmed_release_is_owed(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	world->session->wants_peer = false;
	core_operator_release(world->core, PEER, false, "hangup");
	finish(world, STEP_HANG_UP, true);
	finish(world, STEP_STOP_IKE, false);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, BIT(STEP_STOP_IKE) | STEPS_PATH_ENDS);
	world_destroy(world);
}

/* A stuck sip-agent keeps no SA up, and its late reply changes nothing. */
static void end_of_the_call_goes_first_but_not_for_ever(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	world->session->wants_peer = false;
	core_operator_release(world->core, PEER, false, "hangup");
	assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
	assert_int_equal(world->state_timer_msec, 100);
	finish(world, STEP_OPEN_TUNNEL, true);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_STOPPING_IKE);
	finish(world, STEP_STOP_IKE, true);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->state_timer_msec, world->config.timer_msec[TIMER_RELEASE]);
	world->ordered &= STEPS_PATH_ENDS;
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	finish(world, STEP_HANG_UP, false);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, BIT(STEP_HANG_UP));
	assert_string_equal(world->session->cause, "hangup");
	world_destroy(world);
}

/* The path stands until ike-agent has told the peer; a late reply about the call changes nothing. */
static void path_outlives_ike_but_not_for_ever(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	world->session->wants_peer = false;
	core_operator_release(world->core, PEER, false, "hangup");
	core_session_timeout(world->core, world->session, false);
	world->ordered = 0;
	finish(world, STEP_HANG_UP, true);
	assert_int_equal(world->session->state, SESSION_STOPPING_IKE);
	assert_int_equal(world->ordered, 0);
	assert_int_equal(world->state_timer_msec, 1000);
	/* ike-agent is stuck */
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->ordered, STEPS_PATH_ENDS);
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	finish(world, STEP_STOP_IKE, true);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, 0);
	world_destroy(world);
}

/* What never began IKE has none to end. */
static void release_before_ike_stops_none(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_CALLING);
	core_operator_release(world->core, PEER, false, "hangup");
	world->ordered = 0;
	finish(world, STEP_HANG_UP, true);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->ordered, BIT(STEP_REMOVE_TRANSLATION));
	world_destroy(world);
}

/* Who ended IKE on a verdict of its own waits for nobody: its cause stands in the record. */
static void ike_ended_by_us_hangs_up_at_once(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world_to_state(world, SESSION_ESTABLISHED, false);
	world->ordered = 0;
	core_ike_ends_by_us(world->core, TUNNEL, world->session->attempt - 1);
	assert_false(world->session->is_ike_ended_by_us);
	core_ike_ends_by_us(world->core, TUNNEL, world->session->attempt);
	ike(world, VPNSIP__IKE_STATUS__IKE_ENDED, "peer's certificate is revoked");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
	assert_string_equal(world->session->cause, "IKE ended: peer's certificate is revoked");
	world_destroy(world);
}

/* The peer's BYE comes through the carrier, the end of its IKE_SA straight to us. */
static void peer_that_ends_its_ike_has_a_moment_to_hang_up(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world_to_state(world, SESSION_PARTING, false);
	assert_int_equal(world->state_timer_msec, 300);
	assert_int_equal(world->ordered, 0);
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "own", VPNSIP__CALL_STATUS__CALL_ENDED,
	            NULL, 0);
	assert_int_equal(world->session->state, SESSION_STOPPING_IKE);
	assert_int_equal(world->ordered & BIT(STEP_HANG_UP), 0);
	assert_string_equal(world->session->cause, "the other side hung up");
	world_destroy(world);

	world = world_create(OWN_LOW);
	world_to_state(world, SESSION_PARTING, true);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
	assert_string_equal(world->session->cause, "IKE ended: test");
	world_destroy(world);

	/* One that failed, or whose owner is being asked already, is not waited for. */
	world = world_create(OWN_LOW);
	walk_outgoing(world, SESSION_ESTABLISHED);
	ike(world, VPNSIP__IKE_STATUS__IKE_FAILED, "no answer");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	world_destroy(world);
	world = world_create(OWN_LOW);
	walk_outgoing(world, SESSION_ESTABLISHED);
	offer_call(world, "again");
	ike(world, VPNSIP__IKE_STATUS__IKE_ENDED, "restarted");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	finish_release(world);
	assert_string_equal(world->session->call_id, "again");
	world_destroy(world);
}

static void unregistered_line_fails_without_hold_down(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERING,
	               "no answer from the registrar");
	trigger(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_string_equal(world->session->cause, "no answer from the registrar");
	/* The trigger is a level: registration alone lets the call go out. */
	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERED, "");
	assert_int_equal(world->session->state, SESSION_CALLING);
	/* Losing the registration never ends a session. */
	walk_outgoing(world, SESSION_CALLING);
	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERING, "x");
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

static void changed_wan_address_releases_and_registers_anew(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	unsigned registrations;
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	registrations = world->registrations;
	world_wan(world, "198.51.100.11");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	assert_int_equal(world->registrations, registrations + 1);
	finish_release(world);
	assert_int_equal(world->session->state, SESSION_READY);
	world_destroy(world);
}

static void late_replies_of_older_attempts_do_nothing(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	const struct step_result failed = {.cause = "late", .kind = VPNSIP__FAILURE_KIND__SYSTEM};
	(void)unused;

	walk_outgoing(world, SESSION_CALLING);
	core_step_finished(world->core, world->session, world->session->attempt - 1,
	                   STEP_PLACE_CALL, &failed);
	core_ike_changed(world->core, TUNNEL, world->session->attempt - 1,
	                 VPNSIP__IKE_STATUS__IKE_FAILED, "late");
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

static void the_cause_of_ike_outlives_the_release(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	uint64_t attempt;
	(void)unused;

	walk_outgoing(world, SESSION_NEGOTIATING);
	attempt = world->session->attempt;
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "own", VPNSIP__CALL_STATUS__CALL_ENDED,
	            NULL, 0);
	finish_release(world);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	core_ike_changed(world->core, TUNNEL, attempt, VPNSIP__IKE_STATUS__IKE_FAILED, "wrong key");
	assert_string_equal(world->session->cause, "wrong key");
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	world_destroy(world);
}

static void call_without_session_is_hung_up(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	report_call(world, VPNSIP__DIRECTION__INCOMING, "ghost",
	            VPNSIP__CALL_STATUS__CALL_CONFIRMED, NULL, 0);
	assert_int_equal(world->strays, 1);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "ghost", VPNSIP__CALL_STATUS__CALL_ENDED,
	            NULL, 0);
	assert_int_equal(world->strays, 1);
	world_destroy(world);
}

/* An event may lie: before a call is hung up for it the owner is asked. */
static void hints_hang_up_nothing(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct call_report hint = {
		.call_id = "own",
		.attempt = 1234567,
		.direction = VPNSIP__DIRECTION__OUTGOING,
		.local_number = OWN_LOW,
		.remote_number = PEER,
		.status = VPNSIP__CALL_STATUS__CALL_ANSWERED,
		.is_event = true,
	};
	(void)unused;

	core_call_changed(world->core, &hint);
	assert_int_equal(world->strays, 0);
	assert_int_equal(world->looks_again, BIT(VPNSIP__SERVICE__SIP_AGENT));
	/* And a Call-ID that was told wrongly is told again. */
	walk_outgoing(world, SESSION_CALLING);
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "0wn", VPNSIP__CALL_STATUS__CALL_RINGING,
	            NULL, 0);
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "own", VPNSIP__CALL_STATUS__CALL_RINGING,
	            NULL, 0);
	assert_string_equal(world->session->call_id, "own");
	world_destroy(world);
}

static void hourly_limit_stops_own_calls(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world->config.maximum_calls_per_hour = 2;
	admission_call_placed(world->session, world->now_usec);
	assert_null(core_call_refusal(world->core, world->session));
	admission_call_placed(world->session, world->now_usec);
	assert_non_null(core_call_refusal(world->core, world->session));
	world->now_usec += 3600000000ull;
	assert_null(core_call_refusal(world->core, world->session));
	world_destroy(world);
}

/* Next line state for each event; -1 = ignored. */
static const int expected_line[LINE_STATE_COUNT][LINE_EVENT_COUNT] = {
	[LINE_STATE_DISABLED] = {LINE_STATE_REGISTERING, -1, -1, -1, -1, -1, -1},
	[LINE_STATE_WAIT_WAN] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                 LINE_STATE_WAIT_WAN, -1, -1, -1},
	[LINE_STATE_REGISTERING] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                    LINE_STATE_WAIT_WAN, LINE_STATE_REGISTERED,
                                    LINE_STATE_REGISTERING, LINE_STATE_REGISTERING},
	[LINE_STATE_REGISTERED] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                   LINE_STATE_WAIT_WAN, -1, LINE_STATE_REGISTERING, -1},
};

static void every_line_state_meets_every_event(void **unused)
{
	(void)unused;
	for (enum line_state state = 0; state < LINE_STATE_COUNT; state++)
		for (enum line_event event = 0; event < LINE_EVENT_COUNT; event++) {
			struct world *world = world_create(OWN_LOW);
			struct line *line = &world->core->lines[0];
			int expected = expected_line[state][event];

			line->state = state;
			line->registration =
				VPNSIP__REGISTRATION_STATUS__REGISTRATION_STATUS_UNSPECIFIED;
			line_handle(line, event, "test");
			assert_int_equal(line->state, expected < 0 ? (int)state : expected);
			assert_int_equal(line->ignored_events, expected < 0);
			world_destroy(world);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_closed),
		cmocka_unit_test(every_state_meets_every_event),
		cmocka_unit_test(every_line_state_meets_every_event),
		cmocka_unit_test(own_call_from_trigger_to_rest),
		cmocka_unit_test(incoming_call_is_answered_last),
		cmocka_unit_test(offers_that_cannot_be_served_are_refused),
		cmocka_unit_test(self_signed_needs_a_fingerprint),
		cmocka_unit_test(ike_ended_by_us_hangs_up_at_once),
		cmocka_unit_test(psk_fingerprint_of_another_key_is_never_answered),
		cmocka_unit_test(crossing_calls_lower_number_wins),
		cmocka_unit_test(busy_right_away_is_glare_once_then_hold_down_doubles),
		cmocka_unit_test(second_call_of_a_running_peer_is_decided_by_a_probe),
		cmocka_unit_test(unconfirmed_release_is_owed),
		cmocka_unit_test(end_of_the_call_goes_first_but_not_for_ever),
		cmocka_unit_test(path_outlives_ike_but_not_for_ever),
		cmocka_unit_test(release_before_ike_stops_none),
		cmocka_unit_test(peer_that_ends_its_ike_has_a_moment_to_hang_up),
		cmocka_unit_test(unregistered_line_fails_without_hold_down),
		cmocka_unit_test(changed_wan_address_releases_and_registers_anew),
		cmocka_unit_test(late_replies_of_older_attempts_do_nothing),
		cmocka_unit_test(the_cause_of_ike_outlives_the_release),
		cmocka_unit_test(call_without_session_is_hung_up),
		cmocka_unit_test(hints_hang_up_nothing),
		cmocka_unit_test(hourly_limit_stops_own_calls),
	};

	return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
