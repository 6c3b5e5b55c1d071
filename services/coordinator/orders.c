/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/common/proposals.h"
#include "services/coordinator/coordinator.h"
#include "services/coordinator/media.h"
#include "services/coordinator/records.h"

#define LOCAL_TIMEOUT_MSEC 1500

#define OUTER_BYTE   (20 + 8 + 8) /* IPv4, UDP, SPI and sequence number */
#define TRAILER_BYTE 2

static void step_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct pending_step *pending = context;
	struct coordinator *coordinator = pending->coordinator;
	struct media media = {0};
	struct step_result result = {
		.is_done = outcome == BUS_DONE,
		.is_unanswered = outcome != BUS_DONE && outcome != BUS_FAILED,
		.kind = VPNSIP__FAILURE_KIND__SYSTEM,
		.cause = bus_cause(reply),
	};

	if (reply->body_case == VPNSIP__ENVELOPE__BODY_FAILED)
		result.kind = reply->failed->kind;
	if (reply->body_case == VPNSIP__ENVELOPE__BODY_PORT_RESERVED)
		result.port = reply->port_reserved->port;
	if (reply->body_case == VPNSIP__ENVELOPE__BODY_IKE_PREPARED) {
		media_read_fingerprints(&media, reply->ike_prepared->fingerprints,
		                        reply->ike_prepared->n_fingerprints);
		result.media = &media;
	}
	if ((pending->step == STEP_PLACE_CALL || pending->step == STEP_ANSWER_CALL) &&
	    (outcome == BUS_FAILED || outcome == BUS_NOT_SENT))
		records_refused(pending->coordinator->records, pending->attempt);
	DL_DELETE2(coordinator->pending, pending, previous, next);
	core_step_finished(coordinator->core, pending->session, pending->attempt, pending->step,
	                   &result);
	/* Whether it was carried out shows in what the service holds. */
	if (outcome == BUS_TIMED_OUT || outcome == BUS_LOST)
		watch_look_again(coordinator, pending->to);
	free(pending);
}

static struct pending_step *pending_step(struct coordinator *coordinator, struct session *session,
                                         enum step step, Vpnsip__Service to)
{
	struct pending_step *pending = calloc(1, sizeof(*pending));

	if (!pending) {
		log_line(LOG_ERR, "out of memory");
		abort();
	}
	*pending = (struct pending_step){.coordinator = coordinator,
	                                 .session = session,
	                                 .attempt = session->attempt,
	                                 .step = step,
	                                 .to = to};
	DL_APPEND2(coordinator->pending, pending, previous, next);
	return pending;
}

static void call(struct coordinator *coordinator, struct session *session, enum step step,
                 Vpnsip__Service to, const ProtobufCMessage *order)
{
	struct pending_step *pending = pending_step(coordinator, session, step, to);

	pending->request = bus_call(coordinator->service->bus, to, session->peer->tunnel, order,
	                            LOCAL_TIMEOUT_MSEC, step_replied, pending);
}

void orders_cancel_all(struct coordinator *coordinator)
{
	struct pending_step *pending, *next;

	DL_FOREACH_SAFE2(coordinator->pending, pending, next, next)
	{
		bus_cancel(coordinator->service->bus, pending->request);
		DL_DELETE2(coordinator->pending, pending, previous, next);
		free(pending);
	}
}

static void send_prepare_ike(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__PrepareIke order = VPNSIP__PREPARE_IKE__INIT;

	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.local_number = session->line->config->number;
	order.remote_number = session->peer->number;
	call(coordinator, session, STEP_PREPARE_IKE, VPNSIP__SERVICE__IKE_AGENT, &order.base);
}

static void send_reserve_port(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__ReservePort order = VPNSIP__RESERVE_PORT__INIT;

	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	call(coordinator, session, STEP_RESERVE_PORT, VPNSIP__SERVICE__NAT_QOS_AGENT, &order.base);
}

static void send_check_tunnel(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__CheckTunnel order = VPNSIP__CHECK_TUNNEL__INIT;

	order.tunnel = session->peer->tunnel;
	call(coordinator, session, STEP_CHECK_TUNNEL, VPNSIP__SERVICE__TUNNEL_AGENT, &order.base);
}

static void send_place_call(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__PlaceCall order = VPNSIP__PLACE_CALL__INIT;
	struct media_message offer;

	media_to_message(&offer, &session->local);
	order.attempt = session->attempt;
	order.tunnel = session->peer->tunnel;
	order.local_number = session->line->config->number;
	order.remote_number = session->peer->number;
	order.offer = &offer.message;
	call(coordinator, session, STEP_PLACE_CALL, VPNSIP__SERVICE__SIP_AGENT, &order.base);
}

static void send_answer_call(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__AnswerCall order = VPNSIP__ANSWER_CALL__INIT;
	struct media_message answer;

	media_to_message(&answer, &session->local);
	order.call_id = session->call_id;
	order.attempt = session->attempt;
	order.tunnel = session->peer->tunnel;
	order.answer = &answer.message;
	call(coordinator, session, STEP_ANSWER_CALL, VPNSIP__SERVICE__SIP_AGENT, &order.base);
}

static void send_install_translation(struct coordinator *coordinator, struct session *session)
{
	static const Vpnsip__PeerSource sources[] = {
		[PEER_SOURCE_CONFIG_EXACT] = VPNSIP__PEER_SOURCE__SOURCE_EXACT,
		[PEER_SOURCE_CONFIG_ADDRESS] = VPNSIP__PEER_SOURCE__SOURCE_ADDRESS,
		[PEER_SOURCE_CONFIG_ANY] = VPNSIP__PEER_SOURCE__SOURCE_ANY,
	};
	Vpnsip__InstallTranslation order = VPNSIP__INSTALL_TRANSLATION__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;

	address_to_proto(&session->remote.address, &remote);
	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.if_id = session->peer->if_id;
	order.wan_address = address_to_bytes(&session->local.address);
	order.port = address_port(&session->local.address);
	order.remote = &remote;
	order.peer_source = sources[session->peer->peer_source];
	call(coordinator, session, STEP_INSTALL_TRANSLATION, VPNSIP__SERVICE__NAT_QOS_AGENT,
	     &order.base);
}

/** Outer minus inner length of a packet in tunnel mode with UDP encapsulation, padding at its worst. */
static uint32_t overhead_of(const struct coordinator *coordinator, const struct config_peer *peer)
{
	const struct transform *cipher;
	struct proposal_list proposals;
	char why[128];

	/* The check of the configuration has read them before. The first is what will mostly be agreed on. */
	proposals_of_ipsec_profile(coordinator->service->config, peer->ipsec_profile, &proposals,
	                           why, sizeof(why));
	cipher = proposal_first(&proposals.items[0], TRANSFORM_ENCRYPTION);
	return OUTER_BYTE + cipher->iv_size + cipher->block_size - 1 + TRAILER_BYTE +
	       proposal_icv_size(&proposals.items[0]);
}

static void send_install_shaper(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__InstallShaper order = VPNSIP__INSTALL_SHAPER__INIT;

	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.rate_kbit = session->negotiated_kbit;
	order.overhead_byte = overhead_of(coordinator, session->peer);
	call(coordinator, session, STEP_INSTALL_SHAPER, VPNSIP__SERVICE__NAT_QOS_AGENT,
	     &order.base);
}

static void send_set_peer(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__SetPeer order = VPNSIP__SET_PEER__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;

	address_to_proto(&session->remote.address, &remote);
	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.remote = &remote;
	call(coordinator, session, STEP_SET_PEER, VPNSIP__SERVICE__TUNNEL_AGENT, &order.base);
}

static void send_start_ike(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__StartIke order = VPNSIP__START_IKE__INIT;
	Vpnsip__SocketAddress local = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage inside = coordinator->service->config->tunnel_source;
	struct media_message pinned;

	/* The session port is the only thing that tells libcharon's sessions apart. */
	address_set_port(&inside, address_port(&session->local.address));
	address_to_proto(&inside, &local);
	address_to_proto(&session->remote.address, &remote);
	media_to_message(&pinned, &session->remote);
	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.if_id = session->peer->if_id;
	order.local_number = session->line->config->number;
	order.remote_number = session->peer->number;
	order.local = &local;
	order.remote = &remote;
	/* Whoever lost its IKE_SA begins the new one, whatever its role in the SDP is. */
	order.is_resumed = session->is_ike_pending;
	order.initiate = order.is_resumed || session->local.role == VPNSIP__SETUP_ROLE__ACTIVE;
	order.pinned = pinned.message.fingerprints;
	order.n_pinned = pinned.message.n_fingerprints;
	call(coordinator, session, STEP_START_IKE, VPNSIP__SERVICE__IKE_AGENT, &order.base);
}

static void send_open_tunnel(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__OpenTunnel order = VPNSIP__OPEN_TUNNEL__INIT;

	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	order.rate_kbit = session->negotiated_kbit;
	call(coordinator, session, STEP_OPEN_TUNNEL, VPNSIP__SERVICE__TUNNEL_AGENT, &order.base);
}

static void send_probe_peer(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__ProbePeer order = VPNSIP__PROBE_PEER__INIT;

	order.tunnel = session->peer->tunnel;
	order.attempt = session->attempt;
	call(coordinator, session, STEP_PROBE_PEER, VPNSIP__SERVICE__IKE_AGENT, &order.base);
}

static void send_reject_call(struct coordinator *coordinator, struct session *session)
{
	Vpnsip__RejectCall order = VPNSIP__REJECT_CALL__INIT;

	order.call_id = session->call_id;
	order.sip_status = session->reject_status;
	order.reason = (char *)session->reject_reason;
	order.warning_code = session->reject_warning_code;
	order.warning_text = session->reject_warning_code ? session->cause : "";
	call(coordinator, session, STEP_REJECT_CALL, VPNSIP__SERVICE__SIP_AGENT, &order.base);
}

static Vpnsip__Service release_receiver(enum step step)
{
	switch (step) {
	case STEP_STOP_IKE:
		return VPNSIP__SERVICE__IKE_AGENT;
	case STEP_REMOVE_TRANSLATION:
	case STEP_REMOVE_SHAPER:
		return VPNSIP__SERVICE__NAT_QOS_AGENT;
	case STEP_CLEAR_PEER:
		return VPNSIP__SERVICE__TUNNEL_AGENT;
	default:
		return VPNSIP__SERVICE__SIP_AGENT;
	}
}

uint64_t orders_send_release(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
                             const char *call_id, const char *cause, enum step step,
                             bus_reply_fn *done, void *context)
{
	Vpnsip__HangUp hang_up = VPNSIP__HANG_UP__INIT;
	Vpnsip__StopIke stop_ike = VPNSIP__STOP_IKE__INIT;
	Vpnsip__RemoveTranslation translation = VPNSIP__REMOVE_TRANSLATION__INIT;
	Vpnsip__RemoveShaper shaper = VPNSIP__REMOVE_SHAPER__INIT;
	Vpnsip__ClearPeer clear_peer = VPNSIP__CLEAR_PEER__INIT;
	const ProtobufCMessage *const orders[STEP_COUNT] = {
		[STEP_HANG_UP] = &hang_up.base,
		/* To sip-agent the end of a call that is not answered is its refusal. */
		[STEP_REJECT_CALL] = &hang_up.base,
		[STEP_STOP_IKE] = &stop_ike.base,
		[STEP_REMOVE_TRANSLATION] = &translation.base,
		[STEP_REMOVE_SHAPER] = &shaper.base,
		[STEP_CLEAR_PEER] = &clear_peer.base,
	};

	hang_up.call_id = (char *)call_id;
	hang_up.attempt = attempt;
	hang_up.cause = (char *)cause;
	stop_ike.tunnel = translation.tunnel = shaper.tunnel = clear_peer.tunnel = (char *)tunnel;
	stop_ike.attempt = translation.attempt = shaper.attempt = clear_peer.attempt = attempt;
	return bus_call(coordinator->service->bus, release_receiver(step), tunnel, orders[step],
	                LOCAL_TIMEOUT_MSEC, done, context);
}

const char *orders_hang_up_name(const struct session *session)
{
	bool is_known = session->direction == VPNSIP__DIRECTION__OUTGOING ||
	                session_has_finished(session, BIT(STEP_ANSWER_CALL));

	return is_known ? "" : session->call_id;
}

void orders_send(struct coordinator *coordinator, struct session *session, enum step step)
{
	static void (*const senders[STEP_COUNT])(struct coordinator *, struct session *) = {
		[STEP_PREPARE_IKE] = send_prepare_ike,
		[STEP_RESERVE_PORT] = send_reserve_port,
		[STEP_CHECK_TUNNEL] = send_check_tunnel,
		[STEP_PLACE_CALL] = send_place_call,
		[STEP_INSTALL_TRANSLATION] = send_install_translation,
		[STEP_INSTALL_SHAPER] = send_install_shaper,
		[STEP_SET_PEER] = send_set_peer,
		[STEP_START_IKE] = send_start_ike,
		[STEP_ANSWER_CALL] = send_answer_call,
		[STEP_OPEN_TUNNEL] = send_open_tunnel,
		[STEP_PROBE_PEER] = send_probe_peer,
		[STEP_REJECT_CALL] = send_reject_call,
	};

	struct pending_step *pending;

	if (senders[step]) {
		senders[step](coordinator, session);
		return;
	}
	pending = pending_step(coordinator, session, step, release_receiver(step));
	pending->request = orders_send_release(coordinator, session->peer->tunnel, session->attempt,
	                                       orders_hang_up_name(session), session->cause, step,
	                                       step_replied, pending);
}

static void stray_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)context;
	if (outcome != BUS_DONE)
		log_line(LOG_WARNING, "%s", bus_cause(reply));
}

void orders_reject(struct coordinator *coordinator, const char *call_id, uint32_t sip_status,
                   const char *reason, uint32_t warning_code, const char *warning_text)
{
	Vpnsip__RejectCall order = VPNSIP__REJECT_CALL__INIT;

	order.call_id = (char *)call_id;
	order.sip_status = sip_status;
	order.reason = (char *)reason;
	order.warning_code = warning_code;
	order.warning_text = warning_text ? (char *)warning_text : "";
	bus_call(coordinator->service->bus, VPNSIP__SERVICE__SIP_AGENT, NULL, &order.base,
	         LOCAL_TIMEOUT_MSEC, stray_replied, NULL);
}

void orders_register(struct coordinator *coordinator, const struct line *line)
{
	Vpnsip__RegisterLine order = VPNSIP__REGISTER_LINE__INIT;

	order.local_number = line->config->number;
	order.wan_address = address_to_bytes(&line->wan_address);
	bus_call(coordinator->service->bus, VPNSIP__SERVICE__SIP_AGENT, NULL, &order.base,
	         LOCAL_TIMEOUT_MSEC, stray_replied, NULL);
}

uint64_t orders_deregister(struct coordinator *coordinator, const struct line *line,
                           bus_reply_fn *done, void *context)
{
	Vpnsip__DeregisterLine order = VPNSIP__DEREGISTER_LINE__INIT;

	order.local_number = line->config->number;
	return bus_call(coordinator->service->bus, VPNSIP__SERVICE__SIP_AGENT, NULL, &order.base,
	                LOCAL_TIMEOUT_MSEC, done, context);
}
