/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Dials a peer anew the moment it listens. A service touches its lock file when both its sockets listen; here inotify(7)
 * sees it. Without it a restarted peer would be found by nng's back-off, half a second later on average; and a dialer of nng 1.5
 * whose listener died within the handshake never dials again at all.
 */
#ifndef VPNSIP_BUS_REDIAL_H
#define VPNSIP_BUS_REDIAL_H

struct bus;
struct redial;

/** After the peers have been dialled. NULL when out of memory or descriptors. */
struct redial *redial_new(struct bus *bus, const char *run_directory);

/** Each second: a dialer that has had no connection for long is replaced whatever was seen. */
void redial_tick(struct redial *redial);

/** NULL is allowed. */
void redial_free(struct redial *redial);

#endif
