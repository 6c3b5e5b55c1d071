/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A starting coordinator makes of what the other services hold what D7 of the design says, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_holdings.h"

#define OUT VPNSIP__DIRECTION__OUTGOING
#define IN  VPNSIP__DIRECTION__INCOMING

struct row {
	const char *what;
	struct found found;
	enum session_state state;
	unsigned orders;
	unsigned disowned;
};

#define ANSWERED  VPNSIP__CALL_STATUS__CALL_ANSWERED
#define CONFIRMED VPNSIP__CALL_STATUS__CALL_CONFIRMED
#define UP        VPNSIP__IKE_STATUS__IKE_UP

static const unsigned all_strays = BIT(STEP_STOP_IKE) | BIT(STEP_CLEAR_PEER) |
                                   BIT(STEP_REMOVE_TRANSLATION) | BIT(STEP_REMOVE_SHAPER);

/* clang-format off */
static const struct row rows[] = {
	{"all of it, our call", {OUT, ANSWERED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_ESTABLISHED, 0, 0},
	{"all of it, their call", {IN, CONFIRMED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_ESTABLISHED, 0, 0},
	{"all of it, sip-agent was restarted too", {OUT, ANSWERED, .is_restored = true, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_ESTABLISHED, 0, 0},
	{"SAs without IKE", {OUT, ANSWERED, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_MENDING, BIT(STEP_START_IKE), 0},
	{"SAs without IKE, their call", {IN, CONFIRMED, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_MENDING, BIT(STEP_START_IKE), 0},
	{"SAs and IKE on its way again", {OUT, ANSWERED, .ike = VPNSIP__IKE_STATUS__IKE_NEGOTIATING, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_MENDING, 0, 0},
	{"IKE without SAs: tunnel-agent was restarted", {OUT, ANSWERED, .ike = UP, .nat = NAT_ALL},
	 SESSION_MENDING, BIT(STEP_SET_PEER), 0},
	{"IKE without SAs, the tunnel is open", {OUT, ANSWERED, .ike = UP, .peer = PEER_OPEN, .nat = NAT_ALL},
	 SESSION_ESTABLISHED, 0, 0},
	{"IKE was up, the tunnel not yet open", {OUT, ANSWERED, .ike = UP, .peer = PEER_SAS_UNOPENED, .nat = NAT_ALL},
	 SESSION_MENDING, BIT(STEP_OPEN_TUNNEL), 0},
	{"nothing but the call", {OUT, ANSWERED, .nat = NAT_ALL},
	 SESSION_MENDING, BIT(STEP_SET_PEER), 0},
	{"nothing but the call, sip-agent was restarted too", {OUT, ANSWERED, .is_restored = true, .nat = NAT_ALL},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"no translation", {OUT, ANSWERED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_SHAPER},
	 SESSION_MENDING, BIT(STEP_INSTALL_TRANSLATION), 0},
	{"no shaper", {OUT, ANSWERED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_TRANSLATION},
	 SESSION_MENDING, BIT(STEP_INSTALL_SHAPER), 0},
	{"no translation, no IKE: its path comes first", {OUT, ANSWERED, .peer = PEER_WITH_SAS, .nat = NAT_SHAPER},
	 SESSION_MENDING, BIT(STEP_INSTALL_TRANSLATION), 0},
	{"IKE ended meanwhile", {OUT, ANSWERED, .ike = VPNSIP__IKE_STATUS__IKE_ENDED, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"CALLING at our death", {OUT, VPNSIP__CALL_STATUS__CALL_TRYING, .nat = NAT_PORT},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"RINGING at our death", {OUT, VPNSIP__CALL_STATUS__CALL_RINGING, .nat = NAT_PORT},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"NEGOTIATING at our death, IKE not begun", {OUT, ANSWERED, .peer = PEER_SET, .nat = NAT_ALL},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"NEGOTIATING at our death", {OUT, ANSWERED, .ike = VPNSIP__IKE_STATUS__IKE_NEGOTIATING, .peer = PEER_SET, .nat = NAT_ALL},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"answered by us, no ACK", {IN, VPNSIP__CALL_STATUS__CALL_ACCEPTED, .ike = UP, .peer = PEER_SAS_UNOPENED, .nat = NAT_ALL},
	 SESSION_HANGING_UP, BIT(STEP_HANG_UP), 0},
	{"no call: all the rest is left over", {OUT, VPNSIP__CALL_STATUS__CALL_ENDED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL},
	 SESSION_READY, 0, all_strays},
	{"no call: only SAs", {OUT, .call = 0, .peer = PEER_WITH_SAS},
	 SESSION_READY, 0, BIT(STEP_CLEAR_PEER)},
	{"no call: only IKE", {OUT, .call = 0, .ike = UP},
	 SESSION_READY, 0, BIT(STEP_STOP_IKE)},
	{"no call: only a reserved port", {OUT, .call = 0, .nat = NAT_PORT},
	 SESSION_READY, 0, BIT(STEP_REMOVE_TRANSLATION)},
	{"nothing at all", {.direction = OUT},
	 SESSION_READY, 0, 0},
};
/* clang-format on */

static struct world *start(void)
{
	struct world *world = world_start(OWN_LOW, 1);

	world_services_up(world);
	world_wan(world, "198.51.100.10");
	return world;
}

static void each_row_of_the_table(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct world *world = start();

		survey(world, 0, &rows[i].found);
		if (world->session->state != rows[i].state || world->ordered != rows[i].orders ||
		    world->disowned != rows[i].disowned || world->strays)
			fail_msg("%s: state %s, ordered %x, disowned %x", rows[i].what,
			         session_states[world->session->state].name, world->ordered,
			         world->disowned);
		world_destroy(world);
	}
}

/* Control: without the call's own word none of the rows would keep a session. */
static void without_the_snapshot_of_calls_nothing_is_adopted(void **unused)
{
	(void)unused;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct world *world = start();
		struct found found = rows[i].found;

		found.call = 0;
		survey(world, 0, &found);
		assert_int_equal(world->session->state, SESSION_READY);
		assert_int_equal(world->core->counters.sessions_adopted, 0);
		world_destroy(world);
	}
}

static void an_adopted_session_is_the_one_that_ran(void **unused)
{
	struct world *world = start();
	(void)unused;

	survey(world, 0, &rows[0].found);
	assert_int_equal(world->session->attempt, FOUND_ATTEMPT);
	assert_int_equal(world->session->negotiated_kbit, 512);
	assert_int_equal(world->session->direction, OUT);
	assert_string_equal(world->session->call_id, "found-0");
	assert_int_equal(address_port(&world->session->local.address), 50007);
	assert_int_equal(world->session->call_since_usec, world->now_usec - 5000000);
	/* It ends like any other. */
	core_operator_release(world->core, PEER, false, "hangup");
	assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_STOP_IKE));
	finish_ordered(world);
	assert_int_equal(world->ordered, STEPS_PATH_ENDS);
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, 0);
	world_destroy(world);
}

static void nothing_is_ended_before_its_owner_has_spoken(void **unused)
{
	const struct found found = {OUT, ANSWERED, .is_restored = true};
	(void)unused;

	for (size_t silent = 0; silent < SURVEYED_COUNT; silent++) {
		struct world *world = start();

		for (size_t i = 0; i < SURVEYED_COUNT; i++)
			if (i != silent)
				survey_service(world, surveyed_services[i], 0, &found);
		assert_int_equal(world->session->state, SESSION_ADOPTING);
		assert_int_equal(world->orders, 0);
		assert_int_equal(world->disowned, 0);
		assert_int_equal(world->strays, 0);
		/* Triggers wait, an operator is told why. */
		trigger(world);
		assert_int_equal(world->session->state, SESSION_ADOPTING);
		assert_non_null(core_operator_call(world->core, PEER));
		/* An owner that is absent for 15 s holds nothing. */
		assert_int_equal(world->state_timer_msec, 15000);
		core_session_timeout(world->core, world->session, false);
		assert_int_not_equal(world->session->state, SESSION_ADOPTING);
		world_destroy(world);
	}
}

static void what_happens_while_snapshots_are_awaited_counts(void **unused)
{
	struct world *world = start();
	struct found found = {OUT, ANSWERED, .ike = UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL};
	(void)unused;

	survey_service(world, VPNSIP__SERVICE__SIP_AGENT, 0, &found);
	found.call = VPNSIP__CALL_STATUS__CALL_ENDED;
	tell_call(world, 0, &found);
	survey(world, 0, &found);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->disowned, all_strays);
	world_destroy(world);
}

static void a_call_offered_meanwhile_is_served_afterwards(void **unused)
{
	struct world *world = start();
	const struct found nothing = {.direction = OUT};
	const struct found running = rows[0].found;
	(void)unused;

	offer_call(world, "theirs");
	assert_int_equal(world->rejections, 0);
	survey(world, 0, &nothing);
	assert_int_equal(world->session->state, SESSION_RINGING);
	assert_string_equal(world->session->call_id, "theirs");
	world_destroy(world);

	/* If the old session runs: asked whether the peer is alive, as ever. */
	world = start();
	offer_call(world, "theirs");
	survey(world, 0, &running);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->ordered, BIT(STEP_PROBE_PEER));
	assert_int_equal(world->rejections, 0);
	world_destroy(world);
}

static void of_two_calls_of_a_tunnel_the_older_is_hung_up(void **unused)
{
	struct world *world = start();
	struct found found = rows[0].found;
	struct call_report older = {
		.call_id = "older",
		.attempt = FOUND_ATTEMPT - 1,
		.direction = OUT,
		.local_number = OWN_LOW,
		.remote_number = PEER,
		.tunnel = TUNNEL,
		.status = ANSWERED,
	};
	(void)unused;

	core_call_changed(world->core, &older);
	survey(world, 0, &found);
	core_call_changed(world->core, &older);
	assert_int_equal(world->session->attempt, FOUND_ATTEMPT);
	assert_int_equal(world->strays, 1);
	world_destroy(world);
}

static void operator_and_line_are_heard_before_adoption(void **unused)
{
	struct world *world = start();
	(void)unused;

	core_operator_release(world->core, PEER, false, "hangup");
	survey(world, 0, &rows[0].found);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_string_equal(world->session->cause, "hangup");
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	world_destroy(world);

	world = start();
	world_wan(world, "198.51.100.99");
	survey(world, 0, &rows[0].found);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	world_destroy(world);

	world = start();
	core_shut_down(world->core);
	assert_false(core_is_at_rest(world->core));
	survey(world, 0, &rows[0].found);
	finish_release(world);
	assert_true(core_is_at_rest(world->core));
	world_destroy(world);
}

static void two_hundred_sessions_are_adopted_without_an_order(void **unused)
{
	struct world *world = world_start(OWN_LOW, 200);
	struct found found = rows[0].found;
	(void)unused;

	world_services_up(world);
	world_wan(world, "198.51.100.10");
	survey_all(world, 200, &found);
	assert_int_equal(world->core->counters.sessions_adopted, 200);
	for (size_t i = 0; i < 200; i++)
		assert_int_equal(world->core->sessions[i].state, SESSION_ESTABLISHED);
	assert_int_equal(world->orders, 0);
	world_destroy(world);

	/* Without IKE: all keep running, and a new IKE_SA each 20 ms. */
	world = world_start(OWN_LOW, 200);
	found.ike = 0;
	world_services_up(world);
	world_wan(world, "198.51.100.10");
	survey_all(world, 200, &found);
	assert_int_equal(world->orders, 1);
	assert_int_equal(world->pace_timer_msec, 20);
	for (int i = 0; i < 199; i++)
		core_resume_next(world->core);
	assert_int_equal(world->orders, 200);
	world->pace_timer_msec = 0;
	core_resume_next(world->core);
	assert_int_equal(world->pace_timer_msec, 0);
	assert_int_equal(world->core->counters.ike_resumed, 200);
	world_destroy(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_row_of_the_table),
		cmocka_unit_test(without_the_snapshot_of_calls_nothing_is_adopted),
		cmocka_unit_test(an_adopted_session_is_the_one_that_ran),
		cmocka_unit_test(nothing_is_ended_before_its_owner_has_spoken),
		cmocka_unit_test(what_happens_while_snapshots_are_awaited_counts),
		cmocka_unit_test(a_call_offered_meanwhile_is_served_afterwards),
		cmocka_unit_test(of_two_calls_of_a_tunnel_the_older_is_hung_up),
		cmocka_unit_test(operator_and_line_are_heard_before_adoption),
		cmocka_unit_test(two_hundred_sessions_are_adopted_without_an_order),
	};

	return cmocka_run_group_tests_name("coordinator_adoption", tests, NULL, NULL);
}
