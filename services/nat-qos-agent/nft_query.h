/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Short questions to nf_tables over netlink; libnftables reads all sets and rules first, whatever is asked. On the loop's thread. */
#ifndef VPNSIP_NFT_QUERY_H
#define VPNSIP_NFT_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nft_query;

struct nft_counter {
	char name[32];
	uint64_t packets, bytes;
};

/** NULL with libnl's error in `error`. */
struct nft_query *nft_query_open(int *error);

void nft_query_close(struct nft_query *query);

/** The number of the newest transaction in this network namespace: each adds one. False when the kernel does not answer. */
bool nft_query_generation(struct nft_query *query, uint32_t *generation);

/** Up to `room` named counters of a table of IPv4; returns how many. */
size_t nft_query_counters(struct nft_query *query, const char *table, struct nft_counter *counters,
                          size_t room);

/** Whether any table of this network namespace has a connection tracking helper for SIP. */
bool nft_query_has_sip_helper(struct nft_query *query);

#endif
