/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Provisional responses that are sent until they are acknowledged by a PRACK (RFC 3262), theirs and ours. */
#include <sofia-sip/sip_util.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

const char *sofia_reliable_supported(const struct sofia_line *line)
{
	return line->config->reliable_provisional == RELIABLE_OFF ? "timer" : "timer, 100rel";
}

/* The early dialog of the response; NULL when there are too many. */
static struct sofia_early_dialog *find_early(struct sofia_call *call, const char *tag)
{
	size_t i = 0;

	while (i < call->early_count && strcasecmp(call->early[i].tag, tag) != 0)
		i++;
	if (i < call->early_count)
		return &call->early[i];
	if (i == SOFIA_EARLY_MAXIMUM || strlen(tag) >= sizeof(call->early[i].tag))
		return NULL;
	struct sofia_early_dialog *more = realloc(call->early, (i + 1) * sizeof(*more));
	if (!more)
		return NULL;
	call->early = more;
	call->early[i] = (struct sofia_early_dialog){0};
	snprintf(call->early[i].tag, sizeof(call->early[i].tag), "%s", tag);
	return &call->early[call->early_count++];
}

/* Whether its reliable responses still wait for their PRACKs: a final one makes them needless. */
static bool is_early(const struct sofia_call *call)
{
	return call->invite && nta_outgoing_status(call->invite) < 200;
}

/*
 * A PRACK that is challenged is sent once more, with credentials, as any request (RFC 3261 section 22.2). Whatever else is said
 * to it, the INVITE decides.
 */
static int on_prack_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_call *call = context;
	const int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);
	struct sofia_auth auth = {0};
	char why[SOFIA_CAUSE_SIZE];
	size_t i = 0;

	while (i < call->early_count && call->early[i].prack != request)
		i++;
	if (status < 200 || i == call->early_count)
		return 0;
	msg_t *message = nta_outgoing_getrequest(request);
	const sip_t *sent = message ? sip_object(message) : NULL;
	call->early[i].prack = NULL;
	if (sip && sent && is_early(call) && (status == 401 || status == 407) &&
	    !sent->sip_authorization && !sent->sip_proxy_authorization &&
	    sofia_auth_challenged(&auth, call->line, request, sip, why, sizeof(why)))
		call->early[i].prack = nta_outgoing_tcreate(
			call->leg, on_prack_response, call, NULL, SIP_METHOD_PRACK,
			(const url_string_t *)sent->sip_request->rq_url, SIPTAG_TO(sent->sip_to),
			SIPTAG_ROUTE(sent->sip_route), SIPTAG_RACK(sent->sip_rack),
			SOFIA_AUTH_TAGS(&auth), TAG_END());
	sofia_auth_reset(&auth);
	nta_outgoing_destroy(request);
	if (message)
		msg_destroy(message);
	return 0;
}

/*
 * The PRACK goes where the response says, in the early dialog of its tag; the numbers are taken from the one sequence of the
 * call, so that they rise in every dialog that may come of it.
 */
static void acknowledge(struct sofia_call *call, struct sofia_early_dialog *early, const sip_t *sip)
{
	su_home_t home[1] = {SU_HOME_INIT(home)};
	char acknowledged[64], route[SOFIA_URI_SIZE + 8];
	sip_route_t *routes = sip_route_reverse(home, sip->sip_record_route);
	const url_t *target = sip->sip_contact ? sip->sip_contact->m_url : sip->sip_to->a_url;

	sofia_transport_print_route(call, route, sizeof(route));
	snprintf(acknowledged, sizeof(acknowledged), "%lu %lu INVITE",
	         (unsigned long)sip->sip_rseq->rs_response, (unsigned long)sip->sip_cseq->cs_seq);
	/* Given back, the one before goes on by itself. */
	if (early->prack)
		nta_outgoing_destroy(early->prack);
	early->prack =
		nta_outgoing_tcreate(call->leg, on_prack_response, call, NULL, SIP_METHOD_PRACK,
	                             (const url_string_t *)target, SIPTAG_TO(sip->sip_to),
	                             TAG_IF(routes, SIPTAG_ROUTE(routes)),
	                             TAG_IF(!routes && !sip->sip_contact, SIPTAG_ROUTE_STR(route)),
	                             SIPTAG_RACK_STR(acknowledged), TAG_END());
	if (!early->prack)
		log_session(LOG_ERR, call->call.tunnel, call->call.remote_number,
		            "PRACK cannot be sent");
	su_home_deinit(home);
}

void sofia_reliable_received(struct sofia_call *call, const sip_t *sip)
{
	struct sofia_early_dialog *early;

	if (call->line->config->reliable_provisional == RELIABLE_OFF || !sip->sip_rseq ||
	    !sip_has_feature(sip->sip_require, "100rel") || !sip->sip_to->a_tag)
		return;
	early = find_early(call, sip->sip_to->a_tag);
	/* The next one in order alone: an older one has its PRACK, a later one comes again (section 4). */
	if (!early || (early->sequence && sip->sip_rseq->rs_response != early->sequence + 1))
		return;
	early->sequence = sip->sip_rseq->rs_response;
	if (sip->sip_payload && sip->sip_payload->pl_len && !early->answer)
		early->answer = strndup(sip->sip_payload->pl_data, sip->sip_payload->pl_len);
	acknowledge(call, early, sip);
}

const char *sofia_reliable_answer(const struct sofia_call *call, const char *tag)
{
	for (size_t i = 0; tag && i < call->early_count; i++)
		if (strcasecmp(call->early[i].tag, tag) == 0)
			return call->early[i].answer;
	return NULL;
}

void sofia_reliable_forget(struct sofia_call *call)
{
	for (size_t i = 0; i < call->early_count; i++) {
		if (call->early[i].prack)
			nta_outgoing_destroy(call->early[i].prack);
		free(call->early[i].answer);
	}
	free(call->early);
	call->early = NULL;
	call->early_count = 0;
}

bool sofia_reliable_is_missing(const struct sofia_line *line, const sip_t *sip)
{
	return line->config->reliable_provisional == RELIABLE_REQUIRED &&
	       !sip_has_feature(sip->sip_supported, "100rel") &&
	       !sip_has_feature(sip->sip_require, "100rel");
}

/* Whoever asks for it hears that we are there; the decision takes milliseconds, and nobody else needs to. */
void sofia_reliable_ring(struct sofia_call *call, const sip_t *sip)
{
	const enum config_reliable option = call->line->config->reliable_provisional;

	if (option == RELIABLE_OFF ||
	    (option == RELIABLE_SUPPORTED && !sip_has_feature(sip->sip_require, "100rel")))
		return;
	/* nta sends it again until its PRACK, and answers that */
	nta_reliable_treply(call->incoming, NULL, NULL, SIP_180_RINGING,
	                    SIPTAG_CONTACT_STR(call->line->contact), SIPTAG_ALLOW_STR(SOFIA_ALLOW),
	                    TAG_END());
}
