/* SPDX-License-Identifier: GPL-3.0-or-later */
/* track-agent: probes, tracks, routes. The parts put together on the event loop. */
#ifndef VPNSIP_TRACK_AGENT_H
#define VPNSIP_TRACK_AGENT_H

#include "icmp_probe.h"
#include "route_plan.h"
#include "rtnetlink_routes.h"
#include "services/common/service.h"
#include "track_core.h"
#include "wan.h"

/** One route of ours as it was last published. */
struct shown_route {
	struct planned_route planned;
	bool is_installed;
};

struct shown_routes {
	struct shown_route *routes;
	size_t count;
	struct route_index *index; /* of routes */
};

/** Since the start. */
struct track_counters {
	uint64_t checks, repairs, leftovers_removed, failures, track_changes;
};

struct track_agent {
	struct service_context *service;
	struct track_core *tracks;
	struct wan_routes *leases; /* as ordered */
	struct icmp_probe *icmp;
	struct rtnetlink *rtnetlink;
	struct event *probe_timer; /* track_core_deadline() */
	struct event *retry_timer; /* something could not be installed */
	struct event *claim_timer; /* what nobody ordered since the start goes */
	struct event *check_timer; /* compares the kernel with the plan from time to time */
	struct wan_state *wans;    /* one a line, as last published */
	struct shown_routes shown;
	struct netfacts_rule *rules; /* as they were made to stand last */
	size_t rule_count;
	struct track_counters counters;
	bool is_purged; /* by order: nothing is installed until the next start */
};

int track_agent_start(struct service_context *service);
void track_agent_stop(struct service_context *service);
void track_agent_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order);
void track_agent_snapshot(void *context, struct bus_request *request);

/** Handlers of the bus. */
void track_agent_core_input(void *context, const char *core, const void *octets, size_t size);
void track_agent_describe(void *context, struct bus_description *description);

/** Reads the kernel, makes it as planned, reads back what it changed, and tells of it. */
void track_reconcile(struct track_agent *agent);

void track_free_shown(struct shown_routes *shown);

/** Removes all routes and rules of ours, and answers. */
void track_purge(struct track_agent *agent, struct bus_request *request);

/** Publishes the state of line N's WAN. */
void track_publish_wan(const struct track_agent *agent, size_t line);

void track_publish_track(const struct track_agent *agent, const struct track *track);

void track_publish_route(const struct track_agent *agent, const struct shown_route *route);

/** Answers a GetSnapshot. */
void track_reply_snapshot(const struct track_agent *agent, struct bus_request *request);

#endif
