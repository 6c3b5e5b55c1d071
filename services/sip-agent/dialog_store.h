/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Established calls on disk: what is needed to refresh or end them after a restart. One small file
 * a call in the state directory, replaced as a whole. It holds no secret.
 */
#ifndef VPNSIP_SIP_DIALOG_STORE_H
#define VPNSIP_SIP_DIALOG_STORE_H

#include "services/sip-agent/call_core.h"
#include "services/sip-agent/session_timer.h"

#define DIALOG_TEXT_SIZE 1024

/** A call and its dialog (RFC 3261 section 12) as they were last written. */
struct dialog_record {
	struct call call;
	char local[DIALOG_TEXT_SIZE], remote[DIALOG_TEXT_SIZE]; /* "<sip:...>;tag=..." */
	char routes[DIALOG_TEXT_SIZE];            /* route set in the order of sending; "" = none */
	char target[DIALOG_TEXT_SIZE];            /* the peer's Contact */
	uint32_t local_sequence, remote_sequence; /* last CSeq of either side */
	struct in_addr wan_address;
	struct sdp_origin origin;
	char sdp[SDP_TEXT_SIZE]; /* ours as sent */
	struct session_timer timer;
	bool peer_takes_update;
};

/** Writes or replaces the record of its call (named by the attempt). False after logging why. */
bool dialog_store_write(const char *directory, const struct dialog_record *record);

void dialog_store_remove(const char *directory, uint64_t attempt);

/** Hands every readable record to `take`. One that is damaged is logged and removed. */
void dialog_store_read(const char *directory,
                       void (*take)(void *context, const struct dialog_record *record),
                       void *context);

#endif
