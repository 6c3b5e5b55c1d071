/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/early.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

bool early_keep(struct early *early, uint32_t spi, const uint8_t *octets, size_t size,
                uint64_t now_usec)
{
	struct early_packet *packet;

	if (early->count == EARLY_PACKETS || size > EARLY_OCTETS - early->used)
		return false;
	packet = malloc(sizeof(*packet) + size);
	if (!packet)
		return false;
	packet->arrived_usec = now_usec;
	packet->spi = spi;
	packet->size = size;
	memcpy(packet->octets, octets, size);
	DL_APPEND(early->packets, packet);
	early->used += size;
	early->count++;
	return true;
}

static void forget(struct early *early, struct early_packet *packet)
{
	DL_DELETE(early->packets, packet);
	early->used -= packet->size;
	early->count--;
	free(packet);
}

size_t early_take(struct early *early, uint32_t spi, uint8_t *octets)
{
	struct early_packet *packet;
	size_t size;

	DL_SEARCH_SCALAR(early->packets, packet, spi, spi);
	if (!packet)
		return 0;
	size = packet->size;
	memcpy(octets, packet->octets, size);
	forget(early, packet);
	return size;
}

unsigned early_expire(struct early *early, uint64_t now_usec)
{
	unsigned dropped = 0;

	while (early->packets && early->packets->arrived_usec + EARLY_AGE_USEC <= now_usec) {
		forget(early, early->packets);
		dropped++;
	}
	return dropped;
}

unsigned early_drop_all(struct early *early)
{
	unsigned dropped = early->count;

	while (early->packets)
		forget(early, early->packets);
	return dropped;
}
