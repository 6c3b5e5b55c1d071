/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How the coordinator ends a session: the call first, then IKE, then the path, each for so long only; and who ends it when IKE ends.
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unconfirmed_release_is_owed),
		cmocka_unit_test(end_of_the_call_goes_first_but_not_for_ever),
		cmocka_unit_test(path_outlives_ike_but_not_for_ever),
		cmocka_unit_test(release_before_ike_stops_none),
		cmocka_unit_test(ike_ended_by_us_hangs_up_at_once),
		cmocka_unit_test(peer_that_ends_its_ike_has_a_moment_to_hang_up),
		cmocka_unit_test(the_cause_of_ike_outlives_the_release),
	};

	return cmocka_run_group_tests_name("coordinator release", tests, NULL, NULL);
}
