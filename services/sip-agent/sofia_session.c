/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Session timers (RFC 4028) on the wire, and the requests that would change a session: none may. */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

#define USEC_PER_SEC     1000000ULL
/* A refresh that failed for a passing reason is tried again after this pause. */
#define RETRY_SEC        5
/* What a refresh needs to be answered before the session ends. */
#define ANSWER_WAIT_USEC (USEC_PER_SEC / 2)
/* From a restart to the question whether the peer still has the call: the line is open by then. */
#define RESUME_WAIT_USEC USEC_PER_SEC

static bool has_item(const msg_list_t *list, const char *word)
{
	for (; list; list = list->k_next)
		for (size_t i = 0; list->k_items && list->k_items[i]; i++)
			if (strcasecmp(list->k_items[i], word) == 0)
				return true;
	return false;
}

struct session_timer_terms sofia_session_terms(const sip_t *sip)
{
	struct session_timer_terms terms = {
		.minimum_sec = sip->sip_min_se ? (unsigned)sip->sip_min_se->min_delta : 0,
		.supports_timer = has_item(sip->sip_supported, "timer") ||
	                          has_item(sip->sip_require, "timer"),
	};
	const sip_session_expires_t *expires = sip->sip_session_expires;

	if (!expires)
		return terms;
	terms.interval_sec = (unsigned)expires->x_delta;
	if (expires->x_refresher && strcasecmp(expires->x_refresher, "uac") == 0)
		terms.refresher = REFRESHER_UAC;
	else if (expires->x_refresher && strcasecmp(expires->x_refresher, "uas") == 0)
		terms.refresher = REFRESHER_UAS;
	return terms;
}

struct session_timer_wish sofia_session_wish(const struct sofia *sofia)
{
	const unsigned *timers = sofia->config->timer_msec;
	const unsigned minimum = timers[TIMER_SESSION_MINIMUM] / 1000;
	const unsigned interval = timers[TIMER_SESSION_EXPIRES] / 1000;

	return (struct session_timer_wish){interval > minimum ? interval : minimum, minimum};
}

void sofia_session_print(const struct session_timer_terms *terms, char *text, size_t size)
{
	snprintf(text, size, "%u;refresher=%s", terms->interval_sec,
	         terms->refresher == REFRESHER_UAC ? "uac" : "uas");
}

static int on_refresh_response(void *context, nta_outgoing_t *request, const sip_t *sip);

/*
 * UPDATE where the peer takes it, otherwise the INVITE again with the same SDP (same version: a
 * pure refresh, RFC 3264 section 8).
 */
static void send_refresh(struct sofia_call *call)
{
	char expires[64], minimum[16];
	struct session_timer_terms terms = {
		call->timer.interval_sec, call->timer.is_refresher ? REFRESHER_UAC : REFRESHER_UAS,
		0, true};

	sofia_session_print(&terms, expires, sizeof(expires));
	snprintf(minimum, sizeof(minimum), "%u", call->minimum_sec);
	if (call->peer_takes_update)
		call->refresh = nta_outgoing_tcreate(
			call->leg, on_refresh_response, call, NULL, SIP_METHOD_UPDATE, NULL,
			SIPTAG_CONTACT_STR(call->line->contact),
			SIPTAG_SUPPORTED_STR(sofia_reliable_supported(call->line)),
			SIPTAG_SESSION_EXPIRES_STR(expires),
			SIPTAG_MIN_SE_STR(call->minimum_sec ? minimum : NULL),
			SOFIA_AUTH_TAGS(&call->later_auth), TAG_END());
	else
		call->refresh = nta_outgoing_tcreate(
			call->leg, on_refresh_response, call, NULL, SIP_METHOD_INVITE, NULL,
			SIPTAG_CONTACT_STR(call->line->contact), SIPTAG_ALLOW_STR(SOFIA_ALLOW),
			SIPTAG_SUPPORTED_STR(sofia_reliable_supported(call->line)),
			SIPTAG_SESSION_EXPIRES_STR(expires),
			SIPTAG_MIN_SE_STR(call->minimum_sec ? minimum : NULL),
			SOFIA_AUTH_TAGS(&call->later_auth),
			SIPTAG_CONTENT_TYPE_STR("application/sdp"), SIPTAG_PAYLOAD_STR(call->sdp),
			TAG_END());
}

static void on_session_timer(evutil_socket_t fd, short what, void *context);

static void schedule(struct sofia_call *call, uint64_t wait_usec)
{
	struct timeval delay = {(time_t)(wait_usec / USEC_PER_SEC),
	                        (suseconds_t)(wait_usec % USEC_PER_SEC)};

	if (!call->session_event)
		call->session_event = event_new(call->line->sofia->base, -1, 0, on_session_timer,
		                                call);
	event_add(call->session_event, &delay);
}

void sofia_session_arm(struct sofia_call *call)
{
	call->refreshed_at_usec = bus_mono_usec(call->line->sofia->bus);
	call->refreshed_at_wall_usec = bus_wall_usec(call->line->sofia->bus);
	log_debug(LOG_SIP_FEATURE, call->call.tunnel, call->call.remote_number,
	          "session timer: %u s, %s refreshes", call->timer.interval_sec,
	          call->timer.is_refresher ? "this side" : "the other side");
	if (call->timer.interval_sec == 0)
		return;
	schedule(call, USEC_PER_SEC * (call->timer.is_refresher
	                                       ? session_timer_refresh_sec(&call->timer)
	                                       : session_timer_expiry_sec(&call->timer)));
}

/*
 * The timer went on while we were away. A clock that was set back meanwhile (a box without one of its own starts in the
 * past) gives a whole interval.
 */
void sofia_session_resume(struct sofia_call *call, uint64_t refreshed_at_usec)
{
	struct sofia *sofia = call->line->sofia;
	const uint64_t now = bus_wall_usec(sofia->bus);
	const uint64_t away = refreshed_at_usec && now > refreshed_at_usec ? now - refreshed_at_usec
	                                                                   : 0;
	const uint64_t mono = bus_mono_usec(sofia->bus);

	sofia_session_arm(call);
	if (call->timer.interval_sec == 0)
		return;
	call->refreshed_at_wall_usec = now - away;
	call->refreshed_at_usec = mono > away ? mono - away : 0;
	call->is_doubtful = true;
	schedule(call, RESUME_WAIT_USEC);
}

void sofia_session_stop(struct sofia_call *call)
{
	if (call->session_event)
		event_del(call->session_event);
}

static void on_session_timer(evutil_socket_t fd, short what, void *context)
{
	struct sofia_call *call = context;
	struct sofia *sofia = call->line->sofia;
	uint64_t expiry = call->refreshed_at_usec +
	                  USEC_PER_SEC * session_timer_expiry_sec(&call->timer);
	uint64_t now = bus_mono_usec(sofia->bus);

	(void)fd;
	(void)what;
	/* libevent may be a little early against our clock */
	if (now + USEC_PER_SEC / 10 >= expiry) {
		call_set_cause(&call->call, "session timer: no refresh for %u s",
		               session_timer_expiry_sec(&call->timer));
		sofia_call_handle(call, CALL_EVENT_LOST);
	} else {
		/* After a restart we ask also where the other side refreshes: its BYE may have met nobody. */
		if ((call->timer.is_refresher || call->is_doubtful) && !call->refresh) {
			sofia_auth_reset(&call->later_auth);
			call->was_refresh_too_brief = false;
			send_refresh(call);
		}
		schedule(call, expiry - now);
	}
	sofia_loop_wake(sofia->loop);
}

static void ack_refresh(struct sofia_call *call, nta_outgoing_t *request)
{
	char cseq[32];

	snprintf(cseq, sizeof(cseq), "%u ACK", nta_outgoing_cseq(request));
	sofia_call_keep_ack(call,
	                    nta_outgoing_tcreate(call->leg, NULL, NULL, NULL, SIP_METHOD_ACK, NULL,
	                                         SIPTAG_CSEQ_STR(cseq),
	                                         SOFIA_AUTH_TAGS(&call->later_auth), TAG_END()));
}

/* The interval may only grow by a 422; the terms of the last 2xx rule. */
static void refresh_accepted(struct sofia_call *call, nta_outgoing_t *request, const sip_t *sip)
{
	struct session_timer_terms terms = sofia_session_terms(sip);

	if (nta_outgoing_method(request) == sip_method_invite)
		ack_refresh(call, request);
	const struct session_timer_wish asked = {call->timer.interval_sec,
	                                         sofia_session_wish(call->line->sofia).minimum_sec};
	call->timer = session_timer_of_answer(&terms, &asked);
	log_session(LOG_DEBUG, call->call.tunnel, call->call.remote_number,
	            "session refreshed for %u s", call->timer.interval_sec);
	call->is_doubtful = false;
	sofia_session_arm(call);
	sofia_dialog_store(call);
}

/*
 * How long to wait after a refresh that failed for a passing reason. Two refreshes that met (491) get out of each other's
 * way: the owner of the Call-ID waits 2.1 to 4 s, the other 0 to 2 s, in steps of 10 ms (RFC 3261 section 14.1).
 */
static uint64_t retry_usec(const struct sofia_call *call, int status, const sip_t *sip)
{
	const bool is_owner = call->call.direction == CALL_OUTGOING;

	if (status == 491)
		return 10000ULL * (is_owner ? 210 + sofia_random_below(call->line->sofia, 191)
		                            : sofia_random_below(call->line->sofia, 201));
	if (sip && sip->sip_retry_after)
		return USEC_PER_SEC * sip->sip_retry_after->af_delta;
	return USEC_PER_SEC * RETRY_SEC;
}

/* Later; but in time for one more before the session ends. */
static void retry_refresh(struct sofia_call *call, int status, const sip_t *sip)
{
	const uint64_t wait = retry_usec(call, status, sip);
	const uint64_t now = bus_mono_usec(call->line->sofia->bus);
	const uint64_t expiry = call->refreshed_at_usec +
	                        USEC_PER_SEC * session_timer_expiry_sec(&call->timer);
	const uint64_t left = expiry > now ? expiry - now : 0;

	if (left <= 2 * ANSWER_WAIT_USEC)
		schedule(call, left / 2);
	else
		schedule(call, wait < left - ANSWER_WAIT_USEC ? wait : left - ANSWER_WAIT_USEC);
}

/* A longer interval is asked for once; who names another one then may have the call end. */
static bool lengthen(struct sofia_call *call, int status, const sip_t *sip)
{
	if (status != 422 || !sip || !sip->sip_min_se || call->was_refresh_too_brief)
		return false;
	call->was_refresh_too_brief = true;
	call->minimum_sec = (unsigned)sip->sip_min_se->min_delta;
	if (call->timer.interval_sec < call->minimum_sec)
		call->timer.interval_sec = call->minimum_sec;
	return true;
}

static int on_refresh_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);
	char why[SOFIA_CAUSE_SIZE];

	if (request != call->refresh || status < 200)
		return 0;
	bool is_repeated = sip && (status == 401 || status == 407) &&
	                   sofia_auth_challenged(&call->later_auth, call->line, request, sip, why,
	                                         sizeof(why));
	if (sip && status < 300)
		refresh_accepted(call, request, sip);
	/* The response belongs to the request, which ends before another one begins. */
	msg_t *response = nta_outgoing_getresponse(request);
	nta_outgoing_destroy(call->refresh);
	call->refresh = NULL;
	if (status < 300)
		goto out;
	if (status == 408 || status == 481) {
		call_set_cause(&call->call, "session timer: the refresh was answered %d", status);
		sofia_call_handle(call, CALL_EVENT_LOST);
	} else if (is_repeated || lengthen(call, status, sip)) {
		send_refresh(call);
	} else {
		if (status == 405 || status == 501)
			call->peer_takes_update = false;
		retry_refresh(call, status, sip);
	}
out:
	if (response)
		msg_destroy(response);
	return 0;
}

static bool has_body(const sip_t *sip)
{
	return sip->sip_payload && sip->sip_payload->pl_len;
}

/* Whether the body, if any, describes the session as it is. */
static bool is_same_session(const struct sofia_call *call, const sip_t *sip)
{
	struct sdp_description description;
	struct sdp_tunnel offer;
	struct sdp_problem problem;
	const struct sdp_policy policy = sofia_call_policy(call->line, call->call.remote_number);
	size_t index;

	if (!has_body(sip))
		return true;
	return sdp_read(sip->sip_payload->pl_data, sip->sip_payload->pl_len, &description,
	                &problem) &&
	       sdp_check_offer(&description, &offer, &index, &problem) &&
	       sdp_apply_policy(&offer, &policy, &problem) &&
	       offer.address.s_addr == call->call.remote.address.s_addr &&
	       offer.port == call->call.remote.port &&
	       offer.bandwidth_kbit == call->call.remote.bandwidth_kbit &&
	       sdp_fingerprints_equal(&offer, &call->call.remote);
}

static int on_reinvite_ack(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	call->reinvite = NULL;
	nta_incoming_destroy(request);
	if (!sip) {
		/* RFC 3261 section 14.2 */
		call_set_cause(&call->call, "no ACK for the answer to a re-INVITE");
		sofia_call_handle(call, CALL_EVENT_LOST);
	}
	return 0;
}

/* Its 2xx is repeated until the ACK; consumes `request`. */
static void keep_reinvite(struct sofia_call *call, nta_incoming_t *request)
{
	if (call->reinvite)
		nta_incoming_destroy(call->reinvite);
	call->reinvite = request;
	nta_incoming_bind(request, on_reinvite_ack, call);
}

static void accept_refresh(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip,
                           const struct session_timer_terms *answer)
{
	const bool is_invite = sip->sip_request->rq_method == sip_method_invite;
	const bool has_answer = is_invite || has_body(sip);
	char expires[64];

	sofia_session_print(answer, expires, sizeof(expires));
	nta_leg_server_route(call->leg, NULL,
	                     sip->sip_contact); /* a target refresh (section 12.2.2) */
	nta_incoming_treply(request, SIP_200_OK, SIPTAG_CONTACT_STR(call->line->contact),
	                    SIPTAG_ALLOW_STR(SOFIA_ALLOW),
	                    SIPTAG_SUPPORTED_STR(sofia_reliable_supported(call->line)),
	                    SIPTAG_REQUIRE_STR(answer->supports_timer ? "timer" : NULL),
	                    SIPTAG_SESSION_EXPIRES_STR(expires),
	                    SIPTAG_CONTENT_TYPE_STR(has_answer ? "application/sdp" : NULL),
	                    SIPTAG_PAYLOAD_STR(has_answer ? call->sdp : NULL), TAG_END());
	if (is_invite)
		keep_reinvite(call, request);
	else
		nta_incoming_destroy(request);
	call->is_doubtful = false;
	sofia_session_arm(call);
	sofia_dialog_store(call);
}

static void refuse_change(struct sofia_call *call, nta_incoming_t *request)
{
	nta_incoming_treply(request, SIP_488_NOT_ACCEPTABLE,
	                    SIPTAG_WARNING_STR("399 vpnsip \"the session may not be changed\""),
	                    TAG_END());
	log_session(LOG_NOTICE, call->call.tunnel, call->call.remote_number,
	            "refused a request to change the session");
}

/* Whether both sides have an offer or an INVITE under way (RFC 3261 section 14.2, RFC 3311 section 5.2). */
static bool is_glare(const struct sofia_call *call, const sip_t *sip)
{
	return call->refresh && nta_outgoing_method(call->refresh) == sip_method_invite &&
	       (sip->sip_request->rq_method == sip_method_invite || has_body(sip));
}

/* The final response that needs no look at the description; 0 = none. */
static int refuse_early(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	const bool is_up = call->call.state == CALL_STATE_ANSWERED ||
	                   call->call.state == CALL_STATE_CONFIRMED;
	su_home_t home[1] = {SU_HOME_INIT(home)};
	char seconds[16];
	int refused = 0;

	snprintf(seconds, sizeof(seconds), "%u", sofia_random_below(call->line->sofia, 11));
	if (call->call.state == CALL_STATE_LEAVING || call->call.state == CALL_STATE_ENDED)
		refused = 481, nta_incoming_treply(request, SIP_481_NO_CALL, TAG_END());
	else if (!is_up || call->reinvite)
		refused = 500, nta_incoming_treply(request, SIP_500_INTERNAL_SERVER_ERROR,
		                                   SIPTAG_RETRY_AFTER_STR(seconds), TAG_END());
	else if (is_glare(call, sip))
		refused = 491, nta_incoming_treply(request, SIP_491_REQUEST_PENDING, TAG_END());
	else if (has_body(sip) &&
	         (!sip->sip_content_type ||
	          strcasecmp(sip->sip_content_type->c_type, "application/sdp") != 0))
		refused = 415, nta_incoming_treply(request, SIP_415_UNSUPPORTED_MEDIA,
		                                   SIPTAG_ACCEPT_STR("application/sdp"), TAG_END());
	else
		refused = nta_check_required(
			request, sip,
			sip_supported_make(home, sofia_reliable_supported(call->line)),
			SIPTAG_ALLOW_STR(SOFIA_ALLOW), TAG_END());
	su_home_deinit(home);
	return refused;
}

int sofia_session_request(struct sofia_call *call, nta_incoming_t *request, const sip_t *sip)
{
	const struct session_timer_wish ours = sofia_session_wish(call->line->sofia);
	const struct session_timer_terms asked = sofia_session_terms(sip);
	struct session_timer_terms answer;
	struct session_timer timer;
	char minimum[16];

	if (refuse_early(call, request, sip)) {
		log_debug(LOG_SIP_ERROR, call->call.tunnel, call->call.remote_number,
		          "%s in the dialog refused: %d", sip->sip_request->rq_method_name,
		          nta_incoming_status(request));
	} else if (!is_same_session(call, sip)) {
		refuse_change(call, request);
	} else if (!session_timer_answer(&asked, &ours, &answer, &timer)) {
		snprintf(minimum, sizeof(minimum), "%u", ours.minimum_sec);
		nta_incoming_treply(request, SIP_422_SESSION_TIMER_TOO_SMALL,
		                    SIPTAG_MIN_SE_STR(minimum), TAG_END());
	} else {
		call->timer = timer;
		accept_refresh(call, request, sip, &answer);
		return 0;
	}
	nta_incoming_destroy(request);
	return 0;
}
