/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Every option there is, section by section. docs/configuration.md describes them in the same order. */
#include <stddef.h>
#include <syslog.h>

#include "services/common/config_internal.h"

#define ROOT(member)  offsetof(struct config, member)
#define LINE(member)  offsetof(struct config_line, member)
#define PEER(member)  offsetof(struct config_peer, member)
#define IKE(member)   offsetof(struct config_ike_profile, member)
#define IPSEC(member) offsetof(struct config_ipsec_profile, member)
#define SLA(member)   offsetof(struct config_sla, member)
#define TRACK(member) offsetof(struct config_track, member)
#define ROUTE(member) offsetof(struct config_route, member)

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
	{"udp", TRANSPORT_UDP}, {"tcp", TRANSPORT_TCP}, {0}};

static const struct option_word peer_sources[] = {
	{"exact", PEER_SOURCE_CONFIG_EXACT},
	{"address", PEER_SOURCE_CONFIG_ADDRESS},
	{"any", PEER_SOURCE_CONFIG_ANY},
	{0},
};

static const struct option_word authentications[] = {{"pre-share", AUTHENTICATION_PSK}, {0}};

static const struct option_word match_identities[] = {
	{"key-id", MATCH_KEY_ID}, {"any", MATCH_ANY}, {0}};

const struct config_option config_root_options[] = {
	OPTION("enabled", OPTION_BOOL, ROOT(is_enabled), DEFAULT("true")),
	OPTION("logging", OPTION_BOOL, ROOT(logs_sessions), DEFAULT("true")),
	OPTION("log-level", OPTION_WORD, ROOT(log_level), DEFAULT("info"), WORDS(log_levels)),
	OPTION("tunnel-source", OPTION_ADDRESS, ROOT(tunnel_source)),
	OPTION("keyring-file", OPTION_TEXT, ROOT(keyring_file)),
	OPTION("session-ports", OPTION_PORT_RANGE, ROOT(first_session_port), DEFAULT("50000 50999"),
               RANGE(1024, 65535)),
	OPTION("maximum-sessions", OPTION_UNSIGNED, ROOT(maximum_sessions), DEFAULT("300"),
               RANGE(1, 10000)),
	OPTION("maximum-setups", OPTION_UNSIGNED, ROOT(maximum_setups), DEFAULT("50"),
               RANGE(1, 1000)),
	OPTION("maximum-calls-per-hour", OPTION_UNSIGNED, ROOT(maximum_calls_per_hour),
               DEFAULT("60"), RANGE(1, 3600000)),
	OPTION("call-records-days", OPTION_UNSIGNED, ROOT(call_records_days), DEFAULT("400"),
               RANGE(1, 36500)),
	{0},
};

static const struct config_option line_options[] = {
	OPTION("wan-interface", OPTION_INTERFACE, LINE(wan_interface),
               REQUIRED("the interface through which the carrier is reached")),
	OPTION("gateway", OPTION_ADDRESS, LINE(gateway)),
	OPTION("registrar", OPTION_ADDRESS_PORT, LINE(registrar), DEFAULT_PORT(5060),
               REQUIRED("address[:port] of the carrier's registrar and proxy")),
	OPTION("domain", OPTION_TEXT, LINE(domain)),
	OPTION("transport", OPTION_WORD, LINE(transport), DEFAULT("udp"), WORDS(transports)),
	OPTION("user", OPTION_TEXT, LINE(user)),
	OPTION("credentials-file", OPTION_TEXT, LINE(credentials_file)),
	OPTION("expires", OPTION_UNSIGNED, LINE(expires_sec), DEFAULT("3600"), RANGE(60, 86400)),
	OPTION("sip-port", OPTION_UINT16, LINE(sip_port), DEFAULT("5060"), RANGE(1, 65535)),
	OPTION("wan-exclusive", OPTION_BOOL, LINE(is_wan_exclusive), DEFAULT("true")),
	{0},
};

static const struct config_option ike_profile_options[] = {
	OPTION("authentication", OPTION_WORD, IKE(authentication), DEFAULT("pre-share"),
               WORDS(authentications)),
	OPTION("match-identity", OPTION_WORD, IKE(match_identity), DEFAULT("key-id"),
               WORDS(match_identities)),
	OPTION("proposals", OPTION_TEXT, IKE(proposals),
               DEFAULT("aes128-sha256-ecp256,aes128-sha256-modp2048")),
	OPTION("dpd-interval", OPTION_UNSIGNED, IKE(dpd_interval_sec), DEFAULT("10"),
               RANGE(0, 3600)),
	OPTION("dpd-retry", OPTION_UNSIGNED, IKE(dpd_retry_sec), DEFAULT("6"), RANGE(1, 600)),
	OPTION("lifetime", OPTION_UNSIGNED, IKE(lifetime_sec), DEFAULT("86400"), RANGE(60, 604800)),
	OPTION("psk-fingerprint", OPTION_BOOL, IKE(sends_psk_fingerprint), DEFAULT("true")),
	{0},
};

static const struct config_option ipsec_profile_options[] = {
	OPTION("idle-time", OPTION_SECONDS, IPSEC(idle_msec), RANGE(0.1, 86400),
               REQUIRED("without it a call never ends and the carrier bills on; 120 (seconds) is "
                        "recommended")),
	OPTION("proposals", OPTION_TEXT, IPSEC(proposals), DEFAULT("aes128gcm16,aes128-sha256")),
	OPTION("replay-window", OPTION_UNSIGNED, IPSEC(replay_window), DEFAULT("64"),
               RANGE(0, 1024)),
	OPTION("esn", OPTION_BOOL, IPSEC(has_extended_sequence), DEFAULT("true")),
	OPTION("lifetime", OPTION_UNSIGNED, IPSEC(lifetime_sec), DEFAULT("3600"),
               RANGE(30, 604800)),
	OPTION("lifetime-kilobytes", OPTION_KILOBYTE, IPSEC(lifetime_byte), DEFAULT("4608000"),
               RANGE(0, 4e12)),
	OPTION("lifetime-packets", OPTION_UINT64, IPSEC(lifetime_packet), DEFAULT("0"),
               RANGE(0, 9e15)),
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
	OPTION("minimum-bandwidth", OPTION_UNSIGNED, PEER(minimum_bandwidth_kbit),
               RANGE(1, 10000000)),
	OPTION("fingerprint", OPTION_FINGERPRINT, 0),
	OPTION("peer-source", OPTION_WORD, PEER(peer_source), DEFAULT("address"),
               WORDS(peer_sources)),
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
