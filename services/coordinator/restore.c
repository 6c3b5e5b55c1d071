/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a starting coordinator takes over from the call records: hold-downs, and own calls for the hourly limit. */
#include <stdio.h>
#include <string.h>

#include "services/coordinator/restore.h"

void core_bar_calls(struct core *core, const char *why)
{
	core->calls_barred = why;
}

void core_restore_call(struct core *core, const char *tunnel, uint64_t age_usec)
{
	const struct coordinator_port *port = core->port;
	struct session *session = core_session_by_tunnel(core, tunnel);
	uint64_t placed_usec = port->mono_usec(port->context) - age_usec;

	if (session)
		admission_call_placed(session, placed_usec);
	else /* of a peer that is gone, but it cost money */
		call_window_add(&core->calls, placed_usec);
}

/* Each failure doubled it. */
static unsigned failures_until(const struct core *core, unsigned next_msec)
{
	unsigned failures = 0;

	for (unsigned msec = core->config->timer_msec[TIMER_HOLDDOWN]; msec && msec < next_msec;
	     msec *= 2)
		failures++;
	return failures;
}

bool session_resume_holddown(struct session *session)
{
	const struct coordinator_port *port = session->core->port;
	uint64_t now_usec = port->mono_usec(port->context);
	uint64_t remaining_msec;
	char cause[CAUSE_SIZE + 64];

	if (session->holddown_until_usec <= now_usec)
		return false;
	remaining_msec = (session->holddown_until_usec - now_usec) / 1000;
	snprintf(cause, sizeof(cause), "no calls for another %u.%u s, as before the restart: %s",
	         (unsigned)(remaining_msec / 1000), (unsigned)(remaining_msec % 1000 / 100),
	         session->cause);
	session_become(session, SESSION_HOLDDOWN, cause);
	port->start_timer(port->context, session, false, remaining_msec ? remaining_msec : 1);
	return true;
}

void core_restore_holddown(struct core *core, const char *tunnel, unsigned next_msec,
                           uint64_t remaining_msec, const char *cause)
{
	const struct coordinator_port *port = core->port;
	struct session *session = core_session_by_tunnel(core, tunnel);

	if (!session || session->attempt || session->state == SESSION_HOLDDOWN)
		return;
	session->holddown_msec = next_msec;
	session->failures = failures_until(core, next_msec);
	/* A clock that was set back may not hold a session down for longer than it was going to be. */
	if (remaining_msec > admission_longest_pause_msec(core))
		remaining_msec = admission_longest_pause_msec(core);
	session->pause_msec = (unsigned)remaining_msec;
	if (!remaining_msec)
		return;
	session->holddown_until_usec = port->mono_usec(port->context) + remaining_msec * 1000;
	snprintf(session->cause, sizeof(session->cause), "%s", cause);
	if (session->state == SESSION_READY)
		session_resume_holddown(session);
}
