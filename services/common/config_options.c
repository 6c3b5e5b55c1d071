/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every option there is, section by section. docs/configuration.md describes them in the same order. */
#include <stddef.h>
#include <syslog.h>

#include "services/common/config_internal.h"

#define ROOT(member)   offsetof(struct config, member)
#define LINE(member)   offsetof(struct config_line, member)
#define TRUST(member)  offsetof(struct config_trustpoint, member)
#define MAP(member)    offsetof(struct config_certificate_map, member)
#define SUITE(member)  offsetof(struct config_ike_proposal, member)
#define SET(member)    offsetof(struct config_transform_set, member)
#define CRYPTO(member) offsetof(struct config_crypto_signaling, member)
#define PEER(member)   offsetof(struct config_peer, member)
#define IKE(member)    offsetof(struct config_ike_profile, member)
#define IPSEC(member)  offsetof(struct config_ipsec_profile, member)
#define SLA(member)    offsetof(struct config_sla, member)
#define TRACK(member)  offsetof(struct config_track, member)
#define ROUTE(member)  offsetof(struct config_route, member)

#define OPTION(option_name, option_kind, member, ...)                                         \
	{                                                                                     \
		.name = (option_name), .kind = (option_kind), .offset = (member), __VA_ARGS__ \
	}
#define DEFAULT(text)        .fallback = (text)
#define RANGE(least, most)   .minimum = (least), .maximum = (most)
#define WORDS(list)          .words = (list)
#define REQUIRED(why)        .required = (why)
#define DEFAULT_PORT(number) .minimum = (number)

#define MAXIMUM_METRIC 4294967294.0 /* one better than the fail-closed route's */

static const struct option_word log_levels[] = {
	{"error", LOG_ERR}, {"warning", LOG_WARNING}, {"notice", LOG_NOTICE},
	{"info", LOG_INFO}, {"debug", LOG_DEBUG},     {0},
};

static const struct option_word transports[] = {
	{"udp", TRANSPORT_UDP}, {"tcp", TRANSPORT_TCP}, {"tls", TRANSPORT_TLS}, {0}};

static const struct option_word transports_or_system[] = {
	{"system", TRANSPORT_SYSTEM},
	{"udp", TRANSPORT_UDP},
	{"tcp", TRANSPORT_TCP},
	{"tls", TRANSPORT_TLS},
	{0},
};

static const struct option_word urls[] = {
	{"sip", URL_SIP}, {"sips", URL_SIPS}, {"tel", URL_TEL}, {0}};

static const struct option_word urls_or_system[] = {
	{"system", URL_SYSTEM}, {"sip", URL_SIP}, {"sips", URL_SIPS}, {"tel", URL_TEL}, {0}};

static const struct option_word schemes[] = {{"sip", URL_SIP}, {"sips", URL_SIPS}, {0}};

static const struct option_word carriers[] = {
	{"generic", CARRIER_GENERIC}, {"ntt", CARRIER_NTT}, {"cisco", CARRIER_CISCO}, {0}};

/* Booleans whose default is the carrier's. */
static const struct option_word choices[] = {{"true", CHOICE_YES}, {"false", CHOICE_NO}, {0}};

static const struct option_word contact_users[] = {
	{"token", CONTACT_TOKEN}, {"number", CONTACT_NUMBER}, {0}};

static const struct option_word caller_identities[] = {
	{"asserted", CALLER_ASSERTED}, {"from", CALLER_FROM}, {0}};

static const struct option_word reliables[] = {{"off", RELIABLE_OFF},
                                               {"supported", RELIABLE_SUPPORTED},
                                               {"required", RELIABLE_REQUIRED},
                                               {0}};

static const struct option_word revocations[] = {
	{"none", REVOCATION_NONE},
	{"cached", REVOCATION_CACHED},
	{"strict", REVOCATION_STRICT},
	{0},
};

static const struct option_word enrollments[] = {
	{"none", ENROLLMENT_NONE}, {"scep", ENROLLMENT_SCEP}, {"est", ENROLLMENT_EST}, {0}};

static const struct option_word data_planes[] = {{"auto", DATA_PLANE_AUTO},
                                                 {"kernel", DATA_PLANE_KERNEL},
                                                 {"userspace", DATA_PLANE_USERSPACE},
                                                 {0}};

static const struct option_word df_bits[] = {
	{"clear", DF_CLEAR}, {"copy", DF_COPY}, {"set", DF_SET}, {0}};

static const struct option_word ecns[] = {
	{"propagate", ECN_PROPAGATE}, {"discard", ECN_DISCARD}, {0}};

static const struct option_word fragmentations[] = {
	{"before", FRAGMENT_BEFORE}, {"after", FRAGMENT_AFTER}, {0}};

static const struct option_word peer_sources[] = {
	{"exact", PEER_SOURCE_CONFIG_EXACT},
	{"address", PEER_SOURCE_CONFIG_ADDRESS},
	{"any", PEER_SOURCE_CONFIG_ANY},
	{0},
};

static const struct option_word authentications[] = {
	{"pre-share", AUTHENTICATION_PSK},
	{"self-signed", AUTHENTICATION_SELF_SIGNED},
	{"certificate", AUTHENTICATION_CERTIFICATE},
	{0},
};

static const struct option_word match_identities[] = {
	{"key-id", MATCH_KEY_ID},
	{"any", MATCH_ANY},
	{"certificate-map", MATCH_CERTIFICATE_MAP},
	{0},
};

const struct config_option config_root_options[] = {
	OPTION("enabled", OPTION_BOOL, ROOT(is_enabled), DEFAULT("true")),
	OPTION("logging", OPTION_BOOL, ROOT(logs_sessions), DEFAULT("true")),
	OPTION("log-level", OPTION_WORD, ROOT(log_level), DEFAULT("info"), WORDS(log_levels)),
	OPTION("tunnel-source", OPTION_ADDRESS, ROOT(tunnel_source)),
	OPTION("keyring-file", OPTION_TEXT, ROOT(keyring_file)),
	OPTION("data-plane", OPTION_WORD, ROOT(data_plane), DEFAULT("auto"), WORDS(data_planes)),
	OPTION("session-ports", OPTION_PORT_RANGE, ROOT(first_session_port), DEFAULT("50000 50999"),
               RANGE(1024, 65535)),
	OPTION("maximum-sessions", OPTION_UNSIGNED, ROOT(maximum_sessions), DEFAULT("300"),
               RANGE(1, 10000)),
	OPTION("maximum-setups", OPTION_UNSIGNED, ROOT(maximum_setups), DEFAULT("50"),
               RANGE(1, 1000)),
	OPTION("maximum-calls-per-hour", OPTION_UNSIGNED, ROOT(maximum_calls_per_hour),
               DEFAULT("60"), RANGE(1, 3600000)),
	OPTION("ike-cookie-threshold", OPTION_UNSIGNED, ROOT(ike_cookie_threshold), DEFAULT("30"),
               RANGE(0, 10000)),
	OPTION("maximum-half-open-ike", OPTION_UNSIGNED, ROOT(maximum_half_open_ike),
               DEFAULT("200"), RANGE(1, 10000)),
	OPTION("disconnect-revoked-peers", OPTION_BOOL, ROOT(disconnects_revoked_peers),
               DEFAULT("true")),
	OPTION("call-records-days", OPTION_UNSIGNED, ROOT(call_records_days), DEFAULT("400"),
               RANGE(1, 36500)),
	{0},
};

static const struct config_option trustpoint_options[] = {
	OPTION("certificate-file", OPTION_TEXT, TRUST(certificate_file)),
	OPTION("key-file", OPTION_TEXT, TRUST(key_file)),
	OPTION("ca-file", OPTION_TEXT, TRUST(ca_file)),
	OPTION("crl-file", OPTION_TEXT, TRUST(crl_file)),
	OPTION("crl-url", OPTION_TEXT, TRUST(crl_url)),
	OPTION("revocation-check", OPTION_WORD, TRUST(revocation), DEFAULT("none"),
               WORDS(revocations)),
	OPTION("enrollment", OPTION_WORD, TRUST(enrollment), DEFAULT("none"), WORDS(enrollments)),
	OPTION("enrollment-url", OPTION_TEXT, TRUST(enrollment_url)),
	OPTION("challenge-file", OPTION_TEXT, TRUST(challenge_file)),
	OPTION("subject", OPTION_TEXT, TRUST(subject)),
	OPTION("renewal-percent", OPTION_UNSIGNED, TRUST(renewal_percent), DEFAULT("80"),
               RANGE(10, 99)),
	{0},
};

static const struct config_option certificate_map_options[] = {
	OPTION("issuer-name", OPTION_TEXT, MAP(issuer_name)),
	OPTION("subject-name", OPTION_TEXT, MAP(subject_name)),
	OPTION("alternative-name", OPTION_TEXT, MAP(alternative_name)),
	{0},
};

static const struct config_option ike_proposal_options[] = {
	OPTION("encryption", OPTION_TEXT, SUITE(encryption),
               REQUIRED("names, best first: \"aes-cbc-256 aes-gcm-128\"")),
	OPTION("integrity", OPTION_TEXT, SUITE(integrity)),
	OPTION("prf", OPTION_TEXT, SUITE(prf)),
	OPTION("group", OPTION_TEXT, SUITE(group), REQUIRED("numbers, best first: \"19 14\"")),
	{0},
};

static const struct config_option transform_set_options[] = {
	OPTION("encryption", OPTION_TEXT, SET(encryption),
               REQUIRED("\"esp-gcm 128\", \"esp-aes 256\" or \"esp-chacha20-poly1305\"")),
	OPTION("integrity", OPTION_TEXT, SET(integrity)),
	{0},
};

static const struct config_option crypto_signaling_options[] = {
	OPTION("remote-address", OPTION_PREFIX, CRYPTO(remote_address)),
	OPTION("trustpoint", OPTION_TRUSTPOINT, CRYPTO(trustpoint),
               REQUIRED("the name of a trustpoint section")),
	OPTION("strict-cipher", OPTION_BOOL, CRYPTO(is_strict_cipher), DEFAULT("false")),
	OPTION("check-subject", OPTION_BOOL, CRYPTO(checks_subject), DEFAULT("true")),
	OPTION("client-certificate", OPTION_BOOL, CRYPTO(asks_client), DEFAULT("true")),
	{0},
};

static const struct config_option line_options[] = {
	OPTION("wan-interface", OPTION_INTERFACE, LINE(wan_interface),
               REQUIRED("the interface through which the carrier is reached")),
	OPTION("gateway", OPTION_ADDRESS, LINE(gateway)),
	OPTION("carrier", OPTION_WORD, LINE(carrier), DEFAULT("generic"), WORDS(carriers)),
	OPTION("registrar", OPTION_SERVER, LINE(registrar),
               REQUIRED("address[:port] or name[:port] of the carrier's registrar and proxy, or "
                        "dhcp")),
	OPTION("secondary-registrar", OPTION_SERVER, LINE(secondary_registrar)),
	OPTION("scheme", OPTION_WORD, LINE(scheme), DEFAULT("sip"), WORDS(schemes)),
	OPTION("domain", OPTION_TEXT, LINE(domain)),
	OPTION("transport", OPTION_WORD_SET, LINE(transports), WORDS(transports)),
	OPTION("session-transport", OPTION_WORD, LINE(session_transport), WORDS(transports)),
	OPTION("registrar-transport", OPTION_WORD, LINE(registrar_transport), DEFAULT("system"),
               WORDS(transports_or_system)),
	OPTION("url", OPTION_WORD, LINE(url), DEFAULT("sip"), WORDS(urls)),
	OPTION("user", OPTION_TEXT, LINE(user)),
	OPTION("credentials-file", OPTION_TEXT, LINE(credentials_file)),
	OPTION("allow-md5", OPTION_BOOL, LINE(allows_md5), DEFAULT("true")),
	OPTION("expires", OPTION_UNSIGNED, LINE(expires_sec), DEFAULT("3600"), RANGE(60, 86400)),
	OPTION("retry-invite", OPTION_UNSIGNED, LINE(retry_invite), DEFAULT("6"), RANGE(1, 10)),
	OPTION("retry-register", OPTION_UNSIGNED, LINE(retry_register), DEFAULT("10"),
               RANGE(1, 10)),
	OPTION("register-retransmit", OPTION_UNSIGNED, LINE(register_retransmit_msec),
               DEFAULT("500"), RANGE(100, 1000)),
	OPTION("sip-port", OPTION_UINT16, LINE(sip_port), DEFAULT("5060"), RANGE(1, 65535)),
	OPTION("tls-port", OPTION_UINT16, LINE(tls_port), DEFAULT("5061"), RANGE(1, 65535)),
	OPTION("connection-aging", OPTION_UNSIGNED, LINE(connection_aging_sec), DEFAULT("300"),
               RANGE(5, 86400)),
	OPTION("rport", OPTION_WORD, LINE(uses_rport), WORDS(choices)),
	OPTION("preferred-identity", OPTION_WORD, LINE(sends_preferred_identity), WORDS(choices)),
	OPTION("called-party-id", OPTION_WORD, LINE(reads_called_party), WORDS(choices)),
	OPTION("plain-fingerprint", OPTION_WORD, LINE(accepts_plain_fingerprint), WORDS(choices)),
	OPTION("contact-user", OPTION_WORD, LINE(contact_user), WORDS(contact_users)),
	OPTION("caller-identity", OPTION_WORD, LINE(caller_identity), DEFAULT("asserted"),
               WORDS(caller_identities)),
	OPTION("reliable-provisional", OPTION_WORD, LINE(reliable_provisional), WORDS(reliables)),
	OPTION("country-code", OPTION_DIGITS, LINE(country_code), DEFAULT("81")),
	OPTION("trunk-prefix", OPTION_DIGITS, LINE(trunk_prefix), DEFAULT("0")),
	OPTION("maximum-calls", OPTION_UNSIGNED, LINE(maximum_calls), DEFAULT("0"),
               RANGE(0, 10000)),
	OPTION("guard-rate", OPTION_UNSIGNED, LINE(guard_rate), DEFAULT("100"), RANGE(1, 100000)),
	OPTION("guard-burst", OPTION_UNSIGNED, LINE(guard_burst), DEFAULT("200"), RANGE(1, 100000)),
	OPTION("maximum-half-open", OPTION_UNSIGNED, LINE(maximum_half_open), DEFAULT("50"),
               RANGE(1, 10000)),
	OPTION("wan-exclusive", OPTION_BOOL, LINE(is_wan_exclusive), DEFAULT("true")),
	{0},
};

static const struct config_option ike_profile_options[] = {
	OPTION("authentication", OPTION_WORD, IKE(authentication), DEFAULT("pre-share"),
               WORDS(authentications)),
	OPTION("trustpoint", OPTION_TRUSTPOINT, IKE(trustpoint)),
	OPTION("match-identity", OPTION_WORD, IKE(match_identity), DEFAULT("key-id"),
               WORDS(match_identities)),
	OPTION("certificate-map", OPTION_CERTIFICATE_MAP, IKE(certificate_map)),
	OPTION("proposals", OPTION_TEXT, IKE(proposals),
               DEFAULT("aes128-sha256-ecp256,aes128-sha256-modp2048")),
	OPTION("allow-weak", OPTION_BOOL, IKE(allows_weak), DEFAULT("false")),
	OPTION("fragmentation", OPTION_BOOL, IKE(uses_fragmentation), DEFAULT("true")),
	OPTION("reauthentication", OPTION_UNSIGNED, IKE(reauthentication_sec), DEFAULT("0"),
               RANGE(0, 604800)),
	OPTION("nat-keepalive", OPTION_UNSIGNED, IKE(nat_keepalive_sec), DEFAULT("20"),
               RANGE(0, 3600)),
	OPTION("dpd-interval", OPTION_UNSIGNED, IKE(dpd_interval_sec), DEFAULT("10"),
               RANGE(0, 3600)),
	OPTION("dpd-retry", OPTION_UNSIGNED, IKE(dpd_retry_sec), DEFAULT("6"), RANGE(1, 600)),
	OPTION("lifetime", OPTION_UNSIGNED, IKE(lifetime_sec), DEFAULT("86400"), RANGE(60, 604800)),
	OPTION("psk-fingerprint", OPTION_BOOL, IKE(sends_psk_fingerprint), DEFAULT("true")),
	OPTION("allow-sha1", OPTION_BOOL, IKE(allows_sha1), DEFAULT("false")),
	{0},
};

static const struct config_option ipsec_profile_options[] = {
	OPTION("idle-time", OPTION_SECONDS, IPSEC(idle_msec), RANGE(0.1, 86400),
               REQUIRED("without it a call never ends and the carrier bills on; 120 (seconds) is "
                        "recommended")),
	OPTION("proposals", OPTION_TEXT, IPSEC(proposals), DEFAULT("aes128gcm16,aes128-sha256")),
	OPTION("pfs", OPTION_TEXT, IPSEC(pfs)),
	OPTION("allow-weak", OPTION_BOOL, IPSEC(allows_weak), DEFAULT("false")),
	OPTION("replay-window", OPTION_UNSIGNED, IPSEC(replay_window), DEFAULT("64"),
               RANGE(0, 1024)),
	OPTION("esn", OPTION_BOOL, IPSEC(has_extended_sequence), DEFAULT("true")),
	OPTION("lifetime", OPTION_UNSIGNED, IPSEC(lifetime_sec), DEFAULT("3600"),
               RANGE(30, 604800)),
	OPTION("lifetime-kilobytes", OPTION_KILOBYTE, IPSEC(lifetime_byte), DEFAULT("4608000"),
               RANGE(0, 4e12)),
	OPTION("lifetime-packets", OPTION_UINT64, IPSEC(lifetime_packet), DEFAULT("0"),
               RANGE(0, 9e15)),
	OPTION("df-bit", OPTION_WORD, IPSEC(df_bit), DEFAULT("copy"), WORDS(df_bits)),
	OPTION("ecn", OPTION_WORD, IPSEC(ecn), DEFAULT("propagate"), WORDS(ecns)),
	OPTION("dscp-copy", OPTION_BOOL, IPSEC(copies_dscp), DEFAULT("true")),
	OPTION("fragmentation", OPTION_WORD, IPSEC(fragmentation), DEFAULT("before"),
               WORDS(fragmentations)),
	OPTION("dummy-rate", OPTION_UNSIGNED, IPSEC(dummy_rate), DEFAULT("0"), RANGE(0, 10000)),
	OPTION("dummy-interval", OPTION_UNSIGNED, IPSEC(dummy_interval_sec), DEFAULT("0"),
               RANGE(0, 3600)),
	OPTION("invalid-spi-recovery", OPTION_BOOL, IPSEC(recovers_invalid_spi), DEFAULT("true")),
	OPTION("one-way-release", OPTION_BOOL, IPSEC(releases_one_way), DEFAULT("false")),
	{0},
};

static const struct config_option peer_options[] = {
	OPTION("tunnel", OPTION_INTERFACE, PEER(tunnel),
               REQUIRED("the name of its tunnel interface, which ends with a number: vsip2")),
	OPTION("line", OPTION_LINE, PEER(line)),
	OPTION("address", OPTION_PREFIX, PEER(address)),
	OPTION("unnumbered", OPTION_INTERFACE, PEER(unnumbered)),
	OPTION("description", OPTION_TEXT, PEER(description), DEFAULT("")),
	OPTION("load-interval", OPTION_UNSIGNED, PEER(load_interval_sec), DEFAULT("30"),
               RANGE(1, 600)),
	OPTION("bandwidth", OPTION_UNSIGNED, PEER(bandwidth_kbit), RANGE(1, 10000000),
               REQUIRED("kbit/s: 64, 128, 256, 512 or 1000")),
	OPTION("any-bandwidth", OPTION_BOOL, PEER(allows_any_bandwidth), DEFAULT("false")),
	OPTION("dual-overlay", OPTION_BOOL, PEER(is_dual_overlay), DEFAULT("false")),
	OPTION("minimum-bandwidth", OPTION_UNSIGNED, PEER(minimum_bandwidth_kbit),
               RANGE(1, 10000000)),
	OPTION("fingerprint", OPTION_FINGERPRINT, 0),
	OPTION("peer-source", OPTION_WORD, PEER(peer_source), WORDS(peer_sources)),
	OPTION("session-transport", OPTION_WORD, PEER(session_transport), DEFAULT("system"),
               WORDS(transports_or_system)),
	OPTION("url", OPTION_WORD, PEER(url), DEFAULT("system"), WORDS(urls_or_system)),
	OPTION("maximum-call", OPTION_UNSIGNED, PEER(maximum_call_sec), DEFAULT("0"),
               RANGE(0, 31536000)),
	OPTION("maximum-calls-per-hour", OPTION_UNSIGNED, PEER(maximum_calls_per_hour),
               DEFAULT("0"), RANGE(0, 3600)),
	OPTION("mtu", OPTION_UNSIGNED, PEER(mtu), DEFAULT("0"), RANGE(0, 9216)),
	OPTION("ike-profile", OPTION_IKE_PROFILE, PEER(ike_profile)),
	OPTION("ipsec-profile", OPTION_IPSEC_PROFILE, PEER(ipsec_profile)),
	OPTION("enabled", OPTION_BOOL, PEER(is_enabled), DEFAULT("true")),
	{0},
};

static const struct config_option sla_options[] = {
	OPTION("icmp-echo", OPTION_ADDRESS, SLA(target), REQUIRED("the address to probe")),
	OPTION("interface", OPTION_INTERFACE, SLA(interface)),
	OPTION("gateway", OPTION_ADDRESS, SLA(gateway)),
	OPTION("frequency", OPTION_SECONDS, SLA(frequency_msec), DEFAULT("2"), RANGE(0.1, 3600)),
	OPTION("threshold", OPTION_UNSIGNED, SLA(threshold_msec), DEFAULT("500"), RANGE(1, 60000)),
	OPTION("timeout", OPTION_UNSIGNED, SLA(timeout_msec), DEFAULT("500"), RANGE(1, 60000)),
	{0},
};

static const struct config_option track_options[] = {
	OPTION("sla", OPTION_SLA, TRACK(sla), REQUIRED("the number of an sla section")),
	OPTION("down-count", OPTION_UNSIGNED, TRACK(down_count), DEFAULT("1"), RANGE(1, 100)),
	OPTION("up-count", OPTION_UNSIGNED, TRACK(up_count), DEFAULT("1"), RANGE(1, 100)),
	OPTION("delay-down", OPTION_SECONDS, TRACK(delay_down_msec), DEFAULT("0"), RANGE(0, 3600)),
	OPTION("delay-up", OPTION_SECONDS, TRACK(delay_up_msec), DEFAULT("0"), RANGE(0, 3600)),
	{0},
};

static const struct config_option route_options[] = {
	OPTION("destination", OPTION_PREFIX, ROUTE(destination),
               REQUIRED("a network: 10.2.0.0/24")),
	OPTION("gateway", OPTION_ADDRESS, ROUTE(gateway)),
	OPTION("interface", OPTION_INTERFACE, ROUTE(interface)),
	OPTION("tunnel", OPTION_TUNNEL, ROUTE(peer)),
	OPTION("track", OPTION_TRACK, ROUTE(track)),
	OPTION("metric", OPTION_UNSIGNED, ROUTE(metric), DEFAULT("1"), RANGE(0, MAXIMUM_METRIC)),
	{0},
};

#define SECTION(section_name, kind, table, type, title_member, array, array_count, function)    \
	{                                                                                       \
		.name = (section_name), .title = (kind), .options = (table),                    \
		.size = sizeof(struct type), .title_offset = (title_member),                    \
		.line_offset = offsetof(struct type, line_number), .items_offset = ROOT(array), \
		.count_offset = ROOT(array_count), .complete = (function)                       \
	}

const struct config_section config_sections[] = {
	SECTION("trustpoint", TITLE_TEXT, trustpoint_options, config_trustpoint, TRUST(name),
                trustpoints, trustpoint_count, config_complete_trustpoint),
	SECTION("certificate-map", TITLE_TEXT, certificate_map_options, config_certificate_map,
                MAP(name), certificate_maps, certificate_map_count,
                config_complete_certificate_map),
	SECTION("ike-proposal", TITLE_TEXT, ike_proposal_options, config_ike_proposal, SUITE(name),
                ike_proposals, ike_proposal_count, config_complete_ike_proposal),
	SECTION("transform-set", TITLE_TEXT, transform_set_options, config_transform_set, SET(name),
                transform_sets, transform_set_count, config_complete_transform_set),
	SECTION("crypto-signaling", TITLE_NONE, crypto_signaling_options, config_crypto_signaling,
                0, crypto_signalings, crypto_signaling_count, config_complete_crypto_signaling),
	SECTION("line", TITLE_DIGITS, line_options, config_line, LINE(number), lines, line_count,
                config_complete_line),
	SECTION("ike-profile", TITLE_TEXT, ike_profile_options, config_ike_profile, IKE(name),
                ike_profiles, ike_profile_count, config_complete_ike_profile),
	SECTION("ipsec-profile", TITLE_TEXT, ipsec_profile_options, config_ipsec_profile,
                IPSEC(name), ipsec_profiles, ipsec_profile_count, config_complete_ipsec_profile),
	SECTION("peer", TITLE_DIGITS, peer_options, config_peer, PEER(number), peers, peer_count,
                config_complete_peer),
	SECTION("sla", TITLE_NUMBER, sla_options, config_sla, SLA(number), slas, sla_count,
                config_complete_sla),
	SECTION("track", TITLE_NUMBER, track_options, config_track, TRACK(number), tracks,
                track_count, NULL),
	SECTION("route", TITLE_NONE, route_options, config_route, 0, routes, route_count,
                config_complete_route),
};

const size_t config_section_count = sizeof(config_sections) / sizeof(config_sections[0]);

const struct config_option *config_timer_options(void)
{
	static struct config_option options[TIMER_COUNT + 1];

	for (size_t i = 0; i < TIMER_COUNT; i++)
		options[i] = (struct config_option){
			.name = timer_definitions[i].name,
			.kind = OPTION_SECONDS,
			.offset = ROOT(timer_msec) + i * sizeof(unsigned),
			.minimum = 0,
			.maximum = 604800,
		};
	return options;
}
