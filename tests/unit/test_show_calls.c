/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show calls: what a time means, what is summed, how it is written. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/cli/show_admission.h"
#include "services/cli/show_calls.h"

#define SECOND 1000000ull
#define NOW    (1700000000 * SECOND)

static void test_since(void **state)
{
	static const char *const wrong[] = {"",    "m",          "-5m",         "5",        "5y",
	                                    "5mm", "2026-13-01", "2026-01-31x", "yesterday"};
	uint64_t since = 0;

	(void)state;
	assert_true(calls_since("90m", NOW, &since));
	assert_int_equal(since, NOW - 5400 * SECOND);
	assert_true(calls_since("7d", NOW, &since));
	assert_int_equal(since, NOW - 7 * 86400 * SECOND);
	assert_true(calls_since("2023-11-14", NOW, &since));
	assert_int_equal(since, 1699920000 * SECOND);
	assert_true(calls_since("2023-11-14 01:00", NOW, &since));
	assert_int_equal(since, 1699923600 * SECOND);
	assert_true(calls_since("2023-11-14T01:00:01", NOW, &since));
	assert_int_equal(since, 1699923601 * SECOND);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_false(calls_since(wrong[i], NOW, &since));
}

static Vpnsip__CallRecord record_of(uint64_t number, Vpnsip__RecordEnd end, uint64_t answered,
                                    uint64_t ended)
{
	Vpnsip__CallRecord record = VPNSIP__CALL_RECORD__INIT;

	record.record = number;
	record.tunnel = "vsip2";
	record.local_number = "0388881001";
	record.remote_number = "0388882001";
	record.direction = VPNSIP__DIRECTION__OUTGOING;
	record.started_at_usec = NOW;
	record.answered_at_usec = answered;
	record.ended_at_usec = ended;
	record.end = end;
	record.ended_by = 1;
	record.cause = "said \"no\", twice";
	record.negotiated_kbit = 512;
	return record;
}

static json_t *model(void)
{
	const Vpnsip__CallRecord records[] = {
		record_of(1, VPNSIP__RECORD_END__RECORD_EXACT, 0, NOW + SECOND),
		record_of(2, VPNSIP__RECORD_END__RECORD_EXACT, NOW, NOW + 61 * SECOND + 1),
		record_of(3, VPNSIP__RECORD_END__RECORD_ESTIMATED, NOW, NOW + 30 * SECOND),
		record_of(4, VPNSIP__RECORD_END__RECORD_RUNNING, NOW, 0),
	};
	json_t *calls = json_array();

	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		json_array_append_new(calls, calls_entry_model(&records[i], NOW + 10 * SECOND));
	return json_pack("{s:o, s:o, s:b}", "calls", calls, "total", calls_total_model(calls),
	                 "has_more", 0);
}

static void test_total(void **state)
{
	json_t *calls = model(), *total = json_object_get(calls, "total");

	(void)state;
	assert_int_equal(number_of(total, "calls"), 4);
	assert_int_equal(number_of(total, "answered"), 3);
	assert_int_equal(number_of(total, "billed_sec"), 62 + 30 + 10);
	assert_int_equal(number_of(total, "estimated"), 1);
	assert_int_equal(number_of(total, "running"), 1);
	json_decref(calls);
}

static char *written(show_text_fn *text)
{
	json_t *calls = model();
	char *octets = NULL;
	size_t size;
	FILE *stream = open_memstream(&octets, &size);

	text(stream, calls);
	fclose(stream);
	json_decref(calls);
	return octets;
}

static void test_text(void **state)
{
	char *text = written(show_calls_text);

	(void)state;
	assert_non_null(
		strstr(text, "1       (I) 0388882001      2023-11-14 22:13:20  --         512"));
	assert_non_null(strstr(text, "00:01:02"));
	assert_non_null(strstr(text, "~00:00:30"));
	assert_non_null(strstr(text,
	                       "Total: 4 calls, 3 answered, ~102 s billed (00:01:42), 1 with an "
	                       "estimated end (~), 1 running\n"));
	free(text);
}

static void test_csv(void **state)
{
	char *text = written(show_calls_csv);
	const char *line = strstr(text, "\r\n");

	(void)state;
	assert_true(strncmp(text, "record,direction,tunnel,local_number,", 37) == 0);
	assert_ptr_equal(
		strstr(line, "\r\n1,\"outgoing\",\"vsip2\",\"0388881001\",\"0388882001\","), line);
	assert_non_null(strstr(text, ",\"said \"\"no\"\", twice\",0,62,512,0,0,0,0\r\n"));
	free(text);
}

static void test_admission(void **unused)
{
	Vpnsip__AdmissionLimit all = VPNSIP__ADMISSION_LIMIT__INIT, one = all,
			       *limits[] = {&all, &one};
	Vpnsip__AdmissionHold hold = VPNSIP__ADMISSION_HOLD__INIT, *holds[] = {&hold};
	Vpnsip__CallAdmission admission = VPNSIP__CALL_ADMISSION__INIT;
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;
	(void)unused;

	all.name = "setups";
	all.limit = 50;
	one.name = "calls-per-hour";
	one.scope = "vsip2";
	one.limit = one.used = 10;
	one.refused = 3;
	one.last_refused_at_usec = 1798000000000000ull;
	one.last_cause = "vsip2: why";
	hold.tunnel = "vsip3";
	hold.remote_number = "0388883001";
	hold.until_mono_usec = 280000000;
	hold.pause_msec = 300000;
	hold.failures = 2;
	hold.cause = "404 Not Found";
	admission.limits = limits;
	admission.n_limits = 2;
	admission.holds = holds;
	admission.n_holds = 1;
	model = admission_model(&admission, 10000000);
	show_admission_text(stream, model);
	fclose(stream);
	assert_non_null(
		strstr(text, "\nsetups           all           0/50          0        --\n"));
	assert_non_null(strstr(text, "\ncalls-per-hour   vsip2         10/10         3        20"));
	assert_non_null(strstr(text, "  vsip2: why\n"));
	assert_non_null(strstr(text, "Hold-down of vsip3 (0388883001): 270 of 300 s remaining, "
	                             "failures 2: 404 Not Found\n"));
	json_decref(model);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_since),     cmocka_unit_test(test_total),
		cmocka_unit_test(test_text),      cmocka_unit_test(test_csv),
		cmocka_unit_test(test_admission),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("show calls", tests, NULL, NULL);
}
