/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/event_class.h"

#include <stdio.h>

#define LOG_PAUSE_USEC 1000000u

bool event_class_count(struct event_class *events, const char *source, uint64_t mono_usec,
                       uint64_t wall_usec, uint64_t *count)
{
	const bool is_first = events->count == 0;

	events->count++;
	events->unlogged++;
	events->last_usec = wall_usec;
	snprintf(events->last_source, sizeof(events->last_source), "%s", source);
	if (!is_first && mono_usec - events->logged_at_usec < LOG_PAUSE_USEC)
		return false;
	*count = events->unlogged;
	events->unlogged = 0;
	events->logged_at_usec = mono_usec;
	return true;
}
