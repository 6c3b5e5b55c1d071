/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The files of a trustpoint, loaded: our certificate with its chain and key, the roots that we believe, their revocation lists.
 * A store never changes; a changed file makes a new one, and who still uses the old one keeps it.
 */
#ifndef VPNSIP_CERTIFICATE_STORE_H
#define VPNSIP_CERTIFICATE_STORE_H

#include <openssl/x509.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

#include "services/common/config.h"

#define CERTIFICATE_CAUSE_SIZE 256
#define CERTIFICATE_NAME_SIZE  256

struct certificate_store {
	atomic_uint references;
	X509 *own;              /* NULL = we show none */
	STACK_OF(X509) * chain; /* between ours and the root, which is not among them; never NULL */
	EVP_PKEY *key;
	X509_STORE *roots;            /* with the revocation lists; empty without ca-file */
	STACK_OF(X509) * authorities; /* the roots alone; never NULL */
	time_t not_after;             /* the first of ours and its chain that expires; 0 = none */
};

/** What an operator wants to know of a certificate. */
struct certificate_facts {
	char subject[CERTIFICATE_NAME_SIZE],
		issuer[CERTIFICATE_NAME_SIZE]; /* "CN=branch1, O=Bank" */
	char serial[64];                       /* hexadecimal */
	const char *key_kind;                  /* "RSA", "ECDSA" or "unknown" */
	unsigned key_bits;
	time_t not_before, not_after;
};

/**
 * Loads the trustpoint's files. NULL with a sentence in `why`: a file that cannot be read or is damaged, a key that is not the
 * certificate's or that others may read. What is right by itself but not now (expired) is loaded.
 */
struct certificate_store *certificate_store_load(const struct config_trustpoint *trustpoint,
                                                 char why[CERTIFICATE_CAUSE_SIZE]);

/** Any thread may hold and release a store. */
struct certificate_store *certificate_store_hold(struct certificate_store *store);
void certificate_store_release(struct certificate_store *store);

/** Why our own certificate is of no use at this time, in a sentence; NULL = it is. */
const char *certificate_store_obstacle(const struct certificate_store *store, time_t now,
                                       char why[CERTIFICATE_CAUSE_SIZE]);

void certificate_facts_read(const X509 *certificate, struct certificate_facts *facts);

/** "CN=branch1, O=Bank", in the order in which the certificate has it. */
void certificate_print_name(const X509_NAME *name, char text[CERTIFICATE_NAME_SIZE]);

/** "2026-11-21 08:30:00 UTC". */
void certificate_print_time(time_t time, char text[32]);

/** Seconds since 1970; 0 for a time that cannot be read. */
time_t certificate_time(const ASN1_TIME *value);

/** RSA of 2048 bits and more, or ECDSA on P-256, P-384 or P-521. */
bool certificate_has_strong_key(const X509 *certificate);

#endif
