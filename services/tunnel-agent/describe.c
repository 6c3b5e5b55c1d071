/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `vpnsip debug tunnel-agent` tells; never a key. */
#include <inttypes.h>
#include <stdio.h>

#include "services/common/address.h"
#include "services/tunnel-agent/agent.h"

const char *const tunnel_state_names[TUNNEL_STATE_COUNT] = {
	[TUNNEL_RESTING] = "resting", [TUNNEL_WANTING] = "wants a peer",
	[TUNNEL_PEERED] = "peer set", [TUNNEL_DRAINING] = "open, held packets leave",
	[TUNNEL_OPEN] = "open",
};

struct totals {
	uint64_t inbound_sas, outbound_sas, orphaned_tunnels, orphans_removed;
	uint64_t held_packets, waiting_early_packets, early_packets;
	uint64_t replay_drops, integrity_drops;
	uint64_t drops[DROP_REASON_COUNT];
};

static void add_sas(struct totals *totals, struct sa *const *list, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		totals->replay_drops += list[i]->replay_drops;
		totals->integrity_drops += list[i]->integrity_drops;
	}
}

static void add_tunnel(struct totals *totals, const struct tunnel *core)
{
	totals->inbound_sas += core->sas.inbound_count;
	totals->outbound_sas += core->sas.outbound_count;
	totals->orphaned_tunnels += core->orphaned_usec != 0;
	totals->orphans_removed += core->orphans_removed;
	totals->held_packets += core->hold.count;
	totals->waiting_early_packets += core->early.count;
	totals->early_packets += core->early_packets;
	add_sas(totals, core->sas.inbound, core->sas.inbound_count);
	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
		totals->drops[reason] += core->drops[reason];
}

static void describe_tunnel(struct bus_description *description, const struct agent_tunnel *tunnel,
                            uint64_t now_usec)
{
	const struct tunnel *core = &tunnel->core;
	char remote[ADDRESS_TEXT_SIZE] = "none";

	if (core->attempt)
		address_format_port(&core->remote, remote);
	bus_describe(description,
	             "%s if_id %u: %s, attempt %" PRIu64
	             ", peer %s, SAs %u in %u out%s, held %u%s%s%s",
	             tunnel->peer->tunnel, core->options.if_id, tunnel_state_names[core->state],
	             core->attempt, remote, core->sas.inbound_count, core->sas.outbound_count,
	             core->orphaned_usec ? " (orphaned)" : "", core->hold.count,
	             tunnel_wants_sa(core, now_usec) ? ", wants an SA" : "",
	             tunnel->fault[0] ? ", fault: " : "", tunnel->fault);
}

static void describe_totals(struct bus_description *description, const struct totals *totals)
{
	bus_describe_counter(description, "sas.inbound", totals->inbound_sas);
	bus_describe_counter(description, "sas.outbound", totals->outbound_sas);
	bus_describe_counter(description, "sas.orphaned-tunnels", totals->orphaned_tunnels);
	bus_describe_counter(description, "sas.orphans-removed", totals->orphans_removed);
	bus_describe_counter(description, "sas.replay-drops", totals->replay_drops);
	bus_describe_counter(description, "sas.integrity-drops", totals->integrity_drops);
	bus_describe_counter(description, "packets.held", totals->held_packets);
	bus_describe_counter(description, "packets.early-waiting", totals->waiting_early_packets);
	bus_describe_counter(description, "packets.early-served", totals->early_packets);
	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
		char name[40];

		snprintf(name, sizeof(name), "drops.%s", drop_reason_names[reason]);
		if (totals->drops[reason])
			bus_describe_counter(description, name, totals->drops[reason]);
	}
}

void describe_agent(void *context, struct bus_description *description)
{
	struct service_context *service = context;
	const struct agent *agent = service->state;
	uint64_t now_usec = bus_mono_usec(agent->bus);
	struct totals totals = {0};

	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++)
		totals.drops[reason] = agent->drops[reason];
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		describe_tunnel(description, &agent->tunnels[i], now_usec);
		add_tunnel(&totals, &agent->tunnels[i].core);
	}
	if (agent->fault[0])
		bus_describe(description, "fault: %s", agent->fault);
	bus_describe(description, "data plane %s", agent->backend->name);
	bus_describe(description, "ike-agent is %s", agent->is_ike_up ? "up" : "away");
	bus_describe_counter(description, "tunnels", agent->tunnel_count);
	bus_describe_counter(description, "ike.in-flight", agent->ike_in_flight);
	bus_describe_counter(description, "ike.relayed-in", agent->ike_relayed_in);
	bus_describe_counter(description, "ike.relayed-out", agent->ike_relayed_out);
	bus_describe_counter(description, "path-reports.refused",
	                     agent->refused_path_reports.count);
	describe_totals(description, &totals);
}
