/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>

#include "bus/internal.h"

struct bus_timer {
	struct bus *bus;
	const char *name;
	void (*fired)(void *context);
	void *context;
	struct event *event;
};

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct bus_timer *timer = context;

	(void)fd;
	(void)what;
	timer->fired(timer->context);
}

struct bus_timer *bus_timer_new(struct bus *bus, const char *name, void (*fired)(void *context),
                                void *context)
{
	struct bus_timer *timer = calloc(1, sizeof(*timer));

	if (timer == NULL)
		return NULL;
	*timer = (struct bus_timer){.bus = bus, .name = name, .fired = fired, .context = context};
	timer->event = evtimer_new(bus->base, on_timer, timer);
	if (timer->event == NULL) {
		free(timer);
		return NULL;
	}
	return timer;
}

void bus_timer_start(struct bus_timer *timer, uint64_t msec)
{
	const struct timeval after = {.tv_sec = (time_t)(msec / 1000),
	                              .tv_usec = (suseconds_t)(msec % 1000 * 1000)};

	event_add(timer->event, &after);
}

void bus_timer_stop(struct bus_timer *timer)
{
	event_del(timer->event);
}

bool bus_timer_is_running(const struct bus_timer *timer)
{
	return event_pending(timer->event, EV_TIMEOUT, NULL) != 0;
}

void bus_timer_free(struct bus_timer *timer)
{
	if (timer == NULL)
		return;
	event_free(timer->event);
	free(timer);
}
