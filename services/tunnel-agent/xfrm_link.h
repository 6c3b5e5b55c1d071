/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Interfaces of the type xfrm: made, looked at, removed. Their MTU, address and state are rtnl.h's, as of any interface. */
#ifndef VPNSIP_XFRM_LINK_H
#define VPNSIP_XFRM_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct xfrm_links;

/** The kernel's table of interfaces; kept open, so that one can be made when no descriptor is left. NULL with `*why` set. */
struct xfrm_links *xfrm_links_open(const char **why);
void xfrm_links_close(struct xfrm_links *links);

/** Whether the interface of this name is of the type xfrm and has this if_id. */
bool xfrm_link_exists(struct xfrm_links *links, const char *name, uint32_t if_id);

/* Each returns 0, or -1 with `*why` set to a constant text. */

/** Makes an interface that is bound to no other: the route of the encrypted packet decides where it leaves. */
int xfrm_link_make(struct xfrm_links *links, const char *name, uint32_t if_id, const char **why);

/** One that is not there is removed. */
int xfrm_link_remove(struct xfrm_links *links, const char *name, const char **why);

/** Removes those of our link group for which `is_wanted` says no. */
int xfrm_link_sweep(struct xfrm_links *links,
                    bool (*is_wanted)(void *context, const char *name, uint32_t if_id),
                    void *context, const char **why);

#endif
