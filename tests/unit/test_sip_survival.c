/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a user agent owes after its process died: CANCEL, ACK, 200, refusal or BYE. */
#include "services/sip-agent/leaderless.h"
#include "sip_ua_scene.h"

/* Replaces `from` wherever the record of the attempt says so, as if the process had died before it was true. */
static void edit_record(uint64_t attempt, const char *from, const char *to)
{
	char path[128], text[32768];

	record_path(attempt, path);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	size_t size = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[size] = '\0';
	const char *rest = text, *found = strstr(text, from);
	assert_non_null(found);
	file = fopen(path, "w");
	for (; found; found = strstr(rest, from)) {
		fprintf(file, "%.*s%s", (int)(found - rest), rest, to);
		rest = found + strlen(from);
	}
	fputs(rest, file);
	fclose(file);
}

static void branch_of(const char *message, char *branch, size_t size)
{
	const char *found = strstr(message, ";branch=");

	assert_non_null(found);
	snprintf(branch, size, "%.*s", (int)strcspn(found + 8, ";\r"), found + 8);
}

static unsigned sequence_of(const char *message)
{
	char line[128];
	unsigned number = 0;

	copy_header(message, "CSeq", line, sizeof(line));
	sscanf(line, "CSeq: %u", &number);
	return number;
}

static void assert_same_transaction(const char *invite)
{
	char ours[128], theirs[128];

	branch_of(invite, ours, sizeof(ours));
	branch_of(scene.received, theirs, sizeof(theirs));
	assert_string_equal(ours, theirs);
	assert_int_equal(sequence_of(invite), sequence_of(scene.received));
	copy_header(invite, "Route", ours, sizeof(ours));
	copy_header(scene.received, "Route", theirs, sizeof(theirs));
	assert_string_equal(ours, theirs);
}

static void an_attempt_is_cancelled_and_its_refusal_acknowledged(void **state)
{
	char invite[8192];

	(void)state;
	place_call(3);
	memcpy(invite, scene.received, sizeof(invite));
	answer(invite, 180, "", "");
	wait_for_state(CALL_STATE_RINGING);
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_CANCELLING);
	assert_int_equal(scene.call.attempt, 3);
	assert_true(scene.call.is_restored && scene.call.has_local);
	expect("CANCEL sip:" THEIRS "@carrier.example SIP/2.0");
	assert_same_transaction(invite);
	answer(scene.received, 200, "", "");
	answer(invite, 487, "", "");
	expect("ACK sip:" THEIRS "@carrier.example SIP/2.0");
	assert_same_transaction(invite);
	assert_has(";tag=t1");
	wait_for_state(CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_US);
	/* the order of the last process comes once more: it was carried out */
	const struct sofia_call_order order = {3, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	expect_nothing("INVITE ");
}

/* The control: without its record the attempt rings on. */
static void an_attempt_without_record_is_not_cancelled(void **state)
{
	char path[128];

	(void)state;
	place_call(3);
	record_path(3, path);
	assert_int_equal(unlink(path), 0);
	restart();
	assert_null(only_call());
	expect_nothing("CANCEL ");
}

static void an_answer_that_is_faster_than_the_cancel_is_hung_up(void **state)
{
	char invite[8192];

	(void)state;
	place_call(3);
	memcpy(invite, scene.received, sizeof(invite));
	restart();
	expect("CANCEL ");
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;n=1>\r\n", ANSWER);
	expect("ACK sip:peer@" CARRIER);
	assert_int_equal(sequence_of(invite), sequence_of(scene.received));
	assert_has(";lr;n=1>");
	expect("BYE sip:peer@" CARRIER);
	assert_has(";tag=t1");
	assert_true(sequence_of(scene.received) > sequence_of(invite));
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_false(scene.call.is_end_estimated);
	assert_true(scene.call.answered_at_usec > 0);
}

static void a_cancel_for_an_unknown_invite_is_repeated_a_few_times(void **state)
{
	(void)state;
	place_call(3);
	restart();
	for (int i = 0; i < 4; i++) {
		expect("CANCEL ");
		answer(scene.received, 481, "", "");
	}
	wait_for_state(CALL_STATE_ENDED);
	expect_nothing("CANCEL ");
}

static void killed_between_200_and_ack(void **state)
{
	char invite[8192];

	(void)state;
	place_call(4);
	memcpy(invite, scene.received, sizeof(invite));
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	edit_record(4, "\"is_acknowledged\":true", "\"is_acknowledged\":false");
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_LEAVING);
	expect("ACK sip:peer@" CARRIER);
	assert_int_equal(sequence_of(invite), sequence_of(scene.received));
	expect("BYE sip:peer@" CARRIER);
	/* the 200 was on its way once more */
	answer(invite, 200, "", ANSWER);
	expect("ACK ");
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
}

static void an_offered_call_is_refused_after_a_restart(void **state)
{
	(void)state;
	ASK(.method = "INVITE", .call_id = "offer1", .cseq = 1, .body = OFFER,
	    .branch = "z9hG4bKoffer1");
	expect("SIP/2.0 100");
	wait_for_state(CALL_STATE_OFFERED);
	/* leaving says nothing to the caller */
	sofia_close(scene.sofia);
	struct pollfd ready = {.fd = scene.carrier, .events = POLLIN};
	assert_int_equal(poll(&ready, 1, 100), 0);
	open_agent();
	expect("SIP/2.0 480");
	assert_has("branch=z9hG4bKoffer1");
	assert_has("Call-ID: offer1\r\n");
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ENDED);
	assert_int_equal(scene.call.ended_by, CALL_ENDED_BY_US);
	ASK(.method = "ACK", .call_id = "offer1", .cseq = 1, .branch = "z9hG4bKoffer1");
	expect_nothing("SIP/2.0 480");
	/* the caller's own CANCEL is too late, and said so */
	ASK(.method = "CANCEL", .call_id = "unknown", .cseq = 1);
	expect("SIP/2.0 481");
}

static void a_200_without_ack_is_repeated_after_a_restart(void **state)
{
	char tag[64], again[64];

	(void)state;
	take_call("twice", "Supported: timer\r\nSession-Expires: 1800\r\n");
	to_tag(tag, sizeof(tag));
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ACCEPTED);
	assert_int_equal(scene.call.attempt, 7);
	expect("SIP/2.0 200");
	to_tag(again, sizeof(again));
	assert_string_equal(tag, again);
	assert_has("\r\nSession-Expires: 300;refresher=uas\r\n");
	assert_has("\r\nRequire: timer\r\n");
	assert_has("m=application 50001 udp ike-esp-udpencap");
	ASK(.method = "ACK", .call_id = "twice", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	/* and once more: now it is up, and nobody is answered anew */
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	expect("INVITE sip:peer@" CARRIER);
	assert_has("\r\nSession-Expires: 300;refresher=uac\r\n");
	hang_up_answered();
}

static void a_call_is_told_of_as_before(void **state)
{
	struct call before;

	(void)state;
	place_call(9);
	answer(scene.received, 200, "Contact: \"J\xfcrgen\" <sip:peer@" CARRIER ">\r\n", ANSWER);
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
	before = scene.call;
	assert_true(before.has_local && before.has_remote && !before.is_restored);
	restart();
	assert_non_null(only_call());
	assert_true(scene.call.is_restored);
	before.is_restored = true;
	assert_int_equal(before.state, scene.call.state);
	assert_int_equal(before.direction, scene.call.direction);
	assert_int_equal(before.attempt, scene.call.attempt);
	assert_string_equal(before.call_id, scene.call.call_id);
	assert_string_equal(before.tunnel, scene.call.tunnel);
	assert_string_equal(before.local_number, scene.call.local_number);
	assert_string_equal(before.remote_number, scene.call.remote_number);
	assert_int_equal(before.started_at_usec, scene.call.started_at_usec);
	assert_int_equal(before.answered_at_usec, scene.call.answered_at_usec);
	assert_memory_equal(&before.local, &scene.call.local, sizeof(before.local));
	assert_memory_equal(&before.remote, &scene.call.remote, sizeof(before.remote));
	expect("INVITE ");
	answer(scene.received, 481, "", "");
	expect("BYE ");
	answer(scene.received, 481, "", "");
	wait_for_state(CALL_STATE_ENDED);
	/* its end met nobody: now at the latest */
	assert_true(scene.call.is_end_estimated);
}

static void a_session_timer_that_ran_out_meanwhile_ends_the_call(void **state)
{
	char stamp[64], old[64];

	(void)state;
	place_call(9);
	answer(scene.received, 200, "Session-Expires: 300;refresher=uas\r\n", ANSWER);
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
	snprintf(stamp, sizeof(stamp), "\"refreshed_at_usec\":%llu",
	         (unsigned long long)scene.call.answered_at_usec / 1000000);
	snprintf(old, sizeof(old), "\"refreshed_at_usec\":%llu",
	         (unsigned long long)scene.call.answered_at_usec / 1000000 - 269);
	edit_record(9, stamp, old);
	restart();
	expect("BYE ");
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
	assert_non_null(strstr(scene.call.cause, "session timer"));
	/* the carrier had it up to now */
	assert_false(scene.call.is_end_estimated);
}

/* The control of the one above, and: where the other side refreshes, it is asked all the same. */
static void a_session_timer_goes_on_after_a_restart(void **state)
{
	(void)state;
	place_call(9);
	answer(scene.received, 200, "Allow: UPDATE\r\nSession-Expires: 300;refresher=uas\r\n",
	       ANSWER);
	expect("ACK ");
	restart();
	expect("UPDATE ");
	assert_has("\r\nSession-Expires: 300;refresher=uas\r\n");
	answer(scene.received, 200, "Session-Expires: 300;refresher=uas\r\n", "");
	expect_nothing("BYE ");
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
}

static void an_end_that_overtakes_its_beginning_wins(void **state)
{
	struct sofia_call_order order = {21, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};

	(void)state;
	assert_int_equal(sofia_hang_up(scene.sofia, "", 21, "not any more"), SOFIA_DONE);
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_STALE);
	expect_nothing("INVITE ");
	order.attempt = 22;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	expect("INVITE ");
}

/* stderr of what follows, until read_log(). */
static int saved_stderr;

static void capture_log(void)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log", scene.fixture->run_directory);
	fflush(stderr);
	saved_stderr = dup(STDERR_FILENO);
	assert_non_null(freopen(path, "w", stderr));
}

static void read_log(char *text, size_t size)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/log", scene.fixture->run_directory);
	fflush(stderr);
	dup2(saved_stderr, STDERR_FILENO);
	close(saved_stderr);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

static void messages_are_shown_without_credentials(void **state)
{
	static char text[65536];

	(void)state;
	assert_int_equal(log_switch("sip all", NULL, true), 0);
	capture_log();
	order_registration();
	answer(scene.received, 401, "WWW-Authenticate: Digest realm=\"r\", nonce=\"n1\"\r\n", "");
	expect("REGISTER ");
	assert_has("response=");
	accept_registration(3600);
	place_call(1);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	read_log(text, sizeof(text));
	log_switch("sip all", NULL, false);
	assert_non_null(strstr(text, "to " CARRIER ":5060: REGISTER sip:carrier.example SIP/2.0"));
	assert_non_null(strstr(text, "from " CARRIER ":5060: SIP/2.0 401 Said"));
	assert_non_null(strstr(text, "Authorization: (blanked)"));
	assert_non_null(strstr(text, "udp to " CARRIER ":5060: INVITE sip:" THEIRS));
	assert_non_null(strstr(text, "CALLING -> ANSWERED (answered)"));
	assert_non_null(strstr(text, "offer built: m=application 50001"));
	assert_null(strstr(text, "response="));
	assert_null(strstr(text, "secret"));
}

static void the_wait_for_a_leader_goes_on_after_a_restart(void **state)
{
	const uint64_t second = 1000000, now = 1000 * second;
	char directory[64];

	(void)state;
	assert_int_equal(leaderless_wait_usec(0, now), 60 * second);
	assert_int_equal(leaderless_wait_usec(now - 40 * second, now), 20 * second);
	assert_int_equal(leaderless_wait_usec(now - 58 * second, now), 5 * second);
	assert_int_equal(leaderless_wait_usec(now - 600 * second, now), 5 * second);
	assert_int_equal(leaderless_wait_usec(now + second, now), 60 * second);
	snprintf(directory, sizeof(directory), "%s", scene.fixture->run_directory);
	assert_int_equal(leaderless_read(directory), 0);
	leaderless_write(directory, now);
	assert_int_equal(leaderless_read(directory), now);
	leaderless_write(directory, 0);
	assert_int_equal(leaderless_read(directory), 0);
}

static void ten_calls_are_hung_up_at_once(void **state)
{
	char name[16];
	unsigned byes = 0;

	(void)state;
	for (unsigned i = 1; i <= 10; i++) {
		snprintf(name, sizeof(name), "vsip%u", i + 10);
		const struct sofia_call_order order = {i, name, OURS, THEIRS, tunnel(SDP_ACTIVE)};

		assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
		expect("INVITE ");
		answer(scene.received, 200, "", ANSWER);
		expect("ACK ");
	}
	assert_int_equal(sofia_hang_up_all(scene.sofia, "no coordinator"), 10);
	while (byes < 10 && receive(scene.carrier, 1000))
		byes += strncmp(scene.received, "BYE ", 4) == 0;
	assert_int_equal(byes, 10);
}

/* Whoever we call may send a challenge of his own, and right after a restart no registrar has named its realm yet. */
static void a_restart_does_not_forget_whom_the_password_answers(void **state)
{
	static const char trap[] = "WWW-Authenticate: Digest realm=\"trap\", nonce=\"n2\"\r\n";
	static const char ours[] = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n3\"\r\n";

	(void)state;
	order_registration();
	answer(scene.received, 401, "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"n1\"\r\n",
	       "");
	expect("REGISTER ");
	accept_registration(3600);
	place_call(1);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	restart();
	sofia_hang_up(scene.sofia, "", 1, "enough");
	expect("BYE ");
	assert_false(has("Authorization"));
	answer(scene.received, 401, trap, "");
	expect_nothing("BYE ");
	/* the control */
	place_call(2);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	restart();
	sofia_hang_up(scene.sofia, "", 2, "enough");
	expect("BYE ");
	answer(scene.received, 401, ours, "");
	expect("BYE ");
	assert_has("nonce=\"n3\"");
}

static unsigned count_byes(unsigned msec)
{
	unsigned byes = 0;

	while (receive(scene.carrier, msec))
		byes += strncmp(scene.received, "BYE ", 4) == 0;
	return byes;
}

/* The BYE that ends an answer to a forgotten attempt is repeated until it is answered. */
static void a_stray_answer_is_ended_even_if_a_bye_is_lost(void **state)
{
	char invite[8192], path[128];

	(void)state;
	place_call(3);
	memcpy(invite, scene.received, sizeof(invite));
	record_path(3, path);
	unlink(path);
	restart();
	order_registration();
	answer(invite, 200, "Record-Route: <sip:" CARRIER ";lr;n=1>\r\n", ANSWER);
	expect("ACK sip:peer@" CARRIER);
	assert_has(";lr;n=1>");
	expect("BYE sip:peer@" CARRIER);
	assert_has(";tag=t1");
	expect("BYE sip:peer@" CARRIER);
	answer(scene.received, 200, "", "");
	assert_int_equal(count_byes(1500), 0);
}

/* SIGTERM right after an order to hang up: a lost BYE is repeated meanwhile, and the service leaves in time. */
static void leaving_waits_a_moment_for_the_bye(void **state)
{
	uint64_t began;

	(void)state;
	place_call(1);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	sofia_hang_up(scene.sofia, "", 1, "shutdown");
	began = bus_mono_usec(scene.bus);
	sofia_finish(scene.sofia, 700);
	assert_in_range(bus_mono_usec(scene.bus) - began, 500000, 1000000);
	expect("BYE ");
	expect("BYE ");
	/* nothing under way: at once */
	answer(scene.received, 200, "", "");
	wait_for_state(CALL_STATE_ENDED);
	began = bus_mono_usec(scene.bus);
	sofia_finish(scene.sofia, 700);
	assert_in_range(bus_mono_usec(scene.bus) - began, 0, 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REGISTERED(an_attempt_is_cancelled_and_its_refusal_acknowledged),
		REGISTERED(an_attempt_without_record_is_not_cancelled),
		REGISTERED(an_answer_that_is_faster_than_the_cancel_is_hung_up),
		REGISTERED(a_cancel_for_an_unknown_invite_is_repeated_a_few_times),
		REGISTERED(killed_between_200_and_ack),
		REGISTERED(an_offered_call_is_refused_after_a_restart),
		REGISTERED(a_200_without_ack_is_repeated_after_a_restart),
		REGISTERED(a_call_is_told_of_as_before),
		REGISTERED(a_session_timer_that_ran_out_meanwhile_ends_the_call),
		REGISTERED(a_session_timer_goes_on_after_a_restart),
		REGISTERED(an_end_that_overtakes_its_beginning_wins),
		cmocka_unit_test_setup_teardown(messages_are_shown_without_credentials, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(the_wait_for_a_leader_goes_on_after_a_restart,
	                                        set_up, tear_down),
		REGISTERED(ten_calls_are_hung_up_at_once),
		REGISTERED(a_stray_answer_is_ended_even_if_a_bye_is_lost),
		REGISTERED(leaving_waits_a_moment_for_the_bye),
		cmocka_unit_test_setup_teardown(a_restart_does_not_forget_whom_the_password_answers,
	                                        set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
