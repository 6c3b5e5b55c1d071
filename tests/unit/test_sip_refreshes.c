/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls on the wire: requests that overlap, session timers, refreshes that meet. */
#include "sip_calls_scene.h"

#define TIMER_HEADERS(refresher)                                              \
	"Require: timer\r\nAllow: INVITE,ACK,BYE,UPDATE\r\nSession-Expires: " \
	"4;refresher=" refresher "\r\n"

/* --- overlapping requests --- */

static void assert_retry_after(void)
{
	char line[64];
	unsigned wait = 99;

	copy_header(scene.received, "Retry-After", line, sizeof(line));
	assert_int_equal(sscanf(line, "Retry-After: %u", &wait), 1);
	assert_in_range(wait, 0, 10);
}

static void a_second_invite_waits_its_turn(void **state)
{
	char tag[64];

	(void)state;
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 1, .headers = "Require: 100rel\r\n",
	    .body = OFFER);
	expect("SIP/2.0 180");
	to_tag(tag, sizeof(tag));
	/* before our answer, and before its ACK */
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 2, .tag = tag, .body = OFFER);
	expect("SIP/2.0 500");
	assert_retry_after();
	assert_int_equal(scene.call.state, CALL_STATE_OFFERED);
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);
	assert_int_equal(sofia_answer_call(scene.sofia, "two1", 7, "vsip2", &ours), SOFIA_DONE);
	expect("SIP/2.0 200");
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 3, .tag = tag, .body = OFFER);
	expect("SIP/2.0 500");
	assert_retry_after();
	ASK(.method = "ACK", .call_id = "two1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	/* a re-INVITE whose 200 is not acknowledged is open too */
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 4, .tag = tag, .body = OFFER);
	expect("SIP/2.0 200");
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 5, .tag = tag, .body = OFFER);
	expect("SIP/2.0 500");
	ASK(.method = "ACK", .call_id = "two1", .cseq = 4, .tag = tag);
	event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
	ASK(.method = "INVITE", .call_id = "two1", .cseq = 6, .tag = tag, .body = OFFER);
	expect("SIP/2.0 200");
	assert_has("CSeq: 6 INVITE");
	ASK(.method = "ACK", .call_id = "two1", .cseq = 6, .tag = tag);
	hang_up_answered();
}

static void refreshes_that_meet_get_out_of_the_way(void **state)
{
	char refresh[8192], from[256], to[256], tag[64];

	(void)state;
	call_out_answered(1, "Require: timer\r\nAllow: INVITE,ACK,BYE\r\n"
	                     "Session-Expires: 4;refresher=uac\r\n");
	expect("INVITE sip:peer@" CARRIER);
	memcpy(refresh, scene.received, sizeof(refresh));
	double since = seconds();
	/* theirs meets ours: each is answered 491 */
	copy_header(refresh, "From", from, sizeof(from));
	copy_header(refresh, "To", to, sizeof(to));
	snprintf(tag, sizeof(tag), "%.*s", (int)strcspn(strstr(from, ";tag=") + 5, "\r"),
	         strstr(from, ";tag=") + 5);
	ASK(.method = "INVITE", .call_id = scene.call.call_id, .cseq = 1, .tag = tag,
	    .from_tag = "t1", .body = ANSWER);
	expect("SIP/2.0 491");
	/* an UPDATE without offer is in nobody's way */
	ASK(.method = "UPDATE", .call_id = scene.call.call_id, .cseq = 2, .tag = tag,
	    .from_tag = "t1");
	expect("SIP/2.0 200");
	answer(refresh, 491, "", "");
	expect("ACK ");
	expect("INVITE sip:peer@" CARRIER);
	/* we own the Call-ID: 2.1 s at least, but never later than the session would end */
	assert_true(seconds() - since > 0.4);
	answer(scene.received, 200, "Session-Expires: 90;refresher=uac\r\n", ANSWER);
	expect("ACK ");
	hang_up_answered();
}

/* --- session timers --- */

static void we_refresh_by_update(void **state)
{
	(void)state;
	call_out_answered(1, TIMER_HEADERS("uac"));
	expect("UPDATE sip:peer@" CARRIER);
	assert_has("\r\nSession-Expires: 4;refresher=uac\r\n");
	assert_false(has("m=application"));
	answer(scene.received, 200, "Session-Expires: 4;refresher=uac\r\n", "");
	expect("UPDATE sip:peer@" CARRIER);
	answer(scene.received, 200, "Session-Expires: 4;refresher=uac\r\n", "");
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
	hang_up_answered();
}

static void we_refresh_by_invite_with_the_same_version(void **state)
{
	char first[128];

	(void)state;
	call_out(1);
	const char *origin = strstr(invite, "\r\no=");
	snprintf(first, sizeof(first), "%.*s", (int)strcspn(origin + 2, "\r"), origin + 2);
	answer(invite, 200,
	       "Require: timer\r\nAllow: INVITE,ACK,BYE\r\nSession-Expires: 4;refresher=uac\r\n",
	       ANSWER);
	expect("ACK ");
	expect("INVITE sip:peer@" CARRIER);
	assert_has(first);
	answer(scene.received, 200, "Session-Expires: 4;refresher=uac\r\n", ANSWER);
	expect("ACK ");
	hang_up_answered();
}

static void a_refresh_that_is_not_answered_ends_the_call(void **state)
{
	(void)state;
	call_out_answered(1, TIMER_HEADERS("uac"));
	expect("UPDATE ");
	expect("BYE ");
	assert_non_null(strstr(scene.call.cause, "session timer"));
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_CARRIER);
}

static void a_refresh_that_is_refused_for_good_ends_the_call(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		call_out_answered(i + 1, TIMER_HEADERS("uac"));
		expect("UPDATE ");
		answer(scene.received, i ? 408 : 481, "", "");
		expect("BYE ");
		answer(scene.received, 200, "", "");
		wait_for_state(CALL_STATE_ENDED);
	}
}

static void the_other_side_forgets_to_refresh(void **state)
{
	(void)state;
	double since = seconds();
	call_out_answered(1, TIMER_HEADERS("uas"));
	/* 4 s - min(32 s, 4/3 s), in whole seconds */
	assert_false(receive(scene.carrier, 2000));
	expect("BYE ");
	assert_true(seconds() - since > 2.5 && seconds() - since < 6);
}

static void the_caller_refreshes(void **state)
{
	char tag[64];

	(void)state;
	take_call("refresh1", "Supported: timer\r\nSession-Expires: 4;refresher=uac\r\n");
	to_tag(tag, sizeof(tag));
	assert_has("\r\nSession-Expires: 4;refresher=uac\r\n");
	ASK(.method = "ACK", .call_id = "refresh1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	for (unsigned i = 0; i < 3; i++) {
		receive(scene.carrier, 1500);
		assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
		ASK(.method = "UPDATE", .call_id = "refresh1", .cseq = 2 + i, .tag = tag,
		    .headers = "Supported: timer\r\nSession-Expires: 4;refresher=uac\r\n");
		expect("SIP/2.0 200");
	}
	receive(scene.carrier, 1500);
	expect("BYE ");
}

static void too_brief_in_both_directions(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "brief1", .cseq = 1, .body = OFFER,
	    .headers = "Supported: timer\r\nSession-Expires: 1\r\n");
	expect("SIP/2.0 422");
	assert_has("\r\nMin-SE: 2\r\n");
	/* our refresh is too brief for the other side: once longer, then the call may end */
	call_out_answered(1, TIMER_HEADERS("uac"));
	expect("UPDATE ");
	answer(scene.received, 422, "Min-SE: 6\r\n", "");
	expect("UPDATE ");
	assert_has("\r\nSession-Expires: 6;refresher=uac\r\n");
	assert_has("\r\nMin-SE: 6\r\n");
	answer(scene.received, 422, "Min-SE: 8\r\n", "");
	expect_nothing("UPDATE ");
}

static void a_refresh_with_retry_after_comes_again(void **state)
{
	(void)state;
	call_out_answered(1, TIMER_HEADERS("uac"));
	expect("UPDATE ");
	answer(scene.received, 503, "Retry-After: 0\r\n", "");
	expect("UPDATE ");
	answer(scene.received, 200, "Session-Expires: 4;refresher=uac\r\n", "");
	hang_up_answered();
}

static void a_change_is_refused_and_the_call_goes_on(void **state)
{
	static const char *const changed[] = {
		SDP(STRANGER, "50009", "512", "active"),
		SDP(CARRIER, "50010", "512", "active"),
		SDP(CARRIER, "50009", "64", "active"),
		"v=0\r\no=- 1 2 IN IP4 " CARRIER "\r\ns=-\r\nc=IN IP4 " CARRIER
		"\r\nt=0 0\r\nm=application 50009 udp ike-esp-udpencap\r\nb=AS:512\r\n"
		"a=ike-setup:active\r\na=psk-fingerprint:SHA-256 "
		"00:4C:89:E1:68:85:7A:9C:B2:28:9E:46:93:9B:78:E1:8C:7A:8D:63:0B:6D:77:B9:9D:0B:1D:"
		"E9:23:66:CC:5A\r\n",
		"v=0\r\nnonsense\r\n",
	};
	static const char *const methods[] = {"INVITE", "UPDATE"};
	char tag[64];
	unsigned number = 2;

	(void)state;
	take_call("change1", NULL);
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "change1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	const struct sdp_tunnel before = scene.call.remote;
	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		for (size_t m = 0; m < 2; m++) {
			ASK(.method = methods[m], .call_id = "change1", .cseq = number, .tag = tag,
			    .body = changed[i]);
			expect("SIP/2.0 488");
			if (m == 0)
				ASK(.method = "ACK", .call_id = "change1", .cseq = number,
				    .tag = tag);
			number++;
		}
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	assert_memory_equal(&before, &scene.call.remote, sizeof(before));
	ASK(.method = "UPDATE", .call_id = "change1", .cseq = number, .tag = tag,
	    .headers = "Content-Type: text/plain\r\n", .body = "x");
	expect("SIP/2.0 415");
	ASK(.method = "UPDATE", .call_id = "change1", .cseq = number + 1, .tag = tag,
	    .headers = "Require: replaces\r\n");
	expect("SIP/2.0 420");
	ASK(.method = "UPDATE", .call_id = "change1", .cseq = number + 2, .tag = tag,
	    .headers = "Supported: timer\r\nSession-Expires: 60\r\n");
	expect("SIP/2.0 422");
	/* a lower sequence number than the last */
	ASK(.method = "UPDATE", .call_id = "change1", .cseq = 1, .tag = tag);
	expect("SIP/2.0 500");
	/* the control: the same description */
	ASK(.method = "UPDATE", .call_id = "change1", .cseq = number + 3, .tag = tag,
	    .body = OFFER);
	expect("SIP/2.0 200");
	assert_has("m=application 50001");
	hang_up_answered();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WITH(a_second_invite_waits_its_turn, set_up_plain),
		WITH(refreshes_that_meet_get_out_of_the_way, set_up_short),
		WITH(we_refresh_by_update, set_up_short),
		WITH(we_refresh_by_invite_with_the_same_version, set_up_short),
		WITH(a_refresh_that_is_not_answered_ends_the_call, set_up_short),
		WITH(a_refresh_that_is_refused_for_good_ends_the_call, set_up_short),
		WITH(the_other_side_forgets_to_refresh, set_up_short),
		WITH(the_caller_refreshes, set_up_short),
		WITH(too_brief_in_both_directions, set_up_short),
		WITH(a_refresh_with_retry_after_comes_again, set_up_short),
		WITH(a_change_is_refused_and_the_call_goes_on, set_up_plain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
