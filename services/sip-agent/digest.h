/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * SIP digest access authentication (RFC 3261 section 22.4, RFC 7616, RFC 8760): which challenge to
 * answer, and the answer. Pure.
 */
#ifndef VPNSIP_SIP_DIGEST_H
#define VPNSIP_SIP_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Longest header value that digest_answer() writes, with its NUL. */
#define DIGEST_ANSWER_SIZE 2048

/** Parameters of one challenge, without quotes; NULL = absent. */
struct digest_challenge {
	const char *scheme; /* "Digest" */
	const char *realm;
	const char *nonce;
	const char *opaque;
	const char *algorithm; /* absent means MD5 */
	const char *qop;       /* list: "auth,auth-int" */
	const char *stale;
};

/** Whose request is signed. */
struct digest_request {
	const char *user, *password;
	const char *method;
	const char *uri; /* the Request-URI */
	const char *cnonce;
	uint32_t nonce_count;
	const char *body; /* for qop=auth-int */
	size_t body_size;
};

/**
 * Index of the strongest challenge that can be answered (SHA-512-256, SHA-256, then, if `allows_md5`, MD5; the first
 * of equals), or -1. Basic and unknown algorithms are never chosen.
 */
int digest_choose(const struct digest_challenge *challenges, size_t count, bool allows_md5);

bool digest_is_stale(const struct digest_challenge *challenge);

/** Writes the value of the (Proxy-)Authorization header. False if it does not fit or a parameter cannot be quoted. */
bool digest_answer(const struct digest_challenge *challenge, const struct digest_request *request,
                   char answer[DIGEST_ANSWER_SIZE]);

#endif
