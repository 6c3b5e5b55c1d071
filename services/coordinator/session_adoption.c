/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ADOPTING: after our own start a session is what the other services hold; nothing of it is ended before they have said so. */
#include <stdio.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/core.h"
#include "services/coordinator/offer.h"
#include "services/coordinator/restore.h"
#include "services/coordinator/session.h"

/* Wall clock to monotonic; a call is never younger than now. */
static uint64_t monotonic_usec(const struct session *session, uint64_t moment_wall_usec)
{
	const struct coordinator_port *port = session->core->port;
	uint64_t now_usec = port->mono_usec(port->context);
	uint64_t wall_usec = port->wall_usec(port->context);
	uint64_t age_usec = wall_usec > moment_wall_usec ? wall_usec - moment_wall_usec : 0;

	if (!moment_wall_usec || age_usec >= now_usec)
		return now_usec;
	return now_usec - age_usec;
}

static void take_call(struct session *session)
{
	const struct held_call *call = &session->held->call;
	uint32_t local_kbit = call->local.bandwidth_kbit, remote_kbit = call->remote.bandwidth_kbit;

	session->attempt = session->last_attempt = call->attempt;
	session->direction = call->direction;
	snprintf(session->call_id, sizeof(session->call_id), "%s", call->call_id);
	session->call_status = call->status;
	session->call_since_usec = monotonic_usec(session, call->started_wall_usec);
	session->local = call->local;
	session->remote = call->remote;
	session->negotiated_kbit = remote_kbit < local_kbit ? remote_kbit : local_kbit;
	session->is_acknowledged = true;
	session->ike_status = session->held->ike_attempt == call->attempt
	                              ? session->held->ike_status
	                              : VPNSIP__IKE_STATUS__IKE_STATUS_UNSPECIFIED;
	session->ordered = session->finished = STEPS_PREPARING |
	                                       BIT(call->direction == VPNSIP__DIRECTION__OUTGOING
	                                                   ? STEP_PLACE_CALL
	                                                   : STEP_ANSWER_CALL);
}

/* It runs: nothing is ordered but what is missing. */
static void adopt(struct session *session)
{
	unsigned held = holdings_steps(session->held, session->attempt);
	unsigned missing = STEPS_RUNNING & ~held;
	char cause[CAUSE_SIZE];

	const struct held_call *call = &session->held->call;
	uint64_t answered_wall_usec = call->answered_wall_usec ? call->answered_wall_usec
	                                                       : call->started_wall_usec;

	session->core->counters.sessions_adopted++;
	admission_call_answered(session, monotonic_usec(session, answered_wall_usec));
	session->ordered |= held;
	session->finished |= held;
	session->cause[0] = '\0';
	if (!missing && session->ike_status == VPNSIP__IKE_STATUS__IKE_UP) {
		snprintf(cause, sizeof(cause), "adopted as attempt %llu, %u kbit/s",
		         (unsigned long long)session->attempt, session->negotiated_kbit);
		session_become(session, SESSION_ESTABLISHED, cause);
		return;
	}
	if (!missing)
		session->is_ike_pending = true;
	session_mend(session, missing, "adopted, but something of the session is missing");
}

/* Whatever may be left of it is ordered away, also what the snapshots did not show. */
static void end(struct session *session, const char *why)
{
	char cause[CAUSE_SIZE];

	snprintf(cause, sizeof(cause), "%s", why);
	session->core->counters.sessions_ended_at_start++;
	session->ordered |= STEPS_RUNNING;
	session_release(session, false, "%s", cause);
}

/* What the configuration or the line has against a session that could go on; NULL for nothing. */
static const char *objection(const struct session *session)
{
	const struct line *line = session->line;
	const struct sockaddr_storage *address = &session->held->call.local.address;

	if (session->is_unwanted)
		return session->cause;
	if (session->core->is_shutting_down)
		return "shutdown ordered by the operator";
	if (!session->peer->is_enabled)
		return "the peer is disabled";
	if (line->is_wan_known && !line->is_wan_up)
		return "the line was lost";
	if (line->is_wan_known && !address_is_equal(address, &line->wan_address))
		return "the WAN address changed";
	return NULL;
}

static void serve_waiting_call(struct session *session)
{
	const struct waiting_call waiting = session->waiting;
	const struct call_report call = {
		.call_id = waiting.call_id,
		.direction = VPNSIP__DIRECTION__INCOMING,
		.local_number = session->line->config->number,
		.remote_number = session->peer->number,
		.status = VPNSIP__CALL_STATUS__CALL_OFFERED,
		.media = &waiting.offer,
	};
	const struct session_event offered = {.type = EVENT_CALL_OFFERED, .call = &call};

	session->waiting.is_present = false;
	if (waiting.is_present)
		session_handle(session, &offered);
}

static void settle(struct session *session)
{
	const char *cause = NULL;
	enum adoption verdict = holdings_judge(session->held, &cause);

	if (verdict == ADOPT_RUNNING && (cause = objection(session)) != NULL)
		verdict = ADOPT_ENDED;
	session->is_unwanted = false;
	if (verdict != ADOPT_NOTHING)
		take_call(session);
	core_disown_strays(session);
	/* A call that waited is served by the state that follows; RELEASING serves it by itself. */
	if (verdict == ADOPT_ENDED) {
		end(session, cause);
		return;
	}
	if (verdict == ADOPT_RUNNING)
		adopt(session);
	else if (!session_resume_holddown(session))
		session_become(session, SESSION_READY, "nothing to adopt");
	serve_waiting_call(session);
}

void session_adopting_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_CALL_OFFERED:
		session_keep_waiting(session, event->call);
		break;
	case EVENT_OPERATOR_RELEASE:
		session->is_unwanted = true;
		snprintf(session->cause, sizeof(session->cause), "%s",
		         event->cause ? event->cause : "");
		break;
	default:
		settle(session);
		break;
	}
}
