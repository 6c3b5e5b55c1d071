/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/words.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "services/common/suggest.h"

#define MOST_TOKENS 16
#define MOST_WORDS  32

/** One element of a pattern. */
struct token {
	char text[32];
	int group; /* 0 = must be there; else the number of its optional group */
};

/** A pattern being compared with words. */
struct comparison {
	struct token tokens[MOST_TOKENS];
	size_t token_count;
	size_t consumed;                   /* words understood */
	size_t exact;                      /* of them, keywords written in full */
	const char *expected[MOST_TOKENS]; /* what could have come next */
	size_t expected_count;
	bool is_complete;
	struct words words;
};

static void split_pattern(const char *pattern, struct comparison *comparison)
{
	int group = 0, current = 0;

	while (*pattern && comparison->token_count < MOST_TOKENS) {
		size_t length;
		struct token *token = &comparison->tokens[comparison->token_count];

		pattern += strspn(pattern, " ");
		if (*pattern == '[') {
			current = ++group;
			pattern++;
			continue;
		}
		if (*pattern == ']') {
			current = 0;
			pattern++;
			continue;
		}
		length = strcspn(pattern, " ]");
		if (length == 0)
			break;
		snprintf(token->text, sizeof(token->text), "%.*s", (int)length, pattern);
		token->group = current;
		comparison->token_count++;
		pattern += length;
	}
}

static bool is_argument(const struct token *token)
{
	return isupper((unsigned char)token->text[0]);
}

static bool takes_all(const struct token *token)
{
	return strstr(token->text, "...") != NULL;
}

static bool fits(const struct token *token, const char *word, bool *is_exact)
{
	*is_exact = false;
	if (is_argument(token))
		return true;
	*is_exact = strcmp(token->text, word) == 0;
	return word[0] && strncmp(token->text, word, strlen(word)) == 0;
}

static void keep(struct comparison *comparison, const struct token *token, const char *word)
{
	struct words *words = &comparison->words;

	if (words->count == WORDS_ARGUMENTS)
		return;
	/* NUMBER|all and SERVICE... are asked for as NUMBER and SERVICE. */
	snprintf(words->arguments[words->count].name, sizeof(words->arguments[0].name), "%.*s",
	         (int)strcspn(token->text, "|."), token->text);
	words->arguments[words->count++].value = word;
}

static void expect(struct comparison *comparison, const struct token *token)
{
	if (comparison->expected_count < MOST_TOKENS)
		comparison->expected[comparison->expected_count++] = token->text;
}

/* One group (or, with 0, the tokens outside of groups): whether the words from here on fit it as a whole. */
static bool compare_group(struct comparison *comparison, int group, char *const *argv, size_t argc)
{
	size_t start = comparison->consumed;
	bool is_exact;

	for (size_t i = 0; i < comparison->token_count; i++) {
		const struct token *token = &comparison->tokens[i];

		if (token->group != group)
			continue;
		do {
			if (comparison->consumed == argc ||
			    !fits(token, argv[comparison->consumed], &is_exact)) {
				expect(comparison, token);
				return group && comparison->consumed == start;
			}
			if (group || is_argument(token))
				keep(comparison, token, argv[comparison->consumed]);
			comparison->exact += is_exact;
			comparison->consumed++;
		} while (takes_all(token) && comparison->consumed < argc);
	}
	return true;
}

/* Groups that begin with a keyword first: "brief" is a keyword before it is the name of an interface. */
static bool compare_groups(struct comparison *comparison, char *const *argv, size_t argc)
{
	bool is_used[MOST_TOKENS + 1] = {false}, has_moved = true;

	while (has_moved && comparison->consumed < argc) {
		has_moved = false;
		comparison->expected_count = 0;
		for (int pass = 0; pass < 2 && !has_moved; pass++) {
			for (size_t i = 0; i < comparison->token_count && !has_moved; i++) {
				const struct token *token = &comparison->tokens[i];
				bool is_first = i == 0 || token[-1].group != token->group;
				size_t before = comparison->consumed;

				if (token->group == 0 || !is_first || is_used[token->group] ||
				    is_argument(token) != (pass == 1))
					continue;
				if (!compare_group(comparison, token->group, argv, argc))
					return false;
				has_moved = comparison->consumed > before;
				is_used[token->group] = has_moved;
			}
		}
	}
	return comparison->consumed == argc;
}

static void compare(const char *pattern, char *const *argv, size_t argc,
                    struct comparison *comparison)
{
	*comparison = (struct comparison){0};
	split_pattern(pattern, comparison);
	comparison->is_complete = compare_group(comparison, 0, argv, argc) &&
	                          compare_groups(comparison, argv, argc);
}

const char *words_get(const struct words *words, const char *name)
{
	for (size_t i = 0; i < words->count; i++)
		if (strcmp(words->arguments[i].name, name) == 0)
			return words->arguments[i].value;
	return NULL;
}

bool words_has(const struct words *words, const char *keyword)
{
	return words_get(words, keyword) != NULL;
}

bool words_begin(const char *pattern, char *const *argv, size_t argc)
{
	struct comparison comparison;

	compare(pattern, argv, argc, &comparison);
	return comparison.consumed == argc;
}

static size_t add_unique(char texts[][32], const char **list, size_t count, const char *text)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(list[i], text) == 0)
			return count;
	if (count == MOST_WORDS)
		return count;
	snprintf(texts[count], 32, "%s", text);
	list[count] = texts[count];
	return count + 1;
}

/* The commands that went furthest say what was expected. */
static void explain(const char *const *patterns, size_t count, char *const *argv, size_t argc,
                    char *why, size_t why_size)
{
	struct comparison comparison;
	char texts[MOST_WORDS][sizeof(comparison.tokens[0].text)];
	const char *expected[MOST_WORDS], *near;
	size_t furthest = 0, expected_count = 0, used = 0;

	for (size_t i = 0; i < count; i++) {
		compare(patterns[i], argv, argc, &comparison);
		if (comparison.consumed > furthest)
			furthest = comparison.consumed;
	}
	for (size_t i = 0; i < count; i++) {
		compare(patterns[i], argv, argc, &comparison);
		for (size_t j = 0; comparison.consumed == furthest && j < comparison.expected_count;
		     j++)
			expected_count = add_unique(texts, expected, expected_count,
			                            comparison.expected[j]);
	}
	if (furthest < argc)
		used += (size_t)snprintf(why, why_size, "'%s' is not understood", argv[furthest]);
	else
		used += (size_t)snprintf(why, why_size, "the command is not complete");
	for (size_t i = 0; i < furthest && used < why_size; i++)
		used += (size_t)snprintf(why + used, why_size - used, "%s%s", i ? " " : " after '",
		                         argv[i]);
	if (furthest && used < why_size)
		used += (size_t)snprintf(why + used, why_size - used, "'");
	for (size_t i = 0; i < expected_count && used < why_size; i++)
		used += (size_t)snprintf(why + used, why_size - used, "%s%s",
		                         i == 0                    ? ": expected "
		                         : i + 1 == expected_count ? " or "
		                                                   : ", ",
		                         expected[i]);
	near = furthest < argc ? suggest_word(argv[furthest], expected, expected_count) : NULL;
	if (near && used < why_size)
		snprintf(why + used, why_size - used, "; did you mean '%s'?", near);
}

int words_match(const char *const *patterns, size_t count, char *const *argv, size_t argc,
                struct words *words, char *why, size_t why_size)
{
	struct comparison comparison, best = {0};
	int found = -1, rival = -1;

	for (size_t i = 0; i < count; i++) {
		compare(patterns[i], argv, argc, &comparison);
		if (!comparison.is_complete)
			continue;
		if (found >= 0 && comparison.exact == best.exact) {
			rival = (int)i;
		} else if (found < 0 || comparison.exact > best.exact) {
			best = comparison;
			found = (int)i;
			rival = -1;
		}
	}
	if (found >= 0 && rival < 0) {
		*words = best.words;
		return found;
	}
	if (found >= 0)
		snprintf(why, why_size, "ambiguous: it can be '%s' or '%s'", patterns[found],
		         patterns[rival]);
	else
		explain(patterns, count, argv, argc, why, why_size);
	return -1;
}
