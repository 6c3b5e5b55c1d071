/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who may send SIP to each line: the servers that the configuration names by address, always, and those that were ordered
 * (found by DNS or DHCP). Pure.
 */
#ifndef VPNSIP_SIP_ADMISSION_H
#define VPNSIP_SIP_ADMISSION_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

#include "services/common/config.h"

#define SIP_ADMISSION_MAXIMUM 32

/** One a line; the servers each once, the configured ones first. */
struct sip_admission {
	const struct config_line *line;
	struct in_addr servers[SIP_ADMISSION_MAXIMUM];
	size_t server_count;
	size_t configured_count;
};

enum sip_admission_outcome {
	SIP_ADMISSION_CHANGED,
	SIP_ADMISSION_UNCHANGED,
	SIP_ADMISSION_TOO_MANY
};

/** One for each line, in the configuration's order. NULL when out of memory; free() it. `config` must live as long. */
struct sip_admission *sip_admission_new(const struct config *config);

/** NULL when there is no such line. */
struct sip_admission *sip_admission_find(struct sip_admission *lines, size_t line_count,
                                         const char *number);

bool sip_admission_has(const struct sip_admission *admission, struct in_addr address);

/** One more, unless it is there. False when there are SIP_ADMISSION_MAXIMUM. */
bool sip_admission_add(struct sip_admission *admission, struct in_addr address);

/** `addresses` take the place of what was ordered before; those that are configured may be among them. */
enum sip_admission_outcome sip_admission_set(struct sip_admission *admission,
                                             const struct in_addr *addresses, size_t count);

#endif
