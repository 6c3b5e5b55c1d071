/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Which tunnels ike-agent has a session for. While it is away nobody answers for the SAs: traffic goes on, and the core gives
 * them up if that lasts. A silent one (stopped, or its events late) still knows its sessions when it is heard of again.
 */
#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"

static void settle_cover(struct agent_tunnel *tunnel)
{
	struct agent *agent = tunnel->agent;

	tunnel_set_cover(&tunnel->core, agent->is_ike_up && tunnel->has_ike,
	                 bus_mono_usec(agent->bus));
}

static void take_session(struct agent *agent, const Vpnsip__IkeChanged *session)
{
	struct agent_tunnel *tunnel = agent_find_mark(agent, session->if_id);

	if (!tunnel)
		return;
	tunnel->has_ike = session->status == VPNSIP__IKE_STATUS__IKE_WAITING ||
	                  session->status == VPNSIP__IKE_STATUS__IKE_NEGOTIATING ||
	                  session->status == VPNSIP__IKE_STATUS__IKE_UP;
	settle_cover(tunnel);
}

void ike_cover_take_event(void *context, const Vpnsip__Envelope *event)
{
	struct service_context *service = context;

	if (event->body_case == VPNSIP__ENVELOPE__BODY_IKE_CHANGED)
		take_session(service->state, event->ike_changed);
}

void ike_cover_take_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct service_context *service = context;
	struct agent *agent = service->state;

	(void)peer;
	if (snapshot->body_case != VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT)
		return;
	for (size_t i = 0; i < agent->tunnel_count; i++)
		agent->tunnels[i].has_ike = false;
	for (size_t i = 0; i < snapshot->ike_snapshot->n_sessions; i++)
		take_session(agent, snapshot->ike_snapshot->sessions[i]);
	for (size_t i = 0; i < agent->tunnel_count; i++)
		settle_cover(&agent->tunnels[i]);
}

void ike_cover_take_health(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	struct service_context *service = context;
	struct agent *agent = service->state;

	/* The bus closes after stop(). */
	if (peer != VPNSIP__SERVICE__IKE_AGENT || !agent)
		return;
	agent->is_ike_up = health == VPNSIP__PEER_HEALTH__PEER_UP;
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		/* Who comes back from the dead has to say what it knows. */
		if (health == VPNSIP__PEER_HEALTH__PEER_ABSENT)
			agent->tunnels[i].has_ike = false;
		settle_cover(&agent->tunnels[i]);
	}
}
