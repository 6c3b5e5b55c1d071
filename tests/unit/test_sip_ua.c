/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user agent on loopback against a carrier that says exactly what a test writes. */
#include "sip_ua_scene.h"

static void registration_answers_the_challenge(void **state)
{
	(void)state;
	order_registration();
	assert_false(has("Authorization"));
	assert_has("\r\nExpires: 3600\r\n");
	answer(scene.received, 401,
	       "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=MD5, qop=\"auth\"\r\n"
	       "WWW-Authenticate: Digest realm=\"r\", nonce=\"n2\", algorithm=SHA-256, "
	       "qop=\"auth\"\r\n",
	       "");
	expect("REGISTER ");
	assert_has("nonce=\"n2\"");
	assert_has("algorithm=SHA-256");
	assert_has("username=\"" OURS "\"");
	assert_false(has("secret"));
	/* asked for longer, then accepted with the time of our own Contact */
	answer(scene.received, 423, "Min-Expires: 7200\r\n", "");
	expect("REGISTER ");
	assert_has("\r\nExpires: 7200\r\n");
	accept_registration(600);
	assert_int_equal(scene.granted_sec, 600);
	assert_int_equal(sofia_deregister_line(scene.sofia, OURS), SOFIA_DONE);
	expect("REGISTER ");
	assert_has("\r\nExpires: 0\r\n");
	assert_false(scene.is_registered);
}

static void a_second_challenge_means_a_wrong_password(void **state)
{
	static const char challenge[] =
		"WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";

	(void)state;
	order_registration();
	answer(scene.received, 401, challenge, "");
	expect("REGISTER ");
	answer(scene.received, 401, challenge, "");
	expect_nothing("REGISTER ");
	assert_non_null(strstr(scene.cause, "password"));
}

static void the_password_answers_the_registrars_realm_alone(void **state)
{
	(void)state;
	order_registration();
	answer(scene.received, 401, "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\"\r\n",
	       "");
	expect("REGISTER ");
	accept_registration(3600);
	place_call(1);
	answer(scene.received, 401, "WWW-Authenticate: Digest realm=\"trap\", nonce=\"n2\"\r\n",
	       "");
	expect_nothing("INVITE ");
	wait_for_state(CALL_STATE_ENDED);
	/* the control */
	place_call(2);
	answer(scene.received, 407,
	       "Proxy-Authenticate: Digest realm=\"trap\", nonce=\"n3\", algorithm=SHA-256\r\n"
	       "Proxy-Authenticate: Digest realm=\"carrier\", nonce=\"n4\"\r\n",
	       "");
	expect("ACK ");
	expect("INVITE ");
	assert_has("nonce=\"n4\"");
}

static void an_outgoing_call_is_written_as_specified(void **state)
{
	(void)state;
	place_call(1);
	assert_has("\r\nRoute: <sip:" CARRIER ":5060;lr>\r\n");
	assert_has("\r\nP-Preferred-Identity: <sip:" OURS "@carrier.example>\r\n");
	assert_has("\r\nSupported: timer, 100rel\r\n");
	assert_has("\r\nSession-Expires: 300\r\n");
	assert_has("\r\nContact: <sip:");
	assert_has("s=-\r\nc=IN IP4 " AGENT "\r\nt=0 0\r\n"
	           "m=application 50001 udp ike-esp-udpencap\r\nc=IN IP4 " AGENT
	           "\r\nb=AS:1000\r\na=ike-setup:active\r\na=psk-fingerprint:SHA-256 00:00:");
	char invite[8192];
	memcpy(invite, scene.received, sizeof(invite));
	answer(invite, 180, "", "");
	wait_for_state(CALL_STATE_RINGING);
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;x=y>\r\n", ANSWER);
	expect("ACK sip:peer@" CARRIER);
	assert_has("\r\nRoute: <sip:" CARRIER ";lr;x=y>\r\n");
	wait_for_state(CALL_STATE_ANSWERED);
	assert_int_equal(scene.call.remote.port, 50009);
	assert_int_equal(scene.call.remote.bandwidth_kbit, 512);
	/* the ACK got lost: the 200 comes again, and so does the ACK */
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;x=y>\r\n", ANSWER);
	expect("ACK ");
	hang_up_answered();
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_US);
}

static void an_attempt_is_placed_once(void **state)
{
	struct sofia_call_order order = {5, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};

	(void)state;
	place_call(5);
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	answer(scene.received, 100, "", "");
	expect_nothing("INVITE ");
	order.attempt = 4;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_STALE);
	order.local_number = "0399999999";
	order.attempt = 6;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_UNKNOWN);
}

static void cancel_waits_and_a_crossing_answer_is_ended(void **state)
{
	char invite[8192];

	(void)state;
	place_call(1);
	memcpy(invite, scene.received, sizeof(invite));
	sofia_hang_up(scene.sofia, "", 1, "changed our mind");
	expect_nothing("CANCEL ");
	answer(invite, 100, "", "");
	expect("CANCEL ");
	answer(scene.received, 200, "", "");
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
	assert_has("\r\nReason: SIP;text=\"changed our mind\"\r\n");
	answer(scene.received, 481, "", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_string_equal(scene.call.cause, "changed our mind");
}

static void bad_answers_are_acknowledged_and_ended(void **state)
{
	static const struct {
		const char *body, *why;
	} answers[] = {
		{"", "no SDP"},
		{SDP(CARRIER, "50009", "512", "active"), "ike-setup"},
		{SDP(CARRIER, "0", "512", "passive"), "port 0"},
		{SDP(CARRIER, "50009", "0", "passive"), "b=AS is 0"},
		{"v=0\r\nnonsense\r\n", "type=value"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		place_call(i + 1);
		answer(scene.received, 200, "", answers[i].body);
		expect("ACK ");
		expect("BYE ");
		answer(scene.received, 200, "", "");
		wait_for_state(CALL_STATE_ENDED);
		assert_non_null(strstr(scene.call.cause, answers[i].why));
		assert_false(scene.call.has_remote);
	}
}

static void refusals_are_reported_and_redirections_not_followed(void **state)
{
	(void)state;
	place_call(1);
	answer(scene.received, 503, "Retry-After: 17\r\nWarning: 399 x \"full\"\r\n", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.sip_status, 503);
	assert_int_equal(scene.call.retry_after_sec, 17);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_CARRIER);
	assert_non_null(strstr(scene.call.cause, "full"));
	place_call(2);
	answer(scene.received, 302, "Contact: <sip:0990123456@expensive.example>\r\n", "");
	expect_nothing("INVITE ");
	wait_for_state(CALL_STATE_ENDED);
	place_call(3);
	answer(scene.received, 422, "Min-SE: 600\r\n", "");
	expect("ACK ");
	expect("INVITE ");
	assert_has("\r\nSession-Expires: 600\r\n");
	assert_has("\r\nMin-SE: 600\r\n");
	answer(scene.received, 422, "Min-SE: 900\r\n", "");
	wait_for_state(CALL_STATE_ENDED);
}

static void an_incoming_call_is_answered_and_ended(void **state)
{
	char tag[64];

	(void)state;
	take_call("in1", "Supported: timer\r\nSession-Expires: 1800\r\n");
	to_tag(tag, sizeof(tag));
	assert_string_equal(scene.call.remote_number, THEIRS);
	assert_has("\r\nRequire: timer\r\n");
	assert_has("\r\nSession-Expires: 300;refresher=uas\r\n");
	assert_has("m=application 50001 udp ike-esp-udpencap\r\nc=IN IP4 " AGENT
	           "\r\nb=AS:1000\r\na=ike-setup:passive\r\n");
	wait_for_state(CALL_STATE_ACCEPTED);
	ASK(.method = "ACK", .call_id = "in1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	/* without the tag of our side nobody ends a call, with it the other side does */
	ASK(.method = "BYE", .call_id = "in1", .cseq = 2);
	expect("SIP/2.0 481");
	ASK(.method = "BYE", .call_id = "in1", .cseq = 3, .tag = "guessed");
	expect("SIP/2.0 481");
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	ASK(.method = "BYE", .call_id = "in1", .cseq = 4, .tag = tag,
	    .headers = "Reason: SIP;cause=480;text=\"wrong \377key\"\r\n");
	expect("SIP/2.0 200");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_PEER);
	assert_string_equal(scene.call.cause, "hung up by the other side: wrong ?key");
}

static void each_bad_invite_has_its_answer(void **state)
{
	static const struct {
		const char *headers, *identity, *body, *status, *text;
	} invites[] = {
		{NULL, "", OFFER, "433", NULL},
		{NULL, "<sip:anonymous@anonymous.invalid>\r\n", OFFER, "433", NULL},
		{NULL, "<sip:alice@carrier.example>\r\n", OFFER, "403", NULL},
		{NULL, "<sip:" THEIRS "@c>, <tel:0388883002>\r\n", OFFER, "403", NULL},
		{"Require: replaces\r\n", NULL, OFFER, "420", "Unsupported: replaces"},
		{"Content-Type: text/plain\r\n", NULL, "hello", "415", "Accept: application/sdp"},
		{NULL, NULL, NULL, "488", "Warning: 399"},
		{NULL, NULL, "v=0\r\nnonsense\r\n", "400", NULL},
		{NULL, NULL, SDP(CARRIER, "50009", "512", "holdconn"), "488", "Warning: 306"},
		{NULL, NULL, SDP(CARRIER, "50009", "0", "active"), "488", "Warning: 370"},
		{"Supported: timer\r\nSession-Expires: 60\r\n", NULL, OFFER, "422", "Min-SE: 90"},
	};
	char status[32], call_id[32];

	(void)state;
	for (size_t i = 0; i < sizeof(invites) / sizeof(invites[0]); i++) {
		snprintf(call_id, sizeof(call_id), "bad%zu", i);
		ASK(.method = "INVITE", .call_id = call_id, .cseq = 1,
		    .headers = invites[i].headers, .identity = invites[i].identity,
		    .body = invites[i].body);
		snprintf(status, sizeof(status), "SIP/2.0 %s", invites[i].status);
		expect(status);
		if (invites[i].text)
			assert_has(invites[i].text);
	}
	/* nobody was asked about any of them; a good one is told */
	assert_int_equal(scene.call_reports, 0);
	take_call("good", NULL);
	assert_int_equal(scene.call_reports, 2);
}

static void a_stranger_is_not_answered(void **state)
{
	(void)state;
	ask_from(scene.stranger, STRANGER,
	         &(struct request){.method = "INVITE", .call_id = "s1", .cseq = 1, .body = OFFER});
	assert_false(receive(scene.stranger, 300));
	ask_from(scene.stranger, STRANGER,
	         &(struct request){.method = "OPTIONS", .call_id = "s2", .cseq = 1});
	assert_false(receive(scene.stranger, 300));
	assert_int_equal(scene.call_reports, 0);
	/* the control: the registrar gets its answer */
	ASK(.method = "OPTIONS", .call_id = "o1", .cseq = 1);
	expect("SIP/2.0 200");
	assert_has("INVITE");
}

static void a_call_is_offered_once(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .body = OFFER);
	wait_for_state(CALL_STATE_OFFERED);
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .body = OFFER);
	expect("SIP/2.0 482");
	ASK(.method = "INVITE", .call_id = "m1", .cseq = 1, .from_tag = "f2", .body = OFFER);
	expect("SIP/2.0 482");
	assert_int_equal(scene.call_reports, 1);
}

static void the_caller_cancels(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "c1", .cseq = 1, .body = OFFER, .branch = "z9hG4bKone");
	wait_for_state(CALL_STATE_OFFERED);
	ASK(.method = "CANCEL", .call_id = "c1", .cseq = 1, .branch = "z9hG4bKone");
	expect("SIP/2.0 487");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_PEER);
}

static void our_refusal_carries_its_warning(void **state)
{
	const struct sofia_refusal refusal = {488, "", 370, "below \"minimum\" bandwidth"};

	(void)state;
	ASK(.method = "INVITE", .call_id = "r1", .cseq = 1, .body = OFFER);
	wait_for_state(CALL_STATE_OFFERED);
	assert_int_equal(sofia_reject_call(scene.sofia, "r1", &refusal), SOFIA_DONE);
	expect("SIP/2.0 488");
	assert_has("\r\nWarning: 370 " AGENT " \"below minimum bandwidth\"\r\n");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(sofia_reject_call(scene.sofia, "r1", &refusal), SOFIA_DONE);
	assert_int_equal(sofia_reject_call(scene.sofia, "none", &refusal), SOFIA_UNKNOWN);
}

static void a_refresh_is_answered_and_a_change_refused(void **state)
{
	char tag[64];

	(void)state;
	take_call("u1", NULL);
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "u1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	ASK(.method = "INVITE", .call_id = "u1", .cseq = 2, .tag = tag, .body = OFFER,
	    .headers = "Supported: timer\r\nSession-Expires: 200;refresher=uac\r\n");
	expect("SIP/2.0 200");
	assert_has("\r\nSession-Expires: 200;refresher=uac\r\n");
	assert_has("a=ike-setup:passive\r\n");
	ASK(.method = "ACK", .call_id = "u1", .cseq = 2, .tag = tag);
	ASK(.method = "UPDATE", .call_id = "u1", .cseq = 3, .tag = tag);
	expect("SIP/2.0 200");
	ASK(.method = "INVITE", .call_id = "u1", .cseq = 4, .tag = tag,
	    .body = SDP(CARRIER, "50010", "512", "active"));
	expect("SIP/2.0 488");
	ASK(.method = "ACK", .call_id = "u1", .cseq = 4, .tag = tag);
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	hang_up_answered();
}

static void a_new_address_ends_the_call_from_there(void **state)
{
	struct in_addr address;

	(void)state;
	place_call(1);
	answer(scene.received, 200, "Record-Route: <sip:" CARRIER ";lr>\r\n", ANSWER);
	expect("ACK ");
	inet_pton(AF_INET, MOVED, &address);
	assert_int_equal(sofia_register_line(scene.sofia, OURS, address), SOFIA_DONE);
	expect("BYE sip:peer@" CARRIER);
	assert_has("\r\nVia: SIP/2.0/UDP " MOVED);
	assert_has(";tag=t1");
	assert_has("\r\nRoute: <sip:" CARRIER ";lr>\r\n");
	assert_non_null(strstr(scene.call.cause, "address changed"));
}

static void an_outgoing_call_survives_a_restart(void **state)
{
	unsigned first, later;
	char line[128];

	(void)state;
	place_call(9);
	answer(scene.received, 200,
	       "Record-Route: <sip:192.0.2.77;lr;n=1>, <sip:" CARRIER ";lr;n=2>\r\n", ANSWER);
	expect("ACK ");
	copy_header(scene.received, "CSeq", line, sizeof(line));
	sscanf(line, "CSeq: %u", &first);
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
	assert_int_equal(scene.call.attempt, 9);
	assert_string_equal(scene.call.tunnel, "vsip2");
	assert_int_equal(scene.call.remote.bandwidth_kbit, 512);
	/* it asks whether the other side still has the call: we are the refresher */
	expect("INVITE sip:peer@" CARRIER);
	assert_has(";tag=t1");
	copy_header(scene.received, "Route", line, sizeof(line));
	const char *near = strstr(line, CARRIER ";lr;n=2"),
		   *far = strstr(line, "192.0.2.77;lr;n=1");
	assert_true(near && far && near < far);
	assert_has("m=application 50001 udp ike-esp-udpencap\r\n");
	copy_header(scene.received, "CSeq", line, sizeof(line));
	sscanf(line, "CSeq: %u", &later);
	assert_true(later > first);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	hang_up_answered();
	/* it is told of for as long as an ended call is, also after one more restart */
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ENDED);
	assert_string_equal(scene.call.cause, "done");
}

static void an_incoming_call_survives_and_is_ended_by_the_other_side(void **state)
{
	char tag[64];

	(void)state;
	take_call("restart1", "Supported: timer\r\nSession-Expires: 300;refresher=uac\r\n");
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "restart1", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	ASK(.method = "BYE", .call_id = "restart1", .cseq = 2, .tag = "guessed");
	expect("SIP/2.0 481");
	ASK(.method = "BYE", .call_id = "restart1", .cseq = 3, .tag = tag);
	expect("SIP/2.0 200");
	wait_for_state(CALL_STATE_ENDED);
}

static void a_bye_that_was_not_answered_is_sent_again_after_a_restart(void **state)
{
	(void)state;
	place_call(1);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	sofia_hang_up(scene.sofia, "", 1, "idle");
	expect("BYE ");
	restart();
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_string_equal(scene.call.cause, "idle");
}

/* The process died between INVITE and 200: nobody remembers, and still nothing is billed. */
static void an_answer_that_nobody_waits_for_is_ended(void **state)
{
	char invite[8192];

	(void)state;
	place_call(1);
	memcpy(invite, scene.received, sizeof(invite));
	restart();
	order_registration();
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
	assert_has(";tag=t1");
}

/* A record cut short by a full disk, and a draft of it: neither keeps the service from starting. */
static void a_damaged_record_is_thrown_away(void **state)
{
	char record[128], draft[128];

	(void)state;
	write_file("call-5", "{\"state\": 5, \"attempt\": 5", record, sizeof(record));
	write_file("call-6.new", "{", draft, sizeof(draft));
	log_set_level(LOG_EMERG);
	restart();
	log_set_level(LOG_ERR);
	assert_null(only_call());
	assert_int_equal(access(record, F_OK), -1);
	assert_int_equal(access(draft, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registration_answers_the_challenge, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_second_challenge_means_a_wrong_password, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_password_answers_the_registrars_realm_alone,
	                                        set_up, tear_down),
		REGISTERED(an_outgoing_call_is_written_as_specified),
		REGISTERED(an_attempt_is_placed_once),
		REGISTERED(cancel_waits_and_a_crossing_answer_is_ended),
		REGISTERED(bad_answers_are_acknowledged_and_ended),
		REGISTERED(refusals_are_reported_and_redirections_not_followed),
		REGISTERED(an_incoming_call_is_answered_and_ended),
		REGISTERED(each_bad_invite_has_its_answer),
		REGISTERED(a_stranger_is_not_answered),
		REGISTERED(a_call_is_offered_once),
		REGISTERED(the_caller_cancels),
		REGISTERED(our_refusal_carries_its_warning),
		REGISTERED(a_refresh_is_answered_and_a_change_refused),
		REGISTERED(a_new_address_ends_the_call_from_there),
		REGISTERED(an_outgoing_call_survives_a_restart),
		REGISTERED(an_incoming_call_survives_and_is_ended_by_the_other_side),
		REGISTERED(a_bye_that_was_not_answered_is_sent_again_after_a_restart),
		REGISTERED(an_answer_that_nobody_waits_for_is_ended),
		REGISTERED(a_damaged_record_is_thrown_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
