/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/esp.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/tunnel-agent/hmac.h"

#define HEADER_SIZE   8
#define TRAILER_SIZE  2
#define SALT_SIZE     4
#define AEAD_IV_SIZE  8
#define AEAD_ICV_SIZE 16
#define CHACHA_KEY    32
#define CBC_BLOCK     16
#define NONCE_MAXIMUM 16

struct esp {
	EVP_CIPHER_CTX *cipher;
	struct hmac hmac; /* its hash is NULL with an AEAD, which needs none */
	uint8_t salt[SALT_SIZE];
	unsigned iv_size;
	unsigned icv_size;
	unsigned alignment; /* of the part that is encrypted */
	bool has_extended_sequence;
	/* AES-CBC wants an IV that nobody can foretell; drawn for many packets at once. */
	uint8_t iv_pool[64 * CBC_BLOCK];
	size_t iv_pool_left;
	char algorithms[64];
};

struct integrity_definition {
	const struct hmac_hash *hash;
	unsigned key_size;
	unsigned icv_size;
	const char *name;
};

static const struct integrity_definition integrities[] = {
	[VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128] = {&hmac_sha256, 32, 16,
                                                            "HMAC-SHA2-256-128"},
	[VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_384_192] = {&hmac_sha384, 48, 24,
                                                            "HMAC-SHA2-384-192"},
	[VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256] = {&hmac_sha512, 64, 32,
                                                            "HMAC-SHA2-512-256"},
	[VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96] = {&hmac_sha1, 20, 12, "HMAC-SHA1-96"},
};

static void put_32(uint8_t *octets, uint32_t value)
{
	octets[0] = (uint8_t)(value >> 24);
	octets[1] = (uint8_t)(value >> 16);
	octets[2] = (uint8_t)(value >> 8);
	octets[3] = (uint8_t)value;
}

static uint32_t get_32(const uint8_t *octets)
{
	return (uint32_t)octets[0] << 24 | (uint32_t)octets[1] << 16 | (uint32_t)octets[2] << 8 |
	       octets[3];
}

uint32_t esp_spi(const uint8_t *packet)
{
	return get_32(packet);
}

uint32_t esp_sequence(const uint8_t *packet)
{
	return get_32(packet + 4);
}

static const EVP_CIPHER *find_cipher(Vpnsip__EncryptionAlgorithm algorithm, size_t key_size)
{
	bool is_gcm = algorithm == VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16;

	if (algorithm == VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305)
		return key_size == CHACHA_KEY ? EVP_chacha20_poly1305() : NULL;
	switch (key_size) {
	case 16:
		return is_gcm ? EVP_aes_128_gcm() : EVP_aes_128_cbc();
	case 24:
		return is_gcm ? EVP_aes_192_gcm() : EVP_aes_192_cbc();
	case 32:
		return is_gcm ? EVP_aes_256_gcm() : EVP_aes_256_cbc();
	}
	return NULL;
}

static bool set_cipher(struct esp *esp, const struct esp_options *options, size_t key_size,
                       const char **why)
{
	const EVP_CIPHER *cipher = find_cipher(options->encryption, key_size);

	if (!cipher) {
		*why = "the encryption key has a size that the cipher does not know";
		return false;
	}
	esp->cipher = EVP_CIPHER_CTX_new();
	if (!esp->cipher || !EVP_CipherInit_ex(esp->cipher, cipher, NULL, options->encryption_key,
	                                       NULL, !options->is_inbound)) {
		*why = "OpenSSL refused the cipher";
		return false;
	}
	EVP_CIPHER_CTX_set_padding(esp->cipher, 0);
	return true;
}

/* AES-GCM (RFC 4106) and ChaCha20-Poly1305 (RFC 7634) differ in nothing but the cipher. */
static bool set_aead(struct esp *esp, const struct esp_options *options, const char **why)
{
	size_t key_size;

	if (options->encryption_key_size <= SALT_SIZE) {
		*why = "the key has no salt";
		return false;
	}
	if (options->integrity > VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE) {
		*why = "an AEAD takes no second integrity algorithm";
		return false;
	}
	key_size = options->encryption_key_size - SALT_SIZE;
	memcpy(esp->salt, options->encryption_key + key_size, SALT_SIZE);
	esp->iv_size = AEAD_IV_SIZE;
	esp->icv_size = AEAD_ICV_SIZE;
	esp->alignment = 4;
	snprintf(esp->algorithms, sizeof(esp->algorithms), "%s %zu%s",
	         options->encryption == VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16
	                 ? "AES-GCM-16"
	                 : "ChaCha20-Poly1305",
	         key_size * 8, esp->has_extended_sequence ? " ESN" : "");
	return set_cipher(esp, options, key_size, why);
}

static bool set_cbc(struct esp *esp, const struct esp_options *options, const char **why)
{
	const struct integrity_definition *integrity;

	if ((size_t)options->integrity >= sizeof(integrities) / sizeof(*integrities) ||
	    !integrities[options->integrity].hash) {
		*why = "AES-CBC needs an integrity algorithm";
		return false;
	}
	integrity = &integrities[options->integrity];
	if (options->integrity_key_size != integrity->key_size) {
		*why = "the integrity key has the wrong size";
		return false;
	}
	hmac_set_key(&esp->hmac, integrity->hash, options->integrity_key,
	             options->integrity_key_size);
	esp->iv_size = CBC_BLOCK;
	esp->icv_size = integrity->icv_size;
	esp->alignment = CBC_BLOCK;
	snprintf(esp->algorithms, sizeof(esp->algorithms), "AES-CBC %zu %s%s",
	         options->encryption_key_size * 8, integrity->name,
	         esp->has_extended_sequence ? " ESN" : "");
	return set_cipher(esp, options, options->encryption_key_size, why);
}

struct esp *esp_new(const struct esp_options *options, const char **why)
{
	struct esp *esp = calloc(1, sizeof(*esp));
	bool is_set = false;

	if (!esp) {
		*why = "out of memory";
		return NULL;
	}
	esp->has_extended_sequence = options->has_extended_sequence;
	if (options->encryption == VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16 ||
	    options->encryption == VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305)
		is_set = set_aead(esp, options, why);
	else if (options->encryption == VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC)
		is_set = set_cbc(esp, options, why);
	else
		*why = "unknown encryption algorithm";
	if (!is_set) {
		esp_free(esp);
		return NULL;
	}
	return esp;
}

void esp_free(struct esp *esp)
{
	if (!esp)
		return;
	EVP_CIPHER_CTX_free(esp->cipher);
	OPENSSL_cleanse(esp, sizeof(*esp));
	free(esp);
}

const char *esp_algorithms(const struct esp *esp)
{
	return esp->algorithms;
}

/* RFC 4106 section 5: SPI and sequence number, with the high half in between when it is extended. */
static int build_associated_data(const struct esp *esp, uint32_t spi, uint64_t sequence,
                                 uint8_t data[12])
{
	put_32(data, spi);
	if (!esp->has_extended_sequence) {
		put_32(data + 4, (uint32_t)sequence);
		return 8;
	}
	put_32(data + 4, (uint32_t)(sequence >> 32));
	put_32(data + 8, (uint32_t)sequence);
	return 12;
}

/* Encrypts or decrypts in place; the direction is the context's. An AEAD also authenticates: `icv` is made or checked. */
static enum esp_result run_aead(struct esp *esp, const uint8_t *header, uint64_t sequence,
                                const uint8_t *iv, uint8_t *text, int text_size, uint8_t *icv)
{
	uint8_t nonce[NONCE_MAXIMUM], associated[12];
	int associated_size = build_associated_data(esp, get_32(header), sequence, associated);
	bool is_encrypting = EVP_CIPHER_CTX_is_encrypting(esp->cipher);
	int done, rest;

	memcpy(nonce, esp->salt, SALT_SIZE);
	memcpy(nonce + SALT_SIZE, iv, AEAD_IV_SIZE);
	if (!EVP_CipherInit_ex(esp->cipher, NULL, NULL, NULL, nonce, -1) ||
	    !EVP_CipherUpdate(esp->cipher, NULL, &done, associated, associated_size) ||
	    !EVP_CipherUpdate(esp->cipher, text, &done, text, text_size))
		return ESP_FAILED;
	if (!is_encrypting &&
	    !EVP_CIPHER_CTX_ctrl(esp->cipher, EVP_CTRL_AEAD_SET_TAG, AEAD_ICV_SIZE, icv))
		return ESP_FAILED;
	if (!EVP_CipherFinal_ex(esp->cipher, text + done, &rest))
		return is_encrypting ? ESP_FAILED : ESP_FORGED;
	if (is_encrypting &&
	    !EVP_CIPHER_CTX_ctrl(esp->cipher, EVP_CTRL_AEAD_GET_TAG, AEAD_ICV_SIZE, icv))
		return ESP_FAILED;
	return ESP_OK;
}

static bool run_cbc(struct esp *esp, const uint8_t *iv, uint8_t *text, int text_size)
{
	int done, rest;

	return EVP_CipherInit_ex(esp->cipher, NULL, NULL, NULL, iv, -1) &&
	       EVP_CipherUpdate(esp->cipher, text, &done, text, text_size) &&
	       EVP_CipherFinal_ex(esp->cipher, text + done, &rest);
}

/* HMAC over the packet up to the ICV; the high half of an extended number follows it unseen (RFC 4303 section 2.2.1). */
static void compute_mac(struct esp *esp, const uint8_t *packet, size_t size, uint64_t sequence,
                        uint8_t mac[HMAC_MAXIMUM])
{
	uint8_t high[4];

	put_32(high, (uint32_t)(sequence >> 32));
	hmac_begin(&esp->hmac);
	hmac_update(&esp->hmac, packet, size);
	if (esp->has_extended_sequence)
		hmac_update(&esp->hmac, high, sizeof(high));
	hmac_finish(&esp->hmac, mac);
}

static bool draw_iv(struct esp *esp, uint8_t *iv)
{
	if (esp->iv_pool_left == 0) {
		if (RAND_bytes(esp->iv_pool, sizeof(esp->iv_pool)) != 1)
			return false;
		esp->iv_pool_left = sizeof(esp->iv_pool);
	}
	esp->iv_pool_left -= CBC_BLOCK;
	memcpy(iv, esp->iv_pool + esp->iv_pool_left, CBC_BLOCK);
	return true;
}

/* Padding 1, 2, 3 ..., its length, and the next header (RFC 4303 section 2.4). Returns the size of all. */
static size_t append_trailer(const struct esp *esp, uint8_t *inner, size_t inner_size,
                             uint8_t next_header)
{
	size_t padding = (0 - (inner_size + TRAILER_SIZE)) & (esp->alignment - 1);
	uint8_t *end = inner + inner_size;

	for (size_t i = 0; i < padding; i++)
		*end++ = (uint8_t)(i + 1);
	*end++ = (uint8_t)padding;
	*end++ = next_header;
	return (size_t)(end - inner);
}

static enum esp_result seal(struct esp *esp, uint32_t spi, uint64_t sequence, uint8_t next_header,
                            uint8_t *inner, size_t inner_size, uint8_t **packet,
                            size_t *packet_size)
{
	uint8_t *iv = inner - esp->iv_size, *header = iv - HEADER_SIZE;
	size_t text_size = append_trailer(esp, inner, inner_size, next_header);
	uint8_t *icv = inner + text_size, mac[HMAC_MAXIMUM];

	put_32(header, spi);
	put_32(header + 4, (uint32_t)sequence);
	if (!esp->hmac.hash) {
		put_32(iv, (uint32_t)(sequence >> 32));
		put_32(iv + 4, (uint32_t)sequence);
		if (run_aead(esp, header, sequence, iv, inner, (int)text_size, icv) != ESP_OK)
			return ESP_FAILED;
	} else {
		if (!draw_iv(esp, iv) || !run_cbc(esp, iv, inner, (int)text_size))
			return ESP_FAILED;
		compute_mac(esp, header, (size_t)(icv - header), sequence, mac);
		memcpy(icv, mac, esp->icv_size);
	}
	*packet = header;
	*packet_size = (size_t)(icv - header) + esp->icv_size;
	return ESP_OK;
}

enum esp_result esp_seal(struct esp *esp, uint32_t spi, uint64_t sequence, uint8_t *inner,
                         size_t inner_size, uint8_t **packet, size_t *packet_size)
{
	uint8_t next_header = inner[0] >> 4 == 6 ? ESP_NEXT_IPV6 : ESP_NEXT_IPV4;

	return seal(esp, spi, sequence, next_header, inner, inner_size, packet, packet_size);
}

enum esp_result esp_seal_dummy(struct esp *esp, uint32_t spi, uint64_t sequence, uint8_t *inner,
                               size_t inner_size, uint8_t **packet, size_t *packet_size)
{
	return seal(esp, spi, sequence, ESP_NEXT_DUMMY, inner, inner_size, packet, packet_size);
}

enum esp_result esp_open(struct esp *esp, uint64_t sequence, uint8_t *packet, size_t packet_size,
                         uint8_t **inner, size_t *inner_size, uint8_t *next_header)
{
	uint8_t *iv = packet + HEADER_SIZE, *text = iv + esp->iv_size;
	uint8_t mac[HMAC_MAXIMUM], *icv;
	size_t overhead = HEADER_SIZE + esp->iv_size + esp->icv_size, text_size, padding;

	if (packet_size < overhead + esp->alignment)
		return ESP_MALFORMED;
	text_size = packet_size - overhead;
	icv = text + text_size;
	if (text_size % esp->alignment)
		return ESP_MALFORMED;
	if (!esp->hmac.hash) {
		enum esp_result result = run_aead(esp, packet, sequence, iv, text, (int)text_size,
		                                  icv);

		if (result != ESP_OK)
			return result;
	} else {
		compute_mac(esp, packet, (size_t)(icv - packet), sequence, mac);
		if (CRYPTO_memcmp(mac, icv, esp->icv_size) != 0)
			return ESP_FORGED;
		if (!run_cbc(esp, iv, text, (int)text_size))
			return ESP_FAILED;
	}
	padding = text[text_size - 2];
	if (padding + TRAILER_SIZE > text_size)
		return ESP_BAD_PADDING;
	for (size_t i = 0; i < padding; i++)
		if (text[text_size - TRAILER_SIZE - padding + i] != i + 1)
			return ESP_BAD_PADDING;
	*next_header = text[text_size - 1];
	*inner = text;
	*inner_size = text_size - TRAILER_SIZE - padding;
	return ESP_OK;
}
