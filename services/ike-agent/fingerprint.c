/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/fingerprint.h"

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

size_t fingerprint_compute(const char *hash, const uint8_t *octets, size_t size,
                           uint8_t fingerprint[FINGERPRINT_MAX])
{
	const EVP_MD *digest = hash_by_name(hash);
	unsigned length = 0;

	if (!digest || EVP_Digest(octets, size, fingerprint, &length, digest, NULL) != 1)
		return 0;
	return length;
}

bool fingerprint_fits(const uint8_t *octets, size_t size, const char *hash,
                      const uint8_t *fingerprint, size_t fingerprint_size)
{
	uint8_t own[FINGERPRINT_MAX];
	size_t own_size = fingerprint_compute(hash, octets, size, own);

	return own_size > 0 && own_size == fingerprint_size &&
	       CRYPTO_memcmp(own, fingerprint, own_size) == 0;
}
