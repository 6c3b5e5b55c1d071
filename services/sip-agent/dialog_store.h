/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Calls on disk: what a restart needs to cancel an attempt, to refresh an established call, or to end it. One small file
 * a call in the state directory, to which a line is added with each change. It holds no secret.
 */
#ifndef VPNSIP_SIP_DIALOG_STORE_H
#define VPNSIP_SIP_DIALOG_STORE_H

#include "services/sip-agent/call_core.h"
#include "services/sip-agent/session_timer.h"

#define DIALOG_TEXT_SIZE   1024
#define DIALOG_BRANCH_SIZE 64
#define DIALOG_INVITE_SIZE 6144

/** A call and its dialog (RFC 3261 section 12) as they were last written. */
struct dialog_record {
	struct call call;
	char local[DIALOG_TEXT_SIZE],
		remote[DIALOG_TEXT_SIZE]; /* "<sip:...>;tag=..."; without tag before an answer */
	char routes[DIALOG_TEXT_SIZE];    /* route set in the order of sending; "" = none */
	char target[DIALOG_TEXT_SIZE];    /* the peer's Contact; before an answer the Request-URI */
	uint32_t local_sequence, remote_sequence; /* last CSeq of either side */
	char branch[DIALOG_BRANCH_SIZE]; /* Via branch of our INVITE; "" for an incoming call */
	uint32_t invite_sequence;        /* CSeq of our INVITE */
	bool is_acknowledged;            /* ACK sent or received */
	char invite[DIALOG_INVITE_SIZE]; /* the peer's, as far as a response needs it; "" = answered for good */
	struct in_addr wan_address;
	struct sdp_origin origin;
	char sdp[SDP_TEXT_SIZE]; /* ours as sent */
	struct session_timer timer;
	uint64_t refreshed_at_usec; /* wall clock; 0 = not established */
	bool peer_takes_update;
};

/**
 * Writes the record of its call, in place of what there was. `is_lasting`: it must outlive the machine's death too, not only ours. On
 * failure returns false, with the file and the error in `why`; what was there before stays.
 */
bool dialog_store_write(const char *directory, const struct dialog_record *record, bool is_lasting,
                        char *why, size_t why_size);

/**
 * The same where only the state of the call has changed since, with its times, its cause, the sequence numbers and the session
 * timer: cheaper, and not lasting.
 */
bool dialog_store_write_state(const char *directory, const struct dialog_record *record, char *why,
                              size_t why_size);

/** What was written of a call that was only offered becomes the record of its attempt, which is to be written next. */
void dialog_store_take_attempt(const char *directory, const struct call *call);

void dialog_store_remove(const char *directory, const struct call *call);

/** Hands every readable record to `take`. One that is damaged is logged and removed. */
void dialog_store_read(const char *directory,
                       void (*take)(void *context, const struct dialog_record *record),
                       void *context);

#endif
