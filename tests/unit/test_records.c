/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Call records: what becomes of reports. */
#include "records_world.h"

static void test_an_answered_call(void **state)
{
	struct world *world = *state;
	struct record row;
	uint64_t answered;

	tunnel(world, 0, 10, 10);
	begin_own(world, 7);
	pass(world, SECOND);
	answered = world->now.wall_usec;
	answer(world);
	world->session.negotiated_kbit = 512;
	tunnel(world, 7, 10, 10);
	pass(world, SECOND);
	become(world, SESSION_ESTABLISHED);
	tunnel(world, 7, 15, 17);
	pass(world, 9 * SECOND);
	world->session.ordered |= BIT(STEP_HANG_UP);
	rest(world, "idle for 2 s");
	tunnel(world, 0, 16, 18);
	Vpnsip__CallChanged over = ended(world, answered);
	over.ended_by = VPNSIP__ENDED_BY__ENDED_BY_US;
	records_call_changed(world->records, &over);

	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.started_at_usec, START);
	assert_int_equal(row.answered_at_usec, answered);
	assert_int_equal(row.up_at_usec, answered + SECOND);
	assert_int_equal(row.ended_at_usec, answered + 10 * SECOND);
	assert_int_equal(row.ended_by, VPNSIP__ENDED_BY__ENDED_BY_US);
	assert_int_equal(row.negotiated_kbit, 512);
	assert_int_equal(row.direction, VPNSIP__DIRECTION__OUTGOING);
	assert_string_equal(row.cause, "idle for 2 s");
	assert_string_equal(row.local_number, "0388881001");
	assert_string_equal(row.remote_number, "0388882001");
	assert_string_equal(row.call_id, CALL_ID);
	assert_int_equal(row.traffic.packets_in, 6);
	assert_int_equal(row.traffic.packets_out, 8);
	assert_int_equal(row.traffic.bytes_out, 800);
}

static void test_a_call_that_is_never_ordered_is_not_billed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	world->session.ordered = 0;
	rest(world, "vsip2 has a foreign qdisc");
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
	assert_string_equal(row.cause, "vsip2 has a foreign qdisc");
}

static void test_a_refused_order_is_not_billed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	records_refused(world->records, 7);
	pass(world, 100 * SECOND);
	rest(world, "the line has no open SIP transport");
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
}

static void test_an_end_that_nobody_saw_is_estimated_late(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	rest(world, "peer dead");
	row = stored(world, 7);
	assert_int_equal(row.end, RUNNING);
	pass(world, 20 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.answered_at_usec, answered);
	assert_int_equal(row.ended_at_usec, answered + 60 * SECOND);
}

static void test_an_estimate_of_sip_agent_is_marked(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_end_estimated = true;
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.ended_at_usec, answered + 40 * SECOND);
}

/* Its BYE may be answered 200 by a carrier that ended the call long ago. */
static void test_a_call_taken_up_after_its_session_is_estimated(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_restored = true;
	rest(world, "idle for 2 s");
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 7).end, GUESS);
}

static void test_a_call_taken_up_in_its_session_is_exact(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_restored = true;
	become(world, SESSION_RELEASING);
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 7).end, EXACT);
}

/* An event may be damaged on its way. */
static void test_a_snapshot_mends_what_an_event_said(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over, live;
	struct record row;

	begin_own(world, 7);
	answer(world);
	live = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);
	live.answered_at_usec = answered;
	over = ended(world, answered);
	records_call_changed(world->records, &over);
	pass(world, 30 * SECOND);
	snapshot(world, &live);
	pass(world, SECOND);
	over.ended_at_usec = world->now.wall_usec - 20 * SECOND;
	records_call_changed(world->records, &over);
	pass(world, SECOND);
	over.ended_at_usec = world->now.wall_usec;
	snapshot(world, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 32 * SECOND);

	over.attempt = 123456;
	over.status = VPNSIP__CALL_STATUS__CALL_ANSWERED;
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 123456).attempt, 0);
}

static void test_an_exact_end_replaces_an_estimate(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	pass(world, 5 * SECOND);
	snapshot(world, NULL);
	assert_int_equal(stored(world, 7).end, GUESS);
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 40 * SECOND);
}

/* A 200 may have come while the coordinator was dead, and sip-agent may have forgotten it since. */
static void test_an_unseen_answer_is_never_undercounted(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	restart(world);
	pass(world, 100 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.answered_at_usec, START);
	assert_int_equal(row.ended_at_usec, START + 100 * SECOND);
}

static void test_a_young_call_unknown_to_sip_agent_was_never_placed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	restart(world);
	pass(world, 5 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
}

static void test_an_adopted_session_goes_on(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged call, over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	become(world, SESSION_ESTABLISHED);
	tunnel(world, 7, 0, 0);
	tunnel(world, 7, 5, 5);
	restart(world);
	call = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);
	call.attempt = 7;
	call.answered_at_usec = answered;
	pass(world, 10 * SECOND);
	snapshot(world, &call);
	assert_int_equal(stored(world, 7).end, RUNNING);
	/* What passed while the coordinator was dead is not lost. */
	tunnel(world, 7, 50, 60);
	world->session.attempt = 7;
	become(world, SESSION_ESTABLISHED);
	/* tunnel-agent is restarted */
	tunnel(world, 7, 2, 3);
	pass(world, 10 * SECOND);
	over = ended(world, answered);
	over.attempt = 7;
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 20 * SECOND);
	assert_int_equal(row.traffic.packets_in, 52);
	assert_int_equal(row.traffic.packets_out, 63);
}

static void test_a_clock_that_is_set_does_not_change_the_duration(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 20 * SECOND);
	world->now.wall_usec += 3600 * SECOND;
	pass(world, 10 * SECOND);
	over = ended(world, answered);
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec - row.answered_at_usec, 30 * SECOND);
}

static void test_an_incoming_call_that_is_refused(void **state)
{
	struct world *world = *state;
	Vpnsip__CallChanged over;
	struct record row;

	world->session.attempt = 9;
	world->session.direction = VPNSIP__DIRECTION__INCOMING;
	snprintf(world->session.call_id, sizeof(world->session.call_id), CALL_ID);
	become(world, SESSION_RINGING);
	pass(world, SECOND);
	rest(world, "psk-fingerprint of the offer is of another key than ours");
	over = ended(world, 0);
	over.attempt = 0;
	over.direction = VPNSIP__DIRECTION__INCOMING;
	over.sip_status = 488;
	records_call_changed(world->records, &over);
	row = stored(world, 9);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
	assert_int_equal(row.direction, VPNSIP__DIRECTION__INCOMING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_answered_call),
		TEST(test_a_call_that_is_never_ordered_is_not_billed),
		TEST(test_a_refused_order_is_not_billed),
		TEST(test_an_end_that_nobody_saw_is_estimated_late),
		TEST(test_an_estimate_of_sip_agent_is_marked),
		TEST(test_a_call_taken_up_after_its_session_is_estimated),
		TEST(test_a_call_taken_up_in_its_session_is_exact),
		TEST(test_a_snapshot_mends_what_an_event_said),
		TEST(test_an_exact_end_replaces_an_estimate),
		TEST(test_an_unseen_answer_is_never_undercounted),
		TEST(test_a_young_call_unknown_to_sip_agent_was_never_placed),
		TEST(test_an_adopted_session_goes_on),
		TEST(test_a_clock_that_is_set_does_not_change_the_duration),
		TEST(test_an_incoming_call_that_is_refused),
	};

	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
