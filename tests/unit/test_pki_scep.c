/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SCEP's messages, with the CA played here: what it reads, and which of its replies are believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/cms.h>
#include <openssl/rand.h>

#include "services/cli/pki_scep.h"

#define MESSAGE_TYPE    "2.16.840.1.113733.1.9.2"
#define PKI_STATUS      "2.16.840.1.113733.1.9.3"
#define FAIL_INFO       "2.16.840.1.113733.1.9.4"
#define SENDER_NONCE    "2.16.840.1.113733.1.9.5"
#define RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define TRANSACTION_ID  "2.16.840.1.113733.1.9.7"

static EVP_PKEY *ca_key, *own_key, *stranger_key;
static X509 *ca, *own, *stranger;
static STACK_OF(X509) * responders;
static struct pki_scep_transaction transaction;

static X509 *certificate_of(EVP_PKEY *key, const char *name, long serial)
{
	X509 *made = X509_new();

	X509_set_version(made, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(made), serial);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_ASC,
	                           (const unsigned char *)name, -1, -1, 0);
	X509_set_issuer_name(made, X509_get_subject_name(made));
	X509_gmtime_adj(X509_getm_notBefore(made), -60);
	X509_gmtime_adj(X509_getm_notAfter(made), 3600);
	X509_set_pubkey(made, key);
	assert_true(X509_sign(made, key, EVP_sha256()));
	return made;
}

static int begin(void **state)
{
	(void)state;
	ca_key = EVP_RSA_gen(2048);
	own_key = EVP_RSA_gen(2048);
	stranger_key = EVP_RSA_gen(2048);
	ca = certificate_of(ca_key, "Root", 1);
	own = certificate_of(own_key, "branch1", 2);
	stranger = certificate_of(stranger_key, "Root", 1); /* of the same name */
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
	X509_free(ca);
	X509_free(own);
	X509_free(stranger);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(own_key);
	EVP_PKEY_free(stranger_key);
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

static const ASN1_STRING *attribute(CMS_SignerInfo *signer, const char *name, int type)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	assert_non_null(value);
	return value;
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

/** What the CA says; tests change it. */
struct answer {
	const char *status, *type, *id, *fail_info;
	const unsigned char *nonce;
	bool has_certificate, is_strangers;
};

static void add(CMS_SignerInfo *signer, const char *name, int type, const void *octets, size_t size)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);

	assert_int_equal(CMS_signed_add1_attr_by_OBJ(signer, object, type, octets, (int)size), 1);
	ASN1_OBJECT_free(object);
}

/* Certificates without signers, sealed for us. */
static BIO *envelope_of(X509 *certificate)
{
	STACK_OF(X509) *issued = sk_X509_new_null(), *readers = sk_X509_new_null();
	BIO *bag = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	CMS_ContentInfo *carrier, *envelope;

	sk_X509_push(issued, certificate);
	sk_X509_push(readers, own);
	carrier = CMS_sign(NULL, NULL, issued, NULL, CMS_PARTIAL | CMS_DETACHED);
	assert_true(carrier && i2d_CMS_bio(bag, carrier));
	envelope = CMS_encrypt(readers, bag, EVP_aes_128_cbc(), CMS_BINARY);
	assert_true(envelope && i2d_CMS_bio(out, envelope));
	CMS_ContentInfo_free(carrier);
	CMS_ContentInfo_free(envelope);
	sk_X509_free(issued);
	sk_X509_free(readers);
	BIO_free(bag);
	return out;
}

static enum pki_scep_status reply(const struct answer *answer, const char **cause)
{
	const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP;
	BIO *content = answer->has_certificate ? envelope_of(own) : BIO_new(BIO_s_mem());
	CMS_ContentInfo *message = CMS_sign(NULL, NULL, NULL, NULL,
	                                    flags | (answer->has_certificate ? 0 : CMS_DETACHED));
	CMS_SignerInfo *signer = CMS_add1_signer(message, answer->is_strangers ? stranger : ca,
	                                         answer->is_strangers ? stranger_key : ca_key,
	                                         EVP_sha256(), flags);
	STACK_OF(X509) * issued;
	unsigned char *octets = NULL;
	enum pki_scep_status status;
	int size;

	add(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, answer->type, strlen(answer->type));
	add(signer, PKI_STATUS, V_ASN1_PRINTABLESTRING, answer->status, strlen(answer->status));
	add(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING, answer->id, strlen(answer->id));
	add(signer, RECIPIENT_NONCE, V_ASN1_OCTET_STRING, answer->nonce, PKI_SCEP_NONCE_SIZE);
	if (answer->fail_info)
		add(signer, FAIL_INFO, V_ASN1_PRINTABLESTRING, answer->fail_info,
		    strlen(answer->fail_info));
	assert_int_equal(CMS_final(message, content, NULL, CMS_BINARY), 1);
	size = i2d_CMS_ContentInfo(message, &octets);
	assert_true(size > 0);
	status = pki_scep_open(&transaction, (char *)octets, (size_t)size, &issued, cause);
	if (status == SCEP_SUCCESS) {
		assert_int_equal(sk_X509_num(issued), 1);
		assert_int_equal(X509_cmp(sk_X509_value(issued, 0), own), 0);
	} else {
		assert_null(issued);
	}
	sk_X509_pop_free(issued, X509_free);
	OPENSSL_free(octets);
	CMS_ContentInfo_free(message);
	BIO_free(content);
	return status;
}

static struct answer good_answer(void)
{
	return (struct answer){.status = "0",
	                       .type = "3",
	                       .id = transaction.id,
	                       .nonce = transaction.nonce,
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
