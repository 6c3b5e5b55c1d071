/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What sip-agent found out and others must act upon: a line's SIP servers (nat-qos-agent admits them) and the routes of a WAN's lease
 * (track-agent writes them). Each is a whole set, ordered when it changes, when the other service comes back or shows another
 * one, and again until it is confirmed. Pure: no bus, no clock; no session waits for it. One thread.
 */
#ifndef VPNSIP_COORDINATOR_HANDOVER_H
#define VPNSIP_COORDINATOR_HANDOVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "services/common/config.h"

#define HANDOVER_ENTRIES 64

enum handover_kind { HANDOVER_SERVERS, HANDOVER_ROUTES };

/** IPv4 addresses, network order. Of a server only the address. */
struct handover_entry {
	uint32_t address, gateway; /* gateway 0 = on-link */
	uint32_t prefix_length;
};

/** Sorted, each entry once. */
struct handover_set {
	struct handover_entry entries[HANDOVER_ENTRIES];
	size_t count;
};

struct handover;

/** One order: the servers of a line, or the routes of a WAN. */
struct handover_item {
	struct handover *handover;
	enum handover_kind kind;
	const char *key; /* local number, or interface */
	bool is_known;   /* sip-agent has told; nothing is ordered before */
	struct handover_set wanted;
	bool is_confirmed; /* what is wanted is what the other service has */
	bool is_refused; /* it said no: not repeated until something changes or it shows its state */
	bool is_in_flight;
	bool is_stale;    /* changed since the order in flight left */
	uint64_t request; /* for the port's use */
	char cause[256];  /* of the last failure; "" = none since it was last confirmed */
	UT_hash_handle hh;
};

struct handover_port {
	/** Sends the item's set; handover_replied() follows, not from inside. */
	void (*order)(void *context, struct handover_item *item);
	/** Fires handover_retry(). */
	void (*start_timer)(void *context, uint64_t msec);
	void *context;
};

struct handover {
	const struct config *config;
	struct handover_port port;
	struct handover_item *items; /* servers, one a line; then routes, one a WAN */
	size_t item_count;
	struct handover_item *servers, *routes; /* the items by key */
	struct handover_set *leases;            /* routes as told for each line */
	bool *is_lease_known;
	uint64_t orders; /* since the start */
};

/** NULL when out of memory. `config` outlives it. */
struct handover *handover_create(const struct config *config, const struct handover_port *port);
void handover_destroy(struct handover *handover);

/** Adds an entry to a set that is being collected; beyond HANDOVER_ENTRIES it is left out. */
void handover_add(struct handover_set *set, const struct handover_entry *entry);

/**
 * sip-agent's servers of this line. Without any nothing changes: one that has just started knows none yet, and its calls go on with
 * those of before.
 */
void handover_servers_told(struct handover *handover, const char *local_number,
                           const struct handover_set *servers);
/** The routes of the lease on the line's WAN; none is an answer too. */
void handover_routes_told(struct handover *handover, const char *local_number,
                          const struct handover_set *routes);

/** nat-qos-agent shows these servers for the line. */
void handover_servers_shown(struct handover *handover, const char *local_number,
                            const struct handover_set *servers);
/** track-agent's snapshot came: it may be a new one, and routes do not tell who wanted them, so they are ordered again. */
void handover_routes_shown(struct handover *handover);

enum handover_outcome { HANDOVER_DONE, HANDOVER_REFUSED, HANDOVER_UNANSWERED };

void handover_replied(struct handover_item *item, enum handover_outcome outcome, const char *cause);
/** The timer ran out. */
void handover_retry(struct handover *handover);

#endif
