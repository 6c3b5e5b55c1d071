/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/number.h"

static void every_form_of_one_number_is_the_same(void **state)
{
	static const char *const forms[] = {
		"0388881001",
		"03-8888-1001",
		"(03)8888.1001",
		"+81388881001",
		"+81-3-8888-1001",
		"tel:0388881001",
		"tel:+81-3-8888-1001;phone-context=example.ne.jp",
		"sip:0388881001@example.ne.jp",
		"SIPS:+81388881001@example.ne.jp;user=phone",
		"sip:0388881001;x=y@example.ne.jp?subject=z",
	};
	char digits[NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (!number_normalise(forms[i], "81", "0", digits))
			fail_msg("refused: %s", forms[i]);
		assert_string_equal(digits, "0388881001");
	}
}

static void what_is_no_national_number_is_refused(void **state)
{
	static const char *const forms[] = {
		"",
		"sip:@example.ne.jp",
		"alice",
		"0388881001x",
		"+44388881001",
		"+",
		"0388 881001",
		"sip:*#06#",
		"--",
		"anonymous",
		"00000000001111111111222222222233333333334444444444",
	};
	char digits[NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		if (number_normalise(forms[i], "81", "0", digits))
			fail_msg("accepted: %s as %s", forms[i], digits);
}

static void other_countries_have_other_prefixes(void **state)
{
	char digits[NUMBER_SIZE];

	(void)state;
	assert_true(number_normalise("+49-30-123456", "49", "0", digits));
	assert_string_equal(digits, "030123456");
	assert_true(number_normalise("tel:+12125550100", "1", "", digits));
	assert_string_equal(digits, "2125550100");
	assert_false(number_normalise("+81388881001", "1", "", digits));
	assert_false(number_normalise("+81388881001", "", "", digits));
	assert_false(number_normalise("+1", "1", "", digits));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_form_of_one_number_is_the_same),
		cmocka_unit_test(what_is_no_national_number_is_refused),
		cmocka_unit_test(other_countries_have_other_prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
