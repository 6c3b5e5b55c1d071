/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a DHCP client noted about the lease on one interface: the file that our hooks write, or that of systemd-networkd. Pure. The
 * values come from a server that nobody vouches for; a line that is malformed is left out.
 *
 * A line is KEY=VALUE. Ours: client, address, dns (addresses), sip (names or addresses), routes ("DESTINATION/LENGTH GATEWAY" in
 * turns), and option120, option121, option125 in hexadecimal, which win over sip and routes.
 */
#ifndef VPNSIP_SIP_DHCP_LEASE_H
#define VPNSIP_SIP_DHCP_LEASE_H

#include "services/sip-agent/dhcp_options.h"

#define DHCP_DNS_MAXIMUM      4
#define DHCP_CLIENT_SIZE      24
#define DHCP_VENDOR_TEXT_SIZE (2 * DHCP_VALUE_MAXIMUM + 1)

struct dhcp_lease {
	char client[DHCP_CLIENT_SIZE]; /* "dhcpcd", "dhclient", "systemd-networkd" */
	struct in_addr address;        /* 0.0.0.0 = not told */
	struct in_addr dns[DHCP_DNS_MAXIMUM];
	size_t dns_count;
	struct dhcp_sip_servers servers;
	struct dhcp_routes routes;
	struct dhcp_vendor vendor;
	char vendor_text[DHCP_VENDOR_TEXT_SIZE]; /* option 125 in hexadecimal, as it came; "" = none */
	unsigned malformed;                      /* options that were left out */
	uint64_t written_at_usec;                /* wall clock; set by who read the file */
};

/** Whether nothing is another, the time of the writing included. */
bool dhcp_lease_is_same(const struct dhcp_lease *a, const struct dhcp_lease *b);

/** Reads a file of our hooks. */
void dhcp_lease_read(const char *text, struct dhcp_lease *lease);

/** Reads /run/systemd/netif/leases/IFINDEX. */
void dhcp_lease_read_networkd(const char *text, struct dhcp_lease *lease);

#endif
