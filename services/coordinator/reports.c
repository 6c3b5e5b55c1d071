/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/coordinator.h"
#include "services/coordinator/media.h"
#include "services/coordinator/records.h"

static struct coordinator *coordinator_of(void *context)
{
	return ((struct service_context *)context)->state;
}

static void call_changed(struct coordinator *coordinator, const Vpnsip__CallChanged *call,
                         bool is_event)
{
	struct media media, local;
	struct call_report report = {
		.call_id = call->call_id,
		.attempt = call->attempt,
		.direction = call->direction,
		.local_number = call->local_number,
		.remote_number = call->remote_number,
		.status = call->status,
		.tunnel = call->tunnel,
		.is_restored = call->is_restored,
		.is_event = is_event,
		.started_wall_usec = call->started_at_usec,
		.answered_wall_usec = call->answered_at_usec,
		.sip_status = call->sip_status,
		.retry_after_sec = call->retry_after_sec,
		.ended_by = call->ended_by,
		.cause = call->cause,
	};

	if (call->remote) {
		media_from_message(&media, call->remote);
		report.media = &media;
	}
	if (call->local) {
		media_from_message(&local, call->local);
		report.local = &local;
	}
	if (is_event)
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
		.is_open = tunnel->is_open,
		.has_sas = tunnel->n_sas > 0,
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
	struct sockaddr_storage contact = {0};

	address_from_bytes(registration->contact_address, &contact);
	handover_registration(coordinator, registration);
	core_registration_changed(coordinator->core, registration->local_number,
	                          registration->status, &contact, registration->cause);
}

static void ike_changed(struct coordinator *coordinator, const Vpnsip__IkeChanged *ike)
{
	records_ike_changed(coordinator->records, ike);
	if (ike->is_ended_by_us)
		core_ike_ends_by_us(coordinator->core, ike->tunnel, ike->attempt);
	core_ike_changed(coordinator->core, ike->tunnel, ike->attempt, ike->status, ike->cause);
}

static void nat_qos_told(struct coordinator *coordinator,
                         Vpnsip__TranslationStatus *const *translations, size_t translation_count,
                         Vpnsip__ShaperStatus *const *shapers, size_t shaper_count)
{
	for (size_t i = 0; i < translation_count; i++)
		core_translation_found(coordinator->core, translations[i]->tunnel,
		                       translations[i]->attempt, translations[i]->is_installed);
	for (size_t i = 0; i < shaper_count; i++)
		core_shaper_found(coordinator->core, shapers[i]->tunnel, shapers[i]->attempt);
}

void reports_event(void *context, const Vpnsip__Envelope *event)
{
	struct coordinator *coordinator = coordinator_of(context);

	switch (event->body_case) {
	case VPNSIP__ENVELOPE__BODY_CALL_CHANGED:
		call_changed(coordinator, event->call_changed, true);
		break;
	case VPNSIP__ENVELOPE__BODY_REGISTRATION_CHANGED:
		registration_changed(coordinator, event->registration_changed);
		break;
	case VPNSIP__ENVELOPE__BODY_DISCOVERY_CHANGED:
		handover_discovery(coordinator, event->discovery_changed);
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
	case VPNSIP__ENVELOPE__BODY_NAT_QOS_CHANGED:
		core_forget_tunnel(coordinator->core, event->nat_qos_changed->tunnel,
		                   VPNSIP__SERVICE__NAT_QOS_AGENT);
		nat_qos_told(coordinator, event->nat_qos_changed->translations,
		             event->nat_qos_changed->n_translations,
		             event->nat_qos_changed->shapers, event->nat_qos_changed->n_shapers);
		break;
	default:
		break;
	}
}

/* Does sip-agent want to have the line registered, and from the right address? */
static bool is_registration_ordered(const struct line *line,
                                    const Vpnsip__RegistrationChanged *told)
{
	struct sockaddr_storage contact = {0};

	return told->status != VPNSIP__REGISTRATION_STATUS__NOT_REGISTERED &&
	       address_from_bytes(told->contact_address, &contact) &&
	       address_is_equal(&contact, &line->wan_address);
}

/* sip-agent has the same configuration, so its snapshot tells of every line. */
static void compare_lines(struct coordinator *coordinator, const Vpnsip__SipSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_registrations; i++) {
		const Vpnsip__RegistrationChanged *told = snapshot->registrations[i];
		const struct line *line = core_line_by_number(coordinator->core,
		                                              told->local_number);
		bool is_wanted = line && (line->state == LINE_STATE_REGISTERING ||
		                          line->state == LINE_STATE_REGISTERED);

		if (is_wanted && !is_registration_ordered(line, told))
			orders_register(coordinator, line);
	}
}

static void resync_sip(struct coordinator *coordinator, const Vpnsip__SipSnapshot *snapshot)
{
	records_sip_snapshot(coordinator->records, snapshot);
	compare_lines(coordinator, snapshot);
	for (size_t i = 0; i < snapshot->n_registrations; i++)
		registration_changed(coordinator, snapshot->registrations[i]);
	for (size_t i = 0; i < snapshot->n_discoveries; i++)
		handover_discovery(coordinator, snapshot->discoveries[i]);
	for (size_t i = 0; i < snapshot->n_calls; i++) {
		attempts_skip(&coordinator->attempts, snapshot->calls[i]->attempt);
		call_changed(coordinator, snapshot->calls[i], false);
	}
}

static void resync_ike(struct coordinator *coordinator, const Vpnsip__IkeSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_sessions; i++) {
		attempts_skip(&coordinator->attempts, snapshot->sessions[i]->attempt);
		ike_changed(coordinator, snapshot->sessions[i]);
	}
}

static void resync_tunnels(struct coordinator *coordinator, const Vpnsip__TunnelSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_tunnels; i++) {
		attempts_skip(&coordinator->attempts, snapshot->tunnels[i]->attempt);
		tunnel_changed(coordinator, snapshot->tunnels[i]);
	}
}

static void resync_nat_qos(struct coordinator *coordinator, const Vpnsip__NatQosSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_translations; i++)
		attempts_skip(&coordinator->attempts, snapshot->translations[i]->attempt);
	for (size_t i = 0; i < snapshot->n_shapers; i++)
		attempts_skip(&coordinator->attempts, snapshot->shapers[i]->attempt);
	nat_qos_told(coordinator, snapshot->translations, snapshot->n_translations,
	             snapshot->shapers, snapshot->n_shapers);
	handover_nat_qos(coordinator, snapshot);
}

void reports_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct coordinator *coordinator = coordinator_of(context);

	core_forget(coordinator->core, peer);
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
		handover_routes_shown(coordinator->handover);
		break;
	default:
		break;
	}
	core_surveyed(coordinator->core, peer);
}
