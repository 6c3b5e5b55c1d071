/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Everything the core is told, as lines of text: the agent tells it nothing in another way, so that a recording of the lines
 * brings a core to the same state again. Pure.
 *
 *     begin NOW                  a new core
 *     hold TRACK                 track_hold_route()
 *     expire NOW
 *     sent SLA SEQUENCE NOW
 *     failed SLA ERRNO NOW
 *     answered SEQUENCE ADDRESS NOW
 *
 * NOW is monotonic, in microseconds.
 */
#ifndef VPNSIP_TRACK_FEED_H
#define VPNSIP_TRACK_FEED_H

#include "track_core.h"

#define TRACK_OUTPUT_SIZE 4096

/**
 * Tells the core (*core, made by "begin" and owned by the caller) one line, and writes what it says then. False when the line is not
 * understood or memory ran out; then nothing has changed.
 */
bool track_feed(struct track_core **core, const struct config *config, const char *input,
                char output[TRACK_OUTPUT_SIZE]);

#endif
