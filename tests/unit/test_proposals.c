/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Proposals by strongSwan's notation, by the field's names, and what the check of a configuration says of weak ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/proposals.h"

static struct config_ike_proposal suites[] = {
	{.name = "strong",
         .encryption = "aes-cbc-256 aes-cbc-128",
         .integrity = "sha384 sha256",
         .group = "20 14"},
	{.name = "mixed",
         .encryption = "aes-gcm-256 aes-cbc-128",
         .integrity = "sha256",
         .group = "19"},
	{.name = "aead", .encryption = "aes-gcm-128", .group = "31"},
	{.name = "aead-prf", .encryption = "chacha20-poly1305", .prf = "sha512", .group = "21"},
	{.name = "old", .encryption = "3des", .integrity = "md5 sha1", .group = "2 5"},
};

static struct config_transform_set sets[] = {
	{.name = "gcm", .encryption = "esp-gcm 256"},
	{.name = "cbc", .encryption = "esp-aes  192", .integrity = "esp-sha512-hmac"},
	{.name = "sha1", .encryption = "esp-aes", .integrity = "esp-sha-hmac"},
};

static const struct config config = {
	.ike_proposals = suites,
	.ike_proposal_count = sizeof(suites) / sizeof(suites[0]),
	.transform_sets = sets,
	.transform_set_count = sizeof(sets) / sizeof(sets[0]),
};

/** The list in strongSwan's notation, comma separated; the sentence if it is refused. */
static const char *join(bool is_good, const struct proposal_list *list, const char *why)
{
	static char text[PROPOSALS_MAX * PROPOSAL_NOTATION_SIZE];
	char one[PROPOSAL_NOTATION_SIZE];
	size_t used = 0;

	if (!is_good)
		return why;
	for (size_t i = 0; i < list->count; i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s", i ? "," : "",
		                         proposal_write(&list->items[i], one));
	return text;
}

static const char *ike(const char *proposals)
{
	const struct config_ike_profile profile = {.proposals = (char *)proposals};
	static char why[256];
	struct proposal_list list;

	return join(proposals_of_ike_profile(&config, &profile, &list, why, sizeof(why)), &list,
	            why);
}

static const char *esp(const char *proposals, const char *pfs)
{
	const struct config_ipsec_profile profile = {.proposals = (char *)proposals,
	                                             .pfs = (char *)pfs};
	static char why[256];
	struct proposal_list list;

	return join(proposals_of_ipsec_profile(&config, &profile, &list, why, sizeof(why)), &list,
	            why);
}

static void test_notation(void **state)
{
	(void)state;
	assert_string_equal(ike("aes128-sha256-ecp256,aes128-sha256-modp2048"),
	                    "aes128-sha256-prfsha256-ecp256,aes128-sha256-prfsha256-modp2048");
	assert_string_equal(ike(" aes256gcm16-prfsha384-ecp384 , aes-sha-modp2048"),
	                    "aes256gcm16-prfsha384-ecp384,aes128-sha1-prfsha1-modp2048");
	assert_string_equal(ike("aes128gcm128-sha512-x25519"), "aes128gcm16-prfsha512-curve25519");
	assert_string_equal(esp("aes128gcm16,aes128-sha256", NULL), "aes128gcm16,aes128-sha256");
	assert_string_equal(esp("aes128gcm16-ecp256-esn", NULL), "aes128gcm16-ecp256-esn");
}

static void test_sections(void **state)
{
	(void)state;
	assert_string_equal(ike("strong"),
	                    "aes256-aes128-sha384-sha256-prfsha384-prfsha256-ecp384-modp2048");
	/* RFC 5282 section 8: an AEAD and another cipher are two proposals. */
	assert_string_equal(ike("mixed,aes128-sha256-ecp256"),
	                    "aes256gcm16-prfsha256-ecp256,aes128-sha256-prfsha256-ecp256,"
	                    "aes128-sha256-prfsha256-ecp256");
	assert_string_equal(ike("aead"), "aes128gcm16-prfsha256-curve25519");
	assert_string_equal(ike("aead-prf"), "chacha20poly1305-prfsha512-ecp521");
	assert_string_equal(ike("old"), "3des-md5-sha1-prfmd5-prfsha1-modp1024-modp1536");
	assert_string_equal(esp("gcm, cbc", NULL), "aes256gcm16,aes192-sha512");
}

static void test_forward_secrecy(void **state)
{
	(void)state;
	assert_string_equal(esp("gcm,aes128-sha256-modp2048", "group19"),
	                    "aes256gcm16-ecp256,aes128-sha256-modp2048");
	assert_string_equal(esp("gcm", "14"), "aes256gcm16-modp2048");
	assert_string_equal(esp("gcm", "group91"),
	                    "pfs = \"group91\" is not understood; did you mean 'group1'?");
}

static void test_refused(void **state)
{
	(void)state;
	assert_string_equal(ike("aes128-sha256"),
	                    "IKE proposal \"aes128-sha256\" names no Diffie-Hellman group");
	assert_string_equal(ike("aes128-ecp256"),
	                    "IKE proposal \"aes128-ecp256\" names no integrity algorithm");
	assert_string_equal(ike("sha256-ecp256"),
	                    "IKE proposal \"sha256-ecp256\" names no encryption algorithm");
	assert_string_equal(ike("aes129-sha256-ecp256"),
	                    "IKE proposal \"aes129-sha256-ecp256\": \"aes129\" is not understood; "
	                    "did you mean 'aes128'?");
	assert_string_equal(ike("strnog"), "IKE proposal \"strnog\": \"strnog\" is not understood");
	assert_string_equal(ike(""), "no proposal is named");
	assert_string_equal(ike(" , "), "no proposal is named");
	assert_string_equal(esp("3des-md5", NULL),
	                    "ESP proposal \"3des-md5\": 3DES has no place in ESP");
	assert_string_equal(esp("aes128", NULL),
	                    "ESP proposal \"aes128\" names no integrity algorithm");
	assert_string_equal(esp("aes128-sha256-prfsha256", NULL),
	                    "ESP proposal \"aes128-sha256-prfsha256\": SHA256 has no place in ESP");
	assert_string_equal(ike("aes128-sha256-ecp256-esn"),
	                    "IKE proposal \"aes128-sha256-ecp256-esn\": ESN has no place in IKE");
}

static void test_too_much(void **state)
{
	char many[PROPOSALS_MAX * 24 + 64];
	size_t length = 0;

	(void)state;
	for (int i = 0; i <= PROPOSALS_MAX; i++)
		length += (size_t)snprintf(many + length, sizeof(many) - length,
		                           "aes128-sha256-ecp256,");
	assert_string_equal(ike(many), "more than 16 proposals");
	assert_string_equal(
		ike("aes128-aes192-aes256-3des-sha256-sha384-sha512-sha1-md5-modp768-modp1024-"
	            "modp1536-modp2048-modp3072-modp4096-modp6144-modp8192-ecp256-ecp384-ecp521-"
	            "modp1024s160-modp2048s256-curve25519-esn-noesn"),
		"a proposal of more than 24 algorithms");
}

static void test_weakness(void **state)
{
	static const char *const weak[] = {
		"3des-sha256-ecp256",           "aes128-md5-prfsha256-ecp256",
		"aes128-sha1-ecp256",           "aes128-sha256-modp768",
		"aes128-sha256-modp1024",       "aes128-sha256-modp1536",
		"aes128-sha256-prfsha1-ecp256",
	};
	struct config_ike_profile profile = {.proposals = "aes128-sha256-modp2048"};
	struct proposal_list list;
	char why[256];

	(void)state;
	assert_true(proposals_of_ike_profile(&config, &profile, &list, why, sizeof(why)));
	assert_null(proposal_weakness(&list.items[0]));
	for (size_t i = 0; i < sizeof(weak) / sizeof(weak[0]); i++) {
		profile.proposals = (char *)weak[i];
		assert_true(proposals_of_ike_profile(&config, &profile, &list, why, sizeof(why)));
		assert_non_null(proposal_weakness(&list.items[0]));
	}
}

/* --- the check of a file --- */

static char reported[4096];

static void note(void *context, int level, const char *file, int line, const char *text)
{
	size_t used = strlen(reported);

	(void)context;
	(void)file;
	snprintf(reported + used, sizeof(reported) - used, "%d:%s: %s\n", line,
	         level <= 3 ? "error" : "warning", text);
}

/** What the check says of these lines; the second profile's idle-time is there. */
static bool check(const char *lines)
{
	char name[] = "/tmp/vpnsip-test-proposals-XXXXXX";
	int descriptor = mkstemp(name);
	FILE *file = fdopen(descriptor, "w");
	struct config *read;

	assert_non_null(file);
	fprintf(file, "tunnel-source = \"10.255.0.1\"\n%s", lines);
	fclose(file);
	reported[0] = '\0';
	read = config_load(name, note, NULL);
	unlink(name);
	config_free(read);
	return read != NULL;
}

static void assert_said(const char *sentence)
{
	if (!strstr(reported, sentence))
		fail_msg("not said: %s\nbut: %s", sentence, reported);
}

static void test_check(void **state)
{
	(void)state;
	assert_false(check("ike-profile \"p\" {\n  proposals = \"aes128-sha256-modp1024\"\n}\n"));
	assert_said("2:error: weaker dh-group is deprecated: MODP-1024; write allow-weak = true");
	assert_true(check("ike-profile \"p\" {\n  allow-weak = true\n"
	                  "  proposals = \"3des-sha1-modp1024\"\n}\n"));
	assert_said("2:warning: weaker dh-group is deprecated: MODP-1024");
	assert_said("2:warning: weaker encryption is deprecated: 3DES");
	assert_said("2:warning: weaker integrity is deprecated: SHA1");
	assert_false(check("ike-proposal \"old\" {\n  encryption = \"aes-cbc-128\"\n"
	                   "  integrity = \"sha1\"\n  group = \"14\"\n}\n"
	                   "ike-profile \"p\" {\n  proposals = \"old\"\n}\n"));
	assert_said("7:error: weaker integrity is deprecated: SHA1");
	assert_false(check("ike-proposal \"odd\" {\n  encryption = \"aes-cbc-129\"\n"
	                   "  integrity = \"sha256\"\n  group = \"14\"\n}\n"));
	assert_said("2:error: encryption \"aes-cbc-129\" is not understood; did you mean "
	            "'aes-cbc-128'?");
	assert_false(check("ike-proposal \"odd\" {\n  encryption = \"aes-cbc-128\"\n"
	                   "  integrity = \"sha256\"\n  group = \"13\"\n}\n"));
	assert_said("2:error: group \"13\" is not understood");
	assert_false(check("transform-set \"odd\" {\n  encryption = \"esp-aes 256\"\n}\n"));
	assert_said("2:error: transform-set \"odd\" names no integrity algorithm");
	assert_false(check("ipsec-profile \"p\" {\n  idle-time = 60\n"
	                   "  proposals = \"aes128-sha1\"\n}\n"));
	assert_said("2:error: weaker integrity is deprecated: SHA1");
	assert_true(check("ipsec-profile \"p\" {\n  idle-time = 60\n  allow-weak = true\n"
	                  "  proposals = \"aes128-sha1\"\n}\n"));
}

static void test_check_fragmentation(void **state)
{
	(void)state;
	assert_false(check("trustpoint \"t\" {\n  certificate-file = \"/a\"\n  key-file = \"/b\"\n"
	                   "}\nike-profile \"p\" {\n  authentication = self-signed\n"
	                   "  trustpoint = \"t\"\n  fragmentation = false\n}\n"));
	assert_said("6:error: fragmentation = false: authentication by certificate needs it");
	assert_true(check("ike-profile \"p\" {\n  fragmentation = false\n}\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notation),        cmocka_unit_test(test_sections),
		cmocka_unit_test(test_forward_secrecy), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_too_much),        cmocka_unit_test(test_weakness),
		cmocka_unit_test(test_check),           cmocka_unit_test(test_check_fragmentation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
