/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Our objects as messages of the bus, and orders as our objects. Pure. */
#ifndef VPNSIP_SIP_MESSAGES_H
#define VPNSIP_SIP_MESSAGES_H

#include "services/sip-agent/sofia.h"
#include "sip_agent.pb-c.h"

/** A MediaDescription with room for what it points to; it also points into the tunnel it was made from. */
struct media_message {
	Vpnsip__MediaDescription media;
	Vpnsip__SocketAddress address;
	Vpnsip__Fingerprint fingerprints[SDP_FINGERPRINTS_MAXIMUM];
	Vpnsip__Fingerprint *fingerprint_list[SDP_FINGERPRINTS_MAXIMUM];
};

/** A CallChanged likewise. */
struct call_message {
	Vpnsip__CallChanged changed;
	struct media_message remote, local;
};

/** `message` must not move afterwards, and `call` must not change while it is used. */
void message_from_call(struct call_message *message, const struct call *call);

/** A RegistrationChanged with room for what it points to. */
struct registration_message {
	Vpnsip__RegistrationChanged changed;
	Vpnsip__SocketAddress servers[SERVER_LIST_MAXIMUM];
	Vpnsip__SocketAddress *server_list[SERVER_LIST_MAXIMUM];
	char *associated[REGISTRATION_ASSOCIATED_MAXIMUM];
};

/** `to` must not move afterwards; it points into the report and what that points to. */
void message_from_registration(struct registration_message *to,
                               const struct registration_report *report);

/** False with a constant sentence in `why` when the description cannot be put into SDP. */
bool message_to_tunnel(const Vpnsip__MediaDescription *message, struct sdp_tunnel *tunnel,
                       const char **why);

#endif
