/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show vpn-sip guard: its pure parts; the table of classes is that of show crypto call admission statistics too. */
#ifndef VPNSIP_CLI_SHOW_GUARD_H
#define VPNSIP_CLI_SHOW_GUARD_H

#include "nat_qos_agent.pb-c.h"
#include "services/cli/show.h"
#include "sip_agent.pb-c.h"

/** Either may be NULL: a service that did not answer. */
json_t *guard_model(const Vpnsip__SipGuard *guard, const Vpnsip__NatQosSnapshot *kernel);

/** {"class": "wrong-key", "count": 3, ...} of each class; and its table. */
json_t *guard_classes_model(Vpnsip__GuardClass *const *classes, size_t count);
void guard_classes_text(FILE *stream, const char *heading, const json_t *classes);

/** {"line": "0388881001", "addresses": ["198.51.100.5"]} of each line. */
json_t *guard_servers_model(const Vpnsip__NatQosSnapshot *kernel);

show_text_fn show_guard_text;

#endif
