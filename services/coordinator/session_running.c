/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The states that are shown as SESSION_UP: it runs, or something of it went away with the service that held it and is being made
 * again (MENDING) while traffic flows on what is left, or the peer ended its IKE_SA and will hang up in a moment (PARTING).
 */
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"
#include "services/coordinator/offer.h"
#include "services/coordinator/session.h"

/* What ends or shakes a running session, mended or not. */
static void running_handle(struct session *session, const struct session_event *event)
{
	const char *cause = event->cause ? event->cause : "";

	switch (event->type) {
	case EVENT_TUNNEL_IDLE:
		session_release(session, false, "idle for %g s",
		                session->peer->ipsec_profile->idle_msec / 1000.0);
		break;
	case EVENT_PEER_DEAD:
		session_release(session, false, "peer dead: %s", cause);
		break;
	case EVENT_IKE_DOWN:
		session_release(session, false, "IKE ended: %s", cause);
		break;
	case EVENT_CALL_FAILED:
	case EVENT_CALL_ENDED:
		session_release(session, false, "%s", cause[0] ? cause : "the other side hung up");
		break;
	case EVENT_OPERATOR_RELEASE:
	case EVENT_UNWATCHED:
	case EVENT_CALL_TOO_LONG:
		session_release(session, false, "%s", cause);
		break;
	case EVENT_LINE_LOST:
		session_release(session, false, "the line was lost: %s", cause);
		break;
	case EVENT_CALL_OFFERED:
		session_probe_for(session, event->call);
		break;
	case EVENT_PROBE_TIMEOUT:
		session_finish_probe(session);
		break;
	default:
		break;
	}
}

/* Nobody knows whether the order was carried out: it stands again when the next comparison shows it, else it is repeated. */
static void forget_step(struct session *session, enum step step)
{
	session->ordered &= ~BIT(step);
}

void session_established_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_STEP_FAILED:
		/* A probe that cannot be asked leaves the decision to its timer. */
		if (event->step == STEP_PROBE_PEER)
			break;
		if (event->step == STEP_START_IKE && event->is_unanswered)
			session->finished |=
				BIT(STEP_START_IKE); /* IKE is up: it was carried out */
		else if (event->is_unanswered)
			session_mend(session, BIT(event->step), event->cause);
		else
			session_release(session, true, "%s", event->cause ? event->cause : "");
		break;
	case EVENT_COMPARED:
		if (event->missing)
			session_mend(session, event->missing, event->cause);
		break;
	case EVENT_IKE_DOWN:
		if (session->ike_status == VPNSIP__IKE_STATUS__IKE_ENDED &&
		    !session->is_ike_ended_by_us && !session->probe_sent_usec)
			session_become(session, SESSION_PARTING, event->cause);
		else
			running_handle(session, event);
		break;
	default:
		running_handle(session, event);
		break;
	}
}

/* The first thing that is still missing, for the operator. */
static const char *missing_name(const struct session *session)
{
	unsigned missing = STEPS_RUNNING & ~session->finished;

	for (enum step step = 0; step < STEP_COUNT; step++)
		if (missing & BIT(step))
			return step_name(step);
	return "IKE";
}

static void mark_missing(struct session *session, unsigned missing)
{
	session->ordered &= ~missing;
	session->finished &= ~missing;
	/* An opened tunnel without a peer is none. */
	if (missing & BIT(STEP_SET_PEER)) {
		session->ordered &= ~BIT(STEP_OPEN_TUNNEL);
		session->finished &= ~BIT(STEP_OPEN_TUNNEL);
	}
	if (missing & BIT(STEP_START_IKE)) {
		session->is_ike_pending = true;
		session->ike_status = VPNSIP__IKE_STATUS__IKE_STATUS_UNSPECIFIED;
		session->ike_cause[0] = '\0';
	}
}

void session_mend(struct session *session, unsigned missing, const char *cause)
{
	session->core->counters.repairs++;
	mark_missing(session, missing);
	if (session->state != SESSION_MENDING)
		session_become(session, SESSION_MENDING, cause ? cause : "something is missing");
	session_advance_mending(session);
}

bool session_resume_ike(struct session *session)
{
	const struct coordinator_port *port = session->core->port;

	if (session->state != SESSION_MENDING || (session->ordered & BIT(STEP_START_IKE)) ||
	    !session_has_finished(session, STEPS_IKE_PATH))
		return false;
	session->core->counters.ike_resumed++;
	session_order(session, STEP_START_IKE);
	/* It may have queued: its time begins now. */
	port->start_timer(port->context, session, false,
	                  session->core->config->timer_msec[TIMER_IKE]);
	return true;
}

void session_advance_mending(struct session *session)
{
	static const enum step at_once[] = {STEP_INSTALL_TRANSLATION, STEP_INSTALL_SHAPER,
	                                    STEP_SET_PEER};

	for (size_t i = 0; i < sizeof(at_once) / sizeof(*at_once); i++)
		if (!(session->ordered & BIT(at_once[i])))
			session_order(session, at_once[i]);
	if (session_has_finished(session, BIT(STEP_SET_PEER)) &&
	    !(session->ordered & BIT(STEP_OPEN_TUNNEL)))
		session_order(session, STEP_OPEN_TUNNEL);
	if (session_has_finished(session, STEPS_IKE_PATH) &&
	    !(session->ordered & BIT(STEP_START_IKE)))
		core_resume(session->core);
	if (!session_has_finished(session, STEPS_RUNNING) ||
	    session->ike_status != VPNSIP__IKE_STATUS__IKE_UP)
		return;
	session->is_ike_pending = false;
	session_become(session, SESSION_ESTABLISHED, "everything of the session stands again");
}

static void mending_ike_down(struct session *session, const struct session_event *event)
{
	bool is_final = session->ike_status == VPNSIP__IKE_STATUS__IKE_FAILED;

	if (session->is_ike_pending && !is_final)
		return; /* the end of what the new IKE_SA replaces */
	session_release(session, false, "%s: %s", is_final ? "the new IKE_SA failed" : "IKE ended",
	                event->cause);
}

static void mending_timed_out(struct session *session)
{
	const char *why = core_missing_service(session->core);

	if (!why)
		why = session->ike_cause;
	session_release(session, false, "the session could not be mended within %u s: %s%s%s",
	                session->core->config->timer_msec[TIMER_IKE] / 1000, missing_name(session),
	                why[0] ? ": " : "", why);
}

void session_mending_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_STEP_FAILED:
		if (event->step == STEP_PROBE_PEER)
			break;
		if (event->is_unanswered)
			forget_step(session, event->step);
		else
			session_release(session, false, "%s", event->cause ? event->cause : "");
		break;
	case EVENT_COMPARED:
		session->ordered |= event->held;
		session->finished |= event->held;
		if (event->missing)
			mark_missing(session, event->missing);
		session_advance_mending(session);
		break;
	case EVENT_STEP_DONE:
	case EVENT_IKE_UP:
		session_advance_mending(session);
		break;
	case EVENT_IKE_DOWN:
		mending_ike_down(session, event);
		break;
	case EVENT_TIMEOUT:
		mending_timed_out(session);
		break;
	default:
		running_handle(session, event);
		break;
	}
}

void session_parting_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_STEP_DONE:
	case EVENT_STEP_FAILED:
		break;
	case EVENT_CALL_OFFERED:
		session_supersede_offer(session, event->call);
		break;
	case EVENT_TIMEOUT:
		session_release(session, false, "IKE ended: %s", session->ike_cause);
		break;
	default:
		running_handle(session, event);
		break;
	}
}
