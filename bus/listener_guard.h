/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nng before 1.6 has a fault: a peer that ends inside the 8 octet handshake leaves the listener deaf for ever. Old
 * connections live on, new ones hang. The guard connects to the own listeners from time to time and replaces one that
 * does not take the connection. (nng's own probe for a second listener on the path is such a peer: see instance_lock.h.)
 */
#ifndef VPNSIP_BUS_LISTENER_GUARD_H
#define VPNSIP_BUS_LISTENER_GUARD_H

#include "bus/transport.h"

struct bus;
struct listener_guard;

#ifdef BUS_LISTENER_GUARD
/** NULL when out of memory. */
struct listener_guard *listener_guard_new(struct bus *bus, const char *run_directory);
/** Each second: probes when it is time. */
void listener_guard_tick(struct listener_guard *guard);
/** The probe of this listener was accepted. */
void listener_guard_attached(struct listener_guard *guard, enum transport_channel channel);
void listener_guard_free(struct listener_guard *guard);
#else
static inline struct listener_guard *listener_guard_new(struct bus *bus, const char *run_directory)
{
	(void)run_directory;
	return (struct listener_guard *)bus; /* nothing to guard; only not NULL */
}
static inline void listener_guard_tick(struct listener_guard *guard)
{
	(void)guard;
}
static inline void listener_guard_attached(struct listener_guard *guard,
                                           enum transport_channel channel)
{
	(void)guard;
	(void)channel;
}
static inline void listener_guard_free(struct listener_guard *guard)
{
	(void)guard;
}
#endif

#endif
