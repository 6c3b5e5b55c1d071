/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel data plane cannot do is refused when it is asked for, and only then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "services/common/data_plane.h"

static const struct config_ipsec_profile usual = {
	.df_bit = DF_COPY, .replay_window = 64, .has_extended_sequence = true};

static void test_usual_profile_is_anybodys(void **state)
{
	(void)state;
	assert_null(data_plane_lacks(DATA_PLANE_KERNEL, &usual));
	assert_null(data_plane_lacks(DATA_PLANE_USERSPACE, &usual));
	assert_null(data_plane_lacks(DATA_PLANE_AUTO, &usual));
}

static void test_what_the_kernel_lacks(void **state)
{
	struct config_ipsec_profile dummies = usual, late = usual, window = usual, df = usual;
	const struct {
		const struct config_ipsec_profile *profile;
		const char *option;
	} cases[] = {{&dummies, "dummy-rate"},
	             {&late, "dummy-interval"},
	             {&window, "esn"},
	             {&df, "df-bit"}};

	(void)state;
	dummies.dummy_rate = 1;
	late.dummy_interval_sec = 1;
	window.replay_window = 0;
	df.df_bit = DF_SET;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *lack = data_plane_lacks(DATA_PLANE_KERNEL, cases[i].profile);

		assert_non_null(lack);
		assert_non_null(strstr(lack, cases[i].option));
		assert_null(data_plane_lacks(DATA_PLANE_USERSPACE, cases[i].profile));
		assert_null(data_plane_lacks(DATA_PLANE_AUTO, cases[i].profile));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual_profile_is_anybodys),
		cmocka_unit_test(test_what_the_kernel_lacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
