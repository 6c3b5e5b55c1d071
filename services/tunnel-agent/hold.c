/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/hold.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

void hold_init(struct hold *hold, size_t largest_packet, size_t byte_limit, uint64_t age_limit_usec)
{
	*hold = (struct hold){
		.largest_packet = largest_packet,
		.byte_limit = byte_limit,
		.age_limit_usec = age_limit_usec,
	};
}

static void drop(struct hold *hold, struct held_packet *packet)
{
	DL_DELETE(hold->packets, packet); // NOLINT(clang-analyzer-core.NullDereference)
	hold->bytes -= packet->size;
	hold->count--;
	free(packet);
}

void hold_drop_all(struct hold *hold)
{
	while (hold->packets)
		drop(hold, hold->packets);
}

unsigned hold_add(struct hold *hold, const uint8_t *octets, size_t size, uint64_t now_usec)
{
	struct held_packet *packet;
	unsigned dropped = 0;

	if (size > hold->largest_packet)
		return 1;
	while (hold->count == HOLD_PACKETS ||
	       (hold->count > 0 && hold->bytes + size > hold->byte_limit)) {
		hold_drop_first(hold);
		dropped++;
	}
	packet = malloc(sizeof(*packet) + size);
	if (!packet)
		return dropped + 1;
	packet->arrived_usec = now_usec;
	packet->size = size;
	memcpy(packet->octets, octets, size);
	DL_APPEND(hold->packets, packet);
	hold->bytes += size;
	hold->count++;
	return dropped;
}

const uint8_t *hold_first(const struct hold *hold, size_t *size)
{
	if (!hold->packets)
		return NULL;
	*size = hold->packets->size;
	return hold->packets->octets;
}

void hold_drop_first(struct hold *hold)
{
	if (hold->packets)
		drop(hold, hold->packets);
}

void hold_filter(struct hold *hold, hold_keep_fn *keeps, void *context)
{
	struct held_packet *packet, *next;

	DL_FOREACH_SAFE (hold->packets, packet, next)
		if (!keeps(context, packet->octets, packet->size))
			drop(hold, packet);
}

unsigned hold_expire(struct hold *hold, uint64_t now_usec)
{
	unsigned dropped = 0;

	for (; hold_expires_usec(hold) <= now_usec; dropped++)
		hold_drop_first(hold);
	return dropped;
}

uint64_t hold_expires_usec(const struct hold *hold)
{
	return hold->packets ? hold->packets->arrived_usec + hold->age_limit_usec : UINT64_MAX;
}
