/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What incoming and outgoing calls share: the list, the state table's actions, BYE, requests in the dialog. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

/* An ended call is shown, and answers repetitions, this long: timers H and J (RFC 3261 table 4). */
#define ENDED_STAYS_SEC      32
/*
 * A BYE that could not even be sent (no route, WAN down) is owed: it is tried this often, for as
 * long as a session timer lets a call live.
 */
#define BYE_RETRY_SEC        5
#define BYE_FAILURES_MAXIMUM 60

struct sofia_call *sofia_call_new(struct sofia_line *line, enum call_direction direction)
{
	struct sofia_call *call = calloc(1, sizeof(*call));
	uint32_t session_id;

	if (!call)
		return NULL;
	bus_random(line->sofia->bus, &session_id, sizeof(session_id));
	call->line = line;
	call->origin = (struct sdp_origin){session_id & INT32_MAX, 1};
	call->asked_sec = sofia_session_wish(line->sofia).interval_sec;
	call->call.direction = direction;
	call->call.state = direction == CALL_OUTGOING ? CALL_STATE_CALLING : CALL_STATE_OFFERED;
	call->call.started_at_usec = bus_wall_usec(line->sofia->bus);
	snprintf(call->call.local_number, sizeof(call->call.local_number), "%s",
	         line->config->number);
	DL_PREPEND2(line->sofia->calls, call, previous, next);
	return call;
}

void sofia_call_index(struct sofia_call *call)
{
	HASH_ADD(by_id, call->line->sofia->calls_by_id, call.call_id[0], strlen(call->call.call_id),
	         call);
}

struct sofia_call *sofia_call_by_id(struct sofia *sofia, const char *call_id)
{
	struct sofia_call *call;

	HASH_FIND(by_id, sofia->calls_by_id, call_id, strlen(call_id), call);
	return call;
}

static void count_half_open(struct sofia_call *call, bool is_half_open)
{
	call->line->half_open += is_half_open;
	call->line->half_open -= call->is_half_open;
	call->is_half_open = is_half_open;
}

static void drop_request(nta_outgoing_t **request)
{
	if (*request)
		nta_outgoing_destroy(*request);
	*request = NULL;
}

/* Takes everything back that belongs to the line's agent. */
void sofia_call_drop_dialog(struct sofia_call *call)
{
	sofia_call_drop_invite(call);
	sofia_reliable_forget(call);
	drop_request(&call->ack);
	drop_request(&call->bye);
	drop_request(&call->cancel);
	drop_request(&call->refresh);
	if (call->incoming)
		nta_incoming_destroy(call->incoming);
	call->incoming = NULL;
	if (call->reinvite)
		nta_incoming_destroy(call->reinvite);
	call->reinvite = NULL;
	if (call->leg)
		nta_leg_destroy(call->leg);
	call->leg = NULL;
}

void sofia_call_free(struct sofia_call *call)
{
	DL_DELETE2(call->line->sofia->calls, call, previous, next);
	if (call->by_id.tbl)
		HASH_DELETE(by_id, call->line->sofia->calls_by_id, call);
	count_half_open(call, false);
	sofia_call_drop_dialog(call);
	if (call->state_event)
		event_free(call->state_event);
	if (call->session_event)
		event_free(call->session_event);
	if (call->invite_event)
		event_free(call->invite_event);
	sofia_auth_reset(&call->auth);
	sofia_auth_reset(&call->later_auth);
	free(call->parked);
	free(call->local_uri);
	free(call->remote_uri);
	free(call->sdp);
	free(call->offer);
	free(call->invite_text);
	free(call);
}

static void on_state_timer(evutil_socket_t fd, short what, void *context)
{
	struct sofia_call *call = context;
	struct sofia *sofia = call->line->sofia;

	(void)fd;
	(void)what;
	log_debug(LOG_SIP_EVENTS, call->call.tunnel, call->call.remote_number,
	          "call %s: the timer of %s ran out", call->call.call_id,
	          call_state_name(call->call.state));
	if (call->call.state == CALL_STATE_ENDED) {
		sofia_dialog_forget(call);
		sofia_call_free(call);
	} else if (call->call.state == CALL_STATE_CANCELLING && call->is_cancel_owed) {
		sofia_attempt_cancel(call);
	} else if (call->call.state == CALL_STATE_LEAVING && !call->bye) {
		sofia_call_limit_state(call);
		sofia_call_send_bye(call);
	} else {
		call_set_cause(&call->call, "%s lasted too long",
		               call_state_name(call->call.state));
		sofia_call_handle(call, CALL_EVENT_DEADLINE);
	}
	sofia_loop_wake(sofia->loop);
}

void sofia_call_limit_state(struct sofia_call *call)
{
	struct timeval limit = {call_state_limit_sec(call->call.state), 0};

	if (call->call.state == CALL_STATE_ENDED)
		limit.tv_sec = ENDED_STAYS_SEC;
	count_half_open(call, call->call.state == CALL_STATE_OFFERED ||
	                              call->call.state == CALL_STATE_ACCEPTED);
	if (!call->state_event)
		call->state_event = event_new(call->line->sofia->base, -1, 0, on_state_timer, call);
	event_del(call->state_event);
	if (limit.tv_sec)
		event_add(call->state_event, &limit);
}

void sofia_call_begin(struct sofia_call *call)
{
	sofia_call_limit_state(call);
	call->line->sofia->events->call_changed(call->line->sofia->context, &call->call);
}

static int on_bye_response(void *context, nta_outgoing_t *request, const sip_t *sip);

/* Tries again later; an end of trying is an end of the call. */
static void owe_bye(struct sofia_call *call)
{
	const struct timeval pause = {BYE_RETRY_SEC, 0};

	if (++call->bye_failures < BYE_FAILURES_MAXIMUM) {
		event_add(call->state_event, &pause);
		return;
	}
	log_session(LOG_ERR, call->call.tunnel, call->call.remote_number,
	            "BYE could not be sent; the carrier's timers must end this call");
	call->call.is_end_estimated = true;
	sofia_call_handle(call, CALL_EVENT_BYE_DONE);
}

unsigned sofia_random_below(struct sofia *sofia, unsigned limit)
{
	uint32_t number;

	bus_random(sofia->bus, &number, sizeof(number));
	return number % limit;
}

void sofia_quote(const char *text, char *quoted, size_t size)
{
	size_t length = 0;

	quoted[length++] = '"';
	for (; *text && length + 2 < size; text++)
		if (*text != '"' && *text != '\\' && (unsigned char)*text >= ' ')
			quoted[length++] = *text;
	snprintf(quoted + length, size - length, "\"");
}

/* With the cause (RFC 3326), so that both operators read the same: the BYE may overtake IKE's own error. */
static void repeat_bye(struct sofia_call *call)
{
	char text[CALL_CAUSE_SIZE], reason[sizeof(text) + 16];

	sofia_quote(call->call.cause, text, sizeof(text));
	snprintf(reason, sizeof(reason), "SIP;text=%s", text);
	bus_fault_point(call->line->sofia->bus, "sip-agent.before-bye");
	call->bye = nta_outgoing_tcreate(call->leg, on_bye_response, call, NULL, SIP_METHOD_BYE,
	                                 NULL,
	                                 SIPTAG_REASON_STR(call->call.cause[0] ? reason : NULL),
	                                 SOFIA_AUTH_TAGS(&call->later_auth), TAG_END());
	if (!call->bye)
		owe_bye(call);
}

void sofia_call_send_bye(struct sofia_call *call)
{
	drop_request(&call->refresh);
	sofia_auth_reset(&call->later_auth);
	if (call->leg || sofia_dialog_reopen(call))
		repeat_bye(call);
	else
		owe_bye(call);
}

/* Whatever the answer, the call is over: 200, 481, 408 or nothing at all (RFC 3261 section 15.1.1). */
static int on_bye_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);
	char why[SOFIA_CAUSE_SIZE];

	if (request != call->bye || status < 200)
		return 0;
	bool is_repeated = sip && (status == 401 || status == 407) &&
	                   sofia_auth_challenged(&call->later_auth, call->line, request, sip, why,
	                                         sizeof(why));
	drop_request(&call->bye);
	if (is_repeated) {
		repeat_bye(call);
	} else if (status == 503 && sofia_local_failure(sip)) {
		owe_bye(call);
	} else {
		if (status >= 300 && status != 481)
			log_session(LOG_WARNING, call->call.tunnel, call->call.remote_number,
			            "BYE was answered %d", status);
		/* It ended before, without us. */
		call->call.is_end_estimated = status >= 300;
		sofia_call_handle(call, CALL_EVENT_BYE_DONE);
	}
	return 0;
}

static void act(struct sofia_call *call, unsigned actions)
{
	struct sofia *sofia = call->line->sofia;

	if (actions & CALL_SEND_ACK) {
		bus_fault_point(sofia->bus, "sip-agent.before-ack");
		sofia_call_send_ack(call);
		call->is_acknowledged = true;
		sofia_dialog_store_state(call);
	}
	if (actions & CALL_SEND_CANCEL)
		sofia_call_send_cancel(call);
	if (actions & CALL_SEND_ANSWER)
		sofia_call_send_answer(call);
	if (actions & CALL_SEND_REFUSAL)
		sofia_call_send_refusal(call);
	if (actions & CALL_REPORT)
		sofia->events->call_changed(sofia->context, &call->call);
	if (actions & CALL_SEND_BYE)
		sofia_call_send_bye(call);
}

static bool is_cancelling(enum call_state state)
{
	return state == CALL_STATE_CANCEL_OWED || state == CALL_STATE_CANCELLING;
}

static bool is_leaving(enum call_state state)
{
	return state == CALL_STATE_BYE_OWED || state == CALL_STATE_LEAVING;
}

/* How full it is. */
static void tell_level(const struct sofia *sofia)
{
	size_t calls = 0, offers = 0, ended = 0;

	if (!log_is_on(LOG_SIP_LEVEL, NULL))
		return;
	for (const struct sofia_call *call = sofia->calls; call; call = call->next) {
		calls++;
		offers += call->call.state == CALL_STATE_OFFERED;
		ended += call->call.state == CALL_STATE_ENDED;
	}
	log_debug(LOG_SIP_LEVEL, NULL, NULL, "%zu calls, of them %zu offered and %zu ended", calls,
	          offers, ended);
}

static void count_debts(struct sofia_counters *counters, enum call_state was, enum call_state is)
{
	counters->cancels_owed += !is_cancelling(was) && is_cancelling(is);
	counters->cancels_paid += is_cancelling(was) && !is_cancelling(is);
	counters->byes_owed += !is_leaving(was) && is_leaving(is);
	counters->byes_paid += is_leaving(was) && !is_leaving(is);
}

static void tell_change(struct sofia_call *call, enum call_state was, enum call_event event)
{
	const struct call *now = &call->call;

	log_session(LOG_INFO, now->tunnel, now->remote_number, "call %s: %s -> %s%s%s",
	            now->call_id, call_state_name(was), call_state_name(now->state),
	            now->cause[0] ? ": " : "", now->cause);
	log_debug(LOG_SIP_STATES, now->tunnel, now->remote_number, "call %s: %s -> %s (%s)",
	          now->call_id, call_state_name(was), call_state_name(now->state),
	          call_event_name(event));
	bus_trace(call->line->sofia->bus, now->tunnel[0] ? now->tunnel : NULL, now->attempt,
	          VPNSIP__TRACE_KIND__TRACE_STATE, NULL, false, "call %s -> %s (%s)%s%s",
	          call_state_name(was), call_state_name(now->state), call_event_name(event),
	          now->cause[0] ? ": " : "", now->cause);
}

/*
 * Before anything is sent: what the peer knows of, a restart of ours must know of too. A call that begins to be billed
 * was stored by those who could still refuse it.
 */
static bool is_stored_ahead(enum call_event event)
{
	return event == CALL_EVENT_ACCEPT || event == CALL_EVENT_GOOD_ANSWER;
}

/* A dialog becomes another one with an answer alone. */
static void store(struct sofia_call *call, enum call_event event)
{
	if (event == CALL_EVENT_GOOD_ANSWER || event == CALL_EVENT_BAD_ANSWER)
		sofia_dialog_store(call);
	else
		sofia_dialog_store_state(call);
}

void sofia_call_handle(struct sofia_call *call, enum call_event event)
{
	const enum call_state was = call->call.state;
	unsigned actions = call_core_handle(&call->call, event,
	                                    bus_wall_usec(call->line->sofia->bus));

	log_debug(LOG_SIP_CALLS, call->call.tunnel, call->call.remote_number, "call %s: %s in %s%s",
	          call->call.call_id, call_event_name(event), call_state_name(was),
	          call->call.state == was && !actions ? " is ignored" : "");
	if (call->call.state == was && !actions)
		return;
	tell_change(call, was, event);
	count_debts(&call->line->sofia->counters, was, call->call.state);
	tell_level(call->line->sofia);
	sofia_call_limit_state(call);
	if (call->call.state == CALL_STATE_ANSWERED)
		sofia_session_arm(call);
	if (call->call.state == CALL_STATE_LEAVING || call->call.state == CALL_STATE_ENDED)
		sofia_session_stop(call);
	call->is_acknowledged |= event == CALL_EVENT_ACK;
	if (!is_stored_ahead(event) || call->call.state == CALL_STATE_LEAVING)
		store(call, event);
	struct sofia_line *line = call->line;
	const bool has_ended = was != CALL_STATE_ENDED && call->call.state == CALL_STATE_ENDED;

	act(call, actions);
	if (has_ended)
		sofia_register_call_ended(line);
}

/* The parser leaves the quotation marks of the Reason's text in place. */
static void keep_reason(struct sofia_call *call, const sip_reason_t *reason)
{
	const char *text = reason && reason->re_text ? reason->re_text : "";
	size_t length = strlen(text);
	bool is_quoted = length >= 2 && text[0] == '"' && text[length - 1] == '"';

	if (is_quoted) {
		text++;
		length -= 2;
	}
	call_set_cause(&call->call, "hung up by the other side%s%.*s", length ? ": " : "",
	               (int)length, text);
}

static int receive_bye(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	keep_reason(call, sip->sip_reason);
	nta_incoming_treply(request, SIP_200_OK, TAG_END());
	nta_incoming_destroy(request);
	call->refusal = (struct sofia_refusal){.sip_status = 487};
	sofia_call_handle(call, CALL_EVENT_PEER_BYE);
	return 0;
}

int sofia_call_request(struct sofia_call *call, nta_leg_t *leg, nta_incoming_t *request,
                       const sip_t *sip)
{
	(void)leg;
	if (sip->sip_request->rq_method == sip_method_ack)
		return 200; /* belongs to nothing; ends the transaction without an answer */
	switch (sip->sip_request->rq_method) {
	case sip_method_bye:
		return receive_bye(call, request, sip);
	case sip_method_invite:
	case sip_method_update:
		return sofia_session_request(call, request, sip);
	case sip_method_options:
		nta_incoming_treply(request, SIP_200_OK, SIPTAG_ALLOW_STR(SOFIA_ALLOW),
		                    SIPTAG_ACCEPT_STR("application/sdp"),
		                    SIPTAG_SUPPORTED_STR(sofia_reliable_supported(call->line)),
		                    TAG_END());
		nta_incoming_destroy(request);
		return 0;
	case sip_method_cancel:
		return 481; /* of no INVITE that is open: nta has taken the others */
	default:
		nta_incoming_treply(request, SIP_405_METHOD_NOT_ALLOWED,
		                    SIPTAG_ALLOW_STR(SOFIA_ALLOW), TAG_END());
		nta_incoming_destroy(request);
		return 0;
	}
}
