/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One tunnel: who its peer is, what becomes of a packet, which conditions hold. Pure: the caller gives the time and
 * carries the packets; nothing is allocated per packet.
 */
#ifndef VPNSIP_TUNNEL_CORE_H
#define VPNSIP_TUNNEL_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "services/tunnel-agent/classify.h"
#include "services/tunnel-agent/drops.h"
#include "services/tunnel-agent/early.h"
#include "services/tunnel-agent/hold.h"
#include "services/tunnel-agent/outer_header.h"
#include "services/tunnel-agent/path_report.h"
#include "services/tunnel-agent/sa_table.h"

/*
 * SAs of a tunnel that nobody gave a peer (the coordinator is dead) or that no IKE session answers for (ike-agent is dead, or was
 * started anew and not told of the session) live this long.
 */
#define TUNNEL_ORPHAN_SA_USEC 60000000u

#define TUNNEL_SPI_REPORT_USEC 10000000u
#define TUNNEL_DUMMY_MAXIMUM   256

/* What a router of the path said is tried again after so long: the path may be another (RFC 1191 section 6.3). */
#define TUNNEL_PATH_MTU_USEC 600000000u

/* So many packets of an SA may have left since the one that a router's report quotes. */
#define TUNNEL_PATH_REPORT_WINDOW 65536

enum tunnel_state {
	TUNNEL_RESTING = 0, /* no peer, nothing held */
	TUNNEL_WANTING,     /* no peer, packets held: a call is wanted */
	TUNNEL_PEERED,      /* peer set, session not up: packets are held */
	TUNNEL_DRAINING,    /* session up, held packets leave first */
	TUNNEL_OPEN,        /* session up, packets pass */
	TUNNEL_STATE_COUNT
};

enum tunnel_verdict {
	TUNNEL_SEND = 1, /* seal it now */
	TUNNEL_HELD,
	TUNNEL_DROPPED,
	TUNNEL_TOO_BIG, /* dropped, and its sender is to be told so (see icmp_error.h) */
};

enum tunnel_order_result {
	ORDER_DONE = 1,
	ORDER_STALE,   /* a newer attempt is in force, or this one was cleared */
	ORDER_NO_PEER, /* OpenTunnel before SetPeer */
};

enum path_report_result {
	PATH_REPORT_REFUSED = 0, /* it quotes no packet that this tunnel has just sent */
	PATH_REPORT_KNOWN,       /* the path is known to be no wider */
	PATH_REPORT_NARROWS,
};

/** Fixed for the life of a tunnel. Strings and arrays are borrowed. */
struct tunnel_options {
	const char *name;
	uint32_t if_id;
	uint64_t idle_usec;
	uint64_t dead_usec;      /* 0 = dead peers are not watched for */
	uint64_t keepalive_usec; /* 0 = none are sent */
	uint64_t hold_usec;
	size_t hold_bytes;
	size_t largest_packet;
	unsigned load_interval_sec;
	const uint32_t *probe_targets;
	size_t probe_target_count;
	struct outer_policy outer;
	bool is_dual_overlay;      /* IPv6 inside too */
	unsigned dummy_rate;       /* dummy packets a second while open; 0 = by the interval */
	uint64_t dummy_usec;       /* a dummy after so long without ESP of ours; 0 = none */
	bool recovers_unknown_spi; /* asks ike-agent about SPIs that are not here */
};

/** Payload of one direction. */
struct tunnel_traffic {
	uint64_t packets, bytes;
	uint64_t last_usec; /* 0 = never in this session */
	uint64_t sampled_packets, sampled_bytes;
	double packet_rate, bit_rate; /* per second, averaged over the load interval */
};

struct tunnel {
	struct tunnel_options options;
	struct classify_context classify;
	enum tunnel_state state;
	uint64_t attempt;         /* of the peer that is set; 0 = none */
	uint64_t cleared_attempt; /* the newest one that is over */
	struct sockaddr_storage remote;
	struct sockaddr_storage heard_from; /* the newest authentic ESP packet; family 0 = none yet */
	bool is_newest; /* the packet that was opened last is authentic and the newest of its SA */
	uint32_t rate_kbit; /* negotiated; held packets leave at this rate */
	uint64_t next_release_usec;
	uint64_t wanting_since_usec;
	uint64_t opened_usec;
	uint64_t last_received_usec; /* anything authentic, or IKE, on the session */
	uint64_t last_sent_usec;     /* anything, on the session */
	bool is_covered;             /* ike-agent has a session for this tunnel */
	uint64_t orphaned_usec;   /* since when there are SAs without peer or cover; 0 = not so */
	unsigned orphans_removed; /* how often they were given up */
	uint64_t sampled_usec;
	bool is_idle, is_dead, is_one_way;
	bool has_sa_reports; /* an SA reached a limit: see tunnel_next_sa_report() */
	unsigned revision;   /* grows with every change worth telling at once; counters are not */
	struct tunnel_traffic in, out;
	struct sa_table sas;
	struct hold hold;
	struct early early;
	uint64_t early_packets; /* that came before their SA and were opened with it */
	size_t plain_mtu;  /* what fits into one outer packet; set by the owner, 0 = not known */
	unsigned path_mtu; /* as a router of the path said; 0 = none did */
	uint64_t path_mtu_usec; /* when it did */
	uint64_t sealed_usec;   /* when ESP was sent last */
	uint64_t dummy_at_usec; /* by rate: when the next one is due */
	uint64_t dummies_sent, sampled_dummies;
	uint64_t ecn_marked; /* inbound packets that met congestion */
	uint32_t unknown_spi;
	bool has_unknown_spi; /* to be told: see tunnel_next_unknown_spi() */
	uint64_t unknown_spi_reports, unknown_spi_usec;
	uint64_t drops[DROP_REASON_COUNT];
};

void tunnel_init(struct tunnel *tunnel, const struct tunnel_options *options);

/** Wipes the SAs and frees what the tunnel holds. */
void tunnel_destroy(struct tunnel *tunnel);

/** Whether a newer attempt than this one is in force, or this one is over. After a restart none is known to be. */
bool tunnel_is_stale(const struct tunnel *tunnel, uint64_t attempt);

/* Orders. Each may come again; a lower attempt than the one in force is stale. */
enum tunnel_order_result tunnel_set_peer(struct tunnel *tunnel, uint64_t attempt,
                                         const struct sockaddr_storage *remote, uint64_t now_usec);
enum tunnel_order_result tunnel_open(struct tunnel *tunnel, uint64_t attempt, uint32_t rate_kbit,
                                     uint64_t now_usec);
enum tunnel_order_result tunnel_clear_peer(struct tunnel *tunnel, uint64_t attempt,
                                           uint64_t now_usec);

/** An SA for this tunnel; see sa_install() and sa_remove(). */
int tunnel_install_sa(struct tunnel *tunnel, uint32_t spi, const struct esp_options *options,
                      const struct sa_terms *terms, uint64_t now_usec, const char **why);

/** The same for an SA that the kernel carries; see sa_enter(). */
int tunnel_enter_sa(struct tunnel *tunnel, uint32_t spi, bool is_inbound, const char *algorithms,
                    const struct sa_terms *terms, uint64_t now_usec, const char **why);

/** The kernel says that an SA of its own reached a limit. */
void tunnel_note_limit(struct tunnel *tunnel, bool is_inbound, uint32_t spi, bool is_hard);

void tunnel_remove_sa(struct tunnel *tunnel, bool is_inbound, uint32_t spi, uint64_t now_usec);

/** Whether ike-agent, as far as is known, has a session that answers for the tunnel's SAs. */
void tunnel_set_cover(struct tunnel *tunnel, bool is_covered, uint64_t now_usec);

/** A packet that the kernel routed into the interface: send, or it was held (copied) or dropped (counted). */
enum tunnel_verdict tunnel_take(struct tunnel *tunnel, const uint8_t *packet, size_t size,
                                uint64_t now_usec);

/**
 * Seals a packet in place with the newest SA (room as for esp_seal()). False: dropped and counted.
 */
bool tunnel_seal(struct tunnel *tunnel, uint8_t *inner, size_t inner_size, uint64_t now_usec,
                 uint8_t **packet, size_t *packet_size);

/**
 * Seals a dummy packet of a random size if one is due; `inner` is as for tunnel_seal(), with room for TUNNEL_DUMMY_MAXIMUM. False:
 * none is.
 */
bool tunnel_seal_dummy(struct tunnel *tunnel, uint8_t *inner, uint64_t now_usec, uint8_t **packet,
                       size_t *packet_size);

/** When tunnel_seal_dummy() has one; UINT64_MAX = not before other events. */
uint64_t tunnel_next_dummy_usec(const struct tunnel *tunnel, uint64_t now_usec);

/**
 * Keeps an ESP packet from `source` if its SA is not here yet but may come any moment. True: kept (copied), and
 * tunnel_take_early() gives it back.
 */
bool tunnel_keep_early(struct tunnel *tunnel, const struct sockaddr_storage *source,
                       const uint8_t *packet, size_t size, uint64_t now_usec);

/**
 * The next packet, in the order of arrival, that was kept for the inbound SA `spi`, into `packet` (room for
 * EARLY_OCTETS). Its size, or 0.
 */
size_t tunnel_take_early(struct tunnel *tunnel, uint32_t spi, uint8_t *packet);

/**
 * Checks and opens an ESP packet in place. True: `*inner` is a packet for the interface. False: dropped and counted.
 */
bool tunnel_unseal(struct tunnel *tunnel, uint8_t *packet, size_t packet_size, uint64_t now_usec,
                   uint8_t **inner, size_t *inner_size);

/**
 * The packet that tunnel_unseal() has just opened came from `source`. If it is the newest of its SA, and those before it came from where
 * ours go to, ours follow: true. A relay that sends from another port than it listens on is not followed.
 */
bool tunnel_hear_from(struct tunnel *tunnel, const struct sockaddr_storage *source);

/** The peer, known by its IKE, moved: packets that went to `from` go to `to`. False if they never did. */
bool tunnel_follow_peer(struct tunnel *tunnel, const struct sockaddr_storage *from,
                        const struct sockaddr_storage *to);

/**
 * Takes what a router of the path says, if it knows what only those on the path can know. Else `*why` is what it does not know:
 * DROP_REPORT_PEER when it is not about this tunnel at all. Counting is the caller's.
 */
enum path_report_result tunnel_take_path_report(struct tunnel *tunnel,
                                                const struct path_report *report, uint64_t now_usec,
                                                enum drop_reason *why);

/** The outer header of a packet. What any IPv6 link takes is fragmented on a path that does not (RFC 2473 section 7.1). */
struct outer_fields tunnel_outer_of(const struct tunnel *tunnel, const uint8_t *inner, size_t size);

/** The largest packet like this one that gets through: what its sender is told after TUNNEL_TOO_BIG. */
size_t tunnel_fitting_size(const struct tunnel *tunnel, const uint8_t *inner);

/** Carries the congestion mark of the outer header into the unsealed packet. False: dropped and counted. */
bool tunnel_take_ecn(struct tunnel *tunnel, uint8_t outer_tos, uint8_t *inner);

/** The next held packet that may leave now, copied into `packet` (room for the largest); 0 = none is due. */
size_t tunnel_release(struct tunnel *tunnel, uint8_t *packet, uint64_t now_usec);

/** When tunnel_release() has something; UINT64_MAX = not before other events. */
uint64_t tunnel_next_release_usec(const struct tunnel *tunnel, uint64_t now_usec);

/** An IKE message arrived on, or something was sent from, the session. */
void tunnel_note_received(struct tunnel *tunnel, uint64_t now_usec);
void tunnel_note_sent(struct tunnel *tunnel, uint64_t now_usec);

/** Whether the NAT's mapping needs a keepalive (RFC 3948 section 4) now. */
bool tunnel_needs_keepalive(const struct tunnel *tunnel, uint64_t now_usec);

/** Ends what is too old (held packets, SAs) and evaluates the conditions. Call it at least once a second. */
void tunnel_advance(struct tunnel *tunnel, uint64_t now_usec);

/** When a condition may change next, if nothing else happens; UINT64_MAX = not by time. */
uint64_t tunnel_next_deadline_usec(const struct tunnel *tunnel);

/** Updates the rates; call it about once a second. True when payload or dummies moved since the last call. */
bool tunnel_sample(struct tunnel *tunnel, uint64_t now_usec);

/** An SA that reached a limit, each limit once; NULL when all are told. */
const struct sa *tunnel_next_sa_report(struct tunnel *tunnel, bool *is_hard);

/** True, at most once in TUNNEL_SPI_REPORT_USEC: the peer of an open session sends ESP for this SPI, which is not here. */
bool tunnel_next_unknown_spi(struct tunnel *tunnel, uint32_t *spi);

/** Whether OpenTunnel is in force. */
bool tunnel_has_session(const struct tunnel *tunnel);

/** Condition: the tunnel is open, packets wait, and there is no SA to send them with. */
bool tunnel_wants_sa(const struct tunnel *tunnel, uint64_t now_usec);

/** Starts or stops the clock of orphaned SAs; for the parts of the core only. */
void tunnel_settle_orphans(struct tunnel *tunnel, uint64_t now_usec);

/** Moves on when the hold became empty or is not empty any more; for the parts of the core only. */
void tunnel_settle_hold(struct tunnel *tunnel, uint64_t now_usec);

#endif
