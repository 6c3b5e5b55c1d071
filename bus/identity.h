/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A sender is its uid: the system users of the services, or a map for labs. */
#ifndef VPNSIP_BUS_IDENTITY_H
#define VPNSIP_BUS_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "shared.pb-c.h"

struct identity {
	bool is_known[VPNSIP__SERVICE__CLI + 1];
	uid_t uid[VPNSIP__SERVICE__CLI + 1];
};

/** From `uid_map` (lines "SERVICE UID", # starts a comment), or the system users if NULL. 0, or -1 and a sentence. */
int identity_load(struct identity *identity, const char *uid_map, char *why, size_t why_size);

/** May a process with this uid act as `service`? Root may as any, anybody as the CLI. */
bool identity_admits(const struct identity *identity, Vpnsip__Service service, uid_t uid);

#endif
