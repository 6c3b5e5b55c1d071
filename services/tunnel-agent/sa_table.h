/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SAs of one tunnel. Inbound ones are found by SPI and stay until they are removed or their lifetime ends, so
 * that packets still under way after a rekey are served; outbound the newest usable one is taken. Pure.
 */
#ifndef VPNSIP_SA_TABLE_H
#define VPNSIP_SA_TABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "services/tunnel-agent/esp.h"
#include "services/tunnel-agent/replay.h"

/* Of one direction. Rekeying needs two; the rest is for a peer that leaves old ones. */
#define SA_MAXIMUM 16

#define SA_ALGORITHMS_SIZE 64

/** Limits of one SA; 0 = none. Soft ones are only reported, hard ones end it. */
struct sa_limits {
	uint64_t lifetime_usec;
	uint64_t soft_bytes, hard_bytes;
	uint64_t soft_packets, hard_packets;
};

/** How an SA is kept. */
struct sa_terms {
	unsigned replay_window; /* packets; 0 = off */
	struct sa_limits limits;
	uint64_t owner; /* which start of ike-agent made it */
};

/* A predecessor of another owner serves packets that are still under way for so long. */
#define SA_RETIRED_USEC 5000000u

struct sa {
	uint32_t spi;
	bool is_inbound;
	struct esp *esp; /* NULL: the kernel carries the packets, and counts them */
	char algorithms[SA_ALGORITHMS_SIZE]; /* as shown to the operator: "AES-GCM-16 128 ESN" */
	struct replay_window replay;         /* inbound */
	uint64_t sequence;                   /* outbound: last one sent */
	uint64_t sequence_limit;             /* outbound: the last one that may be sent */
	struct sa_limits limits;
	uint64_t owner;
	uint64_t retired_usec; /* since when an SA of another owner has its place; 0 = it is in force */
	uint64_t installed_usec;
	uint64_t last_used_usec; /* 0 = never */
	uint64_t packets;
	uint64_t bytes; /* inner octets, so both ends count the same */
	uint64_t replay_drops;
	uint64_t integrity_drops;
	bool is_soft_reached, is_hard_reached;
	bool is_soft_reported, is_hard_reported;
};

struct sa_table {
	struct sa *inbound[SA_MAXIMUM];
	struct sa *outbound[SA_MAXIMUM]; /* oldest first */
	unsigned inbound_count, outbound_count;
};

/**
 * Makes an SA and adds it. The same SPI in the same direction is left as it is (an order may come twice; starting anew
 * would repeat nonces). Those of other owners in its direction are retired: a new start of ike-agent knows nothing of them. -1 and
 * a reason when the algorithms do not fit or the table is full.
 */
int sa_install(struct sa_table *table, uint32_t spi, const struct esp_options *options,
               const struct sa_terms *terms, uint64_t now_usec, const char **why);

/**
 * Adds an SA whose packets the kernel carries, under the same rules. Its sequence numbers, counters and limits are told from
 * outside.
 */
int sa_enter(struct sa_table *table, uint32_t spi, bool is_inbound, const char *algorithms,
             const struct sa_terms *terms, uint64_t now_usec, const char **why);

/** Wipes and removes one SA; false when it is unknown. */
bool sa_remove(struct sa_table *table, bool is_inbound, uint32_t spi);

/** Wipes and removes all. */
void sa_remove_all(struct sa_table *table);

struct sa *sa_find(const struct sa_table *table, bool is_inbound, uint32_t spi);

/** The newest SA that may still send, or NULL. */
struct sa *sa_find_outbound(const struct sa_table *table, uint64_t now_usec);

bool sa_is_usable(const struct sa *sa, uint64_t now_usec);

/** Counts one packet, and notes limits that it reached. True when one was reached just now. */
bool sa_count(struct sa *sa, size_t bytes, uint64_t now_usec);

/** When the lifetime of an SA ends; UINT64_MAX = never. */
uint64_t sa_expires_usec(const struct sa *sa);

#endif
