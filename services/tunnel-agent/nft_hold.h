/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The nft tables `vpnsip_hold` (inet and netdev): packets that the kernel routes into the interface of a held tunnel are shown to us
 * (NFQUEUE) and then go no further. A packet passes connection tracking and address translation first, as if it were sent: its
 * answer will belong to it, and the next packets of its flow are no strangers to it. The copy that leaves later comes from our packet socket, with a mark
 * that the last rule lets pass.
 *
 * The same table notes when payload passed a tunnel last, in either direction; what counts as payload is as in classify.h.
 */
#ifndef VPNSIP_NFT_HOLD_H
#define VPNSIP_NFT_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NFT_HOLD_TABLE "vpnsip_hold"

/* Of NFQUEUE, in this network namespace. */
#define NFT_HOLD_QUEUE 5649

/* Of packets that we release: "VPNS". */
#define NFT_HOLD_RELEASE_MARK 0x56504e53u

struct nft_hold;
struct nft_watch;

/** NULL when libnftables cannot be initialised. */
struct nft_hold *nft_hold_open(void);

/** Tells the watch from now on which transactions are ours. */
void nft_hold_watch(struct nft_hold *hold, struct nft_watch *watch);

/** Leaves the tables in the kernel: what is held stays held while nobody listens. */
void nft_hold_close(struct nft_hold *hold);

/** Whether this kernel has all that the tables are made of; false after writing nft's own words into `why`. */
bool nft_hold_probe(struct nft_hold *hold, char *why, size_t why_size);

/* Each is one transaction; false after writing nft's own words into `why`. */

/** A tunnel, and whether it is held. */
struct nft_hold_tunnel {
	const char *name;
	bool is_held;
};

/**
 * Makes the tables anew for these tunnels; a held one without a device is caught when its device is made. Echo requests of this box to the
 * `targets` (network byte order) are no payload.
 */
bool nft_hold_reset(struct nft_hold *hold, const struct nft_hold_tunnel *tunnels, size_t count,
                    const uint32_t *targets, size_t target_count, char *why, size_t why_size);

/** Whether the tables are in the kernel; somebody may have flushed the rule set. */
bool nft_hold_is_there(struct nft_hold *hold);

/** Holds the interface, which must exist, or lets its packets pass. May be said again. */
bool nft_hold_set(struct nft_hold *hold, const char *name, bool is_held, char *why,
                  size_t why_size);

/** Tells how long ago payload passed each tunnel, to the second and rather too little; false when it cannot be read. */
bool nft_hold_read_payload(struct nft_hold *hold, bool is_inbound,
                           void (*found)(void *context, const char *name, bool is_inbound,
                                         uint64_t age_sec),
                           void *context);

/** Removes the tables. */
bool nft_hold_purge(struct nft_hold *hold, char *why, size_t why_size);

#endif
