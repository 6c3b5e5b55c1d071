/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls on the wire in every race: reliable responses, forks, CANCEL, a server that is dead. */
#include "sip_calls_scene.h"

/* --- reliable provisional responses --- */

static void a_reliable_response_gets_its_prack(void **state)
{
	unsigned first;

	(void)state;
	call_out(1);
	first = sequence();
	answer(invite, 180, "Require: 100rel\r\nRSeq: 71\r\n", "");
	expect("PRACK sip:peer@" CARRIER);
	assert_has(";tag=t1");
	char rack[64];
	snprintf(rack, sizeof(rack), "\r\nRAck: 71 %u INVITE\r\n", first);
	assert_has(rack);
	assert_int_equal(sequence(), first + 1);
	answer(scene.received, 200, "", "");
	/* once more: it was acknowledged; out of order: it comes again by itself */
	answer(invite, 180, "Require: 100rel\r\nRSeq: 71\r\n", "");
	answer(invite, 180, "Require: 100rel\r\nRSeq: 73\r\n", "");
	expect_nothing("PRACK ");
	answer(invite, 183, "Require: 100rel\r\nRSeq: 72\r\n", "");
	expect("PRACK ");
	assert_has("\r\nRAck: 72 ");
	answer(scene.received, 200, "", "");
	/* not reliable: none */
	answer(invite, 180, "", "");
	expect_nothing("PRACK ");
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	hang_up_answered();
}

/* With credentials once; another challenge is none of ours, and the call goes on. */
static void a_challenged_prack_is_sent_once_more(void **state)
{
	const char *const challenge =
		"Proxy-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256\r\n";
	char rack[128], route[128];

	(void)state;
	call_out(1);
	answer(invite, 180,
	       "Require: 100rel\r\nRSeq: 71\r\nRecord-Route: <sip:" CARRIER ";lr;id=7>\r\n", "");
	expect("PRACK sip:peer@" CARRIER);
	assert_false(has("Authorization:"));
	const unsigned first = sequence();
	copy_header(scene.received, "RAck", rack, sizeof(rack));
	copy_header(scene.received, "Route", route, sizeof(route));
	answer(scene.received, 407, challenge, "");
	expect("PRACK sip:peer@" CARRIER);
	assert_has("Proxy-Authorization: Digest ");
	assert_has("uri=\"sip:peer@" CARRIER);
	assert_has(rack);
	assert_has(route);
	assert_has(";tag=t1");
	assert_int_equal(sequence(), first + 1);
	answer(scene.received, 407, challenge, "");
	expect_nothing("PRACK ");
	/* one that is still challenged when the call has ended */
	answer(invite, 183, "Require: 100rel\r\nRSeq: 72\r\n", "");
	expect("PRACK ");
	char late[8192];
	snprintf(late, sizeof(late), "%s", scene.received);
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	hang_up_answered();
	answer(late, 407, challenge, "");
	expect_nothing("PRACK sip:peer@" CARRIER);
}

static void the_prack_follows_the_route_of_its_response(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 180,
	       "Require: 100rel\r\nRSeq: 1\r\nRecord-Route: <sip:192.0.2.77;lr;n=1>, <sip:" CARRIER
	       ";lr;n=2>\r\n",
	       "");
	expect("PRACK sip:peer@" CARRIER);
	const char *near = strstr(scene.received, CARRIER ";lr;n=2"),
		   *far = strstr(scene.received, "192.0.2.77;lr;n=1");
	assert_true(near && far && near < far);
}

/* The answer of the reliable response need not be repeated (RFC 3262 section 5); an unreliable one is not believed. */
static void an_early_answer_counts_if_it_was_reliable(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 183, "Require: 100rel\r\nRSeq: 9\r\n", ANSWER);
	expect("PRACK ");
	assert_int_not_equal(scene.call.state, CALL_STATE_ANSWERED);
	answer(scene.received, 200, "", "");
	answer(invite, 200, "", "");
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
	assert_int_equal(scene.call.remote.port, 50009);
	hang_up_answered();
	call_out(2);
	answer(invite, 183, "", ANSWER);
	answer(invite, 200, "", "");
	expect("ACK ");
	expect("BYE ");
	assert_non_null(strstr(scene.call.cause, "no SDP"));
}

static void we_ring_reliably_for_who_requires_it(void **state)
{
	char tag[64], sequence_line[64], rack[128];
	unsigned number = 0;

	(void)state;
	ASK(.method = "INVITE", .call_id = "rel1", .cseq = 1, .headers = "Require: 100rel\r\n",
	    .body = OFFER);
	expect("SIP/2.0 180");
	assert_has("100rel");
	to_tag(tag, sizeof(tag));
	copy_header(scene.received, "RSeq", sequence_line, sizeof(sequence_line));
	assert_int_equal(sscanf(sequence_line, "RSeq: %u", &number), 1);
	/* until its PRACK it comes again */
	double since = seconds();
	expect("SIP/2.0 180");
	assert_true(seconds() - since > 0.2);
	snprintf(rack, sizeof(rack), "RAck: %u 1 INVITE\r\n", number + 1);
	ASK(.method = "PRACK", .call_id = "rel1", .cseq = 2, .tag = tag, .headers = rack);
	expect("SIP/2.0 481");
	snprintf(rack, sizeof(rack), "RAck: %u 1 INVITE\r\n", number);
	ASK(.method = "PRACK", .call_id = "rel1", .cseq = 3, .tag = tag, .headers = rack);
	expect("SIP/2.0 200");
	assert_has("PRACK");
	while (receive(scene.carrier, 1500))
		assert_false(has("SIP/2.0 180"));
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);
	assert_int_equal(sofia_answer_call(scene.sofia, "rel1", 7, "vsip2", &ours), SOFIA_DONE);
	expect("SIP/2.0 200");
	assert_has("INVITE");
}

static void off_means_off(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "off1", .cseq = 1, .headers = "Require: 100rel\r\n",
	    .body = OFFER);
	expect("SIP/2.0 420");
	assert_has("\r\nUnsupported: 100rel\r\n");
	call_out(1);
	assert_has("\r\nSupported: timer\r\n");
	assert_false(has("100rel"));
	answer(invite, 180, "Require: 100rel\r\nRSeq: 1\r\n", "");
	expect_nothing("PRACK ");
}

static void required_means_required(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "req1", .cseq = 1, .body = OFFER);
	expect("SIP/2.0 421");
	assert_has("\r\nRequire: 100rel\r\n");
	ASK(.method = "INVITE", .call_id = "req2", .cseq = 1, .headers = "Supported: 100rel\r\n",
	    .body = OFFER);
	expect("SIP/2.0 180");
	assert_has("\r\nRSeq: ");
	call_out(1);
	assert_has("\r\nRequire: 100rel\r\n");
}

/* --- forks --- */

static void two_answers_end_the_call(void **state)
{
	(void)state;
	call_out_answered(1, "");
	/* the same party again, its ACK got lost: nothing but the ACK */
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect_nothing("BYE ");
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
	answer_with_tag(invite, 200, "t2", "", ANSWER);
	expect("ACK ");
	assert_has(";tag=t2");
	bool is_ended[2] = {false, false};
	for (int i = 0; i < 2; i++) {
		expect("BYE ");
		is_ended[has(";tag=t2") ? 1 : 0] = true;
	}
	assert_true(is_ended[0] && is_ended[1]);
	assert_non_null(strstr(scene.call.cause, "forked"));
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_CARRIER);
	/* the BYE of the other party is repeated until it is answered */
	expect("BYE ");
}

static void early_dialogs_alone_do_no_harm(void **state)
{
	(void)state;
	call_out(1);
	answer_with_tag(invite, 180, "t1", "Require: 100rel\r\nRSeq: 5\r\n", "");
	expect("PRACK ");
	assert_has(";tag=t1");
	answer(scene.received, 200, "", "");
	answer_with_tag(invite, 180, "t2", "Require: 100rel\r\nRSeq: 900\r\n", "");
	expect("PRACK ");
	assert_has(";tag=t2");
	answer(scene.received, 200, "", "");
	answer_with_tag(invite, 200, "t2", "", ANSWER);
	expect("ACK ");
	assert_has(";tag=t2");
	wait_for_state(CALL_STATE_ANSWERED);
	expect_nothing("BYE ");
	hang_up_answered();
}

/* --- CANCEL --- */

static void cancel_before_any_response_waits(void **state)
{
	(void)state;
	call_out(1);
	hang_up(1);
	expect_nothing("CANCEL ");
	answer(invite, 180, "", "");
	expect("CANCEL ");
	answer(scene.received, 200, "", "");
	answer(invite, 487, "", "");
	expect("ACK ");
	wait_for_state(CALL_STATE_ENDED);
}

static void cancel_before_any_response_and_the_answer_comes_first(void **state)
{
	(void)state;
	call_out(1);
	hang_up(1);
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
}

static void cancel_crosses_a_refusal(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 100, "", "");
	receive(scene.carrier, 50);
	hang_up(1);
	answer(invite, 486, "", "");
	expect("ACK ");
	wait_for_state(CALL_STATE_ENDED);
	assert_string_equal(scene.call.cause, "changed our mind");
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_US);
}

/* What would repeat the INVITE of a wanted call ends one that is not wanted any more. */
static void a_cancelled_call_is_not_repeated(void **state)
{
	static const struct {
		unsigned status;
		const char *headers;
	} finals[] = {
		{401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\"\r\n"},
		{422, "Min-SE: 600\r\n"},
		{503, "Retry-After: 1\r\n"},
		{302, "Contact: <sip:0990123456@expensive.example>\r\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(finals) / sizeof(finals[0]); i++) {
		call_out(i + 1);
		answer(invite, 180, "", "");
		wait_for_state(CALL_STATE_RINGING);
		hang_up(i + 1);
		expect("CANCEL ");
		answer(scene.received, 200, "", "");
		answer(invite, finals[i].status, finals[i].headers, "");
		expect("ACK ");
		expect_nothing("INVITE ");
		wait_for_state(CALL_STATE_ENDED);
	}
}

static void a_late_200_is_always_ended(void **state)
{
	static const char *const tags[] = {"t1", "t2"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		call_out(i + 1);
		answer(invite, 180, "", "");
		wait_for_state(CALL_STATE_RINGING);
		hang_up(i + 1);
		expect("CANCEL ");
		answer(scene.received, 200, "", "");
		answer(invite, 487, "", "");
		expect("ACK ");
		wait_for_state(CALL_STATE_ENDED);
		/* of the same party, or of another one that the proxy had asked too */
		answer_with_tag(invite, 200, tags[i], "", ANSWER);
		expect("ACK ");
		expect("BYE ");
		/* it is repeated */
		expect("BYE ");
		answer(scene.received, 200, "", "");
	}
}

static void a_repeated_refusal_is_acknowledged_again(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 486, "", "");
	expect("ACK ");
	wait_for_state(CALL_STATE_ENDED);
	answer(invite, 486, "", "");
	expect("ACK ");
}

static void the_caller_cancels_too_late(void **state)
{
	char tag[64];

	(void)state;
	ASK(.method = "INVITE", .call_id = "late1", .cseq = 1, .body = OFFER,
	    .branch = "z9hG4bKlate");
	wait_for_state(CALL_STATE_OFFERED);
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);
	assert_int_equal(sofia_answer_call(scene.sofia, "late1", 7, "vsip2", &ours), SOFIA_DONE);
	expect("SIP/2.0 200");
	to_tag(tag, sizeof(tag));
	ASK(.method = "CANCEL", .call_id = "late1", .cseq = 1, .branch = "z9hG4bKlate");
	expect("SIP/2.0 200");
	ASK(.method = "ACK", .call_id = "late1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	ASK(.method = "CANCEL", .call_id = "late1", .cseq = 1, .branch = "z9hG4bKnone");
	expect("SIP/2.0 481");
	hang_up_answered();
}

/* --- a dead server --- */

static void a_silent_server_is_given_up(void **state)
{
	(void)state;
	double since = seconds();
	call_out(1);
	wait_for_state(CALL_STATE_CALLING);
	expect("INVITE "); /* once more after 0.5 s, then 1 s of silence */
	while (scene.call.state != CALL_STATE_ENDED && seconds() - since < 5)
		receive(scene.carrier, 100);
	assert_int_equal(scene.call.state, CALL_STATE_ENDED);
	assert_true(seconds() - since > 1.3 && seconds() - since < 3);
	assert_int_equal(scene.call.sip_status, 408);
	assert_non_null(strstr(scene.call.cause, "does not answer"));
	/* it was not dead but slow: what it began is ended */
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
}

/* The next message at the secondary server that starts so. */
static void expect_at_secondary(const char *start)
{
	while (receive(scene.stranger, 3000))
		if (strncmp(scene.received, start, strlen(start)) == 0)
			return;
	fail_msg("%s did not come to the secondary server", start);
}

/* The same attempt and Call-ID, as a new transaction of the next number. */
static void assert_moved(void)
{
	char call_id[2][256], via[2][1024];
	unsigned first;

	copy_header(invite, "Call-ID", call_id[0], sizeof(call_id[0]));
	copy_header(invite, "Via", via[0], sizeof(via[0]));
	expect_at_secondary("INVITE sip:" THEIRS);
	copy_header(scene.received, "Call-ID", call_id[1], sizeof(call_id[1]));
	copy_header(scene.received, "Via", via[1], sizeof(via[1]));
	assert_string_equal(call_id[0], call_id[1]);
	assert_string_not_equal(via[0], via[1]);
	assert_has("\r\nRoute: <sip:" STRANGER ":5060;lr>\r\n");
	char later[8192];
	memcpy(later, scene.received, sizeof(later));
	memcpy(scene.received, invite, sizeof(invite));
	first = sequence();
	memcpy(scene.received, later, sizeof(later));
	assert_int_equal(sequence(), first + 1);
	assert_int_equal(scene.call.attempt, 1);
	assert_int_not_equal(scene.call.state, CALL_STATE_ENDED);
}

static void an_overloaded_server_hands_the_call_to_the_next(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 503, "Retry-After: 30\r\n", "");
	expect("ACK ");
	assert_moved();
}

static void a_dead_server_hands_the_call_to_the_next(void **state)
{
	(void)state;
	call_out(1);
	assert_moved();
	/* what the first one still says is ended */
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
}

static void a_refusal_of_the_callee_does_not_move(void **state)
{
	(void)state;
	call_out(1);
	answer(invite, 486, "", "");
	expect("ACK ");
	wait_for_state(CALL_STATE_ENDED);
	while (receive(scene.stranger, 500))
		assert_int_not_equal(strncmp(scene.received, "INVITE", 6), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(a_reliable_response_gets_its_prack, set_up_plain),
		WITH(a_challenged_prack_is_sent_once_more, set_up_plain),
		WITH(the_prack_follows_the_route_of_its_response, set_up_plain),
		WITH(an_early_answer_counts_if_it_was_reliable, set_up_plain),
		WITH(we_ring_reliably_for_who_requires_it, set_up_plain),
		WITH(off_means_off, set_up_off),
		WITH(required_means_required, set_up_required),
		WITH(two_answers_end_the_call, set_up_plain),
		WITH(early_dialogs_alone_do_no_harm, set_up_plain),
		WITH(cancel_before_any_response_waits, set_up_plain),
		WITH(cancel_before_any_response_and_the_answer_comes_first, set_up_plain),
		WITH(cancel_crosses_a_refusal, set_up_plain),
		WITH(a_cancelled_call_is_not_repeated, set_up_plain),
		WITH(a_late_200_is_always_ended, set_up_plain),
		WITH(a_repeated_refusal_is_acknowledged_again, set_up_plain),
		WITH(the_caller_cancels_too_late, set_up_plain),
		WITH(a_silent_server_is_given_up, set_up_short),
		WITH(an_overloaded_server_hands_the_call_to_the_next, set_up_two_servers),
		WITH(a_dead_server_hands_the_call_to_the_next, set_up_two_servers),
		WITH(a_refusal_of_the_callee_does_not_move, set_up_two_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
