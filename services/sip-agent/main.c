/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/agent.h"

static const struct service sip_agent = {
	.id = VPNSIP__SERVICE__SIP_AGENT,
	.name = "sip-agent",
	.user = "vpnsip-sip",
	.subscribes = BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR),
	.prepare = agent_prepare,
	.start = agent_start,
	.stop = agent_stop,
	.handlers = {.request = agent_request,
                     .snapshot = agent_snapshot,
                     .peer = agent_peer,
                     .describe = agent_describe},
};

int main(int argc, char **argv)
{
	return service_main(&sip_agent, argc, argv);
}
