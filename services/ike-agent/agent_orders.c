/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The orders of the coordinator and of tunnel-agent. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/ike-agent/agent_authentication.h"

static void prepare(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__PrepareIke *order)
{
	Vpnsip__IkePrepared reply = VPNSIP__IKE_PREPARED__INIT;
	struct agent_credentials credentials;
	struct agent_fingerprints shown;
	const struct config_peer *peer = agent_find_credentials(agent, request, order->tunnel,
	                                                        order->remote_number, &credentials);

	if (!peer)
		return;
	agent_show_fingerprints(peer, &credentials, &shown);
	reply.n_fingerprints = shown.count;
	reply.fingerprints = shown.list;
	bus_reply(request, &reply.base);
}

/** Makes room for the attempt. The new session, or NULL with the request answered. */
static struct ike_session *admit(struct ike_agent *agent, struct bus_request *request,
                                 const struct config_peer *peer, uint64_t attempt)
{
	struct ike_session *session;
	enum session_admission admission = session_table_admit(agent->sessions, peer->if_id,
	                                                       attempt, &session);

	if (admission == SESSION_REPLACES) {
		agent_end_session(agent, session);
		admission = session_table_admit(agent->sessions, peer->if_id, attempt, &session);
	}
	if (admission == SESSION_NEW && session)
		return session;
	if (admission == SESSION_STALE)
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM,
		         "attempt %" PRIu64 " of %s is stale", attempt, peer->tunnel);
	else if (!session)
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
	else if (session->state == IKE_STATE_FAILED || session->state == IKE_STATE_ENDED)
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "the session is over: %s",
		         session->cause);
	else
		bus_done(request);
	return NULL;
}

static void start(struct ike_agent *agent, struct bus_request *request,
                  const Vpnsip__StartIke *order)
{
	struct engine_pin pins[ENGINE_PINS_MAX];
	struct engine_session engine_session = {.pins = pins};
	struct agent_credentials credentials;
	const struct config_peer *peer = agent_find_credentials(agent, request, order->tunnel,
	                                                        order->remote_number, &credentials);
	struct ike_session *session;
	const char *refusal;
	char why[ENGINE_CAUSE_SIZE];

	if (!peer)
		return;
	bus_fault_point(agent->service->bus, "ike-agent.before-start");
	if (!address_from_proto(order->local, &engine_session.local) ||
	    !address_from_proto(order->remote, &engine_session.remote)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "StartIke without addresses");
		return;
	}
	refusal = agent_read_pins(peer, order, pins, &engine_session.pin_count);
	if (refusal) {
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "%s", refusal);
		return;
	}
	session = admit(agent, request, peer, order->attempt);
	if (!session)
		return;
	ike_session_init(session, peer->tunnel, order->attempt, peer->if_id, order->local_number,
	                 order->remote_number, order->initiate);
	session->local = engine_session.local;
	session->ike.remote = engine_session.remote;
	engine_session.if_id = peer->if_id;
	engine_session.attempt = order->attempt;
	engine_session.local_number = order->local_number;
	engine_session.remote_number = order->remote_number;
	engine_session.peer = peer;
	engine_session.key = credentials.key ? credentials.key->key : NULL;
	engine_session.key_size = credentials.key ? credentials.key->key_size : 0;
	engine_session.certificates = credentials.certificates;
	if (!engine_add_session(&engine_session, why, sizeof(why))) {
		session_table_remove(agent->sessions, peer->if_id);
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "%s", why);
		return;
	}
	if (order->initiate)
		engine_initiate(peer->if_id, order->attempt);
	bus_done(request);
	agent_publish(agent, session, true);
}

static void probe_session(const struct ike_session *session)
{
	for (size_t i = 0; i < session->sa_count; i++)
		if (session->sas[i].is_up && !session->sas[i].is_superseded)
			engine_probe_sa(session->sas[i].sa);
}

static void probe(struct ike_agent *agent, struct bus_request *request,
                  const Vpnsip__ProbePeer *order)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config,
	                                                       order->tunnel);
	struct ike_session *session = peer ? session_table_find(agent->sessions, peer->if_id)
	                                   : NULL;

	if (!session || session->attempt != order->attempt || session->state != IKE_STATE_UP) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "no IKE is up on %s",
		         order->tunnel);
		return;
	}
	probe_session(session);
	bus_done(request);
}

/* The peer that answers still has its IKE_SA, and its own rekeying mends the rest; the one that does not is dead. */
static void recover_spi(struct ike_agent *agent, struct bus_request *request,
                        const Vpnsip__ReportUnknownSpi *report)
{
	const struct ike_session *session = session_table_find(agent->sessions, report->if_id);

	if (session && session->state == IKE_STATE_UP) {
		log_session(LOG_NOTICE, session->tunnel, session->remote_number,
		            "ESP for the unknown SPI %08x: the peer is asked for a sign of life",
		            report->spi);
		probe_session(session);
	}
	bus_done(request);
}

static void renew(struct ike_agent *agent, struct bus_request *request,
                  const Vpnsip__RenewChildren *order)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config,
	                                                       order->tunnel);
	struct ike_session *session = peer ? session_table_find(agent->sessions, peer->if_id)
	                                   : NULL;

	if (!session || session->state != IKE_STATE_UP) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "no IKE is up on %s",
		         order->tunnel);
		return;
	}
	log_session(LOG_NOTICE, session->tunnel, session->remote_number,
	            "the child SAs are renewed, as the operator says");
	engine_renew_children(session->sa_in_force);
	bus_done(request);
}

static void deliver(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__DeliverIkePacket *order)
{
	const struct ike_session *session = session_table_find(agent->sessions, order->if_id);
	struct sockaddr_storage remote;

	/* Late or early: another attempt's session is no business of it. tunnel-agent names none while it was just restarted. */
	if (order->attempt && session && session->attempt != order->attempt) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY,
		         "%s: IKE runs for attempt %" PRIu64 ", not for %" PRIu64, session->tunnel,
		         session->attempt, order->attempt);
		return;
	}
	if (!address_from_proto(order->remote, &remote)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "DeliverIkePacket without address");
		return;
	}
	if (!agent_admit_packet(agent, session, &remote, order->packet.data, order->packet.len)) {
		bus_done(request);
		return;
	}
	if (engine_deliver(order->if_id, &remote, order->packet.data, order->packet.len)) {
		agent->packets_delivered++;
		agent_note_packet(agent, order->if_id, session ? session->attempt : order->attempt,
		                  true, &remote, order->packet.data, order->packet.len);
		bus_done(request);
		return;
	}
	if (session)
		agent_count_drop(agent, order->if_id, session->attempt, &agent->crowded, NULL);
	else
		agent_refuse_packet(agent, NULL, &remote, order->packet.data, order->packet.len);
	bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "no IKE session takes packets of if_id %u",
	         order->if_id);
}

void agent_take_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct ike_agent *agent = ike_agent_of(context);

	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_PREPARE_IKE:
		prepare(agent, request, order->prepare_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_START_IKE:
		start(agent, request, order->start_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_STOP_IKE:
		agent_stop_ike(agent, request, order->stop_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_PROBE_PEER:
		probe(agent, request, order->probe_peer);
		break;
	case VPNSIP__ENVELOPE__BODY_RENEW_CHILDREN:
		renew(agent, request, order->renew_children);
		break;
	case VPNSIP__ENVELOPE__BODY_DELIVER_IKE_PACKET:
		deliver(agent, request, order->deliver_ike_packet);
		break;
	case VPNSIP__ENVELOPE__BODY_REPORT_UNKNOWN_SPI:
		recover_spi(agent, request, order->report_unknown_spi);
		break;
	case VPNSIP__ENVELOPE__BODY_REPORT_SA_LIMIT:
		/* An SA that is gone needs no rekeying. */
		engine_expire(order->report_sa_limit->if_id, order->report_sa_limit->spi,
		              order->report_sa_limit->is_hard);
		bus_done(request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "ike-agent does not know %s",
		         bus_body_name(order));
	}
}
