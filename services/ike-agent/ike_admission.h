/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may begin an IKE_SA: cookies while many are half-open, and a limit to their number (RFC 7296 section 2.6). Pure: told
 * the time, the counts and its first secret.
 *
 * Only an announced session is asked about here, and it has a port of its own: what a stranger sends there counts against this
 * session. Addresses are not counted, for many sessions come through one relay of the carrier.
 */
#ifndef VPNSIP_IKE_ADMISSION_H
#define VPNSIP_IKE_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define IKE_COOKIE_SECRET_SIZE 32
#define IKE_COOKIE_REPLY_SIZE  69 /* header 28, notify 8, cookie 33 */
#define IKE_ADMITTED_SLOTS     1024
#define IKE_DIGEST_SIZE        16

/** A message that was admitted, which its sender may repeat until it is answered. */
struct ike_admitted {
	uint8_t digest[IKE_DIGEST_SIZE]; /* of address, port and message */
	uint64_t until_usec;
};

struct ike_admission {
	unsigned cookie_threshold; /* half-open IKE_SAs of all sessions from which on cookies are demanded */
	unsigned maximum_half_open;                 /* of all sessions */
	uint8_t secrets[2][IKE_COOKIE_SECRET_SIZE]; /* the one in force, and the one before it */
	uint8_t version;                            /* of the secret in force */
	uint64_t secret_since_usec;
	uint64_t demanding_until_usec;
	uint64_t accepted, rejected_by_half_open, cookies_demanded, cookies_proven;
	struct ike_admitted
		admitted[IKE_ADMITTED_SLOTS]; /* by digest; a later one takes an earlier one's slot */
};

enum ike_verdict {
	IKE_ADMITTED = 1,    /* to be processed: no beginning at all, or one that may be */
	IKE_COOKIE_DEMANDED, /* `reply` is to be sent, the message to be dropped */
	IKE_TOO_MANY,        /* to be dropped */
};

/** What is known of a message's session when it comes. */
struct ike_situation {
	unsigned half_open;         /* IKE_SAs that others began, of all sessions */
	unsigned session_half_open; /* of this one */
	uint64_t now_usec;
};

/** `secret` is random. */
void ike_admission_init(struct ike_admission *admission, unsigned cookie_threshold,
                        unsigned maximum_half_open, const uint8_t secret[IKE_COOKIE_SECRET_SIZE]);

/** Another secret, `secret`, is in force; cookies of the last one still count. */
void ike_admission_change_secret(struct ike_admission *admission,
                                 const uint8_t secret[IKE_COOKIE_SECRET_SIZE], uint64_t now_usec);

/** True once the secret has been in use for so long that it should change. */
bool ike_admission_wants_secret(const struct ike_admission *admission, uint64_t now_usec);

/** Judges a message of `remote`, which may be anything. */
enum ike_verdict ike_admission_judge(struct ike_admission *admission,
                                     const struct sockaddr_storage *remote, const uint8_t *packet,
                                     size_t size, const struct ike_situation *situation,
                                     uint8_t reply[IKE_COOKIE_REPLY_SIZE]);

#endif
