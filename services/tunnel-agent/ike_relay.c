/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"

#define NON_ESP_MARKER_SIZE   4
#define IKE_IN_FLIGHT_MAXIMUM 256
#define IKE_DEADLINE_MSEC     1000

static void finish_delivery(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct agent_tunnel *tunnel = context;

	(void)reply;
	tunnel->agent->ike_in_flight--;
	if (outcome != BUS_DONE)
		tunnel->core.drops[DROP_IKE_UNDELIVERED]++;
}

void ike_relay_deliver(struct agent_tunnel *tunnel, const struct udp_packet *packet)
{
	struct agent *agent = tunnel->agent;
	Vpnsip__DeliverIkePacket order = VPNSIP__DELIVER_IKE_PACKET__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;

	/* IKE retransmits; a flood must not fill the memory. */
	if (agent->ike_in_flight >= IKE_IN_FLIGHT_MAXIMUM) {
		tunnel->core.drops[DROP_IKE_QUEUE_FULL]++;
		return;
	}
	address_to_proto(packet->remote, &remote);
	order.if_id = tunnel->core.options.if_id;
	order.remote = &remote;
	order.attempt = tunnel->core.attempt;
	order.packet.data = packet->octets + NON_ESP_MARKER_SIZE;
	order.packet.len = packet->size - NON_ESP_MARKER_SIZE;
	agent->ike_in_flight++;
	agent->ike_relayed_in++;
	bus_call(agent->bus, VPNSIP__SERVICE__IKE_AGENT, tunnel->peer->tunnel, &order.base,
	         IKE_DEADLINE_MSEC, finish_delivery, tunnel);
}

static void finish_report(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct agent_tunnel *tunnel = context;

	if (outcome != BUS_DONE)
		log_session(LOG_WARNING, tunnel->peer->tunnel, tunnel->peer->number,
		            "ike-agent could not be told of an SA: %s", bus_cause(reply));
}

void ike_relay_report_unknown_spi(struct agent_tunnel *tunnel, uint32_t spi)
{
	Vpnsip__ReportUnknownSpi report = VPNSIP__REPORT_UNKNOWN_SPI__INIT;

	report.if_id = tunnel->core.options.if_id;
	report.spi = spi;
	log_session(LOG_WARNING, tunnel->peer->tunnel, tunnel->peer->number,
	            "the peer sends ESP for the unknown SPI %08x: ike-agent is to ask it", spi);
	bus_call(tunnel->agent->bus, VPNSIP__SERVICE__IKE_AGENT, tunnel->peer->tunnel, &report.base,
	         IKE_DEADLINE_MSEC, finish_report, tunnel);
}

void ike_relay_report_limit(struct agent_tunnel *tunnel, uint32_t spi, bool is_hard)
{
	Vpnsip__ReportSaLimit report = VPNSIP__REPORT_SA_LIMIT__INIT;

	report.if_id = tunnel->core.options.if_id;
	report.spi = spi;
	report.is_hard = is_hard;
	log_session(LOG_INFO, tunnel->peer->tunnel, tunnel->peer->number,
	            "SA %08x reached its %s limit", spi, is_hard ? "hard" : "soft");
	bus_call(tunnel->agent->bus, VPNSIP__SERVICE__IKE_AGENT, tunnel->peer->tunnel, &report.base,
	         IKE_DEADLINE_MSEC, finish_report, tunnel);
}
