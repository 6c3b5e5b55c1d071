/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a starting coordinator takes over from the call records, and what bars calls while those cannot be kept. */
#ifndef VPNSIP_COORDINATOR_RESTORE_H
#define VPNSIP_COORDINATOR_RESTORE_H

#include "services/coordinator/core.h"

/** No own call is placed, also not one that is being prepared, until this is called with NULL. `why` must stay valid. */
void core_bar_calls(struct core *core, const char *why);

/** An own call of the last hour, for the hourly limits; the oldest first. */
void core_restore_call(struct core *core, const char *tunnel, uint64_t age_usec);

/**
 * A hold-down of before the restart goes on, and doubles on: at once when the session rests, else when it is known that it has
 * nothing to adopt. `next_msec` is the length of the next one.
 */
void core_restore_holddown(struct core *core, const char *tunnel, unsigned next_msec,
                           uint64_t remaining_msec, const char *cause);

/** From a session at rest: into the hold-down that was restored. False when none runs any more. */
bool session_resume_holddown(struct session *session);

#endif
