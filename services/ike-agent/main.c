/* SPDX-License-Identifier: GPL-3.0-or-later */
/* ike-agent: IKEv2 without a network. It alone holds the keys. */
#include <stdlib.h>
#include <sys/prctl.h>

#include "services/common/log.h"
#include "services/ike-agent/agent_authentication.h"

/* Not freed with the rest: calls that are in flight when it stops are failed after that, when the bus closes. */
static struct ike_agent the_agent;

struct ike_agent *ike_agent_of(void *service_context)
{
	return ((struct service_context *)service_context)->state;
}

static void free_agent(struct ike_agent *agent)
{
	agent_close_endings(agent);
	agent_close_rekeys(agent);
	agent_close_signs_of_life(agent);
	session_table_free(agent->sessions);
	agent->sessions = NULL;
	agent_close_authentication(agent);
}

static int start(struct service_context *service)
{
	struct ike_agent *agent = &the_agent;
	char why[256] = "out of memory";

	/* Keys are in this memory: neither core files nor other processes of the user may read it. */
	prctl(PR_SET_DUMPABLE, 0);
	agent->service = service;
	service->state = agent;
	agent->sessions = session_table_new();
	if (!agent->sessions || agent_open_rekeys(agent) != 0 ||
	    agent_open_signs_of_life(agent) != 0)
		goto fail;
	agent_init_host(agent);
	if (agent_open_authentication(agent) != 0 ||
	    !engine_open(service->config, &agent->host, why, sizeof(why)))
		goto fail;
	agent->is_engine_open = true;
	return 0;
fail:
	log_line(LOG_ERR, "%s", why);
	free_agent(agent);
	return -1;
}

/* Leaving tells the peers nothing: their traffic goes on through the SAs that tunnel-agent holds. */
static void stop(struct service_context *service)
{
	struct ike_agent *agent = service->state;

	engine_close();
	free_agent(agent);
}

static const int no_capabilities[] = {-1};

static const struct service ike_agent = {
	.id = VPNSIP__SERVICE__IKE_AGENT,
	.name = "ike-agent",
	.user = "vpnsip-ike",
	.capabilities = no_capabilities,
	.subscribes = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT),
	.calls = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT),
	.start = start,
	.stop = stop,
	.handlers =
		{
			.event = agent_take_event,
			.request = agent_take_order,
			.snapshot = agent_give_snapshot,
			.resync = agent_take_resync,
			.describe = agent_describe,
		},
};

int main(int argc, char **argv)
{
	return service_main(&ike_agent, argc, argv);
}
