/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Tells when another process changed the tables of one name, in whatever family. Whose a transaction is follows from counting: while
 * one of ours runs, one that touches them is ours; any further one is not. On the loop's thread.
 */
#ifndef VPNSIP_NFT_WATCH_H
#define VPNSIP_NFT_WATCH_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct nft_watch;

/** What other processes did since the last call. */
struct nft_change {
	bool is_ours; /* something in the tables; `what` says the last of it: "rule of forward deleted by nft" */
	bool is_helpers; /* connection tracking helpers of any table */
	char what[128];
};

/**
 * `changed` is called from the loop, once for changes that follow each other closely. `table` must live as long. NULL after writing a
 * sentence into `why`.
 */
struct nft_watch *nft_watch_open(struct event_base *base, const char *table,
                                 void (*changed)(void *context, const struct nft_change *change),
                                 void *context, char *why, size_t why_size);

void nft_watch_close(struct nft_watch *watch);

/** Around a transaction of ours; `is_done`: it was carried out. */
void nft_watch_begin_own(struct nft_watch *watch);
void nft_watch_end_own(struct nft_watch *watch, bool is_done);

/** Whether every transaction up to now was seen: if so, the tables are what our own ones made of them, or `changed` was or will be called. */
bool nft_watch_is_complete(struct nft_watch *watch);

#endif
