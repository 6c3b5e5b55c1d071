/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The UDP 4500 socket and what both back ends do with it: IKE messages, keepalives, packets that were held. What one wake of
 * the loop has to send leaves together, whichever tunnels it is from.
 */
#include <errno.h>
#include <string.h>
#include <sys/time.h>

#include "services/tunnel-agent/agent.h"
#include "services/tunnel-agent/esp_path.h"

#define NON_ESP_MARKER_SIZE 4
#define KEEPALIVE_OCTET     0xff

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

void data_path_flush(struct agent *agent)
{
	udp_flush(agent->outbound, agent->udp, count_refused, agent);
}

/* An event that is made active is served after those that are already: other tunnels add their packets first. */
void data_path_flush_soon(struct agent *agent)
{
	if (!event_pending(agent->flush, EV_TIMEOUT, NULL))
		event_active(agent->flush, EV_TIMEOUT, 0);
}

static void flush_now(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	data_path_flush(context);
}

static void take_packet(struct agent_tunnel *tunnel, const struct udp_packet *packet,
                        uint64_t now_usec)
{
	if (packet->is_truncated) {
		tunnel->core.drops[DROP_TOO_LONG]++;
	} else if (packet->size == 1 && packet->octets[0] == KEEPALIVE_OCTET) {
		return;
	} else if (packet->size <= NON_ESP_MARKER_SIZE) {
		tunnel->core.drops[DROP_TOO_SHORT]++;
	} else if (memcmp(packet->octets, non_esp_marker, NON_ESP_MARKER_SIZE) == 0) {
		/* Anybody may have sent it: ike-agent, when it is there, says whether the peer has. */
		if (!tunnel->agent->is_ike_up)
			tunnel_note_received(&tunnel->core, now_usec);
		ike_relay_deliver(tunnel, packet);
	} else {
		tunnel->agent->backend->take_esp(tunnel, packet, now_usec);
	}
}

/* One datagram as it was received: a packet, or several of one size. Returns whose it is. */
static struct agent_tunnel *take_datagram(struct agent *agent, const struct udp_packet *datagram,
                                          uint64_t now_usec)
{
	struct agent_tunnel *tunnel = agent_find_mark(agent, datagram->mark);
	struct udp_packet packet = *datagram;

	if (!tunnel) {
		agent->drops[DROP_UNKNOWN_MARK]++;
		return NULL;
	}
	for (size_t done = 0; done == 0 || done < datagram->size; done += packet.size) {
		size_t rest = datagram->size - done;

		packet.octets = datagram->octets + done;
		packet.size = rest < datagram->segment_size ? rest : datagram->segment_size;
		take_packet(tunnel, &packet, now_usec);
		if (packet.size == 0)
			break;
	}
	return tunnel;
}

static void take_batch(struct agent *agent, unsigned count, uint64_t now_usec)
{
	struct agent_tunnel *previous = NULL;

	for (unsigned i = 0; i < count; i++) {
		struct udp_packet datagram = udp_packet(agent->inbound, i);
		struct agent_tunnel *tunnel = take_datagram(agent, &datagram, now_usec);

		if (previous && tunnel != previous)
			agent_settle(previous);
		previous = tunnel;
	}
	if (agent->esp_path)
		esp_path_finish(agent);
	if (previous)
		agent_settle(previous);
}

/* The socket has packets from peers. */
static void take_datagrams(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus);

	(void)what;
	for (unsigned round = 0; round < RECEIVE_ROUNDS; round++) {
		unsigned count = udp_receive(agent->inbound, descriptor);

		take_batch(agent, count, now_usec);
		if (count < UDP_BATCH)
			break;
	}
}

void data_path_arm(struct event *timer, uint64_t at_usec, uint64_t now_usec)
{
	uint64_t delay_usec = at_usec > now_usec ? at_usec - now_usec : 0;
	struct timeval delay = {.tv_sec = (time_t)(delay_usec / 1000000),
	                        .tv_usec = (suseconds_t)(delay_usec % 1000000)};

	event_add(timer, &delay);
}

static void arm_drain(struct agent *agent, uint64_t at_usec, uint64_t now_usec)
{
	agent->drain_usec = at_usec;
	data_path_arm(agent->drain, at_usec, now_usec);
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
	data_path_flush(agent);
}

void data_path_send_keepalive(struct agent_tunnel *tunnel, uint64_t now_usec)
{
	static const uint8_t octet = KEEPALIVE_OCTET;

	if (udp_send(tunnel->agent->udp, &tunnel->core.remote, tunnel->core.options.if_id, &octet,
	             sizeof(octet), NULL, 0) != 0)
		count_refused(tunnel->agent, tunnel->core.options.if_id, 1, errno);
	tunnel_note_sent(&tunnel->core, now_usec);
}

int data_path_start(struct agent *agent)
{
	struct event_base *base = agent->service->base;
	/* The kernel back end's ESP does not come this way. */
	bool is_joined = agent->backend == &backend_userspace && udp_join_received(agent->udp);

	agent->outbound = udp_batch_new(ESP_HEADROOM, AGENT_PACKET_MAXIMUM, ESP_TAILROOM);
	agent->inbound = udp_batch_new(
		0, is_joined ? UINT16_MAX : ESP_HEADROOM + AGENT_PACKET_MAXIMUM + ESP_TAILROOM, 0);
	agent->flush = event_new(base, -1, 0, flush_now, agent);
	agent->drain = event_new(base, -1, 0, release_held, agent);
	agent->udp_readable = event_new(base, agent->udp, EV_READ | EV_PERSIST, take_datagrams,
	                                agent);
	if (!agent->outbound || !agent->inbound || !agent->flush || !agent->drain ||
	    !agent->udp_readable)
		return -1;
	return event_add(agent->udp_readable, NULL);
}

void data_path_stop(struct agent *agent)
{
	if (agent->udp_readable)
		event_free(agent->udp_readable);
	if (agent->drain)
		event_free(agent->drain);
	if (agent->flush)
		event_free(agent->flush);
	udp_batch_free(agent->outbound);
	udp_batch_free(agent->inbound);
}
