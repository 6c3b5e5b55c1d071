/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wan_routes.h"

#include <stdlib.h>
#include <string.h>

#include "route_plan.h"
#include "services/common/address.h"
#include "services/common/config.h"
#include "wan.h"

struct wan_routes *wan_routes_new(const struct config *config)
{
	struct wan_routes *all = calloc(1, sizeof(*all));

	if (all != NULL)
		all->sets = calloc(config->line_count + 1, sizeof(*all->sets));
	if (all == NULL || all->sets == NULL) {
		wan_routes_free(all);
		return NULL;
	}
	for (size_t i = 0; i < config->line_count; i++)
		if (wan_routes_of(all, config->lines[i].wan_interface) == NULL)
			all->sets[all->count++].interface = config->lines[i].wan_interface;
	return all;
}

void wan_routes_free(struct wan_routes *all)
{
	if (all == NULL)
		return;
	free(all->sets);
	free(all);
}

struct wan_route_set *wan_routes_of(const struct wan_routes *all, const char *interface)
{
	for (size_t i = 0; i < all->count; i++)
		if (strcmp(all->sets[i].interface, interface) == 0)
			return &all->sets[i];
	return NULL;
}

bool wan_routes_set(struct wan_routes *all, const char *interface, const struct wan_route *routes,
                    size_t count)
{
	struct wan_route_set *set = wan_routes_of(all, interface);

	if (set == NULL || count > WAN_ROUTES_MAXIMUM)
		return false;
	for (size_t i = 0; i < count; i++) {
		set->routes[i] = routes[i];
		address_mask(&set->routes[i].destination, routes[i].prefix_length);
	}
	set->count = count;
	set->is_adopted = false;
	return true;
}

static bool is_known(const struct wan_route_set *set, const struct netfacts_route *route)
{
	for (size_t i = 0; i < set->count; i++)
		if (set->routes[i].prefix_length == route->prefix_length &&
		    address_is_equal(&set->routes[i].destination, &route->destination))
			return true;
	return false;
}

static void adopt(struct wan_route_set *set, const struct netfacts_route *route,
                  const struct wan_state *wan)
{
	if (route->prefix_length == 0 || set->count == WAN_ROUTES_MAXIMUM || is_known(set, route) ||
	    (route->prefix_length == wan->prefix_length &&
	     address_is_in_prefix(&wan->address, &route->destination, route->prefix_length)))
		return;
	set->routes[set->count++] = (struct wan_route){
		.destination = route->destination,
		.prefix_length = route->prefix_length,
		.gateway = route->gateway,
	};
	set->is_adopted = true;
}

void wan_routes_adopt(struct wan_routes *all, const struct config *config,
                      const struct netfacts *facts)
{
	for (size_t line = 0; line < config->line_count; line++) {
		const struct wan_state wan = wan_evaluate(&config->lines[line], facts);

		for (size_t i = 0; i < facts->route_count; i++) {
			const struct netfacts_route *route = &facts->routes[i];

			if (route->protocol == ROUTE_PROTOCOL_VPNSIP &&
			    route->kind == ROUTE_UNICAST &&
			    route->table == ROUTE_TABLE_LINE + line &&
			    route->link_index == wan.link_index)
				adopt(wan_routes_of(all, config->lines[line].wan_interface), route,
				      &wan);
		}
	}
}

bool wan_routes_disown(struct wan_routes *all)
{
	bool was_any = false;

	for (size_t i = 0; i < all->count; i++) {
		if (!all->sets[i].is_adopted)
			continue;
		all->sets[i].is_adopted = false;
		all->sets[i].count = 0;
		was_any = true;
	}
	return was_any;
}
