/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tells which interface another process changed: made it, or changed its qdiscs, classes or filters. On the loop's thread. */
#ifndef VPNSIP_QDISC_WATCH_H
#define VPNSIP_QDISC_WATCH_H

#include <stdint.h>

struct event_base;
struct qdisc_watch;

/**
 * `own_port` is the netlink port of our orders: what they change is not told. `changed` is called from the loop with the interface's name, or with
 * NULL when events were lost: it may be any. NULL with libnl's error in `error`.
 */
struct qdisc_watch *qdisc_watch_open(struct event_base *base, uint32_t own_port,
                                     void (*changed)(void *context, const char *interface),
                                     void *context, int *error);

void qdisc_watch_close(struct qdisc_watch *watch);

#endif
