/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Between the bus and the SIP user agent: orders in, facts out, and hanging up when nobody leads any more. */
#ifndef VPNSIP_SIP_AGENT_H
#define VPNSIP_SIP_AGENT_H

#include "services/common/service.h"

/** As root: sees who has the SIP ports, which /proc shows to nobody else. */
int agent_prepare(struct service_context *service);
int agent_start(struct service_context *service);
void agent_stop(struct service_context *service);

/** The bus handlers; `context` is the struct service_context. */
void agent_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order);
void agent_describe(void *context, struct bus_description *description);
void agent_snapshot(void *context, struct bus_request *request);
void agent_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health);

#endif
