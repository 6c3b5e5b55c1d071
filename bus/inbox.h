/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The way from foreign threads into the loop: an ordered list and an eventfd. One wake-up per burst. */
#ifndef VPNSIP_BUS_INBOX_H
#define VPNSIP_BUS_INBOX_H

#include <stdint.h>

struct event_base;
struct inbox;

/** Embedded in whatever is handed over; it belongs to the inbox until `take` runs. */
struct inbox_item {
	struct inbox_item *next;
	/** Runs on the loop's thread, and also from inbox_close(), so that whatever is inside can be released. */
	void (*take)(struct inbox_item *item);
};

/** NULL when out of memory or descriptors. */
struct inbox *inbox_new(struct event_base *base);

/** Any thread. */
void inbox_put(struct inbox *inbox, struct inbox_item *item);

/** How many items wait, and the most that ever did. */
void inbox_depth(struct inbox *inbox, unsigned *now, unsigned *most);

/** Loop only: how long ago the oldest of the items that are being taken was put; how late the loop is. */
uint64_t inbox_lag_usec(const struct inbox *inbox);

/** Takes what is left and leaves the event base. What is put later is never taken. */
void inbox_close(struct inbox *inbox);

/** After inbox_close(). Nobody may put any more. */
void inbox_free(struct inbox *inbox);

#endif
