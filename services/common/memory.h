/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a service took for a moment goes back to the system: six processes share a small router. */
#ifndef VPNSIP_MEMORY_H
#define VPNSIP_MEMORY_H

struct event_base;
struct event;

/**
 * Sets the allocator up, before anything is allocated: memory of a peak is not kept for the next one.
 */
void memory_keep_no_peaks(void);

/**
 * Gives back now what is free.
 */
void memory_give_back(void);

/**
 * Looks once a minute, in the thread of `base`, whether much is free, and gives it back. NULL without memory for the timer.
 * @return to be freed by event_free()
 */
struct event *memory_watch(struct event_base *base);

#endif
