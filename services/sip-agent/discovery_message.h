/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is known of a line's SIP servers as a message of the bus. Pure. */
#ifndef VPNSIP_SIP_DISCOVERY_MESSAGE_H
#define VPNSIP_SIP_DISCOVERY_MESSAGE_H

#include "services/common/address.h"
#include "services/sip-agent/discovery.h"
#include "sip_agent.pb-c.h"

/** A DiscoveryChanged and what it points to. */
struct discovery_message {
	Vpnsip__DiscoveryChanged changed;
	Vpnsip__DiscoveredServer *servers, **server_list;
	Vpnsip__SocketAddress *addresses;
	Vpnsip__LeaseRoute *routes, **route_list;
	char *numbers[DHCP_NUMBERS_MAXIMUM];
	char *server_option;
};

/**
 * `list` are the servers with their bars, NULL = those of the report. The message points to what the report and the list point to:
 * it lives no longer than these. To be released, also after false: no memory.
 */
bool message_from_discovery(struct discovery_message *message,
                            const struct discovery_report *report, const struct server_list *list);

/** Frees what is the message's own. */
void discovery_message_release(struct discovery_message *message);

#endif
