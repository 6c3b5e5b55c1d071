/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls that are offered to us: the checks that need no decision, the 200, the refusals. */
#include <arpa/inet.h>
#include <sofia-sip/msg_header.h>
#include <sofia-sip/sip_extra.h>
#include <sofia-sip/sip_util.h>
#include <sofia-sip/tport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

enum { WARNING_OTHER = 399 };

static void print_warning(const struct sofia_line *line, unsigned code, const char *text,
                          char *header, size_t size)
{
	char host[INET_ADDRSTRLEN];
	size_t length;

	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	length = (size_t)snprintf(header, size, "%u %s ", code, host);
	sofia_quote(text, header + length, size - length);
}

/* When the caller may try again: NULL for what will not change by itself. */
static const char *retry_after(unsigned status)
{
	switch (status) {
	case 480:
		return "30";
	case 500:
	case 503:
		return "10";
	default:
		return NULL;
	}
}

/* Final refusal of an INVITE that became no call. */
static void refuse(struct sofia_line *line, nta_incoming_t *request,
                   const struct sofia_refusal *refusal, const char *number)
{
	char warning[256];
	const char *phrase = refusal->reason && refusal->reason[0]
	                             ? refusal->reason
	                             : sip_status_phrase((int)refusal->sip_status);

	if (refusal->warning_code)
		print_warning(line, refusal->warning_code, refusal->warning_text, warning,
		              sizeof(warning));
	nta_incoming_treply(request, (int)refusal->sip_status, phrase ? phrase : "Refused",
	                    SIPTAG_WARNING_STR(refusal->warning_code ? warning : NULL),
	                    SIPTAG_RETRY_AFTER_STR(retry_after(refusal->sip_status)), TAG_END());
	nta_incoming_destroy(request);
	line->sofia->counters.requests_refused++;
	log_debug(LOG_SIP_ERROR, NULL, number, "INVITE on line %s refused: %u %s",
	          line->config->number, refusal->sip_status,
	          refusal->warning_text ? refusal->warning_text : "");
	log_session(LOG_NOTICE, NULL, number, "incoming call on line %s refused: %u %s",
	            line->config->number, refusal->sip_status,
	            refusal->warning_text ? refusal->warning_text : "");
}

static bool has_sdp(const sip_t *sip)
{
	return sip->sip_payload && sip->sip_payload->pl_len && sip->sip_content_type &&
	       !sip->sip_content_encoding &&
	       strcasecmp(sip->sip_content_type->c_type, "application/sdp") == 0;
}

/* What the caller demands of us (420) and we of him (421). */
static bool check_extensions(struct sofia_line *line, nta_incoming_t *request, const sip_t *sip)
{
	su_home_t home[1] = {SU_HOME_INIT(home)};
	int refused = nta_check_required(request, sip,
	                                 sip_supported_make(home, sofia_reliable_supported(line)),
	                                 SIPTAG_ALLOW_STR(SOFIA_ALLOW), TAG_END());

	su_home_deinit(home);
	if (!refused && sofia_reliable_is_missing(line, sip)) {
		refused = 421;
		nta_incoming_treply(request, SIP_421_EXTENSION_REQUIRED,
		                    SIPTAG_REQUIRE_STR("100rel"), TAG_END());
	}
	if (!refused)
		return true;
	nta_incoming_destroy(request);
	line->sofia->counters.requests_refused++;
	log_line(LOG_NOTICE, "incoming call on line %s refused: %d", line->config->number, refused);
	return false;
}

/*
 * Everything that can be said without asking anybody. True when the call may be offered; otherwise
 * it has been refused.
 */
static bool check_invite(struct sofia_line *line, nta_incoming_t *request, const sip_t *sip,
                         const char *number, struct sdp_tunnel *offer)
{
	struct sdp_description description;
	struct sdp_problem problem;
	const struct sdp_policy policy = sofia_call_policy(line, number);
	size_t index;

	if (!check_extensions(line, request, sip))
		return false;
	if (!sip->sip_payload || sip->sip_payload->pl_len == 0) {
		refuse(line, request,
		       &(struct sofia_refusal){488, NULL, WARNING_OTHER, "an offer is required"},
		       number);
		return false;
	}
	if (!has_sdp(sip)) {
		nta_incoming_treply(request, SIP_415_UNSUPPORTED_MEDIA,
		                    SIPTAG_ACCEPT_STR("application/sdp"), TAG_END());
		nta_incoming_destroy(request);
		log_session(LOG_NOTICE, NULL, number,
		            "incoming call refused: 415, body is not SDP");
		return false;
	}
	if (!sdp_read(sip->sip_payload->pl_data, sip->sip_payload->pl_len, &description,
	              &problem) ||
	    !sdp_check_offer(&description, offer, &index, &problem) ||
	    !sdp_apply_policy(offer, &policy, &problem)) {
		refuse(line, request,
		       &(struct sofia_refusal){problem.sip_status, NULL,
		                               problem.warning_code ? problem.warning_code
		                                                    : WARNING_OTHER,
		                               problem.text},
		       number);
		return false;
	}
	return true;
}

/*
 * Acknowledged, the INVITE is answered for good. Its transaction ends by itself then; kept, it would stay in memory as long as
 * the call, in a queue that nta goes through at each of its timers.
 */
static void forget_invite(struct sofia_call *call)
{
	if (call->incoming)
		nta_incoming_destroy(call->incoming);
	call->incoming = NULL;
	free(call->invite_text);
	call->invite_text = NULL;
}

/* ACK, CANCEL, or (without a message) no ACK within 64*T1. */
static int on_ack_cancel(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	(void)request;
	if (!sip) {
		const bool is_ringing = call->call.state == CALL_STATE_OFFERED;

		call_set_cause(&call->call, "%s",
		               is_ringing ? "no PRACK for our ringing" : "no ACK for our answer");
		call->refusal = (struct sofia_refusal){.sip_status = 504};
		sofia_call_handle(call, CALL_EVENT_NO_ACK);
	} else if (sip->sip_request->rq_method == sip_method_ack) {
		forget_invite(call);
		sofia_call_handle(call, CALL_EVENT_ACK);
	} else {
		/* nta answers the CANCEL and the INVITE (487). */
		call_set_cause(&call->call, "cancelled by the caller");
		call->call.sip_status = 487;
		sofia_call_handle(call, CALL_EVENT_PEER_CANCEL);
	}
	return 0;
}

/*
 * What a response to the INVITE, its session timer and its dialog are made of. A record is text: octets that are not ASCII
 * (a display name) mean nothing here. NULL when it is too long; then a restart cannot answer it.
 */
static char *print_invite(const sip_t *sip)
{
	const sip_header_t *const headers[] = {
		(const sip_header_t *)sip->sip_via,
		(const sip_header_t *)sip->sip_record_route,
		(const sip_header_t *)sip->sip_from,
		(const sip_header_t *)sip->sip_to,
		(const sip_header_t *)sip->sip_call_id,
		(const sip_header_t *)sip->sip_cseq,
		(const sip_header_t *)sip->sip_contact,
		(const sip_header_t *)sip->sip_supported,
		(const sip_header_t *)sip->sip_min_se,
		(const sip_header_t *)sip->sip_session_expires,
	};
	char text[DIALOG_INVITE_SIZE], host[DIALOG_TEXT_SIZE];
	su_home_t home[1] = {SU_HOME_INIT(home)};
	size_t length;

	url_e(host, sizeof(host), sip->sip_request->rq_url);
	length = (size_t)snprintf(text, sizeof(text), "INVITE %s SIP/2.0\r\n", host);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		for (const sip_header_t *header = headers[i]; header && length < sizeof(text);
		     header = header->sh_next) {
			const char *value = sip_header_as_string(home, header);

			length += (size_t)snprintf(text + length, sizeof(text) - length,
			                           "%s: %s\r\n", header->sh_class->hc_name,
			                           value ? value : "");
		}
	if (length < sizeof(text))
		length += (size_t)snprintf(text + length, sizeof(text) - length,
		                           "Content-Length: 0\r\n\r\n");
	su_home_deinit(home);
	for (char *c = text; *c; c++)
		if ((unsigned char)*c > '~')
			*c = '?';
	return length < sizeof(text) ? strdup(text) : NULL;
}

/* The transport that the INVITE came over. */
static tport_t *find_transport(const struct sofia_line *line, const sip_t *sip)
{
	const char *name = sip_via_transport(sip->sip_via);
	tport_t *transport = tport_primaries(nta_agent_tports(line->agent));

	while (transport && name && strcasecmp(tport_name(transport)->tpn_proto, name) != 0)
		transport = tport_next(transport);
	return transport;
}

bool sofia_call_reopen_invite(struct sofia_call *call)
{
	struct sofia_line *line = call->line;

	if (!call->invite_text || !call->invite_text[0] || !line->agent)
		return false;
	msg_t *message = msg_make(sip_default_mclass(), 0, call->invite_text, -1);
	sip_t *sip = message ? sip_object(message) : NULL;
	if (!sip || !sip->sip_request || !sip->sip_via || sip_sanity_check(sip) < 0) {
		if (message)
			msg_destroy(message);
		return false;
	}
	/* The connection died with the process: the response goes to the port of the Via (RFC 3261 section 18.2.2). */
	if (line->config->session_transport == TRANSPORT_TCP)
		msg_header_remove_param(sip->sip_via->v_common, "rport");
	call->request_terms = sofia_session_terms(sip);
	call->incoming = nta_incoming_create(line->agent, call->leg, message, sip,
	                                     NTATAG_TPORT(find_transport(line, sip)), TAG_END());
	if (call->incoming)
		nta_incoming_bind(call->incoming, on_ack_cancel, call);
	return call->incoming != NULL;
}

/* "<sip:...>"; NULL without memory. */
static char *copy_uri(const sip_addr_t *address)
{
	su_home_t home[1] = {SU_HOME_INIT(home)};
	char *url = url_as_string(home, address->a_url), *text = NULL;

	if (url && asprintf(&text, "<%s>", url) < 0)
		text = NULL;
	su_home_deinit(home);
	return text;
}

static bool create_dialog(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	struct sofia_line *line = call->line;
	char token[SOFIA_TOKEN_SIZE];

	call->local_uri = copy_uri(sip->sip_to);
	call->remote_uri = copy_uri(sip->sip_from);
	if (!call->local_uri || !call->remote_uri)
		return false;
	call->leg = nta_leg_tcreate(line->agent, sofia_call_request, call,
	                            SIPTAG_CALL_ID(sip->sip_call_id), SIPTAG_FROM(sip->sip_to),
	                            SIPTAG_TO(sip->sip_from),
	                            NTATAG_REMOTE_CSEQ(sip->sip_cseq->cs_seq), TAG_END());
	if (!call->leg)
		return false;
	nta_leg_server_route(call->leg, sip->sip_record_route, sip->sip_contact);
	sofia_random_token(line->sofia, token, 13);
	nta_leg_tag(call->leg, token);
	nta_incoming_tag(request, token);
	return true;
}

static void offer_call(struct sofia_line *line, nta_incoming_t *request, const sip_t *sip,
                       const char *number, const struct sdp_tunnel *offer)
{
	struct sofia_call *call = sofia_call_new(line, CALL_INCOMING);

	if (!call || !create_dialog(call, request, sip) ||
	    !(call->offer = strndup(sip->sip_payload->pl_data, sip->sip_payload->pl_len))) {
		if (call)
			sofia_call_free(call);
		refuse(line, request, &(struct sofia_refusal){500, NULL, 0, "no memory"}, number);
		return;
	}
	if (!sofia_dialog_fits(call)) {
		sofia_call_free(call);
		refuse(line, request,
		       &(struct sofia_refusal){513, NULL, WARNING_OTHER,
		                               "addresses or routes are too long"},
		       number);
		return;
	}
	call->incoming = request;
	call->request_terms = sofia_session_terms(sip);
	call->peer_takes_update = sip_is_allowed(sip->sip_allow, SIP_METHOD_UPDATE);
	call->call.remote = *offer;
	call->call.has_remote = true;
	snprintf(call->call.call_id, sizeof(call->call.call_id), "%s", sip->sip_call_id->i_id);
	sofia_call_index(call);
	snprintf(call->call.remote_number, sizeof(call->call.remote_number), "%s", number);
	call->invite_text = print_invite(sip);
	sofia_debug_text(LOG_SIP_MEDIA, &call->call, "offer received", call->offer,
	                 strlen(call->offer));
	log_debug(LOG_SIP_FEATURE, NULL, number,
	          "call %s: the caller %s session timers, asks for %u s", call->call.call_id,
	          call->request_terms.supports_timer ? "knows" : "does not know",
	          call->request_terms.interval_sec);
	nta_incoming_bind(request, on_ack_cancel, call);
	/* The 100 stops the carrier's repetitions: from here on the caller waits for us. */
	sofia_dialog_store(call);
	nta_incoming_treply(request, SIP_100_TRYING, TAG_END());
	sofia_reliable_ring(call, sip);
	log_session(LOG_INFO, NULL, number, "call %s: offered to line %s, %u kbit/s",
	            call->call.call_id, line->config->number, offer->bandwidth_kbit);
	sofia_guard_remember(line->sofia, call->call.call_id);
	sofia_call_begin(call);
}

void sofia_call_invited(struct sofia_line *line, msg_t *message, sip_t *sip)
{
	char number[NUMBER_SIZE];
	struct sdp_tunnel offer;
	const struct sofia_call *known = sofia_call_by_id(line->sofia, sip->sip_call_id->i_id);

	line->sofia->counters.invites_received++;
	if (known || strlen(sip->sip_call_id->i_id) >= CALL_ID_SIZE) {
		line->sofia->counters.requests_refused++;
		nta_msg_treply(line->agent, message, 482, "Request Merged", TAG_END());
		return;
	}
	if (!sofia_guard_admits_caller(line, message, sip, number))
		return;
	nta_incoming_t *request = nta_incoming_create(line->agent, NULL, message, sip, TAG_END());
	if (!request)
		return;
	struct session_timer_terms asked = sofia_session_terms(sip), answer;
	struct session_timer timer;
	const struct session_timer_wish ours = sofia_session_wish(line->sofia);
	if (!session_timer_answer(&asked, &ours, &answer, &timer)) {
		char minimum[16];

		snprintf(minimum, sizeof(minimum), "%u", ours.minimum_sec);
		nta_incoming_treply(request, SIP_422_SESSION_TIMER_TOO_SMALL,
		                    SIPTAG_MIN_SE_STR(minimum), TAG_END());
		nta_incoming_destroy(request);
		return;
	}
	if (check_invite(line, request, sip, number, &offer))
		offer_call(line, request, sip, number, &offer);
}

/* The answer to the stored offer as text. */
static bool write_answer(struct sofia_call *call, const struct sdp_tunnel *answer)
{
	struct sdp_description offer;
	struct sdp_tunnel checked;
	struct sdp_problem problem;
	char sdp[SDP_TEXT_SIZE];
	size_t index;

	if (!sdp_read(call->offer, strlen(call->offer), &offer, &problem) ||
	    !sdp_check_offer(&offer, &checked, &index, &problem) ||
	    !sdp_write(sdp, sizeof(sdp), &call->origin, answer, &offer, index))
		return false;
	free(call->sdp);
	call->sdp = strdup(sdp);
	sofia_debug_text(LOG_SIP_MEDIA, &call->call, "answer built", sdp, strlen(sdp));
	return call->sdp != NULL;
}

/* The record of the offer gives way to that of the attempt. */
static bool store_answer(struct sofia_call *call)
{
	dialog_store_take_attempt(call->line->sofia->state_directory, &call->call);
	return sofia_dialog_store_ahead(call, CALL_STATE_ACCEPTED);
}

static enum sofia_outcome accept_call(struct sofia_call *call, uint64_t attempt, const char *tunnel,
                                      const struct sdp_tunnel *answer)
{
	struct sofia *sofia = call->line->sofia;

	if (attempt < sofia_attempt_of(sofia, tunnel))
		return SOFIA_STALE;
	if (!write_answer(call, answer))
		return SOFIA_FAILED;
	call->call.attempt = attempt;
	call->call.local = *answer;
	call->call.has_local = true;
	snprintf(call->call.tunnel, sizeof(call->call.tunnel), "%s", tunnel);
	sofia_attempt_note(sofia, tunnel, attempt);
	if (store_answer(call)) {
		free(call->offer);
		call->offer = NULL;
		sofia_call_handle(call, CALL_EVENT_ACCEPT);
		sofia_loop_wake(sofia->loop);
		return SOFIA_DONE;
	}
	call->refusal = (struct sofia_refusal){.sip_status = 503};
	call_set_cause(&call->call, "refused by us: %s", sofia->store_failure);
	sofia_call_handle(call, CALL_EVENT_REJECT);
	sofia_loop_wake(sofia->loop);
	return SOFIA_UNSTORED;
}

enum sofia_outcome sofia_answer_call(struct sofia *sofia, const char *call_id, uint64_t attempt,
                                     const char *tunnel, const struct sdp_tunnel *answer)
{
	struct sofia_call *call = sofia_call_by_id(sofia, call_id);

	log_debug(LOG_SIP_FUNCTION, tunnel, NULL, "sofia_answer_call %s attempt %llu", call_id,
	          (unsigned long long)attempt);
	if (!call || call->call.direction != CALL_INCOMING)
		return SOFIA_UNKNOWN;
	if (call->call.state == CALL_STATE_OFFERED)
		return accept_call(call, attempt, tunnel, answer);
	return call->call.attempt == attempt && call->call.state != CALL_STATE_ENDED &&
	                       call->call.state != CALL_STATE_LEAVING
	               ? SOFIA_DONE
	               : SOFIA_GONE;
}

void sofia_call_send_answer(struct sofia_call *call)
{
	const struct session_timer_wish ours = sofia_session_wish(call->line->sofia);
	struct session_timer_terms answer;
	char expires[64];

	session_timer_answer(&call->request_terms, &ours, &answer, &call->timer);
	sofia_session_print(&answer, expires, sizeof(expires));
	bus_fault_point(call->line->sofia->bus, "sip-agent.before-200");
	nta_incoming_treply(call->incoming, SIP_200_OK, SIPTAG_CONTACT_STR(call->line->contact),
	                    SIPTAG_ALLOW_STR(SOFIA_ALLOW),
	                    SIPTAG_SUPPORTED_STR(sofia_reliable_supported(call->line)),
	                    SIPTAG_REQUIRE_STR(answer.supports_timer ? "timer" : NULL),
	                    SIPTAG_SESSION_EXPIRES_STR(expires),
	                    SIPTAG_CONTENT_TYPE_STR("application/sdp"),
	                    SIPTAG_PAYLOAD_STR(call->sdp), TAG_END());
	bus_fault_point(call->line->sofia->bus, "sip-agent.after-200");
	sofia_session_arm(call);
}

enum sofia_outcome sofia_reject_call(struct sofia *sofia, const char *call_id,
                                     const struct sofia_refusal *refusal)
{
	struct sofia_call *call = sofia_call_by_id(sofia, call_id);

	if (!call || call->call.direction != CALL_INCOMING)
		return SOFIA_UNKNOWN;
	if (call->call.state == CALL_STATE_ENDED)
		return SOFIA_DONE;
	if (call->call.state != CALL_STATE_OFFERED || refusal->sip_status < 300 ||
	    refusal->sip_status > 699)
		return SOFIA_GONE;
	call->refusal = *refusal;
	call->call.sip_status = refusal->sip_status;
	call_set_cause(&call->call, "refused by us: %u %s", refusal->sip_status,
	               refusal->warning_text[0] ? refusal->warning_text : refusal->reason);
	sofia_call_handle(call, CALL_EVENT_REJECT);
	sofia_loop_wake(sofia->loop);
	return SOFIA_DONE;
}

void sofia_call_send_refusal(struct sofia_call *call)
{
	struct sofia_refusal refusal = call->refusal;

	/* Ended without a word about how: we are temporarily unavailable. */
	if (!refusal.sip_status)
		refusal.sip_status = 480;
	if (!refusal.warning_text)
		refusal.warning_text = "";
	call->call.sip_status = refusal.sip_status;
	if (call->incoming)
		refuse(call->line, call->incoming, &refusal, call->call.remote_number);
	call->incoming = NULL;
	call->refusal = (struct sofia_refusal){0};
}
