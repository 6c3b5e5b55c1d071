/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The call machine: the ways calls go, and every state with every event against rules that hold for all of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/call_core.h"

static struct call call;

static void begin(enum call_direction direction)
{
	memset(&call, 0, sizeof(call));
	call.direction = direction;
	call.state = direction == CALL_OUTGOING ? CALL_STATE_CALLING : CALL_STATE_OFFERED;
}

static void step(enum call_event event, unsigned actions, enum call_state state)
{
	assert_int_equal(call_core_handle(&call, event, 7), actions);
	assert_string_equal(call_state_name(call.state), call_state_name(state));
}

static void an_outgoing_call_is_answered_and_hung_up(void **state)
{
	(void)state;
	begin(CALL_OUTGOING);
	step(CALL_EVENT_TRYING, 0, CALL_STATE_PROCEEDING);
	step(CALL_EVENT_RINGING, CALL_REPORT, CALL_STATE_RINGING);
	step(CALL_EVENT_GOOD_ANSWER, CALL_SEND_ACK | CALL_REPORT, CALL_STATE_ANSWERED);
	assert_int_equal(call.answered_at_usec, 7);
	step(CALL_EVENT_HANG_UP, CALL_SEND_BYE | CALL_REPORT, CALL_STATE_LEAVING);
	step(CALL_EVENT_BYE_DONE, CALL_REPORT, CALL_STATE_ENDED);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_US);
	assert_int_equal(call.ended_at_usec, 7);
}

static void a_bad_answer_is_acknowledged_and_ended(void **state)
{
	(void)state;
	begin(CALL_OUTGOING);
	step(CALL_EVENT_BAD_ANSWER, CALL_SEND_ACK | CALL_SEND_BYE | CALL_REPORT,
	     CALL_STATE_LEAVING);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_US);
}

static void cancel_waits_for_a_provisional_response(void **state)
{
	(void)state;
	begin(CALL_OUTGOING);
	step(CALL_EVENT_HANG_UP, CALL_REPORT, CALL_STATE_CANCEL_OWED);
	step(CALL_EVENT_HANG_UP, 0, CALL_STATE_CANCEL_OWED);
	step(CALL_EVENT_TRYING, CALL_SEND_CANCEL, CALL_STATE_CANCELLING);
	step(CALL_EVENT_RINGING, 0, CALL_STATE_CANCELLING);
	step(CALL_EVENT_REFUSED, CALL_REPORT, CALL_STATE_ENDED);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_US);
}

static void an_answer_that_crosses_the_cancel_is_ended(void **state)
{
	(void)state;
	begin(CALL_OUTGOING);
	step(CALL_EVENT_RINGING, CALL_REPORT, CALL_STATE_RINGING);
	step(CALL_EVENT_HANG_UP, CALL_SEND_CANCEL | CALL_REPORT, CALL_STATE_CANCELLING);
	step(CALL_EVENT_GOOD_ANSWER, CALL_SEND_ACK | CALL_SEND_BYE | CALL_REPORT,
	     CALL_STATE_LEAVING);
	step(CALL_EVENT_PEER_BYE, CALL_REPORT, CALL_STATE_ENDED);
}

static void a_reliable_ringing_without_prack_ends_the_call(void **state)
{
	(void)state;
	begin(CALL_INCOMING);
	step(CALL_EVENT_NO_ACK, CALL_SEND_REFUSAL | CALL_REPORT, CALL_STATE_ENDED);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_CARRIER);
}

static void an_incoming_call_is_confirmed(void **state)
{
	(void)state;
	begin(CALL_INCOMING);
	step(CALL_EVENT_ACCEPT, CALL_SEND_ANSWER | CALL_REPORT, CALL_STATE_ACCEPTED);
	step(CALL_EVENT_ACK, CALL_REPORT, CALL_STATE_CONFIRMED);
	step(CALL_EVENT_PEER_BYE, CALL_REPORT, CALL_STATE_ENDED);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_PEER);
}

static void bye_of_the_callee_waits_for_the_ack(void **state)
{
	(void)state;
	begin(CALL_INCOMING);
	step(CALL_EVENT_ACCEPT, CALL_SEND_ANSWER | CALL_REPORT, CALL_STATE_ACCEPTED);
	step(CALL_EVENT_HANG_UP, CALL_REPORT, CALL_STATE_BYE_OWED);
	step(CALL_EVENT_ACK, CALL_SEND_BYE, CALL_STATE_LEAVING);
	begin(CALL_INCOMING);
	step(CALL_EVENT_ACCEPT, CALL_SEND_ANSWER | CALL_REPORT, CALL_STATE_ACCEPTED);
	step(CALL_EVENT_NO_ACK, CALL_SEND_BYE | CALL_REPORT, CALL_STATE_LEAVING);
	assert_int_equal(call.ended_by, CALL_ENDED_BY_CARRIER);
}

static void an_offer_is_refused_or_withdrawn(void **state)
{
	(void)state;
	begin(CALL_INCOMING);
	step(CALL_EVENT_REJECT, CALL_SEND_REFUSAL | CALL_REPORT, CALL_STATE_ENDED);
	begin(CALL_INCOMING);
	step(CALL_EVENT_PEER_CANCEL, CALL_REPORT, CALL_STATE_ENDED);
	step(CALL_EVENT_ACCEPT, 0, CALL_STATE_ENDED);
	assert_int_equal(call.ignored, 1);
}

static bool is_established(enum call_state state)
{
	return state == CALL_STATE_ANSWERED || state == CALL_STATE_ACCEPTED ||
	       state == CALL_STATE_CONFIRMED || state == CALL_STATE_BYE_OWED;
}

static void check_pair(enum call_state from, enum call_event event)
{
	memset(&call, 0, sizeof(call));
	call.state = from;
	unsigned actions = call_core_handle(&call, event, 9);

	/* an event is either known or counted */
	assert_int_equal(call.ignored, call.state == from && actions == 0 ? 1 : 0);
	/* nothing comes back from the end, and no BYE is taken back */
	if (from == CALL_STATE_ENDED)
		assert_int_equal(call.ignored, 1);
	if (from == CALL_STATE_LEAVING)
		assert_true(call.state == CALL_STATE_LEAVING || call.state == CALL_STATE_ENDED);
	/* a 2xx is always acknowledged while its INVITE is known, and a call that is over by then gets its BYE */
	if ((event == CALL_EVENT_GOOD_ANSWER || event == CALL_EVENT_BAD_ANSWER) &&
	    call.ignored == 0) {
		assert_true(actions & CALL_SEND_ACK);
		assert_true((actions & CALL_SEND_BYE) || call.state == CALL_STATE_ANSWERED);
	}
	/* an established call never ends without a BYE of one of us */
	if (is_established(from) && call.state == CALL_STATE_ENDED)
		assert_int_equal(event, CALL_EVENT_PEER_BYE);
	/* a BYE is what makes a call leave, and the only thing */
	assert_int_equal((actions & CALL_SEND_BYE) != 0,
	                 from != CALL_STATE_LEAVING && call.state == CALL_STATE_LEAVING);
	/* the end is told, with its time */
	if (from != CALL_STATE_ENDED && call.state == CALL_STATE_ENDED) {
		assert_true(actions & CALL_REPORT);
		assert_int_equal(call.ended_at_usec, 9);
	}
	/* an order to hang up is never lost */
	if (event == CALL_EVENT_HANG_UP && from != CALL_STATE_ENDED)
		assert_true(call.state == CALL_STATE_ENDED || call.state == CALL_STATE_LEAVING ||
		            call.state == CALL_STATE_CANCELLING ||
		            call.state == CALL_STATE_CANCEL_OWED ||
		            call.state == CALL_STATE_BYE_OWED);
}

static void every_pair_keeps_the_rules(void **state)
{
	(void)state;
	for (int from = 0; from < CALL_STATE_COUNT; from++)
		for (int event = 0; event < CALL_EVENT_COUNT; event++)
			check_pair((enum call_state)from, (enum call_event)event);
}

/* Every state that waits for somebody else has a limit, and its deadline leads towards the end. */
static void no_state_lasts_for_ever(void **state)
{
	(void)state;
	for (int from = 0; from < CALL_STATE_ENDED; from++) {
		const bool is_talking = from == CALL_STATE_ANSWERED ||
		                        from == CALL_STATE_CONFIRMED || from == CALL_STATE_ACCEPTED;

		assert_int_equal(call_state_limit_sec((enum call_state)from) == 0, is_talking);
		for (int hops = 0; !is_talking && hops < 3; hops++) {
			if (hops == 0) {
				memset(&call, 0, sizeof(call));
				call.state = (enum call_state)from;
			}
			if (call.state != CALL_STATE_ENDED)
				call_core_handle(&call, CALL_EVENT_DEADLINE, 1);
		}
		if (!is_talking)
			assert_int_equal(call.state, CALL_STATE_ENDED);
	}
}

static void the_first_cause_stays(void **state)
{
	(void)state;
	begin(CALL_OUTGOING);
	call_set_cause(&call, "%s", "idle");
	call_set_cause(&call, "%d", 487);
	assert_string_equal(call.cause, "idle");
}

/* What was up goes on, what was unfinished gets what it is owed, and never does a call just stay. */
static void a_restart_pays_what_is_owed(void **state)
{
	static const struct {
		enum call_state left;
		bool is_acknowledged;
		unsigned actions;
		enum call_state becomes;
	} cases[] = {
		{CALL_STATE_CALLING, false, CALL_SEND_CANCEL, CALL_STATE_CANCELLING},
		{CALL_STATE_PROCEEDING, false, CALL_SEND_CANCEL, CALL_STATE_CANCELLING},
		{CALL_STATE_RINGING, false, CALL_SEND_CANCEL, CALL_STATE_CANCELLING},
		{CALL_STATE_CANCEL_OWED, false, CALL_SEND_CANCEL, CALL_STATE_CANCELLING},
		{CALL_STATE_CANCELLING, false, CALL_SEND_CANCEL, CALL_STATE_CANCELLING},
		{CALL_STATE_ANSWERED, false, CALL_SEND_ACK | CALL_SEND_BYE, CALL_STATE_LEAVING},
		{CALL_STATE_ANSWERED, true, CALL_RESUME, CALL_STATE_ANSWERED},
		{CALL_STATE_OFFERED, false, CALL_SEND_REFUSAL, CALL_STATE_ENDED},
		{CALL_STATE_ACCEPTED, false, CALL_SEND_ANSWER, CALL_STATE_ACCEPTED},
		{CALL_STATE_ACCEPTED, true, CALL_RESUME, CALL_STATE_CONFIRMED},
		{CALL_STATE_BYE_OWED, false, CALL_SEND_BYE, CALL_STATE_LEAVING},
		{CALL_STATE_CONFIRMED, true, CALL_RESUME, CALL_STATE_CONFIRMED},
		{CALL_STATE_LEAVING, true, CALL_SEND_BYE, CALL_STATE_LEAVING},
		{CALL_STATE_ENDED, true, 0, CALL_STATE_ENDED},
	};
	unsigned seen = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memset(&call, 0, sizeof(call));
		call.state = cases[i].left;
		assert_int_equal(call_core_restore(&call, cases[i].is_acknowledged, 5),
		                 cases[i].actions);
		assert_string_equal(call_state_name(call.state), call_state_name(cases[i].becomes));
		assert_true(call.is_restored);
		assert_int_equal(call.ended_at_usec, cases[i].left == CALL_STATE_OFFERED ? 5 : 0);
		seen |= 1u << cases[i].left;
	}
	assert_int_equal(seen, (1u << CALL_STATE_COUNT) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_outgoing_call_is_answered_and_hung_up),
		cmocka_unit_test(a_bad_answer_is_acknowledged_and_ended),
		cmocka_unit_test(cancel_waits_for_a_provisional_response),
		cmocka_unit_test(an_answer_that_crosses_the_cancel_is_ended),
		cmocka_unit_test(a_reliable_ringing_without_prack_ends_the_call),
		cmocka_unit_test(an_incoming_call_is_confirmed),
		cmocka_unit_test(bye_of_the_callee_waits_for_the_ack),
		cmocka_unit_test(an_offer_is_refused_or_withdrawn),
		cmocka_unit_test(every_pair_keeps_the_rules),
		cmocka_unit_test(no_state_lasts_for_ever),
		cmocka_unit_test(the_first_cause_stays),
		cmocka_unit_test(a_restart_pays_what_is_owed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
