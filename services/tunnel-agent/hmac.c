/* SPDX-License-Identifier: GPL-3.0-or-later */
#define OPENSSL_SUPPRESS_DEPRECATED /* the functions without EVP, which keep all they need in a variable of ours */

#include "services/tunnel-agent/hmac.h"

#include <openssl/crypto.h>
#include <string.h>

#define INNER_PAD     0x36
#define OUTER_PAD     0x5c
#define BLOCK_MAXIMUM SHA512_CBLOCK

/* These functions of OpenSSL cannot fail. */
#define DEFINE_HASH(name, NAME, member, block)                                              \
	static void name##_begin(union hash_state *state)                                   \
	{                                                                                   \
		NAME##_Init(&state->member);                                                \
	}                                                                                   \
	static void name##_update(union hash_state *state, const void *octets, size_t size) \
	{                                                                                   \
		NAME##_Update(&state->member, octets, size);                                \
	}                                                                                   \
	static void name##_finish(union hash_state *state, uint8_t *digest)                 \
	{                                                                                   \
		NAME##_Final(digest, &state->member);                                       \
	}                                                                                   \
	const struct hmac_hash hmac_##name = {block, NAME##_DIGEST_LENGTH, name##_begin,    \
	                                      name##_update, name##_finish}

#define SHA1_DIGEST_LENGTH SHA_DIGEST_LENGTH

DEFINE_HASH(sha1, SHA1, sha1, SHA_CBLOCK);
DEFINE_HASH(sha256, SHA256, sha256, SHA256_CBLOCK);
DEFINE_HASH(sha384, SHA384, sha512, SHA512_CBLOCK);
DEFINE_HASH(sha512, SHA512, sha512, SHA512_CBLOCK);

static void read_padded_key(union hash_state *state, const struct hmac_hash *hash,
                            const uint8_t *key, size_t size, uint8_t pad)
{
	uint8_t block[BLOCK_MAXIMUM];

	memset(block, pad, hash->block_size);
	for (size_t i = 0; i < size; i++)
		block[i] ^= key[i];
	hash->begin(state);
	hash->update(state, block, hash->block_size);
	OPENSSL_cleanse(block, sizeof(block));
}

void hmac_set_key(struct hmac *hmac, const struct hmac_hash *hash, const uint8_t *key, size_t size)
{
	hmac->hash = hash;
	read_padded_key(&hmac->inner, hash, key, size, INNER_PAD);
	read_padded_key(&hmac->outer, hash, key, size, OUTER_PAD);
}

void hmac_begin(struct hmac *hmac)
{
	hmac->message = hmac->inner;
}

void hmac_update(struct hmac *hmac, const void *octets, size_t size)
{
	hmac->hash->update(&hmac->message, octets, size);
}

void hmac_finish(struct hmac *hmac, uint8_t *mac)
{
	const struct hmac_hash *hash = hmac->hash;

	hash->finish(&hmac->message, mac);
	hmac->message = hmac->outer;
	hash->update(&hmac->message, mac, hash->digest_size);
	hash->finish(&hmac->message, mac);
}
