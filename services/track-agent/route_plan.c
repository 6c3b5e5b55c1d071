/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "route_plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "wan.h"

static const struct sockaddr_storage any_ipv4 = {.ss_family = AF_INET};

/* Makes room for one more element; NULL when out of memory. */
static void *grow(void **elements, size_t *count, size_t *room, size_t size)
{
	if (*count == *room) {
		size_t more = *room > 0 ? 2 * *room : 16;
		void *bigger = reallocarray(*elements, more, size);

		if (bigger == NULL)
			return NULL;
		*elements = bigger;
		*room = more;
	}
	void *element = (char *)*elements + size * (*count)++;

	memset(element, 0, size);
	return element;
}

static void add_rule(struct route_plan *plan, const struct netfacts_rule *rule)
{
	for (size_t i = 0; i < plan->rule_count; i++)
		if (netfacts_rule_is_equal(&plan->rules[i], rule))
			return;
	struct netfacts_rule *added = grow((void **)&plan->rules, &plan->rule_count,
	                                   &plan->rule_room, sizeof(*plan->rules));

	if (added != NULL)
		*added = *rule;
	else
		plan->is_complete = false;
}

static bool is_planned_route(const struct route_plan *plan, const struct netfacts_route *route)
{
	const struct route_place *same = route_index_find(plan->index, route);

	for (; same != NULL; same = same->next)
		/* What the index names is in the list. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
		if (plan->routes[same->place].is_wanted)
			return true;
	return false;
}

/* The first route of a table, destination and metric stands; a second one would only take its place in turns. */
static struct planned_route *add_route(struct route_plan *plan, const struct netfacts_route *route,
                                       const struct netfacts_link *link)
{
	if (is_planned_route(plan, route))
		return NULL;
	struct planned_route *added = grow((void **)&plan->routes, &plan->route_count,
	                                   &plan->route_room, sizeof(*plan->routes));

	if (added == NULL || !route_index_add(plan->index, route, plan->route_count - 1)) {
		plan->is_complete = false;
		return NULL;
	}
	added->route = *route;
	added->route.protocol = ROUTE_PROTOCOL_VPNSIP;
	added->is_wanted = true;
	if (link != NULL)
		snprintf(added->interface, sizeof(added->interface), "%s", link->name);
	return added;
}

static void refuse(struct planned_route *planned, const char *cause)
{
	if (!planned->is_wanted)
		return;
	planned->is_wanted = false;
	snprintf(planned->cause, sizeof(planned->cause), "%s", cause);
}

static void plan_guard(struct route_plan *plan, const struct config_prefix *prefix)
{
	struct netfacts_route route = {
		.kind = ROUTE_UNREACHABLE,
		.destination = prefix->address,
		.prefix_length = prefix->length,
		.table = ROUTE_TABLE_MAIN,
		.metric = ROUTE_METRIC_GUARD,
	};
	struct planned_route *planned = add_route(plan, &route, NULL);

	if (planned != NULL)
		planned->is_guard = true;
}

/* The tunnel's own or borrowed address, once some interface has it: the kernel refuses any other. */
static struct sockaddr_storage tunnel_address(const struct config_peer *peer,
                                              const struct netfacts *facts)
{
	const struct netfacts_link *lender = netfacts_link(facts, peer->unnumbered);
	const struct netfacts_address *lent = lender != NULL
	                                              ? netfacts_address(facts, lender->index)
	                                              : NULL;

	if (lent != NULL)
		return lent->address;
	for (size_t i = 0; i < facts->address_count; i++)
		if (address_is_equal(&facts->addresses[i].address, &peer->address.address))
			return peer->address.address;
	return (struct sockaddr_storage){0};
}

static void plan_tunnel_route(struct route_plan *plan, const struct config_route *config,
                              const struct netfacts *facts)
{
	const char *name = config->peer->tunnel;
	const struct netfacts_link *link = netfacts_link(facts, name);
	struct netfacts_route route = {
		.kind = ROUTE_UNICAST,
		.destination = config->destination.address,
		.prefix_length = config->destination.length,
		.table = ROUTE_TABLE_MAIN,
		.metric = config->metric,
		.link_index = link != NULL ? link->index : 0,
		.source = tunnel_address(config->peer, facts),
	};
	struct planned_route *planned;

	/* The tunnel has no IPv6 address: the kernel chooses another of this router. */
	if (route.destination.ss_family != AF_INET)
		route.source = (struct sockaddr_storage){0};
	planned = add_route(plan, &route, link);
	if (planned == NULL)
		return;
	snprintf(planned->interface, sizeof(planned->interface), "%s", name);
	if (link == NULL)
		refuse(planned, "the tunnel interface does not exist");
	else if (!link->is_up)
		refuse(planned, "the tunnel interface is down");
}

static void plan_primary_route(struct route_plan *plan, const struct config_route *config,
                               const struct netfacts *facts, struct track_core *tracks)
{
	int index = 0;
	const struct netfacts_link *link = netfacts_link(facts, config->interface);
	struct track *track = track_core_find(tracks, config->track);

	if (config->interface == NULL)
		index = netfacts_link_towards(facts, &config->gateway);
	if (index != 0)
		link = netfacts_link_by_index(facts, index);
	struct netfacts_route route = {
		.kind = ROUTE_UNICAST,
		.destination = config->destination.address,
		.prefix_length = config->destination.length,
		.table = ROUTE_TABLE_MAIN,
		.metric = config->metric,
		.link_index = link != NULL ? link->index : 0,
		.gateway = config->gateway,
	};
	struct planned_route *planned = add_route(plan, &route, link);

	if (planned == NULL)
		return;
	planned->track = config->track;
	if (config->interface != NULL)
		snprintf(planned->interface, sizeof(planned->interface), "%s", config->interface);
	if (link == NULL)
		refuse(planned, config->interface != NULL ? "the interface does not exist"
		                                          : "no interface towards the gateway");
	else if (!link->is_up)
		refuse(planned, "the interface is down");
	if (track != NULL && !track_allows_route(track))
		refuse(planned, track_status(track) == TRACK_STATE_UP
		                        ? "the track is up again, the failback time runs"
		                : track_status(track) == TRACK_STATE_DOWN
		                        ? "the track is down"
		                        : "the track was down before and is not known yet");
}

/*
 * What the WAN's lease says (RFC 3442). Its default route is the line's unless the configuration names a gateway; a gateway
 * that is not on the WAN's network cannot be reached.
 */
static void plan_lease(struct route_plan *plan, const struct config_line *line, uint32_t table,
                       const struct wan_state *wan, const struct netfacts *facts,
                       const struct wan_route_set *lease)
{
	const struct netfacts_link *link = netfacts_link_by_index(facts, wan->link_index);

	for (size_t i = 0; lease != NULL && i < lease->count; i++) {
		const struct wan_route *from = &lease->routes[i];
		const bool is_on_link = address_is_any(&from->gateway);
		struct netfacts_route route = {
			.kind = ROUTE_UNICAST,
			.destination = from->destination,
			.prefix_length = from->prefix_length,
			.table = table,
			.link_index = wan->link_index,
		};

		if (from->prefix_length == 0 && line->gateway.ss_family != 0)
			continue;
		if (!is_on_link)
			route.gateway = from->gateway;
		struct planned_route *planned = add_route(plan, &route, link);

		if (planned != NULL && !is_on_link &&
		    !address_is_in_prefix(&from->gateway, &wan->address, wan->prefix_length))
			refuse(planned, "the lease's gateway is not on the WAN's network");
	}
}

static void plan_line(struct route_plan *plan, const struct config *config, size_t number,
                      const struct netfacts *facts, const struct wan_routes *leases)
{
	struct wan_state wan = wan_evaluate(&config->lines[number], facts);
	uint32_t table = ROUTE_TABLE_LINE + number;
	const struct sockaddr_storage *sources[] = {&config->tunnel_source, &wan.address};

	for (size_t i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		struct netfacts_rule rule = {
			.priority = RULE_PRIORITY_LINE,
			.protocol = ROUTE_PROTOCOL_VPNSIP,
			.table = table,
			.from = *sources[i],
		};

		if (rule.from.ss_family != AF_INET)
			continue;
		add_rule(plan, &rule);
		rule.priority = RULE_PRIORITY_LINE_ENDS;
		rule.is_unreachable = true;
		rule.table = 0;
		add_rule(plan, &rule);
	}
	if (!wan.is_up)
		return;

	const struct netfacts_link *link = netfacts_link_by_index(facts, wan.link_index);
	struct netfacts_route route = {
		.kind = ROUTE_UNICAST,
		.destination = wan.address,
		.prefix_length = wan.prefix_length,
		.table = table,
		.link_index = wan.link_index,
	};

	address_mask(&route.destination, wan.prefix_length);
	add_route(plan, &route, link);
	plan_lease(plan, &config->lines[number], table, &wan, facts,
	           wan_routes_of(leases, config->lines[number].wan_interface));
	route.destination = any_ipv4;
	route.prefix_length = 0;
	route.gateway = wan.gateway;
	add_route(plan, &route, link);
}

/* The how-manieth interface with a probe this is: a number that does not change while the process runs. */
static uint32_t probe_table(const struct config *config, size_t sla)
{
	uint32_t table = ROUTE_TABLE_PROBE;

	for (size_t i = 0; i < sla; i++) {
		bool is_first = config->slas[i].interface != NULL;

		if (is_first && strcmp(config->slas[i].interface, config->slas[sla].interface) == 0)
			return probe_table(config, i);
		for (size_t j = 0; is_first && j < i; j++)
			if (config->slas[j].interface != NULL &&
			    strcmp(config->slas[i].interface, config->slas[j].interface) == 0)
				is_first = false;
		table += is_first;
	}
	return table;
}

static void plan_probe(struct route_plan *plan, const struct config *config, size_t number,
                       const struct netfacts *facts)
{
	const struct config_sla *sla = &config->slas[number];

	if (sla->interface == NULL)
		return;
	uint32_t table = probe_table(config, number);
	struct netfacts_rule rule = {
		.priority = RULE_PRIORITY_PROBE,
		.protocol = ROUTE_PROTOCOL_VPNSIP,
		.table = table,
	};

	snprintf(rule.oif, sizeof(rule.oif), "%s", sla->interface);
	add_rule(plan, &rule);

	const struct netfacts_link *link = netfacts_link(facts, sla->interface);

	if (link == NULL || !link->is_up)
		return;
	const struct netfacts_address *address = netfacts_address(facts, link->index);
	const struct sockaddr_storage *gateway = netfacts_default_gateway(facts, link->index);
	struct netfacts_route route = {
		.kind = ROUTE_UNICAST,
		.destination = sla->target,
		.prefix_length = address_bits(&sla->target),
		.table = table,
		.link_index = link->index,
	};

	if (sla->gateway.ss_family != 0)
		route.gateway = sla->gateway;
	else if (gateway != NULL && netfacts_link_towards(facts, &sla->target) != link->index)
		route.gateway = *gateway;
	add_route(plan, &route, link);
	route.destination = any_ipv4;
	route.prefix_length = 0;
	add_route(plan, &route, link);
	if (address == NULL)
		return;
	rule.oif[0] = '\0';
	rule.from = address->address;
	rule.to = sla->target;
	add_rule(plan, &rule);
}

/* What the configuration routes, where another program's route stands already. */
static void refuse_foreign(struct route_plan *plan, const struct netfacts *facts,
                           const struct route_index *standing)
{
	for (size_t i = 0; i < plan->route_count; i++) {
		struct planned_route *planned = &plan->routes[i];
		const struct route_place *same = route_index_find(standing, &planned->route);

		if (planned->route.table != ROUTE_TABLE_MAIN || planned->is_guard)
			continue;
		for (; same != NULL; same = same->next)
			if (facts->routes[same->place].protocol != ROUTE_PROTOCOL_VPNSIP)
				refuse(planned, "another program's route has this destination and "
				                "metric");
	}
}

/* Of lines that share WAN and gateway the first one's rules match for all. */
static bool has_own_table(const struct config *config, size_t number)
{
	const struct config_line *line = &config->lines[number];

	for (size_t i = 0; i < number; i++)
		if (strcmp(config->lines[i].wan_interface, line->wan_interface) == 0 &&
		    address_is_equal(&config->lines[i].gateway, &line->gateway))
			return false;
	return true;
}

static struct route_index *index_facts(const struct netfacts *facts)
{
	return route_index_of(facts->routes, facts->route_count, sizeof(*facts->routes));
}

struct route_plan route_plan_build(const struct config *config, const struct netfacts *facts,
                                   struct track_core *tracks, const struct wan_routes *leases)
{
	struct route_plan plan = {.index = route_index_new()};
	struct route_index *standing = index_facts(facts);

	plan.is_complete = plan.index != NULL && standing != NULL;
	if (!plan.is_complete)
		goto out;
	for (size_t i = 0; i < config->route_count; i++)
		if (config->routes[i].peer != NULL)
			plan_guard(&plan, &config->routes[i].destination);
	for (size_t i = 0; i < config->line_count; i++)
		if (has_own_table(config, i))
			plan_line(&plan, config, i, facts, leases);
	for (size_t i = 0; i < config->sla_count; i++)
		plan_probe(&plan, config, i, facts);
	for (size_t i = 0; i < config->route_count; i++) {
		if (config->routes[i].peer != NULL)
			plan_tunnel_route(&plan, &config->routes[i], facts);
		else
			plan_primary_route(&plan, &config->routes[i], facts, tracks);
	}
	refuse_foreign(&plan, facts, standing);
out:
	route_index_free(standing);
	return plan;
}

void route_plan_free(struct route_plan *plan)
{
	free(plan->routes);
	free(plan->rules);
	route_index_free(plan->index);
	memset(plan, 0, sizeof(*plan));
}

bool route_plan_compare(struct route_plan *plan, const struct netfacts *facts)
{
	struct route_index *standing = index_facts(facts);

	for (size_t i = 0; standing != NULL && i < plan->route_count; i++) {
		struct planned_route *planned = &plan->routes[i];
		const struct route_place *same = route_index_find(standing, &planned->route);

		planned->is_installed = false;
		for (; same != NULL; same = same->next)
			planned->is_installed |= netfacts_route_is_equal(
				&facts->routes[same->place], &planned->route);
	}
	route_index_free(standing);
	return standing != NULL;
}

static bool is_rule_among(const struct netfacts_rule *rules, size_t count,
                          const struct netfacts_rule *rule)
{
	for (size_t i = 0; i < count; i++)
		if (netfacts_rule_is_equal(&rules[i], rule))
			return true;
	return false;
}

size_t route_plan_apply(struct route_plan *plan, const struct netfacts *facts,
                        route_change_fn *change, void *context)
{
	size_t failures = 0;

	if (!route_plan_compare(plan, facts))
		return 1;
	/* The guards were planned first, so they are installed first. */
	for (size_t i = 0; i < plan->route_count; i++) {
		struct route_change add = {ROUTE_CHANGE_ADD, &plan->routes[i].route, NULL};

		if (plan->routes[i].is_wanted && !plan->routes[i].is_installed)
			failures += !change(context, &add);
	}
	for (size_t i = 0; i < plan->rule_count; i++) {
		struct route_change add = {RULE_CHANGE_ADD, NULL, &plan->rules[i]};

		if (!is_rule_among(facts->rules, facts->rule_count, &plan->rules[i]))
			failures += !change(context, &add);
	}
	for (size_t i = 0; i < facts->rule_count; i++) {
		struct route_change remove = {RULE_CHANGE_REMOVE, NULL, &facts->rules[i]};

		if (facts->rules[i].protocol == ROUTE_PROTOCOL_VPNSIP &&
		    !is_rule_among(plan->rules, plan->rule_count, &facts->rules[i]))
			failures += !change(context, &remove);
	}
	for (size_t i = 0; i < facts->route_count; i++) {
		struct route_change remove = {ROUTE_CHANGE_REMOVE, &facts->routes[i], NULL};

		if (facts->routes[i].protocol == ROUTE_PROTOCOL_VPNSIP &&
		    !is_planned_route(plan, &facts->routes[i]))
			failures += !change(context, &remove);
	}
	return failures;
}

size_t route_plan_purge(const struct netfacts *facts, route_change_fn *change, void *context)
{
	struct route_plan nothing = {.is_complete = true};

	return route_plan_apply(&nothing, facts, change, context);
}
