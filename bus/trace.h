/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What happened in a session's attempts: the memory behind `vpnsip trace`.
 *
 * Kept are the newest attempt of each session and the last 100 that a newer one followed, of each the first 192 and the last 64
 * entries; and the last 1024 entries that belong to no attempt yet (an INVITE that just arrived), which are found by their trace.
 * Beyond 6 MB the oldest attempts go, those that are over first.
 */
#ifndef VPNSIP_BUS_TRACE_H
#define VPNSIP_BUS_TRACE_H

#include "bus/bus.h"

struct trace;

/** NULL when out of memory. */
struct trace *trace_new(void);
void trace_free(struct trace *trace);

/** Keeps a copy. Any thread. */
void trace_note(struct trace *trace, const Vpnsip__TraceEntry *told);

/** Is a request with this body noted? Not the readings, nor the IKE packets, which the engine tells better. */
bool trace_wants(Vpnsip__Envelope__BodyCase body);

/** The field `attempt` of an order, 0 if it has none. */
uint64_t trace_attempt_of(const ProtobufCMessage *order);

/** Answers GetTrace. */
void trace_answer(struct trace *trace, struct bus_request *request, const Vpnsip__GetTrace *wanted);

void trace_describe(struct trace *trace, struct bus_description *description);

#endif
