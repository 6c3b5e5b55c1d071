/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line's side of the bus: ask several services at once, wait a bounded time, keep what came. */
#ifndef VPNSIP_CLI_GATHER_H
#define VPNSIP_CLI_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "bus/bus.h"

/** Every question has this long; who has not answered is not asked again, so a command ends in time whatever hangs. */
#define GATHER_TIMEOUT_MSEC 1500
/** An order that ends calls waits for the release timer. */
#define ORDER_TIMEOUT_MSEC  2500

#define ALL_SERVICES                                                                            \
	(BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR) | BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT) |  \
	 BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT) | BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT) | \
	 BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT) | BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT))

/** What one service answered. */
struct gathered_service {
	bool is_asked, is_snapshot_wanted;
	Vpnsip__Envelope *snapshot; /* NULL = no answer */
	Vpnsip__Envelope *status;   /* body ServiceStatus; NULL = no answer */
	enum bus_outcome outcome;   /* of the status */
	unsigned process_id;        /* of a silent one, from its lock; 0 = it does not run */
	bool is_stopped;            /* that process has been stopped by a signal */
};

struct gathered {
	struct gathered_service services[VPNSIP__SERVICE__CLI];
	uint64_t now_mono_usec; /* when the last answer came: a silent service does not age the others' */
};

/** How the bus is reached. */
struct gather_options {
	const char *run_directory;
	const char *uid_map; /* NULL = the system users */
	Vpnsip__Service as;  /* who sends the orders; 0 = the command line */
};

/**
 * Asks each service of the set for its snapshot (if `wants_snapshots`) and its status, in parallel. Returns false and a
 * sentence in `why` when the bus cannot be opened at all. Free with gather_free().
 */
bool gather(const struct gather_options *options, unsigned services, bool wants_snapshots,
            struct gathered *gathered, char *why, size_t why_size);

void gather_free(struct gathered *gathered);

/** Whether this service has answered all that it was asked. */
bool gather_has_answered(const struct gathered_service *service);

/** Whether everything that was asked has been answered. */
bool gather_is_complete(const struct gathered *gathered);

/** "tunnel-agent does not answer (process 812 runs, but was silent for 1.5 s)". */
void gather_explain(const struct gathered *gathered, Vpnsip__Service service, char *text,
                    size_t size);

/** One order and what became of it. */
struct ordered {
	Vpnsip__Service to;
	const ProtobufCMessage *order;
	const char *session; /* NULL = none */
	enum bus_outcome outcome;
	Vpnsip__Envelope *reply; /* with BUS_DONE, unless out of memory; free with gather_forget() */
	char cause[256];         /* "" when done */
};

struct gatherer;

/** Reaches out for these services. NULL and a sentence in `why` when the bus cannot be opened. End with gather_end(). */
struct gatherer *gather_begin(const struct gather_options *options, unsigned services, char *why,
                              size_t why_size);

/**
 * Sends the orders in parallel and waits for all, at most `timeout_msec`, whatever hangs. May be called again: the second
 * round need not connect anew.
 */
void gather_ask(struct gatherer *gatherer, struct ordered *orders, size_t count,
                unsigned timeout_msec);

/** NULL is allowed. */
void gather_end(struct gatherer *gatherer);

/** gather_begin(), gather_ask() and gather_end(). False as gather(). */
bool gather_order(const struct gather_options *options, struct ordered *orders, size_t count,
                  unsigned timeout_msec, char *why, size_t why_size);

/** Frees the replies. */
void gather_forget(struct ordered *orders, size_t count);

/** Why one that was asked gave no answer: as gather_explain(). Of BUS_FAILED its cause. */
void gather_explain_order(const struct gather_options *options, const struct ordered *ordered,
                          unsigned timeout_msec, char *text, size_t size);

/** A bus for the command line, with `handlers` for monitor (or NULL). Signals are blocked by it. */
struct bus *gather_open(const struct gather_options *options, unsigned services, bool subscribes,
                        const struct bus_handlers *handlers, void *context, struct event_base *base,
                        char *why, size_t why_size);

#endif
