/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A packet through a tunnel's core and its ciphers, out and in, takes no memory and no lock, neither ours nor OpenSSL's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "path_counter.h"
#include "tunnel_fixture.h"

#define PACKETS 2000
#define GCM     VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16
#define CBC     VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC
#define CHACHA  VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305

/* AES-CBC's random IVs are drawn for 64 packets at once, with OpenSSL's few locks. */
#define IV_POOL          64
#define IV_LOCKS_MAXIMUM 8

struct suite {
	const char *name;
	Vpnsip__EncryptionAlgorithm encryption;
	size_t key_size;
	Vpnsip__IntegrityAlgorithm integrity;
	size_t integrity_key_size;
};

static const struct suite suites[] = {
	{"AES-GCM", GCM, 20, VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE, 0},
	{"ChaCha20-Poly1305", CHACHA, 36, VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE, 0},
	{"SHA-1", CBC, 16, VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96, 20},
	{"SHA-256", CBC, 16, VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128, 32},
	{"SHA-384", CBC, 32, VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_384_192, 48},
	{"SHA-512", CBC, 32, VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256, 64},
};

static struct tunnel sender, receiver;

static void connect_one(struct tunnel *tunnel, const struct suite *suite, bool is_inbound)
{
	static const uint8_t key[64] = {1, 2, 3};
	const struct esp_options options = {
		.encryption = suite->encryption,
		.encryption_key = key,
		.encryption_key_size = suite->key_size,
		.integrity = suite->integrity,
		.integrity_key = key,
		.integrity_key_size = suite->integrity_key_size,
		.has_extended_sequence = true,
		.is_inbound = is_inbound,
	};
	const struct sa_terms terms = {.replay_window = 64};
	const char *why = "";

	fixture_init(tunnel);
	tunnel_set_peer(tunnel, ATTEMPT, &peer_address, START);
	assert_int_equal(tunnel_install_sa(tunnel, OUT_SPI, &options, &terms, START, &why), 0);
	tunnel_open(tunnel, ATTEMPT, 0, START);
}

static void pass(unsigned packets)
{
	uint8_t room[ESP_HEADROOM + PACKET_SIZE + ESP_TAILROOM], *inner = room + ESP_HEADROOM;

	for (unsigned i = 0; i < packets; i++) {
		uint8_t *sealed, *opened;
		size_t sealed_size, opened_size;
		struct outer_fields outer;

		build_packet(inner, PACKET_SIZE, "10.2.0.9", (uint8_t)i);
		assert_int_equal(tunnel_take(&sender, inner, PACKET_SIZE, START), TUNNEL_SEND);
		outer = tunnel_outer_of(&sender, inner, PACKET_SIZE);
		assert_true(tunnel_seal(&sender, inner, PACKET_SIZE, START, &sealed, &sealed_size));
		assert_false(
			tunnel_keep_early(&receiver, &peer_address, sealed, sealed_size, START));
		assert_true(tunnel_unseal(&receiver, sealed, sealed_size, START, &opened,
		                          &opened_size));
		assert_true(tunnel_take_ecn(&receiver, outer.tos, opened));
		tunnel_hear_from(&receiver, &peer_address);
	}
}

static void a_packet_takes_no_memory_and_no_lock(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(suites) / sizeof(*suites); i++) {
		uint64_t locks_allowed = suites[i].encryption == CBC
		                                 ? PACKETS / IV_POOL * IV_LOCKS_MAXIMUM
		                                 : 0;
		struct path_costs before, after;

		connect_one(&sender, &suites[i], false);
		connect_one(&receiver, &suites[i], true);
		pass(100);
		before = path_costs();
		pass(PACKETS);
		after = path_costs();
		print_message("%s: %llu allocations, %llu locks for %u packets\n", suites[i].name,
		              (unsigned long long)(after.allocations - before.allocations),
		              (unsigned long long)(after.locks - before.locks), PACKETS);
		assert_int_equal(after.allocations, before.allocations);
		assert_true(after.locks - before.locks <= locks_allowed);
		tunnel_destroy(&sender);
		tunnel_destroy(&receiver);
	}
}

/* The control: what OpenSSL does for a new cipher context is seen. */
static void what_libraries_do_is_counted(void **state)
{
	struct path_costs before = path_costs(), after;
	struct esp *esp;
	const char *why;
	const uint8_t key[20] = {0};

	(void)state;
	esp = esp_new(&(const struct esp_options){.encryption = GCM,
	                                          .encryption_key = key,
	                                          .encryption_key_size = sizeof(key)},
	              &why);
	after = path_costs();
	assert_non_null(esp);
	esp_free(esp);
	assert_true(after.allocations >=
	            before.allocations + 2); /* ours, and the cipher's context */
	assert_true(after.locks > before.locks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_takes_no_memory_and_no_lock),
		cmocka_unit_test(what_libraries_do_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
