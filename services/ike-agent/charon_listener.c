/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * libcharon's hooks. They run under its one bus mutex, so they write down a fact, hand it over and return TRUE
 * (FALSE would unregister them for ever).
 */
#include "services/ike-agent/charon_internal.h"

#include <encoding/payloads/delete_payload.h>
#include <stdarg.h>

/* With a pre-shared key or a certificate one exchange is enough (RFC 7296 section 1.2). */
#define IKE_AUTH_MESSAGE_ID 1

/** A fact about the IKE_SA, its session found; if_id stays 0 if it has none. */
static struct engine_fact fact_of(ike_sa_t *ike_sa, enum engine_fact_kind kind)
{
	struct charon_session *session = charon_session_of(ike_sa);
	struct engine_fact fact = {
		.kind = kind,
		.sa = ike_sa->get_unique_id(ike_sa),
		.is_initiator = ike_sa->has_condition(ike_sa, COND_ORIGINAL_INITIATOR),
	};

	if (session) {
		fact.if_id = session->if_id;
		fact.attempt = session->attempt;
	}
	charon_session_release(session);
	return fact;
}

static void report(const struct engine_fact *fact)
{
	charon_engine.host->report(charon_engine.host->context, fact);
}

static void add_spis(struct engine_fact *fact, ike_sa_t *ike_sa)
{
	ike_sa_id_t *id = ike_sa->get_id(ike_sa);

	fact->initiator_spi = be64toh(id->get_initiator_spi(id));
	fact->responder_spi = be64toh(id->get_responder_spi(id));
}

/** "AES_CBC_128/HMAC_SHA2_256_128/...", without the protocol that strongSwan writes in front. */
static void write_proposal(proposal_t *proposal, char *text)
{
	char whole[ENGINE_PROPOSAL_SIZE];
	const char *colon;

	if (!proposal)
		return;
	snprintf(whole, sizeof(whole), "%P", proposal);
	colon = strchr(whole, ':');
	snprintf(text, ENGINE_PROPOSAL_SIZE, "%s", colon ? colon + 1 : whole);
}

/** Fills and reports an ENGINE_CAUSE. */
static void report_about(ike_sa_t *ike_sa, struct engine_fact *fact)
{
	host_t *remote = ike_sa->get_other_host(ike_sa);

	memcpy(&fact->ike.remote, remote->get_sockaddr(remote), *remote->get_sockaddr_len(remote));
	report(fact);
}

void charon_report_cause(enum engine_cause_rank rank, const char *format, ...)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);
	struct engine_fact fact;
	va_list arguments;

	if (!ike_sa)
		return;
	fact = fact_of(ike_sa, ENGINE_CAUSE);
	fact.rank = rank;
	va_start(arguments, format);
	vsnprintf(fact.cause, sizeof(fact.cause), format, arguments);
	va_end(arguments);
	report_about(ike_sa, &fact);
}

void charon_report_verdict(enum ike_guard_class guard_class, const char *format, ...)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);
	struct engine_fact fact;
	va_list arguments;

	if (!ike_sa)
		return;
	fact = fact_of(ike_sa, ENGINE_CAUSE);
	fact.rank = ENGINE_CAUSE_VERDICT;
	fact.guard_class = guard_class;
	/* What is known of identity and key comes after IKE_SA_INIT was answered. */
	fact.is_proven = true;
	va_start(arguments, format);
	vsnprintf(fact.cause, sizeof(fact.cause), format, arguments);
	va_end(arguments);
	report_about(ike_sa, &fact);
}

static void report_alert(ike_sa_t *ike_sa, enum engine_cause_rank rank, bool is_proven,
                         enum ike_guard_class guard_class, const char *cause)
{
	struct engine_fact fact = fact_of(ike_sa, ENGINE_CAUSE);

	fact.rank = rank;
	fact.is_proven = is_proven;
	fact.guard_class = guard_class;
	snprintf(fact.cause, sizeof(fact.cause), "%s", cause);
	report_about(ike_sa, &fact);
}

static bool uses_certificates(ike_sa_t *ike_sa)
{
	struct charon_session *session = charon_session_of(ike_sa);
	bool is_used = session && session->certificates;

	charon_session_release(session);
	return is_used;
}

static bool alert(listener_t *this, ike_sa_t *ike_sa, alert_t alert, va_list args)
{
	bool is_ours;

	if (alert == ALERT_INVALID_IKE_SPI)
		charon_engine.messages_of_no_sa++;
	if (!ike_sa)
		return TRUE;
	switch (alert) {
	case ALERT_PEER_AUTH_FAILED:
		if (uses_certificates(ike_sa))
			report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_SIGNATURE,
			             "peer's signature is not of its certificate's key "
			             "(authentication failed)");
		else
			report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_KEY,
			             "wrong pre-shared key (authentication failed)");
		break;
	case ALERT_LOCAL_AUTH_FAILED:
		report_alert(ike_sa, ENGINE_CAUSE_REFUSED, true, IKE_GUARD_NONE,
		             uses_certificates(ike_sa)
		                     ? "peer refused our certificate or identity "
		                       "(AUTHENTICATION_FAILED)"
		                     : "peer refused our key or identity (AUTHENTICATION_FAILED)");
		break;
	case ALERT_RETRANSMIT_SEND:
		charon_begin_patience(ike_sa);
		break;
	case ALERT_RETRANSMIT_SEND_CLEARED:
		charon_end_patience(ike_sa->get_unique_id(ike_sa));
		break;
	case ALERT_HALF_OPEN_TIMEOUT:
		report_alert(ike_sa, ENGINE_CAUSE_SILENCE, false, IKE_GUARD_NONE,
		             "peer began IKE and fell silent for 30 s");
		break;
	case ALERT_PROPOSAL_MISMATCH_IKE:
		is_ours = ike_sa->has_condition(ike_sa, COND_ORIGINAL_INITIATOR);
		charon_engine.refused_proposals += !is_ours;
		report_alert(ike_sa, ENGINE_CAUSE_FAULT, false,
		             is_ours ? IKE_GUARD_NONE : IKE_GUARD_NO_PROPOSAL,
		             "no IKE proposal chosen");
		break;
	case ALERT_PROPOSAL_MISMATCH_CHILD:
		report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_NO_PROPOSAL,
		             "no ESP proposal chosen");
		break;
	case ALERT_TS_MISMATCH:
		report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_NONE,
		             "traffic selectors do not match");
		break;
	case ALERT_INSTALL_CHILD_SA_FAILED:
		report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_NONE,
		             "the SA could not be installed");
		break;
	case ALERT_AUTHORIZATION_FAILED:
		report_alert(ike_sa, ENGINE_CAUSE_FAULT, true, IKE_GUARD_IDENTITY,
		             "peer's identity is not the session's");
		break;
	case ALERT_IKE_SA_EXPIRED:
		report_alert(ike_sa, ENGINE_CAUSE_CLOSED, false, IKE_GUARD_NONE,
		             "the IKE_SA's lifetime ended before it was rekeyed");
		break;
	default:
		break;
	}
	return TRUE;
}

static void begin_lifetime(ike_sa_t *ike_sa)
{
	struct charon_session *session = charon_session_of(ike_sa);

	if (session)
		charon_begin_lifetime(ike_sa->get_unique_id(ike_sa), session);
	charon_session_release(session);
}

/*
 * The IKE_SA whose DELETE by the peer this thread is about to answer; 0 = none. Its end is told when the answer has left: who hears of
 * it may take the answer's path away.
 */
static _Thread_local uint32_t deleted_sa;

static void answer_delete(ike_sa_t *ike_sa)
{
	struct engine_fact fact = fact_of(ike_sa, ENGINE_SA_GONE);

	deleted_sa = 0;
	add_spis(&fact, ike_sa);
	if (fact.if_id != 0) /* else it is not sent */
		charon_report_after_response(&fact, INFORMATIONAL);
}

static bool ike_state_change(listener_t *this, ike_sa_t *ike_sa, ike_sa_state_t state)
{
	struct engine_fact fact;

	if (state == IKE_CONNECTING || state == IKE_ESTABLISHED)
		charon_number_sa(ike_sa);
	if (state == IKE_ESTABLISHED)
		begin_lifetime(ike_sa);
	if (state != IKE_CONNECTING && state != IKE_DESTROYING)
		return TRUE;
	fact = fact_of(ike_sa, state == IKE_CONNECTING ? ENGINE_SA_BEGUN : ENGINE_SA_GONE);
	if (state == IKE_DESTROYING) {
		charon_forget_sa(fact.sa);
		charon_end_lifetime(fact.sa);
		charon_end_patience(fact.sa);
		charon_unwatch_certificates(fact.sa);
	}
	if (state != IKE_DESTROYING || !charon_end_responses(fact.sa))
		report(&fact);
	return TRUE;
}

static bool ike_rekey(listener_t *this, ike_sa_t *old, ike_sa_t *new)
{
	struct engine_fact fact = fact_of(old, ENGINE_SA_REPLACED);

	fact.successor = new->get_unique_id(new);
	add_spis(&fact, new);
	charon_watch_certificates(old, fact.successor);
	charon_describe_ike(new, &fact.ike);
	report(&fact);
	return TRUE;
}

static void describe_authentication(ike_sa_t *ike_sa, struct engine_authentication *authentication)
{
	struct charon_session *session = charon_session_of(ike_sa);

	if (session)
		charon_describe_authentication(session, ike_sa, authentication);
	charon_session_release(session);
}

static bool child_updown(listener_t *this, ike_sa_t *ike_sa, child_sa_t *child_sa, bool up)
{
	struct engine_fact fact;
	bool is_answering_auth;

	if (!up) {
		fact = fact_of(ike_sa, ENGINE_CHILD_GONE);
		report(&fact);
		charon_end_if_childless(fact.sa);
		return TRUE;
	}
	fact = fact_of(ike_sa, ENGINE_CHILD_UP);
	is_answering_auth = !fact.is_initiator &&
	                    ike_sa->get_message_id(ike_sa, FALSE) == IKE_AUTH_MESSAGE_ID;
	add_spis(&fact, ike_sa);
	write_proposal(ike_sa->get_proposal(ike_sa), fact.ike_proposal);
	write_proposal(child_sa->get_proposal(child_sa), fact.esp_proposal);
	charon_describe_ike(ike_sa, &fact.ike);
	charon_describe_child(child_sa, &fact.child);
	charon_identity_text(ike_sa->get_other_id(ike_sa), fact.remote_identity,
	                     sizeof(fact.remote_identity));
	describe_authentication(ike_sa, &fact.authentication);
	/* Who is told sends ESP at once: not before the peer can know the SA it belongs to. */
	if (is_answering_auth)
		charon_report_after_response(&fact, IKE_AUTH);
	else
		report(&fact);
	return TRUE;
}

static bool child_rekey(listener_t *this, ike_sa_t *ike_sa, child_sa_t *old, child_sa_t *new)
{
	struct engine_fact fact = fact_of(ike_sa, ENGINE_CHILD_REKEYED);

	write_proposal(new->get_proposal(new), fact.esp_proposal);
	charon_describe_child(new, &fact.child);
	report(&fact);
	return TRUE;
}

/* libcharon follows a peer that is behind a translation, once a message of it was verified. */
static bool ike_update(listener_t *this, ike_sa_t *ike_sa, host_t *local, host_t *remote)
{
	struct engine_fact fact = fact_of(ike_sa, ENGINE_PEER_MOVED);

	memcpy(&fact.ike.remote, remote->get_sockaddr(remote), *remote->get_sockaddr_len(remote));
	report(&fact);
	return TRUE;
}

/*
 * The message was verified, and is the next in its sequence. libcharon itself does not follow where we began the IKE_SA behind a
 * translation, and each of our sessions is behind one. (From within a hook it does not call the one above.)
 */
static void hear(ike_sa_t *ike_sa, message_t *message)
{
	host_t *source = message->get_source(message), *known = ike_sa->get_other_host(ike_sa);
	struct engine_fact fact = fact_of(ike_sa, ENGINE_PEER_HEARD);

	if (ike_sa->get_state(ike_sa) != IKE_ESTABLISHED)
		return;
	report(&fact);
	if (source->equals(source, known))
		return;
	ike_sa->update_hosts(ike_sa, NULL, source, UPDATE_HOSTS_FORCE_REMOTE);
	ike_update(&charon_listener, ike_sa, message->get_destination(message), source);
}

/** True if the message is of an exchange that is over: nothing of it is looked at but its number (RFC 7296 section 2.1). */
static bool is_of_the_past(ike_sa_t *ike_sa, message_t *message)
{
	return message->get_message_id(message) <
	       ike_sa->get_message_id(ike_sa, !message->get_request(message));
}

/* What no other hook tells: where a verified message came from, how the peer authenticates, that the end of the IKE_SA was its wish. */
static bool message(listener_t *this, ike_sa_t *ike_sa, message_t *message, bool incoming,
                    bool plain)
{
	delete_payload_t *payload;

	if (incoming && !plain)
		charon_engine.repeated_messages += is_of_the_past(ike_sa, message);
	if (incoming && plain)
		hear(ike_sa, message);
	if (incoming && plain && message->get_exchange_type(message) == IKE_AUTH)
		charon_check_method(ike_sa, message);
	if (!incoming && !plain && !message->get_request(message) &&
	    deleted_sa == ike_sa->get_unique_id(ike_sa))
		answer_delete(ike_sa);
	if (!incoming || !plain || !message->get_request(message) ||
	    message->get_exchange_type(message) != INFORMATIONAL)
		return TRUE;
	payload = (delete_payload_t *)message->get_payload(message, PLV2_DELETE);
	if (!payload || payload->get_protocol_id(payload) != PROTO_IKE)
		return TRUE;
	deleted_sa = ike_sa->get_unique_id(ike_sa);
	report_alert(ike_sa, ENGINE_CAUSE_CLOSED, true, IKE_GUARD_NONE, "peer ended the IKE_SA");
	return TRUE;
}

/* The second look at identity and certificate, should libcharon ever choose what the backend or the credentials did not offer. */
static bool authorize(listener_t *this, ike_sa_t *ike_sa, bool final, bool *success)
{
	struct charon_session *session = charon_session_of(ike_sa);

	if (!session || session->is_retired ||
	    !charon_identity_is_peer(session, ike_sa->get_other_id(ike_sa)) ||
	    !charon_certificate_is_good(session, ike_sa))
		*success = FALSE;
	else if (final)
		charon_watch_certificates(ike_sa, ike_sa->get_unique_id(ike_sa));
	charon_session_release(session);
	return TRUE;
}

listener_t charon_listener = {
	.alert = alert,
	.ike_state_change = ike_state_change,
	.message = message,
	.ike_rekey = ike_rekey,
	.ike_update = ike_update,
	.child_updown = child_updown,
	.child_rekey = child_rekey,
	.authorize = authorize,
};
