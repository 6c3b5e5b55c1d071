/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Patterns of messages: JSON objects of which every field must match; variables are set where they first appear. */
#ifndef VPNSIP_EXCHANGE_PATTERN_H
#define VPNSIP_EXCHANGE_PATTERN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * Reads `{json}` or `name=value ...` with $variables; those in `variables` are replaced by their values, others become
 * captures. New reference; NULL and a sentence in `why`. "" is the empty object.
 */
json_t *pattern_read(const char *text, const json_t *variables, char *why, size_t why_size);

/** Does `actual` have all that `pattern` names? Captures are set in `variables` only if it does. Else `why` says what differs. */
bool pattern_matches(const json_t *pattern, const json_t *actual, json_t *variables, char *why,
                     size_t why_size);

/** Is there a capture in it, that is, a variable without a value? */
bool pattern_has_captures(const json_t *pattern);

#endif
