/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/redial.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <syslog.h>
#include <unistd.h>

#include "bus/instance_lock.h"
#include "bus/internal.h"

/**
 * Longer than nng waits for a handshake (10 s): a dialer that is given up within one makes the listener deaf, so one that
 * may still be in one is left alone.
 */
#define DEAD_SECONDS 12
/**
 * A dialer that was just made connects in a thread of nng's, soon: nobody sees whether it has yet. It is not replaced before that time
 * has passed.
 */
#define QUIET_MSEC   300
/** Who just began to listen is done with a handshake by then; what still looks like one is another bus's of this process. */
#define OWED_MSEC    1000

struct redial {
	struct bus *bus;
	char *run_directory;
	int watched; /* the run directory's watch: services' directories appear there */
	int fd;      /* inotify's */
	struct event *event;
	int watches[PEER_COUNT]; /* of the peers' directories; -1 = none */
	unsigned down_seconds[PEER_COUNT][2];
	uint64_t dialled_usec[PEER_COUNT][2];
	bool is_owed[PEER_COUNT][2]; /* it listens, but a connection to it was under way */
	uint64_t owed_usec[PEER_COUNT][2];
	struct event *timer; /* pays what is owed */
};

static void dial(struct redial *redial, Vpnsip__Service service, enum transport_channel channel)
{
	redial->down_seconds[service][channel] = 0;
	redial->is_owed[service][channel] = false;
	redial->dialled_usec[service][channel] = bus_mono_usec(redial->bus);
	if (transport_redial(redial->bus->transport, service, channel) != 0)
		bus_log(redial->bus, LOG_WARNING, "bus: %s cannot be dialled anew",
		        bus_service_name(service));
}

/** Whether a connection may be within its handshake. */
static bool is_dialling(const struct redial *redial, Vpnsip__Service service,
                        enum transport_channel channel)
{
	uint64_t age_usec = bus_mono_usec(redial->bus) - redial->dialled_usec[service][channel];

	return age_usec < QUIET_MSEC * 1000 ||
	       transport_is_dialling(redial->bus->transport, service, channel);
}

/** Leaves alone a connection that may be within its handshake, and comes back to it. */
static void dial_gently(struct redial *redial, Vpnsip__Service service,
                        enum transport_channel channel)
{
	const struct timeval pause = {.tv_usec = QUIET_MSEC * 1000};

	if (!is_dialling(redial, service, channel)) {
		dial(redial, service, channel);
		return;
	}
	if (!redial->is_owed[service][channel])
		redial->owed_usec[service][channel] = bus_mono_usec(redial->bus);
	redial->is_owed[service][channel] = true;
	if (!event_pending(redial->timer, EV_TIMEOUT, NULL))
		event_add(redial->timer, &pause);
}

static void dial_both(struct redial *redial, Vpnsip__Service service)
{
	const struct peer *peer = &redial->bus->peers[service];

	if (peer->is_subscribed && !peer->is_link_up[TRANSPORT_EVENTS])
		dial_gently(redial, service, TRANSPORT_EVENTS);
	if (peer->is_dialled && !peer->is_link_up[TRANSPORT_REQUESTS])
		dial_gently(redial, service, TRANSPORT_REQUESTS);
}

static void pay(evutil_socket_t fd, short what, void *context)
{
	struct redial *redial = context;
	uint64_t now = bus_mono_usec(redial->bus);

	(void)fd;
	(void)what;
	for (int service = 0; service < PEER_COUNT; service++) {
		for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
			bool is_up = redial->bus->peers[service].is_link_up[channel];

			if (!redial->is_owed[service][channel])
				continue;
			if (is_up)
				redial->is_owed[service][channel] = false;
			else if (now - redial->owed_usec[service][channel] >= OWED_MSEC * 1000)
				dial(redial, service, channel);
			else
				dial_gently(redial, service, channel);
		}
	}
}

static void watch(struct redial *redial, Vpnsip__Service service)
{
	char path[PATH_MAX];

	if (!redial->bus->peers[service].is_dialled || redial->watches[service] >= 0)
		return;
	snprintf(path, sizeof(path), "%s/%s", redial->run_directory, bus_service_name(service));
	redial->watches[service] = inotify_add_watch(redial->fd, path, IN_ATTRIB | IN_ONLYDIR);
}

static void take(struct redial *redial, const struct inotify_event *event)
{
	const char *name = event->len > 0 ? event->name : "";

	if (event->wd == redial->watched) {
		Vpnsip__Service service = bus_service_by_name(name);

		if (service != VPNSIP__SERVICE__SERVICE_UNSPECIFIED) {
			watch(redial, service);
			/* What it told before the watch was there nobody has seen. */
			dial_both(redial, service);
		}
		return;
	}
	for (int service = 0; service < PEER_COUNT; service++) {
		if (redial->watches[service] != event->wd)
			continue;
		if ((event->mask & IN_IGNORED) != 0)
			redial->watches[service] = -1; /* the directory is gone */
		else if (strcmp(name, INSTANCE_LOCK_FILE) == 0)
			dial_both(redial, service);
		return;
	}
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	union {
		struct inotify_event event; /* for its alignment */
		char octets[4096];
	} buffer;
	ssize_t size;

	(void)what;
	while ((size = read(fd, &buffer, sizeof(buffer))) > 0) {
		for (char *place = buffer.octets; place < buffer.octets + size;) {
			const struct inotify_event *event = (const struct inotify_event *)place;

			take(context, event);
			place += sizeof(*event) + event->len;
		}
	}
}

struct redial *redial_new(struct bus *bus, const char *run_directory)
{
	struct redial *redial = calloc(1, sizeof(*redial));

	if (redial == NULL)
		return NULL;
	redial->bus = bus;
	redial->run_directory = strdup(run_directory);
	redial->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	for (int service = 0; service < PEER_COUNT; service++) {
		redial->watches[service] = -1;
		redial->dialled_usec[service][TRANSPORT_EVENTS] = bus_mono_usec(bus);
		redial->dialled_usec[service][TRANSPORT_REQUESTS] = bus_mono_usec(bus);
	}
	redial->timer = evtimer_new(bus->base, pay, redial);
	if (redial->timer == NULL || redial->run_directory == NULL || redial->fd < 0)
		goto failed;
	redial->event = event_new(bus->base, redial->fd, EV_READ | EV_PERSIST, on_readable, redial);
	if (redial->event == NULL || event_add(redial->event, NULL) != 0)
		goto failed;
	redial->watched = inotify_add_watch(redial->fd, run_directory,
	                                    IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
	for (int service = VPNSIP__SERVICE__COORDINATOR; service < PEER_COUNT; service++)
		watch(redial, service);
	return redial;
failed:
	redial_free(redial);
	return NULL;
}

void redial_tick(struct redial *redial)
{
	for (int service = 0; service < PEER_COUNT; service++) {
		const struct peer *peer = &redial->bus->peers[service];

		watch(redial, service);
		for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
			bool is_wanted = channel == TRANSPORT_EVENTS ? peer->is_subscribed
			                                             : peer->is_dialled;
			unsigned *down = &redial->down_seconds[service][channel];

			if (!is_wanted || peer->is_link_up[channel]) {
				*down = 0;
				redial->is_owed[service][channel] = false;
			} else if (++*down >= DEAD_SECONDS ||
			           !is_dialling(redial, service, channel)) {
				dial(redial, service, channel);
			}
		}
	}
}

void redial_free(struct redial *redial)
{
	if (redial == NULL)
		return;
	if (redial->event != NULL)
		event_free(redial->event);
	if (redial->timer != NULL)
		event_free(redial->timer);
	if (redial->fd >= 0)
		close(redial->fd);
	free(redial->run_directory);
	free(redial);
}
