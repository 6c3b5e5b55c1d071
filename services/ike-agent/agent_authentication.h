/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The keys and certificates of ike-agent: loaded, loaded anew when a file changes, looked up for a peer, shown in SDP. */
#ifndef VPNSIP_IKE_AGENT_AUTHENTICATION_H
#define VPNSIP_IKE_AGENT_AUTHENTICATION_H

#include "services/ike-agent/agent.h"
#include "services/ike-agent/fingerprint.h"

/** What a session of this peer authenticates with: one of the two. Valid until the loop runs again. */
struct agent_credentials {
	const struct config_key *key;
	struct certificate_source *certificates;
};

/** Fingerprints with what they point to. */
struct agent_fingerprints {
	Vpnsip__Fingerprint messages[ENGINE_PINS_MAX];
	Vpnsip__Fingerprint *list[ENGINE_PINS_MAX];
	uint8_t values[ENGINE_PINS_MAX][FINGERPRINT_MAX];
	size_t count;
};

/** Loads everything and watches the files from now on. A file that cannot be loaded is logged and fails its peers' calls. 0, or -1. */
int agent_open_authentication(struct ike_agent *agent);
/** After the engine was closed. */
void agent_close_authentication(struct ike_agent *agent);

/** What the peer of tunnel and number is authenticated with. NULL with the request failed if peer, key or certificate is wanting. */
const struct config_peer *agent_find_credentials(struct ike_agent *agent,
                                                 struct bus_request *request, const char *tunnel,
                                                 const char *number,
                                                 struct agent_credentials *credentials);

/** The fingerprints of our key or certificate for SDP; none if the profile keeps that of the key back. */
void agent_show_fingerprints(const struct config_peer *peer,
                             const struct agent_credentials *credentials,
                             struct agent_fingerprints *shown);

/**
 * The announced fingerprints of hashes that fit. NULL, or why the peer cannot be authenticated by what was announced: that none is of
 * use must not pass for "nothing announced", which lets any key do.
 */
const char *agent_read_pins(const struct config_peer *peer, const Vpnsip__StartIke *order,
                            struct engine_pin pins[ENGINE_PINS_MAX], size_t *count);

/** Fills the fields of how the two sides authenticated; the message points into the session. */
void agent_describe_authentication(const struct ike_session *session, Vpnsip__IkeChanged *message);

#endif
