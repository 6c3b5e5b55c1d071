/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Since when nobody leads: without a coordinator nobody would notice that a tunnel is idle, and its calls must not go on
 * billing. The moment is kept in a file, so that a restart of our own does not begin the wait anew.
 */
#ifndef VPNSIP_SIP_LEADERLESS_H
#define VPNSIP_SIP_LEADERLESS_H

#include <stdint.h>

/** Every call ends when the coordinator was not heard for so long. */
#define LEADERLESS_LIMIT_SEC 60

/** How long until then, at `now_usec`, if nobody leads since `since_usec` (wall clock; 0 = not known: just now). */
uint64_t leaderless_wait_usec(uint64_t since_usec, uint64_t now_usec);

/** The moment in the state directory; 0 = somebody led when the last process ended. */
uint64_t leaderless_read(const char *state_directory);

/** Keeps the moment, or with 0 forgets it. A failure is logged: the wait then begins anew with a restart. */
void leaderless_write(const char *state_directory, uint64_t since_usec);

#endif
