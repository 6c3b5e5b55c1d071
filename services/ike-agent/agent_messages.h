/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sessions as messages: one for an event, all of them for the snapshot. */
#ifndef VPNSIP_IKE_AGENT_MESSAGES_H
#define VPNSIP_IKE_AGENT_MESSAGES_H

#include "services/ike-agent/agent.h"

/** An IkeChanged and what it points to. It also points into the session, and into itself: do not move it. */
struct session_message {
	Vpnsip__IkeChanged changed;
	Vpnsip__SocketAddress local, remote;
	Vpnsip__IkeSaStatus sa;
	Vpnsip__CryptoSuite sa_suite;
	Vpnsip__ChildSaStatus child;
	Vpnsip__CryptoSuite child_suite;
	char *local_selectors[ENGINE_SELECTORS_MAX], *remote_selectors[ENGINE_SELECTORS_MAX];
};

/** Fills the message. `session` must not change until it is packed. */
void agent_describe_session(const struct ike_agent *agent, const struct ike_session *session,
                            struct session_message *message);

#endif
