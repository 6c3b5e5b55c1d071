/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration libcharon negotiates by: an ike and a peer configuration a session, found by local port. What is said of children is
 * the same for all sessions of a profile: their if_id is that of the peer configuration.
 */
#include "services/ike-agent/charon_internal.h"

#include <arpa/inet.h>

#include "services/common/number.h"
#include "services/common/proposals.h"

uint64_t charon_rekey_margin(uint64_t lifetime)
{
	return (lifetime + 9) / 10;
}

/** libcharon's form of a proposal, ESN asked for if wanted and not written there. NULL if libcharon does not know an algorithm. */
static proposal_t *to_charon(const struct proposal *proposal, bool is_child, bool wants_esn)
{
	char notation[PROPOSAL_NOTATION_SIZE], text[PROPOSAL_NOTATION_SIZE + 16];

	proposal_write(proposal, notation);
	snprintf(text, sizeof(text), "%s%s", notation,
	         wants_esn && !proposal_first(proposal, TRANSFORM_SEQUENCE) ? "-esn-noesn" : "");
	return proposal_create_from_string(is_child ? PROTO_ESP : PROTO_IKE, text);
}

typedef void add_proposal_fn(void *config, proposal_t *proposal);

static void add_ike_proposal(void *config, proposal_t *proposal)
{
	((ike_cfg_t *)config)->add_proposal(config, proposal);
}

static void add_child_proposal(void *config, proposal_t *proposal)
{
	((child_cfg_t *)config)->add_proposal(config, proposal);
}

/** Hands each of the proposals to `add`. False with the one that libcharon does not understand in `why`. */
static bool each_proposal(const struct proposal_list *list, bool is_child, bool wants_esn,
                          add_proposal_fn *add, void *config, char *why, size_t why_size)
{
	for (size_t i = 0; i < list->count; i++) {
		proposal_t *proposal = to_charon(&list->items[i], is_child, wants_esn);
		char text[PROPOSAL_NOTATION_SIZE];

		if (!proposal) {
			snprintf(why, why_size, "%s proposal \"%s\" is not understood by libcharon",
			         is_child ? "ESP" : "IKE", proposal_write(&list->items[i], text));
			return false;
		}
		add(config, proposal);
	}
	return true;
}

static bool each_ike_proposal(const struct config_ike_profile *profile, add_proposal_fn *add,
                              void *config, char *why, size_t why_size)
{
	struct proposal_list list;

	return proposals_of_ike_profile(charon_engine.config, profile, &list, why, why_size) &&
	       each_proposal(&list, false, false, add, config, why, why_size);
}

static bool each_child_proposal(const struct config_ipsec_profile *profile, add_proposal_fn *add,
                                void *config, char *why, size_t why_size)
{
	struct proposal_list list;

	return proposals_of_ipsec_profile(charon_engine.config, profile, &list, why, why_size) &&
	       each_proposal(&list, true, profile->has_extended_sequence, add, config, why,
	                     why_size);
}

static ike_cfg_t *build_ike(const struct charon_session *session,
                            const struct sockaddr_storage *remote, char *why, size_t why_size)
{
	host_t *local = host_create_from_sockaddr((sockaddr_t *)&session->local);
	host_t *other = host_create_from_sockaddr((sockaddr_t *)remote);
	char local_text[INET6_ADDRSTRLEN], remote_text[INET6_ADDRSTRLEN + 16];
	ike_cfg_create_t create = {
		.version = IKEV2,
		.local = local_text,
		.local_port = session->local_port,
		.remote = remote_text,
		.no_certreq = !session->certificates,
		.force_encap = TRUE,
		.fragmentation = session->peer->ike_profile->uses_fragmentation ? FRAGMENTATION_YES
	                                                                        : FRAGMENTATION_NO,
		.childless = CHILDLESS_NEVER,
	};
	ike_cfg_t *ike = NULL;

	if (!local || !other || !local->get_port(local) || !other->get_port(other) ||
	    other->get_port(other) == IKEV2_UDP_PORT) {
		snprintf(why, why_size, "no usable addresses and ports for IKE");
		goto out;
	}
	create.remote_port = other->get_port(other);
	snprintf(local_text, sizeof(local_text), "%H", local);
	/* The address of SDP to begin with; answered is whoever tunnel-agent admits, for carriers relay. */
	snprintf(remote_text, sizeof(remote_text), "%H,%s", other,
	         other->get_family(other) == AF_INET6 ? "::/0" : "0.0.0.0/0");
	ike = ike_cfg_create(&create);
	if (!each_ike_proposal(session->peer->ike_profile, add_ike_proposal, ike, why, why_size)) {
		ike->destroy(ike);
		ike = NULL;
	}
out:
	DESTROY_IF(local);
	DESTROY_IF(other);
	return ike;
}

static identification_t *key_id(const char *number)
{
	return identification_create_from_encoding(ID_KEY_ID, chunk_from_str((char *)number));
}

static void add_authentication(const struct charon_session *session, peer_cfg_t *peer_cfg,
                               bool is_local, identification_t *identity)
{
	auth_cfg_t *auth = auth_cfg_create();

	/* The class in the remote rules is what keeps a peer from choosing another kind of authentication. */
	auth->add(auth, AUTH_RULE_AUTH_CLASS,
	          session->certificates ? AUTH_CLASS_PUBKEY : AUTH_CLASS_PSK);
	auth->add(auth, AUTH_RULE_IDENTITY, identity);
	if (is_local && session->certificates)
		charon_own_certificate_add(session, auth);
	peer_cfg->add_auth_cfg(peer_cfg, auth, is_local);
}

/**
 * libcharon counts whole seconds and may be one early; the peer has all of its time (tunnel-agent's deadline). What one side asks tells
 * the other as much: the higher number gives the lower a second to do so.
 */
static uint32_t dpd_sec(const struct charon_session *session)
{
	const unsigned interval_sec = session->peer->ike_profile->dpd_interval_sec;

	if (interval_sec == 0)
		return 0;
	return interval_sec + 1 + number_precedes(session->remote_number, session->local_number);
}

static peer_cfg_t *build_peer(const struct charon_session *session, ike_cfg_t *ike)
{
	const struct config_ike_profile *profile = session->peer->ike_profile;
	/* Without times: charon_begin_lifetime() sets the clock. */
	peer_cfg_create_t create = {
		.cert_policy = session->certificates ? CERT_ALWAYS_SEND : CERT_NEVER_SEND,
		.unique = UNIQUE_NEVER,
		.keyingtries = 1,
		.no_mobike = TRUE,
		.dpd = dpd_sec(session),
		.if_id_in = session->if_id,
		.if_id_out = session->if_id,
	};
	peer_cfg_t *peer_cfg = peer_cfg_create(session->peer->tunnel, ike, &create);

	add_authentication(session, peer_cfg, true, key_id(session->local_number));
	add_authentication(session, peer_cfg, false,
	                   profile->match_identity == MATCH_KEY_ID
	                           ? key_id(session->remote_number)
	                           : identification_create_from_string("%any"));
	return peer_cfg;
}

/** Everything of one IP version, on both ends. */
static void add_selectors(child_cfg_t *child, char *network)
{
	for (int is_local = 0; is_local < 2; is_local++)
		child->add_traffic_selector(
			child, is_local, traffic_selector_create_from_cidr(network, 0, 0, 65535));
}

static child_cfg_t *build_child(const struct config_ipsec_profile *profile, bool is_dual_overlay,
                                char *why, size_t why_size)
{
	uint64_t sec = profile->lifetime_sec, bytes = profile->lifetime_byte,
		 packets = profile->lifetime_packet;
	child_cfg_create_t create = {
		.mode = MODE_TUNNEL,
		.lifetime =
			{
				.time = {sec, sec - charon_rekey_margin(sec),
	                                 charon_rekey_margin(sec) / 2},
				.bytes = {bytes, bytes - charon_rekey_margin(bytes),
	                                  charon_rekey_margin(bytes) / 2},
				.packets = {packets, packets - charon_rekey_margin(packets),
	                                    charon_rekey_margin(packets) / 2},
			},
	};
	child_cfg_t *child = child_cfg_create(profile->name, &create);

	child->set_replay_window(child, profile->replay_window);
	add_selectors(child, "0.0.0.0/0");
	if (is_dual_overlay)
		add_selectors(child, "::/0");
	if (each_child_proposal(profile, add_child_proposal, child, why, why_size))
		return child;
	child->destroy(child);
	return NULL;
}

/** Of each profile two: of IPv4 alone, and of both. */
static child_cfg_t *(*children)[2];

/** A new reference. */
static child_cfg_t *child_of(const struct config_peer *peer)
{
	child_cfg_t *child = children[peer->ipsec_profile - charon_engine.config->ipsec_profiles]
				     [peer->is_dual_overlay];

	return child->get_ref(child);
}

bool charon_config_build(struct charon_session *session, const struct sockaddr_storage *remote,
                         char *why, size_t why_size)
{
	ike_cfg_t *ike = build_ike(session, remote, why, why_size);

	if (!ike)
		return false;
	session->peer_cfg = build_peer(session, ike);
	session->child_cfg = child_of(session->peer);
	session->peer_cfg->add_child_cfg(session->peer_cfg,
	                                 session->child_cfg->get_ref(session->child_cfg));
	return true;
}

static void discard_proposal(void *config, proposal_t *proposal)
{
	proposal->destroy(proposal);
}

bool charon_config_open(const struct config *config, char *why, size_t why_size)
{
	char fault[128];

	children = calloc(config->ipsec_profile_count + 1, sizeof(*children));
	if (!children) {
		snprintf(why, why_size, "out of memory");
		return false;
	}

	for (size_t i = 0; i < config->ike_profile_count; i++) {
		const struct config_ike_profile *profile = &config->ike_profiles[i];

		if (each_ike_proposal(profile, discard_proposal, NULL, fault, sizeof(fault)))
			continue;
		snprintf(why, why_size, "%s:%d: %s", config->file, profile->line_number, fault);
		return false;
	}
	for (size_t i = 0; i < config->ipsec_profile_count; i++) {
		const struct config_ipsec_profile *profile = &config->ipsec_profiles[i];

		for (int is_dual = 0; is_dual < 2; is_dual++) {
			children[i][is_dual] = build_child(profile, is_dual, fault, sizeof(fault));
			if (children[i][is_dual])
				continue;
			snprintf(why, why_size, "%s:%d: %s", config->file, profile->line_number,
			         fault);
			return false;
		}
	}
	return true;
}

void charon_config_close(void)
{
	for (size_t i = 0; children && i < charon_engine.config->ipsec_profile_count; i++)
		for (int is_dual = 0; is_dual < 2; is_dual++)
			DESTROY_IF(children[i][is_dual]);
	free(children);
	children = NULL;
}

void charon_identity_text(identification_t *identity, char *text, size_t size)
{
	chunk_t encoding = identity->get_encoding(identity);

	if (identity->get_type(identity) == ID_KEY_ID && chunk_printable(encoding, NULL, '?'))
		snprintf(text, size, "%.*s", (int)encoding.len, (const char *)encoding.ptr);
	else
		snprintf(text, size, "%Y", identity);
}

bool charon_identity_is_peer(const struct charon_session *session, identification_t *identity)
{
	if (session->peer->ike_profile->match_identity != MATCH_KEY_ID)
		return true;
	return identity->get_type(identity) == ID_KEY_ID &&
	       chunk_equals(identity->get_encoding(identity),
	                    chunk_from_str(session->remote_number));
}

static void destroy_ike_cfg(void *cfg)
{
	((ike_cfg_t *)cfg)->destroy(cfg);
}

static void destroy_peer_cfg(void *cfg)
{
	((peer_cfg_t *)cfg)->destroy(cfg);
}

static enumerator_t *create_ike_cfg_enumerator(backend_t *this, host_t *me, host_t *other)
{
	struct charon_session *session = me ? charon_session_by_port(me->get_port(me)) : NULL;
	enumerator_t *enumerator = NULL;

	if (session && !session->is_retired) {
		ike_cfg_t *ike = session->peer_cfg->get_ike_cfg(session->peer_cfg);

		enumerator = enumerator_create_single(ike->get_ref(ike), destroy_ike_cfg);
	}
	charon_session_release(session);
	return enumerator ?: enumerator_create_empty();
}

/** Tells why an identity is not the session's, for the one of the keyring and the one of nobody. */
static void report_identity(const struct charon_session *session, identification_t *identity)
{
	char text[64];

	charon_identity_text(identity, text, sizeof(text));
	if (session->certificates || charon_keyring_has(identity->get_encoding(identity)))
		charon_report_verdict(IKE_GUARD_IDENTITY,
		                      "peer key-id %s is not the number of the call, %s", text,
		                      session->remote_number);
	else
		charon_report_verdict(IKE_GUARD_IDENTITY, "peer key-id %s matches no keyring entry",
		                      text);
}

static enumerator_t *create_peer_cfg_enumerator(backend_t *this, identification_t *me,
                                                identification_t *other)
{
	struct charon_session *session = charon_session_of(charon->bus->get_sa(charon->bus));
	enumerator_t *enumerator = NULL;

	if (session && !session->is_retired) {
		if (other && !charon_identity_is_peer(session, other))
			report_identity(session, other);
		else
			enumerator = enumerator_create_single(
				session->peer_cfg->get_ref(session->peer_cfg), destroy_peer_cfg);
	}
	charon_session_release(session);
	return enumerator ?: enumerator_create_empty();
}

static peer_cfg_t *get_peer_cfg_by_name(backend_t *this, char *name)
{
	return NULL;
}

backend_t charon_backend = {
	.create_ike_cfg_enumerator = create_ike_cfg_enumerator,
	.create_peer_cfg_enumerator = create_peer_cfg_enumerator,
	.get_peer_cfg_by_name = get_peer_cfg_by_name,
};
