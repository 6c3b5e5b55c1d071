/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The routes of each WAN's lease (DHCP option 121), as the coordinator ordered them. Pure.
 *
 * After a restart nobody has ordered any yet, and the kernel still has what the last process installed: these are kept until
 * they are ordered anew, or disowned.
 */
#ifndef VPNSIP_WAN_ROUTES_H
#define VPNSIP_WAN_ROUTES_H

#include "netfacts.h"

struct config;

#define WAN_ROUTES_MAXIMUM 64

struct wan_route {
	struct sockaddr_storage destination; /* port 0, bits behind the prefix 0 */
	unsigned prefix_length;
	struct sockaddr_storage gateway; /* family 0 = on-link */
};

/** Of one interface. */
struct wan_route_set {
	const char *interface;
	bool is_adopted; /* taken from the kernel, not ordered */
	struct wan_route routes[WAN_ROUTES_MAXIMUM];
	size_t count;
};

struct wan_routes {
	struct wan_route_set *sets; /* one for each WAN interface of the configuration */
	size_t count;
};

/** Empty sets for the WANs of the configuration, which must outlive it. NULL when out of memory. Free with wan_routes_free(). */
struct wan_routes *wan_routes_new(const struct config *config);

/** NULL is allowed. */
void wan_routes_free(struct wan_routes *all);

/** NULL for an interface that is no line's WAN. */
struct wan_route_set *wan_routes_of(const struct wan_routes *all, const char *interface);

/** The whole set of an interface. False when it is no WAN, or there are too many. */
bool wan_routes_set(struct wan_routes *all, const char *interface, const struct wan_route *routes,
                    size_t count);

/** Takes up the routes of ours that the lines' tables hold beside the connected network and the default route. */
void wan_routes_adopt(struct wan_routes *all, const struct config *config,
                      const struct netfacts *facts);

/** Gives up what was adopted and not ordered since. True when there was any. */
bool wan_routes_disown(struct wan_routes *all);

#endif
