/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who calls, and whether he is served. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/sip-agent/identity.h"

static struct config_line lines[] = {
	{.number = "0388881001",
         .country_code = "81",
         .trunk_prefix = "0",
         .caller_identity = CALLER_ASSERTED},
	{.number = "0388881002",
         .country_code = "81",
         .trunk_prefix = "0",
         .caller_identity = CALLER_FROM},
};
static struct config_peer peers[] = {
	{.number = "0388882001", .tunnel = "vsip1", .line = &lines[0]},
	{.number = "0388882002", .tunnel = "vsip2", .line = &lines[1]},
};
static struct config config = {.lines = lines, .line_count = 2, .peers = peers, .peer_count = 2};

#define SIP    "sip:0388882001@carrier.example"
#define GLOBAL "sip:+81-3-8888-2001@carrier.example;user=phone"
#define TEL    "tel:+81388882001"
#define OTHER  "sip:0388882002@carrier.example"

static void each_claim_has_its_verdict(void **state)
{
	static const struct {
		size_t line;
		struct identity_claim claim;
		enum identity_verdict verdict;
	} cases[] = {
		{0, {.asserted = {SIP}, .asserted_count = 1}, IDENTITY_ACCEPTED},
		{0, {.asserted = {GLOBAL}, .asserted_count = 1}, IDENTITY_ACCEPTED},
		{0, {.asserted = {TEL}, .asserted_count = 1}, IDENTITY_ACCEPTED},
		{0, {.asserted = {SIP, TEL}, .asserted_count = 2}, IDENTITY_ACCEPTED},
		{0, {.asserted = {TEL, GLOBAL}, .asserted_count = 2}, IDENTITY_ACCEPTED},
		{0, {.asserted = {SIP, SIP}, .asserted_count = 2}, IDENTITY_UNUSABLE},
		{0, {.asserted = {SIP, "tel:0388882002"}, .asserted_count = 2}, IDENTITY_UNUSABLE},
		{0, {.asserted = {SIP, TEL, TEL}, .asserted_count = 3}, IDENTITY_UNUSABLE},
		{0, {.asserted = {""}, .asserted_count = 1}, IDENTITY_UNUSABLE},
		{0,
	         {.asserted = {"sip:alice@carrier.example"}, .asserted_count = 1},
	         IDENTITY_UNUSABLE},
		{0, {.asserted = {"sip:0388882001"}, .asserted_count = 1}, IDENTITY_UNUSABLE},
		{0,
	         {.asserted = {"sip:+44388882001@carrier.example"}, .asserted_count = 1},
	         IDENTITY_UNUSABLE},
		{0,
	         {.asserted = {"sip:anonymous@anonymous.invalid"}, .asserted_count = 1},
	         IDENTITY_WITHHELD},
		{0,
	         {.asserted = {"sip:0388882001@anonymous.invalid"}, .asserted_count = 1},
	         IDENTITY_WITHHELD},
		{0, {.asserted_count = 0}, IDENTITY_WITHHELD},
		{0, {.asserted = {OTHER}, .asserted_count = 1}, IDENTITY_UNKNOWN},
		{0,
	         {.asserted = {"sip:0399999999@carrier.example"}, .asserted_count = 1},
	         IDENTITY_UNKNOWN},
		/* From is the caller's own word: only by configuration, and never against the network's. */
		{0, {.from = SIP}, IDENTITY_WITHHELD},
		{1, {.from = OTHER}, IDENTITY_ACCEPTED},
		{1, {.from = "sip:anonymous@anonymous.invalid"}, IDENTITY_WITHHELD},
		{1, {.asserted = {SIP}, .asserted_count = 1, .from = OTHER}, IDENTITY_UNKNOWN},
	};
	char number[NUMBER_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum identity_verdict verdict = identity_judge(&config, &lines[cases[i].line],
		                                               &cases[i].claim, number);

		if (verdict != cases[i].verdict)
			fail_msg("case %zu: verdict %d", i, verdict);
		if (verdict == IDENTITY_ACCEPTED)
			assert_string_equal(number, peers[cases[i].line].number);
		if (verdict == IDENTITY_WITHHELD || verdict == IDENTITY_UNUSABLE)
			assert_string_equal(number, "");
	}
}

static void the_called_number_counts_where_it_is_read(void **state)
{
	struct identity_claim claim = {.asserted = {SIP},
	                               .asserted_count = 1,
	                               .called_party = "sip:0388889999@carrier.example"};
	char number[NUMBER_SIZE];

	(void)state;
	assert_int_equal(identity_judge(&config, &lines[0], &claim, number), IDENTITY_ACCEPTED);
	lines[0].reads_called_party = CHOICE_YES;
	assert_int_equal(identity_judge(&config, &lines[0], &claim, number), IDENTITY_NOT_OURS);
	claim.called_party = "tel:+81-3-8888-1001";
	assert_int_equal(identity_judge(&config, &lines[0], &claim, number), IDENTITY_ACCEPTED);
	claim.called_party = NULL;
	claim.to = "sip:0388889999@carrier.example";
	assert_int_equal(identity_judge(&config, &lines[0], &claim, number), IDENTITY_NOT_OURS);
	claim.to = "sip:a1b2c3d4e5f6@198.51.100.10";
	assert_int_equal(identity_judge(&config, &lines[0], &claim, number), IDENTITY_ACCEPTED);
	lines[0].reads_called_party = CHOICE_NO;
}

static int index_config(void **state)
{
	(void)state;
	return config_index(&config) ? 0 : -1;
}

static int free_index(void **state)
{
	(void)state;
	config_free_index(&config);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_claim_has_its_verdict),
		cmocka_unit_test(the_called_number_counts_where_it_is_read),
	};

	return cmocka_run_group_tests(tests, index_config, free_index);
}
