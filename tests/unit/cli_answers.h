/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Words of the command line, answers of services made by hand, and the texts that the command line makes of them. */
#ifndef VPNSIP_TESTS_CLI_ANSWERS_H
#define VPNSIP_TESTS_CLI_ANSWERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/cli/commands.h"
#include "services/cli/show.h"
#include "services/cli/words.h"
#include "services/common/address.h"

#define NOW_USEC 1000000000ull
#define SECOND   1000000ull

static inline int match(const char *line, struct words *words, char *why)
{
	static char copy[256];
	const char *patterns[128];
	char *argv[16];
	size_t argc = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	for (size_t i = 0; i < command_count; i++)
		patterns[i] = commands[i].pattern;
	why[0] = '\0';
	return words_match(patterns, command_count, argv, argc, words, why, 512);
}

/* One answer of a service, put in place without a bus. */
struct answers {
	struct gathered gathered;
	Vpnsip__Envelope envelopes[VPNSIP__SERVICE__CLI], statuses[VPNSIP__SERVICE__CLI];
};

static inline Vpnsip__Envelope *answer(struct answers *answers, Vpnsip__Service service)
{
	Vpnsip__Envelope *envelope = &answers->envelopes[service];

	answers->gathered.now_mono_usec = NOW_USEC;
	answers->gathered.services[service].is_asked = true;
	answers->gathered.services[service].snapshot = envelope;
	vpnsip__envelope__init(envelope);
	return envelope;
}

static inline char *text_from(show_model_fn *build, show_text_fn *print,
                              const struct answers *answers, const char *line)
{
	struct words words = {0};
	struct show_input input = {.gathered = &answers->gathered, .words = &words};
	char why[512], *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;

	if (line)
		assert_true(match(line, &words, why) >= 0);
	model = build(&input);
	assert_non_null(model);
	print(stream, model);
	fclose(stream);
	json_decref(model);
	return text;
}

static inline void expect_text(show_model_fn *build, show_text_fn *print,
                               const struct answers *answers, const char *line,
                               const char *expected)
{
	char *text = text_from(build, print, answers, line);

	assert_string_equal(text, expected);
	free(text);
}

static const uint8_t wan_octets[] = {10, 6, 6, 50}, remote_octets[] = {10, 6, 6, 49};

static inline ProtobufCBinaryData octets(const uint8_t octets[4])
{
	return (ProtobufCBinaryData){.len = 4, .data = (uint8_t *)octets};
}

#endif
