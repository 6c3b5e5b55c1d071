/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show security: which protections are in force for each line and peer, and what is left to the carrier. */
#include <string.h>

#include "services/cli/show.h"
#include "services/cli/show_guard.h"
#include "services/common/address.h"
#include "services/common/config.h"

#define TEXT_SIZE 256

static const char *transport_text(enum config_transport transport)
{
	return transport == TRANSPORT_TLS ? "TLS" : transport == TRANSPORT_TCP ? "TCP" : "UDP";
}

/* What the calls of this peer travel over; NULL peer: the line's own. */
static enum config_transport transport_of(const struct config_line *line,
                                          const struct config_peer *peer)
{
	return peer && peer->session_transport != TRANSPORT_SYSTEM ? peer->session_transport
	                                                           : line->session_transport;
}

static void add(json_t *list, const char *what, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A protection: what it is, and how it stands. */
static void add(json_t *list, const char *what, const char *format, ...)
{
	char text[TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(
		list, json_pack("{s:s, s:o}", "protection", what, "state", model_text(text)));
}

static void add_tls(json_t *list, const struct config *config, const struct config_line *line)
{
	const struct config_crypto_signaling *crypto =
		config_crypto_signaling_for(config, line->registrar.kind == SERVER_ADDRESS
	                                                    ? &line->registrar.address
	                                                    : &(const struct sockaddr_storage){0});

	if (!(line->transports & 1u << TRANSPORT_TLS) && line->session_transport != TRANSPORT_TLS) {
		add(list, "tls", "off");
	} else if (!crypto) {
		add(list, "tls", "no crypto-signaling for its server: nothing is connected");
	} else {
		add(list, "tls",
		    "trustpoint %s, chain verified, subject %s, client certificate %s, CRL %s, "
		    "%s ciphers",
		    crypto->trustpoint->name, crypto->checks_subject ? "checked" : "NOT checked",
		    crypto->asks_client ? "required" : "not asked for",
		    crypto->trustpoint->revocation == REVOCATION_STRICT ? "checked"
		    : crypto->trustpoint->revocation == REVOCATION_CACHED
		            ? "checked where a list is there"
		            : "not checked",
		    crypto->is_strict_cipher ? "strict" : "TLS 1.2 and 1.3");
	}
}

static void add_servers(json_t *list, const json_t *servers, const char *number)
{
	const json_t *entry, *address;
	char text[TEXT_SIZE] = "";
	size_t index, inner;

	json_array_foreach (servers, index, entry)
		if (strcmp(text_of(entry, "line"), number) == 0)
			json_array_foreach (json_object_get(entry, "addresses"), inner, address)
				snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s",
				         json_string_value(address));
	add(list, "source-check", "kernel and sip-agent: only%s",
	    *text ? text : " the servers, of which none is known yet");
}

static const Vpnsip__NatQosSnapshot *kernel_of(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__NAT_QOS_AGENT].snapshot;

	return reply && reply->body_case == VPNSIP__ENVELOPE__BODY_NAT_QOS_SNAPSHOT
	               ? reply->nat_qos_snapshot
	               : NULL;
}

static const char *alarm_of(const struct show_input *input, const char *number)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__SIP_AGENT].snapshot;

	if (!reply || reply->body_case != VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
		return "";
	for (size_t i = 0; i < reply->sip_snapshot->n_registrations; i++)
		if (strcmp(reply->sip_snapshot->registrations[i]->local_number, number) == 0)
			return reply->sip_snapshot->registrations[i]->alarm;
	return "";
}

static json_t *line_model(const struct show_input *input, const struct config_line *line,
                          const json_t *servers)
{
	const Vpnsip__NatQosSnapshot *kernel = kernel_of(input);
	const char *alarm = alarm_of(input, line->number);
	json_t *list = json_array();

	add(list, "signalling", "%s%s", transport_text(line->session_transport),
	    line->session_transport == TRANSPORT_TLS ? "" : ", readable and forgeable on its way");
	add_tls(list, input->config, line);
	add(list, "digest", "%s",
	    !line->credentials_file ? "none: no credentials-file"
	    : line->allows_md5      ? "SHA-512-256, SHA-256, MD5"
	                            : "SHA-512-256, SHA-256");
	add_servers(list, servers, line->number);
	add(list, "rate-limit", "%u packets/s a server, burst %u; %u half-open calls",
	    line->guard_rate, line->guard_burst, line->maximum_half_open);
	add(list, "caller", "%s",
	    line->caller_identity == CALLER_FROM ? "P-Asserted-Identity, else From (the caller's "
	                                           "own word)"
	                                         : "P-Asserted-Identity alone");
	add(list, "wan", "%s",
	    line->is_wan_exclusive ? "exclusive: nothing is forwarded" : "shared");
	for (size_t i = 0; kernel && i < kernel->n_warnings; i++)
		add(list, "sip-alg", "%s", kernel->warnings[i]);
	if (kernel && kernel->n_warnings == 0)
		add(list, "sip-alg", "none on this machine");
	if (*alarm)
		add(list, "binding", "ALARM: %s", alarm);
	return json_pack("{s:s, s:s, s:o}", "line", line->number, "wan", line->wan_interface,
	                 "protections", list);
}

static void add_bounds(json_t *list, const struct config_peer *peer)
{
	if (peer->maximum_call_sec)
		add(list, "longest-call", "%u s", peer->maximum_call_sec);
	if (peer->maximum_calls_per_hour)
		add(list, "calls-per-hour", "%u", peer->maximum_calls_per_hour);
}

static void add_authentication(json_t *list, const struct config_peer *peer)
{
	static const char *const revocations[] = {
		[REVOCATION_NONE] = "not checked",
		[REVOCATION_CACHED] = "checked where a list is there",
		[REVOCATION_STRICT] = "required",
	};
	const struct config_ike_profile *profile = peer->ike_profile;

	if (profile->authentication == AUTHENTICATION_PSK)
		add(list, "key", "pre-shared, %s",
		    profile->sends_psk_fingerprint
		            ? "fingerprint sent and compared before a call is answered"
		            : "fingerprint not sent");
	else if (profile->authentication == AUTHENTICATION_SELF_SIGNED)
		add(list, "key",
		    "self-signed certificate of trustpoint %s, believed by its fingerprint",
		    profile->trustpoint->name);
	else
		add(list, "key", "certificate of trustpoint %s, chain verified, revocation list %s",
		    profile->trustpoint->name, revocations[profile->trustpoint->revocation]);
	if (config_peer_trusts_carrier(peer))
		add(list, "trust",
		    "trusts the carrier: no pin, and the call that names the fingerprint is not "
		    "over TLS");
	if (profile->authentication == AUTHENTICATION_CERTIFICATE && !profile->certificate_map &&
	    !peer->has_fingerprint)
		add(list, "trust",
		    "every holder of a certificate of the same authority: no certificate-map, no "
		    "pin");
	add(list, "pin", "%s", peer->has_fingerprint ? peer->fingerprint_hash : "none");
	if (profile->match_identity == MATCH_CERTIFICATE_MAP && profile->certificate_map)
		add(list, "identity", "any, certificate-map %s", profile->certificate_map->name);
	else
		add(list, "identity", "%s",
		    profile->match_identity == MATCH_ANY ? "any"
		                                         : "key-id, equal to the SIP number");
}

static json_t *peer_model(const struct config_peer *peer)
{
	static const char *const sources[] = {
		[PEER_SOURCE_CONFIG_EXACT] = "exact: the SDP's address and port",
		[PEER_SOURCE_CONFIG_ADDRESS] = "address: the SDP's, any port",
		[PEER_SOURCE_CONFIG_ANY] = "any",
	};
	const enum config_transport transport = transport_of(peer->line, peer);
	json_t *list = json_array();

	add_authentication(list, peer);
	add(list, "peer-source", "%s", sources[peer->peer_source]);
	add(list, "signalling", "%s", transport_text(transport));
	add_bounds(list, peer);
	if (transport != TRANSPORT_TLS)
		add(list, "left-open", "%s",
		    transport == TRANSPORT_UDP
		            ? "who takes the proxy's address on the WAN's segment can end its calls"
		            : "who sits between us and the proxy can end its calls");
	return json_pack("{s:s, s:s, s:s, s:o}", "peer", peer->number, "tunnel", peer->tunnel,
	                 "line", peer->line->number, "protections", list);
}

json_t *show_security_model(const struct show_input *input)
{
	const struct config *config = input->config;
	json_t *lines = json_array(), *peers = json_array();
	json_t *servers = guard_servers_model(kernel_of(input));

	for (size_t i = 0; config && i < config->line_count; i++)
		json_array_append_new(lines, line_model(input, &config->lines[i], servers));
	for (size_t i = 0; config && i < config->peer_count; i++)
		json_array_append_new(peers, peer_model(&config->peers[i]));
	json_decref(servers);
	return json_pack("{s:o, s:o}", "lines", lines, "peers", peers);
}

static void print_protections(FILE *stream, const json_t *owner)
{
	const json_t *entry;
	size_t index;

	json_array_foreach (json_object_get(owner, "protections"), index, entry)
		fprintf(stream, "  %-15s %s\n", text_of(entry, "protection"),
		        text_of(entry, "state"));
}

void show_security_text(FILE *stream, const json_t *model)
{
	const json_t *entry;
	size_t index;

	json_array_foreach (json_object_get(model, "lines"), index, entry) {
		fprintf(stream, "Line %s on %s\n", text_of(entry, "line"), text_of(entry, "wan"));
		print_protections(stream, entry);
	}
	json_array_foreach (json_object_get(model, "peers"), index, entry) {
		fprintf(stream, "Peer %s on %s, line %s\n", text_of(entry, "peer"),
		        text_of(entry, "tunnel"), text_of(entry, "line"));
		print_protections(stream, entry);
	}
}
