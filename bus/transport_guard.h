/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nng has two faults that one cannot see until a peer is missed. The guard connects to the own listeners from time to
 * time, as a peer would, and watches what becomes of the connection:
 *
 * - It is not taken: before 1.6, a peer that ends inside the 8 octet handshake leaves the listener deaf for ever. Old
 *   connections live on, new ones hang. The listener is replaced. (nng's own probe for a second listener on the path is such a
 *   peer: see instance_lock.h.)
 * - It is not cleared away after its end: the one thread that does so hangs for ever (see transport_stop()). From then on no
 *   lost peer is noticed nor dialled again. Nothing inside the process can mend it: it ends, as in a crash.
 */
#ifndef VPNSIP_BUS_TRANSPORT_GUARD_H
#define VPNSIP_BUS_TRANSPORT_GUARD_H

#include "bus/transport.h"

struct bus;
struct transport_guard;

/** NULL when out of memory. */
struct transport_guard *transport_guard_new(struct bus *bus, const char *run_directory);
/** Each second: are ended connections cleared away? It probes by itself. */
void transport_guard_tick(struct transport_guard *guard);
/** A peer or a visitor went or came: one that ended inside the handshake, or waits in front of a deaf listener, is likely now. */
void transport_guard_hurry(struct transport_guard *guard);
/** A connection to this listener from this process was accepted, or cleared away. */
void transport_guard_link(struct transport_guard *guard, int listener, bool is_up);
void transport_guard_free(struct transport_guard *guard);

#endif
