/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/show_crypto.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config.h"

static const Vpnsip__Envelope *snapshot_of(const struct show_input *input, Vpnsip__Service service,
                                           Vpnsip__Envelope__BodyCase kind)
{
	const Vpnsip__Envelope *reply = input->gathered->services[service].snapshot;

	return reply && reply->body_case == kind ? reply : NULL;
}

static const Vpnsip__IkeChanged *find_ike(const struct show_input *input, const char *tunnel)
{
	const Vpnsip__Envelope *reply = snapshot_of(input, VPNSIP__SERVICE__IKE_AGENT,
	                                            VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT);

	for (size_t i = 0; reply && i < reply->ike_snapshot->n_sessions; i++)
		if (!strcmp(reply->ike_snapshot->sessions[i]->tunnel, tunnel))
			return reply->ike_snapshot->sessions[i];
	return NULL;
}

static const Vpnsip__TunnelChanged *find_tunnel(const struct show_input *input, const char *tunnel)
{
	const Vpnsip__Envelope *reply = snapshot_of(input, VPNSIP__SERVICE__TUNNEL_AGENT,
	                                            VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT);

	for (size_t i = 0; reply && i < reply->tunnel_snapshot->n_tunnels; i++)
		if (!strcmp(reply->tunnel_snapshot->tunnels[i]->tunnel, tunnel))
			return reply->tunnel_snapshot->tunnels[i];
	return NULL;
}

/* As the routers of the guide say it. */
static const char *status_of(const Vpnsip__IkeChanged *ike, const Vpnsip__TunnelChanged *tunnel)
{
	bool has_sas = tunnel && tunnel->n_sas > 0;

	if (ike && ike->status == VPNSIP__IKE_STATUS__IKE_UP)
		return has_sas ? "UP-ACTIVE" : "UP-IDLE";
	if (has_sas)
		return "UP-NO-IKE";
	if (ike && (ike->status == VPNSIP__IKE_STATUS__IKE_NEGOTIATING ||
	            ike->status == VPNSIP__IKE_STATUS__IKE_WAITING))
		return "DOWN-NEGOTIATING";
	return "DOWN";
}

/* Of those of the legend that exist here: configuration mode, cTCP, XAUTH, auto reconnect and route update do not. */
static json_t *capabilities_model(const Vpnsip__IkeSaStatus *sa)
{
	char letters[8];

	snprintf(letters, sizeof(letters), "%s%s%s%sS", sa->dpd_interval_sec ? "D" : "",
	         sa->nat_keepalive_sec ? "K" : "", sa->is_nat_local || sa->is_nat_remote ? "N" : "",
	         sa->has_fragmentation ? "F" : "");
	return json_string(letters);
}

static json_t *suite_model(const Vpnsip__CryptoSuite *suite)
{
	static const Vpnsip__CryptoSuite none = VPNSIP__CRYPTO_SUITE__INIT;

	if (!suite)
		suite = &none;
	return json_pack("{s:o, s:i, s:o, s:o, s:i, s:b}", "encryption",
	                 model_text(suite->encryption), "key_bits", (int)suite->key_bits,
	                 "integrity", model_text(suite->integrity), "prf", model_text(suite->prf),
	                 "group", (int)suite->group, "has_extended_sequence",
	                 suite->has_extended_sequence);
}

/* Whole seconds that are left until then; 0 when it is never or over. */
static json_int_t remaining(uint64_t until_usec, uint64_t now_usec)
{
	return until_usec > now_usec ? (json_int_t)((until_usec - now_usec + 999999) / 1000000) : 0;
}

static json_t *spi_model(uint64_t spi, int digits)
{
	char text[24];

	snprintf(text, sizeof(text), "%s%0*" PRIX64, digits == 8 ? "0x" : "", digits, spi);
	return json_string(text);
}

static json_t *peer_certificate_model(const Vpnsip__IkeChanged *ike)
{
	if (!*ike->peer_subject && !*ike->peer_fingerprint)
		return json_null();
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "subject", model_text(ike->peer_subject),
	                 "issuer", model_text(ike->peer_issuer), "serial",
	                 model_text(ike->peer_serial), "fingerprint",
	                 model_text(ike->peer_fingerprint), "not_after",
	                 model_moment(ike->peer_not_after_unix_sec * 1000000));
}

static void add_ike_times(json_t *object, const Vpnsip__IkeSaStatus *sa, uint64_t now)
{
	json_object_set_new(object, "lifetime_sec", json_integer(sa->lifetime_sec));
	json_object_set_new(object, "active_sec",
	                    json_integer(model_seconds(sa->established_mono_usec, now)));
	json_object_set_new(object, "remaining_sec",
	                    json_integer(remaining(sa->ends_at_mono_usec, now)));
	json_object_set_new(object, "rekey_in_sec",
	                    json_integer(remaining(sa->rekeys_at_mono_usec, now)));
	json_object_set_new(object, "reauthentication_in_sec",
	                    json_integer(remaining(sa->reauthenticates_at_mono_usec, now)));
}

static json_t *ike_sa_model(const Vpnsip__IkeChanged *ike, uint64_t now)
{
	const Vpnsip__IkeSaStatus *sa = ike ? ike->sa : NULL;
	uint64_t local_spi, remote_spi;
	json_t *object;

	if (!sa)
		return json_null();
	local_spi = ike->is_initiator ? ike->initiator_spi : ike->responder_spi;
	remote_spi = ike->is_initiator ? ike->responder_spi : ike->initiator_spi;
	object = json_pack("{s:I, s:s, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
	                   "id", (json_int_t)sa->id, "status", "READY", "local",
	                   model_address(ike->local), "remote", model_address(ike->remote),
	                   "is_initiator", ike->is_initiator, "local_spi", spi_model(local_spi, 16),
	                   "remote_spi", spi_model(remote_spi, 16), "suite", suite_model(sa->suite),
	                   "auth_sign", model_text(ike->local_authentication), "auth_verify",
	                   model_text(ike->remote_authentication), "capabilities",
	                   capabilities_model(sa), "local_id", model_text(ike->local_identity),
	                   "remote_id", model_text(ike->remote_identity));
	add_ike_times(object, sa, now);
	json_object_set_new(object, "dpd_interval_sec", json_integer(sa->dpd_interval_sec));
	json_object_set_new(object, "dpd_retry_sec", json_integer(sa->dpd_retry_sec));
	json_object_set_new(object, "nat_keepalive_sec", json_integer(sa->nat_keepalive_sec));
	json_object_set_new(object, "is_nat_local", json_boolean(sa->is_nat_local));
	json_object_set_new(object, "is_nat_remote", json_boolean(sa->is_nat_remote));
	json_object_set_new(object, "has_fragmentation", json_boolean(sa->has_fragmentation));
	json_object_set_new(object, "rekeys", json_integer(ike->ike_rekeys));
	json_object_set_new(object, "child_rekeys", json_integer(ike->child_rekeys));
	json_object_set_new(object, "reauthentications", json_integer(ike->reauthentications));
	json_object_set_new(object, "peer_certificate", peer_certificate_model(ike));
	json_object_set_new(object, "valid_until",
	                    model_moment((uint64_t)ike->valid_until_unix_sec * 1000000));
	return object;
}

static json_t *texts_model(char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, model_text(texts[i]));
	return array;
}

static json_t *child_model(const Vpnsip__IkeChanged *ike, uint64_t now)
{
	const Vpnsip__ChildSaStatus *child = ike ? ike->child : NULL;

	if (!child)
		return json_null();
	return json_pack(
		"{s:o, s:o, s:o, s:o, s:o, s:I, s:I}", "inbound_spi",
		spi_model(child->inbound_spi, 8), "outbound_spi", spi_model(child->outbound_spi, 8),
		"suite", suite_model(child->suite), "local_selectors",
		texts_model(child->local_selectors, child->n_local_selectors), "remote_selectors",
		texts_model(child->remote_selectors, child->n_remote_selectors), "lifetime_sec",
		(json_int_t)child->lifetime_sec, "active_sec",
		model_seconds(child->installed_mono_usec, now));
}

static json_t *sa_model(const Vpnsip__SaStatus *sa)
{
	bool is_inbound = sa->direction == VPNSIP__SA_DIRECTION__SA_INBOUND;

	return json_pack(
		"{s:s, s:o, s:I, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I}",
		"direction", is_inbound ? "inbound" : "outbound", "spi", spi_model(sa->spi, 8),
		"spi_number", (json_int_t)sa->spi, "algorithms", model_text(sa->algorithms),
		"packets", (json_int_t)sa->packets, "bytes", (json_int_t)sa->bytes, "replay_drops",
		(json_int_t)sa->replay_drops, "integrity_drops", (json_int_t)sa->integrity_drops,
		"replay_window", (json_int_t)sa->replay_window, "remaining_sec",
		(json_int_t)sa->remaining_sec, "remaining_bytes", (json_int_t)sa->remaining_bytes,
		"remaining_packets", (json_int_t)sa->remaining_packets, "has_extended_sequence",
		sa->has_extended_sequence, "sequence", (json_int_t)sa->sequence);
}

/* The sum of those reasons. */
static json_int_t count_drops(const Vpnsip__TunnelChanged *tunnel, const char *const reasons[])
{
	json_int_t packets = 0;

	for (size_t i = 0; i < tunnel->n_drops; i++)
		for (size_t j = 0; reasons[j]; j++)
			if (!strcmp(tunnel->drops[i]->reason, reasons[j]))
				packets += (json_int_t)tunnel->drops[i]->packets;
	return packets;
}

/* How many messages about the path's MTU were not believed, by cause. */
static json_t *refused_path_reports(const Vpnsip__TunnelChanged *tunnel)
{
	static const char prefix[] = "path-report-";
	json_t *counts = json_object();

	for (size_t i = 0; i < tunnel->n_drops; i++)
		if (strncmp(tunnel->drops[i]->reason, prefix, strlen(prefix)) == 0)
			json_object_set_new(counts, tunnel->drops[i]->reason + strlen(prefix),
			                    json_integer((json_int_t)tunnel->drops[i]->packets));
	return counts;
}

static void add_tunnel(json_t *object, const Vpnsip__TunnelChanged *tunnel)
{
	static const char *const sending[] = {"no-sa",     "seal-failed", "send-refused",
	                                      "send-full", "too-big",     NULL};
	static const char *const receiving[] = {"unknown-spi", "lifetime", "replay",
	                                        "integrity",   "padding",  "too-short",
	                                        "not-ipv4",    "ecn",      NULL};
	json_t *sas = json_array();

	for (size_t i = 0; tunnel && i < tunnel->n_sas; i++)
		json_array_append_new(sas, sa_model(tunnel->sas[i]));
	json_object_set_new(object, "sas", sas);
	if (!tunnel)
		return;
	json_object_set_new(object, "mtu", json_integer(tunnel->mtu));
	json_object_set_new(object, "path_mtu", json_integer(tunnel->path_mtu));
	json_object_set_new(object, "send_errors", json_integer(count_drops(tunnel, sending)));
	json_object_set_new(object, "recv_errors", json_integer(count_drops(tunnel, receiving)));
	json_object_set_new(object, "path_reports_refused", refused_path_reports(tunnel));
	json_object_set_new(object, "dummy_packets_sent",
	                    json_integer((json_int_t)tunnel->dummy_packets_sent));
	json_object_set_new(object, "dummy_packets_received",
	                    json_integer((json_int_t)tunnel->dummy_packets_received));
}

bool crypto_is_resting(const Vpnsip__SessionChanged *session)
{
	return session->attempt == 0 ||
	       session->status == VPNSIP__SESSION_STATUS__READY_TO_CONNECT ||
	       session->status == VPNSIP__SESSION_STATUS__HOLDDOWN;
}

static json_t *session_model(const struct show_input *input, const Vpnsip__SessionChanged *session)
{
	const Vpnsip__IkeChanged *ike = find_ike(input, session->tunnel);
	const Vpnsip__TunnelChanged *tunnel = find_tunnel(input, session->tunnel);
	const struct config_peer *peer =
		input->config ? config_peer_by_tunnel(input->config, session->tunnel) : NULL;
	uint64_t now = input->gathered->now_mono_usec;
	bool is_resting = crypto_is_resting(session);
	bool disconnects = input->config && input->config->disconnects_revoked_peers;
	json_t *object = json_pack(
		"{s:o, s:I, s:o, s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:I, s:s, s:b, s:o, s:o}",
		"interface", model_text(session->tunnel), "if_id", (json_int_t)session->if_id,
		"remote_number", model_text(session->remote_number), "profile",
		model_text(peer  ? peer->ike_profile->name
	                   : ike ? ike->ike_profile
	                         : ""),
		"ipsec_profile",
		model_text(peer  ? peer->ipsec_profile->name
	                   : ike ? ike->ipsec_profile
	                         : ""),
		"status", status_of(ike, tunnel), "uptime_sec",
		model_seconds(ike ? ike->up_since_mono_usec : 0, now), "peer",
		model_address(is_resting           ? NULL
	                      : ike && ike->remote ? ike->remote
	                                           : session->remote),
		"phase1_id", model_text(ike ? ike->remote_identity : ""), "description",
		model_text(session->description), "session_id",
		is_resting ? (json_int_t)0 : (json_int_t)session->attempt, "wan_interface",
		peer ? peer->line->wan_interface : "", "disconnects_revoked_peers", disconnects,
		"ike_sa", ike_sa_model(ike, now), "child", child_model(ike, now));

	add_tunnel(object, tunnel);
	return object;
}

json_t *crypto_sessions_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply = snapshot_of(input, VPNSIP__SERVICE__COORDINATOR,
	                                            VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT);
	const char *number = words_get(input->words, "NUMBER");
	json_t *sessions = json_array();

	for (size_t i = 0; reply && i < reply->coordinator_snapshot->n_sessions; i++) {
		const Vpnsip__SessionChanged *session = reply->coordinator_snapshot->sessions[i];

		if (!number || !strcmp(session->remote_number, number))
			json_array_append_new(sessions, session_model(input, session));
	}
	return json_pack("{s:b, s:o}", "is_detail", words_has(input->words, "detail"), "sessions",
	                 sessions);
}

const char *selector_with_mask(const char *selector, char text[100])
{
	struct sockaddr_storage address;
	unsigned length;
	struct in_addr mask;
	char first[ADDRESS_TEXT_SIZE], last[ADDRESS_TEXT_SIZE];

	if (!address_parse_prefix(selector, &address, &length) || address.ss_family != AF_INET) {
		snprintf(text, 100, "%s", selector);
		return text;
	}
	mask.s_addr = length ? htonl(UINT32_MAX << (32 - length)) : 0;
	inet_ntop(AF_INET, &mask, last, sizeof(last));
	snprintf(text, 100, "%s/%s", address_format(&address, first), last);
	return text;
}

const char *selector_as_range(const char *selector, char text[120])
{
	struct sockaddr_storage from, to;
	unsigned length;
	uint8_t octets[16];
	size_t size;
	const uint8_t *begin;
	char first[ADDRESS_TEXT_SIZE], last[ADDRESS_TEXT_SIZE];

	if (!address_parse_prefix(selector, &from, &length)) {
		snprintf(text, 120, "%s", selector);
		return text;
	}
	begin = address_octets(&from, &size);
	memcpy(octets, begin, size);
	for (size_t bit = length; bit < 8 * size; bit++)
		octets[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	address_from_octets(octets, size, 0, &to);
	snprintf(text, 120, "%s/0 - %s/65535", address_format(&from, first),
	         address_format(&to, last));
	return text;
}

static bool is_suite(const json_t *suite, const char *encryption)
{
	return strncmp(text_of(suite, "encryption"), encryption, strlen(encryption)) == 0;
}

const char *suite_as_transform(const json_t *suite, char text[80])
{
	char cipher[40], hash[24] = "";
	const char *integrity = text_of(suite, "integrity");
	int bits = (int)number_of(suite, "key_bits");

	if (is_suite(suite, "AES-GCM"))
		snprintf(cipher, sizeof(cipher), "esp-gcm %d", bits);
	else if (is_suite(suite, "AES-CBC"))
		snprintf(cipher, sizeof(cipher), "esp-aes %d", bits);
	else if (is_suite(suite, "CHACHA20"))
		snprintf(cipher, sizeof(cipher), "esp-chacha20-poly1305");
	else
		snprintf(cipher, sizeof(cipher), "%.39s", text_of(suite, "encryption"));
	for (size_t i = 0; integrity[i] && i + 1 < sizeof(hash); i++)
		hash[i] = integrity[i] >= 'A' && integrity[i] <= 'Z' ? (char)(integrity[i] + 32)
		                                                     : integrity[i];
	snprintf(text, 80, *hash ? "%s esp-%s-hmac" : "%s", cipher, hash);
	return text;
}

const char *first_selector(const json_t *child, const char *key)
{
	const char *text = json_string_value(json_array_get(json_object_get(child, key), 0));

	return text ? text : "";
}

int suite_iv_octets(const json_t *suite)
{
	return is_suite(suite, "AES-CBC") ? 16 : 8;
}
