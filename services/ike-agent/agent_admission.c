/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may begin an IKE_SA with us, as ike_admission.c judges: the answers sent, the refusals counted and told. */
#include <stdlib.h>
#include <sys/random.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/ike-agent/agent.h"
#include "services/ike-agent/ike_message.h"

void agent_open_admission(struct ike_agent *agent)
{
	const struct config *config = agent->service->config;
	uint8_t secret[IKE_COOKIE_SECRET_SIZE];

	if (getentropy(secret, sizeof(secret)) != 0) {
		log_line(LOG_ERR, "no random numbers");
		abort(); /* cookies of a known secret would prove nothing */
	}
	ike_admission_init(&agent->admission, config->ike_cookie_threshold,
	                   config->maximum_half_open_ike, secret);
}

void agent_note_refusal(struct ike_agent *agent, enum ike_guard_class class, const char *tunnel,
                        const struct sockaddr_storage *remote)
{
	struct bus *bus = agent->service->bus;
	char source[ADDRESS_TEXT_SIZE];
	uint64_t count;

	address_format(remote, source);
	if (event_class_count(&agent->guard[class], source, bus_mono_usec(bus), bus_wall_usec(bus),
	                      &count))
		log_line(LOG_NOTICE, "ike.guard.reject class=%s src=%s tunnel=%s count=%llu",
		         ike_guard_class_name(class), source, tunnel ? tunnel : "-",
		         (unsigned long long)count);
}

static unsigned count_half_open(const struct ike_session *session)
{
	unsigned count = 0;

	for (size_t i = 0; i < session->sa_count; i++)
		count += !session->sas[i].is_up && !session->sas[i].is_initiator;
	return count;
}

static bool is_waiting_for_answer(const struct ike_session *session)
{
	for (size_t i = 0; session && i < session->sa_count; i++)
		if (session->sas[i].is_initiator && !session->sas[i].is_up)
			return true;
	return false;
}

/*
 * libcharon 5.9.8 acts on what nobody has authenticated: a request whose payloads cannot be parsed ends the IKE_SA, and so does an IKE_SA_INIT
 * response in place of the one that it waits for. It gets none of these.
 */
static bool is_believable(const struct ike_session *session, const uint8_t *packet, size_t size)
{
	switch (ike_message_kind(packet, size)) {
	case IKE_MESSAGE_MALFORMED:
		return false;
	case IKE_MESSAGE_ANSWERS_SA:
		return is_waiting_for_answer(session);
	default:
		return true;
	}
}

static bool may_begin(struct ike_agent *agent, const struct ike_session *session,
                      const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	const struct ike_situation situation = {
		.half_open = engine_half_open(),
		.session_half_open = count_half_open(session),
		.now_usec = bus_mono_usec(agent->service->bus),
	};
	uint8_t reply[IKE_COOKIE_REPLY_SIZE], secret[IKE_COOKIE_SECRET_SIZE];

	if (ike_admission_wants_secret(&agent->admission, situation.now_usec) &&
	    getentropy(secret, sizeof(secret)) == 0)
		ike_admission_change_secret(&agent->admission, secret, situation.now_usec);
	switch (ike_admission_judge(&agent->admission, remote, packet, size, &situation, reply)) {
	case IKE_COOKIE_DEMANDED:
		agent_note_refusal(agent, IKE_GUARD_COOKIE, session->tunnel, remote);
		agent_send_packet(agent, session->if_id, session->attempt, remote, reply,
		                  sizeof(reply));
		return false;
	case IKE_TOO_MANY:
		agent_note_refusal(agent, IKE_GUARD_HALF_OPEN, session->tunnel, remote);
		return false;
	default:
		return true;
	}
}

bool agent_admit_packet(struct ike_agent *agent, const struct ike_session *session,
                        const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	if (!is_believable(session, packet, size)) {
		agent_note_refusal(agent, IKE_GUARD_MALFORMED, session ? session->tunnel : NULL,
		                   remote);
		return false;
	}
	return !session || may_begin(agent, session, remote, packet, size);
}

void agent_refuse_packet(struct ike_agent *agent, const char *tunnel,
                         const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	if (ike_message_kind(packet, size) == IKE_MESSAGE_BEGINS_SA)
		agent_note_refusal(agent, IKE_GUARD_NO_SESSION, tunnel, remote);
}

struct counting {
	uint32_t up, pending_by_us;
};

static void count_session(void *context, struct ike_session *session)
{
	struct counting *counting = context;

	for (size_t i = 0; i < session->sa_count; i++) {
		counting->up += session->sas[i].is_up;
		counting->pending_by_us += !session->sas[i].is_up && session->sas[i].is_initiator;
	}
}

static void describe_guard(const struct ike_agent *agent, struct admission_message *message)
{
	Vpnsip__IkeAdmission *admission = &message->admission;

	admission->classes = message->pointers;
	for (int class = IKE_GUARD_NONE + 1; class < IKE_GUARD_CLASS_COUNT; class ++) {
		const struct event_class *events = &agent->guard[class];
		Vpnsip__GuardClass *described = &message->classes[admission->n_classes];

		vpnsip__guard_class__init(described);
		described->name = (char *)ike_guard_class_name(class);
		described->count = events->count;
		described->last_usec = events->last_usec;
		described->last_source = (char *)events->last_source;
		message->pointers[admission->n_classes++] = described;
	}
}

void agent_describe_admission(struct ike_agent *agent, struct admission_message *message)
{
	const struct ike_admission *own = &agent->admission;
	const struct engine_counts engine = engine_count();
	Vpnsip__IkeAdmission *admission = &message->admission;
	struct counting counting = {0};

	session_table_each(agent->sessions, count_session, &counting);
	vpnsip__ike_admission__init(admission);
	admission->ike_sas = engine.ike_sas;
	admission->established = counting.up;
	admission->half_open = engine.half_open;
	admission->maximum_half_open = own->maximum_half_open;
	admission->cookie_threshold = own->cookie_threshold;
	admission->incoming_accepted = own->accepted - engine.refused_proposals;
	admission->rejected_by_half_open = agent->guard[IKE_GUARD_HALF_OPEN].count;
	admission->rejected_by_session = agent->guard[IKE_GUARD_NO_SESSION].count;
	admission->rejected_by_proposal = engine.refused_proposals;
	admission->incoming_rejected = admission->rejected_by_half_open +
	                               admission->rejected_by_session +
	                               admission->rejected_by_proposal;
	admission->outgoing_accepted = agent->up_by_us;
	admission->outgoing_rejected = agent->begun_by_us - counting.pending_by_us -
	                               agent->up_by_us;
	admission->cookies_demanded = own->cookies_demanded;
	admission->cookies_proven = own->cookies_proven;
	admission->packets_dropped = agent->crowded.count + agent->congested.count;
	admission->child_sas = engine.inbound_sas;
	admission->messages_repeated = engine.repeated_messages;
	admission->messages_of_no_sa = engine.messages_of_no_sa;
	describe_guard(agent, message);
}
