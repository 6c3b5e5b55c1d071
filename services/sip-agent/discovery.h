/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Keeps every line's SIP servers current: from the configuration, from the lease on its WAN, and from DNS while the records live
 * (their TTL). Runs on the loop. What is found is told; who uses it is not known here.
 */
#ifndef VPNSIP_SIP_DISCOVERY_H
#define VPNSIP_SIP_DISCOVERY_H

#include "services/sip-agent/dhcp_lease.h"
#include "services/sip-agent/server_list.h"

struct bus;
struct discoveries;
struct event_base;

/** What is known of one line. Pointers live as long as the call that gets it. */
struct discovery_report {
	const struct config_line *line;
	enum server_origin origin;      /* of the first registrar */
	const struct dhcp_lease *lease; /* NULL = none is known */
	const struct sip_server *servers;
	size_t server_count;
	const char *
		domain; /* of From and To: the configuration's, else as the lease says; NULL = not known */
	const char *cause; /* why there is no server, or not all of them; "" = nothing is missing */
};

struct discovery_events {
	/** The line's servers or its domain are others now. */
	void (*found)(void *context, const struct discovery_report *report);
	/** Anything of the report changed, after found(). */
	void (*changed)(void *context, const struct discovery_report *report);
};

struct discoveries_options {
	struct event_base *base;
	struct bus *bus; /* its clock and randomness */
	const struct config *config;
	const char *lease_directory, *networkd_directory;
	const struct discovery_events *events;
	void *context;
};

/** Tells of every line before it returns. NULL after logging why. */
struct discoveries *discoveries_open(const struct discoveries_options *options);

/** Where DNS is asked from: names are looked up only while the line has an address. 0.0.0.0 = it has none. */
void discoveries_set_address(struct discoveries *all, const char *number, struct in_addr address);

/** Calls events->changed for each line: the material of a snapshot. */
void discoveries_tell_all(const struct discoveries *all, const struct discovery_events *events,
                          void *context);

/** NULL is allowed. */
void discoveries_close(struct discoveries *all);

#endif
