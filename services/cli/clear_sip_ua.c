/* SPDX-License-Identifier: GPL-3.0-or-later */
/* clear sip-ua {udp|tcp [tls]} connection {id N [target ipv4:A:P] | [id N] target ipv4:A:P} */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/commands.h"
#include "services/cli/sip_ua.h"
#include "services/common/address.h"

#define TARGET_PREFIX "ipv4:"

bool sip_ua_parse_target(const char *text, struct sockaddr_storage *target)
{
	*target = (struct sockaddr_storage){0};
	return strncasecmp(text, TARGET_PREFIX, strlen(TARGET_PREFIX)) == 0 &&
	       address_parse_port(text + strlen(TARGET_PREFIX), 0, target) &&
	       target->ss_family == AF_INET && address_port(target) != 0;
}

static bool parse_id(const char *text, uint32_t *id)
{
	char *end;

	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	*id = (uint32_t)number;
	return text[0] >= '0' && text[0] <= '9' && !*end && !errno && number &&
	       number <= UINT32_MAX;
}

json_t *sip_ua_cleared_model(Vpnsip__SipTransport transport,
                             const Vpnsip__SipConnectionCleared *cleared)
{
	return json_pack("{s:s, s:b, s:b, s:o}", "transport", sip_ua_transport_name(transport),
	                 "is_purged_from_process", cleared->is_purged_from_process,
	                 "is_purged_from_table", cleared->is_purged_from_table, "problem",
	                 model_text(cleared->problem));
}

void sip_ua_cleared_text(FILE *stream, const json_t *model)
{
	const char *transport = text_of(model, "transport");

	if (flag_of(model, "is_purged_from_process"))
		fprintf(stream, "Purging the entry from sip %s process\n",
		        strcmp(transport, "udp") == 0 ? "udp" : "tcp");
	if (flag_of(model, "is_purged_from_table"))
		fputs("Purging the entry from reusable global connection table\n", stream);
}

static int clear_connection(const struct cli *cli, const struct words *words,
                            Vpnsip__SipTransport transport)
{
	const char *id = words_get(words, "ID"), *target = words_get(words, "TARGET");
	Vpnsip__ClearSipConnection order = VPNSIP__CLEAR_SIP_CONNECTION__INIT;
	Vpnsip__SocketAddress address = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage parsed;
	struct ordered ordered;

	order.transport = transport;
	if ((!id && !target) || (id && !parse_id(id, &order.id)) ||
	    (target && !sip_ua_parse_target(target, &parsed))) {
		command_complain("say 'id NUMBER', 'target ipv4:ADDRESS:PORT', or both");
		return CLI_FAILED;
	}
	if (target) {
		address_to_proto(&parsed, &address);
		order.target = &address;
	}
	int status = sip_ua_ask(cli, &order.base, VPNSIP__ENVELOPE__BODY_SIP_CONNECTION_CLEARED,
	                        &ordered);
	if (status != CLI_DONE)
		return status;
	const Vpnsip__SipConnectionCleared *cleared = ordered.reply->sip_connection_cleared;
	json_t *model = sip_ua_cleared_model(transport, cleared);
	command_print(cli, model, sip_ua_cleared_text);
	json_decref(model);
	if (*cleared->problem) {
		command_complain("%s", cleared->problem);
		status = CLI_FAILED;
	}
	gather_forget(&ordered, 1);
	return status;
}

int command_clear_connection_udp(const struct cli *cli, const struct words *words)
{
	return clear_connection(cli, words, VPNSIP__SIP_TRANSPORT__SIP_UDP);
}

int command_clear_connection_tcp(const struct cli *cli, const struct words *words)
{
	return clear_connection(cli, words, VPNSIP__SIP_TRANSPORT__SIP_TCP);
}

int command_clear_connection_tls(const struct cli *cli, const struct words *words)
{
	return clear_connection(cli, words, VPNSIP__SIP_TRANSPORT__SIP_TLS);
}
