/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Faults on order. Every message passes here at six places on its way (enum FaultPoint), as packed octets, together with
 * what lets it go on and what gives it up. Without faults that is one comparison.
 *
 * What serves to look and to steer (SetFault, GetInternals, Heartbeat ...) is hit only by a fault that names it.
 */
#ifndef VPNSIP_BUS_FAULTS_H
#define VPNSIP_BUS_FAULTS_H

#include "bus/bus.h"

struct faults;

/** A message at a place where a fault may strike. */
struct passage {
	Vpnsip__FaultPoint point;
	Vpnsip__Service peer; /* unspecified: the source that stands in the message */
	const char *order;    /* of a reply: the name of what it answers; else NULL */
	/** Lets it go on; `octets` are valid during the call. Runs now, later, or twice. */
	void (*go)(struct bus *bus, const struct passage *passage, const uint8_t *octets,
	           size_t size);
	/** It goes no further. NULL = nothing is to be done. */
	void (*drop)(struct bus *bus, const struct passage *passage);
	/* For go() and drop(): must be true still when the message was held for a while. */
	void *object;
	uint64_t number;
	bool is_copy; /* the second of a doubled message */
};

/** What shall happen to a message, decided by decide; the caller carries out the rest. */
struct fault_verdict {
	Vpnsip__FaultAction
		action; /* unspecified = nothing; never stall and kill: these have happened */
	unsigned delay_msec;
	uint64_t random;
};

/** NULL when out of memory. */
struct faults *faults_new(struct bus *bus);
/** Gives up what is held. */
void faults_free(struct faults *faults);

/** Loop only. */
void faults_pass(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                 size_t size);

/** For who waits by himself. `order` as in struct passage. Any thread. */
struct fault_verdict faults_decide(struct faults *faults, Vpnsip__FaultPoint point,
                                   Vpnsip__Service peer, const char *message, const char *order,
                                   const char *session);

/** Changes one octet. */
void faults_corrupt(uint8_t *octets, size_t size, uint64_t random);

/** Answer SetFault, ClearFaults, GetFaults; `faults` is NULL in a service that does not allow them. */
void faults_set(struct faults *faults, struct bus_request *request, const Vpnsip__SetFault *order);
void faults_clear(struct faults *faults, struct bus_request *request);
void faults_answer(struct faults *faults, struct bus_request *request);

/** How many messages were hit so far; 0 where none are allowed. Any thread. */
uint64_t faults_injected(struct faults *faults);

void faults_describe(struct faults *faults, struct bus_description *description);

#endif
