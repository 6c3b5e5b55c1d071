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
#include <uthash.h>

#include "services/common/timers.h"

#define CONFIG_DEFAULT_FILE "/etc/vpnsip/vpnsip.conf"

/** An address with a prefix length. */
struct config_prefix {
	struct sockaddr_storage address; /* port 0 */
	unsigned length;
};

/** SIP transports. A set of them is 1 << transport, ored. */
enum config_transport { TRANSPORT_SYSTEM, TRANSPORT_UDP, TRANSPORT_TCP, TRANSPORT_TLS };

enum config_url { URL_SYSTEM, URL_SIP, URL_SIPS, URL_TEL };

enum config_server_kind {
	SERVER_NONE,
	SERVER_ADDRESS, /* "198.51.100.5:5060" */
	SERVER_NAME,    /* "sip.example.ne.jp": looked up by RFC 3263 */
	SERVER_DHCP,    /* "dhcp": option 120 of the lease on the WAN */
};

/** Where a registrar is found. */
struct config_server {
	enum config_server_kind kind;
	struct sockaddr_storage address; /* SERVER_ADDRESS; port 0 = the transport's own */
	char *name;                      /* SERVER_NAME; else NULL */
	uint16_t port;                   /* as written; 0 = not written */
};

/** Bundles of what carriers want differently; each is an option of its own too. */
enum config_carrier { CARRIER_GENERIC = 1, CARRIER_NTT, CARRIER_CISCO };

enum config_caller_identity {
	CALLER_ASSERTED = 1, /* P-Asserted-Identity alone (RFC 3325) */
	CALLER_FROM,         /* P-Asserted-Identity, else From */
};

enum config_reliable { RELIABLE_OFF = 1, RELIABLE_SUPPORTED, RELIABLE_REQUIRED };

enum config_contact_user { CONTACT_TOKEN = 1, CONTACT_NUMBER };

enum config_choice { CHOICE_PROFILE, CHOICE_NO, CHOICE_YES };

/** line "0388881001" { ... }: a local number on a WAN interface. */
struct config_line {
	char *number; /* digits */
	char *wan_interface;
	struct sockaddr_storage
		gateway; /* family 0 = take it from the main table's default route on that interface */
	struct config_server registrar, secondary_registrar; /* registrar and proxy */
	enum config_url scheme; /* of the REGISTER's URIs: URL_SIP or URL_SIPS */
	char *domain; /* of To/From/Request-URI; default: the registrar's name or address; NULL: as the lease says */
	unsigned transports;                     /* set: listened on */
	enum config_transport session_transport; /* of our INVITEs; never SYSTEM */
	enum config_transport
		registrar_transport; /* of our REGISTERs; SYSTEM = as DNS says, else as session_transport */
	enum config_url url;         /* of the Request-URI of our INVITEs; never SYSTEM */
	char *user;                  /* digest user name; default: the number */
	char *credentials_file; /* holds the password; readable by sip-agent alone; NULL = no digest */
	bool allows_md5;        /* answers MD5 challenges */
	unsigned expires_sec;    /* asked for in REGISTER */
	unsigned retry_invite;   /* retransmissions of an INVITE until the server counts as dead */
	unsigned retry_register; /* the same of a REGISTER */
	unsigned register_retransmit_msec; /* first retransmission (T1) of a REGISTER; doubles */
	bool is_wan_exclusive;             /* drop whatever is forwarded in or out of the WAN */
	uint16_t sip_port;                 /* local, UDP and TCP; default 5060 */
	uint16_t tls_port;                 /* local; default 5061 */
	unsigned connection_aging_sec;     /* an idle TCP or TLS connection is closed after this */
	enum config_carrier carrier;
	/* What the carrier profile sets unless written; after reading never CHOICE_PROFILE. */
	enum config_choice uses_rport, sends_preferred_identity, reads_called_party,
		accepts_plain_fingerprint;
	enum config_contact_user contact_user;
	enum config_caller_identity caller_identity;
	enum config_reliable reliable_provisional;
	char *country_code;     /* "81": +81 in an identity becomes trunk_prefix; "" = none */
	char *trunk_prefix;     /* "0" */
	unsigned maximum_calls; /* at the same time on this line; 0 = as many as there are peers */
	unsigned guard_rate;    /* SIP packets a second from one source that the kernel lets pass */
	unsigned guard_burst;
	unsigned maximum_half_open; /* offered calls without a decision or an ACK */
	int line_number;            /* in the file, as in all structs below */
};

enum config_revocation {
	REVOCATION_NONE = 1, /* lists are not looked at */
	REVOCATION_CACHED, /* a list that is there and valid counts; without one a certificate is believed */
	REVOCATION_STRICT, /* without a valid list nobody is believed */
};

/** How a trustpoint's certificate is had (vpnsip pki). */
enum config_enrollment { ENROLLMENT_NONE = 1, ENROLLMENT_SCEP, ENROLLMENT_EST };

/** trustpoint "NAME" { ... }: a certificate of ours, its key, and who signs the other side's. */
struct config_trustpoint {
	char *name;
	char *certificate_file; /* PEM: ours first, then the intermediate ones; NULL = we show none */
	char *key_file;         /* PEM, 0600 */
	char *ca_file;          /* PEM: the roots that we believe; NULL = ours is self-signed */
	char *crl_file;         /* PEM or DER; written by vpnsip pki refresh; NULL = none */
	char *crl_url;          /* where it is fetched; NULL = as the CA's certificate says */
	enum config_revocation revocation;
	enum config_enrollment enrollment;
	char *enrollment_url;
	char *challenge_file; /* holds the challenge password; NULL = none */
	char *subject; /* of the request: "CN=branch1, O=Bank"; NULL = CN is the line's number */
	unsigned renewal_percent; /* of its life, after which vpnsip pki renews the certificate */
	int line_number;
};

/** crypto-signaling { ... }: which trustpoint SIP over TLS uses towards whom. The longest prefix wins. */
struct config_crypto_signaling {
	struct config_prefix remote_address; /* family 0 = the default */
	struct config_trustpoint *trustpoint;
	bool is_strict_cipher; /* forward secrecy and AEAD only (RFC 9325 section 4.2) */
	bool checks_subject;   /* the certificate names the server that we asked for (RFC 5922) */
	bool asks_client;      /* whoever connects must show a certificate too */
	int line_number;
};

/** certificate-map "NAME" { ... }: who of those that a CA signed is the peer. All rules that are written must hold. */
struct config_certificate_map {
	char *name;
	char *issuer_name; /* "OPERATOR TEXT" with co, nc, eq or ne, on the distinguished name; NULL = any */
	char *subject_name;     /* the same */
	char *alternative_name; /* the same, one of the subjectAltNames */
	int line_number;
};

/** ike-proposal "NAME" { ... }: lists of names, best first, parted by blanks. */
struct config_ike_proposal {
	char *name;
	char *encryption; /* "aes-cbc-128 aes-gcm-256" */
	char *integrity;  /* "sha256 sha384"; NULL with an AEAD alone */
	char *prf;        /* NULL = as integrity */
	char *group;      /* "14 19" */
	int line_number;
};

/** transform-set "NAME" { ... }: one ESP proposal. */
struct config_transform_set {
	char *name;
	char *encryption; /* "esp-gcm 128", "esp-aes 256", "esp-chacha20-poly1305" */
	char *integrity;  /* "esp-sha256-hmac"; NULL with an AEAD */
	int line_number;
};

enum config_authentication {
	AUTHENTICATION_PSK = 1,
	AUTHENTICATION_SELF_SIGNED, /* the certificate's fingerprint is all that is believed */
	AUTHENTICATION_CERTIFICATE, /* signed by a CA of the trustpoint */
};

enum config_match_identity { MATCH_KEY_ID = 1, MATCH_ANY, MATCH_CERTIFICATE_MAP };

struct config_ike_profile {
	char *name;
	enum config_authentication authentication;
	struct config_trustpoint *trustpoint; /* NULL with pre-shared keys */
	enum config_match_identity match_identity;
	struct config_certificate_map *certificate_map; /* with MATCH_CERTIFICATE_MAP */
	char *proposals; /* comma separated: strongSwan notation ("aes128-sha256-ecp256") or names of ike-proposal sections */
	bool allows_weak;              /* 3DES, MD5, SHA-1, groups 1, 2 and 5 may be negotiated */
	bool uses_fragmentation;       /* RFC 7383 */
	unsigned reauthentication_sec; /* 0 = never */
	unsigned nat_keepalive_sec;    /* 0 = none are sent */
	unsigned dpd_interval_sec;     /* 0 = off */
	unsigned dpd_retry_sec;
	unsigned lifetime_sec;
	bool sends_psk_fingerprint;
	bool allows_sha1; /* fingerprints by SHA-1 are taken, and sent beside SHA-256 */
	int line_number;
};

/** DF of the outer header. */
enum config_df_bit { DF_CLEAR = 1, DF_COPY, DF_SET };

/** Explicit congestion notification between the headers (RFC 6040), or none. */
enum config_ecn { ECN_PROPAGATE = 1, ECN_DISCARD };

enum config_fragmentation {
	FRAGMENT_BEFORE = 1, /* a packet too large for the tunnel is fragmented before encryption */
	FRAGMENT_AFTER,      /* the ESP packet is */
};

struct config_ipsec_profile {
	char *name;
	unsigned idle_msec; /* mandatory, idle-time in seconds (fractions allowed, for labs) */
	char *proposals; /* comma separated: "aes128gcm16-ecp256" or names of transform-set sections */
	char *pfs; /* "group19": of the proposals that name no group themselves; NULL = none */
	bool allows_weak;       /* HMAC-SHA-1 may be negotiated */
	unsigned replay_window; /* 0 = off, else 64 to 1024 */
	bool has_extended_sequence;
	unsigned lifetime_sec;
	uint64_t lifetime_byte;   /* 0 = none */
	uint64_t lifetime_packet; /* 0 = none */
	bool releases_one_way;
	enum config_df_bit df_bit;
	enum config_ecn ecn;
	bool copies_dscp;
	enum config_fragmentation fragmentation;
	unsigned dummy_rate; /* dummy packets a second while the session is up; 0 = by dummy_interval_sec */
	unsigned dummy_interval_sec; /* a dummy packet after so long without one of ours; 0 = none */
	bool recovers_invalid_spi;   /* ESP for an SPI that we do not know makes us ask the peer */
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
	bool is_dual_overlay; /* IPv6 inside the tunnel too */
	unsigned minimum_bandwidth_kbit; /* offers below are refused; default 64 or the configured one if lower */
	bool has_fingerprint;      /* pin */
	char fingerprint_hash[16]; /* "SHA-256" */
	uint8_t fingerprint[64];
	size_t fingerprint_size;
	unsigned mtu; /* 0 = by formula from the WAN's MTU */
	enum config_peer_source peer_source;
	enum config_transport session_transport; /* SYSTEM = the line's */
	enum config_url url;                     /* SYSTEM = the line's */
	unsigned maximum_call_sec;               /* a call this long is ended; 0 = never */
	unsigned maximum_calls_per_hour;         /* 0 = only the limit of all peers */
	struct config_line *line;
	struct config_ike_profile *ike_profile;
	struct config_ipsec_profile *ipsec_profile;
	int line_number;
};

#define CONFIG_KEY_ANY "*"

/** One entry of the keyring file. The key itself is only loaded by config_load_keyring(). */
struct config_key {
	char *name;
	char *key_id; /* SIP number; CONFIG_KEY_ANY: all numbers without an entry */
	uint8_t *key; /* raw octets as configured, no NUL */
	size_t key_size;
	int line_number;
	UT_hash_handle hh;
};

struct config_keyring {
	struct config_key *keys;
	size_t key_count;
	struct config_key *by_id; /* the same, made by config_load_keyring() */
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

/** Who carries ESP. */
enum config_data_plane {
	DATA_PLANE_AUTO = 1, /* the kernel where it has ESP and XFRM interfaces */
	DATA_PLANE_KERNEL,
	DATA_PLANE_USERSPACE,
};

/** Lines and peers sorted by what they are found by, made by config_index(). */
struct config_index {
	struct config_peer **peers_by_number, **peers_by_tunnel, **peers_by_if_id;
	struct config_line **lines_by_number;
};

struct config {
	char *file;
	char digest[65]; /* SHA-256 of the file, hexadecimal */
	bool is_enabled;
	struct sockaddr_storage tunnel_source;
	char *keyring_file; /* NULL = none */
	enum config_data_plane data_plane;
	unsigned ike_cookie_threshold;  /* half-open IKE_SAs from which on a cookie is asked for */
	unsigned maximum_half_open_ike; /* half-open IKE_SAs of all sessions */
	bool disconnects_revoked_peers; /* a session whose certificate a new list revokes is ended */
	bool logs_sessions; /* "logging": session up, down and failure at notice level */
	int log_level;
	uint16_t first_session_port, last_session_port;
	struct config_trustpoint *trustpoints;
	size_t trustpoint_count;
	struct config_certificate_map *certificate_maps;
	size_t certificate_map_count;
	struct config_ike_proposal *ike_proposals;
	size_t ike_proposal_count;
	struct config_transform_set *transform_sets;
	size_t transform_set_count;
	struct config_crypto_signaling *crypto_signalings;
	size_t crypto_signaling_count;
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
	struct config_index index;
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

/** The key of this number: its own, else the one of all numbers; NULL if there is neither. */
const struct config_key *config_key_for(const struct config_keyring *keyring, const char *number);

/** Wipes the keys and frees. */
void config_free_keyring(struct config_keyring *keyring);

/** Strength of a pre-shared key as an upper estimate in bits. */
unsigned config_estimate_key_bits(const uint8_t *key, size_t size);

/** Prints the whole configuration in its canonical form, defaults included: parsing it again gives the same. */
void config_print(const struct config *config, FILE *stream);

/** True if whoever carries the calls could put himself in between: a self-signed certificate without a pin, called without TLS. */
bool config_peer_trusts_carrier(const struct config_peer *peer);

/** Sorts what the config_..._by_...() functions find; config_load() has done it. False when out of memory. */
bool config_index(struct config *config);

/** What config_index() made. */
void config_free_index(struct config *config);

struct config_peer *config_peer_by_number(const struct config *config, const char *number);
struct config_peer *config_peer_by_tunnel(const struct config *config, const char *tunnel);
struct config_peer *config_peer_by_if_id(const struct config *config, uint32_t if_id);
/** Seconds of silence after which a peer is dead: dpd-interval + 5 x dpd-retry; 0 = never. */
unsigned config_dead_peer_sec(const struct config_ike_profile *profile);

/** What to use towards this address: the entry with the longest prefix, else the default; NULL if there is none. */
const struct config_crypto_signaling *config_crypto_signaling_for(
	const struct config *config, const struct sockaddr_storage *remote);

struct config_line *config_line_by_number(const struct config *config, const char *number);

#endif
