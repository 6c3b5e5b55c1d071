/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel's IPsec over netlink: orders in batches, dumps, and news of limits that were reached. Synchronous, no forks. */
#ifndef VPNSIP_XFRM_SOCKET_H
#define VPNSIP_XFRM_SOCKET_H

#include <stddef.h>
#include <stdint.h>

#include "services/tunnel-agent/xfrm_message.h"

/* Messages of one batch: both SAs of a child and all policies, or all SAs of a tunnel, asked for and deleted. */
#define XFRM_BATCH_MAXIMUM 72

struct event_base;
struct xfrm_socket;

/** Messages that go to the kernel in one system call. */
struct xfrm_batch {
	unsigned count;
	size_t used;
	int errors[XFRM_BATCH_MAXIMUM]; /* after xfrm_run(): errno of each message, 0 = done */
	uint8_t octets[XFRM_BATCH_MAXIMUM * XFRM_MESSAGE_MAXIMUM];
};

/** A state that the kernel told of: limits reached (`expired`), or one of a dump or an answer. */
typedef void xfrm_state_fn(void *context, const struct xfrm_state *state);
typedef void xfrm_expiry_fn(void *context, const struct xfrm_state *state, bool is_hard);

/** `expired` is called from the loop of `base`, which may be NULL: no news then. NULL after setting `*why` to a constant text. */
struct xfrm_socket *xfrm_open(struct event_base *base, xfrm_expiry_fn *expired, void *context,
                              const char **why);
void xfrm_close(struct xfrm_socket *socket);

/** Where the batch's next message is written; xfrm_add() it then. */
void *xfrm_next(struct xfrm_batch *batch);
void xfrm_add(struct xfrm_batch *batch, const struct nlmsghdr *message);

/**
 * Sends the batch; the kernel carries out each message on its own. `answered` (or NULL) is called for each state that was asked for.
 * 0, or the first message's errno that is neither 0 nor `ignored`. Wipes the batch, for it may hold keys.
 */
int xfrm_run(struct xfrm_socket *socket, struct xfrm_batch *batch, int ignored,
             xfrm_state_fn *answered, void *context);

/** Calls `found` for each state of this network namespace that is ESP with an if_id. -1 and errno. */
int xfrm_dump_states(struct xfrm_socket *socket, xfrm_state_fn *found, void *context);

/** Calls `found` with the if_id of each policy that has one. -1 and errno. */
int xfrm_dump_policies(struct xfrm_socket *socket, void (*found)(void *context, uint32_t if_id),
                       void *context);

#endif
