/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * INVITEs of the last process: its client transactions died with it, what they owe did not. The record has what a CANCEL
 * needs to match the INVITE (RFC 3261 section 9.1); final responses arrive outside any transaction and are caught here.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

/*
 * RFC 3261 section 9.1 forbids a CANCEL before a provisional response. Whether there was one died with the process: it is
 * sent at once, and again after this pause as long as the carrier does not know the INVITE, which may be on its way.
 */
#define UNKNOWN_RETRY_SEC      1
#define UNKNOWN_MAXIMUM        4
/* One that could not leave the machine (no route, WAN down). */
#define UNSENT_RETRY_SEC       5
#define UNSENT_MAXIMUM         36 /* 3 min: timer C has ended the attempt at the carrier */
/* 64*T1: how long the final response to a cancelled INVITE may take. */
#define FINAL_RESPONSE_SEC     32
#define CANCEL_TRANSACTION_SEC 40 /* timer F is 32 s */

static void set_timer(struct sofia_call *call, time_t sec)
{
	const struct timeval delay = {sec, 0};

	event_add(call->state_event, &delay);
}

static void send_again_after(struct sofia_call *call, time_t sec)
{
	call->is_cancel_owed = true;
	set_timer(call, sec);
}

static void give_up(struct sofia_call *call)
{
	log_session(LOG_WARNING, call->call.tunnel, call->call.remote_number,
	            "call %s: the carrier did not confirm that the attempt is cancelled",
	            call->call.call_id);
	sofia_call_handle(call, CALL_EVENT_REFUSED);
}

static void on_cancel_answered(struct sofia_call *call, int status, bool is_local)
{
	if (status < 300) {
		/* The carrier has the INVITE: its 487 follows, or a 200 that was faster. */
		set_timer(call, FINAL_RESPONSE_SEC);
	} else if (status == 503 && is_local) {
		if (++call->bye_failures < UNSENT_MAXIMUM)
			send_again_after(call, UNSENT_RETRY_SEC);
		else
			give_up(call);
	} else if (status == 408) {
		give_up(call);
	} else if (++call->cancels_unknown < UNKNOWN_MAXIMUM) {
		send_again_after(call, UNKNOWN_RETRY_SEC);
	} else {
		sofia_call_handle(call, CALL_EVENT_REFUSED);
	}
}

static int on_cancel_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);

	if (request != call->cancel || status < 200)
		return 0;
	bool is_local = !sip || sofia_local_failure(sip);
	nta_outgoing_destroy(call->cancel);
	call->cancel = NULL;
	if (call->call.state == CALL_STATE_CANCELLING)
		on_cancel_answered(call, status, is_local);
	return 0;
}

void sofia_attempt_cancel(struct sofia_call *call)
{
	char route[SOFIA_URI_SIZE + 8], target[SOFIA_URI_SIZE], sequence[32];

	call->is_cancel_owed = false;
	if (!call->leg && !sofia_dialog_reopen(call)) {
		on_cancel_answered(call, 503, true);
		return;
	}
	sofia_transport_print_route(call, route, sizeof(route));
	sofia_transport_print_target(call, target, sizeof(target));
	snprintf(sequence, sizeof(sequence), "%u CANCEL", call->invite_cseq);
	/* The same hop, Request-URI, branch and sequence number as the INVITE's. */
	call->cancel =
		nta_outgoing_tcreate(call->leg, on_cancel_response, call, NULL, SIP_METHOD_CANCEL,
	                             (url_string_t *)target, NTATAG_BRANCH_KEY(call->branch),
	                             SIPTAG_ROUTE_STR(route), SIPTAG_CSEQ_STR(sequence), TAG_END());
	if (call->cancel)
		set_timer(call, CANCEL_TRANSACTION_SEC);
	else
		on_cancel_answered(call, 503, true);
}

/* The ACK of a refusal goes to the next hop in the INVITE's own transaction (RFC 3261 section 17.1.1.3). */
static void acknowledge_refusal(nta_agent_t *agent, const struct sofia_line *line, const sip_t *sip)
{
	char route[SOFIA_URI_SIZE + 8], sequence[32];
	const url_t *target = sip->sip_to->a_url;
	msg_t *message = nta_msg_create(agent, 0);
	sip_t *ack = message ? sip_object(message) : NULL;

	if (!ack)
		return;
	su_home_t *home = msg_home(message);
	sofia_transport_print_line_route(line, line->config->session_transport, route,
	                                 sizeof(route));
	snprintf(sequence, sizeof(sequence), "%u ACK", sip->sip_cseq->cs_seq);
	if (sip_add_tl(message, ack, SIPTAG_FROM(sip->sip_from), SIPTAG_TO(sip->sip_to),
	               SIPTAG_CALL_ID(sip->sip_call_id), SIPTAG_CSEQ_STR(sequence),
	               SIPTAG_ROUTE_STR(route), SIPTAG_MAX_FORWARDS_STR("70"), TAG_END()) < 0 ||
	    msg_header_insert(message, (msg_pub_t *)ack,
	                      (msg_header_t *)sip_request_create(home, SIP_METHOD_ACK,
	                                                         (const url_string_t *)target,
	                                                         NULL)) < 0 ||
	    !nta_outgoing_mcreate(
		    agent, NULL, NULL, NULL, message, NTATAG_BRANCH_KEY(sip->sip_via->v_branch),
		    NTATAG_ACK_BRANCH(sip->sip_via->v_branch), NTATAG_STATELESS(1), TAG_END()))
		msg_destroy(message);
}

/* The call whose INVITE, sent by the last process or this one, the response answers. */
static struct sofia_call *find_attempt(struct sofia_line *line, const sip_t *sip)
{
	struct sofia_call *call = sofia_call_by_id(line->sofia, sip->sip_call_id->i_id);

	if (!call || call->line != line || call->call.direction != CALL_OUTGOING || !call->leg ||
	    call->invite_cseq != sip->sip_cseq->cs_seq)
		return NULL;
	const char *tag = nta_leg_get_tag(call->leg);
	return tag && sip->sip_from->a_tag && strcasecmp(tag, sip->sip_from->a_tag) == 0 ? call
	                                                                                 : NULL;
}

/*
 * A 2xx that nobody waits for: another phone answered too, or the attempt is forgotten. It would bill for ever. The stack's
 * nta_msg_ackbye() sends the BYE once; this one is repeated until it is answered.
 */
bool sofia_attempt_end_stray(nta_agent_t *agent, const sip_t *sip)
{
	char sequence[32];
	nta_leg_t *leg = nta_leg_tcreate(agent, NULL, NULL, SIPTAG_CALL_ID(sip->sip_call_id),
	                                 SIPTAG_FROM(sip->sip_from), SIPTAG_TO(sip->sip_to),
	                                 SIPTAG_CSEQ(sip->sip_cseq), TAG_END());

	if (!leg)
		return false;
	nta_leg_client_route(leg, sip->sip_record_route, sip->sip_contact);
	snprintf(sequence, sizeof(sequence), "%u ACK", sip->sip_cseq->cs_seq);
	nta_outgoing_tcreate(leg, NULL, NULL, NULL, SIP_METHOD_ACK, NULL, SIPTAG_CSEQ_STR(sequence),
	                     NTATAG_ACK_BRANCH(sip->sip_via->v_branch), NTATAG_STATELESS(1),
	                     TAG_END());
	/* Given back at once, its transaction goes on by itself. */
	nta_outgoing_t *bye = nta_outgoing_tcreate(leg, NULL, NULL, NULL, SIP_METHOD_BYE, NULL,
	                                           TAG_END());
	if (bye)
		nta_outgoing_destroy(bye);
	nta_leg_destroy(leg);
	return bye != NULL;
}

/* True when the 2xx belongs to a call that takes care of it. */
static bool take_answer(struct sofia_call *call, const sip_t *sip)
{
	const char *tag = call ? nta_leg_get_rtag(call->leg) : NULL;

	if (!call || !sip->sip_to->a_tag)
		return false;
	if (call->call.is_restored && call->call.state == CALL_STATE_CANCELLING) {
		log_session(LOG_NOTICE, call->call.tunnel, call->call.remote_number,
		            "call %s: answered although it is cancelled: it is hung up",
		            call->call.call_id);
		sofia_call_handle(call, sofia_call_read_answer(call, sip));
		return true;
	}
	if (!tag || strcasecmp(tag, sip->sip_to->a_tag) != 0)
		return false;
	/* Ours, once more: its ACK got lost. */
	sofia_call_send_ack(call);
	return true;
}

/*
 * Two parties answered one INVITE: RFC 6193 section 5.3 has no use for either, and the carrier bills both. What we took for
 * the call goes with the other.
 */
static void end_other_answer(nta_agent_t *agent, struct sofia_call *call, const sip_t *sip)
{
	if (!sofia_attempt_end_stray(agent, sip))
		log_line(LOG_ERR, "call %s: answered without anybody waiting, and cannot be ended",
		         sip->sip_call_id->i_id);
	if (!call || call->call.state != CALL_STATE_ANSWERED)
		return;
	call_set_cause(&call->call, "the call was forked: more than one party answered");
	sofia_call_handle(call, CALL_EVENT_LOST);
}

void sofia_attempt_response(struct sofia_line *line, nta_agent_t *agent, msg_t *message,
                            const sip_t *sip)
{
	const int status = sip->sip_status->st_status;
	struct sofia_call *call = find_attempt(line, sip);

	log_debug(LOG_SIP_EVENTS, call ? call->call.tunnel : NULL,
	          call ? call->call.remote_number : NULL,
	          "response %d to an INVITE without transaction, call %s", status,
	          sip->sip_call_id->i_id);
	if (status >= 200 && status < 300 && !take_answer(call, sip))
		end_other_answer(agent, call, sip);
	if (status >= 300) {
		acknowledge_refusal(agent, line, sip);
		if (call && call->call.is_restored && call->call.state == CALL_STATE_CANCELLING) {
			sofia_call_keep_refusal(call, status, sip);
			sofia_call_handle(call, CALL_EVENT_REFUSED);
		}
	}
	nta_msg_discard(agent, message);
}
