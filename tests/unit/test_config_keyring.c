/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Keyrings and the rules of certificates: what is accepted, which key is whose, what is weak. */
#include "config_fixture.h"
#include "services/common/certificate_map.h"

static struct config_keyring *load_keyring(const char *text, struct findings *findings)
{
	struct config_keyring *keyring;
	char path[64];

	*findings = (struct findings){0};
	write_temporary(path, text);
	keyring = config_load_keyring(path, collect, findings);
	unlink(path);
	return keyring;
}

static void test_keyring(void **state)
{
	struct findings findings;
	struct config_keyring *keyring = load_keyring(
		"peer \"a\" { identity-key-id = \"1\" pre-shared-key = 'a\"${HOME}b' }\n"
		"peer \"b\" { identity-fqdn = \"example.com\" pre-shared-key = \"x\" }\n",
		&findings);

	(void)state;
	assert_non_null(keyring);
	assert_int_equal(keyring->key_count, 1);
	assert_string_equal(keyring->keys[0].key_id, "1");
	assert_int_equal(keyring->keys[0].key_size, 10);
	assert_memory_equal(keyring->keys[0].key, "a\"${HOME}b", 10);
	assert_string_equal(findings.text,
	                    "2 other: peer \"b\" is skipped: only identity-key-id and identity-any "
	                    "are used\n");
	config_free_keyring(keyring);
	assert_null(load_keyring("peer a { identity-key-id = 1 pre-shared-key = secret }\n"
	                         "peer b { identity-key-id = 1 pre-shared-key = secret }\n",
	                         &findings));
	assert_string_equal(findings.text, "2 error: identity \"1\" already has a key in line 1\n");
	assert_null(load_keyring("peer a { identity-key-id = 1 }", &findings));
	assert_string_equal(findings.text, "1 error: peer \"a\": pre-shared-key is missing\n");
	/* No finding shows a key. */
	assert_null(load_keyring("peer a { identity-key-id = 1 pre-shared-key \"topsecret\" }",
	                         &findings));
	assert_null(strstr(findings.text, "topsecret"));
}

/* One key for all numbers; a number's own goes before it. */
static void test_wildcard_key(void **state)
{
	struct findings findings;
	struct config_keyring *keyring =
		load_keyring("peer all { identity-any = true pre-shared-key = common }\n"
	                     "peer one { identity-key-id = 0388882001 pre-shared-key = own }\n",
	                     &findings);

	(void)state;
	assert_non_null(keyring);
	assert_memory_equal(config_key_for(keyring, "0388882001")->key, "own", 3);
	assert_memory_equal(config_key_for(keyring, "0388884001")->key, "common", 6);
	config_free_keyring(keyring);
	assert_null(load_keyring(
		"peer a { identity-any = true identity-key-id = 1 pre-shared-key = x }",
		&findings));
	assert_null(load_keyring("peer a { identity-any = yes pre-shared-key = x }", &findings));
	assert_null(load_keyring("peer a { identity-any = true pre-shared-key = x }\n"
	                         "peer b { identity-any = true pre-shared-key = y }\n",
	                         &findings));
	assert_string_equal(findings.text, "2 error: identity \"*\" already has a key in line 1\n");
	keyring = load_keyring("peer one { identity-key-id = 1 pre-shared-key = own }", &findings);
	assert_non_null(keyring);
	assert_null(config_key_for(keyring, "2"));
	config_free_keyring(keyring);
}

static void test_certificate_rules(void **state)
{
	static const char *const names[] = {"C=JP, O=Bank, OU=Branches, CN=branch1"};
	static const char *const alternatives[] = {"branch1.example", "192.0.2.5"};
	static const struct {
		const char *rule;
		bool holds;
	} rules[] = {
		{"co ou=branches", true},
		{"co OU = Branches, cn = branch1", true},
		{"co ou=head", false},
		{"nc ou=head", true},
		{"nc branch", false},
		{"eq c=jp,o=bank,ou=branches,cn=branch1", true},
		{"eq cn=branch1", false},
		{"ne cn=branch1", true},
		{"ne C=JP, O=Bank, OU=Branches, CN=branch1", false},
		{"xx branch", false},
		{"co", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rules); i++) {
		assert_int_equal(certificate_rule_holds(rules[i].rule, names, 1), rules[i].holds);
		assert_int_equal(!certificate_rule_fault(rules[i].rule), i < COUNT(rules) - 3);
	}
	assert_true(certificate_rule_holds("eq 192.0.2.5", alternatives, 2));
	assert_false(certificate_rule_holds("ne 192.0.2.5", alternatives, 2));
	assert_false(certificate_rule_holds("co example", NULL, 0));
	assert_true(certificate_rule_holds("nc example", NULL, 0));
}

static void test_key_strength(void **state)
{
	static const struct {
		const char *key;
		bool is_weak;
	} keys[] = {
		{"cisco123", true},
		{"0123456789012345678901234567890123456789", true},
		{"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", true},
		{"6f1d2c9be07a45d3", true},                    /* 64 bits */
		{"6f1d2c9be07a45d36f1d2c9be07a45d3a7", false}, /* 136 bits */
		{"mGzJ8sR2pWqYk5TnX0bVhL4cEfUaDo9i", false},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++)
		assert_int_equal(config_estimate_key_bits((const uint8_t *)keys[i].key,
		                                          strlen(keys[i].key)) < 128,
		                 keys[i].is_weak);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keyring),
		cmocka_unit_test(test_wildcard_key),
		cmocka_unit_test(test_certificate_rules),
		cmocka_unit_test(test_key_strength),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
