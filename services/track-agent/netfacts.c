/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "netfacts.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"

void netfacts_free(struct netfacts *facts)
{
	free(facts->links);
	free(facts->addresses);
	free(facts->routes);
	free(facts->rules);
	memset(facts, 0, sizeof(*facts));
}

const struct netfacts_link *netfacts_link(const struct netfacts *facts, const char *name)
{
	for (size_t i = 0; name != NULL && i < facts->link_count; i++)
		if (strcmp(facts->links[i].name, name) == 0)
			return &facts->links[i];
	return NULL;
}

const struct netfacts_link *netfacts_link_by_index(const struct netfacts *facts, int index)
{
	for (size_t i = 0; i < facts->link_count; i++)
		if (facts->links[i].index == index)
			return &facts->links[i];
	return NULL;
}

const struct netfacts_address *netfacts_address(const struct netfacts *facts, int link_index)
{
	for (size_t i = 0; i < facts->address_count; i++)
		if (facts->addresses[i].link_index == link_index)
			return &facts->addresses[i];
	return NULL;
}

bool netfacts_has_address(const struct netfacts *facts, int link_index,
                          const struct sockaddr_storage *address)
{
	for (size_t i = 0; i < facts->address_count; i++)
		if (facts->addresses[i].link_index == link_index &&
		    address_is_equal(&facts->addresses[i].address, address))
			return true;
	return false;
}

int netfacts_link_towards(const struct netfacts *facts, const struct sockaddr_storage *address)
{
	const struct netfacts_address *best = NULL;

	for (size_t i = 0; i < facts->address_count; i++) {
		const struct netfacts_address *candidate = &facts->addresses[i];

		if (address_is_in_prefix(address, &candidate->address, candidate->prefix_length) &&
		    (best == NULL || candidate->prefix_length > best->prefix_length))
			best = candidate;
	}
	return best != NULL ? best->link_index : 0;
}

const struct sockaddr_storage *netfacts_default_gateway(const struct netfacts *facts,
                                                        int link_index)
{
	const struct netfacts_route *best = NULL;

	for (size_t i = 0; i < facts->route_count; i++) {
		const struct netfacts_route *route = &facts->routes[i];

		if (route->table == ROUTE_TABLE_MAIN && route->kind == ROUTE_UNICAST &&
		    route->destination.ss_family == AF_INET && route->prefix_length == 0 &&
		    route->link_index == link_index && route->gateway.ss_family != 0 &&
		    route->protocol != ROUTE_PROTOCOL_VPNSIP &&
		    (best == NULL || route->metric < best->metric))
			best = route;
	}
	return best != NULL ? &best->gateway : NULL;
}

bool netfacts_route_is_same(const struct netfacts_route *a, const struct netfacts_route *b)
{
	return a->table == b->table && a->metric == b->metric &&
	       a->prefix_length == b->prefix_length &&
	       address_is_equal(&a->destination, &b->destination);
}

bool netfacts_route_is_equal(const struct netfacts_route *a, const struct netfacts_route *b)
{
	return netfacts_route_is_same(a, b) && a->kind == b->kind && a->protocol == b->protocol &&
	       a->link_index == b->link_index && address_is_equal(&a->gateway, &b->gateway) &&
	       address_is_equal(&a->source, &b->source);
}

bool netfacts_rule_is_equal(const struct netfacts_rule *a, const struct netfacts_rule *b)
{
	return a->priority == b->priority && a->protocol == b->protocol &&
	       a->is_unreachable == b->is_unreachable &&
	       (a->is_unreachable || a->table == b->table) &&
	       address_is_equal(&a->from, &b->from) && address_is_equal(&a->to, &b->to) &&
	       strcmp(a->oif, b->oif) == 0;
}
