/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <linux/capability.h>

#include "services/tunnel-agent/agent.h"
#include "services/tunnel-agent/tunnel_agent.h"

static const int capabilities[] = {CAP_NET_ADMIN, -1};

static const struct service tunnel_agent = {
	.id = VPNSIP__SERVICE__TUNNEL_AGENT,
	.name = "tunnel-agent",
	.user = "vpnsip-tunnel",
	.capabilities = capabilities,
	.subscribes = BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT),
	.calls = BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT),
	.prepare = tunnel_agent_prepare,
	.start = tunnel_agent_start,
	.stop = tunnel_agent_stop,
	.handlers =
		{
			.request = orders_handle,
			.snapshot = status_snapshot,
			.event = ike_cover_take_event,
			.resync = ike_cover_take_resync,
			.peer = ike_cover_take_health,
			.describe = describe_agent,
		},
};

int main(int argc, char **argv)
{
	return service_main(&tunnel_agent, argc, argv);
}
