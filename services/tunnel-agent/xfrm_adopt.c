/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a former start left in the kernel. SAs of a tunnel that is still configured carry packets on: they are entered in its core as
 * nobody's, so that they are told in the snapshot, given up when no IKE session answers for them, and retired by the first new child.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "services/common/log.h"
#include "services/tunnel-agent/xfrm_backend.h"

#define SECOND_USEC 1000000u
#define DELETIONS   64

/** States and policies of no tunnel of ours are collected, for a dump must be over before others are ordered. */
struct adoption {
	struct agent *agent;
	bool takes_nothing; /* for the user-space back end: all of it goes */
	struct xfrm_state strange[DELETIONS];
	unsigned strange_count;
	uint32_t strange_policies[DELETIONS];
	unsigned policy_count;
};

static uint64_t age_usec(const struct xfrm_state *state)
{
	time_t now = time(NULL);

	return (uint64_t)now > state->added_at_sec
	               ? ((uint64_t)now - state->added_at_sec) * SECOND_USEC
	               : 0;
}

static void enter(struct agent_tunnel *tunnel, const struct xfrm_state *state, bool is_inbound)
{
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus), age = age_usec(state);
	const struct sa_terms terms = {
		.replay_window = state->replay_window,
		.limits =
			{
				.lifetime_usec = state->hard_lifetime_sec * SECOND_USEC,
				.soft_bytes = state->soft_bytes,
				.hard_bytes = state->hard_bytes,
				.soft_packets = state->soft_packets,
				.hard_packets = state->hard_packets,
			},
	};
	const char *why;

	if (known->sa_count == XFRM_TUNNEL_SAS ||
	    tunnel_enter_sa(&tunnel->core, state->spi, is_inbound, state->algorithms, &terms,
	                    now_usec > age ? now_usec - age : 0, &why) != 0)
		return;
	known->sas[known->sa_count++] = (struct xfrm_sa){
		.spi = state->spi,
		.is_inbound = is_inbound,
		.remote = is_inbound ? state->source : state->destination,
	};
	if (is_inbound)
		return;
	known->is_adopted = true;
	known->policy_remote = state->destination;
}

static void take_state(void *context, const struct xfrm_state *state)
{
	struct adoption *adoption = context;
	struct agent *agent = adoption->agent;
	bool is_inbound = xfrm_is_inbound(agent, state);
	struct agent_tunnel *tunnel = adoption->takes_nothing
	                                      ? NULL
	                                      : agent_find_mark(agent, state->if_id);

	if (!is_inbound && !xfrm_is_outbound(agent, state))
		return;
	if (tunnel)
		enter(tunnel, state, is_inbound);
	else if (adoption->strange_count < DELETIONS)
		adoption->strange[adoption->strange_count++] = *state;
}

/* Whose a policy is, is told by its if_id alone: one of ours has a tunnel of that number, now or in the states before. */
static void take_policy(void *context, uint32_t if_id)
{
	struct adoption *adoption = context;
	struct agent_tunnel *tunnel = adoption->takes_nothing
	                                      ? NULL
	                                      : agent_find_mark(adoption->agent, if_id);

	if (tunnel) {
		xfrm_tunnel_of(tunnel)->has_policies = true;
		return;
	}
	for (unsigned i = 0; i < adoption->policy_count; i++)
		if (adoption->strange_policies[i] == if_id)
			return;
	for (unsigned i = 0; i < adoption->strange_count; i++)
		if (adoption->strange[i].if_id == if_id && adoption->policy_count < DELETIONS) {
			adoption->strange_policies[adoption->policy_count++] = if_id;
			return;
		}
}

static void delete_strange(struct adoption *adoption, struct xfrm_socket *socket,
                           struct xfrm_batch *batch)
{
	struct xfrm_ends ends = {.has_ipv6 = true};

	for (unsigned i = 0; i < adoption->strange_count; i++) {
		const struct xfrm_state *state = &adoption->strange[i];

		ends.if_id = state->if_id;
		/* A state is found by its destination, whichever end that is. */
		ends.remote = state->destination;
		xfrm_add(batch,
		         xfrm_put_state_deletion(xfrm_next(batch), &ends, false, state->spi));
	}
	xfrm_run(socket, batch, ESRCH, NULL, NULL);
	for (unsigned i = 0; i < adoption->policy_count; i++) {
		ends.if_id = adoption->strange_policies[i];
		for (unsigned j = 0; j < xfrm_policy_count(&ends); j++)
			xfrm_add(batch, xfrm_put_policy_deletion(xfrm_next(batch), &ends, j));
		xfrm_run(socket, batch, ENOENT, NULL, NULL);
	}
}

static bool is_configured(void *context, const char *name, uint32_t if_id)
{
	const struct agent *agent = context;
	const struct agent_tunnel *tunnel = agent_find_name(agent, name);

	return tunnel && tunnel->core.options.if_id == if_id;
}

static void log_adopted(const struct agent *agent)
{
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		const struct agent_tunnel *tunnel = &agent->tunnels[i];

		if (agent->xfrm->tunnels[i].sa_count > 0)
			log_session(LOG_NOTICE, tunnel->peer->tunnel, tunnel->peer->number,
			            "%u SAs of before carry packets on",
			            agent->xfrm->tunnels[i].sa_count);
	}
}

int xfrm_adopt(struct agent *agent)
{
	struct xfrm_backend *xfrm = agent->xfrm;
	struct adoption adoption = {.agent = agent};
	const char *why;

	if (xfrm_dump_states(xfrm->socket, take_state, &adoption) != 0 ||
	    xfrm_dump_policies(xfrm->socket, take_policy, &adoption) != 0)
		return -1;
	delete_strange(&adoption, xfrm->socket, &xfrm->batch);
	if (xfrm_link_sweep(xfrm->links, is_configured, agent, &why) != 0)
		log_line(LOG_WARNING, "interfaces of before remain: %s", why);
	log_adopted(agent);
	return 0;
}

static bool is_never_configured(void *context, const char *name, uint32_t if_id)
{
	(void)context;
	(void)name;
	(void)if_id;
	return false;
}

void xfrm_clear(struct agent *agent)
{
	static struct xfrm_batch batch;
	struct adoption adoption = {.agent = agent, .takes_nothing = true};
	struct xfrm_socket *socket;
	struct xfrm_links *links;
	struct nft_hold *hold;
	const char *cause;
	char why[256];

	socket = xfrm_open(NULL, NULL, NULL, &cause);
	if (!socket)
		return; /* a kernel without IPsec */
	if (xfrm_dump_states(socket, take_state, &adoption) == 0 &&
	    xfrm_dump_policies(socket, take_policy, &adoption) == 0)
		delete_strange(&adoption, socket, &batch);
	xfrm_close(socket);
	links = xfrm_links_open(&cause);
	if (!links || xfrm_link_sweep(links, is_never_configured, agent, &cause) != 0)
		log_line(LOG_WARNING, "interfaces of before remain: %s", cause);
	xfrm_links_close(links);
	hold = nft_hold_open();
	if (hold && !nft_hold_purge(hold, why, sizeof(why)))
		log_line(LOG_DEBUG, "the table vpnsip_hold: %s", why);
	nft_hold_close(hold);
}
