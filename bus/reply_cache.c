/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/reply_cache.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct entry {
	struct reply_key key;
	uint8_t *octets; /* NULL while in progress */
	size_t size;
	UT_hash_handle hh;
};

struct reply_cache {
	struct entry *entries; /* iterates in order of insertion */
};

struct reply_cache *reply_cache_new(void)
{
	return calloc(1, sizeof(struct reply_cache));
}

static void drop(struct reply_cache *cache, struct entry *entry)
{
	HASH_DEL(cache->entries, entry);
	free(entry->octets);
	free(entry);
}

void reply_cache_free(struct reply_cache *cache)
{
	if (cache == NULL)
		return;
	while (cache->entries != NULL)
		drop(cache, cache->entries);
	free(cache);
}

static struct entry *find(const struct reply_cache *cache, const struct reply_key *key)
{
	struct entry *entry;

	HASH_FIND(hh, cache->entries, key, sizeof(*key), entry);
	return entry;
}

enum reply_state reply_cache_find(const struct reply_cache *cache, const struct reply_key *key,
                                  const uint8_t **octets, size_t *size)
{
	const struct entry *entry = find(cache, key);

	if (entry == NULL)
		return REPLY_UNKNOWN;
	if (entry->octets == NULL)
		return REPLY_IN_PROGRESS;
	*octets = entry->octets;
	*size = entry->size;
	return REPLY_STORED;
}

void reply_cache_begin(struct reply_cache *cache, const struct reply_key *key)
{
	struct entry *entry = calloc(1, sizeof(*entry));

	if (entry == NULL)
		return; /* a repetition would be carried out again: orders are idempotent */
	if (HASH_COUNT(cache->entries) >= REPLY_CACHE_SIZE)
		drop(cache, cache->entries);
	entry->key = *key;
	HASH_ADD(hh, cache->entries, key, sizeof(entry->key), entry);
}

void reply_cache_store(struct reply_cache *cache, const struct reply_key *key,
                       const uint8_t *octets, size_t size)
{
	struct entry *entry = find(cache, key);

	if (entry == NULL || entry->octets != NULL)
		return;
	entry->octets = malloc(size + 1);
	if (entry->octets == NULL) {
		drop(cache, entry);
		return;
	}
	memcpy(entry->octets, octets, size);
	entry->size = size;
}

void reply_cache_forget(struct reply_cache *cache, const struct reply_key *key)
{
	struct entry *entry = find(cache, key);

	if (entry != NULL)
		drop(cache, entry);
}
