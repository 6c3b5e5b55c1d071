/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which routes and rules shall stand, and what has to change so that they do. Pure.
 *
 * In the main table: the guard of each tunnel-routed prefix (unreachable, worst metric), primary routes while their
 * track allows, tunnel routes while the tunnel's interface is there. Below them, so that SIP, ESP and probes never
 * take a tunnel: table 5600+N for line N, with the routes of its WAN's lease, with rules "from WAN address" and "from tunnel source"
 * (lines of one WAN and gateway share the table of the first), table 5700+N for probed interface
 * N with rules "oif INTERFACE" and "from INTERFACE's address to TARGET" (so that a strict rp_filter lets the answers in
 * while the tunnel has the traffic). A packet whose line table has no route ends at an unreachable rule.
 */
#ifndef VPNSIP_ROUTE_PLAN_H
#define VPNSIP_ROUTE_PLAN_H

#include "netfacts.h"
#include "route_index.h"
#include "track_core.h"
#include "wan_routes.h"

#define ROUTE_TABLE_LINE        5600
#define ROUTE_TABLE_PROBE       5700
#define RULE_PRIORITY_LINE      5600
#define RULE_PRIORITY_LINE_ENDS 5601
#define RULE_PRIORITY_PROBE     5700
#define ROUTE_METRIC_GUARD      UINT32_MAX

struct planned_route {
	struct netfacts_route route;
	char interface[IFNAMSIZ];         /* "" = unreachable */
	const struct config_track *track; /* NULL = not tracked */
	bool is_guard;
	bool is_wanted;
	bool is_installed; /* by route_plan_compare(): the facts hold this very route */
	char cause[96];    /* why it is not wanted; "" when it is */
};

struct route_plan {
	struct planned_route *routes;
	size_t route_count, route_room;
	struct route_index *index; /* of routes */
	struct netfacts_rule *rules;
	size_t rule_count, rule_room;
	bool is_complete; /* false: memory ran out while it was built; do not apply it */
};

enum route_change_kind {
	ROUTE_CHANGE_ADD,
	ROUTE_CHANGE_REMOVE,
	RULE_CHANGE_ADD,
	RULE_CHANGE_REMOVE
};

/** One step; `route` or `rule` point into the plan or the facts. */
struct route_change {
	enum route_change_kind kind;
	const struct netfacts_route *route;
	const struct netfacts_rule *rule;
};

/** Does one step. Returns false after saying why; the other steps are still taken. */
typedef bool route_change_fn(void *context, const struct route_change *change);

/** Free with route_plan_free(). */
struct route_plan route_plan_build(const struct config *config, const struct netfacts *facts,
                                   struct track_core *tracks, const struct wan_routes *leases);

void route_plan_free(struct route_plan *plan);

/**
 * The steps from the facts to the plan: guards first, then routes and rules to add, then what is ours and not planned.
 * Routes and rules of other protocols are never touched. Returns how many steps failed.
 */
size_t route_plan_apply(struct route_plan *plan, const struct netfacts *facts,
                        route_change_fn *change, void *context);

/** Removes everything of our protocol, guards too. Returns how many steps failed. */
size_t route_plan_purge(const struct netfacts *facts, route_change_fn *change, void *context);

/** Notes of each planned route whether the facts hold it. False when out of memory. */
bool route_plan_compare(struct route_plan *plan, const struct netfacts *facts);

#endif
