/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is checked of certificates in IKE: the rules of certificate maps, what is left to trust, and the files themselves. */
#include <errno.h>
#include <openssl/x509.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/certificate_map.h"
#include "services/common/certificate_store.h"
#include "services/common/config_internal.h"

#define IKE_USER "vpnsip-ike"

void config_complete_certificate_map(struct config_reading *reading, struct config *config,
                                     void *item)
{
	const struct config_certificate_map *map = item;
	const struct {
		const char *option, *rule;
	} rules[] = {{"issuer-name", map->issuer_name},
	             {"subject-name", map->subject_name},
	             {"alternative-name", map->alternative_name}};

	(void)config;
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		const char *fault = rules[i].rule ? certificate_rule_fault(rules[i].rule) : NULL;

		if (fault)
			config_error(reading, map->line_number, "%s = \"%s\": %s", rules[i].option,
			             rules[i].rule, fault);
	}
	if (!map->issuer_name && !map->subject_name && !map->alternative_name)
		config_error(reading, map->line_number,
		             "certificate-map \"%s\" has no rule: everybody would match it",
		             map->name);
}

bool config_peer_trusts_carrier(const struct config_peer *peer)
{
	const enum config_transport transport = peer->session_transport != TRANSPORT_SYSTEM
	                                                ? peer->session_transport
	                                                : peer->line->session_transport;

	return peer->ike_profile->authentication == AUTHENTICATION_SELF_SIGNED &&
	       !peer->has_fingerprint && transport != TRANSPORT_TLS;
}

void config_check_trust(struct config_reading *reading, const struct config *config)
{
	bool uses_keys = false;

	for (size_t i = 0; i < config->peer_count; i++) {
		const struct config_peer *peer = &config->peers[i];

		if (!peer->ike_profile || !peer->line)
			continue;
		uses_keys |= peer->ike_profile->authentication == AUTHENTICATION_PSK;
		if (config_peer_trusts_carrier(peer))
			config_warning(
				reading, peer->line_number,
				"peer \"%s\" trusts the carrier: its self-signed certificate "
				"is believed by the fingerprint in the call alone; pin it "
				"(fingerprint = ...), or call over TLS",
				peer->number);
	}
	if (uses_keys && !config->keyring_file)
		config_warning(reading, 0,
		               "keyring-file is missing: no peer has a key, every call will fail");
}

static bool is_used_by_ike(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->ike_profile_count; i++)
		if (config->ike_profiles[i].trustpoint == trustpoint)
			return true;
	return false;
}

static bool allows_weak(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->ike_profile_count; i++)
		if (config->ike_profiles[i].trustpoint == trustpoint &&
		    !config->ike_profiles[i].allows_weak)
			return false;
	return true;
}

/* ike-agent, and nobody else, reads its key. */
static void check_key_owner(struct config_reading *reading,
                            const struct config_trustpoint *trustpoint)
{
	const struct passwd *user = getpwnam(IKE_USER);
	struct stat status;

	if (user && stat(trustpoint->key_file, &status) == 0 && status.st_uid != user->pw_uid)
		config_warning(reading, trustpoint->line_number,
		               "key-file %s does not belong to %s, who uses it: chown %s %s",
		               trustpoint->key_file, IKE_USER, IKE_USER, trustpoint->key_file);
	for (size_t i = 0; i < 2; i++) {
		const char *file = i == 0 ? trustpoint->key_file : trustpoint->certificate_file;

		if (stat(file, &status) == 0 && status.st_mode & S_IWOTH)
			config_error(reading, trustpoint->line_number,
			             "%s may be written by every user: chmod o-w %s", file, file);
	}
}

static void judge(struct config_reading *reading, const struct config *config,
                  const struct config_trustpoint *trustpoint, const struct certificate_store *store)
{
	char why[CERTIFICATE_CAUSE_SIZE];
	struct certificate_facts facts;

	certificate_facts_read(store->own, &facts);
	if (certificate_store_obstacle(store, time(NULL), why))
		config_warning(reading, trustpoint->line_number, "trustpoint \"%s\": %s",
		               trustpoint->name, why);
	if (trustpoint->revocation == REVOCATION_STRICT && access(trustpoint->crl_file, F_OK) != 0)
		config_warning(reading, trustpoint->line_number,
		               "trustpoint \"%s\": crl-file %s is not there and "
		               "revocation-check = strict: nobody is believed until vpnsip pki "
		               "refresh has fetched it",
		               trustpoint->name, trustpoint->crl_file);
	if (!certificate_has_strong_key(store->own) && !allows_weak(config, trustpoint))
		config_warning(reading, trustpoint->line_number,
		               "trustpoint \"%s\": our key (%s, %u bits) is weak, peers refuse it: "
		               "RSA of 2048 bits, or ECDSA P-256 or P-384",
		               trustpoint->name, facts.key_kind, facts.key_bits);
}

void config_check_certificates(struct config_reading *reading, const struct config *config)
{
	for (size_t i = 0; i < config->trustpoint_count; i++) {
		const struct config_trustpoint *trustpoint = &config->trustpoints[i];
		char why[CERTIFICATE_CAUSE_SIZE];
		struct certificate_store *store;

		if (!is_used_by_ike(config, trustpoint) || !trustpoint->key_file)
			continue;
		for (size_t j = 0; j < config->crypto_signaling_count; j++)
			if (config->crypto_signalings[j].trustpoint == trustpoint)
				config_warning(
					reading, trustpoint->line_number,
					"trustpoint \"%s\" is used by SIP and by IKE, and its "
					"key-file can belong to one of them only",
					trustpoint->name);
		check_key_owner(reading, trustpoint);
		if (access(trustpoint->key_file, R_OK) != 0 && errno == EACCES) {
			config_notice(reading, trustpoint->line_number,
			              "%s may not be read by this user and is not checked",
			              trustpoint->key_file);
			continue;
		}
		store = certificate_store_load(trustpoint, why);
		if (store)
			judge(reading, config, trustpoint, store);
		else
			config_error(reading, trustpoint->line_number, "trustpoint \"%s\": %s",
			             trustpoint->name, why);
		certificate_store_release(store);
	}
}
