/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Messages of the Simple Certificate Enrolment Protocol (RFC 8894): requests sealed for the CA, its replies opened and checked.
 * Pure: no sockets, no files.
 */
#ifndef VPNSIP_CLI_PKI_SCEP_H
#define VPNSIP_CLI_PKI_SCEP_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>

#define PKI_SCEP_TRANSACTION_SIZE 41
#define PKI_SCEP_NONCE_SIZE       16

/** messageType of RFC 8894 section 3.2.1.2; its numbers are on the wire. */
enum pki_scep_message {
	SCEP_CERT_REP = 3,
	SCEP_RENEWAL_REQ = 17,
	SCEP_PKCS_REQ = 19,
	SCEP_CERT_POLL = 20,
};

/** pkiStatus. */
enum pki_scep_status { SCEP_SUCCESS, SCEP_FAILURE, SCEP_PENDING, SCEP_INVALID };

/** What the CA can do (GetCACaps). */
struct pki_scep_abilities {
	bool has_aes, has_sha256, has_post, has_renewal;
};

/** Both ends of a transaction. Nothing is owned. */
struct pki_scep_transaction {
	X509 *signer; /* of the requests: self-signed, or the certificate that is renewed; replies are sealed for it */
	EVP_PKEY *signer_key;
	X509 *recipient;             /* the CA's, or its RA's: requests are sealed for it */
	STACK_OF(X509) * responders; /* who may sign a reply */
	char id[PKI_SCEP_TRANSACTION_SIZE];
	unsigned char nonce[PKI_SCEP_NONCE_SIZE]; /* of the last request; the reply repeats it */
};

/** Reads GetCACaps' lines. */
struct pki_scep_abilities pki_scep_read_abilities(const char *text);

/** The transaction's id: a digest of the key that the certificate is asked for, so it survives us. */
bool pki_scep_name_transaction(struct pki_scep_transaction *transaction, EVP_PKEY *key);

/**
 * Seals and signs `content` (PKCS#10, or pki_scep_poll()'s), with a new nonce. The message's octets are the caller's; free them
 * with OPENSSL_free(). NULL when OpenSSL fails, which has then said why.
 */
unsigned char *pki_scep_seal(struct pki_scep_transaction *transaction,
                             enum pki_scep_message message, const unsigned char *content,
                             size_t content_size, size_t *size);

/** What SCEP_CERT_POLL asks for: the issuer's and the subject's name. As pki_scep_seal(). */
unsigned char *pki_scep_poll(const X509 *issuer, const X509_NAME *subject, size_t *size);

/**
 * Opens a reply. SCEP_INVALID: not signed by a responder, of another transaction, or no reply at all. With SCEP_SUCCESS
 * `issued` has what came, ours among it; free it with its members. Otherwise `cause` says what the CA holds against us.
 */
enum pki_scep_status pki_scep_open(const struct pki_scep_transaction *transaction,
                                   const char *octets, size_t size, STACK_OF(X509) * *issued,
                                   const char **cause);

#endif
