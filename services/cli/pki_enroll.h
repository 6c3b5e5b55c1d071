/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Having our certificate signed by a CA's server: one exchange by SCEP (RFC 8894) or EST (RFC 7030), and what is around it.
 * HTTP is libcurl's, the messages are OpenSSL's. Debian 12's `pki --scep` (strongSwan 5.9.8) is not used: it takes the
 * server's abilities for others (no AES but from servers that say SHA-384), and does not read the replies of Debian's own SCEP server.
 */
#ifndef VPNSIP_CLI_PKI_ENROLL_H
#define VPNSIP_CLI_PKI_ENROLL_H

#include "services/cli/pki.h"
#include "services/cli/pki_http.h"

enum pki_answer {
	PKI_ISSUED = 1,
	PKI_PENDING,     /* ask again */
	PKI_REFUSED,     /* asking again changes nothing */
	PKI_UNREACHABLE, /* perhaps later */
};

/** One certificate that is asked for. Nothing is owned. */
struct pki_enrolment {
	const struct cli *cli;
	const struct config *config;
	const struct pki_store *store;
	EVP_PKEY *key;  /* that it shall be of */
	X509 *previous; /* that it replaces, and its key; NULL = the first */
	EVP_PKEY *previous_key;
	const char *challenge;     /* as the file has it; NULL = none */
	STACK_OF(X509) * believed; /* roots */
	STACK_OF(X509) *
		authorities; /* what the server called its own, as far as they are signed by a root that is believed */
	bool is_asked_before; /* in this run: the CA has not decided */
};

/** What the server said. */
struct pki_reply {
	STACK_OF(X509) * issued;  /* with PKI_ISSUED: ours among them; free it with its members */
	unsigned retry_after_sec; /* with PKI_PENDING; 0 = it does not say */
	char cause[PKI_CAUSE_SIZE];
};

/** Asks once. Blocks. */
enum pki_answer pki_scep_ask(const struct pki_enrolment *enrolment, struct pki_reply *reply);
enum pki_answer pki_est_ask(const struct pki_enrolment *enrolment, struct pki_reply *reply);

/**
 * What the server calls the CA's certificates, believed by nobody yet. Free it with its members; NULL and a cause when it has
 * none or is not reached.
 */
STACK_OF(X509) * pki_scep_authorities(const struct config *config, const char *url,
                                      char cause[PKI_CAUSE_SIZE]);
STACK_OF(X509) * pki_est_authorities(const struct config *config, const char *url,
                                     char cause[PKI_CAUSE_SIZE]);

/** The request as DER; free it with OPENSSL_free(). NULL after a complaint. */
unsigned char *pki_enrolment_request(const struct pki_enrolment *enrolment, size_t *size);

/** The certificates of a PKCS#7 message without signers, or of pki_parse_certificates(). NULL when there is none. */
STACK_OF(X509) * pki_parse_bag(const char *octets, size_t size);

/** Of an HTTP answer other than 200: whether it may be better later, and the cause. */
enum pki_answer pki_judge_status(const char *url, const struct pki_http_answer *answer,
                                 char cause[PKI_CAUSE_SIZE]);

/** pki authenticate without a file: the root that the trustpoint's server offers. An exit status. */
int pki_authenticate_server(const struct cli *cli, const struct config *config,
                            const struct pki_store *store);

/**
 * Asks until the certificate is there, the CA refuses, or patience ends (--retries, --interval, --wait), and says so. With
 * CLI_DONE `chain` is ours with those above it, checked, root included; CLI_PARTIAL = the CA has not decided.
 */
int pki_enroll(struct pki_enrolment *enrolment, STACK_OF(X509) * *chain);

/** Whether the trustpoint can be enrolled at all: files, enrolment, roots. Complains otherwise. */
bool pki_can_enroll(const struct pki_store *store);

/** The first line of challenge-file, or NULL when none is configured; false after a complaint, also when others may
 * read the file. */
bool pki_read_challenge(const struct pki_store *store, char **challenge);

/** Wipes and frees it; NULL is allowed. */
void pki_forget_challenge(char *challenge);

#endif
