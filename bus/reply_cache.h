/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replies already given: an order that comes again with the same id gets the same reply and is not carried out twice. */
#ifndef VPNSIP_BUS_REPLY_CACHE_H
#define VPNSIP_BUS_REPLY_CACHE_H

#include <stddef.h>
#include <stdint.h>

/** Replies kept; the oldest goes first. */
#define REPLY_CACHE_SIZE 1024

struct reply_cache;

/** Names an order for ever: request ids count up within an epoch, and epochs are random. */
struct reply_key {
	uint64_t source, epoch, request_id;
};

enum reply_state { REPLY_UNKNOWN, REPLY_IN_PROGRESS, REPLY_STORED };

struct reply_cache *reply_cache_new(void);
void reply_cache_free(struct reply_cache *cache);

/** `*octets` is set when REPLY_STORED, and valid until the cache is next changed. */
enum reply_state reply_cache_find(const struct reply_cache *cache, const struct reply_key *key,
                                  const uint8_t **octets, size_t *size);

/** The order is being carried out. */
void reply_cache_begin(struct reply_cache *cache, const struct reply_key *key);

/** Its reply, copied. Nothing happens for orders not begun. */
void reply_cache_store(struct reply_cache *cache, const struct reply_key *key,
                       const uint8_t *octets, size_t size);

/** The order is unknown again. */
void reply_cache_forget(struct reply_cache *cache, const struct reply_key *key);

#endif
