/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The user-space back end's packets: from a TUN device, cut, sealed and into the batch of the UDP socket; from the socket,
 * opened, joined and into a TUN device. Nothing is allocated per packet, and the order of each tunnel is kept.
 */
#include "services/tunnel-agent/esp_path.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "services/tunnel-agent/coalescer.h"
#include "services/tunnel-agent/icmp_error.h"
#include "services/tunnel-agent/segmenter.h"

/* Reads of one device in one wake: then other events get their turn. */
#define TAKE_ROUNDS 32

/* A TCP packet of 64 KB may pass the shaper as one where that takes no longer than 10 ms. */
#define LARGE_PACKET_KBIT 50000

struct esp_path {
	struct coalescer joined;
	struct agent_tunnel *joined_tunnel; /* whose packets those are */
	struct event *dummies;
	uint64_t dummies_usec; /* when `dummies` fires */
	uint8_t input[UINT16_MAX + 1];
};

/* Writes what was joined to its interface. */
static void write_joined(struct esp_path *path)
{
	struct coalescer *joined = &path->joined;

	if (joined->packets == 0)
		return;
	coalescer_finish(joined);
	if (writev(path->joined_tunnel->descriptor, joined->vectors, 1 + (int)joined->packets) < 0)
		path->joined_tunnel->core.drops[DROP_INTERFACE] += joined->packets;
	coalescer_clear(joined);
}

static void deliver(struct agent_tunnel *tunnel, uint8_t *packet, size_t size)
{
	struct esp_path *path = tunnel->agent->esp_path;

	if (path->joined_tunnel != tunnel || !coalescer_add(&path->joined, packet, size)) {
		write_joined(path);
		path->joined_tunnel = tunnel;
		coalescer_add(&path->joined, packet, size);
	}
}

static void open_packet(struct agent_tunnel *tunnel, uint8_t *packet, size_t packet_size,
                        uint8_t tos, uint64_t now_usec)
{
	uint8_t *inner;
	size_t inner_size;

	if (tunnel_unseal(&tunnel->core, packet, packet_size, now_usec, &inner, &inner_size) &&
	    tunnel_take_ecn(&tunnel->core, tos, inner))
		deliver(tunnel, inner, inner_size);
}

void esp_path_take_esp(struct agent_tunnel *tunnel, const struct udp_packet *packet,
                       uint64_t now_usec)
{
	if (tunnel_keep_early(&tunnel->core, packet->remote, packet->octets, packet->size,
	                      now_usec))
		return;
	open_packet(tunnel, packet->octets, packet->size, packet->tos, now_usec);
	if (tunnel_hear_from(&tunnel->core, packet->remote))
		agent_note_move(tunnel);
}

void esp_path_finish(struct agent *agent)
{
	write_joined(agent->esp_path);
}

void esp_path_take_early(struct agent_tunnel *tunnel, uint32_t spi)
{
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);
	uint8_t packet[EARLY_OCTETS];
	size_t size;

	while ((size = tunnel_take_early(&tunnel->core, spi, packet)) > 0) {
		open_packet(tunnel, packet, size, 0, now_usec);
		write_joined(tunnel->agent->esp_path);
	}
}

static void send_sealed(struct agent_tunnel *tunnel, const uint8_t *packet, size_t size,
                        struct outer_fields outer)
{
	const struct udp_target target = {
		.remote = &tunnel->core.remote,
		.mark = tunnel->core.options.if_id,
		.outer = outer,
		.path_mtu = tunnel->joins_packets ? tunnel->path_mtu : 0,
	};

	if (udp_add(tunnel->agent->outbound, packet, size, &target))
		data_path_flush(tunnel->agent);
	else
		data_path_flush_soon(tunnel->agent);
}

void esp_path_send(struct agent_tunnel *tunnel, uint8_t *inner, size_t inner_size,
                   uint64_t now_usec)
{
	struct outer_fields outer = tunnel_outer_of(&tunnel->core, inner, inner_size);
	uint8_t *packet;
	size_t packet_size;

	if (tunnel_seal(&tunnel->core, inner, inner_size, now_usec, &packet, &packet_size))
		send_sealed(tunnel, packet, packet_size, outer);
}

static void answer_too_big(struct agent_tunnel *tunnel, const uint8_t *packet, size_t size)
{
	uint8_t message[ICMP_ERROR_MAXIMUM];
	size_t message_size = icmp_write_too_big(message, packet, size,
	                                         tunnel_fitting_size(&tunnel->core, packet));

	if (tun_write(tunnel->descriptor, message, message_size) != 0)
		tunnel->core.drops[DROP_INTERFACE]++;
}

/* A packet as the kernel gave it: whole, or to be cut. */
static void take_packet(struct agent_tunnel *tunnel, const struct virtio_net_hdr *header,
                        const uint8_t *input, size_t input_size, uint64_t now_usec)
{
	struct agent *agent = tunnel->agent;
	struct segmenter segmenter;
	uint8_t *slot;
	size_t size;

	if (!segmenter_begin(&segmenter, header, input, input_size)) {
		tunnel->core.drops[DROP_MALFORMED]++;
		return;
	}
	while (slot = udp_next_slot(agent->outbound),
	       (size = segmenter_next(&segmenter, slot, AGENT_PACKET_MAXIMUM)) > 0) {
		switch (tunnel_take(&tunnel->core, slot, size, now_usec)) {
		case TUNNEL_SEND:
			esp_path_send(tunnel, slot, size, now_usec);
			break;
		case TUNNEL_TOO_BIG:
			answer_too_big(tunnel, slot, size);
			break;
		default:
			break;
		}
	}
}

/* The interface has packets for the peer. */
static void take_packets(evutil_socket_t descriptor, short what, void *context)
{
	struct agent_tunnel *tunnel = context;
	struct agent *agent = tunnel->agent;
	struct esp_path *path = agent->esp_path;
	uint64_t now_usec = bus_mono_usec(agent->bus);
	bool is_gone = false;

	(void)what;
	for (unsigned i = 0; i < TAKE_ROUNDS; i++) {
		struct virtio_net_hdr header;
		ssize_t size = tun_read(descriptor, &header, path->input, sizeof(path->input));

		if (size < 0) {
			is_gone = errno != EAGAIN && errno != EINTR;
			break;
		}
		take_packet(tunnel, &header, path->input, (size_t)size, now_usec);
	}
	if (is_gone) {
		esp_path_detach(tunnel);
		interfaces_repair(agent);
	}
	agent_settle(tunnel);
}

static void arm_dummies(struct esp_path *path, uint64_t at_usec, uint64_t now_usec)
{
	path->dummies_usec = at_usec;
	data_path_arm(path->dummies, at_usec, now_usec);
}

static void send_dummies(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus), next_usec = UINT64_MAX;

	(void)descriptor;
	(void)what;
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		struct agent_tunnel *tunnel = &agent->tunnels[i];
		struct tunnel *core = &tunnel->core;
		const struct outer_fields plain = {.has_df = core->options.outer.df_bit == DF_SET};
		uint64_t due_usec;
		uint8_t *packet;
		size_t size;

		while (tunnel_seal_dummy(core, udp_next_slot(agent->outbound), now_usec, &packet,
		                         &size))
			send_sealed(tunnel, packet, size, plain);
		agent_settle(tunnel);
		due_usec = tunnel_next_dummy_usec(core, now_usec);
		if (due_usec < next_usec)
			next_usec = due_usec;
	}
	if (next_usec != UINT64_MAX)
		arm_dummies(agent->esp_path, next_usec, now_usec);
}

void esp_path_settle(struct agent_tunnel *tunnel)
{
	struct esp_path *path = tunnel->agent->esp_path;
	uint64_t now_usec, next_usec;

	if (!tunnel->core.options.dummy_rate && !tunnel->core.options.dummy_usec)
		return;
	now_usec = bus_mono_usec(tunnel->agent->bus);
	next_usec = tunnel_next_dummy_usec(&tunnel->core, now_usec);
	if (next_usec == UINT64_MAX)
		return;
	if (!event_pending(path->dummies, EV_TIMEOUT, NULL) || next_usec < path->dummies_usec)
		arm_dummies(path, next_usec, now_usec);
}

bool esp_path_takes_large(const struct config_peer *peer)
{
	return peer->bandwidth_kbit >= LARGE_PACKET_KBIT;
}

int esp_path_attach(struct agent_tunnel *tunnel)
{
	esp_path_detach(tunnel);
	tun_take_large(tunnel->descriptor, esp_path_takes_large(tunnel->peer));
	tunnel->readable = event_new(tunnel->agent->service->base, tunnel->descriptor,
	                             EV_READ | EV_PERSIST, take_packets, tunnel);
	if (!tunnel->readable || event_add(tunnel->readable, NULL) != 0)
		return -1;
	return 0;
}

void esp_path_detach(struct agent_tunnel *tunnel)
{
	if (tunnel->readable)
		event_free(tunnel->readable);
	tunnel->readable = NULL;
}

int esp_path_start(struct agent *agent)
{
	struct esp_path *path = calloc(1, sizeof(*path));

	agent->esp_path = path;
	if (!path)
		return -1;
	path->dummies = event_new(agent->service->base, -1, 0, send_dummies, agent);
	return path->dummies ? 0 : -1;
}

void esp_path_stop(struct agent *agent)
{
	if (agent->esp_path && agent->esp_path->dummies)
		event_free(agent->esp_path->dummies);
	free(agent->esp_path);
	agent->esp_path = NULL;
}
