/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Timers that a recording knows by their number, and that a replay lets run out as then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "bus/internal.h"

/** One that ran out in the recording so much earlier than it would have is another one now. */
#define EARLY_USEC 50000

struct bus_timer {
	struct bus_timer *prev, *next;
	struct bus *bus;
	uint64_t number; /* in the order of their making */
	const char *name;
	void (*fired)(void *context);
	void *context;
	struct event *event;
	bool is_running; /* in a replay, where the event is not used */
	uint64_t due_usec;
};

static void note(const struct bus_timer *timer, Vpnsip__RecordKind kind, uint64_t msec)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;

	record.kind = kind;
	record.number = timer->number;
	record.name = (char *)timer->name; /* only packed */
	record.value = msec;
	if (timer->bus->replay != NULL)
		replay_output(timer->bus->replay, &record);
	else
		record_add(timer->bus, &record);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct bus_timer *timer = context;

	(void)fd;
	(void)what;
	if (timer->bus->record != NULL)
		note(timer, VPNSIP__RECORD_KIND__RECORD_TIMER, 0);
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
	timer->number = ++bus->timer_count;
	DL_PREPEND(bus->timers, timer);
	return timer;
}

void bus_timer_start(struct bus_timer *timer, uint64_t msec)
{
	const struct timeval after = {.tv_sec = (time_t)(msec / 1000),
	                              .tv_usec = (suseconds_t)(msec % 1000 * 1000)};

	if (timer->bus->replay != NULL) {
		timer->is_running = true;
		timer->due_usec = bus_mono_usec(timer->bus) + msec * 1000;
	} else {
		event_add(timer->event, &after);
	}
	if (timer->bus->replay != NULL || timer->bus->record != NULL)
		note(timer, VPNSIP__RECORD_KIND__RECORD_TIMER_STARTED, msec);
}

void bus_timer_stop(struct bus_timer *timer)
{
	timer->is_running = false;
	event_del(timer->event);
}

bool bus_timer_is_running(const struct bus_timer *timer)
{
	return timer->is_running || event_pending(timer->event, EV_TIMEOUT, NULL) != 0;
}

void bus_timer_free(struct bus_timer *timer)
{
	if (timer == NULL)
		return;
	DL_DELETE(timer->bus->timers, timer);
	event_free(timer->event);
	free(timer);
}

bool timers_replay(struct bus *bus, uint64_t number, const char *name, char *why, size_t why_size)
{
	const uint64_t now = bus_mono_usec(bus);
	struct bus_timer *timer;
	bool is_right = true;

	DL_SEARCH_SCALAR(bus->timers, timer, number, number);
	if (timer == NULL || strcmp(timer->name, name) != 0 || !timer->is_running) {
		snprintf(why, why_size, "that timer does not run in the replay");
		return false;
	}
	if (timer->due_usec > now + EARLY_USEC) {
		snprintf(why, why_size, "in the replay that timer runs for another %.3f s",
		         (double)(timer->due_usec - now) / 1e6);
		is_right = false;
	}
	timer->is_running = false;
	timer->fired(timer->context);
	return is_right;
}

bool timers_overdue(struct bus *bus, unsigned msec, char *text, size_t size)
{
	const uint64_t now = bus_mono_usec(bus);
	struct bus_timer *timer;

	DL_FOREACH (bus->timers, timer) {
		if (!timer->is_running || timer->due_usec + msec * UINT64_C(1000) >= now)
			continue;
		timer->is_running = false;
		snprintf(text, size, "timer %s should have run out %.3f s before", timer->name,
		         (double)(now - timer->due_usec) / 1e6);
		return true;
	}
	return false;
}
