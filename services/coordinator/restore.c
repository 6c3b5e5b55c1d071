/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a starting coordinator takes over from the call records: hold-downs, and own calls for the hourly limit. */
#include <stdio.h>
#include <string.h>

#include "services/coordinator/restore.h"

void core_bar_calls(struct core *core, const char *why)
{
	core->calls_barred = why;
}

void core_restore_call(struct core *core, uint64_t age_usec)
{
	const struct coordinator_port *port = core->port;

	/* Before the machine was started the monotonic clock goes below 0: differences stay right. */
	core->call_times_usec[core->call_count++ % CALLS_REMEMBERED] =
		port->mono_usec(port->context) - age_usec;
}

/* A clock that was set back may not hold a session down for longer than it was going to be. */
static uint64_t longest_holddown_msec(const struct core *core)
{
	return core->config->timer_msec[TIMER_HOLDDOWN_MAXIMUM];
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
	if (remaining_msec > longest_holddown_msec(core))
		remaining_msec = longest_holddown_msec(core);
	if (!remaining_msec)
		return;
	session->holddown_until_usec = port->mono_usec(port->context) + remaining_msec * 1000;
	snprintf(session->cause, sizeof(session->cause), "%s", cause);
	if (session->state == SESSION_READY)
		session_resume_holddown(session);
}
