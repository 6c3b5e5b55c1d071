/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nft table in the kernel, through one long-lived libnftables context. On the loop's thread. */
#ifndef VPNSIP_NFT_TABLE_H
#define VPNSIP_NFT_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "nft_query.h"
#include "nft_watch.h"

struct event_base;
struct nft_table;

/** More than the table has. */
#define NFT_COUNTERS_MAXIMUM 32

/**
 * `changed` is called from the loop soon after another process changed our tables, or a connection tracking helper. NULL after writing a
 * sentence into `why`. Needs CAP_NET_ADMIN.
 */
struct nft_table *nft_table_open(struct event_base *base,
                                 void (*changed)(void *context, const struct nft_change *change),
                                 void *context, char *why, size_t why_size);

/** Leaves the table in the kernel. */
void nft_table_close(struct nft_table *table);

/** Carries out a text of nft commands in one transaction. False after writing nft's own words into `why`. */
bool nft_table_run(struct nft_table *table, const char *text, char *why, size_t why_size);

/** False when a change by another process may have been missed. Costs the same whatever is in the table. */
bool nft_table_is_watched(struct nft_table *table);

/** The whole table with its elements as JSON, owned by the caller; NULL when there is none. */
char *nft_table_list_json(struct nft_table *table);

/** Whether any table of this network namespace has a connection tracking helper for SIP. */
bool nft_table_has_sip_helper(struct nft_table *table);

/** Up to `room` counters of the table as they are in the kernel; returns how many. */
size_t nft_table_read_counters(struct nft_table *table, struct nft_counter *counters, size_t room);

#endif
