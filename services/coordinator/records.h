/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The call records: follows what the services report, writes one row an attempt, gives rows back. What it cannot write it keeps
 * and writes as soon as it can; meanwhile no call may be placed, for a call that is written down nowhere could be billed for
 * ever. Every function takes NULL for the records and then does nothing (a replay writes none). One thread.
 */
#ifndef VPNSIP_COORDINATOR_RECORDS_H
#define VPNSIP_COORDINATOR_RECORDS_H

#include "bus/bus.h"
#include "services/coordinator/records_store.h"

struct records;

struct records_options {
	const char *folder; /* of calls.db */
	unsigned keep_days; /* rows that ended longer ago are deleted */
	uint64_t (*wall_usec)(void *context);
	uint64_t (*mono_usec)(void *context);
	/** Why no call may be placed, or NULL when one may again. */
	void (*obstructed)(void *context, const char *why);
	/** The file could be read: what an earlier process left. At start, or as soon as it can be. */
	void (*readable)(void *context, struct records *records);
	void *context;
};

/** Opens the file; one that cannot be is tried again by records_tick(). NULL when out of memory. Calls `options` functions. */
struct records *records_create(const struct records_options *options);

/** Writes what is not written yet. */
void records_destroy(struct records *records);

/** About every RECORDS_TICK_MSEC: counters, what could not be written before, rows that are too old. */
void records_tick(struct records *records);
#define RECORDS_TICK_MSEC 5000

/*
 * What happened. When these return a row is safe from a kill, and an attempt's first one from a loss of power, or `obstructed` was
 * called.
 */
void records_session_changed(struct records *records, const struct session *session);
/** An event: a hint. Calls of the snapshot go to records_sip_snapshot(). */
void records_call_changed(struct records *records, const Vpnsip__CallChanged *call);
/** All calls that sip-agent knows: those it does not know have ended. */
void records_sip_snapshot(struct records *records, const Vpnsip__SipSnapshot *snapshot);
void records_ike_changed(struct records *records, const Vpnsip__IkeChanged *ike);
void records_tunnel_changed(struct records *records, const Vpnsip__TunnelChanged *tunnel);
/** PlaceCall or AnswerCall of this attempt was certainly not carried out. */
void records_refused(struct records *records, uint64_t attempt);

/** Calls `restored` for each hold-down as it stood last. */
void records_give_holddowns(struct records *records, records_holddown_fn *restored, void *context);
typedef void records_call_fn(void *context, const char *tunnel, uint64_t age_usec);
/** Calls `restored` with the age of each own call of the last hour, the oldest first. */
void records_give_recent_calls(struct records *records, records_call_fn *restored, void *context);
/** The greatest attempt there is; 0 without any. */
uint64_t records_last_attempt(struct records *records);

/** Answers GetCallRecords. */
void records_answer(struct records *records, struct bus_request *request,
                    const Vpnsip__GetCallRecords *query);

void records_describe(const struct records *records, struct bus_description *description);

#endif
