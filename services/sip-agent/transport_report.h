/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The answers to GetSipConnections, ClearSipConnection and GetSipStatus. */
#ifndef VPNSIP_SIP_TRANSPORT_REPORT_H
#define VPNSIP_SIP_TRANSPORT_REPORT_H

#include "sip_agent.pb-c.h"

struct bus_request;
struct service_context;
struct sofia;

void agent_tell_connections(const struct service_context *service, struct sofia *sofia,
                            struct bus_request *request, const Vpnsip__GetSipConnections *order);
void agent_clear_connection(struct sofia *sofia, struct bus_request *request,
                            const Vpnsip__ClearSipConnection *order);
void agent_tell_sip_status(const struct service_context *service, struct sofia *sofia,
                           struct bus_request *request);

#endif
