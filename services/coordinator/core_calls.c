/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sip-agent says about calls: whose they are, and what a change of one means to its session. */
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"

static struct session *session_by_call(struct core *core, const char *call_id)
{
	for (size_t i = 0; i < core->session_count; i++)
		if (core->sessions[i].attempt && !strcmp(core->sessions[i].call_id, call_id))
			return &core->sessions[i];
	return NULL;
}

static bool was_answered(Vpnsip__CallStatus status)
{
	return status == VPNSIP__CALL_STATUS__CALL_ANSWERED ||
	       status == VPNSIP__CALL_STATUS__CALL_ACCEPTED ||
	       status == VPNSIP__CALL_STATUS__CALL_CONFIRMED;
}

/* What a change of the session's own call means to it; SESSION_EVENT_COUNT for nothing. */
static enum session_event_type event_of_status(Vpnsip__CallStatus was,
                                               const struct call_report *now)
{
	switch (now->status) {
	case VPNSIP__CALL_STATUS__CALL_RINGING:
		return EVENT_CALL_RINGING;
	case VPNSIP__CALL_STATUS__CALL_ANSWERED:
		return now->media ? EVENT_CALL_ANSWERED : SESSION_EVENT_COUNT;
	case VPNSIP__CALL_STATUS__CALL_CONFIRMED:
		return EVENT_CALL_CONFIRMED;
	case VPNSIP__CALL_STATUS__CALL_ENDING:
	case VPNSIP__CALL_STATUS__CALL_ENDED:
		return was_answered(was) ? EVENT_CALL_ENDED : EVENT_CALL_FAILED;
	default:
		return SESSION_EVENT_COUNT;
	}
}

static void own_call_changed(struct session *session, const struct call_report *report)
{
	Vpnsip__CallStatus was = session->call_status;
	struct session_event event = {.call = report, .cause = report->cause};

	/* The attempt names the call; a hint may have told its Call-ID wrongly. */
	if (strcmp(session->call_id, report->call_id) != 0)
		snprintf(session->call_id, sizeof(session->call_id), "%s", report->call_id);
	if (report->status == was)
		return;
	event.type = event_of_status(was, report);
	session->call_status = report->status;
	if (report->status == VPNSIP__CALL_STATUS__CALL_CONFIRMED)
		session->is_acknowledged = true;
	if (event.type != SESSION_EVENT_COUNT)
		session_handle(session, &event);
}

static void call_offered(struct core *core, const struct call_report *report)
{
	const struct coordinator_port *port = core->port;
	struct session *session = core_session_by_number(core, report->remote_number);
	struct session_event event = {.type = EVENT_CALL_OFFERED, .call = report};

	if (!session || strcmp(session->line->config->number, report->local_number) != 0) {
		log_session(LOG_NOTICE, NULL, report->remote_number,
		            "incoming call refused with 403: no peer has this number");
		port->reject(port->context, report->call_id, 403, "Forbidden", 0, NULL);
		return;
	}
	if (session->waiting.is_present && !strcmp(session->waiting.call_id, report->call_id))
		return;
	if (report->media)
		session_handle(session, &event);
}

/* A waiting caller may give up before it is served. */
static bool waiting_call_ended(struct core *core, const struct call_report *report)
{
	for (size_t i = 0; i < core->session_count; i++) {
		struct waiting_call *waiting = &core->sessions[i].waiting;

		if (waiting->is_present && !strcmp(waiting->call_id, report->call_id)) {
			waiting->is_present = false;
			return true;
		}
	}
	return false;
}

static bool is_over(const struct call_report *report)
{
	return report->status == VPNSIP__CALL_STATUS__CALL_ENDED ||
	       report->status == VPNSIP__CALL_STATUS__CALL_ENDING;
}

static void hold_call(struct held_call *call, const struct call_report *report)
{
	if (is_over(report)) {
		call->is_present = false;
		return;
	}
	if (strcmp(call->call_id, report->call_id) != 0)
		memset(call, 0, sizeof(*call));
	call->is_present = true;
	snprintf(call->call_id, sizeof(call->call_id), "%s", report->call_id);
	call->attempt = report->attempt;
	call->direction = report->direction;
	call->status = report->status;
	call->is_restored = report->is_restored;
	call->started_wall_usec = report->started_wall_usec;
	call->answered_wall_usec = report->answered_wall_usec;
	if (report->local) {
		call->has_local = true;
		call->local = *report->local;
	}
	if (report->media) {
		call->has_remote = true;
		call->remote = *report->media;
	}
}

/* Whose tunnel the call says it is; an offered one says it by its numbers. */
static struct session *session_by_report(struct core *core, const struct call_report *report)
{
	if (report->tunnel && report->tunnel[0])
		return core_session_by_tunnel(core, report->tunnel);
	return core_session_by_number(core, report->remote_number);
}

/* While what runs is being read no call is a stray. Of two of one tunnel the older is. */
static void call_found(struct session *session, const struct call_report *report)
{
	const struct coordinator_port *port = session->core->port;
	struct held_call *call = &session->held->call;
	bool is_same = !strcmp(call->call_id, report->call_id);

	if (is_over(report) && !is_same)
		return;
	if (call->is_present && !is_same) {
		bool is_newer = report->attempt > call->attempt;

		port->hang_up_stray(port->context, is_newer ? call->call_id : report->call_id);
		if (!is_newer)
			return;
	}
	hold_call(call, report);
}

void core_call_changed(struct core *core, const struct call_report *report)
{
	struct session *named = session_by_report(core, report);
	struct session *session = named && report->attempt && named->attempt == report->attempt
	                                  ? named
	                                  : NULL;

	/* Before it is answered an offered call has no attempt. */
	if (!session && report->direction == VPNSIP__DIRECTION__INCOMING)
		session = session_by_call(core, report->call_id);
	if (session) {
		hold_call(&session->held->call, report);
		own_call_changed(session, report);
	} else if (report->status == VPNSIP__CALL_STATUS__CALL_OFFERED) {
		call_offered(core, report);
	} else if (is_over(report) && waiting_call_ended(core, report)) {
		return;
	} else if (named && named->state == SESSION_ADOPTING) {
		call_found(named, report);
	} else if (!is_over(report) && report->is_event) {
		core->port->look_again(core->port->context, VPNSIP__SERVICE__SIP_AGENT);
	} else if (!is_over(report)) {
		core->counters.strays++;
		core->port->hang_up_stray(core->port->context, report->call_id);
	}
}
