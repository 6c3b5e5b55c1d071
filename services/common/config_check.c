/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What concerns several values: defaults that follow from others, contradictions, and what is allowed but unwise. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config_internal.h"
#include "services/common/data_plane.h"

void config_complete_trustpoint(struct config_reading *reading, struct config *config, void *item)
{
	struct config_trustpoint *trustpoint = item;

	(void)config;
	if (!trustpoint->certificate_file != !trustpoint->key_file)
		config_error(reading, trustpoint->line_number,
		             "certificate-file and key-file belong together: %s is missing",
		             trustpoint->key_file ? "certificate-file" : "key-file");
	if (!trustpoint->certificate_file && !trustpoint->ca_file)
		config_error(reading, trustpoint->line_number,
		             "certificate-file (ours) or ca-file (who signs the other side's) is "
		             "missing");
	if (trustpoint->revocation == REVOCATION_STRICT && !trustpoint->crl_file)
		config_error(reading, trustpoint->line_number,
		             "revocation-check = strict: crl-file is missing");
	if (trustpoint->enrollment != ENROLLMENT_NONE && !trustpoint->enrollment_url)
		config_error(reading, trustpoint->line_number,
		             "enrollment: enrollment-url is missing: \"http://ca.example/scep\"");
}

void config_complete_crypto_signaling(struct config_reading *reading, struct config *config,
                                      void *item)
{
	struct config_crypto_signaling *entry = item;
	const struct config_prefix *prefix = &entry->remote_address;

	if (!entry->trustpoint->ca_file)
		config_error(reading, entry->line_number,
		             "trustpoint \"%s\" has no ca-file: nobody could be believed",
		             entry->trustpoint->name);
	for (struct config_crypto_signaling *other = config->crypto_signalings; other < entry;
	     other++)
		if (other->remote_address.length == prefix->length &&
		    other->remote_address.address.ss_family == prefix->address.ss_family &&
		    (!prefix->address.ss_family ||
		     address_is_equal(&other->remote_address.address, &prefix->address)))
			config_error(reading, entry->line_number,
			             "crypto-signaling for the same remote-address is already "
			             "configured in line %d",
			             other->line_number);
}

/* What the carriers want; the defaults of single options. */
static void apply_carrier(struct config_line *line)
{
	static const struct {
		enum config_choice rport, preferred_identity, called_party, plain_fingerprint;
		enum config_contact_user contact_user;
		enum config_reliable reliable;
	} profiles[] = {
		[CARRIER_GENERIC] = {CHOICE_YES, CHOICE_YES, CHOICE_NO, CHOICE_NO, CONTACT_TOKEN,
	                             RELIABLE_SUPPORTED},
		[CARRIER_NTT] = {CHOICE_NO, CHOICE_YES, CHOICE_YES, CHOICE_NO, CONTACT_TOKEN,
	                         RELIABLE_SUPPORTED},
		[CARRIER_CISCO] = {CHOICE_YES, CHOICE_YES, CHOICE_NO, CHOICE_YES, CONTACT_NUMBER,
	                           RELIABLE_OFF},
	};
#define UNLESS_WRITTEN(member, wanted) (line->member = line->member ? line->member : (wanted))
	UNLESS_WRITTEN(uses_rport, profiles[line->carrier].rport);
	UNLESS_WRITTEN(sends_preferred_identity, profiles[line->carrier].preferred_identity);
	UNLESS_WRITTEN(reads_called_party, profiles[line->carrier].called_party);
	UNLESS_WRITTEN(accepts_plain_fingerprint, profiles[line->carrier].plain_fingerprint);
	UNLESS_WRITTEN(contact_user, profiles[line->carrier].contact_user);
	UNLESS_WRITTEN(reliable_provisional, profiles[line->carrier].reliable);
#undef UNLESS_WRITTEN
}

static bool has_default_crypto(const struct config *config)
{
	for (size_t i = 0; i < config->crypto_signaling_count; i++)
		if (!config->crypto_signalings[i].remote_address.address.ss_family)
			return true;
	return false;
}

static void check_transports(struct config_reading *reading, const struct config *config,
                             const struct config_line *line)
{
	static const char *const names[] = {"system", "udp", "tcp", "tls"};
	const bool uses_tls = (line->transports & 1u << TRANSPORT_TLS) != 0 ||
	                      line->registrar_transport == TRANSPORT_TLS;

	if (!(line->transports & 1u << line->session_transport))
		config_error(reading, line->line_number,
		             "session-transport = %s is not among transport: the other side could "
		             "not send us requests within our calls",
		             names[line->session_transport]);
	if (line->registrar_transport && !(line->transports & 1u << line->registrar_transport))
		config_error(reading, line->line_number,
		             "registrar-transport = %s is not among transport: no call would "
		             "reach us",
		             names[line->registrar_transport]);
	if (line->scheme == URL_SIPS && line->registrar_transport != TRANSPORT_TLS &&
	    line->session_transport != TRANSPORT_TLS)
		config_error(reading, line->line_number,
		             "scheme = sips needs registrar-transport = tls");
	if (line->url == URL_SIPS && line->session_transport != TRANSPORT_TLS)
		config_error(reading, line->line_number,
		             "url = sips needs session-transport = tls");
	if (uses_tls && !has_default_crypto(config))
		config_error(reading, line->line_number,
		             "TLS needs a crypto-signaling { } section without remote-address: "
		             "the trustpoint to use");
}

static void choose_transports(struct config_line *line)
{
	if (!line->transports)
		line->transports = 1u << TRANSPORT_UDP | 1u << TRANSPORT_TCP |
		                   (line->session_transport == TRANSPORT_TLS ? 1u << TRANSPORT_TLS
		                                                             : 0);
	for (int i = TRANSPORT_UDP; !line->session_transport; i++)
		if (line->transports & 1u << i)
			line->session_transport = (enum config_transport)i;
}

void config_complete_line(struct config_reading *reading, struct config *config, void *item)
{
	struct config_line *line = item;

	char text[ADDRESS_TEXT_SIZE];

	if (!line->domain && line->registrar.kind != SERVER_DHCP)
		line->domain = strdup(line->registrar.kind == SERVER_NAME
		                              ? line->registrar.name
		                              : address_format(&line->registrar.address, text));
	if (!line->user)
		line->user = strdup(line->number);
	if (!line->user || (!line->domain && line->registrar.kind != SERVER_DHCP))
		config_error(reading, line->line_number, "out of memory");
	apply_carrier(line);
	choose_transports(line);
	check_transports(reading, config, line);
	if (line->gateway.ss_family && line->registrar.kind == SERVER_ADDRESS &&
	    line->gateway.ss_family != line->registrar.address.ss_family)
		config_error(reading, line->line_number,
		             "gateway and registrar are of different IP versions");
	if (line->secondary_registrar.kind == SERVER_DHCP)
		config_error(reading, line->line_number,
		             "secondary-registrar = dhcp: a lease names all its servers, write "
		             "registrar = dhcp alone");
}

static void check_authentication(struct config_reading *reading,
                                 const struct config_ike_profile *profile)
{
	const struct config_trustpoint *trustpoint = profile->trustpoint;
	const bool has_map = profile->certificate_map != NULL;

	if (profile->authentication == AUTHENTICATION_PSK && trustpoint)
		config_error(reading, profile->line_number,
		             "authentication = pre-share uses no trustpoint");
	if (profile->authentication != AUTHENTICATION_PSK &&
	    (!trustpoint || !trustpoint->certificate_file))
		config_error(reading, profile->line_number,
		             "authentication by certificate needs a trustpoint with "
		             "certificate-file and key-file");
	if (profile->authentication == AUTHENTICATION_CERTIFICATE && trustpoint &&
	    !trustpoint->ca_file)
		config_error(reading, profile->line_number,
		             "authentication = certificate: trustpoint \"%s\" has no ca-file",
		             trustpoint->name);
	if (has_map != (profile->match_identity == MATCH_CERTIFICATE_MAP))
		config_error(reading, profile->line_number,
		             "match-identity = certificate-map and certificate-map = \"NAME\" "
		             "belong together");
	if (has_map && profile->authentication != AUTHENTICATION_CERTIFICATE)
		config_error(reading, profile->line_number,
		             "certificate-map needs authentication = certificate");
}

void config_complete_ike_profile(struct config_reading *reading, struct config *config, void *item)
{
	struct config_ike_profile *profile = item;

	check_authentication(reading, profile);
	config_check_ike_proposals(reading, config, profile);
	if (profile->authentication != AUTHENTICATION_PSK && !profile->uses_fragmentation)
		config_error(reading, profile->line_number,
		             "fragmentation = false: authentication by certificate needs it, its "
		             "messages are larger than a packet");
	if (profile->dpd_interval_sec == 0)
		config_warning(reading, profile->line_number,
		               "dpd-interval = 0: a dead peer is noticed by idle-time alone");
}

void config_complete_ipsec_profile(struct config_reading *reading, struct config *config,
                                   void *item)
{
	struct config_ipsec_profile *profile = item;
	const char *lacking = data_plane_lacks(config->data_plane, profile);

	if (lacking)
		config_error(reading, profile->line_number, "%s", lacking);
	config_check_ipsec_proposals(reading, config, profile);
	if (profile->replay_window != 0 && profile->replay_window < 64)
		config_error(reading, profile->line_number,
		             "replay-window = %u: expected 0 (off) or 64 to 1024",
		             profile->replay_window);
	if (profile->replay_window == 0)
		config_warning(reading, profile->line_number,
		               "replay-window = 0: replayed packets are accepted");
}

/* The number at the end of the tunnel's name names it everywhere: if_id, mark, handle. */
static void read_if_id(struct config_reading *reading, struct config_peer *peer)
{
	const char *digits = peer->tunnel + strlen(peer->tunnel);
	unsigned long long if_id;

	while (digits > peer->tunnel && isdigit((unsigned char)digits[-1]))
		digits--;
	if_id = strtoull(digits, NULL, 10);
	if (digits == peer->tunnel || if_id == 0 || if_id > UINT32_MAX)
		config_error(
			reading, peer->line_number,
			"tunnel = \"%s\": expected a name that ends with a number above 0: vsip2",
			peer->tunnel);
	else
		peer->if_id = (uint32_t)if_id;
}

static void check_bandwidth(struct config_reading *reading, struct config_peer *peer)
{
	static const unsigned offered_kbit[] = {64, 128, 256, 512, 1000};
	bool is_offered = peer->allows_any_bandwidth;

	for (size_t i = 0; i < sizeof(offered_kbit) / sizeof(offered_kbit[0]); i++)
		is_offered |= peer->bandwidth_kbit == offered_kbit[i];
	if (!is_offered)
		config_error(
			reading, peer->line_number,
			"bandwidth = %u: expected 64, 128, 256, 512 or 1000 (kbit/s), or write "
			"any-bandwidth = true",
			peer->bandwidth_kbit);
	if (peer->minimum_bandwidth_kbit == 0)
		peer->minimum_bandwidth_kbit = peer->bandwidth_kbit < 64 ? peer->bandwidth_kbit
		                                                         : 64;
	if (peer->minimum_bandwidth_kbit > peer->bandwidth_kbit)
		config_error(
			reading, peer->line_number,
			"minimum-bandwidth = %u is above bandwidth = %u: every call would fail",
			peer->minimum_bandwidth_kbit, peer->bandwidth_kbit);
}

static void choose_line(struct config_reading *reading, const struct config *config,
                        struct config_peer *peer)
{
	if (peer->line)
		return;
	if (config->line_count == 1)
		peer->line = &config->lines[0];
	else if (config->line_count == 0)
		config_error(reading, peer->line_number,
		             "there is no line to call from: line \"NUMBER\" { } is missing");
	else
		config_error(
			reading, peer->line_number,
			"line is missing: there are %zu lines, so it must be said which one calls",
			config->line_count);
}

/* Not written: the only profile, or the one named "default". */
static void *choose_profile(struct config_reading *reading, const struct config_peer *peer,
                            void *profiles, size_t count, size_t size, const char *section)
{
	for (size_t i = 0; i < count; i++) {
		void *profile = (char *)profiles + i * size;

		/* The name is the first member of both kinds of profile. */
		if (count == 1 || strcmp(*(char **)profile, "default") == 0)
			return profile;
	}
	if (count == 0)
		config_error(reading, peer->line_number,
		             "there is no %s: %s \"default\" { } is missing", section, section);
	else
		config_error(reading, peer->line_number,
		             "%s is missing: there are several and none is named \"default\"",
		             section);
	return NULL;
}

void config_complete_peer(struct config_reading *reading, struct config *config, void *item)
{
	struct config_peer *peer = item;

	read_if_id(reading, peer);
	check_bandwidth(reading, peer);
	choose_line(reading, config, peer);
	if (!peer->ike_profile)
		peer->ike_profile = choose_profile(reading, peer, config->ike_profiles,
		                                   config->ike_profile_count,
		                                   sizeof(*config->ike_profiles), "ike-profile");
	if (!peer->ipsec_profile)
		peer->ipsec_profile = choose_profile(
			reading, peer, config->ipsec_profiles, config->ipsec_profile_count,
			sizeof(*config->ipsec_profiles), "ipsec-profile");
	if (!peer->peer_source) /* NTT relays media, and the relay may send from another port */
		peer->peer_source = peer->line && peer->line->carrier == CARRIER_NTT
		                            ? PEER_SOURCE_CONFIG_ANY
		                            : PEER_SOURCE_CONFIG_ADDRESS;
	if (peer->line && peer->session_transport &&
	    !(peer->line->transports & 1u << peer->session_transport))
		config_error(reading, peer->line_number,
		             "session-transport is not among the transport of line \"%s\"",
		             peer->line->number);
	if (!peer->address.address.ss_family && !peer->unnumbered)
		config_error(
			reading, peer->line_number,
			"address is missing: address = \"10.254.0.1/32\" or unnumbered = \"lan0\"");
	if (peer->address.address.ss_family && peer->unnumbered)
		config_error(reading, peer->line_number,
		             "address and unnumbered exclude each other");
	if (peer->mtu != 0 && peer->mtu < 576)
		config_error(reading, peer->line_number,
		             "mtu = %u: expected 0 (by formula) or 576 and more", peer->mtu);
}

void config_complete_sla(struct config_reading *reading, struct config *config, void *item)
{
	struct config_sla *sla = item;

	(void)config;
	if (sla->timeout_msec > sla->frequency_msec)
		config_error(
			reading, sla->line_number,
			"timeout = %u ms is longer than frequency = %g s: probes would overlap",
			sla->timeout_msec, sla->frequency_msec / 1000.0);
	if (sla->threshold_msec > sla->timeout_msec)
		config_warning(reading, sla->line_number,
		               "threshold = %u ms is above timeout = %u ms and has no effect",
		               sla->threshold_msec, sla->timeout_msec);
}

void config_complete_route(struct config_reading *reading, struct config *config, void *item)
{
	struct config_route *route = item;
	struct sockaddr_storage network = route->destination.address;
	char text[ADDRESS_TEXT_SIZE];

	(void)config;
	address_mask(&network, route->destination.length);
	if (!address_is_equal(&network, &route->destination.address))
		config_error(reading, route->line_number,
		             "destination is an address inside a network: the network is %s",
		             address_format_prefix(&network, route->destination.length, text));
	if (route->peer && (route->gateway.ss_family || route->interface))
		config_error(reading, route->line_number,
		             "a route through a tunnel has neither gateway nor interface");
	if (route->peer && network.ss_family == AF_INET6 && !route->peer->is_dual_overlay)
		config_error(
			reading, route->line_number,
			"an IPv6 route through tunnel \"%s\" needs dual-overlay = true in its peer",
			route->peer->tunnel);
	if (!route->peer && !route->gateway.ss_family && !route->interface)
		config_error(reading, route->line_number,
		             "where the route leads is missing: gateway, interface or tunnel");
}

static void check_numbers(struct config_reading *reading, const struct config *config)
{
	for (size_t i = 0; i < config->peer_count; i++) {
		const struct config_peer *peer = &config->peers[i];

		if (config_line_by_number(config, peer->number))
			config_error(reading, peer->line_number,
			             "peer \"%s\" is our own number: a line has it", peer->number);
		for (size_t j = 0; j < i; j++) {
			const struct config_peer *other = &config->peers[j];

			if (strcmp(peer->tunnel, other->tunnel) == 0)
				config_error(
					reading, peer->line_number,
					"tunnel \"%s\" already belongs to peer \"%s\" (line %d)",
					peer->tunnel, other->number, other->line_number);
			else if (peer->if_id == other->if_id)
				config_error(reading, peer->line_number,
				             "tunnel \"%s\" ends with the same number as \"%s\" "
				             "(line %d)",
				             peer->tunnel, other->tunnel, other->line_number);
		}
	}
	for (size_t i = 0; i < config->sla_count; i++)
		for (size_t j = 0; j < i; j++)
			if (config->slas[i].number == config->slas[j].number)
				config_error(reading, config->slas[i].line_number,
				             "sla %u is already configured in line %d",
				             config->slas[i].number, config->slas[j].line_number);
	for (size_t i = 0; i < config->track_count; i++)
		for (size_t j = 0; j < i; j++)
			if (config->tracks[i].number == config->tracks[j].number)
				config_error(reading, config->tracks[i].line_number,
				             "track %u is already configured in line %d",
				             config->tracks[i].number,
				             config->tracks[j].line_number);
}

static bool is_same_prefix(const struct config_prefix *a, const struct config_prefix *b)
{
	return a->length == b->length && address_is_equal(&a->address, &b->address);
}

static void check_route_pair(struct config_reading *reading, const struct config_route *route,
                             const struct config_route *other)
{
	const struct config_prefix *a = &route->destination, *b = &other->destination;
	const struct config_prefix *wide = a->length < b->length ? a : b;
	const struct config_prefix *narrow = wide == a ? b : a;
	char text[ADDRESS_TEXT_SIZE], other_text[ADDRESS_TEXT_SIZE];

	address_format_prefix(&a->address, a->length, text);
	address_format_prefix(&b->address, b->length, other_text);
	if (is_same_prefix(a, b) && route->metric == other->metric)
		config_error(reading, route->line_number,
		             "route to %s has the same metric %u as the one in line %d", text,
		             route->metric, other->line_number);
	else if (is_same_prefix(a, b) && !route->peer != !other->peer) {
		const struct config_route *tunnel = route->peer ? route : other;
		const struct config_route *primary = route->peer ? other : route;

		if (tunnel->metric < primary->metric)
			config_warning(
				reading, tunnel->line_number,
				"route to %s through tunnel \"%s\" has a better metric than the "
				"primary one in line %d: it always calls",
				text, tunnel->peer->tunnel, primary->line_number);
	} else if (route->peer && other->peer && route->peer != other->peer && wide->length > 0 &&
	           address_is_in_prefix(&narrow->address, &wide->address, wide->length))
		config_warning(reading, route->line_number,
		               "routes overlap: %s (tunnel \"%s\") and %s (tunnel \"%s\", line %d)",
		               text, route->peer->tunnel, other_text, other->peer->tunnel,
		               other->line_number);
}

static void check_routes(struct config_reading *reading, const struct config *config)
{
	for (size_t i = 0; i < config->route_count; i++)
		for (size_t j = 0; j < i; j++)
			check_route_pair(reading, &config->routes[i], &config->routes[j]);
	for (size_t i = 0; i < config->peer_count; i++) {
		const struct config_peer *peer = &config->peers[i];
		bool has_route = false;

		for (size_t j = 0; j < config->route_count; j++)
			has_route |= config->routes[j].peer == peer;
		if (!has_route && peer->is_enabled)
			config_warning(reading, peer->line_number,
			               "peer \"%s\" has no route: no packet will ever call it",
			               peer->number);
	}
}

void config_check_sections(struct config_reading *reading, const struct config *config)
{
	check_numbers(reading, config);
	check_routes(reading, config);
	if (config->peer_count && !config->tunnel_source.ss_family)
		config_error(reading, 0,
		             "tunnel-source is missing: an unused, non-routable address such as "
		             "10.255.0.1");
	config_check_trust(reading, config);
	if (config->timer_msec[TIMER_HOLDDOWN] > config->timer_msec[TIMER_HOLDDOWN_MAXIMUM])
		config_error(reading, 0, "timer holddown is above holddown-maximum");
}
