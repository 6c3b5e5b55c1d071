/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_SUGGEST_H
#define VPNSIP_SUGGEST_H

#include <stddef.h>

/**
 * The known word that was probably meant: the nearest by edit distance (insert, delete, replace, swap neighbours), if at most
 * a third of the letters differ. NULL when none is near. `known` has `count` words; NULL entries are skipped.
 */
const char *suggest_word(const char *unknown, const char *const *known, size_t count);

#endif
