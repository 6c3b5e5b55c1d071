/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"

#define HOUR_USEC 3600000000ull

/* Whoever asks for more than this by Retry-After would bar a number as good as for ever; for less, make us a flood. */
#define RETRY_AFTER_MAXIMUM_MSEC 3600000u
#define RETRY_AFTER_MINIMUM_MSEC 5000u

static uint64_t now_usec(const struct core *core)
{
	return core->port->mono_usec(core->port->context);
}

int call_window_open(struct call_window *window, unsigned limit)
{
	window->size = limit;
	window->times_usec = limit ? calloc(limit, sizeof(*window->times_usec)) : NULL;
	return limit && !window->times_usec ? -1 : 0;
}

void call_window_close(struct call_window *window)
{
	free(window->times_usec);
}

void call_window_add(struct call_window *window, uint64_t time_usec)
{
	if (window->size)
		window->times_usec[window->count++ % window->size] = time_usec;
}

/* Before the machine was started the monotonic clock goes below 0: differences stay right. */
static unsigned window_used(const struct call_window *window, uint64_t now)
{
	uint64_t oldest = window->count > window->size ? window->count - window->size : 0;
	uint64_t i = window->count;

	while (i > oldest && now - window->times_usec[(i - 1) % window->size] < HOUR_USEC)
		i--;
	return (unsigned)(window->count - i);
}

static unsigned count_busy(const struct core *core, const struct line *line)
{
	unsigned count = 0;

	for (size_t i = 0; i < core->session_count; i++)
		count += core->sessions[i].attempt != 0 &&
		         (!line || core->sessions[i].line == line);
	return count;
}

static unsigned sessions_limit(const struct admission_subject *subject)
{
	return subject->core->config->maximum_sessions;
}

static unsigned sessions_used(const struct admission_subject *subject)
{
	return count_busy(subject->core, NULL);
}

static unsigned line_calls_limit(const struct admission_subject *subject)
{
	return subject->line->config->maximum_calls;
}

static unsigned line_calls_used(const struct admission_subject *subject)
{
	return count_busy(subject->core, subject->line);
}

static unsigned calls_per_hour_limit(const struct admission_subject *subject)
{
	return subject->core->config->maximum_calls_per_hour;
}

static unsigned calls_per_hour_used(const struct admission_subject *subject)
{
	return window_used(&subject->core->calls, now_usec(subject->core));
}

static unsigned peer_calls_per_hour_limit(const struct admission_subject *subject)
{
	return subject->session->peer->maximum_calls_per_hour;
}

static unsigned peer_calls_per_hour_used(const struct admission_subject *subject)
{
	return window_used(&subject->session->calls, now_usec(subject->core));
}

static unsigned setups_limit(const struct admission_subject *subject)
{
	return subject->core->config->maximum_setups;
}

static unsigned setups_used(const struct admission_subject *subject)
{
	const struct core *core = subject->core;
	unsigned count = 0;

	for (size_t i = 0; i < core->session_count; i++) {
		enum session_state state = core->sessions[i].state;

		count += state == SESSION_CALLING || state == SESSION_RINGING ||
		         state == SESSION_NEGOTIATING;
	}
	return count;
}

static unsigned call_length_limit(const struct admission_subject *subject)
{
	return subject->session->peer->maximum_call_sec;
}

static unsigned call_length_used(const struct admission_subject *subject)
{
	uint64_t since_usec = subject->session->answered_usec;

	return since_usec ? (unsigned)((now_usec(subject->core) - since_usec) / 1000000) : 0;
}

const struct admission_guard_description admission_guards[GUARD_COUNT] = {
	[GUARD_SESSIONS] = {"sessions", SCOPE_ALL, "the maximum number of sessions is reached", 486,
                            "Busy Here", sessions_limit, sessions_used},
	[GUARD_LINE_CALLS] = {"concurrent-calls", SCOPE_LINE,
                              "the maximum number of calls of the line is reached", 486,
                              "Busy Here", line_calls_limit, line_calls_used},
	[GUARD_CALLS_PER_HOUR] = {"calls-per-hour", SCOPE_ALL,
                                  "the maximum number of calls per hour is reached", 0, NULL,
                                  calls_per_hour_limit, calls_per_hour_used},
	[GUARD_PEER_CALLS_PER_HOUR] =
		{"calls-per-hour", SCOPE_PEER,
                 "the maximum number of calls per hour to this peer is reached", 0, NULL,
                 peer_calls_per_hour_limit, peer_calls_per_hour_used},
	[GUARD_SETUPS] = {"setups", SCOPE_ALL, "too many sessions are being set up", 503,
                          "Service Unavailable", setups_limit, setups_used},
	[GUARD_CALL_LENGTH] = {"call-length", SCOPE_PEER, "maximum-call", 0, NULL,
                               call_length_limit, call_length_used},
};

static bool is_reached(const struct session *session, enum admission_guard guard)
{
	const struct admission_guard_description *description = &admission_guards[guard];
	const struct admission_subject subject = {session->core, session->line, session};
	unsigned limit = description->limit(&subject);

	return limit && description->used(&subject) >= limit;
}

enum admission_guard admission_bars_call(const struct session *session)
{
	enum admission_guard guard = 0;

	while (guard < GUARD_CALL_LENGTH && !is_reached(session, guard))
		guard++;
	return guard < GUARD_CALL_LENGTH ? guard : GUARD_COUNT;
}

enum admission_guard admission_bars_offer(const struct session *session)
{
	enum admission_guard guard = 0;

	while (guard < GUARD_COUNT &&
	       !(admission_guards[guard].offer_status && is_reached(session, guard)))
		guard++;
	return guard;
}

const struct admission_tally *admission_tally(const struct admission_subject *subject,
                                              enum admission_guard guard)
{
	switch (admission_guards[guard].scope) {
	case SCOPE_LINE:
		return &subject->line->refused_calls;
	case SCOPE_PEER:
		return guard == GUARD_CALL_LENGTH ? &subject->session->ended_calls
		                                  : &subject->session->refused_calls;
	default:
		return &subject->core->tallies[guard];
	}
}

static void count(struct session *session, enum admission_guard guard, const char *cause)
{
	const struct coordinator_port *port = session->core->port;
	const struct admission_subject subject = {session->core, session->line, session};
	/* The session owns, or its line or core does, what it points to. */
	struct admission_tally *tally = (struct admission_tally *)admission_tally(&subject, guard);

	tally->refused++;
	tally->refused_wall_usec = port->wall_usec(port->context);
	snprintf(tally->cause, sizeof(tally->cause), "%s: %s", session->peer->tunnel, cause);
}

void admission_refused(struct session *session, const char *cause)
{
	for (enum admission_guard guard = 0; guard < GUARD_COUNT; guard++)
		if (cause == admission_guards[guard].cause)
			count(session, guard, cause);
}

void admission_call_placed(struct session *session, uint64_t placed_usec)
{
	call_window_add(&session->core->calls, placed_usec);
	call_window_add(&session->calls, placed_usec);
}

/* Up to the next moment at which something is due; 0 = nothing is any more. */
static uint64_t next_length_msec(const struct session *session, uint64_t lasted_msec)
{
	uint64_t limit_msec = session->peer->maximum_call_sec * 1000ull;
	uint64_t warning_msec = session->core->config->timer_msec[TIMER_CALL_WARNING];

	if (!session->is_length_warned && warning_msec > lasted_msec &&
	    (!limit_msec || warning_msec < limit_msec))
		return warning_msec - lasted_msec;
	if (!limit_msec)
		return 0;
	return limit_msec > lasted_msec ? limit_msec - lasted_msec : 1;
}

static void watch_length(struct session *session)
{
	const struct coordinator_port *port = session->core->port;
	uint64_t lasted_msec = (now_usec(session->core) - session->answered_usec) / 1000;

	port->start_call_timer(port->context, session, next_length_msec(session, lasted_msec));
}

void admission_call_answered(struct session *session, uint64_t answered_usec)
{
	session->answered_usec = answered_usec;
	session->is_length_warned = false;
	watch_length(session);
}

void admission_call_ended(struct session *session)
{
	const struct coordinator_port *port = session->core->port;

	if (session->answered_usec)
		port->start_call_timer(port->context, session, 0);
	session->answered_usec = 0;
}

void admission_call_timeout(struct session *session)
{
	unsigned limit_sec = session->peer->maximum_call_sec;
	uint64_t warning_msec = session->core->config->timer_msec[TIMER_CALL_WARNING];
	uint64_t lasted_msec = (now_usec(session->core) - session->answered_usec) / 1000;
	char cause[CAUSE_SIZE];
	const struct session_event too_long = {.type = EVENT_CALL_TOO_LONG, .cause = cause};

	if (!session->answered_usec)
		return;
	if (limit_sec && lasted_msec >= limit_sec * 1000ull) {
		snprintf(cause, sizeof(cause), "maximum-call %u s", limit_sec);
		count(session, GUARD_CALL_LENGTH, cause);
		session_handle(session, &too_long);
		return;
	}
	if (!session->is_length_warned && lasted_msec >= warning_msec) {
		session->is_length_warned = true;
		log_session(LOG_WARNING, session->peer->tunnel, session->peer->number,
		            "the call has lasted %u s and goes on (call-warning)",
		            (unsigned)(lasted_msec / 1000));
	}
	watch_length(session);
}

static const struct failure_class temporary = {"temporary", NULL, 1, 1};
static const struct failure_class permanent = {"permanent", NULL, 10, 12};
static const struct failure_class redirected = {"redirected", "a redirection is never followed", 10,
                                                12};
static const struct failure_class unacceptable = {"unacceptable", NULL, 10, 0};
static const struct failure_class glare = {"glare", NULL, 0, 0};

const struct failure_class *admission_failure_class(uint32_t sip_status)
{
	static const struct {
		uint32_t sip_status;
		const struct failure_class *class;
	} classes[] = {
		{401, &unacceptable}, {407, &unacceptable}, {488, &unacceptable},
		{606, &unacceptable}, {403, &permanent},    {404, &permanent},
		{410, &permanent},    {484, &permanent},    {603, &permanent},
		{604, &permanent},    {491, &glare},
	};

	if (sip_status >= 300 && sip_status < 400)
		return &redirected;
	for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
		if (classes[i].sip_status == sip_status)
			return classes[i].class;
	return &temporary;
}

uint64_t admission_longest_pause_msec(const struct core *core)
{
	uint64_t longest_msec = (uint64_t)permanent.limit_factor *
	                        core->config->timer_msec[TIMER_HOLDDOWN_MAXIMUM];

	return longest_msec > RETRY_AFTER_MAXIMUM_MSEC ? longest_msec : RETRY_AFTER_MAXIMUM_MSEC;
}

/* The other side knows best when it is back, also sooner than we would ask; but not again and again. */
static uint64_t heed_retry_after(const struct session *session, uint64_t pause_msec)
{
	uint64_t asked_msec = session->retry_after_sec * 1000ull;

	if (asked_msec > RETRY_AFTER_MAXIMUM_MSEC)
		asked_msec = RETRY_AFTER_MAXIMUM_MSEC;
	if (asked_msec && asked_msec < RETRY_AFTER_MINIMUM_MSEC)
		asked_msec = RETRY_AFTER_MINIMUM_MSEC;
	if (!asked_msec || (asked_msec < pause_msec && session->failures > 1))
		return pause_msec;
	return asked_msec;
}

uint64_t admission_pause_msec(struct session *session)
{
	const struct failure_class *class = admission_failure_class(session->failed_status);
	const unsigned *timer_msec = session->core->config->timer_msec;
	uint64_t first_msec = timer_msec[TIMER_HOLDDOWN];
	uint64_t maximum_msec = timer_msec[TIMER_HOLDDOWN_MAXIMUM];
	uint64_t pause_msec, limit_msec = class->limit_factor * maximum_msec;
	uint64_t next_maximum_msec = permanent.limit_factor * maximum_msec / permanent.factor;

	/* RFC 3261 section 14.1, for whoever has the Call-ID. */
	if (!class->factor)
		return 2100 + session->core->port->random(session->core->port->context) % 1900;
	if (session->holddown_msec == 0)
		session->holddown_msec = (unsigned)first_msec;
	session->failures++;
	pause_msec = (class->limit_factor ? session->holddown_msec : first_msec) * class->factor;
	if (class->limit_factor && pause_msec > limit_msec)
		pause_msec = limit_msec;
	session->holddown_msec *= 2;
	if (session->holddown_msec > next_maximum_msec)
		session->holddown_msec = (unsigned)next_maximum_msec;
	return heed_retry_after(session, pause_msec);
}
