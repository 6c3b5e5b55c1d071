/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * trace: the life of one session attempt across all processes. trace.c asks the services, trace_attempts.c finds which attempt
 * is meant, trace_model.c puts the answers together, trace_text.c draws them; the last three are pure.
 */
#ifndef VPNSIP_CLI_TRACE_H
#define VPNSIP_CLI_TRACE_H

#include "services/cli/show.h"

#define TRACE_ATTEMPTS_MAXIMUM 256

/** What is known of an attempt beside its trace. Times are wall clock, 0 = unknown or not yet. */
struct trace_attempt {
	uint64_t attempt;
	char session[16], number[32];
	char cause[160]; /* "" while it runs */
	Vpnsip__Direction direction;
	uint64_t started_at_usec, ended_at_usec;
};

/** The newest first. */
struct trace_attempts {
	struct trace_attempt list[TRACE_ATTEMPTS_MAXIMUM];
	size_t count;
};

/** All attempts that the answers tell of; each may be NULL. */
void trace_attempts_collect(struct trace_attempts *attempts, const Vpnsip__CallRecordList *records,
                            const Vpnsip__CoordinatorSnapshot *coordinator,
                            const Vpnsip__SipSnapshot *sip);

/**
 * The attempt that the words mean: none or "last", "attempt N", or a session's tunnel or number for its newest. NULL after a
 * sentence in `why`.
 */
const struct trace_attempt *trace_attempts_find(const struct trace_attempts *attempts,
                                                const struct words *words, char *why,
                                                size_t why_size);

/** {"attempts": [...]}, of at most `limit`. */
json_t *trace_list_model(const struct trace_attempts *attempts, size_t limit);
show_text_fn trace_list_text;

/** What one service told. */
struct trace_part {
	Vpnsip__Service service;
	const Vpnsip__Trace *trace; /* NULL = no answer */
	uint64_t started_mono_usec; /* of the service; 0 = unknown */
};

/** The traces named in the entries of this attempt, at most `limit`, each once. Returns how many. */
size_t trace_ids(const struct trace_part *parts, size_t count, uint64_t *ids, size_t limit);

/**
 * The attempt as JSON: what is in struct trace_attempt, "entries" in the order of time, with "msec" since the first of them,
 * and "notes": whose part is lost or not whole.
 */
json_t *trace_model(const struct trace_attempt *attempt, const struct trace_part *parts,
                    size_t count);

/** A column for each process, the carrier and the peer, 120 characters wide. */
show_text_fn trace_ladder_text;

/** A line for each moment. */
show_text_fn trace_narrow_text;

#endif
