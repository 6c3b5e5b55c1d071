/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the engine reports, applied to the sessions. */
#include <sys/random.h>

#include "services/common/log.h"
#include "services/common/log_condition.h"
#include "services/ike-agent/agent_messages.h"

/* For a negotiation and its repetitions, after which nobody is believed any longer. */
#define REAUTHENTICATION_GRACE_SEC 60
#define REAUTHENTICATION_RETRY_SEC 5

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
		[ENGINE_PEER_HEARD] = "peer heard",
		[ENGINE_PEER_MOVED] = "peer moved",
		[ENGINE_REAUTHENTICATION_DUE] = "reauthentication is due",
		[ENGINE_REAUTHENTICATION_MISSED] = "reauthentication was missed",
		[ENGINE_CAUSE] = "fault",
		[ENGINE_INITIATION_FAILED] = "initiation failed",
	};
	const char *detail = fact->cause[0] ? fact->cause : fact->esp_proposal;

	bus_trace(agent->service->bus, session->tunnel, session->attempt,
	          VPNSIP__TRACE_KIND__TRACE_IKE, NULL, !fact->is_initiator, "%s, IKE_SA %u%s%s",
	          texts[fact->kind], fact->sa, detail[0] ? ": " : "", detail);
	log_debug(fact->kind == ENGINE_CAUSE || fact->kind == ENGINE_INITIATION_FAILED
	                  ? LOG_IKE_ERROR
	                  : LOG_IKE,
	          session->tunnel, session->remote_number, "%s, IKE_SA %u%s%s", texts[fact->kind],
	          fact->sa, detail[0] ? ": " : "", detail);
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

void agent_publish(struct ike_agent *agent, const struct ike_session *session, bool is_noteworthy)
{
	const uint32_t spis[] = {session->child.inbound_spi, session->child.outbound_spi};
	struct session_message message;

	agent_describe_session(agent, session, &message);
	log_condition_know(session->tunnel, &session->ike.remote, spis, 2);
	bus_touch_state(agent->service->bus);
	bus_publish(agent->service->bus, session->tunnel, &message.changed.base);
	if (!is_noteworthy)
		return;
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

/** Who began the IKE_SA authenticates anew some time before the end, so that the other side need not. */
static void set_reauthentication(struct ike_agent *agent, struct ike_session *session)
{
	const struct config_peer *peer = config_peer_by_if_id(agent->service->config,
	                                                      session->if_id);
	uint32_t whole_sec = peer->ike_profile->reauthentication_sec, jitter = 0;
	uint32_t margin_sec = whole_sec / 10, due_sec = whole_sec;

	if (!whole_sec)
		return;
	/* What was set up at once does not begin anew at once. */
	if (getrandom(&jitter, sizeof(jitter), 0) != sizeof(jitter))
		jitter = 0;
	if (session->is_initiator)
		due_sec -= margin_sec / 2 + jitter % (margin_sec / 2 + 1);
	session->reauthenticates_usec = bus_mono_usec(agent->service->bus) + due_sec * 1000000ull;
	engine_reauthenticate_in(session->if_id, session->attempt, due_sec,
	                         whole_sec + REAUTHENTICATION_GRACE_SEC);
}

void agent_take_fact(struct ike_agent *agent, const struct engine_fact *fact)
{
	struct ike_session *session;
	struct ike_outcome outcome;

	if (!agent->sessions)
		return;
	if (fact->kind == ENGINE_SA_GONE)
		agent_take_gone(agent, fact->sa);
	session = session_table_find(agent->sessions, fact->if_id);
	if (!session || session->attempt != fact->attempt) {
		/* Begun for a session that was stopped meanwhile. */
		if (fact->kind == ENGINE_SA_BEGUN || fact->kind == ENGINE_CHILD_UP)
			engine_end_sa(fact->sa, true);
		return;
	}
	note_fact(agent, session, fact);
	agent->begun_by_us += fact->kind == ENGINE_SA_BEGUN && fact->is_initiator;
	agent->up_by_us += fact->kind == ENGINE_CHILD_UP && fact->is_initiator &&
	                   fact->sa != session->sa_in_force;
	ike_session_apply(session, fact, bus_mono_usec(agent->service->bus), &outcome);
	if (outcome.stray[0])
		log_session(LOG_WARNING, session->tunnel, session->remote_number,
		            "another IKE_SA on the session's port failed: %s", outcome.stray);
	if (outcome.guard_class != IKE_GUARD_NONE)
		agent_note_refusal(agent, outcome.guard_class, session->tunnel, &outcome.refused);
	if (outcome.superseded)
		engine_supersede_sa(outcome.superseded, outcome.tells_superseded);
	if (outcome.unwanted)
		engine_end_sa(outcome.unwanted, true);
	if (outcome.is_heard || outcome.is_authenticated)
		agent_report_sign_of_life(agent, session);
	if (outcome.is_authenticated) /* whoever waits for the session learns it after this */
		agent_flush_signs_of_life(agent);
	if (outcome.has_moved)
		agent_follow_peer(agent, session, &outcome.moved_from);
	if (outcome.is_authenticated)
		set_reauthentication(agent, session);
	if (outcome.wants_retry)
		engine_reauthenticate_again(session->if_id, REAUTHENTICATION_RETRY_SEC);
	if (outcome.wants_initiation)
		engine_initiate(session->if_id, session->attempt);
	if (outcome.is_over)
		engine_retire_session(session->if_id, session->attempt);
	if (outcome.is_changed)
		agent_publish(agent, session, outcome.is_noteworthy);
}
