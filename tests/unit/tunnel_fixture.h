/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A tunnel core with a virtual clock, packets and SAs for the tests of tunnel-agent. */
#ifndef VPNSIP_TUNNEL_FIXTURE_H
#define VPNSIP_TUNNEL_FIXTURE_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "services/tunnel-agent/tunnel_core.h"

#define MSEC        UINT64_C(1000)
#define SECOND      UINT64_C(1000000)
#define START       (1000 * SECOND)
#define IDLE        (120 * SECOND)
#define DEAD        (40 * SECOND)
#define HOLD        (10 * SECOND)
#define KEEPALIVE   (20 * SECOND)
#define PACKET_SIZE 1000
#define IN_SPI      0x1111
#define OUT_SPI     0x2222
#define ATTEMPT     10

static struct sockaddr_storage peer_address;

static inline void fixture_init(struct tunnel *tunnel)
{
	struct sockaddr_in *remote = (struct sockaddr_in *)&peer_address;
	const struct tunnel_options options = {
		.name = "vsip7",
		.if_id = 7,
		.idle_usec = IDLE,
		.dead_usec = DEAD,
		.keepalive_usec = KEEPALIVE,
		.hold_usec = HOLD,
		.hold_bytes = 250000,
		.largest_packet = 2048,
		.load_interval_sec = 30,
	};

	remote->sin_family = AF_INET;
	remote->sin_port = htons(50002);
	inet_pton(AF_INET, "198.51.100.2", &remote->sin_addr);
	tunnel_init(tunnel, &options);
	tunnel_set_cover(tunnel, true, START);
}

/* An IPv4 packet with a number in it. */
static inline size_t build_packet(uint8_t *packet, size_t size, const char *destination,
                                  uint8_t number)
{
	memset(packet, number, size);
	packet[0] = 0x45;
	packet[2] = (uint8_t)(size >> 8);
	packet[3] = (uint8_t)size;
	packet[6] = packet[7] = 0;
	packet[9] = IPPROTO_UDP;
	inet_pton(AF_INET, "10.1.0.5", packet + 12);
	inet_pton(AF_INET, destination, packet + 16);
	return size;
}

static inline enum tunnel_verdict take_payload(struct tunnel *tunnel, uint8_t number, uint64_t now)
{
	uint8_t packet[PACKET_SIZE];

	return tunnel_take(tunnel, packet, build_packet(packet, PACKET_SIZE, "10.2.0.9", number),
	                   now);
}

static inline enum tunnel_verdict take_multicast(struct tunnel *tunnel, uint64_t now)
{
	uint8_t packet[PACKET_SIZE];

	return tunnel_take(tunnel, packet, build_packet(packet, PACKET_SIZE, "224.0.0.5", 0), now);
}

static inline void install_sa_of(struct tunnel *tunnel, bool is_inbound, uint32_t spi,
                                 const struct sa_terms *terms, uint64_t now)
{
	static const uint8_t key[20] = {1, 2, 3, 4, 5};
	const struct esp_options options = {
		.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
		.encryption_key = key,
		.encryption_key_size = sizeof(key),
		.integrity = VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE,
		.has_extended_sequence = true,
		.is_inbound = is_inbound,
	};
	const char *why;

	assert_int_equal(tunnel_install_sa(tunnel, spi, &options, terms, now, &why), 0);
}

static inline void install_sa_with(struct tunnel *tunnel, bool is_inbound, uint32_t spi,
                                   const struct sa_limits *limits, uint64_t now)
{
	const struct sa_terms terms = {.replay_window = 64, .limits = *limits};

	install_sa_of(tunnel, is_inbound, spi, &terms, now);
}

static inline void install_sas(struct tunnel *tunnel, uint64_t now)
{
	const struct sa_limits none = {0};

	install_sa_with(tunnel, true, IN_SPI, &none, now);
	install_sa_with(tunnel, false, OUT_SPI, &none, now);
}

/* Seals one packet of `size` octets as the peer would; returns it in `room`. */
static inline uint8_t *seal_from_peer(struct sa *sa, uint8_t *room, size_t size,
                                      const char *destination, size_t *sealed_size)
{
	uint8_t *packet;

	build_packet(room + ESP_HEADROOM, size, destination, 1);
	assert_int_equal(esp_seal(sa->esp, sa->spi, ++sa->sequence, room + ESP_HEADROOM, size,
	                          &packet, sealed_size),
	                 ESP_OK);
	return packet;
}

#endif
