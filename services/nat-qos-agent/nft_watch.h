/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tells when another process changed this network namespace's nft rule set. On the loop's thread. */
#ifndef VPNSIP_NFT_WATCH_H
#define VPNSIP_NFT_WATCH_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct nft_watch;

/** `changed` is called from the loop, once for changes that follow each other closely. NULL after writing a sentence into `why`. */
struct nft_watch *nft_watch_open(struct event_base *base, void (*changed)(void *context),
                                 void *context, char *why, size_t why_size);

void nft_watch_close(struct nft_watch *watch);

/** Takes the events that wait, and tells whether a change by another process is still to be reported. */
bool nft_watch_has_news(struct nft_watch *watch);

#endif
