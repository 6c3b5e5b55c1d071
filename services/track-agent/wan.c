/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "wan.h"

#include <string.h>

#include "services/common/address.h"

struct wan_state wan_evaluate(const struct config_line *line, const struct netfacts *facts)
{
	struct wan_state state = {.cause = "no such interface"};
	const struct netfacts_link *link = netfacts_link(facts, line->wan_interface);

	if (link == NULL)
		return state;
	state.link_index = link->index;
	state.mtu = link->mtu;
	state.cause = "the interface is down";
	if (!link->is_up)
		return state;

	const struct netfacts_address *address = netfacts_address(facts, link->index);

	state.cause = "the interface has no IPv4 address";
	if (address == NULL)
		return state;
	state.address = address->address;
	state.prefix_length = address->prefix_length;

	const struct sockaddr_storage *gateway = netfacts_default_gateway(facts, link->index);

	if (line->gateway.ss_family != 0)
		state.gateway = line->gateway;
	else if (gateway != NULL)
		state.gateway = *gateway;
	state.is_up = true;
	state.cause = "";
	return state;
}

bool wan_state_is_equal(const struct wan_state *a, const struct wan_state *b)
{
	return a->is_up == b->is_up && a->link_index == b->link_index &&
	       address_is_equal(&a->address, &b->address) && a->prefix_length == b->prefix_length &&
	       address_is_equal(&a->gateway, &b->gateway) && a->mtu == b->mtu &&
	       strcmp(a->cause, b->cause) == 0;
}
