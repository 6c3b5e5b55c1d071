/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Finds routes by what makes them the same (netfacts_route_is_same()) without looking at all of them. Pure. */
#ifndef VPNSIP_ROUTE_INDEX_H
#define VPNSIP_ROUTE_INDEX_H

#include "netfacts.h"

struct route_index;

/** One route; `next` is the same one further back. */
struct route_place {
	size_t place; /* of the route in its array, as told to route_index_add() */
	struct route_place *next;
};

/** Empty. NULL when out of memory. Free with route_index_free(). */
struct route_index *route_index_new(void);

/** Of an array of `count` routes, which are `stride` octets apart. NULL when out of memory. */
struct route_index *route_index_of(const struct netfacts_route *routes, size_t count,
                                   size_t stride);

/** NULL is allowed. */
void route_index_free(struct route_index *index);

/** False when out of memory. */
bool route_index_add(struct route_index *index, const struct netfacts_route *route, size_t place);

/** The places of the same routes, in the order in which they were added; NULL when there is none. A NULL index has none. */
const struct route_place *route_index_find(const struct route_index *index,
                                           const struct netfacts_route *route);

#endif
