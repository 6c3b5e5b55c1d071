/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/number.h"

#include <string.h>

bool number_precedes(const char *a, const char *b)
{
	size_t a_size = strlen(a), b_size = strlen(b);

	return a_size != b_size ? a_size < b_size : strcmp(a, b) < 0;
}
