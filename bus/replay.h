/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Feeds a service from a recording instead of from its peers. Its handlers are called as they were then, at the times and with
 * the randomness of then; what it sends goes nowhere, and is compared with what it sent then.
 */
#ifndef VPNSIP_BUS_REPLAY_H
#define VPNSIP_BUS_REPLAY_H

#include "bus/bus.h"
#include "record.pb-c.h"

struct replay;

/** Reads the file, and puts the files it holds into the state directory. NULL and a sentence on failure. */
struct replay *replay_open(const char *file, Vpnsip__Service self, const char *state_directory,
                           char *why, size_t why_size);
void replay_free(struct replay *replay);

/** Clock and randomness of the library's own; bus_random() is replay_random(). */
struct bus_environment replay_environment(struct replay *replay);

/** The octets that were drawn then. */
void replay_random(struct replay *replay, void *octets, size_t size);

/** The service sends something. Copied. */
void replay_output(struct replay *replay, const Vpnsip__Record *output);
void replay_output_envelope(struct replay *replay, Vpnsip__RecordKind kind, Vpnsip__Service peer,
                            uint64_t number, const Vpnsip__Envelope *envelope);

/* replay_compare.c */

/** Is this the same output, as far as one can tell before looking inside: kind, peer, body or name? */
bool replay_is_alike(const Vpnsip__Record *one, const Vpnsip__Record *other);

/** Where two that are alike differ, but for times, ids and epochs; false if they do not. */
bool replay_differs(const Vpnsip__Record *recorded, const Vpnsip__Record *replayed, char *text,
                    size_t size);

/** "event CallChanged of sip-agent". */
void replay_name(const Vpnsip__Record *record, char *text, size_t size);

#endif
