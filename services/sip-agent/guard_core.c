/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/guard_core.h"

#include <string.h>

#define USEC_PER_SEC      1000000ULL
/* Ten restarts of the other side within a call: each may skip a thousand. */
#define SEQUENCE_JUMP_MAX 10000u

const char *guard_class_name(enum guard_class class)
{
	static const char *const names[GUARD_CLASS_COUNT] = {
		[GUARD_FOREIGN_SOURCE] = "foreign-source",
		[GUARD_MALFORMED] = "malformed",
		[GUARD_TOO_LARGE] = "too-large",
		[GUARD_NO_TO_TAG] = "no-to-tag",
		[GUARD_FOREIGN_DIALOG] = "foreign-dialog",
		[GUARD_CSEQ_JUMP] = "cseq-jump",
		[GUARD_REPLAY] = "replay",
		[GUARD_HALF_OPEN] = "half-open",
		[GUARD_INVITE_RATE] = "invite-rate",
		[GUARD_REQUEST_RATE] = "request-rate",
		[GUARD_ANONYMOUS] = "anonymous",
		[GUARD_UNKNOWN_CALLER] = "unknown-caller",
		[GUARD_NOT_OUR_NUMBER] = "not-our-number",
	};

	return names[class];
}

/* FNV-1a. Who could make two Call-IDs collide could have chosen another one as well: nothing is gained by it. */
static uint64_t hash_of(const char *call_id)
{
	uint64_t hash = 14695981039346656037ULL;

	for (; *call_id; call_id++)
		hash = (hash ^ (unsigned char)*call_id) * 1099511628211ULL;
	return hash ? hash : 1;
}

bool guard_remember(struct guard *guard, const char *call_id)
{
	if (guard_has_ended(guard, call_id))
		return false;
	guard->ended[guard->ended_next++ % GUARD_MEMORY] = hash_of(call_id);
	return true;
}

bool guard_has_ended(const struct guard *guard, const char *call_id)
{
	const uint64_t hash = hash_of(call_id);

	for (size_t i = 0; i < GUARD_MEMORY; i++)
		if (guard->ended[i] == hash)
			return true;
	return false;
}

bool guard_bucket_take(struct guard_bucket *bucket, unsigned rate, unsigned burst,
                       uint64_t mono_usec)
{
	const uint64_t price = USEC_PER_SEC / rate, full = price * burst;

	if (!bucket->is_used || mono_usec - bucket->empty_usec > full)
		bucket->empty_usec = mono_usec - full;
	bucket->is_used = true;
	if (mono_usec - bucket->empty_usec < price)
		return false;
	bucket->empty_usec += price;
	return true;
}

bool guard_is_sequence_jump(uint32_t last, uint32_t next)
{
	return last != 0 && next > last && next - last > SEQUENCE_JUMP_MAX;
}
