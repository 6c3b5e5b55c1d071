/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whom certificates name, which ciphers are used, when the clock is believed, and that the self-check passes here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "services/common/address.h"
#include "services/sip-agent/tls_interpose.h"
#include "services/sip-agent/tls_subject.h"
#include "services/sip-agent/tls_trustpoint.h"

/* A certificate with this common name and subjectAltName ("DNS:a.example, IP:192.0.2.1"; NULL = none). */
static X509 *make_certificate(const char *common_name, const char *names)
{
	X509 *certificate = X509_new();

	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
	                           (const unsigned char *)common_name, -1, -1, 0);
	if (names) {
		X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
		                                                names);

		assert_non_null(extension);
		X509_add_ext(certificate, extension, -1);
		X509_EXTENSION_free(extension);
	}
	return certificate;
}

static bool names(const char *common_name, const char *alternatives, const char *name)
{
	X509 *certificate = make_certificate(common_name, alternatives);
	const bool is_named = tls_subject_names(certificate, name);

	X509_free(certificate);
	return is_named;
}

static void test_names(void **state)
{
	(void)state;
	assert_true(names("x", "DNS:carrier.example", "carrier.example"));
	assert_true(names("x", "DNS:other.example, DNS:Carrier.Example", "carrier.example"));
	assert_true(names("x", "URI:sip:carrier.example", "carrier.example"));
	assert_false(names("x", "URI:sip:user@carrier.example", "carrier.example"));
	assert_false(names("x", "URI:https:carrier.example", "carrier.example"));
	assert_false(names("x", "DNS:*.example", "carrier.example"));
	assert_false(names("x", "DNS:carrier.example.other", "carrier.example"));
	/* The common name counts only without names of the kinds above (RFC 5922 section 7.1). */
	assert_true(names("carrier.example", NULL, "carrier.example"));
	assert_true(names("carrier.example", "IP:192.0.2.1", "carrier.example"));
	assert_false(names("carrier.example", "DNS:other.example", "carrier.example"));
}

static void test_addresses(void **state)
{
	struct sockaddr_storage right, wrong, six;
	X509 *certificate = make_certificate("192.0.2.9", "IP:192.0.2.1, IP:2001:db8::1");
	char text[64];

	(void)state;
	address_parse("192.0.2.1", &right);
	address_parse("192.0.2.9", &wrong);
	address_parse("2001:db8::1", &six);
	assert_true(tls_subject_names_address(certificate, &right));
	assert_true(tls_subject_names_address(certificate, &six));
	assert_false(tls_subject_names_address(certificate, &wrong));
	assert_string_equal(tls_subject_print(certificate, text, sizeof(text)),
	                    "192.0.2.1, 2001:db8::1");
	X509_free(certificate);
}

static void check_ciphers(const char *list, bool is_strict)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());

	assert_int_equal(SSL_CTX_set_cipher_list(context, list), 1);
	const STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(context);
	assert_true(sk_SSL_CIPHER_num(ciphers) > 6);
	for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++) {
		const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(ciphers, i);
		const int exchange = SSL_CIPHER_get_kx_nid(cipher);

		assert_int_not_equal(SSL_CIPHER_get_auth_nid(cipher), NID_auth_null);
		assert_int_not_equal(SSL_CIPHER_get_cipher_nid(cipher), NID_undef);
		assert_true(SSL_CIPHER_get_bits(cipher, NULL) >= 128);
		if (!is_strict)
			continue;
		assert_true(SSL_CIPHER_is_aead(cipher));
		assert_true(exchange == NID_kx_ecdhe || exchange == NID_kx_dhe ||
		            exchange == NID_kx_any);
	}
	SSL_CTX_free(context);
}

static void test_ciphers(void **state)
{
	(void)state;
	check_ciphers(TLS_CIPHERS, false);
	check_ciphers(TLS_CIPHERS_STRICT, true);
}

static void test_clock(void **state)
{
	struct config_trustpoint config = {.name = "carrier"};
	struct trustpoint trustpoint = {.config = &config, .context = SSL_CTX_new(TLS_method())};
	const time_t now = time(NULL);
	char why[TRUSTPOINT_CAUSE_SIZE];

	(void)state;
	assert_non_null(trustpoint_clock_obstacle(0));
	assert_null(trustpoint_clock_obstacle(now + 1));
	assert_null(trustpoint_obstacle(&trustpoint, now, why));
	assert_non_null(trustpoint_obstacle(&trustpoint, 86400, why));
	assert_non_null(strstr(why, "it says 1970-01-02"));
	trustpoint.not_before = now + 1000;
	trustpoint.not_after = now + 2000;
	assert_non_null(trustpoint_obstacle(&trustpoint, now, why));
	assert_non_null(strstr(why, "is the clock right?"));
	assert_null(trustpoint_obstacle(&trustpoint, now + 1500, why));
	assert_non_null(trustpoint_obstacle(&trustpoint, now + 2500, why));
	assert_non_null(strstr(why, "expired"));
	trustpoint_free(&trustpoint);
	assert_non_null(trustpoint_obstacle(&trustpoint, now, why));
	assert_string_equal(why, "not loaded yet");
}

/* On sofia-sip as it is installed here; a second time too, for lines are opened anew. */
static void test_self_check(void **state)
{
	(void)state;
	assert_null(tls_interpose_check());
	assert_null(tls_interpose_check());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),      cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_ciphers),    cmocka_unit_test(test_clock),
		cmocka_unit_test(test_self_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
