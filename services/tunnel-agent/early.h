/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ESP packets that arrived before their inbound SA: the peer's first ones may overtake the IKE message that its SA
 * follows from, or arrive while that SA is on its way here. They are kept for a moment. Bounded in packets, octets and
 * age; when it is full the new packet has no room, so nobody pushes out what is kept. It costs what it keeps.
 * Pure: the caller gives the time.
 */
#ifndef VPNSIP_EARLY_H
#define VPNSIP_EARLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EARLY_PACKETS  16
#define EARLY_OCTETS   (16 * 1500)
#define EARLY_AGE_USEC 1000000u

struct early_packet {
	struct early_packet *prev, *next;
	uint64_t arrived_usec;
	uint32_t spi;
	size_t size;
	uint8_t octets[];
};

/** Empty when all is zero. */
struct early {
	struct early_packet *packets; /* oldest first */
	size_t used;
	unsigned count;
};

/** Copies a packet to the end; false when there is no room or no memory. */
bool early_keep(struct early *early, uint32_t spi, const uint8_t *octets, size_t size,
                uint64_t now_usec);

/** Takes the oldest packet with this SPI out, into `octets` (room for EARLY_OCTETS). Its size, or 0. */
size_t early_take(struct early *early, uint32_t spi, uint8_t *octets);

/** Drops what is older than EARLY_AGE_USEC; returns how many. */
unsigned early_expire(struct early *early, uint64_t now_usec);

/** Drops all; returns how many. */
unsigned early_drop_all(struct early *early);

#endif
