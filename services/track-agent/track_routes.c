/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kernel's routing compared with the plan, mended, and told. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/log.h"
#include "services/common/memory.h"
#include "track_agent.h"

static const struct timeval retry_time = {.tv_sec = 1};

static void publish_wans(struct track_agent *agent, const struct netfacts *facts)
{
	const struct config *config = agent->service->config;

	for (size_t i = 0; i < config->line_count; i++) {
		struct wan_state state = wan_evaluate(&config->lines[i], facts);

		if (wan_state_is_equal(&state, &agent->wans[i]))
			continue;
		agent->wans[i] = state;
		if (!state.is_up)
			log_line(LOG_WARNING, "%s: %s", config->lines[i].wan_interface,
			         state.cause);
		track_publish_wan(agent, i);
	}
}

static const struct shown_route *find_shown(const struct shown_routes *shown,
                                            const struct planned_route *planned)
{
	const struct route_place *same = route_index_find(shown->index, &planned->route);

	for (; same != NULL; same = same->next)
		if (strcmp(shown->routes[same->place].planned.interface, planned->interface) == 0)
			return &shown->routes[same->place];
	return NULL;
}

static bool is_shown_as(const struct shown_route *before, const struct shown_route *now)
{
	return before != NULL && before->is_installed == now->is_installed &&
	       address_is_equal(&before->planned.route.gateway, &now->planned.route.gateway) &&
	       strcmp(before->planned.cause, now->planned.cause) == 0;
}

static void log_route(const struct shown_route *shown)
{
	const struct planned_route *planned = &shown->planned;
	char prefix[ADDRESS_TEXT_SIZE];

	log_line(LOG_INFO, "route %s %s metric %u table %u: %s%s%s",
	         address_format_prefix(&planned->route.destination, planned->route.prefix_length,
	                               prefix),
	         planned->interface[0] != '\0' ? planned->interface : "unreachable",
	         planned->route.metric, planned->route.table,
	         shown->is_installed ? "installed" : "not installed",
	         planned->cause[0] != '\0' ? ": " : "", planned->cause);
}

static struct shown_routes shown_of(const struct route_plan *plan)
{
	struct shown_routes shown = {.count = plan->route_count};

	shown.routes = calloc(plan->route_count + 1, sizeof(*shown.routes));
	for (size_t i = 0; shown.routes != NULL && i < plan->route_count; i++) {
		shown.routes[i].planned = plan->routes[i];
		shown.routes[i].is_installed = plan->routes[i].is_wanted &&
		                               plan->routes[i].is_installed;
	}
	if (shown.routes != NULL)
		shown.index = route_index_of(&shown.routes->planned.route, shown.count,
		                             sizeof(*shown.routes));
	return shown;
}

void track_free_shown(struct shown_routes *shown)
{
	route_index_free(shown->index);
	free(shown->routes);
	memset(shown, 0, sizeof(*shown));
}

/* Publishes what differs from the last time, and what is gone. The plan was compared with the kernel. */
static void show_routes(struct track_agent *agent, const struct route_plan *plan)
{
	struct shown_routes shown = shown_of(plan);

	if (shown.index == NULL) {
		track_free_shown(&shown);
		return;
	}
	for (size_t i = 0; i < shown.count; i++) {
		if (is_shown_as(find_shown(&agent->shown, &plan->routes[i]), &shown.routes[i]))
			continue;
		log_route(&shown.routes[i]);
		track_publish_route(agent, &shown.routes[i]);
	}
	for (size_t i = 0; i < agent->shown.count; i++) {
		struct shown_route gone = agent->shown.routes[i];

		if (find_shown(&shown, &gone.planned) != NULL)
			continue;
		gone.is_installed = false;
		snprintf(gone.planned.cause, sizeof(gone.planned.cause), "removed");
		track_publish_route(agent, &gone);
	}
	track_free_shown(&agent->shown);
	agent->shown = shown;
}

/** What a step is told with. */
struct telling {
	struct track_agent *agent;
	const struct route_plan *plan;
	size_t changes; /* that were made */
};

static const struct planned_route *find_planned(const struct route_plan *plan,
                                                const struct netfacts_route *route)
{
	const struct route_place *same = route_index_find(plan->index, route);

	for (; same != NULL; same = same->next)
		if (&plan->routes[same->place].route == route)
			return &plan->routes[same->place];
	return NULL;
}

static bool was_rule_kept(const struct track_agent *agent, const struct netfacts_rule *rule)
{
	for (size_t i = 0; i < agent->rule_count; i++)
		if (netfacts_rule_is_equal(&agent->rules[i], rule))
			return true;
	return false;
}

/* It stood when we looked last, and nobody asked us to take it away. */
static bool is_repair(const struct telling *telling, const struct route_change *change)
{
	const struct track_agent *agent = telling->agent;
	const struct planned_route *planned;
	const struct shown_route *shown;

	if (change->kind == RULE_CHANGE_ADD)
		return was_rule_kept(agent, change->rule);
	if (change->kind != ROUTE_CHANGE_ADD)
		return false;
	planned = find_planned(telling->plan, change->route);
	shown = planned ? find_shown(&agent->shown, planned) : NULL;
	return shown && shown->is_installed &&
	       address_is_equal(&shown->planned.route.gateway, &change->route->gateway) &&
	       address_is_equal(&shown->planned.route.source, &change->route->source);
}

/* Ours by its protocol, but not what we knew of: an earlier configuration's, or put there by somebody. */
static bool is_leftover(const struct telling *telling, const struct route_change *change)
{
	const struct track_agent *agent = telling->agent;

	if (change->kind == RULE_CHANGE_REMOVE)
		return !was_rule_kept(agent, change->rule);
	return route_index_find(agent->shown.index, change->route) == NULL;
}

static void describe_change(const struct telling *telling, const struct route_change *change,
                            char *text, size_t size)
{
	const struct planned_route *planned;
	char prefix[ADDRESS_TEXT_SIZE], from[ADDRESS_TEXT_SIZE];

	if (change->rule != NULL) {
		snprintf(text, size, "rule %u from %s%s%s table %u", change->rule->priority,
		         change->rule->from.ss_family ? address_format(&change->rule->from, from)
		                                      : "all",
		         change->rule->oif[0] ? " oif " : "", change->rule->oif,
		         change->rule->table);
		return;
	}
	planned = find_planned(telling->plan, change->route);
	snprintf(text, size, "route %s %s metric %u table %u",
	         address_format_prefix(&change->route->destination, change->route->prefix_length,
	                               prefix),
	         change->route->kind == ROUTE_UNREACHABLE ? "unreachable"
	         : planned                                ? planned->interface
	                                                  : "",
	         change->route->metric, change->route->table);
}

static bool change_and_tell(void *context, const struct route_change *change)
{
	struct telling *telling = context;
	struct track_agent *agent = telling->agent;
	bool is_addition = change->kind == ROUTE_CHANGE_ADD || change->kind == RULE_CHANGE_ADD;
	char text[160];

	if (!rtnetlink_change(agent->rtnetlink, change))
		return false;
	telling->changes++;
	describe_change(telling, change, text, sizeof(text));
	if (is_addition && is_repair(telling, change)) {
		agent->counters.repairs++;
		log_line(LOG_WARNING, "%s was missing: installed again", text);
	} else if (!is_addition && is_leftover(telling, change)) {
		agent->counters.leftovers_removed++;
		log_line(LOG_NOTICE, "%s was left over: removed", text);
	}
	bus_trace(agent->service->bus, NULL, 0, VPNSIP__TRACE_KIND__TRACE_KERNEL, NULL, false,
	          "%s %s", text, is_addition ? "installed" : "removed");
	log_debug(LOG_TRACK, NULL, NULL, "%s: %s", text, is_addition ? "installed" : "removed");
	return true;
}

/* What stands now, to know later what somebody took away. */
static void keep_rules(struct track_agent *agent, const struct route_plan *plan)
{
	struct netfacts_rule *rules = calloc(plan->rule_count + 1, sizeof(*rules));

	if (rules == NULL)
		return;
	for (size_t i = 0; i < plan->rule_count; i++)
		rules[i] = plan->rules[i];
	free(agent->rules);
	agent->rules = rules;
	agent->rule_count = plan->rule_count;
}

/* Whether the plan has been compared with what the kernel has now, which is read again only if something was changed. */
static bool compare_again(struct track_agent *agent, struct route_plan *plan, bool has_changed)
{
	struct netfacts facts;
	bool is_compared;

	if (!has_changed)
		return true;
	if (!rtnetlink_read(agent->rtnetlink, &facts))
		return false;
	is_compared = route_plan_compare(plan, &facts);
	netfacts_free(&facts);
	return is_compared;
}

void track_reconcile(struct track_agent *agent)
{
	struct netfacts facts;
	struct route_plan plan;
	struct telling telling = {.agent = agent, .plan = &plan};
	size_t failures = 0;

	if (agent->is_purged || !rtnetlink_read(agent->rtnetlink, &facts))
		return;
	plan = route_plan_build(agent->service->config, &facts, agent->tracks, agent->leases);
	if (plan.is_complete)
		failures = route_plan_apply(&plan, &facts, change_and_tell, &telling);
	publish_wans(agent, &facts);
	netfacts_free(&facts);
	if (plan.is_complete && compare_again(agent, &plan, telling.changes > 0 || failures > 0)) {
		show_routes(agent, &plan);
		keep_rules(agent, &plan);
	}
	agent->counters.failures += failures;
	if (failures > 0 || !plan.is_complete)
		evtimer_add(agent->retry_timer, &retry_time);
	route_plan_free(&plan);
	/* What was read lies between what stays. */
	memory_give_back();
	bus_touch_state(agent->service->bus);
}

void track_purge(struct track_agent *agent, struct bus_request *request)
{
	static const struct route_plan nothing = {.is_complete = true};
	struct netfacts facts;
	size_t failures;

	if (!rtnetlink_read(agent->rtnetlink, &facts)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "cannot read the kernel's routing");
		return;
	}
	agent->is_purged = true;
	evtimer_del(agent->retry_timer);
	failures = route_plan_purge(&facts, rtnetlink_change, agent->rtnetlink);
	show_routes(agent, &nothing);
	netfacts_free(&facts);
	bus_touch_state(agent->service->bus);
	log_line(LOG_NOTICE, "all routes and rules of ours are removed, by order");
	if (failures == 0)
		bus_done(request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%zu routes or rules remain",
		         failures);
}
