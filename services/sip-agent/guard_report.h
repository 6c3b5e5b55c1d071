/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The answer to GetSipGuard. */
#ifndef VPNSIP_SIP_GUARD_REPORT_H
#define VPNSIP_SIP_GUARD_REPORT_H

struct bus_request;
struct service_context;
struct sofia;

void agent_tell_guard(const struct service_context *service, const struct sofia *sofia,
                      struct bus_request *request);

#endif
