/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a packet is worth: only unicast IPv4 (with dual-overlay IPv6 too) from a source that is not link-local may place a
 * call, and only such packets count as traffic that keeps a call. Pure.
 */
#ifndef VPNSIP_CLASSIFY_H
#define VPNSIP_CLASSIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/tunnel-agent/drops.h"

/* Returned for a packet that may trigger and counts as payload. */
#define CLASSIFY_PAYLOAD (-1)

/** What classify_packet() must know of the tunnel. All addresses in network byte order. */
struct classify_context {
	uint32_t own_address;          /* of the tunnel; 0 = none */
	unsigned prefix_length;        /* of the tunnel's subnet, for its directed broadcast */
	const uint32_t *probe_targets; /* destinations that track-agent's ICMP echo probes go to */
	size_t probe_target_count;
	bool is_dual_overlay; /* IPv6 passes */
};

/** CLASSIFY_PAYLOAD, or the drop_reason that a resting tunnel counts. */
int classify_packet(const struct classify_context *context, const uint8_t *packet, size_t size);

#endif
