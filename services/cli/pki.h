/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pki: keys and certificates of the trustpoints that the configuration names. The files are all there is: nothing here asks a
 * service, and whoever may write the files (root, or their owner) may use it. Functions return false, or NULL, after a complaint
 * on stderr, unless something else is said.
 */
#ifndef VPNSIP_CLI_PKI_H
#define VPNSIP_CLI_PKI_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <time.h>

#include "services/cli/commands.h"
#include "services/common/config.h"

#define PKI_FINGERPRINT_SIZE 192 /* "AA:BB:..." of SHA-512 */
#define PKI_PASSPHRASE_SIZE  256
#define PKI_SUBJECT_SIZE     320

/** What certificates are for: --for. */
struct pki_purpose {
	const char *name;  /* "sip" */
	const char *owner; /* system user of the service that reads the files */
	/** Whether the configuration uses it so. */
	bool (*uses)(const struct config *config, const struct config_trustpoint *trustpoint);
};

/** The files of one trustpoint, and who reads them. Texts point into the configuration. */
struct pki_store {
	const char *name;
	const char *certificate_file, *key_file, *ca_file, *crl_file; /* NULL = not configured */
	const struct pki_purpose *purpose;
	const struct config_trustpoint *trustpoint;
	char subject[PKI_SUBJECT_SIZE]; /* of certificates and requests, unless --subject says another: "CN=..." */
};

/* pki_store.c */

/** The purpose of --for. */
const struct pki_purpose *pki_purpose(const struct cli *cli);

/** What the configuration uses a trustpoint for: the first purpose, or that of SIP when there is none yet. */
const struct pki_purpose *pki_purpose_of(const struct config *config,
                                         const struct config_trustpoint *trustpoint);

/**
 * The trustpoint with this number, from 0. False without a complaint when there is none, or when it serves another purpose
 * and not this one.
 */
bool pki_store_at(const struct config *config, const struct pki_purpose *purpose, size_t index,
                  struct pki_store *store);

/** The configuration that the command works on: -c, or the default. Free with config_free(). */
struct config *pki_config(const struct cli *cli);

/** The trustpoint of this name. `config` outlives `store`. */
bool pki_find(const struct cli *cli, const struct config *config, const char *name,
              struct pki_store *store);

/** The whole file with a NUL behind it; free it. NULL without a complaint, errno set, when it is not there. */
char *pki_read(const char *file, size_t *size);

/** Writes the file anew, all or nothing; it belongs to the store's owner (NULL = to us). A secret one is 0600, else 0644. */
bool pki_write(const struct pki_store *store, const char *file, bool is_secret, BIO *content);

/** --passphrase-file, or the terminal (asked twice when it is a new one). Wipe it after use. */
bool pki_passphrase(const struct cli *cli, bool is_new, char passphrase[PKI_PASSPHRASE_SIZE]);

/** Asks on standard output and input; true for "yes". --yes is the answer unless `cli` is NULL. */
bool pki_ask(const struct cli *cli, const char *question);

/* pki_crypto.c */

/** What OpenSSL has against it, after `what`. */
void pki_complain_openssl(const char *what);

/** A new key: "rsa:2048" (3072, 4096), "ec:p256", "ec:p384". */
EVP_PKEY *pki_new_key(const char *type);

/** "EC P-256", "RSA 2048". */
const char *pki_key_name(const EVP_PKEY *key, char text[32]);

/** The private key of the PEM file. NULL without a complaint, errno set, when the file is not there. */
EVP_PKEY *pki_read_key(const char *file);

/** All certificates of a PEM text, or the only one of DER octets. NULL when there is none in it. */
STACK_OF(X509) * pki_parse_certificates(const char *octets, size_t size);

/** Those of a file; NULL without a complaint when it is not there. */
STACK_OF(X509) * pki_read_certificates(const char *file);

/** "AA:BB:..." of the whole certificate. */
const char *pki_fingerprint(const X509 *certificate, const EVP_MD *hash,
                            char text[PKI_FINGERPRINT_SIZE]);

/** "CN=a,O=b" (RFC 2253); free it with OPENSSL_free(). */
char *pki_name_text(const X509_NAME *name);

/** "2026-01-31 14:00:00 UTC". */
const char *pki_time_text(const ASN1_TIME *time, char text[32]);

/** What a request asks for, where the options (--subject, --name) do not say it. */
struct pki_wish {
	const char *subject;   /* "CN=..." */
	const X509 *previous;  /* the certificate that is renewed: its names again; NULL = none */
	const char *challenge; /* password that the CA knows; NULL = none */
};

/** Subject and subjectAltName as the options say: --subject, --name. */
bool pki_self_sign(const struct cli *cli, EVP_PKEY *key, const char *default_subject, unsigned days,
                   X509 **certificate);
bool pki_request(const struct cli *cli, EVP_PKEY *key, const struct pki_wish *wish,
                 X509_REQ **request);

/** Whether `issuer` signed it. */
bool pki_is_issued_by(X509 *certificate, X509 *issuer);

/**
 * From the certificate up to a root that is believed, by way of `others` (NULL = none): the chain, root included, free it with
 * its members. NULL, without a complaint, and the reason in `cause` when there is none that is valid now.
 */
STACK_OF(X509) * pki_chain(X509 *certificate, STACK_OF(X509) * believed, STACK_OF(X509) * others,
                           const char **cause);

/** Writes our certificate with those above it, without the root, to the file. */
bool pki_write_chain(const struct pki_store *store, const char *file, STACK_OF(X509) * chain);

/* pki_show.c */

/** All that is told of a certificate, for JSON and text. */
json_t *pki_certificate_model(X509 *certificate);

/** The store's revocation lists: issuer, dates, how many are revoked. */
json_t *pki_lists_model(const struct pki_store *store);

/* pki_renew.c */

/** When a certificate has lived for so many percent of its life; 0 when its dates cannot be read. */
time_t pki_renewal_time(const X509 *certificate, unsigned percent);

/* pki_make.c */

/** The store's private key. */
EVP_PKEY *pki_own_key(const struct pki_store *store);

/** Writes the key, unencrypted, 0600, for the store's owner. */
bool pki_write_key(const struct pki_store *store, const char *file, EVP_PKEY *key);

/* pki_take.c */

/** Shows a root, asks for consent or compares --fingerprint, and adds it to the store's. `origin` is a file or an address. */
bool pki_believe(const struct cli *cli, const struct pki_store *store, X509 *root,
                 const char *origin);

#endif
