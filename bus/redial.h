/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Dials a peer anew the moment it listens, and each second while it is away. A service touches its lock file when both its sockets
 * listen; here inotify(7) sees it. nng's own attempts are switched off in a service: to replace a dialer at the moment when it happens to connect
 * ends that connection within its handshake, which makes the peer's listener deaf; and a dialer of nng 1.5 whose
 * listener died within the handshake never dials again at all.
 */
#ifndef VPNSIP_BUS_REDIAL_H
#define VPNSIP_BUS_REDIAL_H

struct bus;
struct redial;

/** After the peers have been dialled. NULL when out of memory or descriptors. */
struct redial *redial_new(struct bus *bus, const char *run_directory);

/** Each second: dials who is away; a connection that has been within its handshake for long is given up. */
void redial_tick(struct redial *redial);

/** NULL is allowed. */
void redial_free(struct redial *redial);

#endif
