/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The SIP guard of sip-agent: its counting, and what it does before a dialog is touched. Each with the guard off as its control. */
#include "services/sip-agent/guard_core.h"
#include "services/sip-agent/guard_memory.h"
#include "sip_ua_scene.h"

#define SECOND 1000000ULL

static void a_class_is_logged_once_a_second(void **state)
{
	static struct guard guard;
	uint64_t count = 0;

	(void)state;
	assert_true(event_class_count(&guard.classes[GUARD_REPLAY], "192.0.2.1", 5, 100, &count));
	assert_int_equal(count, 1);
	for (unsigned i = 0; i < 1000; i++)
		assert_false(event_class_count(&guard.classes[GUARD_REPLAY], "192.0.2.2", 6 + i,
		                               101, &count));
	assert_true(
		event_class_count(&guard.classes[GUARD_NO_TO_TAG], "192.0.2.3", 7, 102, &count));
	assert_true(event_class_count(&guard.classes[GUARD_REPLAY], "192.0.2.4", 5 + SECOND, 103,
	                              &count));
	assert_int_equal(count, 1001);
	assert_int_equal(guard.classes[GUARD_REPLAY].count, 1002);
	assert_string_equal(guard.classes[GUARD_REPLAY].last_source, "192.0.2.4");
	assert_int_equal(guard.classes[GUARD_REPLAY].last_usec, 103);
	for (int i = 0; i < GUARD_CLASS_COUNT; i++)
		assert_non_null(guard_class_name((enum guard_class)i));
}

static void a_bucket_fills_at_its_rate(void **state)
{
	struct guard_bucket bucket = {0};
	unsigned passed = 0;

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		passed += guard_bucket_take(&bucket, 10, 20, 0);
	assert_int_equal(passed, 20);
	assert_false(guard_bucket_take(&bucket, 10, 20, SECOND / 10 - 1));
	assert_true(guard_bucket_take(&bucket, 10, 20, SECOND / 10));
	assert_false(guard_bucket_take(&bucket, 10, 20, SECOND / 10));
	/* An hour of rest is no more than a full bucket. */
	passed = 0;
	for (unsigned i = 0; i < 100; i++)
		passed += guard_bucket_take(&bucket, 10, 20, 3600 * SECOND);
	assert_int_equal(passed, 20);
}

static void sequence_numbers_may_skip_a_little(void **state)
{
	(void)state;
	assert_false(guard_is_sequence_jump(0, 2000000000));
	assert_false(guard_is_sequence_jump(5, 6));
	assert_false(guard_is_sequence_jump(5, 3005));
	assert_false(guard_is_sequence_jump(5, 4));
	assert_true(guard_is_sequence_jump(5, 2000000000));
}

static void a_restart_forgets_no_call(void **state)
{
	static struct guard before, after, none;
	char call_id[32], directory[] = "/tmp/vpnsip-test-XXXXXX", path[64];

	(void)state;
	assert_non_null(mkdtemp(directory));
	guard_memory_read(directory, &none);
	assert_int_equal(none.ended_next, 0);
	for (unsigned i = 0; i < GUARD_MEMORY + 5; i++) {
		snprintf(call_id, sizeof(call_id), "call-%u", i);
		assert_true(guard_remember(&before, call_id));
		assert_true(guard_memory_note(directory, &before));
	}
	assert_false(guard_remember(&before, call_id));
	guard_memory_read(directory, &after);
	assert_memory_equal(before.ended, after.ended, sizeof(before.ended));
	assert_int_equal(after.ended_next, GUARD_MEMORY + 5);
	assert_false(guard_has_ended(&after, "call-4"));
	assert_true(guard_has_ended(&after, "call-5") && guard_has_ended(&after, call_id));
	/* The file that a full disk cut off. */
	snprintf(path, sizeof(path), "%s/ended-calls", directory);
	assert_int_equal(truncate(path, 40), 0);
	guard_memory_read(directory, &none);
	assert_false(guard_has_ended(&none, call_id));
	assert_true(none.ended[1] == before.ended[1]);
	unlink(path);
	rmdir(directory);
	assert_false(guard_memory_note(directory, &before));
}

static void ended_calls_are_remembered(void **state)
{
	static struct guard guard;
	char call_id[32];

	(void)state;
	assert_false(guard_has_ended(&guard, "x"));
	guard_remember(&guard, "x");
	assert_true(guard_has_ended(&guard, "x"));
	for (unsigned i = 0; i < GUARD_MEMORY; i++) {
		snprintf(call_id, sizeof(call_id), "call-%u", i);
		guard_remember(&guard, call_id);
	}
	assert_false(guard_has_ended(&guard, "x"));
	assert_true(guard_has_ended(&guard, call_id));
}

static uint64_t counted(enum guard_class class)
{
	size_t half_open;

	return sofia_guard(scene.sofia, &half_open)->classes[class].count;
}

/* The control: the same user agent without its guard. */
static void take_guard_away(void)
{
	static const struct sofia_events events = {told_registration, told_call};

	sofia_close(scene.sofia);
	scene.sofia =
		sofia_open(&(struct sofia_options){.base = scene.fixture->base,
	                                           .bus = scene.bus,
	                                           .config = scene.config,
	                                           .state_directory = scene.fixture->run_directory,
	                                           .events = &events,
	                                           .is_guard_off = true});
	scene.is_registered = false;
	order_registration();
	accept_registration(3600);
}

/* A call that is up; leaves our tag in `tag`. */
static void establish(const char *call_id, char tag[64])
{
	take_call(call_id, NULL);
	to_tag(tag, 64);
	ASK(.method = "ACK", .call_id = call_id, .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
}

static void let_it_work(void)
{
	for (int i = 0; i < 50; i++) {
		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
		usleep(2000);
	}
}

static void sniffed_tags_from_elsewhere_end_nothing(void **state)
{
	char tag[64];

	(void)state;
	for (int is_off = 0; is_off < 2; is_off++) {
		if (is_off)
			take_guard_away();
		establish(is_off ? "g2" : "g1", tag);
		ask_from(scene.stranger, STRANGER,
		         &(struct request){.method = "BYE",
		                           .call_id = is_off ? "g2" : "g1",
		                           .cseq = 2,
		                           .tag = tag});
		let_it_work();
		assert_int_equal(scene.call.state,
		                 is_off ? CALL_STATE_ENDED : CALL_STATE_CONFIRMED);
		if (is_off)
			break;
		assert_int_equal(counted(GUARD_FOREIGN_SOURCE), 1);
		ASK(.method = "BYE", .call_id = "g1", .cseq = 2, .tag = tag);
		expect("SIP/2.0 200");
	}
}

static void a_request_without_tag_touches_no_dialog(void **state)
{
	char tag[64];

	(void)state;
	establish("n1", tag);
	ASK(.method = "BYE", .call_id = "n1", .cseq = 2);
	expect("SIP/2.0 481");
	ASK(.method = "OPTIONS", .call_id = "n1", .cseq = 2000000000);
	expect("SIP/2.0 481");
	ASK(.method = "INVITE", .call_id = "n1", .cseq = 2000000000, .body = OFFER);
	expect("SIP/2.0 482");
	ASK(.method = "BYE", .call_id = "n1", .cseq = 3, .tag = "guessed");
	expect("SIP/2.0 481");
	assert_int_equal(counted(GUARD_NO_TO_TAG), 3);
	assert_int_equal(counted(GUARD_FOREIGN_DIALOG), 1);
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
	/* None of them moved the sequence number: the real BYE ends the call. */
	ASK(.method = "BYE", .call_id = "n1", .cseq = 2, .tag = tag);
	expect("SIP/2.0 200");
	wait_for_state(CALL_STATE_ENDED);
}

static void a_jump_of_the_sequence_shuts_nobody_out(void **state)
{
	char tag[64];

	(void)state;
	establish("j1", tag);
	ASK(.method = "OPTIONS", .call_id = "j1", .cseq = 2000000000, .tag = tag);
	expect("SIP/2.0 500");
	assert_int_equal(counted(GUARD_CSEQ_JUMP), 1);
	ASK(.method = "BYE", .call_id = "j1", .cseq = 2, .tag = tag);
	expect("SIP/2.0 200");
	take_guard_away();
	establish("j2", tag);
	ASK(.method = "OPTIONS", .call_id = "j2", .cseq = 2000000000, .tag = tag);
	expect("SIP/2.0 200");
	ASK(.method = "BYE", .call_id = "j2", .cseq = 2, .tag = tag);
	expect("SIP/2.0 500");
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
}

static void an_ended_call_does_not_come_back(void **state)
{
	char tag[64];

	(void)state;
	establish("r1", tag);
	ASK(.method = "BYE", .call_id = "r1", .cseq = 2, .tag = tag);
	expect("SIP/2.0 200");
	for (int i = 0; i < 3; i++) {
		ASK(.method = "INVITE", .call_id = "r1", .cseq = 1, .body = OFFER);
		expect("SIP/2.0 482");
	}
}

static void stun_is_not_answered(void **state)
{
	static const uint8_t request[20] = {0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2};
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(5060)};

	(void)state;
	inet_pton(AF_INET, AGENT, &name.sin_addr);
	sendto(scene.carrier, request, sizeof(request), 0, (struct sockaddr *)&name, sizeof(name));
	assert_false(receive(scene.carrier, 200));
	sendto(scene.carrier, "\r\n\r\n", 4, 0, (struct sockaddr *)&name, sizeof(name));
	let_it_work();
	assert_int_equal(counted(GUARD_MALFORMED), 0);
	sendto(scene.carrier, "garbage\r\n\r\n", 11, 0, (struct sockaddr *)&name, sizeof(name));
	assert_false(receive(scene.carrier, 100));
	assert_int_equal(counted(GUARD_MALFORMED), 1);
	ASK(.method = "OPTIONS", .call_id = "o1", .cseq = 1);
	expect("SIP/2.0 200");
}

static void too_many_invites_are_dropped(void **state)
{
	char call_id[16];

	(void)state;
	for (int i = 0; i < 300; i++) {
		snprintf(call_id, sizeof(call_id), "f%d", i);
		ASK(.method = "INVITE", .call_id = call_id, .cseq = 1, .body = "x");
		event_base_loop(scene.fixture->base, EVLOOP_NONBLOCK);
	}
	assert_in_range(counted(GUARD_INVITE_RATE), 100, 200);
}

static void half_open_calls_are_limited(void **state)
{
	size_t half_open;
	char call_id[16];

	(void)state;
	for (int i = 0; i < 51; i++) {
		snprintf(call_id, sizeof(call_id), "h%d", i);
		ASK(.method = "INVITE", .call_id = call_id, .cseq = 1, .body = OFFER);
		expect(i < 50 ? "SIP/2.0 100" : "SIP/2.0 503");
	}
	assert_has("Retry-After: 10");
	sofia_guard(scene.sofia, &half_open);
	assert_int_equal(half_open, 50);
	assert_int_equal(counted(GUARD_HALF_OPEN), 1);
}

static void monsters_are_refused(void **state)
{
	char headers[4096];
	size_t length = 0;

	(void)state;
	for (int i = 0; i < 70; i++)
		length += (size_t)snprintf(headers + length, sizeof(headers) - length,
		                           "X-Filler: value\r\n");
	ASK(.method = "OPTIONS", .call_id = "b1", .cseq = 1, .headers = headers);
	expect("SIP/2.0 513");
	assert_int_equal(counted(GUARD_TOO_LARGE), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_class_is_logged_once_a_second),
		cmocka_unit_test(a_bucket_fills_at_its_rate),
		cmocka_unit_test(sequence_numbers_may_skip_a_little),
		cmocka_unit_test(ended_calls_are_remembered),
		cmocka_unit_test(a_restart_forgets_no_call),
		REGISTERED(sniffed_tags_from_elsewhere_end_nothing),
		REGISTERED(a_request_without_tag_touches_no_dialog),
		REGISTERED(a_jump_of_the_sequence_shuts_nobody_out),
		REGISTERED(an_ended_call_does_not_come_back),
		REGISTERED(stun_is_not_answered),
		REGISTERED(too_many_invites_are_dropped),
		REGISTERED(half_open_calls_are_limited),
		REGISTERED(monsters_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
