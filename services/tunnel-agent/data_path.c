/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "services/tunnel-agent/agent.h"

#define NON_ESP_MARKER_SIZE 4
#define KEEPALIVE_OCTET     0xff
#define DSCP_MASK           0xfc

/* Batches of one wake: then other events get their turn. */
#define RECEIVE_ROUNDS 4

static const uint8_t non_esp_marker[NON_ESP_MARKER_SIZE];

static void count_refused(void *context, uint32_t mark, unsigned packets, int error)
{
	struct agent_tunnel *tunnel = agent_find_mark(context, mark);
	bool is_full = error == EAGAIN || error == ENOBUFS;

	if (tunnel)
		tunnel->core.drops[is_full ? DROP_SEND_FULL : DROP_SEND_REFUSED] += packets;
}

static void flush(struct agent *agent)
{
	udp_flush(agent->outbound, agent->udp, count_refused, agent);
}

/* Seals the packet that stands in the next slot and adds it to the batch. The outer DSCP is the inner one's. */
void data_path_send(struct agent_tunnel *tunnel, uint8_t *inner, size_t inner_size,
                    uint64_t now_usec)
{
	struct agent *agent = tunnel->agent;
	struct udp_target target = {
		.remote = &tunnel->core.remote,
		.mark = tunnel->core.options.if_id,
	};
	uint8_t tos = inner[1] & DSCP_MASK, *packet;
	size_t packet_size;

	if (!tunnel_seal(&tunnel->core, inner, inner_size, now_usec, &packet, &packet_size))
		return;
	target.outer.tos = tos;
	if (udp_add(agent->outbound, packet, packet_size, &target))
		flush(agent);
}

/* The interface has packets for the peer. */
static void take_packets(evutil_socket_t descriptor, short what, void *context)
{
	struct agent_tunnel *tunnel = context;
	struct agent *agent = tunnel->agent;
	uint64_t now_usec = bus_mono_usec(agent->bus);
	bool is_gone = false;

	(void)what;
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		uint8_t *slot = udp_next_slot(agent->outbound);
		ssize_t size = read(descriptor, slot, AGENT_PACKET_MAXIMUM);

		if (size < 0) {
			is_gone = errno != EAGAIN && errno != EINTR;
			break;
		}
		if (tunnel_take(&tunnel->core, slot, (size_t)size, now_usec) == TUNNEL_SEND)
			data_path_send(tunnel, slot, (size_t)size, now_usec);
	}
	flush(agent);
	if (is_gone) {
		data_path_detach(tunnel);
		interfaces_repair(agent);
	}
	agent_settle(tunnel);
}

static void deliver_inner(struct agent_tunnel *tunnel, uint8_t *packet, size_t packet_size,
                          uint64_t now_usec)
{
	uint8_t *inner;
	size_t inner_size;

	if (!tunnel_unseal(&tunnel->core, packet, packet_size, now_usec, &inner, &inner_size))
		return;
	if (write(tunnel->descriptor, inner, inner_size) < 0)
		tunnel->core.drops[DROP_INTERFACE]++;
}

void data_path_take_early(struct agent_tunnel *tunnel, uint32_t spi)
{
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);
	uint8_t packet[EARLY_OCTETS];
	size_t size;

	while ((size = tunnel_take_early(&tunnel->core, spi, packet)) > 0)
		deliver_inner(tunnel, packet, size, now_usec);
}

void data_path_take_esp(struct agent_tunnel *tunnel, const struct udp_packet *packet,
                        uint64_t now_usec)
{
	if (!tunnel_keep_early(&tunnel->core, packet->remote, packet->octets, packet->size,
	                       now_usec))
		deliver_inner(tunnel, packet->octets, packet->size, now_usec);
}

static void take_datagram(struct agent *agent, const struct udp_packet *packet, uint64_t now_usec)
{
	struct agent_tunnel *tunnel = agent_find_mark(agent, packet->mark);

	if (!tunnel) {
		agent->drops[DROP_UNKNOWN_MARK]++;
		return;
	}
	if (packet->is_truncated) {
		tunnel->core.drops[DROP_TOO_LONG]++;
	} else if (packet->size == 1 && packet->octets[0] == KEEPALIVE_OCTET) {
		return;
	} else if (packet->size <= NON_ESP_MARKER_SIZE) {
		tunnel->core.drops[DROP_TOO_SHORT]++;
	} else if (memcmp(packet->octets, non_esp_marker, NON_ESP_MARKER_SIZE) == 0) {
		tunnel_note_received(&tunnel->core, now_usec);
		ike_relay_deliver(tunnel, packet);
	} else {
		agent->backend->take_esp(tunnel, packet, now_usec);
	}
	agent_settle(tunnel);
}

/* The socket has packets from peers. */
static void take_datagrams(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus);

	(void)what;
	for (unsigned round = 0; round < RECEIVE_ROUNDS; round++) {
		unsigned count = udp_receive(agent->inbound, descriptor);

		for (unsigned i = 0; i < count; i++) {
			struct udp_packet packet = udp_packet(agent->inbound, i);

			take_datagram(agent, &packet, now_usec);
		}
		if (count < UDP_BATCH)
			break;
	}
}

static void arm_drain(struct agent *agent, uint64_t at_usec, uint64_t now_usec)
{
	uint64_t delay_usec = at_usec > now_usec ? at_usec - now_usec : 0;
	struct timeval delay = {.tv_sec = (time_t)(delay_usec / 1000000),
	                        .tv_usec = (suseconds_t)(delay_usec % 1000000)};

	agent->drain_usec = at_usec;
	event_add(agent->drain, &delay);
}

void data_path_schedule_drain(struct agent_tunnel *tunnel)
{
	struct agent *agent = tunnel->agent;
	uint64_t now_usec = bus_mono_usec(agent->bus);
	uint64_t next_usec = tunnel_next_release_usec(&tunnel->core, now_usec);

	if (next_usec == UINT64_MAX)
		return;
	if (!event_pending(agent->drain, EV_TIMEOUT, NULL) || next_usec < agent->drain_usec)
		arm_drain(agent, next_usec, now_usec);
}

static void release_held(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus);

	(void)descriptor;
	(void)what;
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		struct agent_tunnel *tunnel = &agent->tunnels[i];
		uint8_t *slot = udp_next_slot(agent->outbound);
		size_t size;

		if (tunnel->core.state != TUNNEL_DRAINING)
			continue;
		while ((size = tunnel_release(&tunnel->core, slot, now_usec)) > 0) {
			agent->backend->send_held(tunnel, slot, size, now_usec);
			slot = udp_next_slot(agent->outbound);
		}
		agent_settle(tunnel);
	}
	flush(agent);
}

void data_path_send_keepalive(struct agent_tunnel *tunnel, uint64_t now_usec)
{
	static const uint8_t octet = KEEPALIVE_OCTET;

	if (udp_send(tunnel->agent->udp, &tunnel->core.remote, tunnel->core.options.if_id, &octet,
	             sizeof(octet), NULL, 0) != 0)
		count_refused(tunnel->agent, tunnel->core.options.if_id, 1, errno);
	tunnel_note_sent(&tunnel->core, now_usec);
}

int data_path_attach(struct agent_tunnel *tunnel)
{
	data_path_detach(tunnel);
	tunnel->readable = event_new(tunnel->agent->service->base, tunnel->descriptor,
	                             EV_READ | EV_PERSIST, take_packets, tunnel);
	if (!tunnel->readable || event_add(tunnel->readable, NULL) != 0)
		return -1;
	return 0;
}

void data_path_detach(struct agent_tunnel *tunnel)
{
	if (tunnel->readable)
		event_free(tunnel->readable);
	tunnel->readable = NULL;
}

int data_path_start(struct agent *agent)
{
	struct event_base *base = agent->service->base;

	agent->outbound = udp_batch_new(ESP_HEADROOM, AGENT_PACKET_MAXIMUM, ESP_TAILROOM);
	agent->inbound = udp_batch_new(0, ESP_HEADROOM + AGENT_PACKET_MAXIMUM + ESP_TAILROOM, 0);
	agent->drain = event_new(base, -1, 0, release_held, agent);
	agent->udp_readable = event_new(base, agent->udp, EV_READ | EV_PERSIST, take_datagrams,
	                                agent);
	if (!agent->outbound || !agent->inbound || !agent->drain || !agent->udp_readable)
		return -1;
	return event_add(agent->udp_readable, NULL);
}

void data_path_stop(struct agent *agent)
{
	if (agent->udp_readable)
		event_free(agent->udp_readable);
	if (agent->drain)
		event_free(agent->drain);
	udp_batch_free(agent->outbound);
	udp_batch_free(agent->inbound);
}
