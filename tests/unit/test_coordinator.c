/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stories of a session told through the coordinator's pure core, with virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_world.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(own_call_from_trigger_to_rest),
		cmocka_unit_test(incoming_call_is_answered_last),
		cmocka_unit_test(offers_that_cannot_be_served_are_refused),
		cmocka_unit_test(self_signed_needs_a_fingerprint),
		cmocka_unit_test(psk_fingerprint_of_another_key_is_never_answered),
		cmocka_unit_test(crossing_calls_lower_number_wins),
		cmocka_unit_test(busy_right_away_is_glare_once_then_hold_down_doubles),
		cmocka_unit_test(second_call_of_a_running_peer_is_decided_by_a_probe),
		cmocka_unit_test(unregistered_line_fails_without_hold_down),
		cmocka_unit_test(changed_wan_address_releases_and_registers_anew),
		cmocka_unit_test(late_replies_of_older_attempts_do_nothing),
		cmocka_unit_test(call_without_session_is_hung_up),
		cmocka_unit_test(hints_hang_up_nothing),
		cmocka_unit_test(hourly_limit_stops_own_calls),
	};

	return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
