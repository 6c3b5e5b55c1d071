/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The registration machine under a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/sip-agent/registration_core.h"

#define SEC 1000000ULL

static struct registration_core core;
static uint64_t now;

static enum registration_action give(enum registration_event event, unsigned seconds)
{
	const struct registration_input input = {
		.event = event, .now_usec = now, .random = UINT32_MAX, .seconds = seconds};

	return registration_core_handle(&core, &input);
}

/* Lets the time pass until the deadline. */
static enum registration_action expire(void)
{
	assert_true(core.deadline_usec > now);
	now = core.deadline_usec;
	return give(REGISTRATION_TIMER, 0);
}

static int set_up(void **state)
{
	static const struct registration_limits limits = {10000, 30000, 300000};

	(void)state;
	now = 1000 * SEC;
	registration_core_init(&core, 3600, &limits);
	return 0;
}

static void it_refreshes_at_half_of_what_was_granted(void **state)
{
	(void)state;
	assert_int_equal(give(REGISTRATION_START, 0), REGISTRATION_SEND);
	assert_false(registration_core_is_registered(&core));
	assert_int_equal(core.asked_sec, 3600);
	assert_int_equal(give(REGISTRATION_ACCEPTED, 1200), REGISTRATION_NOTHING);
	assert_true(registration_core_is_registered(&core));
	assert_int_equal(core.expires_at_usec, now + 1200 * SEC);
	assert_int_equal(core.deadline_usec, now + 600 * SEC);
	assert_int_equal(expire(), REGISTRATION_SEND);
	assert_int_equal(core.state, REGISTRATION_REFRESHING);
	assert_true(registration_core_is_registered(&core));
	give(REGISTRATION_ACCEPTED, 3600);
	assert_int_equal(core.deadline_usec, now + 1800 * SEC);
}

static void the_same_order_again_changes_nothing(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_ACCEPTED, 100);
	const struct registration_core before = core;
	assert_int_equal(give(REGISTRATION_START, 0), REGISTRATION_NOTHING);
	assert_int_equal(core.state, before.state);
	assert_int_equal(core.deadline_usec, before.deadline_usec);
	assert_int_equal(core.ignored, before.ignored + 1);
}

static void too_brief_asks_for_longer_once_each(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	assert_int_equal(give(REGISTRATION_TOO_BRIEF, 7200), REGISTRATION_SEND);
	assert_int_equal(core.asked_sec, 7200);
	/* a 423 that asks for no more than we asked for is a refusal */
	assert_int_equal(give(REGISTRATION_TOO_BRIEF, 7200), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
	expire();
	assert_int_equal(give(REGISTRATION_TOO_BRIEF, 1000000), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
}

static void pauses_double_up_to_the_maximum(void **state)
{
	static const unsigned pauses[] = {30, 60, 120, 240, 300, 300};

	(void)state;
	give(REGISTRATION_START, 0);
	for (size_t i = 0; i < sizeof(pauses) / sizeof(pauses[0]); i++) {
		assert_int_equal(give(REGISTRATION_REFUSED, 0), REGISTRATION_NOTHING);
		assert_int_equal(core.state, REGISTRATION_WAITING);
		/* the largest random number gives the whole pause, less a millisecond of rounding */
		assert_in_range(core.deadline_usec - now, pauses[i] * SEC - 2000, pauses[i] * SEC);
		assert_int_equal(expire(), REGISTRATION_SEND);
	}
	/* success forgets the failures */
	give(REGISTRATION_ACCEPTED, 60);
	assert_int_equal(core.failures, 0);
}

static void half_of_a_pause_is_random(void **state)
{
	const struct registration_input refused = {
		.event = REGISTRATION_REFUSED, .now_usec = 0, .random = 0};

	(void)state;
	give(REGISTRATION_START, 0);
	registration_core_handle(&core, &refused);
	assert_int_equal(core.deadline_usec, 15 * SEC);
}

static void retry_after_is_the_least_pause(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_REFUSED, 900);
	/* not before it, and the lines not all at once after it */
	assert_in_range(core.deadline_usec, now + 900 * SEC, now + 915 * SEC);
}

static void an_overdue_answer_is_a_failure(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	assert_int_equal(core.deadline_usec, now + 10 * SEC);
	assert_int_equal(expire(), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
	assert_int_equal(core.failures, 1);
}

static void a_failed_refresh_keeps_the_registration_until_it_ends(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_ACCEPTED, 100);
	expire(); /* 50 s */
	give(REGISTRATION_REFUSED, 0);
	assert_true(registration_core_is_registered(&core));
	assert_int_equal(core.state, REGISTRATION_HELD);
	assert_int_equal(expire(), REGISTRATION_SEND); /* 80 s */
	give(REGISTRATION_REFUSED, 0);
	/* the next try would be at 140 s: it is made when the registration ends */
	assert_int_equal(core.deadline_usec, 1100 * SEC);
	assert_int_equal(expire(), REGISTRATION_SEND);
	assert_false(registration_core_is_registered(&core));
	assert_int_equal(core.state, REGISTRATION_ASKING);
	give(REGISTRATION_REFUSED, 0);
	assert_int_equal(core.state, REGISTRATION_WAITING);
}

static void granted_for_no_time_is_a_failure(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	assert_int_equal(give(REGISTRATION_ACCEPTED, 0), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
	assert_false(registration_core_is_registered(&core));
}

static void leaving_ends_in_silence_too(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_ACCEPTED, 100);
	assert_int_equal(give(REGISTRATION_STOP, 0), REGISTRATION_SEND_LEAVE);
	assert_false(registration_core_is_registered(&core));
	assert_int_equal(expire(), REGISTRATION_FORGET);
	assert_int_equal(core.state, REGISTRATION_OFF);
	assert_int_equal(core.deadline_usec, 0);
	/* and an order while leaving registers again */
	give(REGISTRATION_START, 0);
	give(REGISTRATION_STOP, 0);
	assert_int_equal(give(REGISTRATION_START, 0), REGISTRATION_SEND);
}

/* A registrar that asks for a little more each time, or never lists us, is not asked for ever. */
static void repetitions_at_once_are_bounded(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(give(REGISTRATION_TOO_BRIEF, 3600 + i), REGISTRATION_SEND);
	assert_int_equal(give(REGISTRATION_TOO_BRIEF, 3700), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
	expire();
	for (unsigned i = 1; i <= 3; i++)
		assert_int_equal(give(REGISTRATION_UNBOUND, 0), REGISTRATION_SEND);
	assert_int_equal(give(REGISTRATION_UNBOUND, 0), REGISTRATION_NOTHING);
	assert_int_equal(core.state, REGISTRATION_WAITING);
	/* and a success begins the count anew */
	expire();
	give(REGISTRATION_ACCEPTED, 100);
	assert_int_equal(core.repetitions, 0);
}

static void without_our_binding_we_are_not_registered(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_ACCEPTED, 100);
	expire();
	assert_int_equal(give(REGISTRATION_UNBOUND, 0), REGISTRATION_SEND);
	assert_false(registration_core_is_registered(&core));
}

static void another_server_is_asked_at_once_and_the_binding_kept(void **state)
{
	(void)state;
	give(REGISTRATION_START, 0);
	give(REGISTRATION_ACCEPTED, 100);
	assert_int_equal(give(REGISTRATION_MOVED, 0), REGISTRATION_SEND);
	assert_true(registration_core_is_registered(&core));
	assert_int_equal(core.failures, 0);
	give(REGISTRATION_REFUSED, 0);
	now = 1100 * SEC;
	assert_int_equal(give(REGISTRATION_MOVED, 0), REGISTRATION_SEND);
	assert_false(registration_core_is_registered(&core)); /* it has run out meanwhile */
}

/* As `retry register` and `timers register` count: the first, N more, and the wait after the last. */
static void the_wait_for_an_answer_covers_the_repetitions(void **state)
{
	(void)state;
	assert_int_equal(registration_answer_msec(0, 500, 32000), 500);
	assert_int_equal(registration_answer_msec(2, 200, 32000), 1400);
	assert_int_equal(registration_answer_msec(3, 500, 32000), 7500);
	assert_int_equal(registration_answer_msec(4, 500, 32000), 11500); /* T2 */
	assert_int_equal(registration_answer_msec(10, 500, 5000), 5000);
	assert_int_equal(registration_next_interval_msec(1999), 3998);
	assert_int_equal(registration_next_interval_msec(2500), 4000);
	give(REGISTRATION_START, 0);
	registration_core_limit_answer(&core, now, 1400);
	assert_int_equal(core.deadline_usec, now + 1400000);
}

/* Every state with every event: where it leads, and a state that waits has a deadline. */
static void every_pair_is_defined(void **state)
{
#define OFF  REGISTRATION_OFF
#define ASK  REGISTRATION_ASKING
#define WAIT REGISTRATION_WAITING
#define HELD REGISTRATION_HELD
#define REFR REGISTRATION_REFRESHING
#define LEAV REGISTRATION_LEAVING
	/* START STOP ACCEPTED TOO_BRIEF UNBOUND MOVED REFUSED TIMER */
	static const enum registration_state
		next[REGISTRATION_STATE_COUNT][REGISTRATION_EVENT_COUNT] = {
			[OFF] = {ASK, OFF, OFF, OFF, OFF, OFF, OFF, OFF},
			[ASK] = {ASK, LEAV, HELD, ASK, ASK, ASK, WAIT, WAIT},
			[WAIT] = {WAIT, OFF, WAIT, WAIT, WAIT, ASK, WAIT, ASK},
			[HELD] = {HELD, LEAV, HELD, HELD, HELD, REFR, HELD, REFR},
			[REFR] = {REFR, LEAV, HELD, REFR, ASK, REFR, HELD, HELD},
			[LEAV] = {ASK, LEAV, OFF, OFF, OFF, LEAV, OFF, OFF},
		};

	(void)state;
	for (int from = 0; from < REGISTRATION_STATE_COUNT; from++) {
		for (int event = 0; event < REGISTRATION_EVENT_COUNT; event++) {
			set_up(NULL);
			core.state = (enum registration_state)from;
			core.expires_at_usec = from == HELD || from == REFR ? now + 100 * SEC : 0;
			core.deadline_usec = from == OFF ? 0 : now + SEC;
			give((enum registration_event)event,
			     event == REGISTRATION_REFUSED ? 0 : 5000);
			assert_int_equal(core.state, next[from][event]);
			assert_int_equal(core.state == OFF, core.deadline_usec == 0);
			assert_int_equal(registration_core_is_registered(&core),
			                 core.state == HELD || core.state == REFR);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(it_refreshes_at_half_of_what_was_granted, set_up),
		cmocka_unit_test_setup(the_same_order_again_changes_nothing, set_up),
		cmocka_unit_test_setup(too_brief_asks_for_longer_once_each, set_up),
		cmocka_unit_test_setup(pauses_double_up_to_the_maximum, set_up),
		cmocka_unit_test_setup(half_of_a_pause_is_random, set_up),
		cmocka_unit_test_setup(retry_after_is_the_least_pause, set_up),
		cmocka_unit_test_setup(an_overdue_answer_is_a_failure, set_up),
		cmocka_unit_test_setup(a_failed_refresh_keeps_the_registration_until_it_ends,
	                               set_up),
		cmocka_unit_test_setup(granted_for_no_time_is_a_failure, set_up),
		cmocka_unit_test_setup(leaving_ends_in_silence_too, set_up),
		cmocka_unit_test_setup(repetitions_at_once_are_bounded, set_up),
		cmocka_unit_test_setup(without_our_binding_we_are_not_registered, set_up),
		cmocka_unit_test_setup(another_server_is_asked_at_once_and_the_binding_kept,
	                               set_up),
		cmocka_unit_test_setup(the_wait_for_an_answer_covers_the_repetitions, set_up),
		cmocka_unit_test_setup(every_pair_is_defined, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
