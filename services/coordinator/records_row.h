/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One call record while it is being made: what the session, sip-agent, ike-agent and tunnel-agent say about an attempt becomes
 * one row. Pure: no database, no clock, no bus.
 */
#ifndef VPNSIP_COORDINATOR_RECORDS_ROW_H
#define VPNSIP_COORDINATOR_RECORDS_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "coordinator.pb-c.h"
#include "services/coordinator/session.h"
#include "sip_agent.pb-c.h"
#include "tunnel_agent.pb-c.h"

#define RECORD_TUNNEL_SIZE 32
#define RECORD_NUMBER_SIZE 48

/** How long sip-agent keeps a call that is over in its snapshot. */
#define RECORD_REMEMBERED_USEC 32000000ull

/** Payload through a tunnel. */
struct record_traffic {
	uint64_t packets_in, bytes_in, packets_out, bytes_out;
};

/** The two clocks at one moment: wall clock since 1970, and the monotonic one. */
struct record_time {
	uint64_t wall_usec, mono_usec;
};

struct record {
	uint64_t attempt;
	char tunnel[RECORD_TUNNEL_SIZE];
	char local_number[RECORD_NUMBER_SIZE], remote_number[RECORD_NUMBER_SIZE];
	Vpnsip__Direction direction;
	char call_id[CALL_ID_SIZE];
	uint64_t started_at_usec, answered_at_usec, up_at_usec, ended_at_usec; /* wall; 0 = never */
	Vpnsip__RecordEnd end;
	uint32_t ended_by, sip_status, negotiated_kbit;
	char cause[CAUSE_SIZE];
	struct record_traffic traffic;
	/** tunnel-agent's totals up to which `traffic` counts: a restarted coordinator goes on from here. */
	struct record_traffic totals;

	/* What follows is not stored. */
	bool is_held;                    /* a session has this attempt */
	uint64_t opened_mono_usec;       /* when this process first knew of it */
	uint64_t answered_mono_usec;     /* 0 = the answer was not seen when it came */
	uint64_t reported_end_usec;      /* as sip-agent gave it last; 0 = not to this process */
	bool is_changed, has_new_totals; /* to be written at once; to be written some time */
};

/** A record for this attempt, RUNNING, started now. */
void record_begin(struct record *record, uint64_t attempt, const char *tunnel,
                  const struct record_time *now);

/** The session that has this attempt changed. In RELEASING, what never could be billed ends; the rest when sip-agent says so. */
void record_follow_session(struct record *record, const struct session *session,
                           const struct record_time *now);

/** The session has done with the attempt. */
void record_leave_session(struct record *record);

/** sip-agent said this about the call: in its snapshot, which is the truth, or in an event, which is a hint. */
void record_follow_call(struct record *record, const Vpnsip__CallChanged *call, bool is_event,
                        const struct record_time *now);

/** ike-agent knows better why it did not come up. */
void record_explain(struct record *record, const char *cause);

/** sip-agent certainly never sent the INVITE or the 200: nothing was billed. */
void record_refuse(struct record *record, const struct record_time *now);

/**
 * sip-agent does not know the call (any more): it ended unseen, now at the latest. A call that may have been answered unseen
 * counts from its start, so that the sum is never less than the carrier's.
 */
void record_settle(struct record *record, const struct record_time *now);

/** What passed the tunnel between two reports of tunnel-agent, which begins anew at 0 when it is restarted. */
struct record_traffic record_traffic_between(const struct record_traffic *earlier,
                                             const struct record_traffic *later);

void record_add_traffic(struct record *record, const struct record_traffic *more,
                        const struct record_traffic *totals);

/** Whether it can be forgotten once it is written. */
bool record_is_finished(const struct record *record);

/** The message's texts point into the record. */
void record_to_message(const struct record *record, Vpnsip__CallRecord *message);

#endif
