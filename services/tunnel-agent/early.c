/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/early.h"

#include <stdlib.h>
#include <string.h>

int early_init(struct early *early)
{
	memset(early, 0, sizeof(*early));
	early->octets = malloc(EARLY_OCTETS);
	return early->octets ? 0 : -1;
}

void early_release_memory(struct early *early)
{
	free(early->octets);
	early->octets = NULL;
	early_drop_all(early);
}

bool early_keep(struct early *early, uint32_t spi, const uint8_t *packet, size_t size,
                uint64_t now_usec)
{
	if (early->count == EARLY_PACKETS || size > EARLY_OCTETS - early->used)
		return false;
	memcpy(early->octets + early->used, packet, size);
	early->used += size;
	early->entries[early->count++] =
		(struct early_entry){.arrived_usec = now_usec, .spi = spi, .size = size};
	return true;
}

/* The packets behind it move up: there are few. */
static void forget(struct early *early, unsigned index, size_t offset)
{
	size_t size = early->entries[index].size;

	early->used -= size;
	early->count--;
	memmove(early->octets + offset, early->octets + offset + size, early->used - offset);
	memmove(&early->entries[index], &early->entries[index + 1],
	        (early->count - index) * sizeof(early->entries[0]));
}

size_t early_take(struct early *early, uint32_t spi, uint8_t *packet)
{
	size_t offset = 0;

	for (unsigned i = 0; i < early->count; i++) {
		size_t size = early->entries[i].size;

		if (early->entries[i].spi == spi) {
			memcpy(packet, early->octets + offset, size);
			forget(early, i, offset);
			return size;
		}
		offset += size;
	}
	return 0;
}

unsigned early_expire(struct early *early, uint64_t now_usec)
{
	unsigned dropped = 0;

	while (early->count > 0 && early->entries[0].arrived_usec + EARLY_AGE_USEC <= now_usec) {
		forget(early, 0, 0);
		dropped++;
	}
	return dropped;
}

unsigned early_drop_all(struct early *early)
{
	unsigned dropped = early->count;

	early->count = 0;
	early->used = 0;
	return dropped;
}
