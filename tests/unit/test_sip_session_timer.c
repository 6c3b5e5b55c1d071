/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/sip-agent/session_timer.h"

static struct session_timer_terms answer;
static struct session_timer timer;
static const struct session_timer_wish ours = {300, 90};

static bool respond(unsigned interval, enum session_refresher refresher, unsigned minimum,
                    bool supports)
{
	const struct session_timer_terms request = {interval, refresher, minimum, supports};

	return session_timer_answer(&request, &ours, &answer, &timer);
}

/* RFC 4028 section 9, table 2: who refreshes when we are the UAS. */
static void the_uas_chooses_by_the_table(void **state)
{
	(void)state;
	assert_true(respond(0, REFRESHER_UNSPECIFIED, 0, false));
	assert_int_equal(answer.refresher, REFRESHER_UAS);
	assert_true(timer.is_refresher);
	assert_true(respond(300, REFRESHER_UNSPECIFIED, 0, true));
	assert_int_equal(answer.refresher, REFRESHER_UAS);
	assert_true(respond(300, REFRESHER_UAC, 0, true));
	assert_int_equal(answer.refresher, REFRESHER_UAC);
	assert_false(timer.is_refresher);
	assert_true(answer.supports_timer);
	assert_true(respond(300, REFRESHER_UAS, 0, true));
	assert_int_equal(answer.refresher, REFRESHER_UAS);
	/* whoever cannot refresh is not asked to */
	assert_true(respond(300, REFRESHER_UAC, 0, false));
	assert_int_equal(answer.refresher, REFRESHER_UAS);
	assert_false(answer.supports_timer);
}

static void the_interval_is_lowered_but_never_raised(void **state)
{
	(void)state;
	assert_true(respond(1800, REFRESHER_UNSPECIFIED, 0, true));
	assert_int_equal(answer.interval_sec, 300);
	assert_true(respond(1800, REFRESHER_UNSPECIFIED, 600, true));
	assert_int_equal(answer.interval_sec, 600);
	assert_true(respond(120, REFRESHER_UNSPECIFIED, 90, true));
	assert_int_equal(answer.interval_sec, 120);
	assert_true(respond(0, REFRESHER_UNSPECIFIED, 0, true));
	assert_int_equal(answer.interval_sec, 300);
}

static void an_interval_below_the_minimum_is_refused(void **state)
{
	(void)state;
	assert_false(respond(89, REFRESHER_UNSPECIFIED, 0, true));
	assert_true(respond(90, REFRESHER_UNSPECIFIED, 0, true));
	/* without timer support a 422 would not be understood */
	assert_true(respond(89, REFRESHER_UNSPECIFIED, 0, false));
	assert_int_equal(answer.interval_sec, 90);
}

static void the_uac_reads_the_2xx(void **state)
{
	struct session_timer_terms terms = {0};

	(void)state;
	timer = session_timer_of_answer(&terms, &ours);
	assert_int_equal(timer.interval_sec, 300);
	assert_true(timer.is_refresher);
	terms = (struct session_timer_terms){200, REFRESHER_UAS, 0, true};
	timer = session_timer_of_answer(&terms, &ours);
	assert_int_equal(timer.interval_sec, 200);
	assert_false(timer.is_refresher);
	terms = (struct session_timer_terms){1, REFRESHER_UAC, 0, true};
	timer = session_timer_of_answer(&terms, &ours);
	assert_int_equal(timer.interval_sec, 90);
	assert_true(timer.is_refresher);
}

static void the_waits_are_those_of_section_10(void **state)
{
	(void)state;
	timer = (struct session_timer){300, true};
	assert_int_equal(session_timer_refresh_sec(&timer), 150);
	assert_int_equal(session_timer_expiry_sec(&timer), 268);
	timer.interval_sec = 90;
	assert_int_equal(session_timer_expiry_sec(&timer), 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_uas_chooses_by_the_table),
		cmocka_unit_test(the_interval_is_lowered_but_never_raised),
		cmocka_unit_test(an_interval_below_the_minimum_is_refused),
		cmocka_unit_test(the_uac_reads_the_2xx),
		cmocka_unit_test(the_waits_are_those_of_section_10),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
