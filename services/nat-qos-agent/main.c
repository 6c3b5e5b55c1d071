/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <linux/capability.h>

#include "nat_qos_agent.h"

static const int capabilities[] = {CAP_NET_ADMIN, -1};

static const struct service nat_qos_agent = {
	.id = VPNSIP__SERVICE__NAT_QOS_AGENT,
	.name = "nat-qos-agent",
	.user = "vpnsip-natqos",
	.capabilities = capabilities,
	.start = nat_qos_start,
	.stop = nat_qos_stop,
	.handlers =
		{
			.request = nat_qos_request,
			.snapshot = nat_qos_snapshot,
			.describe = nat_qos_describe,
		},
};

int main(int argc, char **argv)
{
	return service_main(&nat_qos_agent, argc, argv);
}
