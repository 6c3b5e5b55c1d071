/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What tunnel-agent tells about its tunnels. */
#include <stdlib.h>

#include "services/common/address.h"
#include "services/tunnel-agent/agent.h"

/* A TunnelChanged and everything it points to. */
struct status {
	Vpnsip__TunnelChanged message;
	Vpnsip__SocketAddress remote;
	Vpnsip__SaStatus sas[2 * SA_MAXIMUM];
	Vpnsip__SaStatus *sa_list[2 * SA_MAXIMUM];
	Vpnsip__DropCount drops[DROP_REASON_COUNT];
	Vpnsip__DropCount *drop_list[DROP_REASON_COUNT];
};

static size_t fill_drops(const uint64_t *counts, Vpnsip__DropCount *drops, Vpnsip__DropCount **list)
{
	size_t count = 0;

	for (unsigned reason = 0; reason < DROP_REASON_COUNT; reason++) {
		if (!counts[reason])
			continue;
		vpnsip__drop_count__init(&drops[count]);
		drops[count].reason = (char *)drop_reason_names[reason];
		drops[count].packets = counts[reason];
		list[count] = &drops[count];
		count++;
	}
	return count;
}

static uint64_t remaining(uint64_t limit, uint64_t used)
{
	return limit > used ? limit - used : 0;
}

static void fill_sa(const struct sa *sa, uint64_t now_usec, Vpnsip__SaStatus *status)
{
	uint64_t expires_usec = sa_expires_usec(sa);

	vpnsip__sa_status__init(status);
	status->direction = sa->is_inbound ? VPNSIP__SA_DIRECTION__SA_INBOUND
	                                   : VPNSIP__SA_DIRECTION__SA_OUTBOUND;
	status->spi = sa->spi;
	status->algorithms = (char *)sa->algorithms;
	status->packets = sa->packets;
	status->bytes = sa->bytes;
	status->installed_at_mono_usec = sa->installed_usec;
	status->last_used_mono_usec = sa->last_used_usec;
	status->replay_window = sa->replay.window_size;
	status->has_extended_sequence = sa->replay.is_extended;
	status->sequence = sa->is_inbound ? sa->replay.top : sa->sequence;
	status->remaining_bytes = remaining(sa->limits.hard_bytes, sa->bytes);
	status->remaining_packets = remaining(sa->limits.hard_packets, sa->packets);
	status->replay_drops = sa->replay_drops;
	status->integrity_drops = sa->integrity_drops;
	if (expires_usec != UINT64_MAX && expires_usec > now_usec)
		status->remaining_sec = (uint32_t)((expires_usec - now_usec) / 1000000);
}

static size_t fill_sas(const struct sa_table *table, uint64_t now_usec, struct status *status)
{
	size_t count = 0;

	for (unsigned i = 0; i < table->inbound_count; i++)
		fill_sa(table->inbound[i], now_usec, &status->sas[count++]);
	for (unsigned i = 0; i < table->outbound_count; i++)
		fill_sa(table->outbound[i], now_usec, &status->sas[count++]);
	for (size_t i = 0; i < count; i++)
		status->sa_list[i] = &status->sas[i];
	return count;
}

static uint32_t rate_of(double rate)
{
	return rate < (double)UINT32_MAX ? (uint32_t)rate : UINT32_MAX;
}

static void fill_traffic(const struct tunnel *core, Vpnsip__TunnelChanged *message)
{
	message->packets_in = core->in.packets;
	message->bytes_in = core->in.bytes;
	message->early_packets = core->early_packets;
	message->dummy_packets_sent = core->dummies_sent;
	message->dummy_packets_received = core->drops[DROP_DUMMY];
	message->ecn_marked_packets = core->ecn_marked;
	message->unknown_spi_reports = core->unknown_spi_reports;
	message->packets_out = core->out.packets;
	message->bytes_out = core->out.bytes;
	message->rate_in_bit_per_sec = rate_of(core->in.bit_rate);
	message->rate_out_bit_per_sec = rate_of(core->out.bit_rate);
	message->rate_in_packet_per_sec = rate_of(core->in.packet_rate);
	message->rate_out_packet_per_sec = rate_of(core->out.packet_rate);
}

static void fill_interface(const struct agent_tunnel *tunnel, Vpnsip__TunnelChanged *message)
{
	message->interface_index = tunnel->interface_index;
	message->is_up = tunnel->is_up;
	message->mtu = tunnel->mtu;
	message->path_mtu = tunnel->path_mtu;
	if (tunnel->address.address.s_addr) {
		message->address.data = (uint8_t *)&tunnel->address.address;
		message->address.len = sizeof(tunnel->address.address);
		message->prefix_length = tunnel->address.prefix_length;
	}
	if (tunnel->peer->unnumbered)
		message->unnumbered_interface = tunnel->peer->unnumbered;
}

static void fill_conditions(const struct tunnel *core, uint64_t now_usec,
                            Vpnsip__TunnelChanged *message)
{
	uint64_t payload_usec = core->in.last_usec > core->out.last_usec ? core->in.last_usec
	                                                                 : core->out.last_usec;

	message->is_open = tunnel_has_session(core);
	message->wants_peer = core->state == TUNNEL_WANTING;
	if (message->wants_peer)
		message->wants_peer_since_mono_usec = core->wanting_since_usec;
	message->held_packets = core->hold.count;
	message->wants_sa = tunnel_wants_sa(core, now_usec);
	message->is_idle = core->is_idle;
	message->idle_since_mono_usec = payload_usec > core->opened_usec ? payload_usec
	                                                                 : core->opened_usec;
	message->is_dead = core->is_dead;
	message->last_received_mono_usec = core->last_received_usec;
	message->is_one_way = core->is_one_way;
}

static void fill(const struct agent_tunnel *tunnel, struct status *status)
{
	const struct tunnel *core = &tunnel->core;
	Vpnsip__TunnelChanged *message = &status->message;
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);

	vpnsip__tunnel_changed__init(message);
	message->tunnel = tunnel->peer->tunnel;
	message->if_id = core->options.if_id;
	message->attempt = core->attempt;
	if (core->attempt) {
		vpnsip__socket_address__init(&status->remote);
		address_to_proto(&core->remote, &status->remote);
		message->remote = &status->remote;
	}
	fill_interface(tunnel, message);
	fill_conditions(core, now_usec, message);
	fill_traffic(core, message);
	message->n_sas = fill_sas(&core->sas, now_usec, status);
	message->sas = status->sa_list;
	message->n_drops = fill_drops(core->drops, status->drops, status->drop_list);
	message->drops = status->drop_list;
}

void status_publish(struct agent_tunnel *tunnel)
{
	struct status status;

	tunnel->published_revision = tunnel->core.revision;
	fill(tunnel, &status);
	bus_touch_state(tunnel->agent->bus);
	bus_publish(tunnel->agent->bus, tunnel->peer->tunnel, &status.message.base);
}

void status_snapshot(void *context, struct bus_request *request)
{
	struct service_context *service = context;
	struct agent *agent = service->state;
	Vpnsip__TunnelSnapshot snapshot = VPNSIP__TUNNEL_SNAPSHOT__INIT;
	Vpnsip__DropCount drops[DROP_REASON_COUNT], *drop_list[DROP_REASON_COUNT];
	struct status *statuses = calloc(agent->tunnel_count + 1, sizeof(*statuses));
	Vpnsip__TunnelChanged **list = calloc(agent->tunnel_count + 1, sizeof(*list));

	if (!statuses || !list) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		fill(&agent->tunnels[i], &statuses[i]);
		list[i] = &statuses[i].message;
	}
	snapshot.n_tunnels = agent->tunnel_count;
	snapshot.tunnels = list;
	snapshot.n_drops = fill_drops(agent->drops, drops, drop_list);
	snapshot.drops = drop_list;
	bus_reply(request, &snapshot.base);
out:
	free(statuses);
	free(list);
}
