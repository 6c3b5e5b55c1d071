/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The session ports: one per tunnel and attempt, reusable some time after its session. Pure: the caller gives the time.
 * The rest keeps a late packet of an ended session from reaching the next one. One thread.
 */
#ifndef VPNSIP_PORT_POOL_H
#define VPNSIP_PORT_POOL_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct port_pool;

/** Ports `first` to `last`; the search starts at the `start`th of them. NULL when out of memory. */
struct port_pool *port_pool_new(uint16_t first, uint16_t last, unsigned reuse_msec, uint32_t start);

void port_pool_free(struct port_pool *pool);

/** The port of this attempt: the one it has, or a new one. 0 when all are taken or rest. */
uint16_t port_pool_reserve(struct port_pool *pool, const char *tunnel, uint64_t attempt,
                           uint64_t now_usec);

/** Takes this very port for the attempt (known from before a restart). False when another attempt has it or it is not ours. */
bool port_pool_claim(struct port_pool *pool, uint16_t port, const char *tunnel, uint64_t attempt);

/** Gives the attempt's port back; nothing happens when it has none. */
void port_pool_release(struct port_pool *pool, const char *tunnel, uint64_t attempt,
                       uint64_t now_usec);

/** Ports in use, without the resting ones. */
size_t port_pool_used(const struct port_pool *pool);

#endif
