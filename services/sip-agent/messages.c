/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/messages.h"

#include <stdio.h>
#include <string.h>

#include "services/common/address.h"

static Vpnsip__CallStatus status_of(enum call_state state)
{
	static const Vpnsip__CallStatus statuses[CALL_STATE_COUNT] = {
		[CALL_STATE_CALLING] = VPNSIP__CALL_STATUS__CALL_TRYING,
		[CALL_STATE_PROCEEDING] = VPNSIP__CALL_STATUS__CALL_TRYING,
		[CALL_STATE_RINGING] = VPNSIP__CALL_STATUS__CALL_RINGING,
		[CALL_STATE_CANCEL_OWED] = VPNSIP__CALL_STATUS__CALL_ENDING,
		[CALL_STATE_CANCELLING] = VPNSIP__CALL_STATUS__CALL_ENDING,
		[CALL_STATE_ANSWERED] = VPNSIP__CALL_STATUS__CALL_ANSWERED,
		[CALL_STATE_OFFERED] = VPNSIP__CALL_STATUS__CALL_OFFERED,
		[CALL_STATE_ACCEPTED] = VPNSIP__CALL_STATUS__CALL_ACCEPTED,
		[CALL_STATE_BYE_OWED] = VPNSIP__CALL_STATUS__CALL_ENDING,
		[CALL_STATE_CONFIRMED] = VPNSIP__CALL_STATUS__CALL_CONFIRMED,
		[CALL_STATE_LEAVING] = VPNSIP__CALL_STATUS__CALL_ENDING,
		[CALL_STATE_ENDED] = VPNSIP__CALL_STATUS__CALL_ENDED,
	};

	return statuses[state];
}

static Vpnsip__EndedBy ended_by_of(enum call_ended_by ended_by)
{
	static const Vpnsip__EndedBy values[] = {
		[CALL_NOT_ENDED] = VPNSIP__ENDED_BY__ENDED_BY_UNSPECIFIED,
		[CALL_ENDED_BY_US] = VPNSIP__ENDED_BY__ENDED_BY_US,
		[CALL_ENDED_BY_PEER] = VPNSIP__ENDED_BY__ENDED_BY_PEER,
		[CALL_ENDED_BY_CARRIER] = VPNSIP__ENDED_BY__ENDED_BY_CARRIER,
	};

	return values[ended_by];
}

static Vpnsip__SetupRole role_of(enum sdp_role role)
{
	static const Vpnsip__SetupRole values[] = {
		[SDP_ROLE_ABSENT] = VPNSIP__SETUP_ROLE__SETUP_ROLE_UNSPECIFIED,
		[SDP_ACTIVE] = VPNSIP__SETUP_ROLE__ACTIVE,
		[SDP_PASSIVE] = VPNSIP__SETUP_ROLE__PASSIVE,
		[SDP_ACTPASS] = VPNSIP__SETUP_ROLE__ACTPASS,
	};

	return values[role];
}

static Vpnsip__MediaDescription *describe(struct media_message *message,
                                          const struct sdp_tunnel *tunnel)
{
	vpnsip__media_description__init(&message->media);
	vpnsip__socket_address__init(&message->address);
	message->address.address.data = (uint8_t *)&tunnel->address;
	message->address.address.len = sizeof(tunnel->address);
	message->address.port = tunnel->port;
	message->media.address = &message->address;
	message->media.bandwidth_kbit = tunnel->bandwidth_kbit;
	message->media.role = role_of(tunnel->role);
	for (size_t i = 0; i < tunnel->fingerprint_count; i++) {
		const struct sdp_fingerprint *from = &tunnel->fingerprints[i];
		Vpnsip__Fingerprint *to = &message->fingerprints[i];

		vpnsip__fingerprint__init(to);
		to->subject = from->subject == SDP_PRE_SHARED_KEY
		                      ? VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY
		                      : VPNSIP__FINGERPRINT_SUBJECT__CERTIFICATE;
		to->hash = (char *)from->hash;
		to->value.data = (uint8_t *)from->value;
		to->value.len = from->size;
		message->fingerprint_list[i] = to;
	}
	message->media.n_fingerprints = tunnel->fingerprint_count;
	message->media.fingerprints = message->fingerprint_list;
	return &message->media;
}

void message_from_call(struct call_message *message, const struct call *call)
{
	Vpnsip__CallChanged *changed = &message->changed;

	vpnsip__call_changed__init(changed);
	changed->call_id = (char *)call->call_id;
	changed->attempt = call->attempt;
	changed->tunnel = (char *)call->tunnel;
	changed->direction = call->direction == CALL_OUTGOING ? VPNSIP__DIRECTION__OUTGOING
	                                                      : VPNSIP__DIRECTION__INCOMING;
	changed->local_number = (char *)call->local_number;
	changed->remote_number = (char *)call->remote_number;
	changed->status = status_of(call->state);
	if (call->has_remote)
		changed->remote = describe(&message->remote, &call->remote);
	if (call->has_local)
		changed->local = describe(&message->local, &call->local);
	changed->is_restored = call->is_restored;
	changed->is_end_estimated = call->is_end_estimated;
	changed->sip_status = call->sip_status;
	changed->cause = (char *)call->cause;
	changed->retry_after_sec = call->retry_after_sec;
	changed->ended_by = ended_by_of(call->ended_by);
	changed->started_at_usec = call->started_at_usec;
	changed->answered_at_usec = call->answered_at_usec;
	changed->ended_at_usec = call->ended_at_usec;
}

/* The servers in order of use: the one in use may be any of them. */
static void list_servers(struct registration_message *message, const struct server_list *servers)
{
	Vpnsip__RegistrationChanged *changed = &message->changed;

	for (size_t i = 0; i < servers->count; i++) {
		vpnsip__socket_address__init(&message->servers[i]);
		address_to_proto(&servers->servers[i].address, &message->servers[i]);
		message->server_list[i] = &message->servers[i];
	}
	changed->n_servers = servers->count;
	changed->servers = message->server_list;
	if (servers->count) {
		changed->server = &message->servers[servers->current];
		changed->is_secondary = servers->current != 0;
	}
}

void message_from_registration(struct registration_message *to,
                               const struct registration_report *report)
{
	Vpnsip__RegistrationChanged *message = &to->changed;

	vpnsip__registration_changed__init(message);
	message->local_number = (char *)report->local_number;
	if (report->is_registered)
		message->status = VPNSIP__REGISTRATION_STATUS__REGISTERED;
	else if (report->is_ordered)
		message->status = VPNSIP__REGISTRATION_STATUS__REGISTERING;
	else
		message->status = VPNSIP__REGISTRATION_STATUS__NOT_REGISTERED;
	message->registrar = (char *)report->registrar;
	message->transport = (char *)report->transport;
	message->call_id = (char *)report->call_id;
	message->granted_expires_sec = report->granted_sec;
	message->expires_at_mono_usec = report->expires_at_usec;
	message->sip_status = report->sip_status;
	message->cause = (char *)report->cause;
	message->alarm = (char *)(report->alarm ? report->alarm : "");
	if (report->servers)
		list_servers(to, report->servers);
	for (size_t i = 0; i < report->associated_count; i++)
		to->associated[i] = (char *)report->associated_numbers[i];
	message->n_associated_numbers = report->associated_count;
	message->associated_numbers = to->associated;
	if (report->is_ordered && report->address.s_addr != INADDR_ANY) {
		message->contact_address.data = (uint8_t *)&report->address;
		message->contact_address.len = sizeof(report->address);
	}
}

static bool to_role(Vpnsip__SetupRole value, enum sdp_role *role)
{
	switch (value) {
	case VPNSIP__SETUP_ROLE__ACTIVE:
		*role = SDP_ACTIVE;
		return true;
	case VPNSIP__SETUP_ROLE__PASSIVE:
		*role = SDP_PASSIVE;
		return true;
	case VPNSIP__SETUP_ROLE__ACTPASS:
		*role = SDP_ACTPASS;
		return true;
	default:
		return false;
	}
}

static bool to_fingerprint(const Vpnsip__Fingerprint *from, struct sdp_fingerprint *to)
{
	size_t name_size = strlen(from->hash);

	if (name_size >= sizeof(to->hash) || from->value.len == 0 ||
	    from->value.len != sdp_hash_size(from->hash, name_size))
		return false;
	switch (from->subject) {
	case VPNSIP__FINGERPRINT_SUBJECT__CERTIFICATE:
		to->subject = SDP_CERTIFICATE;
		break;
	case VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY:
		to->subject = SDP_PRE_SHARED_KEY;
		break;
	default:
		return false;
	}
	snprintf(to->hash, sizeof(to->hash), "%s", from->hash);
	memcpy(to->value, from->value.data, from->value.len);
	to->size = from->value.len;
	return true;
}

bool message_to_tunnel(const Vpnsip__MediaDescription *message, struct sdp_tunnel *tunnel,
                       const char **why)
{
	memset(tunnel, 0, sizeof(*tunnel));
	*why = "the media description has no IPv4 address and port";
	if (!message || !message->address ||
	    message->address->address.len != sizeof(tunnel->address) ||
	    message->address->port == 0 || message->address->port > UINT16_MAX)
		return false;
	memcpy(&tunnel->address, message->address->address.data, sizeof(tunnel->address));
	tunnel->port = (uint16_t)message->address->port;
	*why = "the media description has no usable bandwidth";
	if (message->bandwidth_kbit == 0 || message->bandwidth_kbit > SDP_BANDWIDTH_MAXIMUM_KBIT)
		return false;
	tunnel->bandwidth_kbit = message->bandwidth_kbit;
	*why = "the media description has no role";
	if (!to_role(message->role, &tunnel->role))
		return false;
	*why = "the media description has an unusable fingerprint";
	if (message->n_fingerprints > SDP_FINGERPRINTS_MAXIMUM)
		return false;
	for (size_t i = 0; i < message->n_fingerprints; i++)
		if (!to_fingerprint(message->fingerprints[i], &tunnel->fingerprints[i]))
			return false;
	tunnel->fingerprint_count = message->n_fingerprints;
	return true;
}
