/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/session.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"

#define EVENTS_STEP (BIT(EVENT_STEP_DONE) | BIT(EVENT_STEP_FAILED))
/* What ends an attempt in every state that has one. */
#define EVENTS_ENDING                                                                   \
	(BIT(EVENT_OPERATOR_RELEASE) | BIT(EVENT_CALL_FAILED) | BIT(EVENT_CALL_ENDED) | \
	 BIT(EVENT_LINE_LOST) | BIT(EVENT_TIMEOUT))
#define EVENTS_CROSSING (BIT(EVENT_CALL_OFFERED) | BIT(EVENT_PROBE_TIMEOUT))
/* While the session is shown as up. */
#define EVENTS_RUNNING                                                                           \
	(EVENTS_CROSSING | BIT(EVENT_IKE_DOWN) | BIT(EVENT_TUNNEL_IDLE) | BIT(EVENT_PEER_DEAD) | \
	 BIT(EVENT_COMPARED) | BIT(EVENT_UNWATCHED) | BIT(EVENT_CALL_TOO_LONG))
/* sip-agent keeps an answered call over its own death; nothing else that is on its way up survives one. */
#define NEEDS_IN_CALL (OWNERS & ~BIT(VPNSIP__SERVICE__SIP_AGENT))

/* An owner that was not heard of for so long after our start is taken to hold nothing. */
#define ADOPTION_LIMIT_MSEC 15000

/* A stuck sip-agent keeps no SA up for longer. */
#define HANG_UP_LIMIT_MSEC 100

/* BYE goes through the carrier, the end of the IKE_SA straight to us; no call is billed for longer than this because of it. */
#define BYE_LIMIT_MSEC 300

/* The answer to the DELETE is worth twice the time that ike-agent gives the peer; a stuck ike-agent keeps no SA up for longer. */
#define STOP_IKE_LIMIT_MSEC 1000

/* While a release goes on. */
#define EVENTS_RELEASING                                                                       \
	(EVENTS_STEP | BIT(EVENT_TIMEOUT) | BIT(EVENT_CALL_OFFERED) | BIT(EVENT_CALL_FAILED) | \
	 BIT(EVENT_CALL_ENDED))

const struct session_state_description session_states[SESSION_STATE_COUNT] = {
	[SESSION_READY] =
		{
			.name = "READY_TO_CONNECT",
			.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT,
			.accepts = BIT(EVENT_TRIGGER) | BIT(EVENT_OPERATOR_CALL) |
                                   BIT(EVENT_CALL_OFFERED),
			.may_become = BIT(SESSION_CALLING) | BIT(SESSION_RINGING) |
                                      BIT(SESSION_HOLDDOWN),
			.timer = -1,
			.handle = session_ready_handle,
		},
	[SESSION_CALLING] =
		{
			.name = "CALLING",
			.status = VPNSIP__SESSION_STATUS__CALLING,
			.accepts = EVENTS_STEP | EVENTS_ENDING | BIT(EVENT_CALL_RINGING) |
                                   BIT(EVENT_CALL_ANSWERED) | BIT(EVENT_CALL_OFFERED) |
                                   BIT(EVENT_SERVICE_LOST),
			.needs = OWNERS,
			.may_become = BIT(SESSION_RINGING) | BIT(SESSION_NEGOTIATING) |
                                      STATES_RELEASING,
			.timer = TIMER_ANSWER,
			.handle = session_calling_handle,
		},
	[SESSION_RINGING] =
		{
			.name = "RINGING",
			.status = VPNSIP__SESSION_STATUS__RINGING,
			.accepts = EVENTS_STEP | EVENTS_ENDING | BIT(EVENT_CALL_ANSWERED) |
                                   BIT(EVENT_CALL_OFFERED) | BIT(EVENT_CALL_CONFIRMED) |
                                   BIT(EVENT_IKE_UP) | BIT(EVENT_IKE_DOWN) |
                                   BIT(EVENT_SERVICE_LOST),
			.needs = OWNERS,
			.may_become = BIT(SESSION_NEGOTIATING) | STATES_RELEASING,
			.timer = TIMER_RINGING,
			.handle = session_ringing_handle,
		},
	[SESSION_NEGOTIATING] =
		{
			.name = "NEGOTIATING_IKE",
			.status = VPNSIP__SESSION_STATUS__NEGOTIATING_IKE,
			.accepts = EVENTS_STEP | EVENTS_ENDING | EVENTS_CROSSING |
                                   BIT(EVENT_CALL_CONFIRMED) | BIT(EVENT_IKE_UP) |
                                   BIT(EVENT_IKE_DOWN) | BIT(EVENT_SERVICE_LOST) |
                                   BIT(EVENT_CALL_TOO_LONG),
			.needs = NEEDS_IN_CALL,
			.may_become = BIT(SESSION_ESTABLISHED) | STATES_RELEASING,
			.timer = TIMER_IKE,
			.handle = session_negotiating_handle,
		},
	[SESSION_ESTABLISHED] =
		{
			.name = "SESSION_UP",
			.status = VPNSIP__SESSION_STATUS__SESSION_UP,
			.accepts = EVENTS_STEP | (EVENTS_ENDING & ~BIT(EVENT_TIMEOUT)) |
                                   EVENTS_RUNNING,
			.may_become = STATES_RELEASING | BIT(SESSION_MENDING) |
                                      BIT(SESSION_PARTING),
			.timer = -1,
			.handle = session_established_handle,
		},
	[SESSION_HANGING_UP] =
		{
			.name = "HANGING_UP",
			.status = VPNSIP__SESSION_STATUS__RELEASING,
			.accepts = EVENTS_RELEASING,
			.may_become = BIT(SESSION_STOPPING_IKE) | BIT(SESSION_RELEASING),
			.timer = -1,
			.limit_msec = HANG_UP_LIMIT_MSEC,
			.handle = session_hanging_up_handle,
		},
	[SESSION_STOPPING_IKE] =
		{
			.name = "STOPPING_IKE",
			.status = VPNSIP__SESSION_STATUS__RELEASING,
			.accepts = EVENTS_RELEASING,
			.may_become = BIT(SESSION_RELEASING),
			.timer = -1,
			.limit_msec = STOP_IKE_LIMIT_MSEC,
			.handle = session_stopping_ike_handle,
		},
	[SESSION_RELEASING] =
		{
			.name = "RELEASING",
			.status = VPNSIP__SESSION_STATUS__RELEASING,
			.accepts = EVENTS_RELEASING,
			.may_become = BIT(SESSION_READY) | BIT(SESSION_HOLDDOWN) |
                                      BIT(SESSION_RINGING),
			.timer = TIMER_RELEASE,
			.handle = session_releasing_handle,
		},
	[SESSION_HOLDDOWN] =
		{
			.name = "HOLDDOWN",
			.status = VPNSIP__SESSION_STATUS__HOLDDOWN,
			.accepts = BIT(EVENT_TIMEOUT) | BIT(EVENT_OPERATOR_CALL) |
                                   BIT(EVENT_OPERATOR_RELEASE) | BIT(EVENT_CALL_OFFERED),
			.may_become = BIT(SESSION_READY) | BIT(SESSION_CALLING) |
                                      BIT(SESSION_RINGING),
			.timer = TIMER_HOLDDOWN,
			.handle = session_holddown_handle,
		},
	[SESSION_ADOPTING] =
		{
			.name = "ADOPTING",
			.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT,
			.accepts = BIT(EVENT_SURVEYED) | BIT(EVENT_TIMEOUT) |
                                   BIT(EVENT_CALL_OFFERED) | BIT(EVENT_OPERATOR_RELEASE),
			.may_become = BIT(SESSION_READY) | BIT(SESSION_HOLDDOWN) |
                                      BIT(SESSION_ESTABLISHED) | BIT(SESSION_MENDING) |
                                      STATES_RELEASING,
			.timer = -1,
			.limit_msec = ADOPTION_LIMIT_MSEC,
			.handle = session_adopting_handle,
		},
	[SESSION_MENDING] =
		{
			.name = "MENDING",
			.status = VPNSIP__SESSION_STATUS__SESSION_UP,
			.accepts = EVENTS_STEP | EVENTS_ENDING | EVENTS_RUNNING | BIT(EVENT_IKE_UP),
			.may_become = BIT(SESSION_ESTABLISHED) | STATES_RELEASING,
			.timer = TIMER_IKE,
			.handle = session_mending_handle,
		},
	[SESSION_PARTING] =
		{
			.name = "PARTING",
			.status = VPNSIP__SESSION_STATUS__SESSION_UP,
			.accepts = EVENTS_STEP | EVENTS_ENDING | BIT(EVENT_CALL_OFFERED) |
                                   BIT(EVENT_TUNNEL_IDLE) | BIT(EVENT_PEER_DEAD) |
                                   BIT(EVENT_UNWATCHED) | BIT(EVENT_CALL_TOO_LONG),
			.may_become = STATES_RELEASING,
			.timer = -1,
			.limit_msec = BYE_LIMIT_MSEC,
			.handle = session_parting_handle,
		},
};

const char *session_event_name(enum session_event_type type)
{
	static const char *const names[SESSION_EVENT_COUNT] = {
		[EVENT_TRIGGER] = "trigger",
		[EVENT_OPERATOR_CALL] = "operator-call",
		[EVENT_OPERATOR_RELEASE] = "operator-release",
		[EVENT_STEP_DONE] = "step-done",
		[EVENT_STEP_FAILED] = "step-failed",
		[EVENT_CALL_RINGING] = "call-ringing",
		[EVENT_CALL_ANSWERED] = "call-answered",
		[EVENT_CALL_OFFERED] = "call-offered",
		[EVENT_CALL_CONFIRMED] = "call-confirmed",
		[EVENT_CALL_FAILED] = "call-failed",
		[EVENT_CALL_ENDED] = "call-ended",
		[EVENT_IKE_UP] = "ike-up",
		[EVENT_IKE_DOWN] = "ike-down",
		[EVENT_TUNNEL_IDLE] = "tunnel-idle",
		[EVENT_PEER_DEAD] = "peer-dead",
		[EVENT_LINE_LOST] = "line-lost",
		[EVENT_TIMEOUT] = "timeout",
		[EVENT_PROBE_TIMEOUT] = "probe-timeout",
		[EVENT_SURVEYED] = "surveyed",
		[EVENT_COMPARED] = "compared",
		[EVENT_SERVICE_LOST] = "service-lost",
		[EVENT_UNWATCHED] = "unwatched",
		[EVENT_CALL_TOO_LONG] = "call-too-long",
	};

	return names[type];
}

const char *step_name(enum step step)
{
	static const char *const names[STEP_COUNT] = {
		[STEP_PREPARE_IKE] = "PrepareIke",
		[STEP_RESERVE_PORT] = "ReservePort",
		[STEP_CHECK_TUNNEL] = "CheckTunnel",
		[STEP_PLACE_CALL] = "PlaceCall",
		[STEP_INSTALL_TRANSLATION] = "InstallTranslation",
		[STEP_INSTALL_SHAPER] = "InstallShaper",
		[STEP_SET_PEER] = "SetPeer",
		[STEP_START_IKE] = "StartIke",
		[STEP_ANSWER_CALL] = "AnswerCall",
		[STEP_OPEN_TUNNEL] = "OpenTunnel",
		[STEP_PROBE_PEER] = "ProbePeer",
		[STEP_HANG_UP] = "HangUp",
		[STEP_REJECT_CALL] = "RejectCall",
		[STEP_STOP_IKE] = "StopIke",
		[STEP_REMOVE_TRANSLATION] = "RemoveTranslation",
		[STEP_REMOVE_SHAPER] = "RemoveShaper",
		[STEP_CLEAR_PEER] = "ClearPeer",
	};

	return names[step];
}

static void tell_event(const struct session *session, const struct session_event *event)
{
	const char *tunnel = session->peer->tunnel, *number = session->peer->number;
	const char *name = session_event_name(event->type);
	const char *state = session_states[session->state].name;
	bool is_step = event->type == EVENT_STEP_DONE || event->type == EVENT_STEP_FAILED;

	log_debug(LOG_EVENT, tunnel, number, "%s%s%s in %s%s%s", name, is_step ? " " : "",
	          is_step ? step_name(event->step) : "", state,
	          event->cause && event->cause[0] ? ": " : "", event->cause ? event->cause : "");
	if (event->type == EVENT_STEP_FAILED)
		log_debug(LOG_ERRORS, tunnel, number, "%s failed in %s: %s", step_name(event->step),
		          state, event->cause ? event->cause : "");
}

void session_handle(struct session *session, const struct session_event *event)
{
	const struct session_state_description *state = &session_states[session->state];

	/* Late and duplicate reports are normal on a lossy bus. */
	if (!(state->accepts & BIT(event->type))) {
		session->ignored_events++;
		log_session(LOG_DEBUG, session->peer->tunnel, session->peer->number,
		            "ignored %s in %s", session_event_name(event->type), state->name);
		return;
	}
	tell_event(session, event);
	state->handle(session, event);
}

static uint64_t state_timer_msec(const struct session *session)
{
	const struct session_state_description *state = &session_states[session->state];

	return state->timer < 0 ? state->limit_msec
	                        : session->core->config->timer_msec[state->timer];
}

/* `logging`: session up, session down, and each attempt that failed, once; the rest is for the curious. */
static int transition_level(enum session_state from, enum session_state to, bool logs_sessions)
{
	const unsigned notable = BIT(SESSION_ESTABLISHED) | BIT(SESSION_MENDING) | STATES_RELEASING;

	if (from == SESSION_ADOPTING && to == SESSION_READY)
		return LOG_DEBUG;
	if ((STATES_RELEASING & BIT(from)) || !(notable & BIT(to)))
		return LOG_INFO;
	return logs_sessions ? LOG_NOTICE : LOG_INFO;
}

void session_become(struct session *session, enum session_state next, const char *cause)
{
	const struct coordinator_port *port = session->core->port;
	const struct session_state_description *from = &session_states[session->state];
	const struct session_state_description *to = &session_states[next];
	char text[2 * CAUSE_SIZE];

	if (!(from->may_become & BIT(next))) {
		log_session(LOG_ERR, session->peer->tunnel, session->peer->number,
		            "bug: %s may not become %s", from->name, to->name);
		return;
	}
	snprintf(text, sizeof(text), "%s -> %s: %s", from->name, to->name, cause);
	log_session(transition_level(session->state, next, session->core->config->logs_sessions),
	            session->peer->tunnel, session->peer->number, "%s", text);
	port->trace(port->context, session, VPNSIP__TRACE_KIND__TRACE_STATE, text);
	session->state = next;
	session->changed_usec = port->mono_usec(port->context);
	/* Mending is not seen from outside: the session is up since it was. */
	if (from->status != to->status)
		session->state_since_usec = session->changed_usec;
	port->start_timer(port->context, session, false, state_timer_msec(session));
	port->session_changed(port->context, session);
}

void session_order(struct session *session, enum step step)
{
	const struct coordinator_port *port = session->core->port;

	session->ordered |= BIT(step);
	session->finished &= ~BIT(step);
	session->changed_usec = port->mono_usec(port->context);
	port->order(port->context, session, step);
}

bool session_has_finished(const struct session *session, unsigned steps)
{
	return (session->finished & steps) == steps;
}

static void session_forget_attempt(struct session *session)
{
	memset(&session->local, 0, sizeof(session->local));
	memset(&session->remote, 0, sizeof(session->remote));
	session->call_id[0] = '\0';
	session->call_status = VPNSIP__CALL_STATUS__CALL_STATUS_UNSPECIFIED;
	session->ike_status = VPNSIP__IKE_STATUS__IKE_STATUS_UNSPECIFIED;
	session->is_ike_ended_by_us = false;
	session->ike_cause[0] = '\0';
	session->ordered = session->finished = 0;
	session->negotiated_kbit = 0;
	session->is_acknowledged = false;
	session->reject_status = 0;
	session->retry_after_sec = 0;
	session->failed_status = 0;
	session->probe_sent_usec = 0;
	session->is_glare = false;
	session->is_ike_pending = false;
}

/* Common start of an attempt. False when no attempt number could be had: it is said once, the trigger comes each second. */
static bool session_open_attempt(struct session *session, Vpnsip__Direction direction)
{
	const struct coordinator_port *port = session->core->port;
	char why[CAUSE_SIZE] = "";
	uint64_t attempt = port->next_attempt(port->context, direction, why);

	if (attempt == 0) {
		session->core->counters.triggers_refused++;
		log_debug(LOG_ERRORS, session->peer->tunnel, session->peer->number, "%s", why);
		if (strcmp(session->cause, why) != 0) {
			snprintf(session->cause, sizeof(session->cause), "%s", why);
			log_session(LOG_ERR, session->peer->tunnel, session->peer->number,
			            "no attempt can begin: %s", why);
			port->session_changed(port->context, session);
		}
		return false;
	}
	session_forget_attempt(session);
	session->attempt = session->last_attempt = attempt;
	session->attempts++;
	session->direction = direction;
	session->call_since_usec = port->mono_usec(port->context);
	session->cause[0] = '\0';
	session->local.bandwidth_kbit = session->peer->bandwidth_kbit;
	session->local.address = session->line->wan_address;
	return true;
}

static void session_order_preparation(struct session *session)
{
	session_order(session, STEP_PREPARE_IKE);
	session_order(session, STEP_RESERVE_PORT);
	session_order(session, STEP_CHECK_TUNNEL);
}

void session_begin_outgoing(struct session *session, const char *cause)
{
	if (!session_open_attempt(session, VPNSIP__DIRECTION__OUTGOING))
		return;
	session->local.role = VPNSIP__SETUP_ROLE__ACTIVE;
	session_become(session, SESSION_CALLING, cause);
	session_order_preparation(session);
}

bool session_begin_incoming(struct session *session, const char *call_id, const struct media *offer)
{
	const struct coordinator_port *port = session->core->port;

	if (!session_open_attempt(session, VPNSIP__DIRECTION__INCOMING)) {
		port->reject(port->context, call_id, 503, "Service Unavailable", 0, NULL);
		return false;
	}
	snprintf(session->call_id, sizeof(session->call_id), "%s", call_id);
	session->call_status = VPNSIP__CALL_STATUS__CALL_OFFERED;
	session->remote = *offer;
	session->negotiated_kbit = offer->bandwidth_kbit < session->peer->bandwidth_kbit
	                                   ? offer->bandwidth_kbit
	                                   : session->peer->bandwidth_kbit;
	/* Answer min(offer, own): both ends and the carrier's billing then see one number. */
	session->local.bandwidth_kbit = session->negotiated_kbit;
	session->local.role = offer->role == VPNSIP__SETUP_ROLE__ACTIVE
	                              ? VPNSIP__SETUP_ROLE__PASSIVE
	                              : VPNSIP__SETUP_ROLE__ACTIVE;
	session_become(session, SESSION_RINGING, "call offered");
	session_order_preparation(session);
	return true;
}

static bool call_is_open(const struct session *session)
{
	return session->call_status != VPNSIP__CALL_STATUS__CALL_ENDED &&
	       (session->call_id[0] || (session->ordered & BIT(STEP_PLACE_CALL)));
}

static void session_end_call(struct session *session)
{
	bool is_unanswered = session->direction == VPNSIP__DIRECTION__INCOMING &&
	                     !(session->ordered & BIT(STEP_ANSWER_CALL));

	if (!call_is_open(session))
		return;
	if (!is_unanswered) {
		session_order(session, STEP_HANG_UP);
		return;
	}
	if (!session->reject_status) {
		session->reject_status = 480;
		session->reject_reason = "Temporarily Unavailable";
	}
	session_order(session, STEP_REJECT_CALL);
}

void session_release(struct session *session, bool holds_down, const char *format, ...)
{
	const struct coordinator_port *port = session->core->port;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(session->cause, sizeof(session->cause), format, arguments);
	va_end(arguments);
	session->holds_down_next = holds_down && session->direction == VPNSIP__DIRECTION__OUTGOING;
	if (session_states[session->state].status != VPNSIP__SESSION_STATUS__SESSION_UP) {
		session->failed++;
		session->failed_attempt = session->attempt;
		log_debug(LOG_ERRORS, session->peer->tunnel, session->peer->number, "%s",
		          session->cause);
	}
	session->probe_sent_usec = 0;
	port->start_timer(port->context, session, true, 0);
	admission_call_ended(session);

	/* The bill first; and the other side shall see the BYE before the end of the IKE_SA. */
	session_end_call(session);
	if (session->ordered & (BIT(STEP_HANG_UP) | BIT(STEP_REJECT_CALL)))
		session_become(session, SESSION_HANGING_UP, session->cause);
	else
		session_stop_ike(session, session->cause);
}
