/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The queue of packets that wait for a session: bounded in packets, octets and age; the oldest goes first.
 * It costs what it holds: of a thousand tunnels few wait. Pure: the caller gives the time.
 */
#ifndef VPNSIP_HOLD_H
#define VPNSIP_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HOLD_PACKETS 64

struct held_packet {
	struct held_packet *prev, *next;
	uint64_t arrived_usec;
	size_t size;
	uint8_t octets[];
};

struct hold {
	struct held_packet *packets; /* oldest first */
	size_t largest_packet;
	size_t byte_limit;
	uint64_t age_limit_usec;
	size_t bytes;
	unsigned count;
};

/** An empty one. `byte_limit` may be exceeded by a packet that is alone. */
void hold_init(struct hold *hold, size_t largest_packet, size_t byte_limit,
               uint64_t age_limit_usec);

void hold_drop_all(struct hold *hold);

/**
 * Copies a packet to the end. Returns how many packets were dropped to make room (the new one itself if it is larger
 * than the largest, or there is no memory).
 */
unsigned hold_add(struct hold *hold, const uint8_t *octets, size_t size, uint64_t now_usec);

/** The oldest packet, or NULL; it stays where it is until hold_drop_first(). */
const uint8_t *hold_first(const struct hold *hold, size_t *size);
void hold_drop_first(struct hold *hold);

typedef bool hold_keep_fn(void *context, const uint8_t *packet, size_t size);
/** Drops the packets that `keeps` does not want; the others stay in their order. */
void hold_filter(struct hold *hold, hold_keep_fn *keeps, void *context);

/** Drops what is older than the age limit; returns how many. */
unsigned hold_expire(struct hold *hold, uint64_t now_usec);

/** When the oldest packet becomes too old; UINT64_MAX when empty. */
uint64_t hold_expires_usec(const struct hold *hold);

#endif
