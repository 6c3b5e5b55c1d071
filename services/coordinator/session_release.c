/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The states of an ending and resting session: HANGING_UP, STOPPING_IKE, RELEASING, HOLDDOWN. */
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/common/number.h"
#include "services/coordinator/core.h"
#include "services/coordinator/offer.h"
#include "services/coordinator/session.h"

/* Busy answers that look like crossing calls: the lower number tries again at once, the higher waits to be called. */
static uint64_t glare_msec(const struct session *session)
{
	const struct coordinator_port *port = session->core->port;

	if (number_precedes(session->line->config->number, session->peer->number))
		return 200 + port->random(port->context) % 400;
	return session->core->config->timer_msec[TIMER_GLARE];
}

void session_rest(struct session *session, const char *cause)
{
	const struct session_event trigger = {.type = EVENT_TRIGGER};

	session_become(session, SESSION_READY, cause);
	if (session->wants_peer)
		session_handle(session, &trigger);
}

static void session_hold_down(struct session *session)
{
	const struct coordinator_port *port = session->core->port;
	uint64_t wait_msec = session->is_glare ? glare_msec(session)
	                                       : admission_pause_msec(session);
	char cause[CAUSE_SIZE + 64];

	session->pause_msec = (unsigned)wait_msec;
	session->holddown_until_usec = port->mono_usec(port->context) + wait_msec * 1000;
	snprintf(cause, sizeof(cause), "no calls for %u.%u s: %s", (unsigned)(wait_msec / 1000),
	         (unsigned)(wait_msec % 1000 / 100), session->cause);
	session_become(session, SESSION_HOLDDOWN, cause);
	port->start_timer(port->context, session, false, wait_msec);
}

static void owe_unconfirmed(const struct session *session)
{
	const struct coordinator_port *port = session->core->port;
	unsigned unconfirmed = session->ordered & STEPS_RELEASING & ~session->finished;

	for (enum step step = 0; step < STEP_COUNT; step++)
		if (unconfirmed & BIT(step))
			port->owe(port->context, session, step);
}

void session_finish_release(struct session *session)
{
	const struct coordinator_port *port = session->core->port;
	struct waiting_call waiting = session->waiting;
	bool is_serving = session->line->is_wan_up && !session->core->is_shutting_down;

	owe_unconfirmed(session);
	session->waiting.is_present = false;
	session->attempt = 0;
	session->call_since_usec = 0;
	session->negotiated_kbit = 0;
	session->ordered = session->finished = 0;
	session->call_id[0] = '\0';
	memset(&session->local, 0, sizeof(session->local));
	memset(&session->remote, 0, sizeof(session->remote));
	session->ended_at_wall_usec = port->wall_usec(port->context);
	if (waiting.is_present && is_serving) {
		if (session_begin_incoming(session, waiting.call_id, &waiting.offer))
			return;
	} else if (waiting.is_present) {
		port->reject(port->context, waiting.call_id, 480, "Temporarily Unavailable", 0,
		             NULL);
	}
	if (session->holds_down_next && is_serving)
		session_hold_down(session);
	else
		session_rest(session, session->cause);
}

/* IKE is stopped, or there is none, or it takes too long: nothing needs the path any more. */
static void session_clear_path(struct session *session, const char *cause)
{
	static const struct {
		enum step made, undone;
	} ends[] = {
		{STEP_RESERVE_PORT, STEP_REMOVE_TRANSLATION},
		{STEP_INSTALL_SHAPER, STEP_REMOVE_SHAPER},
		{STEP_SET_PEER, STEP_CLEAR_PEER},
	};

	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++)
		if (session->ordered & BIT(ends[i].made))
			session_order(session, ends[i].undone);
	session_become(session, SESSION_RELEASING, cause);
	if (session_has_finished(session, session->ordered & STEPS_RELEASING))
		session_finish_release(session);
}

void session_stop_ike(struct session *session, const char *cause)
{
	if (!(session->ordered & BIT(STEP_START_IKE))) {
		session_clear_path(session, cause);
		return;
	}
	session_order(session, STEP_STOP_IKE);
	session_become(session, SESSION_STOPPING_IKE, cause);
}

void session_hanging_up_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_CALL_OFFERED:
		session_keep_waiting(session, event->call);
		break;
	case EVENT_STEP_DONE:
	case EVENT_STEP_FAILED:
		/* Late replies to what was ordered before the release say nothing about the call. */
		if (event->step == STEP_HANG_UP || event->step == STEP_REJECT_CALL)
			session_stop_ike(session, event->type == EVENT_STEP_DONE
			                                  ? "the call is being ended"
			                                  : "sip-agent could not end the call");
		break;
	case EVENT_TIMEOUT:
		session_stop_ike(session, "sip-agent does not confirm the end of the call");
		break;
	default:
		session_stop_ike(session, "the call ended");
		break;
	}
}

void session_stopping_ike_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_CALL_OFFERED:
		session_keep_waiting(session, event->call);
		break;
	case EVENT_STEP_DONE:
	case EVENT_STEP_FAILED:
		if (event->step == STEP_STOP_IKE)
			session_clear_path(session, event->type == EVENT_STEP_DONE
			                                    ? "IKE has ended"
			                                    : "ike-agent could not end IKE");
		break;
	case EVENT_TIMEOUT:
		session_clear_path(session, "ike-agent does not confirm the end of IKE");
		break;
	default:
		break;
	}
}

void session_releasing_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_CALL_OFFERED:
		session_keep_waiting(session, event->call);
		break;
	case EVENT_TIMEOUT:
		session_finish_release(session);
		break;
	default:
		if (session_has_finished(session, session->ordered & STEPS_RELEASING))
			session_finish_release(session);
		break;
	}
}

void session_holddown_handle(struct session *session, const struct session_event *event)
{
	switch (event->type) {
	case EVENT_TIMEOUT:
		session_rest(session, "hold-down is over");
		break;
	case EVENT_OPERATOR_RELEASE:
		session_rest(session, "hold-down lifted by the operator");
		break;
	case EVENT_OPERATOR_CALL:
		session_ready_handle(session, event);
		break;
	default:
		session_consider_offer(session, event->call);
		break;
	}
}
