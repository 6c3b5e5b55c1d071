/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/coordinator.h"
#include "services/coordinator/media.h"
#include "services/coordinator/records.h"

/* A session younger than this may be missing in a snapshot that was on its way before it. */
#define SETTLED_USEC 2000000

static struct coordinator *coordinator_of(void *context)
{
	return ((struct service_context *)context)->state;
}

static void call_changed(struct coordinator *coordinator, const Vpnsip__CallChanged *call)
{
	struct media media;
	struct call_report report = {
		.call_id = call->call_id,
		.attempt = call->attempt,
		.direction = call->direction,
		.local_number = call->local_number,
		.remote_number = call->remote_number,
		.status = call->status,
		.sip_status = call->sip_status,
		.retry_after_sec = call->retry_after_sec,
		.ended_by = call->ended_by,
		.cause = call->cause,
	};

	if (call->remote) {
		media_from_message(&media, call->remote);
		report.media = &media;
	}
	records_call_changed(coordinator->records, call);
	core_call_changed(coordinator->core, &report);
}

static void tunnel_changed(struct coordinator *coordinator, const Vpnsip__TunnelChanged *tunnel)
{
	const struct tunnel_report report = {
		.tunnel = tunnel->tunnel,
		.attempt = tunnel->attempt,
		.wants_peer = tunnel->wants_peer,
		.is_idle = tunnel->is_idle,
		.is_dead = tunnel->is_dead,
		.is_one_way = tunnel->is_one_way,
		.idle_since_usec = tunnel->idle_since_mono_usec,
		.last_received_usec = tunnel->last_received_mono_usec,
	};

	records_tunnel_changed(coordinator->records, tunnel);
	core_tunnel_changed(coordinator->core, &report);
}

static void wan_changed(struct coordinator *coordinator, const Vpnsip__WanChanged *wan)
{
	struct sockaddr_storage address = {0};
	bool has_address = address_from_bytes(wan->address, &address);
	const char *cause = wan->cause[0] ? wan->cause : "the WAN interface has no address";

	core_wan_changed(coordinator->core, wan->interface, wan->is_up && has_address, &address,
	                 cause);
}

static void registration_changed(struct coordinator *coordinator,
                                 const Vpnsip__RegistrationChanged *registration)
{
	core_registration_changed(coordinator->core, registration->local_number,
	                          registration->status, registration->cause);
}

static void ike_changed(struct coordinator *coordinator, const Vpnsip__IkeChanged *ike)
{
	records_ike_changed(coordinator->records, ike);
	core_ike_changed(coordinator->core, ike->tunnel, ike->attempt, ike->status, ike->cause);
}

void reports_event(void *context, const Vpnsip__Envelope *event)
{
	struct coordinator *coordinator = coordinator_of(context);

	switch (event->body_case) {
	case VPNSIP__ENVELOPE__BODY_CALL_CHANGED:
		call_changed(coordinator, event->call_changed);
		break;
	case VPNSIP__ENVELOPE__BODY_REGISTRATION_CHANGED:
		registration_changed(coordinator, event->registration_changed);
		break;
	case VPNSIP__ENVELOPE__BODY_IKE_CHANGED:
		ike_changed(coordinator, event->ike_changed);
		break;
	case VPNSIP__ENVELOPE__BODY_TUNNEL_CHANGED:
		tunnel_changed(coordinator, event->tunnel_changed);
		break;
	case VPNSIP__ENVELOPE__BODY_WAN_CHANGED:
		wan_changed(coordinator, event->wan_changed);
		break;
	default:
		break;
	}
}

static bool is_settled(const struct coordinator *coordinator, const struct session *session)
{
	uint64_t now_usec = bus_mono_usec(coordinator->service->bus);

	return session->attempt && now_usec - session->state_since_usec > SETTLED_USEC;
}

static bool is_current(struct coordinator *coordinator, const char *tunnel, uint64_t attempt)
{
	const struct session *session = core_session_by_tunnel(coordinator->core, tunnel);

	return session && session->attempt == attempt;
}

/* What no session of ours owns is taken down: after our own restart nothing else would end it. */
static void disown(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
                   enum step step)
{
	if (attempt && !is_current(coordinator, tunnel, attempt))
		debts_add(coordinator, tunnel, attempt, "", step);
}

static bool is_live(const Vpnsip__CallChanged *call)
{
	return call->status != VPNSIP__CALL_STATUS__CALL_ENDED &&
	       call->status != VPNSIP__CALL_STATUS__CALL_ENDING;
}

static void resync_sip(struct coordinator *coordinator, const Vpnsip__SipSnapshot *snapshot)
{
	struct core *core = coordinator->core;

	records_sip_snapshot(coordinator->records, snapshot);
	for (size_t i = 0; i < core->line_count; i++)
		if (core->lines[i].state == LINE_STATE_REGISTERING ||
		    core->lines[i].state == LINE_STATE_REGISTERED)
			orders_register(coordinator, &core->lines[i], true);
	for (size_t i = 0; i < snapshot->n_registrations; i++)
		registration_changed(coordinator, snapshot->registrations[i]);
	for (size_t i = 0; i < snapshot->n_calls; i++)
		call_changed(coordinator, snapshot->calls[i]);
	for (size_t i = 0; i < core->session_count; i++) {
		struct session *session = &core->sessions[i];
		bool is_known = false;

		for (size_t j = 0; j < snapshot->n_calls; j++)
			is_known |= is_live(snapshot->calls[j]) &&
			            !strcmp(snapshot->calls[j]->call_id, session->call_id);
		if (session->call_id[0] && !is_known && is_settled(coordinator, session)) {
			const struct call_report lost = {
				.call_id = session->call_id,
				.attempt = session->attempt,
				.direction = session->direction,
				.status = VPNSIP__CALL_STATUS__CALL_ENDED,
				.cause = "sip-agent does not know the call any more",
			};

			core_call_changed(core, &lost);
		}
	}
}

static void resync_ike(struct coordinator *coordinator, const Vpnsip__IkeSnapshot *snapshot)
{
	struct core *core = coordinator->core;

	for (size_t i = 0; i < snapshot->n_sessions; i++) {
		const Vpnsip__IkeChanged *ike = snapshot->sessions[i];

		ike_changed(coordinator, ike);
		disown(coordinator, ike->tunnel, ike->attempt, STEP_STOP_IKE);
	}
	for (size_t i = 0; i < core->session_count; i++) {
		struct session *session = &core->sessions[i];
		bool is_known = false;

		for (size_t j = 0; j < snapshot->n_sessions; j++)
			is_known |= snapshot->sessions[j]->attempt == session->attempt;
		if (session_has_finished(session, BIT(STEP_START_IKE)) && !is_known &&
		    is_settled(coordinator, session))
			core_ike_changed(core, session->peer->tunnel, session->attempt,
			                 VPNSIP__IKE_STATUS__IKE_ENDED,
			                 "ike-agent does not know the session any more");
	}
}

static void resync_tunnels(struct coordinator *coordinator, const Vpnsip__TunnelSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_tunnels; i++) {
		const Vpnsip__TunnelChanged *tunnel = snapshot->tunnels[i];
		struct session *session = core_session_by_tunnel(coordinator->core, tunnel->tunnel);

		tunnel_changed(coordinator, tunnel);
		disown(coordinator, tunnel->tunnel, tunnel->attempt, STEP_CLEAR_PEER);
		if (session && session_has_finished(session, BIT(STEP_SET_PEER)) &&
		    tunnel->attempt != session->attempt && is_settled(coordinator, session))
			core_ike_changed(coordinator->core, tunnel->tunnel, session->attempt,
			                 VPNSIP__IKE_STATUS__IKE_ENDED,
			                 "tunnel-agent does not know the session any more");
	}
}

static void resync_nat_qos(struct coordinator *coordinator, const Vpnsip__NatQosSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_translations; i++)
		disown(coordinator, snapshot->translations[i]->tunnel,
		       snapshot->translations[i]->attempt, STEP_REMOVE_TRANSLATION);
	for (size_t i = 0; i < snapshot->n_shapers; i++)
		disown(coordinator, snapshot->shapers[i]->tunnel, snapshot->shapers[i]->attempt,
		       STEP_REMOVE_SHAPER);
}

void reports_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct coordinator *coordinator = coordinator_of(context);

	(void)peer;
	switch (snapshot->body_case) {
	case VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT:
		resync_sip(coordinator, snapshot->sip_snapshot);
		break;
	case VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT:
		resync_ike(coordinator, snapshot->ike_snapshot);
		break;
	case VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT:
		resync_tunnels(coordinator, snapshot->tunnel_snapshot);
		break;
	case VPNSIP__ENVELOPE__BODY_NAT_QOS_SNAPSHOT:
		resync_nat_qos(coordinator, snapshot->nat_qos_snapshot);
		break;
	case VPNSIP__ENVELOPE__BODY_TRACK_SNAPSHOT:
		for (size_t i = 0; i < snapshot->track_snapshot->n_wans; i++)
			wan_changed(coordinator, snapshot->track_snapshot->wans[i]);
		break;
	default:
		break;
	}
}
