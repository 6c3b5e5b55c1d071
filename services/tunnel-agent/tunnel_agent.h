/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The life of tunnel-agent, as service_main() wants it. */
#ifndef VPNSIP_TUNNEL_AGENT_SERVICE_H
#define VPNSIP_TUNNEL_AGENT_SERVICE_H

#include "services/common/service.h"

/** As root: opens /dev/net/tun, which may be root's alone, and the UDP 4500 socket. */
int tunnel_agent_prepare(struct service_context *service);

int tunnel_agent_start(struct service_context *service);
void tunnel_agent_stop(struct service_context *service);

#endif
