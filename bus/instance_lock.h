/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_BUS_INSTANCE_LOCK_H
#define VPNSIP_BUS_INSTANCE_LOCK_H

#include <stddef.h>

#include "shared.pb-c.h"

/** Its name in RUN/<service>/. */
#define INSTANCE_LOCK_FILE "lock"

/**
 * Takes RUN/<service>/lock for this process, until the descriptor is closed. -1 and a sentence when another instance has it.
 * Comes before any socket: to probe the sockets of a running instance is what kills them (see transport_guard.h).
 */
int instance_lock(const char *run_directory, Vpnsip__Service self, char *why, size_t why_size);

/** Tells those who watch that the service listens (see redial.h): touches the file. */
void instance_lock_announce(int lock);

#endif
