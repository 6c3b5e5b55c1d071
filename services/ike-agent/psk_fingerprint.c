/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/psk_fingerprint.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <strings.h>

/** NULL for MD5 and older. SHA-1 is for those who asked whether it is allowed. */
static const EVP_MD *hash_by_name(const char *name)
{
	if (strcasecmp(name, "SHA-256") == 0)
		return EVP_sha256();
	if (strcasecmp(name, "SHA-384") == 0)
		return EVP_sha384();
	if (strcasecmp(name, "SHA-512") == 0)
		return EVP_sha512();
	if (strcasecmp(name, "SHA-224") == 0)
		return EVP_sha224();
	if (strcasecmp(name, "SHA-1") == 0)
		return EVP_sha1();
	return NULL;
}

size_t psk_fingerprint(const char *hash, const uint8_t *key, size_t key_size,
                       uint8_t fingerprint[PSK_FINGERPRINT_MAX])
{
	const EVP_MD *digest = hash_by_name(hash);
	unsigned size = 0;

	if (!digest || EVP_Digest(key, key_size, fingerprint, &size, digest, NULL) != 1)
		return 0;
	return size;
}

bool psk_has_fingerprint(const uint8_t *key, size_t key_size, const char *hash,
                         const uint8_t *fingerprint, size_t size)
{
	uint8_t own[PSK_FINGERPRINT_MAX];
	size_t own_size = psk_fingerprint(hash, key, key_size, own);

	return own_size > 0 && own_size == size && CRYPTO_memcmp(own, fingerprint, size) == 0;
}
