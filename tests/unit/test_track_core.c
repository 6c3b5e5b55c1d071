/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "services/common/address.h"
#include "services/track-agent/track_core.h"

#define MSEC 1000ull

struct fixture {
	struct config config;
	struct config_sla sla;
	struct config_track track;
	struct track_core *core;
	struct probe *probe;
	struct track *state;
	uint64_t now;
};

static struct fixture fixture;

static void open_core(unsigned down, unsigned up, unsigned delay_down_msec, unsigned delay_up_msec,
                      unsigned failback_msec)
{
	struct fixture *f = &fixture;

	memset(f, 0, sizeof(*f));
	f->now = 1000000;
	f->sla = (struct config_sla){
		.number = 1, .frequency_msec = 2000, .threshold_msec = 100, .timeout_msec = 500};
	assert_true(address_parse("192.0.2.11", &f->sla.target));
	f->track = (struct config_track){.number = 1,
	                                 .sla = &f->sla,
	                                 .down_count = down,
	                                 .up_count = up,
	                                 .delay_down_msec = delay_down_msec,
	                                 .delay_up_msec = delay_up_msec};
	f->config.slas = &f->sla;
	f->config.sla_count = 1;
	f->config.tracks = &f->track;
	f->config.track_count = 1;
	f->config.timer_msec[TIMER_FAILBACK] = failback_msec;
	f->core = track_core_new(&f->config, f->now);
	assert_non_null(f->core);
	f->probe = &f->core->probes[0];
	f->state = &f->core->tracks[0];
}

static int close_core(void **context)
{
	(void)context;
	track_core_free(fixture.core);
	fixture.core = NULL;
	return 0;
}

static void wait_msec(unsigned msec)
{
	fixture.now += msec * MSEC;
	track_core_expire(fixture.core, fixture.now);
}

/* Sends the next probe and lets it be answered after `rtt_msec`, or time out. */
static void probe_once(bool is_answered, unsigned rtt_msec)
{
	struct fixture *f = &fixture;
	uint16_t sequence;

	while (track_core_due(f->core, f->now) == NULL)
		wait_msec(1);
	sequence = track_core_next_sequence(f->core);
	track_core_sent(f->core, f->probe, sequence, f->now);
	if (!is_answered) {
		wait_msec(500);
		return;
	}
	wait_msec(rtt_msec);
	assert_true(track_core_answered(f->core, sequence, &f->sla.target, f->now));
}

static void answer(void)
{
	probe_once(true, 3);
}

static void lose(void)
{
	probe_once(false, 0);
}

/* The table as a network engineer reads it; every state and every event. */
static void every_state_and_event(void **context)
{
	static const struct {
		enum track_state state;
		enum track_event event;
		enum track_state next;
	} wanted[] = {
		{TRACK_STATE_UNKNOWN, TRACK_EVENT_ANSWER, TRACK_STATE_UNKNOWN},
		{TRACK_STATE_UNKNOWN, TRACK_EVENT_ANSWERS_ENOUGH, TRACK_STATE_UP},
		{TRACK_STATE_UNKNOWN, TRACK_EVENT_LOSS, TRACK_STATE_UNKNOWN},
		{TRACK_STATE_UNKNOWN, TRACK_EVENT_LOSSES_ENOUGH, TRACK_STATE_DOWN},
		{TRACK_STATE_UNKNOWN, TRACK_EVENT_DELAY_OVER, TRACK_STATE_UNKNOWN},
		{TRACK_STATE_UP, TRACK_EVENT_ANSWER, TRACK_STATE_UP},
		{TRACK_STATE_UP, TRACK_EVENT_ANSWERS_ENOUGH, TRACK_STATE_UP},
		{TRACK_STATE_UP, TRACK_EVENT_LOSS, TRACK_STATE_UP},
		{TRACK_STATE_UP, TRACK_EVENT_LOSSES_ENOUGH, TRACK_STATE_FALLING},
		{TRACK_STATE_UP, TRACK_EVENT_DELAY_OVER, TRACK_STATE_UP},
		{TRACK_STATE_FALLING, TRACK_EVENT_ANSWER, TRACK_STATE_UP},
		{TRACK_STATE_FALLING, TRACK_EVENT_ANSWERS_ENOUGH, TRACK_STATE_UP},
		{TRACK_STATE_FALLING, TRACK_EVENT_LOSS, TRACK_STATE_FALLING},
		{TRACK_STATE_FALLING, TRACK_EVENT_LOSSES_ENOUGH, TRACK_STATE_FALLING},
		{TRACK_STATE_FALLING, TRACK_EVENT_DELAY_OVER, TRACK_STATE_DOWN},
		{TRACK_STATE_DOWN, TRACK_EVENT_ANSWER, TRACK_STATE_DOWN},
		{TRACK_STATE_DOWN, TRACK_EVENT_ANSWERS_ENOUGH, TRACK_STATE_RISING},
		{TRACK_STATE_DOWN, TRACK_EVENT_LOSS, TRACK_STATE_DOWN},
		{TRACK_STATE_DOWN, TRACK_EVENT_LOSSES_ENOUGH, TRACK_STATE_DOWN},
		{TRACK_STATE_DOWN, TRACK_EVENT_DELAY_OVER, TRACK_STATE_DOWN},
		{TRACK_STATE_RISING, TRACK_EVENT_ANSWER, TRACK_STATE_RISING},
		{TRACK_STATE_RISING, TRACK_EVENT_ANSWERS_ENOUGH, TRACK_STATE_RISING},
		{TRACK_STATE_RISING, TRACK_EVENT_LOSS, TRACK_STATE_DOWN},
		{TRACK_STATE_RISING, TRACK_EVENT_LOSSES_ENOUGH, TRACK_STATE_DOWN},
		{TRACK_STATE_RISING, TRACK_EVENT_DELAY_OVER, TRACK_STATE_UP},
	};
	size_t count = sizeof(wanted) / sizeof(*wanted);

	(void)context;
	assert_int_equal(count, TRACK_STATE_COUNT * TRACK_EVENT_COUNT);
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < i; j++)
			assert_false(wanted[i].state == wanted[j].state &&
			             wanted[i].event == wanted[j].event);
		assert_int_equal(track_table[wanted[i].state][wanted[i].event], wanted[i].next);
	}
}

static void one_loss_is_down_and_one_answer_up(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 0);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UNKNOWN);
	assert_true(track_allows_route(fixture.state));
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	assert_int_equal(fixture.probe->rtt_usec, 3000);
	assert_string_equal(fixture.probe->return_code, "OK");
	lose();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	assert_false(track_allows_route(fixture.state));
	assert_string_equal(fixture.probe->return_code, "Timeout");
	assert_int_equal(fixture.probe->rtt_usec, 0);
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	assert_true(track_allows_route(fixture.state));
	assert_int_equal(fixture.state->changes, 3);
	assert_int_equal(fixture.probe->sent, 3);
	assert_int_equal(fixture.probe->answered, 2);
}

static void counts_are_consecutive(void **context)
{
	(void)context;
	open_core(3, 2, 0, 0, 0);
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UNKNOWN);
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	lose();
	lose();
	answer();
	lose();
	lose();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	lose();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	answer();
	lose();
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
}

static void delay_down_forgives_a_short_loss(void **context)
{
	(void)context;
	open_core(1, 1, 3000, 0, 0);
	answer();
	lose();
	assert_int_equal(fixture.state->state, TRACK_STATE_FALLING);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	answer();
	assert_int_equal(fixture.state->state, TRACK_STATE_UP);
	lose();
	wait_msec(2999);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	wait_msec(1);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
}

static void delay_up_waits_for_a_steady_path(void **context)
{
	(void)context;
	open_core(1, 1, 0, 5000, 0);
	lose();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	answer();
	assert_int_equal(fixture.state->state, TRACK_STATE_RISING);
	lose();
	assert_int_equal(fixture.state->state, TRACK_STATE_DOWN);
	answer();
	wait_msec(4999);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	wait_msec(1);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
}

static void route_returns_after_failback(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 60000);
	answer();
	assert_true(track_allows_route(fixture.state));
	lose();
	assert_false(track_allows_route(fixture.state));
	answer();
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	(void)track_take_change(fixture.state);
	wait_msec(59999);
	assert_false(track_allows_route(fixture.state));
	assert_false(track_take_change(fixture.state));
	wait_msec(1);
	assert_true(track_allows_route(fixture.state));
	assert_true(track_take_change(fixture.state));
	assert_false(track_take_change(fixture.state));
}

static void a_loss_starts_failback_again(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 10000);
	lose();
	answer();
	wait_msec(8000);
	lose();
	answer();
	wait_msec(9999);
	assert_false(track_allows_route(fixture.state));
	wait_msec(1);
	assert_true(track_allows_route(fixture.state));
}

static void held_after_a_restart(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 1000);
	track_hold_route(fixture.state);
	assert_false(track_allows_route(fixture.state));
	answer();
	assert_false(track_allows_route(fixture.state));
	wait_msec(1000);
	assert_true(track_allows_route(fixture.state));
}

static void slow_answer_is_reachable(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 0);
	probe_once(true, 101);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_UP);
	assert_string_equal(fixture.probe->return_code, "Over threshold");
	probe_once(true, 100);
	assert_string_equal(fixture.probe->return_code, "OK");
}

static void foreign_and_late_answers_are_ignored(void **context)
{
	struct fixture *f = &fixture;
	struct sockaddr_storage other;
	uint16_t sequence;

	(void)context;
	open_core(1, 1, 0, 0, 0);
	assert_true(address_parse("192.0.2.12", &other));
	sequence = track_core_next_sequence(f->core);
	track_core_sent(f->core, f->probe, sequence, f->now);
	assert_false(
		track_core_answered(f->core, (uint16_t)(sequence + 1), &f->sla.target, f->now));
	assert_false(track_core_answered(f->core, sequence, &other, f->now));
	assert_false(track_core_answered(f->core, sequence, &f->sla.target, f->now + 501 * MSEC));
	assert_int_equal(track_status(f->state), TRACK_STATE_UNKNOWN);
	wait_msec(500);
	assert_int_equal(track_status(f->state), TRACK_STATE_DOWN);
	assert_false(track_core_answered(f->core, sequence, &f->sla.target, f->now));
	assert_int_equal(track_status(f->state), TRACK_STATE_DOWN);
}

static void an_answer_counts_once(void **context)
{
	struct fixture *f = &fixture;
	uint16_t sequence;

	(void)context;
	open_core(1, 2, 0, 0, 0);
	sequence = track_core_next_sequence(f->core);
	track_core_sent(f->core, f->probe, sequence, f->now);
	assert_true(track_core_answered(f->core, sequence, &f->sla.target, f->now));
	assert_false(track_core_answered(f->core, sequence, &f->sla.target, f->now));
	assert_int_equal(track_status(f->state), TRACK_STATE_UNKNOWN);
}

static void unsendable_is_a_loss(void **context)
{
	(void)context;
	open_core(1, 1, 0, 0, 0);
	answer();
	wait_msec(2000);
	track_core_send_failed(fixture.core, fixture.probe, "Network is unreachable", fixture.now);
	assert_int_equal(track_status(fixture.state), TRACK_STATE_DOWN);
	assert_string_equal(fixture.probe->return_code, "Network is unreachable");
	assert_null(track_core_due(fixture.core, fixture.now));
}

static void probes_keep_their_rhythm(void **context)
{
	struct fixture *f = &fixture;
	uint64_t start;

	(void)context;
	open_core(1, 1, 0, 0, 0);
	start = f->now;
	answer();
	assert_int_equal(track_core_deadline(f->core), start + 2000 * MSEC);
	f->now = start + 2007 * MSEC; /* a late loop */
	answer();
	assert_int_equal(track_core_deadline(f->core), start + 4000 * MSEC);
	f->now = start + 60000 * MSEC; /* a long pause: one probe, not twenty-eight */
	answer();
	assert_true(track_core_deadline(f->core) > start + 61000 * MSEC);
}

static void sequence_of_a_waiting_probe_is_not_reused(void **context)
{
	struct fixture *f = &fixture;
	uint16_t waiting;

	(void)context;
	open_core(1, 1, 0, 0, 0);
	waiting = track_core_next_sequence(f->core);
	track_core_sent(f->core, f->probe, waiting, f->now);
	for (unsigned i = 0; i < 70000; i++)
		assert_int_not_equal(track_core_next_sequence(f->core), waiting);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, close_core)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_and_event),
		TEST(one_loss_is_down_and_one_answer_up),
		TEST(counts_are_consecutive),
		TEST(delay_down_forgives_a_short_loss),
		TEST(delay_up_waits_for_a_steady_path),
		TEST(route_returns_after_failback),
		TEST(a_loss_starts_failback_again),
		TEST(held_after_a_restart),
		TEST(slow_answer_is_reachable),
		TEST(foreign_and_late_answers_are_ignored),
		TEST(an_answer_counts_once),
		TEST(unsendable_is_a_loss),
		TEST(probes_keep_their_rhythm),
		TEST(sequence_of_a_waiting_probe_is_not_reused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
