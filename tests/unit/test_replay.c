/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replay window against a model that remembers everything, and extended numbers over the wrap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/tunnel-agent/replay.h"

#define WRAP (UINT64_C(1) << 32)

static const unsigned window_sizes[] = {64, 65, 100, 128, 512, 1024};

/* Receives like an SA does: infer, check, (authenticate), accept. */
static bool receive(struct replay_window *window, uint64_t sequence)
{
	uint64_t inferred = replay_infer(window, (uint32_t)sequence);

	if (!replay_is_fresh(window, inferred) || inferred != sequence)
		return false;
	replay_accept(window, inferred);
	return true;
}

static void agrees_with_model(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(window_sizes) / sizeof(*window_sizes); i++) {
		static bool seen[200000];
		struct replay_window window;
		uint64_t top = 0;
		unsigned size = window_sizes[i], random = 1;

		memset(seen, 0, sizeof(seen));
		replay_init(&window, size, i % 2 == 0);
		for (unsigned n = 0; n < 100000; n++) {
			uint64_t sequence;
			bool is_fresh;

			random = random * 1103515245 + 12345;
			sequence = top + 3 + (random >> 8) % 8 - (random >> 16) % (size + 10);
			if ((random >> 4) % 1000 == 0)
				sequence = top + (random >> 8) % (3 * size);
			if ((int64_t)sequence < 1 || sequence >= sizeof(seen))
				continue;
			is_fresh = sequence > top || (top - sequence < size && !seen[sequence]);
			assert_int_equal(receive(&window, sequence), is_fresh);
			seen[sequence] = true;
			if (sequence > top)
				top = sequence;
		}
	}
}

static void refuses_old_and_repeated(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 64, false);
	assert_false(receive(&window, 0));
	assert_true(receive(&window, 1));
	assert_false(receive(&window, 1));
	assert_true(receive(&window, 100));
	assert_false(receive(&window, 36)); /* 64 behind */
	assert_true(receive(&window, 37));
	assert_false(receive(&window, 37));
	assert_true(receive(&window, 99));
	/* A jump over the whole window forgets it, and nothing within is taken for seen. */
	assert_true(receive(&window, 1000000));
	assert_true(receive(&window, 1000000 - 63));
	assert_false(receive(&window, 1000000 - 64));
}

static void does_not_record_what_was_only_asked(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 64, false);
	assert_true(replay_is_fresh(&window, 5));
	assert_true(replay_is_fresh(&window, 5));
	replay_accept(&window, 5);
	assert_false(replay_is_fresh(&window, 5));
}

static void switched_off_takes_all(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 0, false);
	assert_true(receive(&window, 7));
	assert_true(receive(&window, 7));
	assert_true(receive(&window, 1));
}

static void cuts_large_windows(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 5000, false);
	assert_int_equal(window.window_size, REPLAY_WINDOW_MAXIMUM);
}

static void follows_the_wrap(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(window_sizes) / sizeof(*window_sizes); i++) {
		struct replay_window window;
		unsigned size = window_sizes[i];

		replay_init(&window, size, true);
		replay_accept(&window, 3 * WRAP - 10);
		/* Forward over the wrap, then late ones from before it, then their replays. */
		assert_true(receive(&window, 3 * WRAP + 5));
		assert_true(receive(&window, 3 * WRAP));
		assert_true(receive(&window, 3 * WRAP - 1));
		assert_false(receive(&window, 3 * WRAP - 1));
		assert_false(receive(&window, 3 * WRAP - 10));
		assert_true(receive(&window, 3 * WRAP + 5 - (size - 1)));
		/* Below the window the same low half means the next subspace. */
		assert_int_equal(replay_infer(&window, (uint32_t)(5 - size)),
		                 3 * WRAP + (uint32_t)(5 - size));
	}
}

static void has_nothing_before_the_first(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 64, true);
	assert_int_equal(replay_infer(&window, 1), 1);
	/* A number "before zero" can only be a replay or a forgery. */
	assert_int_equal(replay_infer(&window, UINT32_MAX - 5), 0);
	assert_false(replay_is_fresh(&window, 0));
	assert_true(receive(&window, 1));
	assert_true(receive(&window, 2));
}

static void infers_with_the_window_off(void **state)
{
	struct replay_window window;

	(void)state;
	replay_init(&window, 0, true);
	replay_accept(&window, WRAP - 2);
	assert_int_equal(replay_infer(&window, UINT32_MAX), WRAP - 1);
	assert_int_equal(replay_infer(&window, 3), WRAP + 3);
}

/* Leaps of up to 2^31 are followed. */
static void follows_leaps(void **state)
{
	struct replay_window window;
	uint64_t sequence = 1;

	(void)state;
	replay_init(&window, 128, true);
	for (unsigned n = 0; n < 64; n++) {
		assert_true(receive(&window, sequence));
		assert_false(receive(&window, sequence));
		sequence += (WRAP / 2) - 1 - n;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_model),
		cmocka_unit_test(refuses_old_and_repeated),
		cmocka_unit_test(does_not_record_what_was_only_asked),
		cmocka_unit_test(switched_off_takes_all),
		cmocka_unit_test(cuts_large_windows),
		cmocka_unit_test(follows_the_wrap),
		cmocka_unit_test(has_nothing_before_the_first),
		cmocka_unit_test(infers_with_the_window_off),
		cmocka_unit_test(follows_leaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
