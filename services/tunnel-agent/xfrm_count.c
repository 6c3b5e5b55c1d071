/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kernel counts per state; the core hears of it by differences, once a second. When payload passed last is asked of the nft table,
 * and only if anything passed.
 */
#include <string.h>

#include "services/tunnel-agent/xfrm_backend.h"

static bool is_source(const struct agent *agent, const struct sockaddr_in *address)
{
	const struct sockaddr_in *source =
		(const struct sockaddr_in *)&agent->service->config->tunnel_source;

	return address->sin_addr.s_addr == source->sin_addr.s_addr;
}

bool xfrm_is_inbound(const struct agent *agent, const struct xfrm_state *state)
{
	return is_source(agent, &state->destination);
}

bool xfrm_is_outbound(const struct agent *agent, const struct xfrm_state *state)
{
	return is_source(agent, &state->source);
}

static struct sa *find_entry(const struct sa_table *table, bool is_inbound, uint32_t spi)
{
	struct sa *const *list = is_inbound ? table->inbound : table->outbound;
	unsigned count = is_inbound ? table->inbound_count : table->outbound_count;

	for (unsigned i = 0; i < count; i++)
		if (list[i]->spi == spi)
			return list[i];
	return NULL;
}

static void count_traffic(struct tunnel *core, bool is_inbound, uint64_t packets, uint64_t bytes,
                          uint64_t now_usec)
{
	struct tunnel_traffic *traffic = is_inbound ? &core->in : &core->out;

	traffic->packets += packets;
	traffic->bytes += bytes;
	if (packets == 0)
		return;
	if (is_inbound)
		tunnel_note_received(core, now_usec);
	else
		tunnel_note_sent(core, now_usec);
}

static bool is_reached(uint64_t value, uint64_t limit)
{
	return limit && value >= limit;
}

/* The kernel tells with the packet after; who counts can tell before it comes. */
static void note_limits(struct tunnel *core, const struct sa *entry)
{
	const struct sa_limits *limits = &entry->limits;
	bool is_hard = is_reached(entry->packets, limits->hard_packets) ||
	               is_reached(entry->bytes, limits->hard_bytes);
	bool is_soft = is_hard || is_reached(entry->packets, limits->soft_packets) ||
	               is_reached(entry->bytes, limits->soft_bytes);

	if ((is_hard && !entry->is_hard_reached) || (is_soft && !entry->is_soft_reached))
		tunnel_note_limit(core, entry->is_inbound, entry->spi, is_hard);
}

bool xfrm_count(struct agent *agent, const struct xfrm_state *state, uint64_t now_usec)
{
	struct agent_tunnel *tunnel = agent_find_mark(agent, state->if_id);
	bool is_inbound = xfrm_is_inbound(agent, state);
	uint64_t packets;
	struct xfrm_sa *known;
	struct sa *entry;

	known = tunnel ? xfrm_find_sa(xfrm_tunnel_of(tunnel), is_inbound, state->spi) : NULL;
	if (!known || state->packets < known->packets)
		return false;
	packets = state->packets - known->packets;
	count_traffic(&tunnel->core, is_inbound, packets, state->bytes - known->bytes, now_usec);
	known->packets = state->packets;
	known->bytes = state->bytes;
	entry = find_entry(&tunnel->core.sas, is_inbound, state->spi);
	if (!entry)
		return packets > 0;
	tunnel->core.drops[DROP_REPLAY] += state->replay_drops - entry->replay_drops;
	tunnel->core.drops[DROP_INTEGRITY] += state->integrity_drops - entry->integrity_drops;
	entry->replay_drops = state->replay_drops;
	entry->integrity_drops = state->integrity_drops;
	entry->packets = state->packets;
	entry->bytes = state->bytes;
	entry->sequence = state->sequence_sent;
	entry->replay.top = state->sequence_received;
	entry->replay.is_extended = state->is_extended;
	if (packets > 0)
		entry->last_used_usec = now_usec;
	note_limits(&tunnel->core, entry);
	return packets > 0;
}

struct measurement {
	struct agent *agent;
	uint64_t now_usec;
	bool has_moved;
};

static void measure_state(void *context, const struct xfrm_state *state)
{
	struct measurement *measurement = context;

	if (xfrm_count(measurement->agent, state, measurement->now_usec))
		measurement->has_moved = true;
}

static void note_payload(void *context, const char *name, bool is_inbound, uint64_t age_sec)
{
	const struct measurement *measurement = context;
	struct agent_tunnel *tunnel = agent_find_name(measurement->agent, name);
	uint64_t then_usec = measurement->now_usec - age_sec * 1000000;
	struct tunnel_traffic *traffic;

	/* What passed before belongs to another session. */
	if (!tunnel || !tunnel_has_session(&tunnel->core) || then_usec < tunnel->core.opened_usec)
		return;
	traffic = is_inbound ? &tunnel->core.in : &tunnel->core.out;
	if (traffic->last_usec < then_usec)
		traffic->last_usec = then_usec;
}

void xfrm_measure(struct agent *agent, uint64_t now_usec)
{
	struct measurement measurement = {.agent = agent, .now_usec = now_usec};
	bool has_sas = false;

	for (size_t i = 0; i < agent->tunnel_count; i++)
		has_sas |= agent->xfrm->tunnels[i].sa_count > 0;
	if (!has_sas)
		return;
	xfrm_dump_states(agent->xfrm->socket, measure_state, &measurement);
	if (!measurement.has_moved)
		return;
	nft_hold_read_payload(agent->xfrm->hold, true, note_payload, &measurement);
	nft_hold_read_payload(agent->xfrm->hold, false, note_payload, &measurement);
}
