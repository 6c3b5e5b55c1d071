/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the engine reports, applied to the sessions; what the bus is told of them. */
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/ike-agent/agent.h"

static const Vpnsip__IkeStatus statuses[IKE_STATE_COUNT] = {
	[IKE_STATE_WAITING] = VPNSIP__IKE_STATUS__IKE_WAITING,
	[IKE_STATE_NEGOTIATING] = VPNSIP__IKE_STATUS__IKE_NEGOTIATING,
	[IKE_STATE_UP] = VPNSIP__IKE_STATUS__IKE_UP,
	[IKE_STATE_FAILED] = VPNSIP__IKE_STATUS__IKE_FAILED,
	[IKE_STATE_ENDED] = VPNSIP__IKE_STATUS__IKE_ENDED,
};

/** The session as a message; its strings point into the session. */
static void describe(const struct ike_session *session, Vpnsip__IkeChanged *message)
{
	vpnsip__ike_changed__init(message);
	message->tunnel = (char *)session->tunnel;
	message->attempt = session->attempt;
	message->if_id = session->if_id;
	message->status = statuses[session->state];
	message->cause = (char *)session->cause;
	message->is_initiator = session->is_initiator;
	message->local_identity = (char *)session->local_number;
	message->remote_identity = (char *)session->remote_identity;
	message->ike_proposal = (char *)session->ike_proposal;
	message->esp_proposal = (char *)session->esp_proposal;
	message->initiator_spi = session->initiator_spi;
	message->responder_spi = session->responder_spi;
	message->up_since_mono_usec = session->up_since_usec;
}

const char *agent_status_name(enum ike_state state)
{
	return protobuf_c_enum_descriptor_get_value(&vpnsip__ike_status__descriptor,
	                                            (int)statuses[state])
	        ->name;
}

/** The moments in the life of a session's IKE_SAs and children, for the trace and the debug log. */
static void note_fact(struct ike_agent *agent, const struct ike_session *session,
                      const struct engine_fact *fact)
{
	static const char *const texts[] = {
		[ENGINE_SA_BEGUN] = "IKE_SA begun",
		[ENGINE_SA_REPLACED] = "IKE_SA rekeyed",
		[ENGINE_SA_GONE] = "IKE_SA gone",
		[ENGINE_CHILD_UP] = "child up",
		[ENGINE_CHILD_REKEYED] = "child rekeyed",
		[ENGINE_CHILD_GONE] = "child gone",
		[ENGINE_CAUSE] = "fault",
		[ENGINE_INITIATION_FAILED] = "initiation failed",
	};
	const char *detail = fact->cause[0] ? fact->cause : fact->esp_proposal;

	bus_trace(agent->service->bus, session->tunnel, session->attempt,
	          VPNSIP__TRACE_KIND__TRACE_IKE, NULL, !fact->is_initiator, "%s, IKE_SA %u%s%s",
	          texts[fact->kind], fact->sa, detail[0] ? ": " : "", detail);
	log_debug(LOG_IKE, session->tunnel, session->remote_number, "%s, IKE_SA %u%s%s",
	          texts[fact->kind], fact->sa, detail[0] ? ": " : "", detail);
}

static void log_state(const struct ike_session *session)
{
	const char *tunnel = session->tunnel, *number = session->remote_number;

	switch (session->state) {
	case IKE_STATE_WAITING:
		log_session(LOG_INFO, tunnel, number, "waiting for the peer's IKE%s%s",
		            session->cause[0] ? "; the last one failed: " : "", session->cause);
		break;
	case IKE_STATE_NEGOTIATING:
		log_session(LOG_INFO, tunnel, number, "negotiating IKE");
		break;
	case IKE_STATE_UP:
		log_session(LOG_NOTICE, tunnel, number, "IKE is up: %s, ESP %s",
		            session->ike_proposal, session->esp_proposal);
		break;
	case IKE_STATE_FAILED:
		log_session(LOG_NOTICE, tunnel, number, "IKE failed: %s", session->cause);
		break;
	case IKE_STATE_ENDED:
		log_session(LOG_NOTICE, tunnel, number, "IKE ended: %s", session->cause);
		break;
	case IKE_STATE_COUNT:
		break;
	}
}

void agent_publish(struct ike_agent *agent, const struct ike_session *session)
{
	Vpnsip__IkeChanged message;

	describe(session, &message);
	bus_touch_state(agent->service->bus);
	bus_publish(agent->service->bus, session->tunnel, &message.base);
	bus_trace(agent->service->bus, session->tunnel, session->attempt,
	          VPNSIP__TRACE_KIND__TRACE_STATE, NULL, false, "%s%s%s%s",
	          agent_status_name(session->state), session->cause[0] ? " (" : "", session->cause,
	          session->cause[0] ? ")" : "");
	log_state(session);
}

void agent_end_session(struct ike_agent *agent, struct ike_session *session)
{
	for (size_t i = 0; i < session->sa_count; i++)
		engine_end_sa(session->sas[i].sa, !session->sas[i].is_superseded);
	engine_retire_session(session->if_id, session->attempt);
	session_table_remove(agent->sessions, session->if_id);
}

void agent_take_fact(struct ike_agent *agent, const struct engine_fact *fact)
{
	struct ike_session *session;
	struct ike_outcome outcome;

	if (!agent->sessions)
		return;
	session = session_table_find(agent->sessions, fact->if_id);
	if (!session || session->attempt != fact->attempt) {
		/* Begun for a session that was stopped meanwhile. */
		if (fact->kind == ENGINE_SA_BEGUN || fact->kind == ENGINE_CHILD_UP)
			engine_end_sa(fact->sa, true);
		return;
	}
	note_fact(agent, session, fact);
	ike_session_apply(session, fact, bus_mono_usec(agent->service->bus), &outcome);
	if (outcome.stray[0])
		log_session(LOG_WARNING, session->tunnel, session->remote_number,
		            "another IKE_SA on the session's port failed: %s", outcome.stray);
	if (outcome.superseded)
		engine_supersede_sa(outcome.superseded);
	if (outcome.unwanted)
		engine_end_sa(outcome.unwanted, true);
	if (outcome.is_over)
		engine_retire_session(session->if_id, session->attempt);
	if (outcome.is_changed)
		agent_publish(agent, session);
}

struct snapshot_filling {
	Vpnsip__IkeChanged *messages;
	Vpnsip__IkeChanged **pointers;
	size_t count;
};

static void add_to_snapshot(void *context, struct ike_session *session)
{
	struct snapshot_filling *filling = context;

	describe(session, &filling->messages[filling->count]);
	filling->pointers[filling->count] = &filling->messages[filling->count];
	filling->count++;
}

void agent_give_snapshot(void *context, struct bus_request *request)
{
	struct ike_agent *agent = ike_agent_of(context);
	size_t count = session_table_count(agent->sessions);
	struct snapshot_filling filling = {
		.messages = calloc(count + 1, sizeof(*filling.messages)),
		.pointers = calloc(count + 1, sizeof(*filling.pointers)),
	};
	Vpnsip__IkeSnapshot snapshot = VPNSIP__IKE_SNAPSHOT__INIT;

	if (filling.messages && filling.pointers) {
		session_table_each(agent->sessions, add_to_snapshot, &filling);
		snapshot.sessions = filling.pointers;
		snapshot.n_sessions = filling.count;
		bus_reply(request, &snapshot.base);
	} else {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
	}
	free(filling.messages);
	free(filling.pointers);
}
