/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packets of held interfaces: seen through NFQUEUE, and sent later through a packet socket. The kernel shows them whole: segmented
 * and with their checksums. What becomes of the original is nft_hold's.
 */
#ifndef VPNSIP_NFQUEUE_HOLD_H
#define VPNSIP_NFQUEUE_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct nfqueue_hold;

/** A packet that was routed into the interface; false = it may vanish without a trace in connection tracking. */
typedef bool nfqueue_packet_fn(void *context, unsigned interface_index, uint8_t *packet,
                               size_t size);

/** Opens the packet socket, for which CAP_NET_RAW is needed. NULL and errno. */
struct nfqueue_hold *nfqueue_hold_open(void);
void nfqueue_hold_close(struct nfqueue_hold *hold);

/** Listens to the queue from the loop of `base`; needs CAP_NET_ADMIN. -1 and errno. */
int nfqueue_hold_listen(struct nfqueue_hold *hold, struct event_base *base,
                        nfqueue_packet_fn *arrived, void *context);

/** Shows what waits in the queue now, instead of in the loop's next turn. Nothing from within `arrived`. */
void nfqueue_hold_take(struct nfqueue_hold *hold);

/** Sends a packet into an interface, past the hold, through its queueing discipline. -1 and errno. */
int nfqueue_hold_send(struct nfqueue_hold *hold, unsigned interface_index, const uint8_t *packet,
                      size_t size);

#endif
