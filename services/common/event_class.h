/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Security events of one class: counted all, told in the log once a second at most, so that a flood fills no log. Pure. */
#ifndef VPNSIP_EVENT_CLASS_H
#define VPNSIP_EVENT_CLASS_H

#include <stdbool.h>
#include <stdint.h>

#include "services/common/address.h"

/** All zero is a class without events. */
struct event_class {
	uint64_t count;
	uint64_t last_usec;                  /* wall clock; 0 = never */
	char last_source[ADDRESS_TEXT_SIZE]; /* "" = not known */
	uint64_t logged_at_usec;             /* monotonic */
	uint64_t unlogged;                   /* since the last line */
};

/** Counts an event. True when it is to be logged; `*count` is how many the line stands for then. */
bool event_class_count(struct event_class *events, const char *source, uint64_t mono_usec,
                       uint64_t wall_usec, uint64_t *count);

#endif
