/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * StopIke: the session is forgotten at once, its IKE_SAs live on in the engine until the peer has answered their DELETE. The order is answered
 * after that: whoever gave it keeps the path of the IKE packets for so long.
 */
#include <stdlib.h>
#include <utlist.h>

#include "services/ike-agent/agent.h"

/** A stopped session. */
struct ending {
	struct ending *next;
	uint32_t if_id;
	uint64_t attempt;
	uint32_t sas[IKE_SAS_MAX]; /* that are not gone yet */
	size_t sa_count;
	struct bus_request *request;
};

static void finish(struct ike_agent *agent, struct ending *ending)
{
	bus_done(ending->request);
	LL_DELETE(agent->endings, ending);
	free(ending);
}

/** Takes the session's place; it answers the request. */
static void begin(struct ike_agent *agent, struct ike_session *session, struct bus_request *request)
{
	struct ending *ending = calloc(1, sizeof(*ending));

	if (!ending) { /* as if the peer did not answer */
		agent_end_session(agent, session);
		bus_done(request);
		return;
	}
	ending->if_id = session->if_id;
	ending->attempt = session->attempt;
	ending->request = request;
	for (size_t i = 0; i < session->sa_count; i++) {
		if (session->sas[i].is_superseded) {
			engine_end_sa(session->sas[i].sa, false);
			continue;
		}
		ending->sas[ending->sa_count++] = session->sas[i].sa;
		engine_close_sa(session->sas[i].sa);
	}
	engine_retire_session(session->if_id, session->attempt);
	session_table_remove(agent->sessions, session->if_id);
	LL_PREPEND(agent->endings, ending);
	if (ending->sa_count == 0)
		finish(agent, ending);
}

static struct ending *find(struct ike_agent *agent, uint32_t if_id, uint64_t attempt)
{
	struct ending *ending = agent->endings;

	while (ending && (ending->if_id != if_id || ending->attempt > attempt))
		ending = ending->next;
	return ending;
}

void agent_stop_ike(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__StopIke *order)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config,
	                                                       order->tunnel);
	struct ike_session *session;
	struct ending *ending;

	if (!peer) {
		bus_done(request);
		return;
	}
	session_table_end_attempt(agent->sessions, peer->if_id, order->attempt);
	session = session_table_find(agent->sessions, peer->if_id);
	ending = find(agent, peer->if_id, order->attempt);
	if (session && session->attempt <= order->attempt) {
		begin(agent, session, request);
		bus_touch_state(agent->service->bus);
	} else if (ending) {
		/* Ordered again: whoever waited has given up. */
		bus_done(ending->request);
		ending->request = request;
	} else {
		bus_done(request);
	}
}

static void forget_sa(struct ending *ending, uint32_t sa)
{
	for (size_t i = 0; i < ending->sa_count; i++)
		if (ending->sas[i] == sa)
			ending->sas[i--] = ending->sas[--ending->sa_count];
}

void agent_take_gone(struct ike_agent *agent, uint32_t sa)
{
	struct ending *ending, *next;

	LL_FOREACH_SAFE (agent->endings, ending, next) {
		forget_sa(ending, sa);
		if (ending->sa_count == 0)
			finish(agent, ending);
	}
}

void agent_close_endings(struct ike_agent *agent)
{
	struct ending *ending, *next;

	LL_FOREACH_SAFE (agent->endings, ending, next) {
		bus_fail(ending->request, VPNSIP__FAILURE_KIND__SYSTEM, "ike-agent is leaving");
		LL_DELETE(agent->endings, ending);
		free(ending);
	}
}
