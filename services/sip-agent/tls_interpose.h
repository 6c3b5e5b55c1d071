/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TLS of sofia-sip, mended from outside. Debian's library keeps every connection for ever, offers TLS 1.0, knows no revocation, no
 * server name, no chain and one certificate for everybody, and takes up errors that others left in OpenSSL's queue. This file's
 * functions bear the names of those OpenSSL functions that sofia-sip calls; the dynamic linker prefers the program's. All of a
 * connection's terms come from tls_terms_fn; without them no connection comes up.
 */
#ifndef VPNSIP_SIP_TLS_INTERPOSE_H
#define VPNSIP_SIP_TLS_INTERPOSE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/socket.h>

#define TLS_NAMES_MAXIMUM 2
#define TLS_NAME_SIZE     254
#define TLS_CAUSE_SIZE    320

/** What one connection must be. */
struct tls_terms {
	SSL_CTX *context; /* certificate and roots of the trustpoint; a reference is given away; NULL = none */
	bool is_strict_cipher;
	bool wants_certificate; /* the other side must show one that the roots vouch for */
	bool checks_subject;    /* and it must name one of those below */
	char names[TLS_NAMES_MAXIMUM]
		  [TLS_NAME_SIZE];    /* "" = none; the first is also asked for (SNI) */
	bool takes_address;           /* or the remote address */
	char refusal[TLS_CAUSE_SIZE]; /* with no context: why there is to be no connection */
};

struct tls_summary {
	char subject[128];
	const char *protocol, *cipher;
};

struct tls_events {
	/** Fills `terms`, which are zero, for a connection with `remote` that is about to shake hands. */
	void (*terms)(void *context, const struct sockaddr_storage *remote, bool is_incoming,
	              struct tls_terms *terms);
	void (*established)(void *context, const struct sockaddr_storage *remote,
	                    const struct tls_summary *summary);
	/** The handshake failed: `cause` says why. */
	void (*failed)(void *context, const struct sockaddr_storage *remote, bool is_incoming,
	               const char *cause);
};

/** Who is asked and told; NULL = nobody. From then on, for all connections of the process. */
void tls_interpose_open(const struct tls_events *events, void *context);

/**
 * Proves on a connection of sofia-sip's own that each function is in force: what is not, as a sentence; NULL = all are. TLS must
 * not be used otherwise.
 */
const char *tls_interpose_check(void);

#endif
