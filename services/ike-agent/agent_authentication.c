/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/agent_authentication.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/common/file_stamp.h"
#include "services/common/log.h"
#include "services/ike-agent/certificate_verify.h"

#define WEAK_KEY_BITS   128
#define WEAK_KEY_OCTETS 16

/* How long a changed file may stay unnoticed while no call is set up. */
#define WATCH_SEC 5

struct agent_authentication {
	struct config_keyring *keyring; /* NULL = none could be loaded */
	struct file_stamp keyring_stamp;
	struct certificate_source *
		*sources; /* as the configuration's trustpoints; NULL = not used by IKE */
	struct event *watch;
};

static void report_keyring(void *context, int level, const char *file, int line, const char *text)
{
	(void)context;
	log_line(level, "%s:%d: %s", file, line, text);
}

static void warn_of_weak_keys(const char *file, const struct config_keyring *keyring)
{
	for (size_t i = 0; i < keyring->key_count; i++) {
		const struct config_key *key = &keyring->keys[i];

		if (key->key_size < WEAK_KEY_OCTETS ||
		    config_estimate_key_bits(key->key, key->key_size) < WEAK_KEY_BITS)
			log_line(LOG_WARNING,
			         "%s:%d: the key of %s is weak: its fingerprint in SDP lets it be "
			         "guessed",
			         file, key->line_number, key->key_id);
	}
}

/** Without a readable keyring no session can come up, but each says so itself, where the operator looks. */
static void refresh_keyring(struct agent_authentication *own, const char *file)
{
	struct config_keyring *fresh;

	if (!file || !file_stamps_update(&own->keyring_stamp, &file, 1))
		return;
	fresh = config_load_keyring(file, report_keyring, NULL);
	if (!fresh)
		return;
	if (own->keyring)
		log_line(LOG_INFO, "keyring %s: renewed, %zu keys", file, fresh->key_count);
	warn_of_weak_keys(file, fresh);
	engine_use_keyring(fresh);
	config_free_keyring(own->keyring);
	own->keyring = fresh;
}

static void refresh(struct ike_agent *agent)
{
	const struct config *config = agent->service->config;
	struct agent_authentication *own = agent->authentication;

	refresh_keyring(own, config->keyring_file);
	for (size_t i = 0; i < config->trustpoint_count; i++)
		if (own->sources[i] && certificate_source_refresh(own->sources[i]) &&
		    config->disconnects_revoked_peers && agent->is_engine_open)
			engine_judge_peers(own->sources[i]);
}

static void look(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	refresh(context);
}

static bool uses_trustpoint(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->ike_profile_count; i++)
		if (config->ike_profiles[i].trustpoint == trustpoint)
			return true;
	return false;
}

int agent_open_authentication(struct ike_agent *agent)
{
	const struct config *config = agent->service->config;
	const struct timeval period = {.tv_sec = WATCH_SEC};
	struct agent_authentication *own = calloc(1, sizeof(*own));

	agent->authentication = own;
	if (!own || !(own->sources = calloc(config->trustpoint_count + 1, sizeof(*own->sources))))
		return -1;
	for (size_t i = 0; i < config->trustpoint_count; i++) {
		const struct config_trustpoint *trustpoint = &config->trustpoints[i];

		if (!uses_trustpoint(config, trustpoint))
			continue;
		own->sources[i] = certificate_source_new(trustpoint);
		if (!own->sources[i])
			return -1;
	}
	own->watch = event_new(agent->service->base, -1, EV_PERSIST, look, agent);
	if (!own->watch || event_add(own->watch, &period) != 0)
		return -1;
	refresh(agent);
	return 0;
}

void agent_close_authentication(struct ike_agent *agent)
{
	struct agent_authentication *own = agent->authentication;

	if (!own)
		return;
	if (own->watch)
		event_free(own->watch);
	for (size_t i = 0; own->sources && i < agent->service->config->trustpoint_count; i++)
		certificate_source_free(own->sources[i]);
	free(own->sources);
	config_free_keyring(own->keyring);
	free(own);
	agent->authentication = NULL;
}

static bool find_key(struct ike_agent *agent, struct bus_request *request,
                     const struct config_peer *peer, struct agent_credentials *credentials)
{
	const struct config *config = agent->service->config;
	const struct config_keyring *keyring = agent->authentication->keyring;
	const struct config_key *key = keyring ? config_key_for(keyring, peer->number) : NULL;

	if (!key) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "no key for %s in %s", peer->number,
		         config->keyring_file ? config->keyring_file : "(no keyring-file)");
		return false;
	}
	if (peer->has_fingerprint &&
	    !fingerprint_fits(key->key, key->key_size, peer->fingerprint_hash, peer->fingerprint,
	                      peer->fingerprint_size)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG,
		         "the key for %s has not the fingerprint that %s:%d wants", peer->number,
		         config->file, peer->line_number);
		return false;
	}
	credentials->key = key;
	return true;
}

static bool find_certificate(struct ike_agent *agent, struct bus_request *request,
                             const struct config_peer *peer, struct agent_credentials *credentials)
{
	const struct config_trustpoint *trustpoint = peer->ike_profile->trustpoint;
	struct certificate_source *source =
		agent->authentication->sources[trustpoint - agent->service->config->trustpoints];
	struct certificate_store *store = certificate_source_hold(source);
	char why[CERTIFICATE_CAUSE_SIZE];
	const char *obstacle = store ? certificate_store_obstacle(store, time(NULL), why)
	                             : certificate_source_cause(source);

	certificate_store_release(store);
	if (obstacle) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "trustpoint %s: %s",
		         trustpoint->name, obstacle);
		return false;
	}
	credentials->certificates = source;
	return true;
}

const struct config_peer *agent_find_credentials(struct ike_agent *agent,
                                                 struct bus_request *request, const char *tunnel,
                                                 const char *number,
                                                 struct agent_credentials *credentials)
{
	const struct config *config = agent->service->config;
	const struct config_peer *peer = config_peer_by_tunnel(config, tunnel);
	bool is_found;

	*credentials = (struct agent_credentials){0};
	if (!peer || strcmp(peer->number, number) != 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "%s: no peer %s has tunnel %s",
		         config->file, number, tunnel);
		return NULL;
	}
	refresh(agent);
	is_found = peer->ike_profile->authentication == AUTHENTICATION_PSK
	                   ? find_key(agent, request, peer, credentials)
	                   : find_certificate(agent, request, peer, credentials);
	return is_found ? peer : NULL;
}

/** The octets that are hashed: of the key, or of the certificate, which is then in *encoding, the caller's. */
static size_t find_octets(const struct agent_credentials *credentials, const uint8_t **octets,
                          uint8_t **encoding, const char **own_hash)
{
	struct certificate_store *store;
	int size;

	*encoding = NULL;
	*own_hash = NULL;
	if (credentials->key) {
		*octets = credentials->key->key;
		return credentials->key->key_size;
	}
	store = certificate_source_hold(credentials->certificates);
	size = i2d_X509(store->own, encoding);
	*own_hash = certificate_signature_hash(store->own);
	certificate_store_release(store);
	*octets = *encoding;
	return size > 0 ? (size_t)size : 0;
}

/*
 * SHA-256 for whoever can. Beside it the hash of the certificate's own signature (RFC 8122 section 5.1, for peers that know RFC 4572
 * alone), and SHA-1 where the other side may know nothing else.
 */
void agent_show_fingerprints(const struct config_peer *peer,
                             const struct agent_credentials *credentials,
                             struct agent_fingerprints *shown)
{
	const struct config_ike_profile *profile = peer->ike_profile;
	const char *hashes[ENGINE_PINS_MAX] = {"SHA-256"}, *own_hash;
	const uint8_t *octets;
	uint8_t *encoding;
	size_t size, count = 1;

	shown->count = 0;
	if (credentials->key && !profile->sends_psk_fingerprint)
		return;
	size = find_octets(credentials, &octets, &encoding, &own_hash);
	if (own_hash && strcmp(own_hash, "SHA-256") != 0 && strcmp(own_hash, "SHA-1") != 0)
		hashes[count++] = own_hash;
	if (profile->allows_sha1)
		hashes[count++] = "SHA-1";
	for (size_t i = 0; i < count; i++) {
		Vpnsip__Fingerprint *message = &shown->messages[shown->count];
		uint8_t *value = shown->values[shown->count];

		vpnsip__fingerprint__init(message);
		message->subject = credentials->key ? VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY
		                                    : VPNSIP__FINGERPRINT_SUBJECT__CERTIFICATE;
		message->hash = (char *)hashes[i];
		message->value.data = value;
		message->value.len = fingerprint_compute(hashes[i], octets, size, value);
		shown->list[shown->count++] = message;
	}
	OPENSSL_free(encoding);
}

const char *agent_read_pins(const struct config_peer *peer, const Vpnsip__StartIke *order,
                            struct engine_pin pins[ENGINE_PINS_MAX], size_t *count)
{
	const struct config_ike_profile *profile = peer->ike_profile;

	*count = 0;
	for (size_t i = 0; i < order->n_pinned && *count < ENGINE_PINS_MAX; i++) {
		const Vpnsip__Fingerprint *announced = order->pinned[i];
		struct engine_pin *pin = &pins[*count];

		if (strlen(announced->hash) >= sizeof(pin->hash) ||
		    announced->value.len > sizeof(pin->value) ||
		    (strcasecmp(announced->hash, "SHA-1") == 0 && !profile->allows_sha1))
			continue;
		memset(pin, 0, sizeof(*pin));
		pin->is_pre_shared_key = announced->subject ==
		                         VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;
		memcpy(pin->hash, announced->hash, strlen(announced->hash));
		pin->size = announced->value.len;
		memcpy(pin->value, announced->value.data, pin->size);
		(*count)++;
	}
	if (*count == 0 && order->n_pinned > 0)
		return "peer announced no fingerprint of a hash that we use";
	if (*count == 0 && profile->authentication == AUTHENTICATION_SELF_SIGNED &&
	    !peer->has_fingerprint)
		return "peer announced no fingerprint of its certificate, and none is pinned";
	return NULL;
}

void agent_describe_authentication(const struct ike_session *session, Vpnsip__IkeChanged *message)
{
	const struct engine_authentication *proven = &session->authentication;

	message->local_authentication = (char *)proven->local;
	message->remote_authentication = (char *)proven->remote;
	message->peer_subject = (char *)proven->subject;
	message->peer_issuer = (char *)proven->issuer;
	message->peer_serial = (char *)proven->serial;
	message->peer_not_after_unix_sec = (uint64_t)proven->not_after;
	message->peer_fingerprint = (char *)proven->fingerprint;
	message->valid_until_unix_sec = (uint64_t)proven->valid_until;
}
