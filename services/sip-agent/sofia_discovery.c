/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What discovery found, given to the lines. */
#include <stdio.h>
#include <string.h>

#include "services/sip-agent/sofia_internal.h"

/* Whoever registered under another domain is another user: the registration begins anew. */
static void set_domain(struct sofia_line *line, const char *domain)
{
	char identity[SOFIA_URI_SIZE];

	snprintf(identity, sizeof(identity), "<sip:%s@%s>", line->config->number, domain);
	if (strcmp(identity, line->identity) == 0)
		return;
	memcpy(line->identity, identity, sizeof(identity));
	const bool is_ordered = sofia_register_view(line).is_ordered;

	sofia_register_drop(line);
	registration_core_reset(&line->core);
	if (is_ordered)
		sofia_register_start(line);
}

void sofia_set_servers(struct sofia *sofia, const char *number, const struct sip_server *servers,
                       size_t count, const char *domain)
{
	struct sofia_line *line = sofia_line_by_number(sofia, number);

	if (!line)
		return;
	if (domain)
		set_domain(line, domain);
	sofia_line_set_servers(line, servers, count);
	sofia_loop_wake(sofia->loop);
}

const struct server_list *sofia_servers(struct sofia *sofia, const char *number)
{
	const struct sofia_line *line = sofia_line_by_number(sofia, number);

	return line ? &line->servers : NULL;
}
