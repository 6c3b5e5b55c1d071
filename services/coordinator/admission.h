/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Cost guards: how many calls there may be, at once and within an hour, how long one may last, and how long no own call is placed
 * after one that failed. Tables over the core's sessions. Pure; one thread.
 */
#ifndef VPNSIP_COORDINATOR_ADMISSION_H
#define VPNSIP_COORDINATOR_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core;
struct line;
struct session;

/** In the order in which they are asked. */
enum admission_guard {
	GUARD_SESSIONS,
	GUARD_LINE_CALLS,
	GUARD_CALLS_PER_HOUR,
	GUARD_PEER_CALLS_PER_HOUR,
	GUARD_SETUPS,
	GUARD_CALL_LENGTH, /* bars no call: it ends one */
	GUARD_COUNT
};

/** What there is one limit for. */
enum admission_scope { SCOPE_ALL, SCOPE_LINE, SCOPE_PEER };

/** What a guard turned away or ended. */
struct admission_tally {
	uint64_t refused;           /* since the start */
	uint64_t refused_wall_usec; /* the last; 0 = none */
	char cause[96];
};

/** When own calls were placed, monotonic: as many of the last as the limit is, the oldest overwritten. */
struct call_window {
	uint64_t *times_usec;
	size_t size; /* 0 = not counted */
	uint64_t count;
};

/** Of one line or session, or of the core: `line` and `session` are NULL where the scope is wider. */
struct admission_subject {
	const struct core *core;
	const struct line *line;
	const struct session *session;
};

struct admission_guard_description {
	const char *name; /* as shown: "calls-per-hour" */
	enum admission_scope scope;
	const char *cause;     /* as the session shows it */
	uint32_t offer_status; /* an offered call is refused with this; 0 = it bars own calls alone */
	const char *offer_reason;
	unsigned (*limit)(const struct admission_subject *subject); /* 0 = none */
	unsigned (*used)(const struct admission_subject *subject);
};

extern const struct admission_guard_description admission_guards[GUARD_COUNT];

/** Makes room for `limit` calls. 0, or -1 when out of memory. */
int call_window_open(struct call_window *window, unsigned limit);
void call_window_close(struct call_window *window);
void call_window_add(struct call_window *window, uint64_t time_usec);

/** The first guard that bars an own call of this session; GUARD_COUNT = none. Counts nothing. */
enum admission_guard admission_bars_call(const struct session *session);
/** The same for a call that is offered to it. */
enum admission_guard admission_bars_offer(const struct session *session);

/** Counts a refusal by the guard that has this cause; another cause is none of ours. */
void admission_refused(struct session *session, const char *cause);
const struct admission_tally *admission_tally(const struct admission_subject *subject,
                                              enum admission_guard guard);

/** An own call was placed at this monotonic time. */
void admission_call_placed(struct session *session, uint64_t placed_usec);

/** The call is answered since this monotonic time: from here it costs, and its length is watched. */
void admission_call_answered(struct session *session, uint64_t answered_usec);
/** The call is being ended. */
void admission_call_ended(struct session *session);
/** The timer of the call's length ran out: warned about, ended, or not yet. */
void admission_call_timeout(struct session *session);

/** What a failed own call means for the next one, by its final response (0 = none came). */
struct failure_class {
	const char *name;
	const char *remark; /* for the cause; NULL = nothing to add */
	unsigned factor; /* of the hold-down as it stands; 0 = no hold-down: a moment, for it was no failure */
	unsigned limit_factor; /* of holddown-maximum; 0 = does not grow */
};
const struct failure_class *admission_failure_class(uint32_t sip_status);

/** The pause after a failed own call; the next one's is twice as long. Milliseconds. */
uint64_t admission_pause_msec(struct session *session);
/** The longest there is. */
uint64_t admission_longest_pause_msec(const struct core *core);

#endif
