/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "sip_admission.h"

#include <stdlib.h>
#include <string.h>

bool sip_admission_has(const struct sip_admission *admission, struct in_addr address)
{
	for (size_t i = 0; i < admission->server_count; i++)
		if (admission->servers[i].s_addr == address.s_addr)
			return true;
	return false;
}

bool sip_admission_add(struct sip_admission *admission, struct in_addr address)
{
	if (sip_admission_has(admission, address))
		return true;
	if (admission->server_count == SIP_ADMISSION_MAXIMUM)
		return false;
	admission->servers[admission->server_count++] = address;
	return true;
}

static void add_configured(struct sip_admission *admission, const struct config_server *server)
{
	struct in_addr address;

	if (server->kind != SERVER_ADDRESS || server->address.ss_family != AF_INET)
		return;
	address = ((const struct sockaddr_in *)&server->address)->sin_addr;
	sip_admission_add(admission, address);
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

struct sip_admission *sip_admission_find(struct sip_admission *lines, size_t line_count,
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
		is_same = sip_admission_has(b, a->servers[i]);
	return is_same;
}

enum sip_admission_outcome sip_admission_set(struct sip_admission *admission,
                                             const struct in_addr *addresses, size_t count)
{
	struct sip_admission wanted = *admission;

	wanted.server_count = wanted.configured_count;
	for (size_t i = 0; i < count; i++)
		if (!sip_admission_add(&wanted, addresses[i]))
			return SIP_ADMISSION_TOO_MANY;
	if (is_same_set(&wanted, admission))
		return SIP_ADMISSION_UNCHANGED;
	*admission = wanted;
	return SIP_ADMISSION_CHANGED;
}
