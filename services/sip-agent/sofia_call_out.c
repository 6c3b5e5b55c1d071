/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls that we place: INVITE, its responses, ACK, CANCEL. */
#include <arpa/inet.h>
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

#define T1_MSEC      500
/* Timer B: nta gives up by itself then. */
#define TIMER_B_MSEC (64 * T1_MSEC)
/* Until then the peer repeats its 2xx (RFC 3261 section 13.3.1.4), and nta keeps an answered INVITE; not exactly together. */
#define SETTLED_MSEC (64 * T1_MSEC + 1000)

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip);

struct sdp_policy sofia_call_policy(const struct sofia_line *line, const char *remote_number)
{
	const struct config_peer *peer = config_peer_by_number(line->sofia->config, remote_number);
	bool has_key = !peer || peer->ike_profile->authentication == AUTHENTICATION_PSK;

	return (struct sdp_policy){
		.subject = has_key ? SDP_PRE_SHARED_KEY : SDP_CERTIFICATE,
		.takes_plain_for_key = has_key &&
	                               line->config->accepts_plain_fingerprint == CHOICE_YES,
		.allows_sha1 = peer && peer->ike_profile->allows_sha1,
		.preferred_hash = peer && peer->has_fingerprint ? peer->fingerprint_hash : "",
	};
}

/*
 * nta matches responses to the INVITE whatever their To tag, drops a 2xx after another final response, and answers one of
 * another party with a BYE that it sends once. A tag in the INVITE's own To keeps all of these from it: they come to
 * sofia_attempt_response(). `tag` is of the party that stays, or one that nobody has.
 */
static void bind_transaction(nta_outgoing_t *invite, const char *tag)
{
	msg_t *message = nta_outgoing_getrequest(invite);
	sip_t *sip = message ? sip_object(message) : NULL;

	if (sip && sip->sip_to && !sip->sip_to->a_tag)
		sip_to_tag(msg_home(message), sip->sip_to, tag);
	if (message)
		msg_destroy(message);
}

void sofia_call_drop_invite(struct sofia_call *call)
{
	if (!call->invite)
		return;
	bind_transaction(call->invite, "nobody");
	nta_outgoing_destroy(call->invite);
	call->invite = NULL;
}

static void on_invite_timer(evutil_socket_t fd, short what, void *context);

static void start_invite_timer(struct sofia_call *call, unsigned long msec)
{
	const struct timeval limit = {(time_t)(msec / 1000), (suseconds_t)(msec % 1000 * 1000)};

	if (!call->invite_event)
		call->invite_event = event_new(call->line->sofia->base, -1, 0, on_invite_timer,
		                               call);
	if (call->invite_event)
		event_add(call->invite_event, &limit);
}

/* `retry-invite` retransmissions, each after twice the pause of the last one (RFC 3261 section 17.1.1.2). */
static void await_first_response(struct sofia_call *call)
{
	const unsigned long sends = 2ul << call->line->config->retry_invite;
	const unsigned long msec = (sends - 1) * T1_MSEC;

	if (call->invite_event)
		event_del(call->invite_event);
	if (msec < TIMER_B_MSEC)
		start_invite_timer(call, msec);
}

/*
 * The record comes first: from the INVITE on there may be a call that only we can end. SOFIA_UNSTORED
 * without it.
 */
static enum sofia_outcome send_invite(struct sofia_call *call)
{
	struct sofia_line *line = call->line;
	struct bus *bus = line->sofia->bus;
	char route[SOFIA_URI_SIZE + 8], identity[SOFIA_URI_SIZE + 32], expires[16], minimum[16];
	char target[SOFIA_URI_SIZE], contact[SOFIA_URI_SIZE], token[SOFIA_TOKEN_SIZE];

	sofia_random_token(line->sofia, token, sizeof(token));
	snprintf(call->branch, sizeof(call->branch), "z9hG4bK%s", token);
	call->invite_cseq = nta_leg_get_seq(call->leg) + 1;
	if (!sofia_dialog_store_ahead(call, CALL_STATE_CALLING))
		return SOFIA_UNSTORED;
	bus_fault_point(bus, "sip-agent.before-invite");
	sofia_transport_print_route(call, route, sizeof(route));
	sofia_transport_print_target(call, target, sizeof(target));
	sofia_transport_print_call_contact(call, contact, sizeof(contact));
	snprintf(identity, sizeof(identity), "P-Preferred-Identity: %s", line->identity);
	snprintf(expires, sizeof(expires), "%u", call->asked_sec);
	snprintf(minimum, sizeof(minimum), "%u", call->minimum_sec);
	call->invite = nta_outgoing_tcreate(
		call->leg, on_response, call, NULL, SIP_METHOD_INVITE, (url_string_t *)target,
		NTATAG_BRANCH_KEY(call->branch), NTATAG_PASS_100(1), SIPTAG_ROUTE_STR(route),
		SIPTAG_CONTACT_STR(contact),
		SIPTAG_HEADER_STR(line->config->sends_preferred_identity == CHOICE_YES ? identity
	                                                                               : NULL),
		SIPTAG_ALLOW_STR(SOFIA_ALLOW), SIPTAG_SUPPORTED_STR(sofia_reliable_supported(line)),
		SIPTAG_REQUIRE_STR(
			line->config->reliable_provisional == RELIABLE_REQUIRED ? "100rel" : NULL),
		/* behind the first hop, which is always the server that we chose */
		SIPTAG_ROUTE_STR(line->service_route), SIPTAG_SESSION_EXPIRES_STR(expires),
		SIPTAG_MIN_SE_STR(call->minimum_sec ? minimum : NULL), SOFIA_AUTH_TAGS(&call->auth),
		SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(call->sdp),
		TAG_END());
	if (!call->invite)
		return SOFIA_FAILED;
	line->sofia->counters.invites_sent++;
	await_first_response(call);
	bus_fault_point(bus, "sip-agent.after-invite");
	return SOFIA_DONE;
}

/* Whether the order was carried out before or comes too late, and which. */
static bool is_settled(const struct sofia *sofia, const struct sofia_call_order *order,
                       enum sofia_outcome *outcome)
{
	const uint64_t known = sofia_attempt_of(sofia, order->tunnel);

	*outcome = order->attempt < known ? SOFIA_STALE : SOFIA_DONE;
	if (order->attempt <= known)
		return true;
	for (size_t i = 0; i < SOFIA_HUNG_UP_MAXIMUM; i++)
		if (sofia->hung_up[i] == order->attempt) {
			*outcome = SOFIA_STALE;
			return true;
		}
	return false;
}

static bool prepare(struct sofia_call *call, const struct sofia_call_order *order)
{
	struct sofia_line *line = call->line;
	char host[INET_ADDRSTRLEN], token[SOFIA_TOKEN_SIZE], sdp[SDP_TEXT_SIZE], sequence[32];
	uint16_t first;
	const char *domain = strchr(line->identity, '@');

	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	sofia_random_token(line->sofia, token, sizeof(token));
	call->call.attempt = order->attempt;
	snprintf(call->call.tunnel, sizeof(call->call.tunnel), "%s", order->tunnel);
	snprintf(call->call.remote_number, sizeof(call->call.remote_number), "%s",
	         order->remote_number);
	snprintf(call->call.call_id, sizeof(call->call.call_id), "%s@%s", token, host);
	sofia_call_index(call);
	call->local_uri = strdup(line->identity);
	if (asprintf(&call->remote_uri, "<sip:%s%s", order->remote_number, domain) < 0)
		call->remote_uri = NULL;
	if (!call->local_uri || !call->remote_uri)
		return false;
	call->call.local = order->offer;
	call->call.has_local = true;
	if (!sdp_write(sdp, sizeof(sdp), &call->origin, &order->offer, NULL, 0))
		return false;
	call->sdp = strdup(sdp);
	sofia_debug_text(LOG_SIP_MEDIA, &call->call, "offer built", sdp, strlen(sdp));
	sofia_random_token(line->sofia, token, 13);
	bus_random(line->sofia->bus, &first, sizeof(first));
	snprintf(sequence, sizeof(sequence), "%u INVITE", first + 1u);
	call->leg = nta_leg_tcreate(
		line->agent, sofia_call_request, call, SIPTAG_CALL_ID_STR(call->call.call_id),
		SIPTAG_FROM_STR(call->local_uri), SIPTAG_TO_STR(call->remote_uri),
		SIPTAG_CSEQ_STR(sequence), TAG_END());
	return call->sdp && call->leg && nta_leg_tag(call->leg, token);
}

static enum sofia_outcome place(struct sofia_line *line, const struct sofia_call_order *order)
{
	struct sofia_call *call = sofia_call_new(line, CALL_OUTGOING);
	enum sofia_outcome outcome = SOFIA_FAILED;

	if (!call)
		return SOFIA_FAILED;
	if (prepare(call, order))
		outcome = send_invite(call);
	if (outcome != SOFIA_DONE) {
		sofia_dialog_forget(call);
		sofia_call_free(call);
		return outcome;
	}
	sofia_attempt_note(line->sofia, order->tunnel, order->attempt);
	log_debug(LOG_SIP_TRANSLATE, order->tunnel, order->remote_number, "%s -> %s",
	          order->remote_number, call->remote_uri);
	log_debug(LOG_SIP_FEATURE, order->tunnel, order->remote_number,
	          "Supported: %s, Session-Expires %u s", sofia_reliable_supported(line),
	          call->asked_sec);
	log_session(LOG_INFO, order->tunnel, order->remote_number, "call %s: INVITE sent",
	            call->call.call_id);
	sofia_call_begin(call);
	sofia_loop_wake(line->sofia->loop);
	return SOFIA_DONE;
}

enum sofia_outcome sofia_place_call(struct sofia *sofia, const struct sofia_call_order *order)
{
	struct sofia_line *line = sofia_line_by_number(sofia, order->local_number);
	enum sofia_outcome outcome;

	log_debug(LOG_SIP_FUNCTION, order->tunnel, order->remote_number,
	          "sofia_place_call attempt %llu from line %s", (unsigned long long)order->attempt,
	          order->local_number);
	if (is_settled(sofia, order, &outcome))
		return outcome;
	if (!line)
		return SOFIA_UNKNOWN;
	return line->agent ? place(line, order) : SOFIA_UNREADY;
}

static void drop_ack(struct sofia_call *call)
{
	if (call->ack)
		nta_outgoing_destroy(call->ack);
	call->ack = NULL;
}

void sofia_call_keep_ack(struct sofia_call *call, nta_outgoing_t *ack)
{
	drop_ack(call);
	call->ack = ack;
	start_invite_timer(call, SETTLED_MSEC);
}

void sofia_call_send_ack(struct sofia_call *call)
{
	char cseq[32];

	snprintf(cseq, sizeof(cseq), "%u ACK", call->invite_cseq);
	/* nta looks for the INVITE, and aborts without it, unless its branch is given: after a restart there is none. */
	sofia_call_keep_ack(call, nta_outgoing_tcreate(call->leg, NULL, NULL, NULL, SIP_METHOD_ACK,
	                                               NULL, NTATAG_ACK_BRANCH(call->branch),
	                                               SIPTAG_CSEQ_STR(cseq),
	                                               SOFIA_AUTH_TAGS(&call->auth), TAG_END()));
	if (!call->ack)
		log_session(LOG_ERR, call->call.tunnel, call->call.remote_number,
		            "ACK cannot be sent");
}

void sofia_call_send_cancel(struct sofia_call *call)
{
	nta_outgoing_tcancel(call->invite, NULL, NULL, TAG_END());
}

void sofia_call_keep_refusal(struct sofia_call *call, int status, const sip_t *sip)
{
	call->call.sip_status = (unsigned)status;
	const char *failure = sofia_local_failure(sip);
	char text[SOFIA_CAUSE_SIZE];

	log_debug(LOG_SIP_ERROR, call->call.tunnel, call->call.remote_number,
	          "INVITE failed: %d %s", status, failure ? failure : "");
	if (failure || !sip) {
		call_set_cause(&call->call, "the carrier %s",
		               failure ? sofia_line_print_failure(call->line, failure, text)
		                       : "does not answer");
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

static bool send_invite_again(struct sofia_call *call)
{
	sofia_call_drop_invite(call);
	sofia_reliable_forget(call);
	if (send_invite(call) == SOFIA_DONE)
		return true;
	call_set_cause(&call->call, "the INVITE cannot be repeated: %s",
	               call->line->sofia->store_failure);
	return false;
}

/* 401, 407 and 422 are answered by the INVITE once more, unless the call is not wanted any more. */
static bool repeat_invite(struct sofia_call *call, nta_outgoing_t *request, int status,
                          const sip_t *sip)
{
	struct sofia_line *line = call->line;
	char why[SOFIA_CAUSE_SIZE];

	if (!is_wanted(call) || !sip)
		return false;
	if (status == 401 || status == 407) {
		if (!sofia_auth_challenged(&call->auth, line, request, sip, why, sizeof(why))) {
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
	return send_invite_again(call);
}

/*
 * The server is dead or says that it is overloaded (RFC 3261 section 21.5.4): the same attempt goes to the next one, as a
 * new transaction.
 */
static bool try_next_server(struct sofia_call *call, int status, const sip_t *sip)
{
	const char *failure = sofia_local_failure(sip);
	char why[64];

	if (!is_wanted(call) || (status != 503 && !(failure && status == 408)))
		return false;
	snprintf(why, sizeof(why), "%s",
	         failure ? "did not answer INVITE" : "answered INVITE with 503");
	return sofia_line_server_failed(call->line, why) && send_invite_again(call);
}

static void refused(struct sofia_call *call, int status, const sip_t *sip)
{
	sofia_call_keep_refusal(call, status, sip);
	sofia_call_handle(call, CALL_EVENT_REFUSED);
}

/*
 * All that is answered to the INVITE has been: messages and transactions, 15 kB, need not stay as long as the call. A 2xx that
 * comes later still is acknowledged by sofia_attempt_response().
 */
static void settle(struct sofia_call *call)
{
	sofia_call_drop_invite(call);
	drop_ack(call);
}

static void give_up_server(struct sofia_call *call)
{
	if (!call->invite || nta_outgoing_status(call->invite) >= 100 || !is_wanted(call))
		return;
	if (!try_next_server(call, 408, NULL)) {
		sofia_call_drop_invite(call);
		call_set_cause(&call->call, "the carrier does not answer");
		refused(call, 408, NULL);
	}
}

static void on_invite_timer(evutil_socket_t fd, short what, void *context)
{
	struct sofia_call *call = context;

	(void)fd;
	(void)what;
	if (call->is_acknowledged)
		settle(call);
	else
		give_up_server(call);
	sofia_loop_wake(call->line->sofia->loop);
}

/* The SDP of the 2xx, or of the reliable response before it that need not be repeated (RFC 3262 section 5). NULL = none. */
static const char *find_answer(const struct sofia_call *call, const sip_t *sip, size_t *size)
{
	const sip_payload_t *body = sip->sip_payload;

	if (body && body->pl_len) {
		*size = body->pl_len;
		return sip->sip_content_type && strcasecmp(sip->sip_content_type->c_type,
		                                           "application/sdp") == 0
		               ? body->pl_data
		               : NULL;
	}
	const char *early = sofia_reliable_answer(call, sip->sip_to->a_tag);
	*size = early ? strlen(early) : 0;
	return early;
}

enum call_event sofia_call_read_answer(struct sofia_call *call, const sip_t *sip)
{
	struct session_timer_terms terms = sofia_session_terms(sip);
	struct sdp_description description;
	struct sdp_problem problem;
	size_t size;

	if (sip->sip_payload)
		sofia_debug_text(LOG_SIP_MEDIA, &call->call, "answer received",
		                 sip->sip_payload->pl_data, sip->sip_payload->pl_len);
	nta_leg_rtag(call->leg, sip->sip_to->a_tag);
	nta_leg_client_route(call->leg, sip->sip_record_route, sip->sip_contact);
	const struct session_timer_wish asked = {call->asked_sec,
	                                         sofia_session_wish(call->line->sofia).minimum_sec};
	call->timer = session_timer_of_answer(&terms, &asked);
	call->peer_takes_update = sip_is_allowed(sip->sip_allow, SIP_METHOD_UPDATE);
	const struct sdp_policy policy = sofia_call_policy(call->line, call->call.remote_number);
	const char *text = find_answer(call, sip, &size);
	if (!text) {
		call_set_cause(&call->call, "bad answer: no SDP");
		return CALL_EVENT_BAD_ANSWER;
	}
	if (!sdp_read(text, size, &description, &problem) ||
	    !sdp_check_answer(&description, call->call.local.role, &call->call.remote, &problem) ||
	    !sdp_apply_policy(&call->call.remote, &policy, &problem)) {
		call_set_cause(&call->call, "bad answer: %s", problem.text);
		return CALL_EVENT_BAD_ANSWER;
	}
	call->call.has_remote = true;
	return CALL_EVENT_GOOD_ANSWER;
}

/* An answered call that could not be stored would be lost with the process: it is ended at once. */
static void answered(struct sofia_call *call, const sip_t *sip)
{
	enum call_event event = sofia_call_read_answer(call, sip);

	if (event == CALL_EVENT_GOOD_ANSWER && is_wanted(call) &&
	    !sofia_dialog_store_ahead(call, CALL_STATE_ANSWERED)) {
		call_set_cause(&call->call, "%s", call->line->sofia->store_failure);
		event = CALL_EVENT_BAD_ANSWER;
	}
	sofia_call_handle(call, event);
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);

	if (request != call->invite)
		return 0;
	if (status >= 200)
		bind_transaction(request, status < 300 && sip ? sip->sip_to->a_tag : "nobody");
	if (status < 200) {
		bus_fault_point(call->line->sofia->bus, "sip-agent.after-provisional");
		if (sip && status > 100)
			sofia_reliable_received(call, sip);
		sofia_call_handle(call, status == 100 ? CALL_EVENT_TRYING : CALL_EVENT_RINGING);
	} else if (status < 300 && sip && call->call.state == CALL_STATE_ENDED) {
		/* We had stopped waiting for it. */
		sofia_attempt_end_stray(call->line->agent, sip);
	} else if (status < 300 && sip) {
		answered(call, sip);
	} else if (!repeat_invite(call, request, status, sip) &&
	           !try_next_server(call, status, sip)) {
		refused(call, status, sip);
	}
	return 0;
}
