/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ESP in tunnel mode (RFC 4303) for one direction of one SA: AES-GCM-16 (RFC 4106), ChaCha20-Poly1305 (RFC 7634), and
 * AES-CBC (RFC 3602) with HMAC-SHA-2 (RFC 4868) or HMAC-SHA-1 (RFC 2404). Packets are sealed and opened in place; the OpenSSL contexts live as long as the SA.
 * Pure: knows neither sockets nor time. Sequence numbers are the caller's (see replay.h).
 */
#ifndef VPNSIP_ESP_H
#define VPNSIP_ESP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tunnel_agent.pb-c.h"

/* Writable octets that esp_seal() needs before the packet (header and IV) and after it (padding, trailer, ICV). */
#define ESP_HEADROOM 24
#define ESP_TAILROOM 56

#define ESP_NEXT_IPV4  4
#define ESP_NEXT_IPV6  41
#define ESP_NEXT_DUMMY 59 /* traffic-flow confidentiality: to be discarded (RFC 4303 section 2.6) */

struct esp;

struct esp_options {
	Vpnsip__EncryptionAlgorithm encryption;
	const uint8_t *encryption_key; /* of an AEAD: followed by 4 octets of salt */
	size_t encryption_key_size;
	Vpnsip__IntegrityAlgorithm integrity; /* NONE with an AEAD */
	const uint8_t *integrity_key;
	size_t integrity_key_size;
	bool has_extended_sequence;
	bool is_inbound;
};

enum esp_result {
	ESP_OK = 0,
	ESP_MALFORMED,   /* too short or not a multiple of the block */
	ESP_FORGED,      /* the integrity check failed */
	ESP_BAD_PADDING, /* authentic, but the trailer contradicts itself */
	ESP_FAILED,      /* the cipher refused: a bug or no memory */
};

/** Copies the keys into cipher contexts. NULL when the algorithms or key sizes do not fit; `why` (a constant) tells. */
struct esp *esp_new(const struct esp_options *options, const char **why);

/** Wipes the keys and frees. NULL is allowed. */
void esp_free(struct esp *esp);

/** As shown to the operator: "AES-GCM-16 128 ESN". Owned by `esp`. */
const char *esp_algorithms(const struct esp *esp);

/**
 * Seals the IPv4 or IPv6 packet at `inner` in place, with ESP_HEADROOM octets before and ESP_TAILROOM after it. `sequence` must
 * never repeat for this SA (the AES-GCM nonce is made from it). On ESP_OK `*packet` points into the headroom.
 */
enum esp_result esp_seal(struct esp *esp, uint32_t spi, uint64_t sequence, uint8_t *inner,
                         size_t inner_size, uint8_t **packet, size_t *packet_size);

/** The same for a dummy packet: what stands at `inner` means nothing. */
enum esp_result esp_seal_dummy(struct esp *esp, uint32_t spi, uint64_t sequence, uint8_t *inner,
                               size_t inner_size, uint8_t **packet, size_t *packet_size);

/**
 * Checks and decrypts the ESP packet in place. `sequence` is the full number, found with replay_infer(). On ESP_OK
 * `*inner` points into `packet` and `*next_header` tells what it is.
 */
enum esp_result esp_open(struct esp *esp, uint64_t sequence, uint8_t *packet, size_t packet_size,
                         uint8_t **inner, size_t *inner_size, uint8_t *next_header);

/** SPI of an ESP packet of at least 8 octets, and the low half of its sequence number. */
uint32_t esp_spi(const uint8_t *packet);
uint32_t esp_sequence(const uint8_t *packet);

#endif
