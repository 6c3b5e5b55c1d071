/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Configurations from text, and what was said of them. */
#ifndef VPNSIP_TEST_CONFIG_FIXTURE_H
#define VPNSIP_TEST_CONFIG_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include <cmocka.h>

#include "services/common/config.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/** What was reported, as "line level: text" lines without the file's name. */
struct findings {
	char text[8192];
	size_t used;
	unsigned errors, warnings;
};

static inline void collect(void *context, int level, const char *file, int line, const char *text)
{
	struct findings *findings = context;

	(void)file;
	findings->errors += level == LOG_ERR;
	findings->warnings += level == LOG_WARNING;
	findings->used += (size_t)snprintf(findings->text + findings->used,
	                                   sizeof(findings->text) - findings->used, "%d %s: %s\n",
	                                   line, level == LOG_ERR ? "error" : "other", text);
	assert_true(findings->used < sizeof(findings->text));
}

static inline void write_temporary(char path[64], const char *text)
{
	int handle;

	snprintf(path, 64, "/tmp/vpnsip-test-XXXXXX");
	handle = mkstemp(path);
	assert_true(handle >= 0);
	assert_int_equal(write(handle, text, strlen(text)), strlen(text));
	close(handle);
}

static struct config *load(const char *text, struct findings *findings)
{
	struct config *config;
	char path[64];

	*findings = (struct findings){0};
	write_temporary(path, text);
	config = config_load(path, collect, findings);
	unlink(path);
	return config;
}

static inline char *print(const struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	config_print(config, stream);
	fclose(stream);
	return text;
}

static inline void expect_round_trip(struct config *config)
{
	struct findings findings;
	char *once, *twice;
	struct config *again;

	assert_non_null(config);
	once = print(config);
	again = load(once, &findings);
	if (!again)
		fail_msg("<%s> of <%s>", findings.text, once);
	twice = print(again);
	assert_string_equal(once, twice);
	free(once);
	free(twice);
	config_free(again);
	config_free(config);
}

#endif
