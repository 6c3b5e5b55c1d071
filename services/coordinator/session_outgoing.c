/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The states of a session on its way up: READY_TO_CONNECT, CALLING, RINGING, NEGOTIATING_IKE. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/common/number.h"
#include "services/coordinator/core.h"
#include "services/coordinator/offer.h"
#include "services/coordinator/session.h"

static void ready_trigger(struct session *session, const char *cause)
{
	const char *refusal = core_call_refusal(session->core, session);

	if (!refusal) {
		session_begin_outgoing(session, cause);
		return;
	}
	session->core->counters.triggers_refused++;
	/* The trigger comes again each second: say it once. */
	if (strcmp(session->cause, refusal) != 0) {
		admission_refused(session, refusal);
		snprintf(session->cause, sizeof(session->cause), "%s", refusal);
		log_session(LOG_WARNING, session->peer->tunnel, session->peer->number,
		            "%s, but no call is placed: %s", cause, refusal);
		log_debug(LOG_ERRORS, session->peer->tunnel, session->peer->number, "%s", refusal);
		session->core->port->session_changed(session->core->port->context, session);
	}
}

void session_ready_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_TRIGGER:
		ready_trigger(session, "a packet waits at the tunnel");
		break;
	case EVENT_OPERATOR_CALL:
		ready_trigger(session, "call ordered by the operator");
		break;
	default:
		session_consider_offer(session, event->call);
		break;
	}
}

static void place_call_when_prepared(struct session *session)
{
	if (!session_has_finished(session, STEPS_PREPARING) ||
	    (session->ordered & BIT(STEP_PLACE_CALL)))
		return;
	if (session->core->calls_barred) {
		session_release(session, false, "%s", session->core->calls_barred);
		return;
	}
	admission_call_placed(session,
	                      session->core->port->mono_usec(session->core->port->context));
	session->core->counters.calls_placed++;
	session_order(session, STEP_PLACE_CALL);
}

/*
 * Both sides call at once: the lower number's call wins (its owner refuses the other's INVITE as busy), the higher
 * gives way and serves.
 */
static void resolve_crossing(struct session *session, const struct call_report *call)
{
	const struct coordinator_port *port = session->core->port;

	if (number_precedes(session->line->config->number, session->peer->number)) {
		port->reject(port->context, call->call_id, 486, "Busy Here", 0, NULL);
		log_session(LOG_INFO, session->peer->tunnel, session->peer->number,
		            "crossing calls: our number is lower, our call goes on");
		return;
	}
	session_keep_waiting(session, call);
	session_release(session, false, "crossing calls: giving way to the lower number's call");
}

/* Busy answers right after our own INVITE are most likely the other side's own call to us. */
static bool is_glare(const struct session *session, const struct call_report *call)
{
	const struct coordinator_port *port = session->core->port;
	uint64_t age_usec = port->mono_usec(port->context) - session->call_since_usec;

	return (call->sip_status == 480 || call->sip_status == 486 || call->sip_status == 491) &&
	       age_usec < 5000000 && session->glare_count == 0 && session->holddown_msec == 0;
}

static void own_call_failed(struct session *session, const struct session_event *event)
{
	const char *cause = event->cause && event->cause[0] ? event->cause : "the call ended";
	const char *remark;

	session->is_glare = is_glare(session, event->call);
	session->glare_count += session->is_glare;
	session->retry_after_sec = event->call->retry_after_sec;
	session->failed_status = event->call->sip_status;
	remark = admission_failure_class(session->failed_status)->remark;
	session_release(session, true, "%s%s%s%s", cause, remark ? " (" : "", remark ? remark : "",
	                remark ? ")" : "");
}

static void own_call_answered(struct session *session, const struct call_report *call)
{
	session->remote = *call->media;
	session->negotiated_kbit = call->media->bandwidth_kbit < session->local.bandwidth_kbit
	                                   ? call->media->bandwidth_kbit
	                                   : session->local.bandwidth_kbit;
	session->is_acknowledged = true;
	const char *refusal = answer_refusal(session);
	if (refusal) {
		session_release(session, true, "the answer is not acceptable: %s", refusal);
		return;
	}
	admission_call_answered(session,
	                        session->core->port->mono_usec(session->core->port->context));
	session_become(session, SESSION_NEGOTIATING, "call answered");
	session_order(session, STEP_INSTALL_TRANSLATION);
	session_order(session, STEP_INSTALL_SHAPER);
	session_order(session, STEP_SET_PEER);
}

bool session_blames_itself(struct session *session)
{
	bool was_placed = session->ordered & BIT(STEP_PLACE_CALL);

	return was_placed && session->own_faults++ > 0;
}

/* What ends an attempt in CALLING, RINGING and NEGOTIATING_IKE alike. */
static void attempt_ended(struct session *session, const struct session_event *event)
{
	const char *cause = event->cause ? event->cause : "";

	switch (event->type) {
	case EVENT_STEP_FAILED:
		session_refuse_offer_for(session, event->kind, cause);
		session_release(session, !event->is_unanswered || session_blames_itself(session),
		                "%s", cause);
		break;
	case EVENT_SERVICE_LOST:
		session_refuse_offer_for(session, VPNSIP__FAILURE_KIND__SYSTEM, cause);
		session_release(session, session_blames_itself(session), "%s", cause);
		break;
	case EVENT_OPERATOR_RELEASE:
	case EVENT_CALL_TOO_LONG:
		session_release(session, false, "%s", cause);
		break;
	case EVENT_LINE_LOST:
		session_release(session, false, "the line was lost: %s", cause);
		break;
	case EVENT_CALL_FAILED:
	case EVENT_CALL_ENDED:
		if (session->direction == VPNSIP__DIRECTION__OUTGOING)
			own_call_failed(session, event);
		else
			session_release(session, false, "%s",
			                cause[0] ? cause : "the caller gave up");
		break;
	default:
		break;
	}
}

void session_calling_handle(struct session *session, const struct session_event *event)
{
	unsigned answer_msec = session->core->config->timer_msec[TIMER_ANSWER];

	switch (event->type) {
	case EVENT_STEP_DONE:
		place_call_when_prepared(session);
		break;
	case EVENT_CALL_RINGING:
		session_become(session, SESSION_RINGING, "the other side rings");
		break;
	case EVENT_CALL_ANSWERED:
		own_call_answered(session, event->call);
		break;
	case EVENT_CALL_OFFERED:
		resolve_crossing(session, event->call);
		break;
	case EVENT_TIMEOUT:
		session_release(session, true, "no answer to the call (answer %u s)",
		                answer_msec / 1000);
		break;
	default:
		attempt_ended(session, event);
		break;
	}
}

void session_ringing_handle(struct session *session, const struct session_event *event)
{
	bool is_incoming = session->direction == VPNSIP__DIRECTION__INCOMING;

	switch (event->type) {
	case EVENT_STEP_DONE:
		if (is_incoming)
			session_advance_incoming(session);
		break;
	case EVENT_CALL_ANSWERED:
		if (!is_incoming)
			own_call_answered(session, event->call);
		break;
	case EVENT_CALL_OFFERED:
		if (is_incoming)
			session_supersede_offer(session, event->call);
		else
			resolve_crossing(session, event->call);
		break;
	case EVENT_CALL_CONFIRMED:
	case EVENT_IKE_UP:
		/* The reply to AnswerCall is still on its way; NEGOTIATING_IKE looks at both flags. */
		break;
	case EVENT_IKE_DOWN:
		session_release(session, true, "%s", event->cause);
		break;
	case EVENT_TIMEOUT:
		session_release(session, true, "no answer while ringing (ringing %u s)",
		                session->core->config->timer_msec[TIMER_RINGING] / 1000);
		break;
	default:
		attempt_ended(session, event);
		break;
	}
}

/* SESSION_UP needs IKE up and, when we were called, the ACK: in any order. */
void session_establish_when_complete(struct session *session)
{
	char cause[CAUSE_SIZE];

	if (session->ike_status != VPNSIP__IKE_STATUS__IKE_UP || !session->is_acknowledged ||
	    !session_has_finished(session, STEPS_PATH))
		return;
	session->established++;
	session->holddown_msec = 0;
	session->failures = 0;
	session->glare_count = 0;
	session->own_faults = 0;
	snprintf(cause, sizeof(cause), "IKE and IPsec are up, %u kbit/s", session->negotiated_kbit);
	session_become(session, SESSION_ESTABLISHED, cause);
	session_order(session, STEP_OPEN_TUNNEL);
}

static void start_ike_when_path_stands(struct session *session)
{
	if (session_has_finished(session, STEPS_IKE_PATH) &&
	    !(session->ordered & BIT(STEP_START_IKE)))
		session_order(session, STEP_START_IKE);
}

static void ike_timed_out(struct session *session)
{
	unsigned ike_sec = session->core->config->timer_msec[TIMER_IKE] / 1000;

	if (!session->is_acknowledged)
		session_release(session, true, "no ACK to our answer (ike-timeout %u s)", ike_sec);
	else if (session->ike_cause[0])
		session_release(session, true, "ike-timeout %u s: %s", ike_sec, session->ike_cause);
	else
		session_release(session, true, "ike-timeout %u s: no answer from the peer",
		                ike_sec);
}

void session_negotiating_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_STEP_DONE:
		/* Initiating before the caller has our answer would only meet a closed port. */
		if (session->direction == VPNSIP__DIRECTION__OUTGOING || session->is_acknowledged)
			start_ike_when_path_stands(session);
		session_establish_when_complete(session);
		break;
	case EVENT_CALL_CONFIRMED:
		start_ike_when_path_stands(session);
		session_establish_when_complete(session);
		break;
	case EVENT_IKE_UP:
		session_establish_when_complete(session);
		break;
	case EVENT_IKE_DOWN:
		session_release(session, true, "%s", event->cause);
		break;
	case EVENT_CALL_OFFERED:
		session_probe_for(session, event->call);
		break;
	case EVENT_PROBE_TIMEOUT:
		session_finish_probe(session);
		break;
	case EVENT_TIMEOUT:
		ike_timed_out(session);
		break;
	default:
		attempt_ended(session, event);
		break;
	}
}
