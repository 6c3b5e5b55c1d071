/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Operators name a session by its tunnel or by the other side's number. */
#ifndef VPNSIP_CLI_SESSION_NAME_H
#define VPNSIP_CLI_SESSION_NAME_H

#include "bus/bus.h"

/** The session of that tunnel or remote number, or NULL. */
const Vpnsip__SessionChanged *session_find(const Vpnsip__CoordinatorSnapshot *snapshot,
                                           const char *name);

/** Writes "there is no session 'vsip', did you mean 'vsip2'?". */
void session_explain_unknown(const Vpnsip__CoordinatorSnapshot *snapshot, const char *name,
                             char *text, size_t size);

/** Only digits: a number rather than a tunnel. */
bool session_is_number(const char *name);

#endif
