/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is known of a line's SIP servers as a message of the bus. Pure. */
#ifndef VPNSIP_SIP_DISCOVERY_MESSAGE_H
#define VPNSIP_SIP_DISCOVERY_MESSAGE_H

#include "services/common/address.h"
#include "services/sip-agent/discovery.h"
#include "sip_agent.pb-c.h"

/** A DiscoveryChanged with room for what it points to. */
struct discovery_message {
	Vpnsip__DiscoveryChanged changed;
	struct server_list list;
	Vpnsip__DiscoveredServer servers[SERVER_LIST_MAXIMUM], *server_list[SERVER_LIST_MAXIMUM];
	Vpnsip__SocketAddress addresses[SERVER_LIST_MAXIMUM];
	struct dhcp_lease lease;
	Vpnsip__LeaseRoute routes[DHCP_ROUTES_MAXIMUM], *route_list[DHCP_ROUTES_MAXIMUM];
	char *numbers[DHCP_NUMBERS_MAXIMUM];
	char server_option[DHCP_SERVERS_MAXIMUM * (DHCP_NAME_SIZE + 6)];
	char cause[256];
};

/**
 * `list` are the servers with their bars, NULL = those of the report. Copies what changes, so `message` may be kept; it must not
 * move. It is big: not for the stack.
 */
void message_from_discovery(struct discovery_message *message,
                            const struct discovery_report *report, const struct server_list *list);

#endif
