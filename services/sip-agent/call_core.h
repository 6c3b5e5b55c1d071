/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One call: its states, what each event makes of them, and what is to be sent. Pure; sofia_call*.c carries it out. */
#ifndef VPNSIP_SIP_CALL_CORE_H
#define VPNSIP_SIP_CALL_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "services/sip-agent/number.h"
#include "services/sip-agent/sdp.h"

#define CALL_ID_SIZE     256
#define CALL_TUNNEL_SIZE 16
#define CALL_CAUSE_SIZE  256

enum call_state {
	CALL_STATE_CALLING,    /* outgoing: INVITE sent, nothing heard */
	CALL_STATE_PROCEEDING, /* outgoing: 100 received */
	CALL_STATE_RINGING,    /* outgoing: another provisional response received */
	CALL_STATE_CANCEL_OWED, /* outgoing: to be cancelled at the first provisional response (RFC 3261 section 9.1) */
	CALL_STATE_CANCELLING, /* outgoing: CANCEL sent, no final response yet */
	CALL_STATE_ANSWERED,   /* outgoing: 200 with a valid answer received, ACK sent */
	CALL_STATE_OFFERED,    /* incoming: waiting for the order */
	CALL_STATE_ACCEPTED,   /* incoming: 200 sent, no ACK yet */
	CALL_STATE_BYE_OWED, /* incoming: to be ended once the ACK is there (RFC 3261 section 15) */
	CALL_STATE_CONFIRMED, /* incoming: ACK received */
	CALL_STATE_LEAVING,   /* BYE sent */
	CALL_STATE_ENDED,
	CALL_STATE_COUNT
};

enum call_event {
	CALL_EVENT_TRYING,      /* 100 */
	CALL_EVENT_RINGING,     /* 101 to 199 */
	CALL_EVENT_GOOD_ANSWER, /* 2xx with an answer that fits the offer */
	CALL_EVENT_BAD_ANSWER,  /* 2xx without one */
	CALL_EVENT_REFUSED,     /* 300 to 699 to our INVITE, or no response */
	CALL_EVENT_HANG_UP,     /* order */
	CALL_EVENT_ACCEPT,      /* order */
	CALL_EVENT_REJECT,      /* order */
	CALL_EVENT_PEER_CANCEL,
	CALL_EVENT_PEER_BYE,
	CALL_EVENT_ACK,
	CALL_EVENT_NO_ACK, /* none within 64*T1 of the 200, or no PRACK of our 180 */
	CALL_EVENT_LOST,   /* session timer ran out, or the peer does not know the call any more */
	CALL_EVENT_BYE_DONE, /* final response to our BYE, or none: over either way */
	CALL_EVENT_DEADLINE, /* the state lasted longer than anything should */
	CALL_EVENT_COUNT
};

/** What the caller of call_core_handle() has to do, in this order. */
enum call_action {
	CALL_SEND_ACK = 1 << 0,
	CALL_SEND_CANCEL = 1 << 1,
	CALL_SEND_BYE = 1 << 2,
	CALL_SEND_ANSWER = 1 << 3,  /* 200 with our SDP */
	CALL_SEND_REFUSAL = 1 << 4, /* final response to the INVITE */
	CALL_REPORT = 1 << 5,       /* tell the coordinator */
	CALL_RESUME =
		1
		<< 6, /* ask the peer whether it still has the call, and go on with the session timer */
};

enum call_direction { CALL_OUTGOING = 1, CALL_INCOMING };

enum call_ended_by { CALL_NOT_ENDED, CALL_ENDED_BY_US, CALL_ENDED_BY_PEER, CALL_ENDED_BY_CARRIER };

/** What is known and told about a call. */
struct call {
	enum call_state state;
	enum call_direction direction;
	char call_id[CALL_ID_SIZE];
	uint64_t attempt;              /* 0 = none yet */
	char tunnel[CALL_TUNNEL_SIZE]; /* "" = none yet */
	char local_number[NUMBER_SIZE], remote_number[NUMBER_SIZE];
	struct sdp_tunnel local, remote;
	bool has_local, has_remote;
	unsigned sip_status; /* final response that ended it */
	unsigned retry_after_sec;
	char cause[CALL_CAUSE_SIZE];
	enum call_ended_by ended_by;
	uint64_t started_at_usec, answered_at_usec, ended_at_usec; /* wall clock */
	bool is_restored;                                          /* taken up from the store */
	bool is_end_estimated; /* nobody confirmed when it ended: at ended_at_usec at the latest */
	uint64_t ignored;      /* events outside the table */
};

/**
 * Takes an event: changes the state, the times and (unless already said) who ended the call.
 * Returns a set of enum call_action; 0 for an event outside the table, which is counted.
 */
unsigned call_core_handle(struct call *call, enum call_event event, uint64_t wall_usec);

/**
 * Takes up a call as the last process left it: what was unfinished ends, what was up goes on.
 * `is_acknowledged`: an ACK was sent or received. Returns a set of enum call_action, to be carried
 * out in their order.
 */
unsigned call_core_restore(struct call *call, bool is_acknowledged, uint64_t wall_usec);

/** Keeps the first cause that is given; printf format. */
void call_set_cause(struct call *call, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** How long a state may last before CALL_EVENT_DEADLINE is due; 0 = for ever. */
unsigned call_state_limit_sec(enum call_state state);

/** "CALLING" and so on. */
const char *call_state_name(enum call_state state);

/** "answered", "hang-up" and so on. */
const char *call_event_name(enum call_event event);

#endif
