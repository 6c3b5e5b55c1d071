/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the SIP guard counts and limits: event classes with a limited log, token buckets, Call-IDs that may not come again.
 * Pure: time comes in. Nothing here grows, whatever arrives.
 */
#ifndef VPNSIP_SIP_GUARD_CORE_H
#define VPNSIP_SIP_GUARD_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/common/event_class.h"

/** Why a message was turned away. */
enum guard_class {
	GUARD_FOREIGN_SOURCE, /* not from a server of the line */
	GUARD_MALFORMED,      /* no SIP message, or one without what every message has */
	GUARD_TOO_LARGE,      /* longer, or with more headers, than any honest one */
	GUARD_NO_TO_TAG,      /* a request for a call without its To tag */
	GUARD_FOREIGN_DIALOG, /* a request with a To tag for a call that we have not */
	GUARD_CSEQ_JUMP,      /* a sequence number that would shut out those that follow */
	GUARD_REPLAY,         /* the INVITE of a call that has ended */
	GUARD_HALF_OPEN,      /* too many calls without a decision or an ACK */
	GUARD_INVITE_RATE,    /* too many INVITEs in a second */
	GUARD_REQUEST_RATE,   /* too many other requests in a second */
	GUARD_ANONYMOUS,      /* the caller's number is withheld */
	GUARD_UNKNOWN_CALLER, /* the caller is no configured peer */
	GUARD_NOT_OUR_NUMBER, /* another number was called */
	GUARD_CLASS_COUNT
};

/** As in the log and `show vpn-sip guard`: "foreign-source". */
const char *guard_class_name(enum guard_class class);

/** Call-IDs of ended calls: as many as a carrier's day of calls has. */
#define GUARD_MEMORY 4096

struct guard {
	struct event_class classes[GUARD_CLASS_COUNT];
	uint64_t ended[GUARD_MEMORY]; /* hashes of Call-IDs, ring; 0 = none */
	uint64_t ended_next; /* how many there were; the place of the next one, modulo GUARD_MEMORY */
};

/** From now on an INVITE with this Call-ID is a repetition of something that was recorded. False when it was known already. */
bool guard_remember(struct guard *guard, const char *call_id);
bool guard_has_ended(const struct guard *guard, const char *call_id);

/** Lets `rate` a second pass, and up to `burst` at once. All zero is a full bucket. */
struct guard_bucket {
	uint64_t empty_usec; /* monotonic: when it would have been empty, filled since at the rate */
	bool is_used;
};

/** Takes one; false when there is none. `rate` and `burst` are at least 1. */
bool guard_bucket_take(struct guard_bucket *bucket, unsigned rate, unsigned burst,
                       uint64_t mono_usec);

/**
 * Whether a request's sequence number is too far above the last one of its dialog. A last one of 0 means that there was none: any
 * is right then (RFC 3261 section 8.1.1.5).
 */
bool guard_is_sequence_jump(uint32_t last, uint32_t next);

#endif
