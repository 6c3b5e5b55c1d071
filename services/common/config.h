/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The configuration file, parsed and checked: every process reads the same file with this library.
 * The grammar (libconfuse) is in docs/configuration.md. Secrets are not in it: it names the files that hold them.
 */
#ifndef VPNSIP_CONFIG_H
#define VPNSIP_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "services/common/timers.h"

#define CONFIG_DEFAULT_FILE "/etc/vpnsip/vpnsip.conf"

/** An address with a prefix length. */
struct config_prefix {
	struct sockaddr_storage address; /* port 0 */
	unsigned length;
};

enum config_transport { TRANSPORT_UDP = 1, TRANSPORT_TCP };

/** line "0388881001" { ... }: a local number on a WAN interface. */
struct config_line {
	char *number; /* digits */
	char *wan_interface;
	struct sockaddr_storage
		gateway; /* family 0 = take it from the main table's default route on that interface */
	struct sockaddr_storage registrar; /* address and port of registrar and proxy */
	char *domain; /* of To/From/Request-URI; default: the registrar's address */
	enum config_transport transport;
	char *user;             /* digest user name; default: the number */
	char *credentials_file; /* holds the password; readable by sip-agent alone; NULL = no digest */
	unsigned expires_sec;  /* asked for in REGISTER */
	bool is_wan_exclusive; /* drop whatever is forwarded in or out of the WAN */
	uint16_t sip_port;     /* local, default 5060 */
	int line_number;       /* in the file, as in all structs below */
};

enum config_authentication { AUTHENTICATION_PSK = 1 };

enum config_match_identity { MATCH_KEY_ID = 1, MATCH_ANY };

struct config_ike_profile {
	char *name;
	enum config_authentication authentication;
	enum config_match_identity match_identity;
	char *proposals; /* strongSwan notation, comma separated: "aes128-sha256-ecp256" */
	unsigned dpd_interval_sec; /* 0 = off */
	unsigned dpd_retry_sec;
	unsigned lifetime_sec;
	bool sends_psk_fingerprint;
	int line_number;
};

struct config_ipsec_profile {
	char *name;
	unsigned idle_msec;     /* mandatory, idle-time in seconds (fractions allowed, for labs) */
	char *proposals;        /* "aes128gcm16-ecp256,aes128-sha256-ecp256" */
	unsigned replay_window; /* 0 = off, else 64 to 1024 */
	bool has_extended_sequence;
	unsigned lifetime_sec;
	uint64_t lifetime_byte;   /* 0 = none */
	uint64_t lifetime_packet; /* 0 = none */
	bool releases_one_way;
	int line_number;
};

enum config_peer_source {
	PEER_SOURCE_CONFIG_EXACT = 1,
	PEER_SOURCE_CONFIG_ADDRESS,
	PEER_SOURCE_CONFIG_ANY
};

/** peer "0388884001" { ... }: a remote number and its tunnel. */
struct config_peer {
	char *number;
	char *tunnel; /* interface name, ends with a number: the if_id */
	uint32_t if_id;
	bool is_enabled;
	struct config_prefix address; /* family 0 when unnumbered */
	char *unnumbered;  /* interface whose address is borrowed; NULL when it has its own */
	char *description; /* "" if none */
	unsigned load_interval_sec;
	unsigned bandwidth_kbit;
	bool allows_any_bandwidth;
	unsigned minimum_bandwidth_kbit; /* offers below are refused; default 64 or the configured one if lower */
	bool has_fingerprint;      /* pin */
	char fingerprint_hash[16]; /* "SHA-256" */
	uint8_t fingerprint[64];
	size_t fingerprint_size;
	unsigned mtu; /* 0 = by formula from the WAN's MTU */
	enum config_peer_source peer_source;
	struct config_line *line;
	struct config_ike_profile *ike_profile;
	struct config_ipsec_profile *ipsec_profile;
	int line_number;
};

/** One entry of the keyring file. The key itself is only loaded by config_load_keyring(). */
struct config_key {
	char *name;
	char *key_id; /* SIP number */
	uint8_t *key; /* raw octets as configured, no NUL */
	size_t key_size;
	int line_number;
};

struct config_keyring {
	struct config_key *keys;
	size_t key_count;
};

/** sla N { icmp-echo = ... }: one probe. */
struct config_sla {
	unsigned number;
	struct sockaddr_storage target;
	char *interface; /* probe leaves through it; NULL = by routing */
	struct sockaddr_storage
		gateway; /* on that interface; family 0 = on-link or the main table's */
	unsigned frequency_msec;
	unsigned threshold_msec;
	unsigned timeout_msec;
	int line_number;
};

struct config_track {
	unsigned number;
	struct config_sla *sla;
	unsigned down_count; /* consecutive failures until DOWN, default 1 */
	unsigned up_count;   /* consecutive answers until UP, default 1 */
	unsigned delay_down_msec;
	unsigned delay_up_msec;
	int line_number;
};

/** route { ... }: through a gateway and interface, or through a tunnel. */
struct config_route {
	struct config_prefix destination;
	struct sockaddr_storage gateway; /* family 0 = none */
	char *interface;                 /* NULL: found by the gateway */
	struct config_peer *peer;        /* the tunnel's peer; NULL for a primary route */
	struct config_track *track;      /* NULL = not tracked */
	unsigned metric;
	int line_number;
};

struct config {
	char *file;
	char digest[65]; /* SHA-256 of the file, hexadecimal */
	bool is_enabled;
	struct sockaddr_storage tunnel_source;
	char *keyring_file; /* NULL = none */
	bool logs_sessions; /* "logging": session up, down and failure at notice level */
	int log_level;
	uint16_t first_session_port, last_session_port;
	struct config_line *lines;
	size_t line_count;
	struct config_peer *peers;
	size_t peer_count;
	struct config_ike_profile *ike_profiles;
	size_t ike_profile_count;
	struct config_ipsec_profile *ipsec_profiles;
	size_t ipsec_profile_count;
	struct config_sla *slas;
	size_t sla_count;
	struct config_track *tracks;
	size_t track_count;
	struct config_route *routes;
	size_t route_count;
	unsigned timer_msec[TIMER_COUNT];
	unsigned maximum_sessions;
	unsigned maximum_setups; /* sessions on their way up at the same time */
	unsigned maximum_calls_per_hour;
	unsigned call_records_days;
};

/** Where findings go. `level` is LOG_ERR, LOG_WARNING or LOG_NOTICE. */
typedef void config_report_fn(void *context, int level, const char *file, int line,
                              const char *text);

/** A report function that prints "file:line: error: text" to the FILE in `context` (stderr if NULL). */
config_report_fn config_report_to_stream;

/**
 * Parses and checks. NULL after at least one LOG_ERR report; warnings and notices do not stop it. Needs no privilege and
 * does not look at the machine.
 */
struct config *config_load(const char *file, config_report_fn *report, void *context);

/**
 * Checks that look at the machine and the secret files: keyring readable, number missing in it, weak keys, tunnel MTU below
 * the WAN's, interfaces present. For `vpnsip check`; a file that may not be read is a notice. Returns the number of errors.
 */
int config_check_reality(const struct config *config, config_report_fn *report, void *context);

void config_free(struct config *config);

/** Reads the keyring file. NULL after an error report. Entries with other identity types are reported as a notice and skipped. */
struct config_keyring *config_load_keyring(const char *file, config_report_fn *report,
                                           void *context);

/** Wipes the keys and frees. */
void config_free_keyring(struct config_keyring *keyring);

/** Strength of a pre-shared key as an upper estimate in bits. */
unsigned config_estimate_key_bits(const uint8_t *key, size_t size);

/** Prints the whole configuration in its canonical form, defaults included: parsing it again gives the same. */
void config_print(const struct config *config, FILE *stream);

struct config_peer *config_peer_by_number(const struct config *config, const char *number);
struct config_peer *config_peer_by_tunnel(const struct config *config, const char *tunnel);
struct config_peer *config_peer_by_if_id(const struct config *config, uint32_t if_id);
struct config_line *config_line_by_number(const struct config *config, const char *number);

#endif
