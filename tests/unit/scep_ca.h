/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A CA that speaks SCEP, for tests: its keys, and its replies. */
#ifndef VPNSIP_TESTS_SCEP_CA_H
#define VPNSIP_TESTS_SCEP_CA_H

#include <openssl/cms.h>
#include <string.h>

#include "services/cli/pki_scep.h"

#define MESSAGE_TYPE    "2.16.840.1.113733.1.9.2"
#define PKI_STATUS      "2.16.840.1.113733.1.9.3"
#define FAIL_INFO       "2.16.840.1.113733.1.9.4"
#define SENDER_NONCE    "2.16.840.1.113733.1.9.5"
#define RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define TRANSACTION_ID  "2.16.840.1.113733.1.9.7"

static EVP_PKEY *ca_key, *own_key, *stranger_key;
static X509 *ca, *own, *stranger;

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

/* The root, a branch, and somebody with a root of the same name. */
static void make_keys(void)
{
	ca_key = EVP_RSA_gen(2048);
	own_key = EVP_RSA_gen(2048);
	stranger_key = EVP_RSA_gen(2048);
	ca = certificate_of(ca_key, "Root", 1);
	own = certificate_of(own_key, "branch1", 2);
	stranger = certificate_of(stranger_key, "Root", 1);
}

static void free_keys(void)
{
	X509_free(ca);
	X509_free(own);
	X509_free(stranger);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(own_key);
	EVP_PKEY_free(stranger_key);
}

static const ASN1_STRING *attribute(CMS_SignerInfo *signer, const char *name, int type)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);
	const ASN1_STRING *value = CMS_signed_get0_data_by_OBJ(signer, object, -3, type);

	ASN1_OBJECT_free(object);
	assert_non_null(value);
	return value;
}

/** What the CA says; tests change it. */
struct answer {
	const char *status, *type, *id, *fail_info;
	const unsigned char *nonce;
	X509 *reader; /* whom the certificate is sealed for */
	bool has_certificate, is_strangers;
};

static void add(CMS_SignerInfo *signer, const char *name, int type, const void *octets, size_t size)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);

	assert_int_equal(CMS_signed_add1_attr_by_OBJ(signer, object, type, octets, (int)size), 1);
	ASN1_OBJECT_free(object);
}

/* Certificates without signers, sealed for us. */
static BIO *envelope_of(X509 *certificate, X509 *reader)
{
	STACK_OF(X509) *issued = sk_X509_new_null(), *readers = sk_X509_new_null();
	BIO *bag = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
	CMS_ContentInfo *carrier, *envelope;

	sk_X509_push(issued, certificate);
	sk_X509_push(readers, reader);
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

/* The message's octets; free them with OPENSSL_free(). */
static unsigned char *build_reply(const struct answer *answer, size_t *size)
{
	const unsigned flags = CMS_BINARY | CMS_PARTIAL | CMS_NOSMIMECAP;
	BIO *content = answer->has_certificate ? envelope_of(own, answer->reader)
	                                       : BIO_new_mem_buf("", 0);
	CMS_ContentInfo *message = CMS_sign(NULL, NULL, NULL, NULL,
	                                    flags | (answer->has_certificate ? 0 : CMS_DETACHED));
	CMS_SignerInfo *signer = CMS_add1_signer(message, answer->is_strangers ? stranger : ca,
	                                         answer->is_strangers ? stranger_key : ca_key,
	                                         EVP_sha256(), flags);
	unsigned char *octets = NULL;
	int length;

	add(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, answer->type, strlen(answer->type));
	add(signer, PKI_STATUS, V_ASN1_PRINTABLESTRING, answer->status, strlen(answer->status));
	add(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING, answer->id, strlen(answer->id));
	add(signer, RECIPIENT_NONCE, V_ASN1_OCTET_STRING, answer->nonce, PKI_SCEP_NONCE_SIZE);
	if (answer->fail_info)
		add(signer, FAIL_INFO, V_ASN1_PRINTABLESTRING, answer->fail_info,
		    strlen(answer->fail_info));
	assert_int_equal(CMS_final(message, content, NULL, CMS_BINARY), 1);
	length = i2d_CMS_ContentInfo(message, &octets);
	assert_true(length > 0);
	*size = (size_t)length;
	CMS_ContentInfo_free(message);
	BIO_free(content);
	return octets;
}

#endif
