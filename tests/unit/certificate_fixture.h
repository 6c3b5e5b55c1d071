/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Certificates, keys and revocation lists for the tests, as files of a temporary directory. */
#ifndef VPNSIP_TEST_CERTIFICATE_FIXTURE_H
#define VPNSIP_TEST_CERTIFICATE_FIXTURE_H

#include <assert.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "services/common/config.h"

#define DAY_SEC 86400L

/** A certificate with its key. */
struct identity {
	EVP_PKEY *key;
	X509 *certificate;
};

/** What a certificate is like; what is left out is what a good leaf has. */
struct recipe {
	const char *name;              /* "CN=branch1,O=Bank" */
	const struct identity *issuer; /* NULL = itself */
	const char *kind;              /* "RSA 2048", "RSA 1024", "P-384"; NULL = "P-256" */
	const char *hash;              /* NULL = "SHA256" */
	const char *key_usage, *alternative;
	long begin_sec, end_sec; /* from now; 0 = since yesterday, for 30 days */
	bool is_authority;
};

/** All that was made, until free_made(). */
static struct {
	struct identity identities[256];
	char *paths[512];
	size_t identity_count, path_count;
} made;

static inline void free_made(void)
{
	for (size_t i = 0; i < made.identity_count; i++) {
		X509_free(made.identities[i].certificate);
		EVP_PKEY_free(made.identities[i].key);
	}
	for (size_t i = 0; i < made.path_count; i++)
		free(made.paths[i]);
	made.identity_count = made.path_count = 0;
}

static inline EVP_PKEY *make_key(const char *kind)
{
	return strncmp(kind, "RSA ", 4) == 0 ? EVP_RSA_gen((unsigned)atoi(kind + 4))
	                                     : EVP_EC_gen(kind);
}

static inline void add_extension(X509 *certificate, int nid, const char *value)
{
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

	assert(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static inline void set_name(X509_NAME *name, const char *text)
{
	char copy[256], *rest = copy, *part;

	snprintf(copy, sizeof(copy), "%s", text);
	while ((part = strsep(&rest, ","))) {
		const char *type = strsep(&part, "=");

		X509_NAME_add_entry_by_txt(name, type, MBSTRING_UTF8, (const unsigned char *)part,
		                           -1, -1, 0);
	}
}

static inline struct identity make_identity(const struct recipe *recipe)
{
	static long serial = 0x1001;
	X509 *certificate = X509_new();
	EVP_PKEY *key = make_key(recipe->kind ? recipe->kind : "P-256");
	const struct identity self = {key, certificate};
	const struct identity *issuer = recipe->issuer ? recipe->issuer : &self;

	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	set_name(X509_get_subject_name(certificate), recipe->name);
	X509_set_issuer_name(certificate, X509_get_subject_name(issuer->certificate));
	X509_gmtime_adj(X509_getm_notBefore(certificate),
	                recipe->begin_sec ? recipe->begin_sec : -DAY_SEC);
	X509_gmtime_adj(X509_getm_notAfter(certificate),
	                recipe->end_sec ? recipe->end_sec : 30 * DAY_SEC);
	X509_set_pubkey(certificate, key);
	add_extension(certificate, NID_basic_constraints,
	              recipe->is_authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
	if (recipe->key_usage)
		add_extension(certificate, NID_key_usage, recipe->key_usage);
	if (recipe->alternative)
		add_extension(certificate, NID_subject_alt_name, recipe->alternative);
	X509_sign(certificate, issuer->key,
	          EVP_get_digestbyname(recipe->hash ? recipe->hash : "SHA256"));
	assert(made.identity_count < sizeof(made.identities) / sizeof(made.identities[0]));
	made.identities[made.identity_count++] = self;
	return self;
}

/** Writes "DIRECTORY/NAME" anew, as an operator's tool does, and returns its path. */
static inline char *write_pem(const char *directory, const char *name, EVP_PKEY *key,
                              X509 *const *certificates, size_t count, X509_CRL *list)
{
	char *path = NULL, fresh[256];
	FILE *file;

	if (asprintf(&path, "%s/%s", directory, name) < 0)
		abort();
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	file = fopen(fresh, "w");
	assert(file);
	if (key)
		PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	for (size_t i = 0; i < count; i++)
		PEM_write_X509(file, certificates[i]);
	if (list)
		PEM_write_X509_CRL(file, list);
	fclose(file);
	chmod(fresh, 0600);
	rename(fresh, path);
	assert(made.path_count < sizeof(made.paths) / sizeof(made.paths[0]));
	made.paths[made.path_count++] = path;
	return path;
}

/** Writes NAME.pem, with `next` in it unless NULL, and NAME.key. `ca_file` may be NULL. */
static inline struct config_trustpoint write_trustpoint(const char *directory, const char *name,
                                                        const struct identity *identity, X509 *next,
                                                        const char *ca_file)
{
	X509 *const certificates[] = {identity->certificate, next};
	char file[64];
	struct config_trustpoint trustpoint = {
		.name = (char *)name, .revocation = REVOCATION_NONE, .ca_file = (char *)ca_file};

	snprintf(file, sizeof(file), "%s.key", name);
	trustpoint.key_file = write_pem(directory, file, identity->key, NULL, 0, NULL);
	snprintf(file, sizeof(file), "%s.pem", name);
	trustpoint.certificate_file = write_pem(directory, file, NULL, certificates, next ? 2 : 1,
	                                        NULL);
	return trustpoint;
}

/** A list of this issuer, valid until `end_sec` from now, that names `revoked` unless it is NULL. */
static inline X509_CRL *make_list(const struct identity *issuer, X509 *revoked, long end_sec)
{
	X509_CRL *list = X509_CRL_new();
	ASN1_TIME *begin = X509_gmtime_adj(NULL, -2 * DAY_SEC);
	ASN1_TIME *end = X509_gmtime_adj(NULL, end_sec);

	X509_CRL_set_version(list, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(list, X509_get_subject_name(issuer->certificate));
	X509_CRL_set1_lastUpdate(list, begin);
	X509_CRL_set1_nextUpdate(list, end);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();

		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked));
		X509_REVOKED_set_revocationDate(entry, begin);
		X509_CRL_add0_revoked(list, entry);
	}
	X509_CRL_sort(list);
	X509_CRL_sign(list, issuer->key, EVP_sha256());
	ASN1_TIME_free(begin);
	ASN1_TIME_free(end);
	return list;
}

#endif
