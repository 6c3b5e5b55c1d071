/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/inbox.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bus/bus.h"

struct inbox {
	pthread_mutex_t lock;
	struct inbox_item *first, **end;
	unsigned depth, most;
	uint64_t first_put_usec;   /* when `first` was */
	uint64_t taken_since_usec; /* the same of what is being taken. Loop only */
	int wake_fd;
	struct event *wake;
};

static uint64_t now_usec(void)
{
	return bus_system_environment.mono_usec(NULL);
}

static void take_all(struct inbox *inbox)
{
	struct inbox_item *item, *next;

	pthread_mutex_lock(&inbox->lock);
	item = inbox->first;
	inbox->first = NULL;
	inbox->end = &inbox->first;
	inbox->depth = 0;
	inbox->taken_since_usec = inbox->first_put_usec;
	pthread_mutex_unlock(&inbox->lock);

	for (; item != NULL; item = next) {
		next = item->next;
		item->take(item);
	}
}

static void on_wake(evutil_socket_t fd, short what, void *context)
{
	(void)fd; /* edge-triggered: each write wakes, whatever is in it */
	(void)what;
	take_all(context);
}

struct inbox *inbox_new(struct event_base *base)
{
	struct inbox *inbox = calloc(1, sizeof(*inbox));

	if (inbox == NULL)
		return NULL;
	pthread_mutex_init(&inbox->lock, NULL);
	inbox->end = &inbox->first;
	inbox->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (inbox->wake_fd >= 0)
		inbox->wake = event_new(base, inbox->wake_fd, EV_READ | EV_PERSIST | EV_ET, on_wake,
		                        inbox);
	if (inbox->wake == NULL || event_add(inbox->wake, NULL) != 0) {
		inbox_close(inbox);
		inbox_free(inbox);
		return NULL;
	}
	return inbox;
}

void inbox_put(struct inbox *inbox, struct inbox_item *item)
{
	const uint64_t one = 1;
	bool was_empty;

	item->next = NULL;
	pthread_mutex_lock(&inbox->lock);
	was_empty = inbox->first == NULL;
	if (was_empty)
		inbox->first_put_usec = now_usec();
	*inbox->end = item;
	inbox->end = &item->next;
	if (++inbox->depth > inbox->most)
		inbox->most = inbox->depth;
	pthread_mutex_unlock(&inbox->lock);
	/* An eventfd write fails only when its counter is full: then the loop is awake anyway. */
	if (was_empty && write(inbox->wake_fd, &one, sizeof(one)) < 0)
		return;
}

void inbox_depth(struct inbox *inbox, unsigned *now, unsigned *most)
{
	pthread_mutex_lock(&inbox->lock);
	*now = inbox->depth;
	*most = inbox->most;
	pthread_mutex_unlock(&inbox->lock);
}

uint64_t inbox_lag_usec(const struct inbox *inbox)
{
	return now_usec() - inbox->taken_since_usec;
}

void inbox_close(struct inbox *inbox)
{
	if (inbox == NULL)
		return;
	take_all(inbox);
	if (inbox->wake != NULL)
		event_free(inbox->wake);
	inbox->wake = NULL;
}

void inbox_free(struct inbox *inbox)
{
	if (inbox == NULL)
		return;
	if (inbox->wake_fd >= 0)
		close(inbox->wake_fd);
	pthread_mutex_destroy(&inbox->lock);
	free(inbox);
}
