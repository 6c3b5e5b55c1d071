/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "port_pool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct port_slot {
	char tunnel[IFNAMSIZ]; /* "" = not in use */
	uint64_t attempt;
	uint64_t rests_until_usec;
};

struct port_pool {
	uint16_t first;
	size_t count, next;
	uint64_t reuse_usec;
	struct port_slot slots[];
};

struct port_pool *port_pool_new(uint16_t first, uint16_t last, unsigned reuse_msec, uint32_t start)
{
	size_t count = last >= first ? last - first + 1u : 0;
	struct port_pool *pool = calloc(1, sizeof(*pool) + count * sizeof(pool->slots[0]));

	if (pool == NULL)
		return NULL;
	pool->first = first;
	pool->count = count;
	pool->next = count > 0 ? start % count : 0;
	pool->reuse_usec = reuse_msec * 1000ull;
	return pool;
}

void port_pool_free(struct port_pool *pool)
{
	free(pool);
}

static bool is_used(const struct port_slot *slot)
{
	return slot->tunnel[0] != '\0';
}

static struct port_slot *find(struct port_pool *pool, const char *tunnel, uint64_t attempt)
{
	for (size_t i = 0; i < pool->count; i++)
		if (pool->slots[i].attempt == attempt && strcmp(pool->slots[i].tunnel, tunnel) == 0)
			return &pool->slots[i];
	return NULL;
}

static uint16_t port_of(const struct port_pool *pool, const struct port_slot *slot)
{
	return (uint16_t)(pool->first + (slot - pool->slots));
}

static void take(struct port_slot *slot, const char *tunnel, uint64_t attempt)
{
	snprintf(slot->tunnel, sizeof(slot->tunnel), "%s", tunnel);
	slot->attempt = attempt;
}

uint16_t port_pool_reserve(struct port_pool *pool, const char *tunnel, uint64_t attempt,
                           uint64_t now_usec)
{
	struct port_slot *slot = find(pool, tunnel, attempt);

	for (size_t i = 0; slot == NULL && i < pool->count; i++) {
		struct port_slot *candidate = &pool->slots[(pool->next + i) % pool->count];

		if (is_used(candidate) || now_usec < candidate->rests_until_usec)
			continue;
		pool->next = (size_t)(candidate - pool->slots + 1) % pool->count;
		take(candidate, tunnel, attempt);
		slot = candidate;
	}
	return slot != NULL ? port_of(pool, slot) : 0;
}

bool port_pool_claim(struct port_pool *pool, uint16_t port, const char *tunnel, uint64_t attempt)
{
	struct port_slot *slot;

	if (port < pool->first || port >= pool->first + pool->count)
		return false;
	slot = &pool->slots[port - pool->first];
	if (is_used(slot))
		return slot->attempt == attempt && strcmp(slot->tunnel, tunnel) == 0;
	take(slot, tunnel, attempt);
	return true;
}

void port_pool_release(struct port_pool *pool, const char *tunnel, uint64_t attempt,
                       uint64_t now_usec)
{
	struct port_slot *slot = find(pool, tunnel, attempt);

	if (slot == NULL)
		return;
	memset(slot, 0, sizeof(*slot));
	slot->rests_until_usec = now_usec + pool->reuse_usec;
}

size_t port_pool_used(const struct port_pool *pool)
{
	size_t used = 0;

	for (size_t i = 0; i < pool->count; i++)
		used += is_used(&pool->slots[i]);
	return used;
}
