/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telephone numbers as digits. Pure, any thread. */
#ifndef VPNSIP_NUMBER_H
#define VPNSIP_NUMBER_H

#include <stdbool.h>

/**
 * Who wins when both sides begin at once, calls as well as IKE_SAs: the lower of the two normalised numbers. Shorter
 * comes first, then digit by digit. True when `a` is the lower one; the same on both sides.
 */
bool number_precedes(const char *a, const char *b);

#endif
