/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `show sip-ua` and `clear sip-ua` have in common, and their models and texts for tests. */
#ifndef VPNSIP_CLI_SIP_UA_H
#define VPNSIP_CLI_SIP_UA_H

#include <jansson.h>
#include <stdio.h>
#include <sys/socket.h>

#include "services/cli/gather.h"
#include "services/cli/options.h"

/** "udp", "tcp" or "tls". */
const char *sip_ua_transport_name(Vpnsip__SipTransport transport);

/**
 * Asks sip-agent. CLI_DONE with a reply of the expected kind in `ordered`, to be given to gather_forget(); else an exit status,
 * after a complaint.
 */
int sip_ua_ask(const struct cli *cli, const ProtobufCMessage *order,
               Vpnsip__Envelope__BodyCase expected, struct ordered *ordered);

json_t *sip_ua_connections_model(const Vpnsip__SipConnectionList *list);
void sip_ua_connections_brief(FILE *stream, const json_t *model);
void sip_ua_connections_detail(FILE *stream, const json_t *model);

json_t *sip_ua_status_model(const Vpnsip__SipStatus *status);
void sip_ua_status_text(FILE *stream, const json_t *model);

json_t *sip_ua_cleared_model(Vpnsip__SipTransport transport,
                             const Vpnsip__SipConnectionCleared *cleared);
void sip_ua_cleared_text(FILE *stream, const json_t *model);

/** Reads "ipv4:198.51.100.5:5060". False for anything else. */
bool sip_ua_parse_target(const char *text, struct sockaddr_storage *target);

#endif
