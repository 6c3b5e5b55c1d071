/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nft table in the kernel, through one long-lived libnftables context. On the loop's thread. */
#ifndef VPNSIP_NFT_TABLE_H
#define VPNSIP_NFT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct nft_table;

/** More than the table has. */
#define NFT_COUNTERS_MAXIMUM 32

struct nft_counter {
	char name[32];
	uint64_t packets, bytes;
};

/**
 * `changed` is called from the loop soon after another process changed the rule set; with `has_ipv6` the table of that family is watched too. NULL after writing a sentence
 * into `why`. Needs CAP_NET_ADMIN.
 */
struct nft_table *nft_table_open(struct event_base *base, bool has_ipv6,
                                 void (*changed)(void *context), void *context, char *why,
                                 size_t why_size);

/** Leaves the table in the kernel. */
void nft_table_close(struct nft_table *table);

/** Carries out a text of nft commands in one transaction. False after writing nft's own words into `why`. */
bool nft_table_run(struct nft_table *table, const char *text, char *why, size_t why_size);

/**
 * Whether the kernel's table is still what our last change left; if not, `what` says what is missing of it, or too much. False also
 * within the 100 ms in which it is not yet known what our change left.
 */
bool nft_table_is_intact(struct nft_table *table, char *what, size_t what_size);

/** Whether it is known what our last change left. */
bool nft_table_is_known(const struct nft_table *table);

/** The whole table with its elements as JSON, owned by the caller; NULL when there is none. */
char *nft_table_list_json(struct nft_table *table);

/** Whether any table of this network namespace has a connection tracking helper for SIP. */
bool nft_table_has_sip_helper(struct nft_table *table);

/** Up to `room` counters of the table as they are in the kernel; returns how many. */
size_t nft_table_read_counters(struct nft_table *table, struct nft_counter *counters, size_t room);

#endif
