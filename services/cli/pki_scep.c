/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/pki_scep.h"

#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Signed attributes (RFC 8894 section 3.2.1). */
#define MESSAGE_TYPE    "2.16.840.1.113733.1.9.2"
#define PKI_STATUS      "2.16.840.1.113733.1.9.3"
#define FAIL_INFO       "2.16.840.1.113733.1.9.4"
#define SENDER_NONCE    "2.16.840.1.113733.1.9.5"
#define RECIPIENT_NONCE "2.16.840.1.113733.1.9.6"
#define TRANSACTION_ID  "2.16.840.1.113733.1.9.7"

struct pki_scep_abilities pki_scep_read_abilities(const char *text)
{
	struct pki_scep_abilities abilities = {0};

	for (size_t length; *text; text += length, text += strspn(text, "\r\n ")) {
		length = strcspn(text, "\r\n ");
		bool is_standard = length == 12 && !strncasecmp(text, "SCEPStandard", length);

		abilities.has_aes |= is_standard ||
		                     (length == 3 && !strncasecmp(text, "AES", length));
		abilities.has_sha256 |= is_standard ||
		                        (length == 7 && !strncasecmp(text, "SHA-256", length));
		abilities.has_post |= is_standard ||
		                      (length == 16 &&
		                       !strncasecmp(text, "POSTPKIOperation", length));
		abilities.has_renewal |= length == 7 && !strncasecmp(text, "Renewal", length);
	}
	return abilities;
}

bool pki_scep_name_transaction(struct pki_scep_transaction *transaction, EVP_PKEY *key)
{
	unsigned char *encoded = NULL, digest[EVP_MAX_MD_SIZE];
	int size = i2d_PUBKEY(key, &encoded);
	bool is_good = size > 0 &&
	               EVP_Digest(encoded, (size_t)size, digest, NULL, EVP_sha256(), NULL) == 1;

	for (size_t i = 0; is_good && i < (PKI_SCEP_TRANSACTION_SIZE - 1) / 2; i++)
		snprintf(transaction->id + 2 * i, 3, "%02X", digest[i]);
	OPENSSL_free(encoded);
	return is_good;
}

static bool add_attribute(CMS_SignerInfo *signer, const char *name, int type, const void *octets,
                          int size)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);
	bool is_good = object &&
	               CMS_signed_add1_attr_by_OBJ(signer, object, type, octets, size) == 1;

	ASN1_OBJECT_free(object);
	return is_good;
}

static bool add_attributes(struct pki_scep_transaction *transaction, CMS_SignerInfo *signer,
                           enum pki_scep_message message)
{
	char type[4];

	snprintf(type, sizeof(type), "%d", (int)message);
	return RAND_bytes(transaction->nonce, sizeof(transaction->nonce)) == 1 &&
	       add_attribute(signer, MESSAGE_TYPE, V_ASN1_PRINTABLESTRING, type,
	                     (int)strlen(type)) &&
	       add_attribute(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING, transaction->id,
	                     (int)strlen(transaction->id)) &&
	       add_attribute(signer, SENDER_NONCE, V_ASN1_OCTET_STRING, transaction->nonce,
	                     sizeof(transaction->nonce));
}

/* The inner layer: only the CA, or its RA, can read it. */
static BIO *envelop(X509 *recipient, const unsigned char *content, size_t size)
{
	STACK_OF(X509) *recipients = sk_X509_new_null();
	BIO *in = BIO_new_mem_buf(content, (int)size), *out = BIO_new(BIO_s_mem());
	CMS_ContentInfo *envelope = NULL;

	if (in && out && recipients && sk_X509_push(recipients, recipient))
		envelope = CMS_encrypt(recipients, in, EVP_aes_128_cbc(), CMS_BINARY);
	if (!envelope || !i2d_CMS_bio(out, envelope)) {
		BIO_free(out);
		out = NULL;
	}
	CMS_ContentInfo_free(envelope);
	sk_X509_free(recipients);
	BIO_free(in);
	return out;
}

unsigned char *pki_scep_seal(struct pki_scep_transaction *transaction,
                             enum pki_scep_message message, const unsigned char *content,
                             size_t content_size, size_t *size)
{
	const unsigned flags = CMS_BINARY | CMS_NOSMIMECAP | CMS_PARTIAL;
	BIO *inner = envelop(transaction->recipient, content, content_size);
	CMS_ContentInfo *sealed = inner ? CMS_sign(NULL, NULL, NULL, NULL, flags) : NULL;
	CMS_SignerInfo *signer = sealed ? CMS_add1_signer(sealed, transaction->signer,
	                                                  transaction->signer_key, EVP_sha256(),
	                                                  flags)
	                                : NULL;
	unsigned char *octets = NULL;
	int length = 0;

	if (signer && add_attributes(transaction, signer, message) &&
	    CMS_final(sealed, inner, NULL, CMS_BINARY) == 1)
		length = i2d_CMS_ContentInfo(sealed, &octets);
	*size = length > 0 ? (size_t)length : 0;
	CMS_ContentInfo_free(sealed);
	BIO_free(inner);
	return octets;
}

unsigned char *pki_scep_poll(const X509 *issuer, const X509_NAME *subject, size_t *size)
{
	const X509_NAME *issuer_name = X509_get_subject_name(issuer);
	int content = i2d_X509_NAME(issuer_name, NULL) + i2d_X509_NAME(subject, NULL);
	int whole = ASN1_object_size(1, content, V_ASN1_SEQUENCE);
	unsigned char *octets = whole > 0 ? OPENSSL_malloc((size_t)whole) : NULL, *at = octets;

	*size = 0;
	if (!octets)
		return NULL;
	ASN1_put_object(&at, 1, content, V_ASN1_SEQUENCE, V_ASN1_UNIVERSAL);
	i2d_X509_NAME(issuer_name, &at);
	i2d_X509_NAME(subject, &at);
	*size = (size_t)whole;
	return octets;
}

/* The octets of a signed attribute; NULL when it is not there. */
static const ASN1_STRING *attribute_of(CMS_SignerInfo *signer, const char *name, int type)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 1);
	const ASN1_STRING *value = object ? CMS_signed_get0_data_by_OBJ(signer, object, -3, type)
	                                  : NULL;

	ASN1_OBJECT_free(object);
	return value;
}

/* The number that a printable attribute has; -1 when it is not there. */
static int number_in(CMS_SignerInfo *signer, const char *name)
{
	const ASN1_STRING *value = attribute_of(signer, name, V_ASN1_PRINTABLESTRING);
	char text[8];

	if (!value || ASN1_STRING_length(value) < 1 ||
	    ASN1_STRING_length(value) >= (int)sizeof(text))
		return -1;
	memcpy(text, ASN1_STRING_get0_data(value), (size_t)ASN1_STRING_length(value));
	text[ASN1_STRING_length(value)] = '\0';
	return atoi(text);
}

static bool has_octets(CMS_SignerInfo *signer, const char *name, int type, const void *octets,
                       size_t size)
{
	const ASN1_STRING *value = attribute_of(signer, name, type);

	return value && (size_t)ASN1_STRING_length(value) == size &&
	       memcmp(ASN1_STRING_get0_data(value), octets, size) == 0;
}

/*
 * The inner layer of a reply: a message without signers, which carries certificates. Debian's SCEP server seals it by DES, which only
 * OpenSSL's legacy provider knows, loaded for this alone. What is inside is public, and the outer signature guards it.
 */
static STACK_OF(X509) * open_envelope(const struct pki_scep_transaction *transaction, BIO *inner)
{
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *usual = library ? OSSL_PROVIDER_load(library, "default") : NULL;
	OSSL_PROVIDER *legacy = library ? OSSL_PROVIDER_load(library, "legacy") : NULL;
	CMS_ContentInfo *envelope = usual ? CMS_ContentInfo_new_ex(library, NULL) : NULL;
	CMS_ContentInfo *carrier = NULL;
	BIO *plain = BIO_new(BIO_s_mem());
	STACK_OF(X509) *certificates = NULL;

	if (envelope && plain && d2i_CMS_bio(inner, &envelope) &&
	    CMS_decrypt(envelope, transaction->signer_key, transaction->signer, NULL, plain,
	                CMS_BINARY) == 1 &&
	    (carrier = d2i_CMS_bio(plain, NULL)))
		certificates = CMS_get1_certs(carrier);
	CMS_ContentInfo_free(carrier);
	CMS_ContentInfo_free(envelope);
	BIO_free(plain);
	if (legacy)
		OSSL_PROVIDER_unload(legacy);
	if (usual)
		OSSL_PROVIDER_unload(usual);
	OSSL_LIB_CTX_free(library);
	return certificates;
}

static const char *failure_cause(int fail_info)
{
	static const char *const causes[] = {
		"the CA refuses: unknown or unsupported algorithm (badAlg)",
		"the CA refuses: the integrity check of our request failed (badMessageCheck)",
		"the CA refuses: it may not be, a wrong challenge password perhaps (badRequest)",
		"the CA refuses: our clock differs from its (badTime)",
		"the CA refuses: no such certificate (badCertID)",
	};

	return fail_info >= 0 && fail_info < (int)(sizeof(causes) / sizeof(causes[0]))
	               ? causes[fail_info]
	               : "the CA refuses, and does not say why";
}

static enum pki_scep_status read_reply(const struct pki_scep_transaction *transaction,
                                       CMS_SignerInfo *signer, BIO *inner, STACK_OF(X509) * *issued,
                                       const char **cause)
{
	if (number_in(signer, MESSAGE_TYPE) != SCEP_CERT_REP ||
	    !has_octets(signer, TRANSACTION_ID, V_ASN1_PRINTABLESTRING, transaction->id,
	                strlen(transaction->id)) ||
	    !has_octets(signer, RECIPIENT_NONCE, V_ASN1_OCTET_STRING, transaction->nonce,
	                sizeof(transaction->nonce))) {
		*cause = "what came is the reply to another request";
		return SCEP_INVALID;
	}
	switch (number_in(signer, PKI_STATUS)) {
	case 0:
		*issued = open_envelope(transaction, inner);
		*cause = "the certificate in the reply cannot be read";
		return *issued ? SCEP_SUCCESS : SCEP_INVALID;
	case 2:
		*cause = failure_cause(number_in(signer, FAIL_INFO));
		return SCEP_FAILURE;
	case 3:
		*cause = "the CA has not decided yet";
		return SCEP_PENDING;
	default:
		*cause = "the reply has no status";
		return SCEP_INVALID;
	}
}

enum pki_scep_status pki_scep_open(const struct pki_scep_transaction *transaction,
                                   const char *octets, size_t size, STACK_OF(X509) * *issued,
                                   const char **cause)
{
	const unsigned char *at = (const unsigned char *)octets;
	CMS_ContentInfo *reply = d2i_CMS_ContentInfo(NULL, &at, (long)size);
	BIO *inner = BIO_new(BIO_s_mem()), *nothing = BIO_new_mem_buf("", 0);
	enum pki_scep_status status = SCEP_INVALID;
	STACK_OF(CMS_SignerInfo) *signers = reply ? CMS_get0_SignerInfos(reply) : NULL;
	ASN1_OCTET_STRING **content = reply ? CMS_get0_content(reply) : NULL;

	*issued = NULL;
	*cause = "what came is no SCEP reply";
	/*
	 * Only those who are known count as signers (NOINTERN); that they are the CA's has been checked before. A refusal has no
	 * content, and signs that.
	 */
	if (signers && sk_CMS_SignerInfo_num(signers) == 1) {
		*cause = "the reply is not signed by the CA";
		if (CMS_verify(reply, transaction->responders, NULL,
		               content && *content ? NULL : nothing, inner,
		               CMS_BINARY | CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY) == 1)
			status = read_reply(transaction, sk_CMS_SignerInfo_value(signers, 0), inner,
			                    issued, cause);
	}
	ERR_clear_error();
	BIO_free(nothing);
	BIO_free(inner);
	CMS_ContentInfo_free(reply);
	return status;
}
