/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attempt numbers: each once, also over restarts; none for an own call when it cannot be written down. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/coordinator/attempts.h"

#define OWN      true
#define ANSWER   false
#define HOUR_ONE 3600000000u

static char folder[] = "/tmp/test-attempts-XXXXXX";

static int make_folder(void **unused)
{
	(void)unused;
	signal(SIGXFSZ, SIG_IGN);
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **unused)
{
	char path[64];
	(void)unused;

	snprintf(path, sizeof(path), "%s/attempts", folder);
	unlink(path);
	snprintf(path, sizeof(path), "%s/attempts.new", folder);
	unlink(path);
	return rmdir(folder);
}

/* What a full disk does to the file, without one. */
static void set_disk_full(bool is_full)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = is_full ? 0 : limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void numbers_grow_over_restarts(void **unused)
{
	struct attempts attempts;
	uint64_t first, second;
	(void)unused;

	assert_int_equal(attempts_open(&attempts, folder), 0);
	first = attempts_next(&attempts, OWN, HOUR_ONE);
	assert_int_equal(attempts_next(&attempts, ANSWER, HOUR_ONE), first + 1);
	assert_int_equal(attempts_open(&attempts, folder), 0);
	second = attempts_next(&attempts, OWN, HOUR_ONE);
	assert_true(second > first + 1);
	/* What a service shows is never given again, whatever the file says. */
	attempts_skip(&attempts, second + 1000);
	assert_int_equal(attempts_next(&attempts, OWN, HOUR_ONE), second + 1001);
	assert_int_equal(attempts_open(&attempts, folder), 0);
	assert_true(attempts_next(&attempts, OWN, HOUR_ONE) > second + 1001);
}

static void full_disk_bars_own_calls_and_answers_go_on_for_a_while(void **unused)
{
	struct attempts attempts;
	uint64_t last, answered = 0;
	(void)unused;

	assert_int_equal(attempts_open(&attempts, folder), 0);
	last = attempts_next(&attempts, OWN, HOUR_ONE);
	assert_int_not_equal(last, 0);
	set_disk_full(true);
	/* A write of the last second is believed. */
	assert_int_equal(attempts_next(&attempts, OWN, HOUR_ONE + 500000), last + 1);
	assert_int_equal(attempts_next(&attempts, OWN, HOUR_ONE + 2000000), 0);
	while (answered < 1000 && attempts_next(&attempts, ANSWER, HOUR_ONE + 2000000))
		answered++;
	assert_in_range(answered, 30, 64);
	set_disk_full(false);
	/* It mends itself, and no number was lost or doubled. */
	assert_int_equal(attempts_next(&attempts, OWN, HOUR_ONE + 3000000), last + 2 + answered);
}

static void folder_that_is_gone(void **unused)
{
	struct attempts attempts;
	(void)unused;

	assert_int_equal(attempts_open(&attempts, "/nonexistent"), 0);
	assert_int_equal(attempts_next(&attempts, OWN, HOUR_ONE), 0);
	assert_int_equal(attempts_next(&attempts, ANSWER, HOUR_ONE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_grow_over_restarts),
		cmocka_unit_test(full_disk_bars_own_calls_and_answers_go_on_for_a_while),
		cmocka_unit_test(folder_that_is_gone),
	};

	return cmocka_run_group_tests_name("coordinator_attempts", tests, make_folder,
	                                   remove_folder);
}
