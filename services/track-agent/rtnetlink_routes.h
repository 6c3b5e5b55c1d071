/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel's routing seen through libnl-route-3: reads it, changes it, tells when it changes. On the loop's thread. */
#ifndef VPNSIP_RTNETLINK_ROUTES_H
#define VPNSIP_RTNETLINK_ROUTES_H

#include "route_plan.h"

struct event_base;
struct rtnetlink;

/**
 * `changed` is called from the loop soon after a link, an address, a rule, a default route or a route of ours changed,
 * whoever changed it. NULL after writing a sentence into `why`. Needs CAP_NET_ADMIN to change anything.
 */
struct rtnetlink *rtnetlink_open(struct event_base *base, void (*changed)(void *context),
                                 void *context, char *why, size_t why_size);

/** Leaves everything in the kernel as it is. */
void rtnetlink_close(struct rtnetlink *rtnetlink);

/** Reads everything (IPv4; of the rules only ours). Free with netfacts_free(). False after logging why. */
bool rtnetlink_read(struct rtnetlink *rtnetlink, struct netfacts *facts);

/** Takes one step of a plan; logs a failure. `context` is the struct rtnetlink. Adding replaces, removing what is gone succeeds. */
route_change_fn rtnetlink_change;

#endif
