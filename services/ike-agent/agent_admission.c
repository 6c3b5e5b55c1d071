/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who may begin an IKE_SA with us, as ike_admission.c judges: the answers sent, the refusals counted and told. */
#include <stdlib.h>
#include <sys/random.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/ike-agent/agent.h"

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
	agent->half_open.reason = "half-open";
	agent->unannounced.reason = "no-session";
}

/** The first, second, fourth ... event of a class is a line of the log. */
static void note_refusal(struct drop_counter *counter, const char *tunnel,
                         const struct sockaddr_storage *remote)
{
	unsigned count = ++counter->count;
	char source[ADDRESS_TEXT_SIZE];

	if ((count & (count - 1)) == 0)
		log_session(LOG_WARNING, tunnel, NULL,
		            "security event=ike-refused class=%s source=%s count=%u",
		            counter->reason, address_format_port(remote, source), count);
}

static unsigned count_half_open(const struct ike_session *session)
{
	unsigned count = 0;

	for (size_t i = 0; i < session->sa_count; i++)
		count += !session->sas[i].is_up && !session->sas[i].is_initiator;
	return count;
}

bool agent_admit_packet(struct ike_agent *agent, const struct ike_session *session,
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
		agent_send_packet(agent, session->if_id, session->attempt, remote, reply,
		                  sizeof(reply));
		return false;
	case IKE_TOO_MANY:
		note_refusal(&agent->half_open, session->tunnel, remote);
		return false;
	default:
		return true;
	}
}

void agent_refuse_packet(struct ike_agent *agent, const char *tunnel,
                         const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	if (ike_message_begins_sa(packet, size))
		note_refusal(&agent->unannounced, tunnel, remote);
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

void agent_describe_admission(struct ike_agent *agent, Vpnsip__IkeAdmission *message)
{
	const struct ike_admission *admission = &agent->admission;
	const struct engine_counts engine = engine_count();
	struct counting counting = {0};
	uint64_t begun_and_done;

	session_table_each(agent->sessions, count_session, &counting);
	begun_and_done = agent->begun_by_us - counting.pending_by_us;
	message->ike_sas = engine.ike_sas;
	message->established = counting.up;
	message->half_open = engine.half_open;
	message->maximum_half_open = admission->maximum_half_open;
	message->cookie_threshold = admission->cookie_threshold;
	message->incoming_accepted = admission->accepted - engine.refused_proposals;
	message->rejected_by_half_open = agent->half_open.count;
	message->rejected_by_session = agent->unannounced.count;
	message->rejected_by_proposal = engine.refused_proposals;
	message->incoming_rejected = message->rejected_by_half_open + message->rejected_by_session +
	                             message->rejected_by_proposal;
	message->outgoing_accepted = agent->up_by_us;
	message->outgoing_rejected = begun_and_done - agent->up_by_us;
	message->cookies_demanded = admission->cookies_demanded;
	message->cookies_proven = admission->cookies_proven;
	message->packets_dropped = agent->crowded.count + agent->congested.count;
	message->child_sas = engine.inbound_sas;
}
