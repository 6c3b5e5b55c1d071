/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * HMAC (RFC 2104) with one key, for many messages. Nothing is allocated: OpenSSL's own HMAC takes memory for each message, which is
 * each packet here. The hashes are OpenSSL's.
 */
#ifndef VPNSIP_HMAC_H
#define VPNSIP_HMAC_H

#include <openssl/sha.h>
#include <stddef.h>
#include <stdint.h>

/* The largest result. */
#define HMAC_MAXIMUM SHA512_DIGEST_LENGTH

union hash_state {
	SHA_CTX sha1;
	SHA256_CTX sha256;
	SHA512_CTX sha512;
};

/** One hash of OpenSSL. */
struct hmac_hash {
	size_t block_size, digest_size;
	void (*begin)(union hash_state *state);
	void (*update)(union hash_state *state, const void *octets, size_t size);
	void (*finish)(union hash_state *state, uint8_t *digest);
};

extern const struct hmac_hash hmac_sha1, hmac_sha256, hmac_sha384, hmac_sha512;

struct hmac {
	const struct hmac_hash *hash;
	union hash_state inner, outer; /* that have read the padded key */
	union hash_state message;      /* of the message under way */
};

/** The key must not be longer than a block of the hash. */
void hmac_set_key(struct hmac *hmac, const struct hmac_hash *hash, const uint8_t *key, size_t size);

/* One message: hmac_begin(), hmac_update() as often as needed, hmac_finish(), which writes HMAC_MAXIMUM octets at most. */
void hmac_begin(struct hmac *hmac);
void hmac_update(struct hmac *hmac, const void *octets, size_t size);
void hmac_finish(struct hmac *hmac, uint8_t *mac);

#endif
