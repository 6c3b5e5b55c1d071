/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The command line's grammar. A pattern is a row of keywords (lower case), names of arguments (UPPER CASE), choices
 * (NUMBER|all) and optional groups ([remote-number NUMBER] [detail]), which may come in any order. A last argument that
 * ends with "..." takes all remaining words. Keywords may be shortened as far as only one command fits. Pure, no I/O.
 */
#ifndef VPNSIP_CLI_WORDS_H
#define VPNSIP_CLI_WORDS_H

#include <stdbool.h>
#include <stddef.h>

#define WORDS_ARGUMENTS 16

/** What a command's words have set: keywords of optional groups by their name, arguments with their value. */
struct words {
	struct {
		char name[32];
		const char *value;
	} arguments[WORDS_ARGUMENTS];
	size_t count;
};

/** Value of an argument ("NUMBER"), or NULL. */
const char *words_get(const struct words *words, const char *name);

/** Whether the keyword of an optional group was given ("detail"). */
bool words_has(const struct words *words, const char *keyword);

/** Whether the words are the beginning of this pattern, or all of it: whose help is wanted. */
bool words_begin(const char *pattern, char *const *argv, size_t argc);

/**
 * Finds the command of `patterns` (`count` of them) that the words mean. Returns its index, or -1 and a sentence in `why`:
 * what was not understood, what was expected there, or between what it is ambiguous. Values point into `argv`.
 */
int words_match(const char *const *patterns, size_t count, char *const *argv, size_t argc,
                struct words *words, char *why, size_t why_size);

#endif
