/* SPDX-License-Identifier: GPL-3.0-or-later */
/* docs/cli.md: each example is a command that exists, with options that it takes, and refused as it says; nothing is missing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/wait.h>
#include <unistd.h>

#include "services/cli/commands.h"

#define PROMPT     "$ vpnsip "
#define MOST_WORDS 24

static char *text; /* of the whole file */

/** An example and the line that follows it. */
struct example {
	char line[512], next[512];
	char *argv[MOST_WORDS];
	int argc;
};

static char *read_text(const char *path)
{
	FILE *stream = fopen(path, "re");
	char *octets = calloc(1, 1 << 20);

	assert_non_null(stream);
	assert_non_null(octets);
	assert_true(fread(octets, 1, (1 << 20) - 1, stream) > 0);
	fclose(stream);
	return octets;
}

/* As a shell would, as far as the examples need it. */
static void split(struct example *example)
{
	static char copy[512];
	char *at = copy;

	snprintf(copy, sizeof(copy), "%s", example->line);
	example->argc = 0;
	while (*(at += strspn(at, " ")) && example->argc + 1 < MOST_WORDS) {
		const char *end = *at == '\'' ? "'" : *at == '"' ? "\"" : " ";

		at += *end != ' ';
		example->argv[example->argc++] = at;
		at += strcspn(at, end);
		if (*at)
			*at++ = '\0';
	}
	example->argv[example->argc] = NULL;
}

static const char *next_example(const char *from, struct example *example)
{
	const char *at = strstr(from, "\n" PROMPT), *end;

	if (!at)
		return NULL;
	at += 3; /* vpnsip is its first word, as of any command line */
	end = strchr(at, '\n');
	snprintf(example->line, sizeof(example->line), "%.*s", (int)(end - at), at);
	snprintf(example->next, sizeof(example->next), "%.*s", (int)strcspn(end + 1, "\n"),
	         end + 1);
	split(example);
	return end;
}

/* What it says on standard error; it must not get as far as the services. */
static void run(const struct example *example, char *said, size_t size)
{
	char *argv[MOST_WORDS + 1];
	struct cli cli = {.bus = {.run_directory = "/nonexistent"}};
	int ends[2], first, status;
	size_t length = 0;
	ssize_t part;

	memcpy(argv, example->argv, sizeof(example->argv));
	assert_int_equal(pipe(ends), 0);
	if (fork() == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		status = options_read(example->argc, argv, &cli, &first)
		                 ? command_execute(&cli, argv + first,
		                                   (size_t)(example->argc - first))
		                 : 1;
		_exit(status);
	}
	close(ends[1]);
	while (length < size - 1 && (part = read(ends[0], said + length, size - 1 - length)) > 0)
		length += (size_t)part;
	said[length] = '\0';
	said[strcspn(said, "\n")] = '\0';
	close(ends[0]);
	wait(&status);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == CLI_FAILED);
}

/* An example is refused on purpose when the next line is a complaint, and not one of a service. */
static bool is_wrong_on_purpose(const struct example *example)
{
	return strncmp(example->next, "vpnsip: ", 8) == 0 &&
	       strcmp(example->argv[1], "call") != 0 && strcmp(example->argv[1], "purge") != 0;
}

static void check_example(const struct example *example)
{
	const char *patterns[128];
	char *argv[MOST_WORDS + 1], why[512] = "";
	struct words words;
	struct cli cli = {0};
	int found, first;

	memcpy(argv, example->argv, sizeof(example->argv));
	if (!options_read(example->argc, argv, &cli, &first))
		fail_msg("<%s>: its options are not known", example->line);
	for (size_t i = 0; i < command_count; i++)
		patterns[i] = commands[i].pattern;
	found = words_match(patterns, command_count, argv + first, (size_t)(example->argc - first),
	                    &words, why, sizeof(why));
	if (found < 0)
		fail_msg("<%s>: %s", example->line, why);
	for (size_t i = 0; i < cli.option_count; i++)
		if (!options_are_taken(commands[found].options, cli.options[i].name))
			fail_msg("<%s>: --%s is not taken", example->line, cli.options[i].name);
}

static void test_examples(void **state)
{
	struct example example;
	char said[512];
	int count = 0, wrong = 0;

	(void)state;
	for (const char *at = text; (at = next_example(at, &example)); count++) {
		if (!is_wrong_on_purpose(&example)) {
			check_example(&example);
			continue;
		}
		run(&example, said, sizeof(said));
		assert_string_equal(said, example.next);
		wrong++;
	}
	assert_true(count > 40 && wrong > 4);
}

/* The words of each command and the options of all stand somewhere in the text. */
static void test_nothing_is_missing(void **state)
{
	char name[64];

	(void)state;
	for (size_t i = 0; i < command_count; i++) {
		const char *at = commands[i].pattern;

		while (*(at += strspn(at, " []"))) {
			size_t length = strcspn(at, " []|.");

			snprintf(name, sizeof(name), "%.*s", (int)length, at);
			if (name[0] >= 'a' && name[0] <= 'z' && !strstr(text, name))
				fail_msg("'%s' of '%s' is not explained", name,
				         commands[i].pattern);
			at += strcspn(at, " []");
		}
	}
	for (size_t i = 0; i < command_option_count; i++) {
		snprintf(name, sizeof(name), "--%s", command_options[i].name);
		if (command_options[i].letter)
			snprintf(name, sizeof(name), "-%c", command_options[i].letter);
		if (!strstr(text, name))
			fail_msg("%s is not explained", name);
	}
}

static int begin(void **state)
{
	(void)state;
	text = read_text(SOURCE_DIRECTORY "/docs/cli.md");
	return 0;
}

static int end(void **state)
{
	(void)state;
	free(text);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_nothing_is_missing),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
