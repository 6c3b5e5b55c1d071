/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP user agent on sofia-sip's nta: registrations and calls of all lines, on the thread of
 * the event base. What happens is told through struct sofia_events, always as the whole state of
 * one object. No header of sofia-sip is needed to use it.
 */
#ifndef VPNSIP_SIP_SOFIA_H
#define VPNSIP_SIP_SOFIA_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "services/sip-agent/call_core.h"
#include "services/sip-agent/number.h"
#include "services/sip-agent/server_list.h"

struct bus;
struct config;
struct event_base;
struct sofia;

/** Of P-Associated-URI no more are kept. */
#define REGISTRATION_ASSOCIATED_MAXIMUM 16

/** State of one line's registration. The strings live as long as the call that gets them. */
struct registration_report {
	const char *local_number;
	bool is_ordered; /* somebody wants it registered */
	bool is_registered;
	struct in_addr address; /* 0.0.0.0 = none */
	const char *registrar;
	const char *transport;
	const char *call_id;
	unsigned granted_sec;
	uint64_t expires_at_usec; /* monotonic; 0 while not registered */
	unsigned sip_status;
	const char *cause;
	const struct server_list *servers;             /* the one in use and all others */
	const char (*associated_numbers)[NUMBER_SIZE]; /* of P-Associated-URI */
	size_t associated_count;
	const char *alarm; /* somebody else is registered as this number; "" = nobody */
};

struct sofia_events {
	void (*registration_changed)(void *context, const struct registration_report *report);
	void (*call_changed)(void *context, const struct call *call);
};

struct sofia_options {
	struct event_base *base;
	struct bus *bus; /* its clock and randomness */
	const struct config *config;
	const char *state_directory; /* for the calls that a restart takes up */
	char *const *
		port_obstacles; /* per line, kept by the caller: NULL or why its port cannot be opened. NULL = not known */
	const struct sofia_events *events;
	void *context;
	bool is_guard_off; /* nothing is turned away: the control run of an attack's test */
};

/** How an order ended; matches FailureKind of the bus. */
enum sofia_outcome {
	SOFIA_DONE,
	SOFIA_STALE,
	SOFIA_UNKNOWN,
	SOFIA_UNREADY,
	SOFIA_GONE,
	SOFIA_UNSTORED, /* it could not be survived: sofia_store_failure() says why */
	SOFIA_FAILED
};

/** NULL after logging why. */
struct sofia *sofia_open(const struct sofia_options *options);

/** Leaves: nothing is hung up or deregistered. What was begun already (BYE, CANCEL) is given `msec` to be answered. */
void sofia_finish(struct sofia *sofia, unsigned msec);
void sofia_close(struct sofia *sofia);

/** Why the last call could not be written to the state directory; "" when it could. */
const char *sofia_store_failure(const struct sofia *sofia);

struct guard;

/** What the SIP guard has turned away, and how many calls are offered to us without a decision or an ACK. */
const struct guard *sofia_guard(const struct sofia *sofia, size_t *half_open);
bool sofia_guard_is_off(const struct sofia *sofia);

struct bus_description;

/** What stands inside: registrations, calls, owed requests, counters. */
void sofia_describe(const struct sofia *sofia, struct bus_description *description);

/**
 * Keeps the line registered from `address`. The same order again changes nothing; another address
 * ends the line's calls.
 */
enum sofia_outcome sofia_register_line(struct sofia *sofia, const char *number,
                                       struct in_addr address);

enum sofia_outcome sofia_deregister_line(struct sofia *sofia, const char *number);

struct server_list;
struct sip_server;

/**
 * The line's servers in order of use, and the domain of its From and To; NULL = not known yet. When the server in use or the
 * domain changes, a line that is ordered registers anew at once.
 */
void sofia_set_servers(struct sofia *sofia, const char *number, const struct sip_server *servers,
                       size_t count, const char *domain);

/** The servers of a line with their bars; NULL for a line that is not known. */
const struct server_list *sofia_servers(struct sofia *sofia, const char *number);

struct sofia_call_order {
	uint64_t attempt;
	const char *tunnel, *local_number, *remote_number;
	struct sdp_tunnel offer;
};

/**
 * Sends the INVITE once its record is on disk. Idempotent by attempt; an attempt below the tunnel's last one, or one that
 * was hung up before, is SOFIA_STALE.
 */
enum sofia_outcome sofia_place_call(struct sofia *sofia, const struct sofia_call_order *order);

/**
 * 200 with our answer to an offered call, once its record is on disk; one that cannot be stored is refused with 503.
 * Idempotent.
 */
enum sofia_outcome sofia_answer_call(struct sofia *sofia, const char *call_id, uint64_t attempt,
                                     const char *tunnel, const struct sdp_tunnel *answer);

struct sofia_refusal {
	unsigned sip_status;
	const char *reason;    /* phrase; "" = the standard one */
	unsigned warning_code; /* 0 = no Warning */
	const char *warning_text;
};

enum sofia_outcome sofia_reject_call(struct sofia *sofia, const char *call_id,
                                     const struct sofia_refusal *refusal);

/**
 * Ends a call in whatever state; named by `call_id` or, when that is "", by `attempt`. A call that
 * is not known is ended already.
 */
enum sofia_outcome sofia_hang_up(struct sofia *sofia, const char *call_id, uint64_t attempt,
                                 const char *cause);

/** Ends every call: nobody has decided about them for too long. Returns how many there were. */
size_t sofia_hang_up_all(struct sofia *sofia, const char *cause);

/** Calls the event functions for every line and call: the material of a snapshot. */
void sofia_tell_all(struct sofia *sofia, const struct sofia_events *events, void *context);

#endif
