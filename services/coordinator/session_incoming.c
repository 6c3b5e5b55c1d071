/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"
#include "services/coordinator/offer.h"
#include "services/coordinator/session.h"

#define PROBE_MSEC 2000

static const struct fingerprint *find_fingerprint(const struct media *media,
                                                  Vpnsip__FingerprintSubject subject,
                                                  const char *hash)
{
	for (size_t i = 0; i < media->fingerprint_count; i++) {
		const struct fingerprint *fingerprint = &media->fingerprints[i];

		if (fingerprint->subject == subject &&
		    (!hash || !strcasecmp(fingerprint->hash, hash)))
			return fingerprint;
	}
	return NULL;
}

/* RFC 6193 section 8.2: both sides show the same value; leaving it out is legal. */
static bool psk_fingerprint_differs(const struct media *ours, const struct media *theirs)
{
	const Vpnsip__FingerprintSubject psk = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;

	for (size_t i = 0; i < ours->fingerprint_count; i++) {
		const struct fingerprint *own = &ours->fingerprints[i];
		const struct fingerprint *other = find_fingerprint(theirs, psk, own->hash);

		if (own->subject == psk && other &&
		    (other->size != own->size || memcmp(other->value, own->value, own->size) != 0))
			return true;
	}
	return false;
}

static bool pin_differs(const struct config_peer *peer, const struct media *theirs)
{
	for (size_t i = 0; i < theirs->fingerprint_count; i++) {
		const struct fingerprint *shown = &theirs->fingerprints[i];

		if (!strcasecmp(shown->hash, peer->fingerprint_hash) &&
		    shown->size == peer->fingerprint_size &&
		    !memcmp(shown->value, peer->fingerprint, shown->size))
			return false;
	}
	return peer->has_fingerprint;
}

/* Of a self-signed certificate nothing else is believed: a call without one costs money for nothing. */
static bool lacks_fingerprint(const struct config_peer *peer, const struct media *theirs)
{
	return peer->ike_profile->authentication == AUTHENTICATION_SELF_SIGNED &&
	       !find_fingerprint(theirs, VPNSIP__FINGERPRINT_SUBJECT__CERTIFICATE, NULL);
}

const char *answer_refusal(const struct session *session)
{
	const struct media *answer = &session->remote;

	if (answer->bandwidth_kbit < session->peer->minimum_bandwidth_kbit)
		return "its bandwidth is below the configured minimum";
	if (answer->role != VPNSIP__SETUP_ROLE__PASSIVE)
		return "its ike-setup is not passive";
	if (psk_fingerprint_differs(&session->local, answer))
		return "its psk-fingerprint is of another key than ours";
	if (pin_differs(session->peer, answer))
		return "its fingerprint is not the one pinned for this peer";
	if (lacks_fingerprint(session->peer, answer))
		return "the fingerprint of a certificate is missing in it";
	return NULL;
}

static void refuse(struct session *session, const char *call_id, uint32_t sip_status,
                   const char *reason, uint32_t warning_code, const char *why)
{
	const struct coordinator_port *port = session->core->port;

	snprintf(session->cause, sizeof(session->cause), "incoming call refused with %u: %s",
	         sip_status, why);
	log_session(LOG_NOTICE, session->peer->tunnel, session->peer->number, "%s", session->cause);
	port->reject(port->context, call_id, sip_status, reason, warning_code,
	             warning_code ? why : NULL);
	port->session_changed(port->context, session);
}

/* A cost guard bars it. */
static void shed(struct session *session, const char *call_id, enum admission_guard guard)
{
	const struct admission_guard_description *why = &admission_guards[guard];

	session->core->counters.offers_shed += guard == GUARD_SETUPS;
	admission_refused(session, why->cause);
	refuse(session, call_id, why->offer_status, why->offer_reason, 0, why->cause);
}

void session_consider_offer(struct session *session, const struct call_report *call)
{
	const struct config_peer *peer = session->peer;
	enum admission_guard guard = admission_bars_offer(session);

	if (!peer->is_enabled)
		refuse(session, call->call_id, 403, "Forbidden", 0, "the peer is disabled");
	else if (session->core->is_shutting_down || !session->line->is_wan_up)
		refuse(session, call->call_id, 480, "Temporarily Unavailable", 0,
		       "the line is down or shutting down");
	else if (guard != GUARD_COUNT)
		shed(session, call->call_id, guard);
	else if (call->media->bandwidth_kbit < peer->minimum_bandwidth_kbit)
		refuse(session, call->call_id, 488, "Not Acceptable Here", 370,
		       "below configured minimum bandwidth");
	else if (pin_differs(peer, call->media))
		refuse(session, call->call_id, 488, "Not Acceptable Here", 399,
		       "the fingerprint is not the one pinned for this peer");
	else if (lacks_fingerprint(peer, call->media))
		refuse(session, call->call_id, 488, "Not Acceptable Here", 306,
		       "the fingerprint of a certificate is missing");
	else
		session_begin_incoming(session, call->call_id, call->media);
}

void session_supersede_offer(struct session *session, const struct call_report *call)
{
	session_keep_waiting(session, call);
	session_release(session, false, "the caller calls anew");
}

void session_refuse_offer_for(struct session *session, Vpnsip__FailureKind kind, const char *cause)
{
	(void)cause;
	if (session->direction != VPNSIP__DIRECTION__INCOMING)
		return;
	if (kind == VPNSIP__FAILURE_KIND__CONFIG) {
		session->reject_status = 488;
		session->reject_reason = "Not Acceptable Here";
		session->reject_warning_code = 399;
	} else {
		session->reject_status = 500;
		session->reject_reason = "Server Internal Error";
		session->reject_warning_code = 0;
	}
}

static bool is_ordered(const struct session *session, enum step step)
{
	return session->ordered & BIT(step);
}

/* The side that is called and passive lets libcharon wait; it must be ready before the other side has our answer. */
static bool is_responder(const struct session *session)
{
	return session->local.role == VPNSIP__SETUP_ROLE__PASSIVE;
}

/* Prepared: the last check that needs no peer, then the path; a 200 starts the bill, so it comes last. */
static void order_incoming_path(struct session *session)
{
	if (psk_fingerprint_differs(&session->local, &session->remote)) {
		session->reject_status = 488;
		session->reject_reason = "Not Acceptable Here";
		session->reject_warning_code = 399;
		session_release(session, false,
		                "psk-fingerprint of the offer is of another key than ours");
		return;
	}
	session_order(session, STEP_INSTALL_TRANSLATION);
	session_order(session, STEP_INSTALL_SHAPER);
	session_order(session, STEP_SET_PEER);
	if (is_responder(session))
		session_order(session, STEP_START_IKE);
}

void session_advance_incoming(struct session *session)
{
	unsigned needed = STEPS_PATH | (is_responder(session) ? BIT(STEP_START_IKE) : 0);

	if (!session_has_finished(session, STEPS_PREPARING))
		return;
	if (!is_ordered(session, STEP_SET_PEER)) {
		order_incoming_path(session);
		return;
	}
	if (!session_has_finished(session, needed))
		return;
	if (!is_ordered(session, STEP_ANSWER_CALL)) {
		session->core->counters.calls_answered++;
		session_order(session, STEP_ANSWER_CALL);
		return;
	}
	if (session_has_finished(session, BIT(STEP_ANSWER_CALL))) {
		admission_call_answered(
			session, session->core->port->mono_usec(session->core->port->context));
		session_become(session, SESSION_NEGOTIATING, "call answered by us");
		if (session->is_acknowledged && !is_responder(session))
			session_order(session, STEP_START_IKE);
		session_establish_when_complete(session);
	}
}

void session_keep_waiting(struct session *session, const struct call_report *call)
{
	session_refuse_waiting(session, 486, "Busy Here");
	session->waiting.is_present = true;
	snprintf(session->waiting.call_id, sizeof(session->waiting.call_id), "%s", call->call_id);
	session->waiting.offer = *call->media;
}

void session_refuse_waiting(struct session *session, uint32_t sip_status, const char *reason)
{
	const struct coordinator_port *port = session->core->port;

	if (!session->waiting.is_present)
		return;
	session->waiting.is_present = false;
	port->reject(port->context, session->waiting.call_id, sip_status, reason, 0, NULL);
}

/*
 * A peer that calls although our session with it runs has most likely restarted. Anything heard from it on the session's
 * port after the probe says otherwise.
 */
void session_probe_for(struct session *session, const struct call_report *call)
{
	const struct coordinator_port *port = session->core->port;

	session_keep_waiting(session, call);
	if (session->probe_sent_usec)
		return;
	session->probe_sent_usec = port->mono_usec(port->context);
	log_session(LOG_NOTICE, session->peer->tunnel, session->peer->number,
	            "the peer calls again: asking whether the running session is alive");
	if (is_ordered(session, STEP_START_IKE))
		session_order(session, STEP_PROBE_PEER);
	port->start_timer(port->context, session, true, PROBE_MSEC);
}

void session_finish_probe(struct session *session)
{
	bool is_alive = session->last_received_usec > session->probe_sent_usec;

	session->probe_sent_usec = 0;
	if (is_alive)
		session_refuse_waiting(session, 486, "Busy Here");
	else if (session->waiting.is_present)
		session_release(session, false,
		                "peer-restarted: it calls again and its old session is silent");
}
