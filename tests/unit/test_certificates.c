/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates without an engine: files that are refused, and octets that somebody has changed. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "certificate_fixture.h"
#include "services/ike-agent/certificate_verify.h"

static char directory[] = "/tmp/vpnsip-certificates-XXXXXX";

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
	char command[64];

	(void)state;
	free_made();
	snprintf(command, sizeof(command), "rm -r %s", directory);
	return system(command);
}

/** A certificate of the authority, changed in an octet or four anywhere in its DER: never believed, nothing is upset. */
static void mutated(void **state)
{
	struct identity root =
		make_identity(&(struct recipe){.name = "CN=Root", .is_authority = true});
	struct identity middle = make_identity(
		&(struct recipe){.name = "CN=Branches", .issuer = &root, .is_authority = true});
	struct identity a = make_identity(&(struct recipe){
		.name = "CN=a,O=Bank", .issuer = &middle, .alternative = "DNS:a.example"});
	struct config_trustpoint of_b =
		write_trustpoint(directory, "ours", &root, NULL,
	                         write_pem(directory, "ca.pem", NULL, &root.certificate, 1, NULL));
	struct config_certificate_map map = {
		.name = "m", .subject_name = "co bank", .alternative_name = "nc xx"};
	struct config_ike_profile profile = {.authentication = AUTHENTICATION_CERTIFICATE,
	                                     .trustpoint = &of_b,
	                                     .certificate_map = &map};
	struct config_peer peer = {.ike_profile = &profile};
	const struct certificate_expectation expected = {.peer = &peer};
	char why[CERTIFICATE_CAUSE_SIZE];
	struct certificate_store *store = certificate_store_load(&of_b, why);
	STACK_OF(X509) *others = sk_X509_new_null();
	uint8_t *octets = NULL;
	int size = i2d_X509(a.certificate, &octets);
	unsigned parsed = 0;

	(void)state;
	assert_non_null(store);
	sk_X509_push(others, middle.certificate);
	assert_int_equal(
		certificate_verify(store, &expected, a.certificate, others, time(NULL)).fault,
		CERTIFICATE_GOOD);
	srand(7);
	for (int round = 0; round < 20000; round++) {
		uint8_t changed[2048];
		const uint8_t *position = changed;
		X509 *certificate;

		memcpy(changed, octets, (size_t)size);
		for (int i = rand() % 4; i >= 0; i--)
			changed[rand() % size] ^= (uint8_t)(1 + rand() % 255);
		certificate = memcmp(changed, octets, (size_t)size) == 0
		                      ? NULL
		                      : d2i_X509(NULL, &position, size);
		if (!certificate)
			continue;
		parsed++;
		assert_int_not_equal(
			certificate_verify(store, &expected, certificate, others, time(NULL)).fault,
			CERTIFICATE_GOOD);
		X509_free(certificate);
	}
	print_message("%u of 20000 could be parsed\n", parsed);
	assert_true(parsed > 1000);
	sk_X509_free(others);
	OPENSSL_free(octets);
	certificate_store_release(store);
}

static void others_may_read_the_key(void **state)
{
	struct identity a = make_identity(&(struct recipe){.name = "CN=a"});
	struct identity b = make_identity(&(struct recipe){.name = "CN=b"});
	struct config_trustpoint of_a = write_trustpoint(directory, "a", &a, NULL, NULL);
	struct config_trustpoint of_b = write_trustpoint(directory, "b", &b, NULL, NULL);
	char why[CERTIFICATE_CAUSE_SIZE];

	(void)state;
	chmod(of_a.key_file, 0644);
	assert_null(certificate_store_load(&of_a, why));
	assert_non_null(strstr(why, "others may read it: chmod 600"));
	chmod(of_a.key_file, 0600);
	of_a.key_file = of_b.key_file;
	assert_null(certificate_store_load(&of_a, why));
	assert_non_null(strstr(why, "it is not the key of the certificate"));
	of_a.certificate_file = "/nonexistent";
	assert_null(certificate_store_load(&of_a, why));
	assert_string_equal(why, "certificate-file /nonexistent: No such file or directory");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mutated),
		cmocka_unit_test(others_may_read_the_key),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
