/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/hold.h"

#include <stdlib.h>
#include <string.h>

int hold_init(struct hold *hold, size_t largest_packet, size_t byte_limit, uint64_t age_limit_usec)
{
	memset(hold, 0, sizeof(*hold));
	/* Untouched slots cost address space only. */
	hold->octets = malloc(HOLD_PACKETS * largest_packet);
	hold->slot_size = largest_packet;
	hold->byte_limit = byte_limit;
	hold->age_limit_usec = age_limit_usec;
	return hold->octets ? 0 : -1;
}

void hold_release_memory(struct hold *hold)
{
	free(hold->octets);
	hold->octets = NULL;
	hold->count = 0;
}

unsigned hold_add(struct hold *hold, const uint8_t *packet, size_t size, uint64_t now_usec)
{
	unsigned dropped = 0, slot;

	if (size > hold->slot_size)
		return 1;
	while (hold->count == HOLD_PACKETS ||
	       (hold->count > 0 && hold->bytes + size > hold->byte_limit)) {
		hold_drop_first(hold);
		dropped++;
	}
	slot = (hold->first + hold->count) % HOLD_PACKETS;
	memcpy(hold->octets + slot * hold->slot_size, packet, size);
	hold->entries[slot] = (struct hold_entry){.arrived_usec = now_usec, .size = size};
	hold->bytes += size;
	hold->count++;
	return dropped;
}

const uint8_t *hold_first(const struct hold *hold, size_t *size)
{
	if (hold->count == 0)
		return NULL;
	*size = hold->entries[hold->first].size;
	return hold->octets + hold->first * hold->slot_size;
}

void hold_drop_first(struct hold *hold)
{
	if (hold->count == 0)
		return;
	hold->bytes -= hold->entries[hold->first].size;
	hold->first = (hold->first + 1) % HOLD_PACKETS;
	hold->count--;
}

void hold_filter(struct hold *hold, hold_keep_fn *keeps, void *context)
{
	unsigned count = hold->count;

	hold->count = 0;
	hold->bytes = 0;
	for (unsigned i = 0; i < count; i++) {
		unsigned from = (hold->first + i) % HOLD_PACKETS;
		unsigned to = (hold->first + hold->count) % HOLD_PACKETS;
		const uint8_t *packet = hold->octets + from * hold->slot_size;
		struct hold_entry entry = hold->entries[from];

		if (!keeps(context, packet, entry.size))
			continue;
		if (to != from)
			memcpy(hold->octets + to * hold->slot_size, packet, entry.size);
		hold->entries[to] = entry;
		hold->bytes += entry.size;
		hold->count++;
	}
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
	if (hold->count == 0)
		return UINT64_MAX;
	return hold->entries[hold->first].arrived_usec + hold->age_limit_usec;
}
