/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/xfrm_algorithms.h"

#include <stdio.h>
#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static const struct xfrm_cipher ciphers[] = {
	{VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
         "rfc4106(gcm(aes))",
         "AES-GCM-16",
         4,
         128,
         {20, 28, 36}},
	{VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305,
         "rfc7539esp(chacha20,poly1305)",
         "ChaCha20-Poly1305",
         4,
         128,
         {36}},
	{VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC, "cbc(aes)", "AES-CBC", 0, 0, {16, 24, 32}},
};

static const struct xfrm_digest digests[] = {
	{VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128, "hmac(sha256)", "HMAC-SHA2-256-128", 32,
         128},
	{VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_384_192, "hmac(sha384)", "HMAC-SHA2-384-192", 48,
         192},
	{VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256, "hmac(sha512)", "HMAC-SHA2-512-256", 64,
         256},
	{VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96, "hmac(sha1)", "HMAC-SHA1-96", 20, 96},
};

const struct xfrm_cipher *xfrm_find_cipher(Vpnsip__EncryptionAlgorithm encryption)
{
	for (size_t i = 0; i < COUNT(ciphers); i++)
		if (ciphers[i].encryption == encryption)
			return &ciphers[i];
	return NULL;
}

const struct xfrm_digest *xfrm_find_digest(Vpnsip__IntegrityAlgorithm integrity)
{
	for (size_t i = 0; i < COUNT(digests); i++)
		if (digests[i].integrity == integrity)
			return &digests[i];
	return NULL;
}

const struct xfrm_cipher *xfrm_find_cipher_name(const char *kernel_name)
{
	for (size_t i = 0; i < COUNT(ciphers); i++)
		if (strcmp(ciphers[i].kernel_name, kernel_name) == 0)
			return &ciphers[i];
	return NULL;
}

const struct xfrm_digest *xfrm_find_digest_name(const char *kernel_name)
{
	for (size_t i = 0; i < COUNT(digests); i++)
		if (strcmp(digests[i].kernel_name, kernel_name) == 0)
			return &digests[i];
	return NULL;
}

static bool has_key_size(const struct xfrm_cipher *cipher, size_t size)
{
	for (size_t i = 0; i < COUNT(cipher->key_octets); i++)
		if (size > 0 && cipher->key_octets[i] == size)
			return true;
	return false;
}

bool xfrm_check_options(const struct esp_options *options, const char **why)
{
	const struct xfrm_cipher *cipher = xfrm_find_cipher(options->encryption);
	const struct xfrm_digest *digest = xfrm_find_digest(options->integrity);

	if (!cipher) {
		*why = "unknown encryption algorithm";
		return false;
	}
	if (!has_key_size(cipher, options->encryption_key_size)) {
		*why = "the encryption key has the wrong size";
		return false;
	}
	if (cipher->icv_bits > 0 &&
	    options->integrity > VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE) {
		*why = "an AEAD takes no second integrity algorithm";
		return false;
	}
	if (cipher->icv_bits == 0 &&
	    (!digest || digest->key_octets != options->integrity_key_size)) {
		*why = digest ? "the integrity key has the wrong size"
		              : "AES-CBC needs an integrity algorithm";
		return false;
	}
	return true;
}

void xfrm_print_algorithms(const struct xfrm_cipher *cipher, const struct xfrm_digest *digest,
                           size_t key_octets, bool is_extended, char *text, size_t text_size)
{
	snprintf(text, text_size, "%s %zu%s%s%s", cipher->shown_name,
	         (key_octets - cipher->salt_octets) * 8, digest ? " " : "",
	         digest ? digest->shown_name : "", is_extended ? " ESN" : "");
}
