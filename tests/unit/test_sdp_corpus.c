/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every description of tests/sip/sdp against the verdict that its table has. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/sdp.h"

#define CORPUS SOURCE_DIRECTORY "/tests/sip/sdp/"

struct row {
	char name[64], kind[32], allowed[32], verdict[16];
	unsigned warning;
};

static bool read_row(FILE *table, struct row *row)
{
	char line[256];

	while (fgets(line, sizeof(line), table)) {
		row->warning = 0;
		if (line[0] != '#' && sscanf(line, "%63s %31s %31s %15s %u", row->name, row->kind,
		                             row->allowed, row->verdict, &row->warning) >= 4)
			return true;
	}
	return false;
}

static bool is_accepted(const struct row *row, const char *text, size_t size,
                        struct sdp_problem *problem)
{
	const struct sdp_policy policy = {
		.subject = strstr(row->allowed, "certificate") ? SDP_CERTIFICATE
	                                                       : SDP_PRE_SHARED_KEY,
		.takes_plain_for_key = strstr(row->allowed, "plain"),
		.allows_sha1 = strstr(row->allowed, "sha1"),
		.preferred_hash = "",
	};
	static const char answer[] = "answer-to-";
	struct sdp_description description;
	struct sdp_tunnel tunnel;
	size_t index;
	bool is_ok = sdp_read(text, size, &description, problem);

	if (is_ok && strcmp(row->kind, "offer") == 0) {
		is_ok = sdp_check_offer(&description, &tunnel, &index, problem);
	} else if (is_ok) {
		const char *offered = row->kind + sizeof(answer) - 1;

		assert_memory_equal(row->kind, answer, sizeof(answer) - 1);
		is_ok = sdp_check_answer(&description,
		                         strcmp(offered, "active") == 0    ? SDP_ACTIVE
		                         : strcmp(offered, "passive") == 0 ? SDP_PASSIVE
		                                                           : SDP_ACTPASS,
		                         &tunnel, problem);
	}
	return is_ok && sdp_apply_policy(&tunnel, &policy, problem);
}

static void check_row(const struct row *row)
{
	char path[512], text[SDP_TEXT_SIZE * 2], said[32];
	struct sdp_problem problem;
	bool is_ok;

	snprintf(path, sizeof(path), CORPUS "%s.sdp", row->name);
	FILE *file = fopen(path, "r");
	if (!file)
		fail_msg("%s is missing", path);
	size_t size = fread(text, 1, sizeof(text), file);
	fclose(file);
	is_ok = is_accepted(row, text, size, &problem);
	if (is_ok)
		problem = (struct sdp_problem){.text = "accepted"};
	snprintf(said, sizeof(said), is_ok ? "accept" : "%u", problem.sip_status);
	if (strcmp(said, row->verdict) != 0 || problem.warning_code != row->warning)
		fail_msg("%s: %s %u (%s) instead of %s %u", row->name, said, problem.warning_code,
		         problem.text, row->verdict, row->warning);
}

static void every_description_gets_its_verdict(void **state)
{
	FILE *table = fopen(CORPUS "verdicts", "r");
	struct row row;
	size_t count = 0, files = 0;

	(void)state;
	assert_non_null(table);
	for (; read_row(table, &row); count++)
		check_row(&row);
	fclose(table);
	DIR *directory = opendir(CORPUS);
	for (const struct dirent *entry; (entry = readdir(directory));)
		files += strstr(entry->d_name, ".sdp") != NULL;
	closedir(directory);
	assert_int_equal(count, files);
	assert_true(count > 80);
}

/* RFC 8122 section 5.1: one hash is chosen among those shown, and only its values count. */
static void the_preferred_hash_is_compared(void **state)
{
	static const char *const shown[] = {"SHA-1", "SHA-512", "SHA-256", "SHA-256"};
	struct sdp_policy policy = {.subject = SDP_PRE_SHARED_KEY, .preferred_hash = ""};
	struct sdp_tunnel all = {.fingerprint_count = 4}, tunnel;
	struct sdp_problem problem;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		all.fingerprints[i].subject = SDP_PRE_SHARED_KEY;
		all.fingerprints[i].size = sdp_hash_size(shown[i], strlen(shown[i]));
		all.fingerprints[i].value[0] = (uint8_t)i;
		snprintf(all.fingerprints[i].hash, sizeof(all.fingerprints[i].hash), "%s",
		         shown[i]);
	}
	tunnel = all;
	assert_true(sdp_apply_policy(&tunnel, &policy, &problem));
	assert_int_equal(tunnel.fingerprint_count, 2);
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-256");
	assert_int_equal(tunnel.fingerprints[1].value[0], 3);
	/* the pin's */
	policy.preferred_hash = "SHA-512";
	tunnel = all;
	assert_true(sdp_apply_policy(&tunnel, &policy, &problem));
	assert_int_equal(tunnel.fingerprint_count, 1);
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-512");
	/* SHA-1 comes last even where it is allowed, and a pin of it does not allow it */
	policy = (struct sdp_policy){SDP_PRE_SHARED_KEY, false, true, ""};
	tunnel = all;
	assert_true(sdp_apply_policy(&tunnel, &policy, &problem));
	assert_string_equal(tunnel.fingerprints[0].hash, "SHA-256");
	policy = (struct sdp_policy){SDP_PRE_SHARED_KEY, false, false, "SHA-1"};
	all.fingerprint_count = 1;
	assert_false(sdp_apply_policy(&all, &policy, &problem));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_description_gets_its_verdict),
		cmocka_unit_test(the_preferred_hash_is_compared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
