/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The examples and the reference of the configuration are true. */
#include "config_fixture.h"
#include "services/common/config_internal.h"

static void test_examples(void **state)
{
	static const char *const examples[] = {"branch.conf", "headend.conf"};

	(void)state;
	for (size_t i = 0; i < COUNT(examples); i++) {
		struct findings findings = {0};
		char path[512];
		struct config *config;
		struct config_keyring *keyring;

		snprintf(path, sizeof(path), SOURCE_DIRECTORY "/deploy/examples/%s", examples[i]);
		config = config_load(path, collect, &findings);
		assert_string_equal(findings.text, "");
		assert_non_null(config);
		keyring = config_load_keyring(SOURCE_DIRECTORY "/deploy/examples/ike.keyring",
		                              collect, &findings);
		assert_non_null(keyring);
		assert_string_equal(findings.text, "");
		config_free_keyring(keyring);
		expect_round_trip(config);
	}
}

/* The reference's example must stay true. */
static void test_documented_example(void **state)
{
	FILE *stream = fopen(SOURCE_DIRECTORY "/docs/configuration.md", "re");
	char line[512], *text = NULL;
	size_t size;
	FILE *example = open_memstream(&text, &size);
	bool is_inside = false, is_done = false;
	struct findings findings;
	struct config *config;

	(void)state;
	assert_non_null(stream);
	while (fgets(line, sizeof(line), stream) && !is_done) {
		if (strncmp(line, "```", 3) == 0) {
			is_done = is_inside;
			is_inside = !is_inside;
		} else if (is_inside) {
			fputs(line, example);
		}
	}
	fclose(stream);
	fclose(example);
	config = load(text, &findings);
	if (!config)
		fail_msg("%s", findings.text);
	config_free(config);
	free(text);
}

static void expect_documented(const char *reference, const struct config_option *options)
{
	char row[64];

	for (; options->name; options++) {
		snprintf(row, sizeof(row), "| `%s` | ", options->name);
		if (!strstr(reference, row))
			fail_msg("docs/configuration.md has no row for %s", options->name);
	}
}

/* The section of the reference that begins with this heading, up to the next one. */
static char *read_reference(const char *heading)
{
	FILE *stream = fopen(SOURCE_DIRECTORY "/docs/configuration.md", "re");
	char line[1024], *text = NULL;
	size_t size, length = strlen(heading);
	FILE *part = open_memstream(&text, &size);
	bool is_inside = false;

	assert_non_null(stream);
	while (fgets(line, sizeof(line), stream)) {
		if (strncmp(line, "## ", 3) == 0)
			is_inside = strncmp(line + 3, heading, length) == 0 &&
			            strchr(" \n", line[3 + length]) != NULL;
		if (is_inside)
			fputs(line, part);
	}
	fclose(stream);
	fclose(part);
	return text;
}

static void test_every_option_is_documented(void **state)
{
	char *reference = read_reference("Options outside of sections");

	(void)state;
	expect_documented(reference, config_root_options);
	free(reference);
	for (size_t i = 0; i < config_section_count; i++) {
		reference = read_reference(config_sections[i].name);
		expect_documented(reference, config_sections[i].options);
		free(reference);
	}
	reference = read_reference("timers");
	expect_documented(reference, config_timer_options());
	free(reference);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_examples),
		cmocka_unit_test(test_documented_example),
		cmocka_unit_test(test_every_option_is_documented),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
