/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/memory.h"

#include <event2/event.h>
#include <malloc.h>

#define LARGE_OCTETS   (128 * 1024)
#define SPARE_OCTETS   (2 * 1024 * 1024)
#define LOOK_EVERY_SEC 60

/*
 * A snapshot of 1,000 sessions takes megabytes for a moment. By default the first one teaches malloc to keep as much for the
 * next; with a fixed limit it goes back to the system at once. And what one thread of nng has freed serves the others.
 */
void memory_keep_no_peaks(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_OCTETS);
	mallopt(M_ARENA_MAX, 1);
}

void memory_give_back(void)
{
	malloc_trim(0);
}

/*
 * SIP keeps the messages of each transaction for 32 s (RFC 3261 section 17.1.1.2): what a burst of calls leaves free, a tenth of
 * sip-agent's memory with 300 calls, lies between what is not, and malloc alone gives back only what lies at the end.
 */
static void look(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	(void)context;
	if (mallinfo2().fordblks > SPARE_OCTETS)
		memory_give_back();
}

struct event *memory_watch(struct event_base *base)
{
	struct event *timer = event_new(base, -1, EV_PERSIST, look, NULL);

	if (timer && event_add(timer, &(struct timeval){.tv_sec = LOOK_EVERY_SEC}) != 0) {
		event_free(timer);
		return NULL;
	}
	return timer;
}
