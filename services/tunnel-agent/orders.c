/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Requests of the coordinator and of ike-agent. A change is published before its order is answered: who has the reply
 * should not meanwhile read what was true before it.
 */
#include <errno.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"

static const uint8_t non_esp_marker[4];

static struct agent_tunnel *find_tunnel(struct agent *agent, struct bus_request *request,
                                        const char *name)
{
	struct agent_tunnel *tunnel = agent_find_name(agent, name);

	if (!tunnel)
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG,
		         "there is no tunnel '%s' in the configuration", name);
	return tunnel;
}

static struct agent_tunnel *find_if_id(struct agent *agent, struct bus_request *request,
                                       uint32_t if_id)
{
	struct agent_tunnel *tunnel = agent_find_mark(agent, if_id);

	if (!tunnel)
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG,
		         "there is no tunnel with if_id %u in the configuration", if_id);
	return tunnel;
}

static void answer(struct bus_request *request, const struct agent_tunnel *tunnel,
                   enum tunnel_order_result result, uint64_t attempt)
{
	switch (result) {
	case ORDER_DONE:
		bus_done(request);
		break;
	case ORDER_STALE:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
		         "%s: attempt %lu is stale, %lu is in force and %lu is over",
		         tunnel->peer->tunnel, (unsigned long)attempt,
		         (unsigned long)tunnel->core.attempt,
		         (unsigned long)tunnel->core.cleared_attempt);
		break;
	case ORDER_NO_PEER:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
		         "%s: attempt %lu has no peer to open the tunnel to", tunnel->peer->tunnel,
		         (unsigned long)attempt);
		break;
	}
}

static void check_tunnel(struct agent *agent, struct bus_request *request,
                         const Vpnsip__CheckTunnel *order)
{
	struct agent_tunnel *tunnel = find_tunnel(agent, request, order->tunnel);

	if (!tunnel)
		return;
	/* The news of a change may still be under way. */
	interfaces_repair_tunnel(agent, tunnel);
	if (agent->fault[0])
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "%s", agent->fault);
	else if (tunnel->fault[0])
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "%s", tunnel->fault);
	else
		bus_done(request);
}

static void set_peer(struct agent *agent, struct bus_request *request, const Vpnsip__SetPeer *order)
{
	struct agent_tunnel *tunnel = find_tunnel(agent, request, order->tunnel);
	struct sockaddr_storage remote;
	enum tunnel_order_result result;

	if (!tunnel)
		return;
	if (!address_from_proto(order->remote, &remote) || address_port(&remote) == 0 ||
	    remote.ss_family != AF_INET) {
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER,
		         "%s: the peer's address is not IPv4 with a port", order->tunnel);
		return;
	}
	result = tunnel_set_peer(&tunnel->core, order->attempt, &remote, bus_mono_usec(agent->bus));
	agent_settle(tunnel);
	answer(request, tunnel, result, order->attempt);
}

static void open_tunnel(struct agent *agent, struct bus_request *request,
                        const Vpnsip__OpenTunnel *order)
{
	struct agent_tunnel *tunnel = find_tunnel(agent, request, order->tunnel);
	enum tunnel_order_result result;
	unsigned held;

	if (!tunnel)
		return;
	result = tunnel_open(&tunnel->core, order->attempt, order->rate_kbit,
	                     bus_mono_usec(agent->bus));
	held = tunnel->core.hold.count;
	agent_settle(tunnel);
	answer(request, tunnel, result, order->attempt);
	if (result == ORDER_DONE)
		log_session(LOG_INFO, tunnel->peer->tunnel, tunnel->peer->number,
		            "open at %u kbit/s, %u packets were held", tunnel->core.rate_kbit,
		            held);
}

static void clear_peer(struct agent *agent, struct bus_request *request,
                       const Vpnsip__ClearPeer *order)
{
	struct agent_tunnel *tunnel = find_tunnel(agent, request, order->tunnel);
	enum tunnel_order_result result;

	if (!tunnel)
		return;
	result = tunnel_clear_peer(&tunnel->core, order->attempt, bus_mono_usec(agent->bus));
	agent_settle(tunnel);
	answer(request, tunnel, result, order->attempt);
}

static void set_key(const Vpnsip__Secret *secret, const uint8_t **key, size_t *size)
{
	*key = secret ? secret->octets.data : NULL;
	*size = secret ? secret->octets.len : 0;
}

static struct sa_order read_order(const Vpnsip__InstallSa *order, uint64_t owner)
{
	struct sa_order result = {.spi = order->spi};

	result.options = (struct esp_options){
		.encryption = order->encryption,
		.integrity = order->integrity,
		.has_extended_sequence = order->has_extended_sequence,
		.is_inbound = order->direction == VPNSIP__SA_DIRECTION__SA_INBOUND,
	};
	result.terms = (struct sa_terms){
		.replay_window = order->replay_window,
		.limits =
			{
				.lifetime_usec = (uint64_t)order->hard_lifetime_sec * 1000000,
				.soft_bytes = order->soft_byte_limit,
				.hard_bytes = order->hard_byte_limit,
				.soft_packets = order->soft_packet_limit,
				.hard_packets = order->hard_packet_limit,
			},
		.owner = owner,
	};

	set_key(order->encryption_key, &result.options.encryption_key,
	        &result.options.encryption_key_size);
	set_key(order->integrity_key, &result.options.integrity_key,
	        &result.options.integrity_key_size);
	return result;
}

static const char *direction_name(Vpnsip__SaDirection direction)
{
	return direction == VPNSIP__SA_DIRECTION__SA_INBOUND ? "inbound" : "outbound";
}

/* All of them or none. `owner` is the start of ike-agent that made them. */
static void install_sas(struct agent *agent, struct bus_request *request,
                        const Vpnsip__InstallSa *const *sas, size_t count, uint64_t owner)
{
	struct agent_tunnel *tunnel = find_if_id(agent, request, sas[0]->if_id);
	struct sa_order list[2];
	const char *why;

	if (!tunnel)
		return;
	for (size_t i = 0; i < count; i++)
		list[i] = read_order(sas[i], owner);
	if (agent->backend->install_sas(tunnel, list, count, &why) != 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "%s: SA %08x: %s",
		         tunnel->peer->tunnel, sas[0]->spi, why);
		return;
	}
	for (size_t i = 0; i < count; i++)
		agent_note(tunnel, "SA %08x %s installed", sas[i]->spi,
		           direction_name(sas[i]->direction));
	agent_settle(tunnel);
	bus_fault_point(agent->bus, "tunnel-agent.sa-installed");
	bus_done(request);
}

static bool is_directed(const Vpnsip__InstallSa *order, Vpnsip__SaDirection direction)
{
	return order && order->direction == direction;
}

static void install_sa(struct agent *agent, struct bus_request *request,
                       const Vpnsip__InstallSa *order, uint64_t owner)
{
	if (is_directed(order, VPNSIP__SA_DIRECTION__SA_INBOUND) ||
	    is_directed(order, VPNSIP__SA_DIRECTION__SA_OUTBOUND))
		install_sas(agent, request, &order, 1, owner);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "the SA has no direction");
}

static void install_child(struct agent *agent, struct bus_request *request,
                          const Vpnsip__InstallChild *order, uint64_t owner)
{
	const Vpnsip__InstallSa *const sas[] = {order->inbound, order->outbound};

	if (is_directed(order->inbound, VPNSIP__SA_DIRECTION__SA_INBOUND) &&
	    is_directed(order->outbound, VPNSIP__SA_DIRECTION__SA_OUTBOUND) &&
	    order->inbound->if_id == order->outbound->if_id)
		install_sas(agent, request, sas, 2, owner);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
		         "these are not the two SAs of a child");
}

static void remove_sa(struct agent *agent, struct bus_request *request,
                      const Vpnsip__RemoveSa *order)
{
	struct agent_tunnel *tunnel = find_if_id(agent, request, order->if_id);

	if (!tunnel)
		return;
	tunnel_remove_sa(&tunnel->core, order->direction == VPNSIP__SA_DIRECTION__SA_INBOUND,
	                 order->spi, bus_mono_usec(agent->bus));
	agent_note(tunnel, "SA %08x %s removed", order->spi, direction_name(order->direction));
	agent_settle(tunnel);
	bus_done(request);
}

static void follow_peer(struct agent *agent, struct bus_request *request,
                        const Vpnsip__FollowPeer *order)
{
	struct agent_tunnel *tunnel = find_if_id(agent, request, order->if_id);
	struct sockaddr_storage from, to;

	if (!tunnel)
		return;
	if (!address_from_proto(order->from, &from) || !address_from_proto(order->to, &to) ||
	    to.ss_family != AF_INET || address_port(&to) == 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "FollowPeer without addresses");
		return;
	}
	if (order->attempt == tunnel->core.attempt &&
	    tunnel_follow_peer(&tunnel->core, &from, &to)) {
		agent_note_move(tunnel);
		agent_settle(tunnel);
	}
	bus_done(request);
}

static void take_signs_of_life(struct agent *agent, struct bus_request *request,
                               const Vpnsip__ReportSignOfLife *report)
{
	for (size_t i = 0; i < report->n_signs; i++) {
		const Vpnsip__SignOfLife *sign = report->signs[i];
		struct agent_tunnel *tunnel = agent_find_mark(agent, sign->if_id);

		if (!tunnel || sign->attempt != tunnel->core.attempt)
			continue;
		tunnel_note_received(&tunnel->core, bus_mono_usec(agent->bus));
		agent_settle(tunnel);
	}
	bus_done(request);
}

static void send_ike_packet(struct agent *agent, struct bus_request *request,
                            const Vpnsip__SendIkePacket *order)
{
	struct agent_tunnel *tunnel = find_if_id(agent, request, order->if_id);
	struct sockaddr_storage remote;

	if (!tunnel)
		return;
	if (!address_from_proto(order->remote, &remote) || remote.ss_family != AF_INET) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "the IKE message has no address");
		return;
	}
	if (tunnel_is_stale(&tunnel->core, order->attempt)) {
		/* It was under way for long: its session's translation is gone, and another one's may be in place. */
		tunnel->core.drops[DROP_STALE_IKE]++;
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY,
		         "%s: the IKE message of attempt %lu came too late", tunnel->peer->tunnel,
		         (unsigned long)order->attempt);
		return;
	}
	if (udp_send(agent->udp, &remote, order->if_id, non_esp_marker, sizeof(non_esp_marker),
	             order->packet.data, order->packet.len) != 0) {
		int error = errno;

		tunnel->core.drops[DROP_SEND_REFUSED]++;
		/* The firewall took it: the session's translation may go before IKE's farewell does. Lost on the way. */
		if (error == EPERM)
			bus_done(request);
		else
			bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM,
			         "%s: the IKE message was not sent: %s", tunnel->peer->tunnel,
			         strerror(error));
		return;
	}
	agent->ike_relayed_out++;
	tunnel_note_sent(&tunnel->core, bus_mono_usec(agent->bus));
	bus_done(request);
}

static void purge_tunnels(struct agent *agent, struct bus_request *request)
{
	const char *why;

	if (interfaces_purge(agent, &why) == 0)
		bus_done(request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "the tunnel source remains: %s",
		         why);
}

void orders_handle(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct service_context *service = context;
	struct agent *agent = service->state;

	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_CHECK_TUNNEL:
		check_tunnel(agent, request, order->check_tunnel);
		break;
	case VPNSIP__ENVELOPE__BODY_SET_PEER:
		set_peer(agent, request, order->set_peer);
		break;
	case VPNSIP__ENVELOPE__BODY_OPEN_TUNNEL:
		open_tunnel(agent, request, order->open_tunnel);
		break;
	case VPNSIP__ENVELOPE__BODY_CLEAR_PEER:
		clear_peer(agent, request, order->clear_peer);
		break;
	case VPNSIP__ENVELOPE__BODY_INSTALL_SA:
		install_sa(agent, request, order->install_sa, order->epoch);
		break;
	case VPNSIP__ENVELOPE__BODY_INSTALL_CHILD:
		install_child(agent, request, order->install_child, order->epoch);
		break;
	case VPNSIP__ENVELOPE__BODY_REMOVE_SA:
		remove_sa(agent, request, order->remove_sa);
		break;
	case VPNSIP__ENVELOPE__BODY_FOLLOW_PEER:
		follow_peer(agent, request, order->follow_peer);
		break;
	case VPNSIP__ENVELOPE__BODY_REPORT_SIGN_OF_LIFE:
		take_signs_of_life(agent, request, order->report_sign_of_life);
		break;
	case VPNSIP__ENVELOPE__BODY_SEND_IKE_PACKET:
		send_ike_packet(agent, request, order->send_ike_packet);
		break;
	case VPNSIP__ENVELOPE__BODY_PURGE_TUNNELS:
		purge_tunnels(agent, request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "tunnel-agent does not know %s",
		         bus_body_name(order));
	}
}
