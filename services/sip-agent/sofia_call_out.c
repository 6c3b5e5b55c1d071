/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls that we place: INVITE, its responses, ACK, CANCEL. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip);

static bool send_invite(struct sofia_call *call)
{
	struct sofia_line *line = call->line;
	char route[SOFIA_URI_SIZE + 8], identity[SOFIA_URI_SIZE + 32], expires[16], minimum[16];

	snprintf(route, sizeof(route), "<%s;lr>", line->registrar);
	snprintf(identity, sizeof(identity), "P-Preferred-Identity: %s", line->identity);
	snprintf(expires, sizeof(expires), "%u", call->asked_sec);
	snprintf(minimum, sizeof(minimum), "%u", call->minimum_sec);
	/* The address without its angle brackets is the Request-URI. */
	char target[SOFIA_URI_SIZE];
	snprintf(target, sizeof(target), "%.*s", (int)strcspn(call->remote_uri + 1, ">"),
	         call->remote_uri + 1);
	call->invite = nta_outgoing_tcreate(
		call->leg, on_response, call, NULL, SIP_METHOD_INVITE, (url_string_t *)target,
		NTATAG_PASS_100(1), SIPTAG_ROUTE_STR(route), SIPTAG_CONTACT_STR(line->contact),
		SIPTAG_HEADER_STR(identity), SIPTAG_ALLOW_STR(SOFIA_ALLOW),
		SIPTAG_SUPPORTED_STR("timer"), SIPTAG_SESSION_EXPIRES_STR(expires),
		SIPTAG_MIN_SE_STR(call->minimum_sec ? minimum : NULL), SOFIA_AUTH_TAGS(&call->auth),
		SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(call->sdp),
		TAG_END());
	if (call->invite)
		call->invite_cseq = nta_outgoing_cseq(call->invite);
	return call->invite != NULL;
}

static struct sofia_call *call_of_attempt(struct sofia *sofia, const struct sofia_call_order *order,
                                          bool *is_stale)
{
	*is_stale = false;
	for (struct sofia_call *call = sofia->calls; call; call = call->next) {
		if (strcmp(call->call.tunnel, order->tunnel) != 0)
			continue;
		if (call->call.attempt == order->attempt)
			return call;
		if (call->call.attempt > order->attempt)
			*is_stale = true;
	}
	return NULL;
}

static bool prepare(struct sofia_call *call, const struct sofia_call_order *order)
{
	struct sofia_line *line = call->line;
	char host[INET_ADDRSTRLEN], token[SOFIA_TOKEN_SIZE], sdp[SDP_TEXT_SIZE];
	const char *domain = strchr(line->identity, '@');

	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	sofia_random_token(line->sofia, token, sizeof(token));
	call->call.attempt = order->attempt;
	snprintf(call->call.tunnel, sizeof(call->call.tunnel), "%s", order->tunnel);
	snprintf(call->call.remote_number, sizeof(call->call.remote_number), "%s",
	         order->remote_number);
	snprintf(call->call.call_id, sizeof(call->call.call_id), "%s@%s", token, host);
	snprintf(call->local_uri, sizeof(call->local_uri), "%s", line->identity);
	snprintf(call->remote_uri, sizeof(call->remote_uri), "<sip:%s%s", order->remote_number,
	         domain);
	call->call.local = order->offer;
	if (!sdp_write(sdp, sizeof(sdp), &call->origin, &order->offer, NULL, 0))
		return false;
	call->sdp = strdup(sdp);
	sofia_random_token(line->sofia, token, 13);
	call->leg = nta_leg_tcreate(
		line->agent, sofia_call_request, call, SIPTAG_CALL_ID_STR(call->call.call_id),
		SIPTAG_FROM_STR(call->local_uri), SIPTAG_TO_STR(call->remote_uri), TAG_END());
	return call->sdp && call->leg && nta_leg_tag(call->leg, token);
}

enum sofia_outcome sofia_place_call(struct sofia *sofia, const struct sofia_call_order *order)
{
	struct sofia_line *line = sofia_line_by_number(sofia, order->local_number);
	bool is_stale;

	if (call_of_attempt(sofia, order, &is_stale))
		return SOFIA_DONE;
	if (is_stale)
		return SOFIA_STALE;
	if (!line)
		return SOFIA_UNKNOWN;
	if (!line->agent)
		return SOFIA_UNREADY;
	struct sofia_call *call = sofia_call_new(line, CALL_OUTGOING);
	if (!call)
		return SOFIA_FAILED;
	if (!prepare(call, order) || !send_invite(call)) {
		sofia_call_free(call);
		return SOFIA_FAILED;
	}
	log_session(LOG_INFO, order->tunnel, order->remote_number, "call %s: INVITE sent",
	            call->call.call_id);
	sofia_call_begin(call);
	sofia_loop_wake(sofia->loop);
	return SOFIA_DONE;
}

void sofia_call_send_ack(struct sofia_call *call)
{
	char cseq[32];

	snprintf(cseq, sizeof(cseq), "%u ACK", call->invite_cseq);
	call->ack = nta_outgoing_tcreate(call->leg, NULL, NULL, NULL, SIP_METHOD_ACK, NULL,
	                                 SIPTAG_CSEQ_STR(cseq), SOFIA_AUTH_TAGS(&call->auth),
	                                 TAG_END());
	if (!call->ack)
		log_session(LOG_ERR, call->call.tunnel, call->call.remote_number,
		            "ACK cannot be sent");
}

void sofia_call_send_cancel(struct sofia_call *call)
{
	nta_outgoing_tcancel(call->invite, NULL, NULL, TAG_END());
}

/* Keeps why the call failed: status, phrase and the Warning's text. */
static void keep_refusal(struct sofia_call *call, int status, const sip_t *sip)
{
	call->call.sip_status = (unsigned)status;
	const char *failure = sofia_local_failure(sip);

	if (failure || !sip) {
		call_set_cause(&call->call, "the carrier %s",
		               failure ? failure : "does not answer");
		return;
	}
	if (sip->sip_retry_after)
		call->call.retry_after_sec = (unsigned)sip->sip_retry_after->af_delta;
	const sip_warning_t *warning = sip->sip_warning;
	call_set_cause(&call->call, "%d %s%s%s", status, sip->sip_status->st_phrase,
	               warning ? ": " : "", warning ? warning->w_text : "");
}

static bool is_wanted(const struct sofia_call *call)
{
	return call->call.state == CALL_STATE_CALLING ||
	       call->call.state == CALL_STATE_PROCEEDING || call->call.state == CALL_STATE_RINGING;
}

/* 401, 407 and 422 are answered by the INVITE once more, unless the call is not wanted any more. */
static bool repeat_invite(struct sofia_call *call, nta_outgoing_t *request, int status,
                          const sip_t *sip)
{
	char why[SOFIA_CAUSE_SIZE];

	if (!is_wanted(call) || !sip)
		return false;
	if (status == 401 || status == 407) {
		if (!sofia_auth_challenged(&call->auth, call->line, request, sip, why,
		                           sizeof(why))) {
			call_set_cause(&call->call, "%s", why);
			return false;
		}
	} else if (status == 422 && sip->sip_min_se && !call->was_too_brief) {
		call->was_too_brief = true;
		call->minimum_sec = (unsigned)sip->sip_min_se->min_delta;
		call->asked_sec = call->minimum_sec;
	} else {
		return false;
	}
	nta_outgoing_destroy(call->invite);
	return send_invite(call);
}

/* The 200: its dialog, its session timer, its answer. */
static enum call_event read_answer(struct sofia_call *call, const sip_t *sip)
{
	static const char sdp_type[] = "application/sdp";
	struct session_timer_terms terms = sofia_session_terms(sip);
	struct sdp_description description;
	struct sdp_problem problem;

	nta_leg_rtag(call->leg, sip->sip_to->a_tag);
	nta_leg_client_route(call->leg, sip->sip_record_route, sip->sip_contact);
	call->timer = session_timer_of_answer(&terms, call->asked_sec);
	call->peer_takes_update = sip_is_allowed(sip->sip_allow, SIP_METHOD_UPDATE);
	if (!sip->sip_payload || !sip->sip_content_type ||
	    strcasecmp(sip->sip_content_type->c_type, sdp_type) != 0) {
		call_set_cause(&call->call, "bad answer: no SDP");
		return CALL_EVENT_BAD_ANSWER;
	}
	if (!sdp_read(sip->sip_payload->pl_data, sip->sip_payload->pl_len, &description,
	              &problem) ||
	    !sdp_check_answer(&description, call->call.local.role, &call->call.remote, &problem)) {
		call_set_cause(&call->call, "bad answer: %s", problem.text);
		return CALL_EVENT_BAD_ANSWER;
	}
	call->call.has_remote = true;
	return CALL_EVENT_GOOD_ANSWER;
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);

	if (request != call->invite)
		return 0;
	if (status < 200) {
		sofia_call_handle(call, status == 100 ? CALL_EVENT_TRYING : CALL_EVENT_RINGING);
	} else if (status < 300 && sip) {
		sofia_call_handle(call, read_answer(call, sip));
	} else if (!repeat_invite(call, request, status, sip)) {
		keep_refusal(call, status, sip);
		sofia_call_handle(call, CALL_EVENT_REFUSED);
	}
	return 0;
}
