/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sip_admission.h"

#include <stdlib.h>
#include <string.h>

static bool has_server(const struct sip_admission *admission, struct in_addr address)
{
	for (size_t i = 0; i < admission->server_count; i++)
		if (admission->servers[i].s_addr == address.s_addr)
			return true;
	return false;
}

static void add_configured(struct sip_admission *admission, const struct config_server *server)
{
	struct in_addr address;

	if (server->kind != SERVER_ADDRESS || server->address.ss_family != AF_INET)
		return;
	address = ((const struct sockaddr_in *)&server->address)->sin_addr;
	if (!has_server(admission, address))
		admission->servers[admission->server_count++] = address;
	admission->configured_count = admission->server_count;
}

struct sip_admission *sip_admission_new(const struct config *config)
{
	/* One more: calloc(0) may be NULL. */
	struct sip_admission *lines = calloc(config->line_count + 1, sizeof(*lines));

	for (size_t i = 0; lines != NULL && i < config->line_count; i++) {
		lines[i].line = &config->lines[i];
		add_configured(&lines[i], &config->lines[i].registrar);
		add_configured(&lines[i], &config->lines[i].secondary_registrar);
	}
	return lines;
}

static struct sip_admission *find(struct sip_admission *lines, size_t line_count,
                                  const char *number)
{
	for (size_t i = 0; i < line_count; i++)
		if (strcmp(lines[i].line->number, number) == 0)
			return &lines[i];
	return NULL;
}

static bool is_same_set(const struct sip_admission *a, const struct sip_admission *b)
{
	bool is_same = a->server_count == b->server_count;

	for (size_t i = 0; is_same && i < a->server_count; i++)
		is_same = has_server(b, a->servers[i]);
	return is_same;
}

enum sip_admission_outcome sip_admission_set(struct sip_admission *lines, size_t line_count,
                                             const char *number, const struct in_addr *addresses,
                                             size_t count)
{
	struct sip_admission *admission = find(lines, line_count, number), wanted;

	if (admission == NULL)
		return SIP_ADMISSION_UNKNOWN_LINE;
	wanted = *admission;
	wanted.server_count = wanted.configured_count;
	for (size_t i = 0; i < count; i++) {
		if (has_server(&wanted, addresses[i]))
			continue;
		if (wanted.server_count == SIP_ADMISSION_MAXIMUM)
			return SIP_ADMISSION_TOO_MANY;
		wanted.servers[wanted.server_count++] = addresses[i];
	}
	if (is_same_set(&wanted, admission))
		return SIP_ADMISSION_UNCHANGED;
	*admission = wanted;
	return SIP_ADMISSION_CHANGED;
}
