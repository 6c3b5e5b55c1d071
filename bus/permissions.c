/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/permissions.h"

#include <stddef.h>

#include "bus/bus.h"

#define COORDINATOR   BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR)
#define SIP_AGENT     BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT)
#define IKE_AGENT     BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT)
#define TUNNEL_AGENT  BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)
#define TRACK_AGENT   BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT)
#define NAT_QOS_AGENT BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT)
#define CLI           BUS_SERVICE(VPNSIP__SERVICE__CLI)
#define SERVICES      (COORDINATOR | SIP_AGENT | IKE_AGENT | TUNNEL_AGENT | TRACK_AGENT | NAT_QOS_AGENT)
#define ANYBODY       (SERVICES | CLI)

#define BODY(name) VPNSIP__ENVELOPE__BODY_##name
#define FACT(name, owner)                                                                     \
	{                                                                                     \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__EVENT, .senders = (owner), \
		.receivers = ANYBODY,                                                         \
	}
#define ORDER(name, from, to)                                                                  \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_DONE,                                   \
	}
#define ORDER_WITH(name, from, to, answer)                                                     \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_BODY, .reply = BODY(answer),            \
	}
/* Orders that begin something: see shed_above. */
#define SHED_ORDER(name, from, to, most)                                                       \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_DONE, .shed_above = (most),             \
	}
#define PACKET_ORDER(name, from, to, most)                                                     \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_DONE, .is_packet = true,                \
		.shed_above = (most),                                                          \
	}
#define SHED_ORDER_WITH(name, from, to, answer, most)                                          \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_BODY, .reply = BODY(answer),            \
		.shed_above = (most),                                                          \
	}
#define ROOT_ORDER(name, from, to)                                                             \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_DONE, .is_for_root = true,              \
	}
#define READING(name, from, to, answer)                                                        \
	{                                                                                      \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REQUEST, .senders = (from), \
		.receivers = (to), .reply_rule = REPLY_BODY, .reply = BODY(answer),            \
		.is_reading = true,                                                            \
	}
#define REPLY(name, from, to)                                                                \
	{                                                                                    \
		.body = BODY(name), .kind = VPNSIP__ENVELOPE_KIND__REPLY, .senders = (from), \
		.receivers = (to),                                                           \
	}

static const struct permission permissions[] = {
	REPLY(DONE, SERVICES, ANYBODY),
	REPLY(FAILED, SERVICES, ANYBODY),
	FACT(HEARTBEAT, SERVICES),
	{
		.body = BODY(GET_SNAPSHOT),
		.kind = VPNSIP__ENVELOPE_KIND__REQUEST,
		.senders = ANYBODY,
		.receivers = SERVICES,
		.reply_rule = REPLY_SNAPSHOT,
		.is_reading = true,
	},
	READING(GET_SERVICE_STATUS, ANYBODY, SERVICES, SERVICE_STATUS),
	REPLY(SERVICE_STATUS, SERVICES, ANYBODY),
	ORDER(ENABLE_TAP, CLI, SERVICES),
	FACT(TAPPED, SERVICES),
	READING(GET_INTERNALS, CLI, SERVICES, INTERNALS),
	REPLY(INTERNALS, SERVICES, ANYBODY),
	ROOT_ORDER(SET_LOG, CLI, SERVICES),
	ROOT_ORDER(SET_FAULT, CLI, SERVICES),
	ROOT_ORDER(CLEAR_FAULTS, CLI, SERVICES),
	READING(GET_FAULTS, CLI, SERVICES, FAULT_LIST),
	REPLY(FAULT_LIST, SERVICES, ANYBODY),
	ROOT_ORDER(START_RECORDING, CLI, SERVICES),
	ROOT_ORDER(STOP_RECORDING, CLI, SERVICES),
	READING(GET_TRACE, CLI, SERVICES, TRACE),
	REPLY(TRACE, SERVICES, ANYBODY),

	FACT(LINE_CHANGED, COORDINATOR),
	FACT(SESSION_CHANGED, COORDINATOR),
	REPLY(COORDINATOR_SNAPSHOT, COORDINATOR, ANYBODY),
	SHED_ORDER(CONNECT_SESSION, CLI, COORDINATOR, 64),
	ORDER(RELEASE_SESSION, CLI, COORDINATOR),
	ORDER(SHUT_DOWN, CLI, COORDINATOR),
	READING(GET_CALL_RECORDS, CLI, COORDINATOR, CALL_RECORD_LIST),
	REPLY(CALL_RECORD_LIST, COORDINATOR, ANYBODY),
	READING(GET_CALL_ADMISSION, CLI, COORDINATOR, CALL_ADMISSION),
	REPLY(CALL_ADMISSION, COORDINATOR, ANYBODY),

	ORDER(REGISTER_LINE, COORDINATOR, SIP_AGENT),
	ORDER(DEREGISTER_LINE, COORDINATOR, SIP_AGENT),
	FACT(REGISTRATION_CHANGED, SIP_AGENT),
	SHED_ORDER(PLACE_CALL, COORDINATOR, SIP_AGENT, 512),
	ORDER(ANSWER_CALL, COORDINATOR, SIP_AGENT),
	ORDER(REJECT_CALL, COORDINATOR, SIP_AGENT),
	ORDER(HANG_UP, COORDINATOR, SIP_AGENT),
	FACT(CALL_CHANGED, SIP_AGENT),
	REPLY(SIP_SNAPSHOT, SIP_AGENT, ANYBODY),
	FACT(DISCOVERY_CHANGED, SIP_AGENT),
	READING(GET_SIP_CONNECTIONS, CLI, SIP_AGENT, SIP_CONNECTION_LIST),
	REPLY(SIP_CONNECTION_LIST, SIP_AGENT, ANYBODY),
	ORDER_WITH(CLEAR_SIP_CONNECTION, CLI, SIP_AGENT, SIP_CONNECTION_CLEARED),
	REPLY(SIP_CONNECTION_CLEARED, SIP_AGENT, ANYBODY),
	READING(GET_SIP_STATUS, CLI, SIP_AGENT, SIP_STATUS),
	REPLY(SIP_STATUS, SIP_AGENT, ANYBODY),
	READING(GET_SIP_GUARD, CLI, SIP_AGENT, SIP_GUARD),
	REPLY(SIP_GUARD, SIP_AGENT, ANYBODY),

	SHED_ORDER_WITH(PREPARE_IKE, COORDINATOR, IKE_AGENT, IKE_PREPARED, 512),
	REPLY(IKE_PREPARED, IKE_AGENT, COORDINATOR),
	ORDER(START_IKE, COORDINATOR, IKE_AGENT),
	ORDER(STOP_IKE, COORDINATOR, IKE_AGENT),
	ORDER(PROBE_PEER, COORDINATOR, IKE_AGENT),
	ORDER(RENEW_CHILDREN, CLI, IKE_AGENT),
	FACT(IKE_CHANGED, IKE_AGENT),
	PACKET_ORDER(DELIVER_IKE_PACKET, TUNNEL_AGENT, IKE_AGENT, 256),
	ORDER(REPORT_SA_LIMIT, TUNNEL_AGENT, IKE_AGENT),
	ORDER(REPORT_UNKNOWN_SPI, TUNNEL_AGENT, IKE_AGENT),
	REPLY(IKE_SNAPSHOT, IKE_AGENT, ANYBODY),

	ORDER(CHECK_TUNNEL, COORDINATOR, TUNNEL_AGENT),
	ORDER(SET_PEER, COORDINATOR, TUNNEL_AGENT),
	ORDER(OPEN_TUNNEL, COORDINATOR, TUNNEL_AGENT),
	ORDER(CLEAR_PEER, COORDINATOR, TUNNEL_AGENT),
	ORDER(INSTALL_SA, IKE_AGENT, TUNNEL_AGENT),
	ORDER(INSTALL_CHILD, IKE_AGENT, TUNNEL_AGENT),
	ORDER(REMOVE_SA, IKE_AGENT, TUNNEL_AGENT),
	ORDER(FOLLOW_PEER, IKE_AGENT, TUNNEL_AGENT),
	ORDER(REPORT_SIGN_OF_LIFE, IKE_AGENT, TUNNEL_AGENT),
	PACKET_ORDER(SEND_IKE_PACKET, IKE_AGENT, TUNNEL_AGENT, 256),
	ORDER(PURGE_TUNNELS, CLI, TUNNEL_AGENT),
	FACT(TUNNEL_CHANGED, TUNNEL_AGENT),
	REPLY(TUNNEL_SNAPSHOT, TUNNEL_AGENT, ANYBODY),

	FACT(WAN_CHANGED, TRACK_AGENT),
	FACT(TRACK_CHANGED, TRACK_AGENT),
	FACT(ROUTE_CHANGED, TRACK_AGENT),
	ORDER(PURGE_ROUTES, CLI, TRACK_AGENT),
	REPLY(TRACK_SNAPSHOT, TRACK_AGENT, ANYBODY),
	ORDER(SET_WAN_ROUTES, COORDINATOR, TRACK_AGENT),

	SHED_ORDER_WITH(RESERVE_PORT, COORDINATOR, NAT_QOS_AGENT, PORT_RESERVED, 512),
	REPLY(PORT_RESERVED, NAT_QOS_AGENT, COORDINATOR),
	ORDER(INSTALL_TRANSLATION, COORDINATOR, NAT_QOS_AGENT),
	ORDER(REMOVE_TRANSLATION, COORDINATOR, NAT_QOS_AGENT),
	ORDER(INSTALL_SHAPER, COORDINATOR, NAT_QOS_AGENT),
	ORDER(REMOVE_SHAPER, COORDINATOR, NAT_QOS_AGENT),
	ORDER(ADMIT_SIP_SERVERS, COORDINATOR, NAT_QOS_AGENT),
	ORDER(PURGE_FIREWALL, CLI, NAT_QOS_AGENT),
	FACT(NAT_QOS_CHANGED, NAT_QOS_AGENT),
	REPLY(NAT_QOS_SNAPSHOT, NAT_QOS_AGENT, ANYBODY),
};

#define PERMISSION_COUNT (sizeof(permissions) / sizeof(permissions[0]))

const struct permission *permission_of(Vpnsip__Envelope__BodyCase body)
{
	for (size_t i = 0; i < PERMISSION_COUNT; i++)
		if (permissions[i].body == body)
			return &permissions[i];
	return NULL;
}

static bool contains(unsigned set, Vpnsip__Service service)
{
	return service > 0 && service <= VPNSIP__SERVICE__CLI && (set & BUS_SERVICE(service)) != 0;
}

bool is_permitted(Vpnsip__Envelope__BodyCase body, Vpnsip__EnvelopeKind kind,
                  Vpnsip__Service source, Vpnsip__Service to)
{
	const struct permission *permission = permission_of(body);

	return permission != NULL && permission->kind == kind &&
	       contains(permission->senders, source) &&
	       (kind == VPNSIP__ENVELOPE_KIND__EVENT || contains(permission->receivers, to));
}

static Vpnsip__Envelope__BodyCase snapshot_of(Vpnsip__Service service)
{
	switch (service) {
	case VPNSIP__SERVICE__COORDINATOR:
		return BODY(COORDINATOR_SNAPSHOT);
	case VPNSIP__SERVICE__SIP_AGENT:
		return BODY(SIP_SNAPSHOT);
	case VPNSIP__SERVICE__IKE_AGENT:
		return BODY(IKE_SNAPSHOT);
	case VPNSIP__SERVICE__TUNNEL_AGENT:
		return BODY(TUNNEL_SNAPSHOT);
	case VPNSIP__SERVICE__TRACK_AGENT:
		return BODY(TRACK_SNAPSHOT);
	case VPNSIP__SERVICE__NAT_QOS_AGENT:
		return BODY(NAT_QOS_SNAPSHOT);
	default:
		return BODY(DONE);
	}
}

bool is_reply_to(Vpnsip__Envelope__BodyCase reply, Vpnsip__Envelope__BodyCase order,
                 Vpnsip__Service replier)
{
	const struct permission *permission = permission_of(order);

	if (reply == BODY(FAILED))
		return true;
	if (permission == NULL)
		return false;
	switch (permission->reply_rule) {
	case REPLY_DONE:
		return reply == BODY(DONE);
	case REPLY_BODY:
		return reply == permission->reply;
	case REPLY_SNAPSHOT:
		return reply == BODY(DONE) || reply == snapshot_of(replier);
	}
	return false;
}
