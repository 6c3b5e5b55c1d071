/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SCEP's messages, with the CA played here: what it reads, and which of its replies are believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/rand.h>

#include "tests/unit/scep_ca.h"

static STACK_OF(X509) * responders;
static struct pki_scep_transaction transaction;

static int begin(void **state)
{
	(void)state;
	make_keys();
	responders = sk_X509_new_null();
	sk_X509_push(responders, ca);
	transaction = (struct pki_scep_transaction){
		.signer = own, .signer_key = own_key, .recipient = ca, .responders = responders};
	assert_true(pki_scep_name_transaction(&transaction, own_key));
	return 0;
}

static int end(void **state)
{
	(void)state;
	sk_X509_free(responders);
	free_keys();
	return 0;
}

static void test_abilities(void **state)
{
	struct pki_scep_abilities abilities;

	(void)state;
	abilities = pki_scep_read_abilities("AES\r\nSHA-256\r\nPOSTPKIOperation\r\nRenewal\r\n");
	assert_true(abilities.has_aes && abilities.has_sha256 && abilities.has_post &&
	            abilities.has_renewal);
	abilities = pki_scep_read_abilities("SCEPStandard");
	assert_true(abilities.has_aes && abilities.has_sha256 && abilities.has_post);
	assert_false(abilities.has_renewal);
	abilities = pki_scep_read_abilities("DES3\nSHA-1\nAESX\n");
	assert_false(abilities.has_aes || abilities.has_sha256 || abilities.has_post);
	abilities = pki_scep_read_abilities("");
	assert_false(abilities.has_aes);
}

/* The CA can open what we seal, and finds its attributes; nobody else can. */
static void test_request(void **state)
{
	static const unsigned char content[] = "a request";
	unsigned char *message, *plain_octets;
	const unsigned char *at;
	CMS_ContentInfo *sealed, *envelope;
	CMS_SignerInfo *signer;
	BIO *inner = BIO_new(BIO_s_mem()), *plain = BIO_new(BIO_s_mem());
	size_t size;

	(void)state;
	at = message = pki_scep_seal(&transaction, SCEP_PKCS_REQ, content, sizeof(content), &size);
	assert_non_null(message);
	sealed = d2i_CMS_ContentInfo(NULL, &at, (long)size);
	assert_int_equal(
		CMS_verify(sealed, NULL, NULL, NULL, inner, CMS_BINARY | CMS_NO_SIGNER_CERT_VERIFY),
		1);
	signer = sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(sealed), 0);
	assert_memory_equal(
		ASN1_STRING_get0_data(attribute(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING)),
		"19", 2);
	assert_memory_equal(
		ASN1_STRING_get0_data(attribute(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING)),
		transaction.id, strlen(transaction.id));
	assert_memory_equal(
		ASN1_STRING_get0_data(attribute(signer, SENDER_NONCE, V_ASN1_OCTET_STRING)),
		transaction.nonce, sizeof(transaction.nonce));
	envelope = d2i_CMS_bio(inner, NULL);
	assert_int_equal(CMS_decrypt(envelope, ca_key, ca, NULL, plain, CMS_BINARY), 1);
	assert_int_equal(BIO_get_mem_data(plain, &plain_octets), sizeof(content));
	assert_memory_equal(plain_octets, content, sizeof(content));
	CMS_ContentInfo_free(envelope);
	CMS_ContentInfo_free(sealed);
	BIO_free(inner);
	BIO_free(plain);
	OPENSSL_free(message);
}

static enum pki_scep_status reply(const struct answer *answer, const char **cause)
{
	STACK_OF(X509) * issued;
	size_t size;
	unsigned char *octets = build_reply(answer, &size);
	enum pki_scep_status status = pki_scep_open(&transaction, (char *)octets, size, &issued,
	                                            cause);

	if (status == SCEP_SUCCESS) {
		assert_int_equal(sk_X509_num(issued), 1);
		assert_int_equal(X509_cmp(sk_X509_value(issued, 0), own), 0);
	} else {
		assert_null(issued);
	}
	sk_X509_pop_free(issued, X509_free);
	OPENSSL_free(octets);
	return status;
}

static struct answer good_answer(void)
{
	return (struct answer){.status = "0",
	                       .type = "3",
	                       .id = transaction.id,
	                       .nonce = transaction.nonce,
	                       .reader = own,
	                       .has_certificate = true};
}

static void test_issued(void **state)
{
	struct answer answer = good_answer();
	const char *cause;

	(void)state;
	assert_int_equal(reply(&answer, &cause), SCEP_SUCCESS);
}

static void test_pending_and_refused(void **state)
{
	struct answer answer = good_answer();
	const char *cause;

	(void)state;
	answer.has_certificate = false;
	answer.status = "3";
	assert_int_equal(reply(&answer, &cause), SCEP_PENDING);
	answer.status = "2";
	answer.fail_info = "2";
	assert_int_equal(reply(&answer, &cause), SCEP_FAILURE);
	assert_non_null(strstr(cause, "badRequest"));
	answer.fail_info = "9";
	assert_int_equal(reply(&answer, &cause), SCEP_FAILURE);
	answer.status = "7";
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
	answer.status = "0"; /* says success, and brings nothing */
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
}

/* Each of them is believed without the one thing that is wrong: test_issued() is the control. */
static void test_replies_that_are_not_believed(void **state)
{
	static const unsigned char other_nonce[PKI_SCEP_NONCE_SIZE] = {1, 2, 3};
	struct answer answer = good_answer();
	const char *cause;

	(void)state;
	answer.is_strangers = true;
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
	assert_non_null(strstr(cause, "not signed by the CA"));
	answer = good_answer();
	answer.nonce = other_nonce; /* replayed */
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
	answer = good_answer();
	answer.id = "0123456789012345678901234567890123456789";
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
	answer = good_answer();
	answer.type = "19";
	assert_int_equal(reply(&answer, &cause), SCEP_INVALID);
}

static void test_what_is_no_reply(void **state)
{
	STACK_OF(X509) * issued;
	const char *cause;
	char octets[300];

	(void)state;
	assert_int_equal(pki_scep_open(&transaction, "", 0, &issued, &cause), SCEP_INVALID);
	assert_int_equal(pki_scep_open(&transaction, "<html>", 6, &issued, &cause), SCEP_INVALID);
	for (int i = 0; i < 1000; i++) {
		RAND_bytes((unsigned char *)octets, sizeof(octets));
		octets[0] = 0x30;
		assert_int_equal(
			pki_scep_open(&transaction, octets, sizeof(octets), &issued, &cause),
			SCEP_INVALID);
	}
}

static void test_poll(void **state)
{
	size_t size;
	unsigned char *octets = pki_scep_poll(ca, X509_get_subject_name(own), &size);
	const unsigned char *at = octets;
	STACK_OF(ASN1_TYPE) *parts = d2i_ASN1_SEQUENCE_ANY(NULL, &at, (long)size);

	(void)state;
	assert_non_null(parts);
	assert_int_equal(sk_ASN1_TYPE_num(parts), 2);
	assert_ptr_equal(at, octets + size);
	sk_ASN1_TYPE_pop_free(parts, ASN1_TYPE_free);
	OPENSSL_free(octets);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abilities),
		cmocka_unit_test(test_request),
		cmocka_unit_test(test_issued),
		cmocka_unit_test(test_pending_and_refused),
		cmocka_unit_test(test_replies_that_are_not_believed),
		cmocka_unit_test(test_what_is_no_reply),
		cmocka_unit_test(test_poll),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
