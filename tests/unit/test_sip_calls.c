/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls on the wire in every race: reliable responses, forks, CANCEL, session timers, refreshes that meet. */
#include "sip_ua_scene.h"

#define RETRY_ONCE   "retry-invite = 1"
#define SHORT_TIMERS "timers { session-expires = 4 session-minimum = 2 }\n"
#define TIMER_HEADERS(refresher)                                              \
	"Require: timer\r\nAllow: INVITE,ACK,BYE,UPDATE\r\nSession-Expires: " \
	"4;refresher=" refresher "\r\n"

static char invite[8192];

static int set_up_with(void **state, const char *line_options, const char *options)
{
	scene_line_options = line_options;
	scene_options = options;
	return set_up_registered(state);
}

static int set_up_plain(void **state)
{
	return set_up_with(state, "", "");
}

static int set_up_off(void **state)
{
	return set_up_with(state, "reliable-provisional = off", "");
}

static int set_up_required(void **state)
{
	return set_up_with(state, "reliable-provisional = required", "");
}

static int set_up_two_servers(void **state)
{
	return set_up_with(state, RETRY_ONCE " secondary-registrar = \"" STRANGER ":5060\"", "");
}

static int set_up_short(void **state)
{
	return set_up_with(state, RETRY_ONCE, SHORT_TIMERS);
}

/* Places attempt `attempt` and keeps its INVITE. */
static void call_out(uint64_t attempt)
{
	place_call(attempt);
	memcpy(invite, scene.received, sizeof(invite));
}

static void call_out_answered(uint64_t attempt, const char *headers)
{
	call_out(attempt);
	answer(invite, 200, headers, ANSWER);
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
}

static unsigned sequence(void)
{
	char line[64];
	unsigned number = 0;

	copy_header(scene.received, "CSeq", line, sizeof(line));
	sscanf(line, "CSeq: %u", &number);
	return number;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

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

static void hang_up(uint64_t attempt)
{
	assert_int_equal(sofia_hang_up(scene.sofia, "", attempt, "changed our mind"), SOFIA_DONE);
}

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
	expect("BYE ");
	/* 4 s - min(32 s, 4/3 s), in whole seconds */
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

#define WITH(name, prepare) cmocka_unit_test_setup_teardown(name, prepare, tear_down)

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
		WITH(a_silent_server_is_given_up, set_up_short),
		WITH(an_overloaded_server_hands_the_call_to_the_next, set_up_two_servers),
		WITH(a_dead_server_hands_the_call_to_the_next, set_up_two_servers),
		WITH(a_refusal_of_the_callee_does_not_move, set_up_two_servers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
