/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Writes down what enters and leaves a service (proto/record.proto), for replay. Loop only. A recording that cannot be
 * written any more ends with a line in the log, and does no other harm.
 */
#ifndef VPNSIP_BUS_RECORD_H
#define VPNSIP_BUS_RECORD_H

#include "bus/bus.h"
#include "record.pb-c.h"

#define RECORD_SUFFIX ".record"

struct record;

/** Begins bus->record. 0, or -1 and a sentence. */
int record_start(struct bus *bus, const char *name, bool is_from_start, char *why, size_t why_size);

/** Writes what is left and closes. Nothing happens without a recording. */
void record_stop(struct bus *bus);

/** Each second: writes what is buffered. */
void record_tick(struct bus *bus);

/** Answer StartRecording and StopRecording. */
void record_answer_start(struct bus *bus, struct bus_request *request,
                         const Vpnsip__StartRecording *order);
void record_answer_stop(struct bus *bus, struct bus_request *request);

/** Adds a Record; its times are filled in. Nothing happens without a recording. */
void record_add(struct bus *bus, Vpnsip__Record *record);

/** The same with an envelope, which is redacted. */
void record_add_envelope(struct bus *bus, Vpnsip__RecordKind kind, Vpnsip__Service peer,
                         uint64_t number, uint64_t value, const Vpnsip__Envelope *envelope);

void record_describe(struct bus *bus, struct bus_description *description);

#endif
