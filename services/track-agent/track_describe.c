/* SPDX-License-Identifier: GPL-3.0-or-later */
/* debug track-agent state, stats */
#include "services/common/address.h"
#include "services/common/config.h"
#include "track_agent.h"

static void describe_route(struct bus_description *description, const struct shown_route *shown)
{
	const struct planned_route *planned = &shown->planned;
	char prefix[ADDRESS_TEXT_SIZE];

	bus_describe(description, "route %s %s metric %u table %u: %s%s%s",
	             address_format_prefix(&planned->route.destination,
	                                   planned->route.prefix_length, prefix),
	             planned->interface[0] ? planned->interface : "unreachable",
	             planned->route.metric, planned->route.table,
	             shown->is_installed ? "installed" : "not installed",
	             planned->cause[0] ? ": " : "", planned->cause);
}

void track_agent_describe(void *context, struct bus_description *description)
{
	const struct track_agent *agent = ((struct service_context *)context)->state;
	const struct track_core *core = agent->tracks;
	const struct track_counters *counters = &agent->counters;

	for (size_t i = 0; i < core->track_count; i++) {
		const struct track *track = &core->tracks[i];

		bus_describe(description, "track %u: %s, %u answers, %u losses in a row%s",
		             track->config->number, track_state_names[track->state], track->answers,
		             track->losses, track->is_route_held ? ", its routes wait" : "");
	}
	for (size_t i = 0; i < core->probe_count; i++) {
		const struct probe *probe = &core->probes[i];

		bus_describe(description, "probe %u: %llu sent, %llu answered, latest %s in %u us",
		             probe->sla->number, (unsigned long long)probe->sent,
		             (unsigned long long)probe->answered, probe->return_code,
		             probe->rtt_usec);
	}
	for (size_t i = 0; i < agent->shown.count; i++)
		describe_route(description, &agent->shown.routes[i]);
	if (agent->is_purged)
		bus_describe(description, "purged by order: nothing is installed until a restart");
	bus_describe_counter(description, "tracks.changes", counters->track_changes);
	bus_describe_counter(description, "checks", counters->checks);
	bus_describe_counter(description, "repairs", counters->repairs);
	bus_describe_counter(description, "leftovers.removed", counters->leftovers_removed);
	bus_describe_counter(description, "failures", counters->failures);
}
