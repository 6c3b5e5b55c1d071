/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `vpnsip debug ike-agent` tells; never a key. */
#include <inttypes.h>

#include "services/ike-agent/agent.h"

struct telling {
	struct bus_description *description;
	uint64_t initiated, superseded, counts[IKE_STATE_COUNT];
};

static void describe_session(void *context, struct ike_session *session)
{
	struct telling *telling = context;

	telling->counts[session->state]++;
	bus_describe(telling->description,
	             "%s %s attempt %" PRIu64 ": %s, %s, %zu IKE_SAs, SPIs %016" PRIx64
	             " %016" PRIx64 "%s%s",
	             session->tunnel, session->remote_number, session->attempt,
	             agent_status_name(session->state),
	             session->is_initiator ? "initiator" : "responder", session->sa_count,
	             session->initiator_spi, session->responder_spi, session->cause[0] ? ": " : "",
	             session->cause);
	for (size_t i = 0; i < session->sa_count; i++) {
		const struct ike_sa_entry *sa = &session->sas[i];

		telling->initiated += sa->is_initiator;
		telling->superseded += sa->is_superseded;
		bus_describe(telling->description, "%s IKE_SA %u: %s, %s%s", session->tunnel,
		             sa->sa, sa->is_initiator ? "ours" : "the peer's",
		             sa->is_up ? "up" : "pending", sa->is_superseded ? ", superseded" : "");
	}
}

void agent_describe(void *context, struct bus_description *description)
{
	struct ike_agent *agent = ike_agent_of(context);
	struct telling telling = {.description = description};
	struct engine_counts engine = engine_count();

	session_table_each(agent->sessions, describe_session, &telling);
	bus_describe_counter(description, "sessions", session_table_count(agent->sessions));
	bus_describe_counter(description, "sessions.up", telling.counts[IKE_STATE_UP]);
	bus_describe_counter(description, "sessions.negotiating",
	                     telling.counts[IKE_STATE_NEGOTIATING]);
	bus_describe_counter(description, "ike-sas", engine.ike_sas);
	bus_describe_counter(description, "ike-sas.half-open", engine.half_open);
	bus_describe_counter(description, "ike-sas.initiated", telling.initiated);
	bus_describe_counter(description, "ike-sas.superseded", telling.superseded);
	bus_describe_counter(description, "sas.inbound", engine.inbound_sas);
	bus_describe_counter(description, "sas.outbound", engine.outbound_sas);
	bus_describe_counter(description, "rekeys.waiting", agent->rekey_count);
	bus_describe_counter(description, "packets.sent", agent->packets_sent);
	bus_describe_counter(description, "packets.in-flight", agent->packets_in_flight);
	bus_describe_counter(description, "packets.delivered", agent->packets_delivered);
	bus_describe_counter(description, "drops.engine-full", agent->crowded.count);
	bus_describe_counter(description, "drops.in-flight-full", agent->congested.count);
	bus_describe_counter(description, "drops.unanswered", agent->unanswered.count);
}
