/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ESP: known answers made with libgcrypt (another implementation), round trips, and every way to refuse a packet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/tunnel-agent/esp.h"

#define GCM       VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16
#define CBC       VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC
#define CHACHA    VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305
#define NO_HMAC   VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE
#define HMAC_256  VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128
#define HMAC_384  VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_384_192
#define HMAC_512  VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256
#define HMAC_SHA1 VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96

#define SPI        0x87654321
#define ROOM       2048
#define INNER_SIZE 54
#define SALT                           \
	{                              \
		0xca, 0xfe, 0xba, 0xbe \
	}
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

struct vector {
	const char *name;
	Vpnsip__EncryptionAlgorithm encryption;
	size_t key_size; /* without salt */
	Vpnsip__IntegrityAlgorithm integrity;
	size_t integrity_key_size;
	bool is_extended;
	uint64_t sequence;
	const char *packet;
};

/*
 * Key octet i is 7i + key size, integrity key octet i is 11i + 3, the salt is SALT; an AEAD's IV is the 64-bit sequence
 * number, the AES-CBC IV is a0 a1 ... af; the plain text is inner_packet().
 */
static const struct vector vectors[] = {
	{"AES-GCM-16 128", GCM, 16, NO_HMAC, 0, false, 1,
         "8765432100000001000000000000000165f7a6f420d77269fefedc4bfa0f1687e67a30c3548a"
         "fb3e330b5909e8fe37c79e4db031be9c44d5670cb80c72fb77f443abf48d435b0439293e0efb"
         "3c4280b773d1d70eee780ea1"},
	{"AES-GCM-16 192", GCM, 24, NO_HMAC, 0, false, 0x10203,
         "87654321000102030000000000010203a6e673d6f6580dfbd47b681914db3c91ef34e8e6ce4b"
         "68df10b8a56223e0af1b8255eaa9f26e8a55786635ea124a0dd9cd65957f8336a4e1892c2a5e"
         "3e807b0c60c062e8aa130fcf"},
	{"AES-GCM-16 256 ESN", GCM, 32, NO_HMAC, 0, true, UINT64_C(0x500000009),
         "876543210000000900000005000000090deee7ecc9d7200e5901b8604e7e5d0cdf840c1c7e17"
         "150ace4dd90c432364b45b72ec0b6cc1049972602d85f258dcb493a2f29bb1397895f1c96b07"
         "3f64c0bfb0a7908e7a40fa9f"},
	{"AES-CBC 128 HMAC-SHA2-256-128", CBC, 16, HMAC_256, 32, false, 1,
         "8765432100000001a0a1a2a3a4a5a6a7a8a9aaabacadaeaf93cee1dfb9de87fcba18b111aaec"
         "c98b3186dab0c690a4a9c938d396bfa5f2b5034d88a68f9e25e2a503c5af73d2f9b807c823d8"
         "f715b65e52e288a938ccb83442bb6106a9b5545b91afdb71b0fbf310"},
	{"AES-CBC 256 HMAC-SHA2-256-128 ESN", CBC, 32, HMAC_256, 32, true, UINT64_C(0x100000007),
         "8765432100000007a0a1a2a3a4a5a6a7a8a9aaabacadaeafef3b9f0c2aeaf5c89af310e6502c"
         "3ba834e48d2ead1e54ea69ffec22154cd053ae6872d0efc2b0a48cd25301e8b22521a5dc40d2"
         "b890e8ef4f6fcee6620d646171d78ad2458895f5f8118e7a7ad9383b"},
	{"AES-CBC 192 HMAC-SHA2-384-192", CBC, 24, HMAC_384, 48, false, 77,
         "876543210000004da0a1a2a3a4a5a6a7a8a9aaabacadaeaf4ebc381daa9f1c91156a590a7723"
         "3c328e62dc28d6d7b36abfd281f99a5e534e1f1b87e8ecc933a8d04a9ce278bd2d44c160da75"
         "c4db0929479f82ef3ea2d526d76de7623599ef2beed8cefb85d55e019bbec762a6142420"},
	{"AES-CBC 256 HMAC-SHA2-512-256 ESN", CBC, 32, HMAC_512, 64, true, UINT64_C(0x200000001),
         "8765432100000001a0a1a2a3a4a5a6a7a8a9aaabacadaeafef3b9f0c2aeaf5c89af310e6502c"
         "3ba834e48d2ead1e54ea69ffec22154cd053ae6872d0efc2b0a48cd25301e8b22521a5dc40d2"
         "b890e8ef4f6fcee6620d6461844639fc0b5b2b0b8cd00bf62fb6cc4148c4f0ec20bb2d531e69"
         "731c2d5326c0"},
	{"ChaCha20-Poly1305 256", CHACHA, 32, NO_HMAC, 0, false, 1,
         "87654321000000010000000000000001ff519b4a52ab8439aa738411f7bff71105f5ff114c24"
         "06a8d896917bf7ae0049ac56b6f460daedabd4d91f0a68492a0385b349287716ec8f37e07879"
         "3dbe9ea3bc6e3d0f3fd15679"},
	{"ChaCha20-Poly1305 256 ESN", CHACHA, 32, NO_HMAC, 0, true, UINT64_C(0x700000003),
         "876543210000000300000007000000035e28dd6e1046fb4d7f27d3a747c9e5eef15fd5579e8e"
         "bd657257d73cfcb1670bcda2de3f377237297c80096897bbd530b611b1e6da1a2226efa96140"
         "90076241442da7b1989738db"},
	{"AES-CBC 128 HMAC-SHA1-96", CBC, 16, HMAC_SHA1, 20, false, 9,
         "8765432100000009a0a1a2a3a4a5a6a7a8a9aaabacadaeaf93cee1dfb9de87fcba18b111aaec"
         "c98b3186dab0c690a4a9c938d396bfa5f2b5034d88a68f9e25e2a503c5af73d2f9b807c823d8"
         "f715b65e52e288a938ccb8345d60425a8c109e9f361d7edd"},
	{"AES-CBC 256 HMAC-SHA1-96 ESN", CBC, 32, HMAC_SHA1, 20, true, UINT64_C(0x100000002),
         "8765432100000002a0a1a2a3a4a5a6a7a8a9aaabacadaeafef3b9f0c2aeaf5c89af310e6502c"
         "3ba834e48d2ead1e54ea69ffec22154cd053ae6872d0efc2b0a48cd25301e8b22521a5dc40d2"
         "b890e8ef4f6fcee6620d6461199cf323355a4609796c1ad2"},
};

static void inner_packet(uint8_t *packet)
{
	static const uint8_t start[] = {0x45, 0, 0,    INNER_SIZE, 0,  0, 0x40, 0,
	                                0x40, 1, 0xff, 0xff,       10, 0, 0,    1,
	                                10,   0, 0,    2,          8,  0, 0x12, 0x34};

	memcpy(packet, start, sizeof(start));
	for (size_t i = sizeof(start); i < INNER_SIZE; i++)
		packet[i] = (uint8_t)(i - sizeof(start));
}

static bool is_aead(const struct vector *vector)
{
	return vector->integrity == NO_HMAC;
}

static size_t decode(const char *text, uint8_t *octets)
{
	size_t size = strlen(text) / 2;

	for (size_t i = 0; i < size; i++)
		sscanf(text + 2 * i, "%2hhx", &octets[i]);
	return size;
}

static struct esp *make(const struct vector *vector, bool is_inbound)
{
	uint8_t key[36], integrity_key[64];
	struct esp_options options = {
		.encryption = vector->encryption,
		.encryption_key = key,
		.encryption_key_size = vector->key_size,
		.integrity = vector->integrity,
		.integrity_key = integrity_key,
		.integrity_key_size = vector->integrity_key_size,
		.has_extended_sequence = vector->is_extended,
		.is_inbound = is_inbound,
	};
	const char *why = "";
	struct esp *esp;

	for (size_t i = 0; i < vector->key_size; i++)
		key[i] = (uint8_t)(i * 7 + vector->key_size);
	for (size_t i = 0; i < vector->integrity_key_size; i++)
		integrity_key[i] = (uint8_t)(i * 11 + 3);
	if (is_aead(vector)) {
		memcpy(key + vector->key_size, (const uint8_t[])SALT, 4);
		options.encryption_key_size += 4;
	}
	esp = esp_new(&options, &why);
	if (!esp)
		fail_msg("%s: %s", vector->name, why);
	return esp;
}

static void assert_opens(struct esp *esp, const struct vector *vector, uint8_t *packet, size_t size)
{
	uint8_t expected[INNER_SIZE], next_header, *inner;
	size_t inner_size;

	inner_packet(expected);
	assert_int_equal(
		esp_open(esp, vector->sequence, packet, size, &inner, &inner_size, &next_header),
		ESP_OK);
	assert_int_equal(next_header, ESP_NEXT_IPV4);
	assert_int_equal(inner_size, INNER_SIZE);
	assert_memory_equal(inner, expected, INNER_SIZE);
}

static void opens_known_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		uint8_t packet[ROOM];
		size_t size = decode(vectors[i].packet, packet);
		struct esp *esp = make(&vectors[i], true);

		assert_string_equal(esp_algorithms(esp), vectors[i].name);
		assert_int_equal(esp_spi(packet), SPI);
		assert_int_equal(esp_sequence(packet), (uint32_t)vectors[i].sequence);
		assert_opens(esp, &vectors[i], packet, size);
		esp_free(esp);
	}
}

/* AEADs have no random part: what is sealed is known to the last octet. */
static void seals_known_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		uint8_t expected[ROOM], room[ROOM], *packet;
		size_t expected_size = decode(vectors[i].packet, expected), size;
		struct esp *esp = make(&vectors[i], false);

		inner_packet(room + ESP_HEADROOM);
		assert_int_equal(esp_seal(esp, SPI, vectors[i].sequence, room + ESP_HEADROOM,
		                          INNER_SIZE, &packet, &size),
		                 ESP_OK);
		assert_int_equal(size, expected_size);
		if (is_aead(&vectors[i]))
			assert_memory_equal(packet, expected, size);
		else
			assert_memory_equal(packet, expected, 8);
		esp_free(esp);
	}
}

/* Every size of padding, with contexts that are used again and again. */
static void round_trips_all_sizes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		struct esp *out = make(&vectors[i], false), *in = make(&vectors[i], true);

		for (size_t size = 20; size < 1500; size += size < 100 ? 1 : 97) {
			uint8_t room[ROOM], original[ROOM], next_header, *packet, *inner;
			size_t packet_size, inner_size;

			memset(room, (int)size, sizeof(room));
			memset(original, (int)size, sizeof(original));
			assert_int_equal(esp_seal(out, SPI, size, room + ESP_HEADROOM, size,
			                          &packet, &packet_size),
			                 ESP_OK);
			assert_true(packet >= room);
			assert_true(packet + packet_size <=
			            room + ESP_HEADROOM + size + ESP_TAILROOM);
			assert_memory_not_equal(room + ESP_HEADROOM, original, size);
			assert_int_equal(esp_open(in, size, packet, packet_size, &inner,
			                          &inner_size, &next_header),
			                 ESP_OK);
			assert_int_equal(inner_size, size);
			assert_memory_equal(inner, original, size);
		}
		esp_free(out);
		esp_free(in);
	}
}

/* Control case included: the unchanged packet opens. */
static void refuses_any_changed_octet(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		struct esp *esp = make(&vectors[i], true);
		uint8_t good[ROOM], packet[ROOM], next_header, *inner;
		size_t size = decode(vectors[i].packet, good), inner_size;

		for (size_t octet = 0; octet < size; octet++) {
			memcpy(packet, good, size);
			packet[octet] ^= 0x10;
			/* The number is the caller's: in an AEAD it is authenticated from there. */
			if (is_aead(&vectors[i]) && octet >= 4 && octet < 8)
				continue;
			assert_int_equal(esp_open(esp, vectors[i].sequence, packet, size, &inner,
			                          &inner_size, &next_header),
			                 ESP_FORGED);
		}
		memcpy(packet, good, size);
		assert_opens(esp, &vectors[i], packet, size);
		esp_free(esp);
	}
}

/* The high half of an extended number is not in the packet, and is authenticated. */
static void refuses_wrong_high_half(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		struct esp *esp = make(&vectors[i], true);
		uint8_t packet[ROOM], next_header, *inner;
		size_t size = decode(vectors[i].packet, packet), inner_size;
		enum esp_result result = esp_open(esp, vectors[i].sequence + (UINT64_C(1) << 32),
		                                  packet, size, &inner, &inner_size, &next_header);

		assert_int_equal(result, vectors[i].is_extended ? ESP_FORGED : ESP_OK);
		esp_free(esp);
	}
}

static void refuses_short_packets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		struct esp *esp = make(&vectors[i], true);
		uint8_t good[ROOM], packet[ROOM], next_header, *inner;
		size_t size = decode(vectors[i].packet, good), inner_size;

		for (size_t shorter = 8; shorter < size; shorter++) {
			memcpy(packet, good, size);
			assert_int_not_equal(esp_open(esp, vectors[i].sequence, packet, shorter,
			                              &inner, &inner_size, &next_header),
			                     ESP_OK);
		}
		esp_free(esp);
	}
}

static void refuses_unfit_keys(void **state)
{
	static const uint8_t key[64];
	struct esp_options options = {
		.encryption = GCM,
		.encryption_key = key,
		.encryption_key_size = 20,
		.integrity = NO_HMAC,
	};
	const char *why = NULL;

	(void)state;
	esp_free(esp_new(&options, &why));
	assert_null(why);
	options.encryption_key_size = 16; /* no salt */
	assert_null(esp_new(&options, &why));
	assert_non_null(why);
	options.encryption_key_size = 2;
	assert_null(esp_new(&options, &why));
	options.encryption_key_size = 20;
	options.integrity = HMAC_256;
	assert_null(esp_new(&options, &why));
	options.integrity = NO_HMAC;
	options.encryption = CHACHA; /* of one size alone */
	assert_null(esp_new(&options, &why));
	options.encryption = CBC;
	options.encryption_key_size = 16;
	options.integrity_key = key;
	options.integrity_key_size = 31;
	assert_null(esp_new(&options, &why));
	options.integrity = NO_HMAC; /* encryption alone is not offered */
	assert_null(esp_new(&options, &why));
	options.integrity = (Vpnsip__IntegrityAlgorithm)99;
	assert_null(esp_new(&options, &why));
	options.encryption = (Vpnsip__EncryptionAlgorithm)0;
	assert_null(esp_new(&options, &why));
}

/* Two packets of the same plain text never look alike, and no IV comes twice. */
static void never_repeats_an_iv(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(vectors); i++) {
		struct esp *esp = make(&vectors[i], false);
		uint8_t seen[200][16];

		for (unsigned n = 0; n < 200; n++) {
			uint8_t room[ROOM], *packet;
			size_t size, iv_size = is_aead(&vectors[i]) ? 8 : 16;

			inner_packet(room + ESP_HEADROOM);
			assert_int_equal(esp_seal(esp, SPI, n + 1, room + ESP_HEADROOM, INNER_SIZE,
			                          &packet, &size),
			                 ESP_OK);
			memcpy(seen[n], packet + 8, iv_size);
			for (unsigned before = 0; before < n; before++)
				assert_memory_not_equal(seen[n], seen[before], iv_size);
		}
		esp_free(esp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opens_known_packets),
		cmocka_unit_test(seals_known_packets),
		cmocka_unit_test(round_trips_all_sizes),
		cmocka_unit_test(refuses_any_changed_octet),
		cmocka_unit_test(refuses_wrong_high_half),
		cmocka_unit_test(refuses_short_packets),
		cmocka_unit_test(refuses_unfit_keys),
		cmocka_unit_test(never_repeats_an_iv),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
