/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/certificate_store.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RSA_BITS_MINIMUM 2048

time_t certificate_time(const ASN1_TIME *value)
{
	struct tm parts;

	return value && ASN1_TIME_to_tm(value, &parts) == 1 ? timegm(&parts) : 0;
}

void certificate_print_time(time_t time, char text[32])
{
	struct tm parts;

	strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&time, &parts));
}

void certificate_print_name(const X509_NAME *name, char text[CERTIFICATE_NAME_SIZE])
{
	BIO *memory = BIO_new(BIO_s_mem());
	int size = 0;

	if (memory &&
	    X509_NAME_print_ex(memory, name, 0,
	                       (XN_FLAG_ONELINE & ~XN_FLAG_SPC_EQ) | ASN1_STRFLGS_ESC_CTRL) > 0)
		size = BIO_read(memory, text, CERTIFICATE_NAME_SIZE - 1);
	text[size > 0 ? size : 0] = '\0';
	BIO_free(memory);
}

static void print_serial(const X509 *certificate, char *text, size_t size)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *digits = number ? BN_bn2hex(number) : NULL;

	snprintf(text, size, "%s", digits ? digits : "");
	OPENSSL_free(digits);
	BN_free(number);
}

void certificate_facts_read(const X509 *certificate, struct certificate_facts *facts)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	const int kind = key ? EVP_PKEY_get_base_id(key) : 0;

	*facts = (struct certificate_facts){
		.key_kind = kind == EVP_PKEY_RSA  ? "RSA"
	                    : kind == EVP_PKEY_EC ? "ECDSA"
	                                          : "unknown",
		.key_bits = key ? (unsigned)EVP_PKEY_get_bits(key) : 0,
		.not_before = certificate_time(X509_get0_notBefore(certificate)),
		.not_after = certificate_time(X509_get0_notAfter(certificate)),
	};
	certificate_print_name(X509_get_subject_name(certificate), facts->subject);
	certificate_print_name(X509_get_issuer_name(certificate), facts->issuer);
	print_serial(certificate, facts->serial, sizeof(facts->serial));
}

bool certificate_has_strong_key(const X509 *certificate)
{
	EVP_PKEY *key = X509_get0_pubkey(certificate);
	const int kind = key ? EVP_PKEY_get_base_id(key) : 0;
	char group[32] = "";

	if (kind == EVP_PKEY_RSA)
		return EVP_PKEY_get_bits(key) >= RSA_BITS_MINIMUM;
	if (kind != EVP_PKEY_EC || EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) != 1)
		return false;
	return strcmp(group, "prime256v1") == 0 || strcmp(group, "secp384r1") == 0 ||
	       strcmp(group, "secp521r1") == 0;
}

/** The sentence of a file that was not taken; returns false. */
static bool explain(char *why, const char *option, const char *file, const char *fault)
{
	const unsigned long error = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
	                                             : ERR_reason_error_string(error);

	snprintf(why, CERTIFICATE_CAUSE_SIZE, "%s %s: %s", option, file,
	         fault    ? fault
	         : reason ? reason
	                  : "cannot be read");
	ERR_clear_error();
	return false;
}

/** All certificates of a PEM file, in order. */
static STACK_OF(X509) * read_certificates(const char *file)
{
	STACK_OF(X509) *list = sk_X509_new_null();
	BIO *stream = BIO_new_file(file, "r");
	X509 *certificate;

	while (stream && list && (certificate = PEM_read_bio_X509(stream, NULL, NULL, NULL)))
		if (!sk_X509_push(list, certificate))
			X509_free(certificate);
	BIO_free(stream);
	if (list && sk_X509_num(list) > 0) {
		ERR_clear_error(); /* the end of the file is one */
		return list;
	}
	sk_X509_free(list);
	return NULL;
}

static bool is_self_issued(X509 *certificate)
{
	return X509_NAME_cmp(X509_get_subject_name(certificate),
	                     X509_get_issuer_name(certificate)) == 0;
}

static void note_end(struct certificate_store *store, const X509 *certificate)
{
	const time_t not_after = certificate_time(X509_get0_notAfter(certificate));

	if (!store->not_after || not_after < store->not_after)
		store->not_after = not_after;
}

static bool load_own(struct certificate_store *store, const struct config_trustpoint *trustpoint,
                     char *why)
{
	STACK_OF(X509) *list = read_certificates(trustpoint->certificate_file);

	if (!list)
		return explain(why, "certificate-file", trustpoint->certificate_file, NULL);
	store->own = sk_X509_shift(list);
	note_end(store, store->own);
	while (sk_X509_num(list) > 0) {
		X509 *next = sk_X509_shift(list);

		/* The other side has the root, or must not learn to believe it from us. */
		if (is_self_issued(next) || !sk_X509_push(store->chain, next)) {
			X509_free(next);
			continue;
		}
		note_end(store, next);
	}
	sk_X509_free(list);
	return true;
}

/** A key that others can read, or that somebody else can replace, is no secret of ours. */
static const char *mode_fault(const char *file)
{
	struct stat status;

	if (stat(file, &status) != 0)
		return strerror(errno);
	if (status.st_mode & (S_IRWXG | S_IRWXO))
		return "others may read it: chmod 600";
	if (geteuid() != 0 && status.st_uid != geteuid() && status.st_uid != 0)
		return "it belongs to another user";
	return NULL;
}

static bool load_key(struct certificate_store *store, const struct config_trustpoint *trustpoint,
                     char *why)
{
	const char *fault = mode_fault(trustpoint->key_file);
	BIO *stream;

	if (fault)
		return explain(why, "key-file", trustpoint->key_file, fault);
	stream = BIO_new_file(trustpoint->key_file, "r");
	/* An empty password: nobody is there to be asked. */
	if (stream)
		store->key = PEM_read_bio_PrivateKey(stream, NULL, NULL, (void *)"");
	BIO_free(stream);
	if (!store->key)
		return explain(why, "key-file", trustpoint->key_file, NULL);
	if (X509_check_private_key(store->own, store->key) != 1) {
		ERR_clear_error();
		return explain(why, "key-file", trustpoint->key_file,
		               "it is not the key of the certificate");
	}
	return true;
}

static bool load_roots(struct certificate_store *store, const struct config_trustpoint *trustpoint,
                       char *why)
{
	if (!trustpoint->ca_file)
		return true;
	sk_X509_free(store->authorities);
	store->authorities = read_certificates(trustpoint->ca_file);
	if (!store->authorities) {
		store->authorities = sk_X509_new_null();
		return explain(why, "ca-file", trustpoint->ca_file, NULL);
	}
	for (int i = 0; i < sk_X509_num(store->authorities); i++)
		if (X509_STORE_add_cert(store->roots, sk_X509_value(store->authorities, i)) != 1)
			return explain(why, "ca-file", trustpoint->ca_file, NULL);
	return true;
}

/** PEM with any number of lists, or one in DER. */
static bool add_lists(X509_STORE *roots, BIO *stream)
{
	unsigned count = 0;
	X509_CRL *list;

	while ((list = PEM_read_bio_X509_CRL(stream, NULL, NULL, NULL))) {
		count += X509_STORE_add_crl(roots, list) == 1;
		X509_CRL_free(list);
	}
	if (count == 0 && BIO_reset(stream) == 0 && (list = d2i_X509_CRL_bio(stream, NULL))) {
		count += X509_STORE_add_crl(roots, list) == 1;
		X509_CRL_free(list);
	}
	return count > 0;
}

/** A list that was not fetched yet is no fault; what follows from it says revocation-check. */
static bool load_lists(struct certificate_store *store, const struct config_trustpoint *trustpoint,
                       char *why)
{
	bool is_loaded;
	BIO *stream;

	if (!trustpoint->crl_file || trustpoint->revocation == REVOCATION_NONE)
		return true;
	if (access(trustpoint->crl_file, R_OK) != 0)
		return errno == ENOENT ||
		       explain(why, "crl-file", trustpoint->crl_file, strerror(errno));
	stream = BIO_new_file(trustpoint->crl_file, "r");
	is_loaded = stream && add_lists(store->roots, stream);
	BIO_free(stream);
	if (!is_loaded)
		return explain(why, "crl-file", trustpoint->crl_file, NULL);
	ERR_clear_error();
	return true;
}

struct certificate_store *certificate_store_load(const struct config_trustpoint *trustpoint,
                                                 char why[CERTIFICATE_CAUSE_SIZE])
{
	struct certificate_store *store = calloc(1, sizeof(*store));

	snprintf(why, CERTIFICATE_CAUSE_SIZE, "out of memory");
	if (!store)
		return NULL;
	atomic_init(&store->references, 1);
	ERR_clear_error();
	store->chain = sk_X509_new_null();
	store->authorities = sk_X509_new_null();
	store->roots = X509_STORE_new();
	if (!store->chain || !store->authorities || !store->roots)
		goto failed;
	if (trustpoint->certificate_file &&
	    (!load_own(store, trustpoint, why) || !load_key(store, trustpoint, why)))
		goto failed;
	if (!load_roots(store, trustpoint, why) || !load_lists(store, trustpoint, why))
		goto failed;
	return store;
failed:
	certificate_store_release(store);
	return NULL;
}

struct certificate_store *certificate_store_hold(struct certificate_store *store)
{
	if (store)
		atomic_fetch_add(&store->references, 1);
	return store;
}

void certificate_store_release(struct certificate_store *store)
{
	if (!store || atomic_fetch_sub(&store->references, 1) > 1)
		return;
	X509_free(store->own);
	sk_X509_pop_free(store->chain, X509_free);
	EVP_PKEY_free(store->key);
	X509_STORE_free(store->roots);
	sk_X509_pop_free(store->authorities, X509_free);
	free(store);
}

const char *certificate_store_obstacle(const struct certificate_store *store, time_t now,
                                       char why[CERTIFICATE_CAUSE_SIZE])
{
	const time_t begin = certificate_time(X509_get0_notBefore(store->own));
	char limit[32], today[32];

	certificate_print_time(now, today);
	if (now < begin) {
		certificate_print_time(begin, limit);
		snprintf(why, CERTIFICATE_CAUSE_SIZE,
		         "our certificate begins at %s and the clock says %s: is the clock right?",
		         limit, today);
	} else if (now >= store->not_after) {
		certificate_print_time(store->not_after, limit);
		snprintf(why, CERTIFICATE_CAUSE_SIZE, "our certificate expired at %s", limit);
	} else {
		return NULL;
	}
	return why;
}
