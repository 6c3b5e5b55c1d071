/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <linux/capability.h>

#include "track_agent.h"

static const int capabilities[] = {CAP_NET_RAW, CAP_NET_ADMIN, -1};

static const struct service track_agent = {
	.id = VPNSIP__SERVICE__TRACK_AGENT,
	.name = "track-agent",
	.user = "vpnsip-track",
	.capabilities = capabilities,
	.start = track_agent_start,
	.stop = track_agent_stop,
	.is_replayable = true,
	.handlers =
		{
			.request = track_agent_request,
			.snapshot = track_agent_snapshot,
			.describe = track_agent_describe,
			.core_input = track_agent_core_input,
		},
};

int main(int argc, char **argv)
{
	return service_main(&track_agent, argc, argv);
}
