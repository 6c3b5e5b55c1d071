/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/suggest.h"

#include <limits.h>
#include <string.h>

#define LONGEST_WORD 40

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: the number of single edits that turn `a` into `b`. */
static unsigned edit_distance(const char *a, const char *b)
{
	size_t a_length = strlen(a), b_length = strlen(b);
	unsigned cost[LONGEST_WORD + 1][LONGEST_WORD + 1];

	if (a_length > LONGEST_WORD || b_length > LONGEST_WORD)
		return UINT_MAX;
	for (size_t i = 0; i <= a_length; i++)
		cost[i][0] = (unsigned)i;
	for (size_t j = 0; j <= b_length; j++)
		cost[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		for (size_t j = 1; j <= b_length; j++) {
			unsigned best = cost[i - 1][j - 1] + (a[i - 1] != b[j - 1]);

			best = smaller(best, cost[i - 1][j] + 1);
			best = smaller(best, cost[i][j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = smaller(best, cost[i - 2][j - 2] + 1);
			cost[i][j] = best;
		}
	}
	return cost[a_length][b_length];
}

const char *suggest_word(const char *unknown, const char *const *known, size_t count)
{
	unsigned allowed = smaller((unsigned)strlen(unknown) / 3 + 1, LONGEST_WORD);
	const char *best = NULL;

	for (size_t i = 0; i < count; i++) {
		unsigned distance = known[i] ? edit_distance(unknown, known[i]) : UINT_MAX;

		if (distance < allowed || (distance == allowed && !best)) {
			best = known[i];
			allowed = distance;
		}
	}
	return best;
}
