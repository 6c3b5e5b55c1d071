/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/transport_guard.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "bus/internal.h"

/** While a peer is absent it may be this listener that keeps it away. */
#define HURRIED_TICKS 1
#define RELAXED_TICKS 10
/** Ticks that an ended connection may take to be cleared away. Counted, not timed: the process may have been stopped. */
#define LINGER_TICKS  3

static const struct timeval patience = {.tv_usec = 200000};

struct probe {
	struct transport_guard *guard;
	enum transport_channel channel;
	int fd; /* -1 = not under way */
	struct event *timer;
	bool is_attached;   /* and none has been cleared away since */
	unsigned lingering; /* ticks with that */
};

struct transport_guard {
	struct bus *bus;
	char *run_directory;
	unsigned ticks; /* since the last probe */
	struct probe probes[2];
};

/** The other end's half of the handshake: 0 'S' 'P' 0, protocol number, 0 0. */
static const uint8_t greetings[2][8] = {
	[TRANSPORT_EVENTS] = {0, 'S', 'P', 0, 0, 0x21, 0, 0},   /* SUB */
	[TRANSPORT_REQUESTS] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}, /* REQ */
};

static void end_probe(struct probe *probe)
{
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
	event_del(probe->timer);
}

static void on_patience(evutil_socket_t fd, short what, void *context)
{
	struct probe *probe = context;
	struct bus *bus = probe->guard->bus;

	(void)fd;
	(void)what;
	end_probe(probe);
	bus->counters.listener_restarts++;
	bus_log(bus, LOG_WARNING, "bus: the %s listener was deaf and is being replaced",
	        probe->channel == TRANSPORT_EVENTS ? "events" : "requests");
	if (transport_listen_again(bus->transport, probe->channel) != 0)
		bus_log(bus, LOG_ERR, "bus: the listener cannot be replaced");
}

static void start_probe(struct probe *probe)
{
	struct transport_guard *guard = probe->guard;
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (probe->fd >= 0)
		return;
	if (transport_path(address.sun_path, sizeof(address.sun_path), guard->run_directory,
	                   guard->bus->self, probe->channel) != 0)
		return;
	probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe->fd < 0)
		return; /* out of descriptors says nothing about the listener */
	/* A failure here (no such file, backlog full) is a listener to be replaced as well. */
	if (connect(probe->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(probe->fd, greetings[probe->channel], sizeof(greetings[0]), MSG_NOSIGNAL) < 0)
		bus_log(guard->bus, LOG_DEBUG, "bus: probe: %s", strerror(errno));
	event_add(probe->timer, &patience);
}

void transport_guard_link(struct transport_guard *guard, enum transport_channel channel, bool is_up)
{
	struct probe *probe = &guard->probes[channel];

	if (!is_up) {
		probe->is_attached = false;
		probe->lingering = 0;
	} else if (probe->fd >= 0) {
		probe->is_attached = true;
		end_probe(probe);
	}
}

static void check_clearing(struct probe *probe)
{
	if (!probe->is_attached || ++probe->lingering <= LINGER_TICKS)
		return;
	bus_log(probe->guard->bus, LOG_CRIT,
	        "bus: ended connections are not cleared away any more; this process ends, to be "
	        "started anew");
	_exit(EXIT_FAILURE);
}

void transport_guard_tick(struct transport_guard *guard)
{
	unsigned every = peers_are_complete(guard->bus) ? RELAXED_TICKS : HURRIED_TICKS;

	check_clearing(&guard->probes[TRANSPORT_EVENTS]);
	check_clearing(&guard->probes[TRANSPORT_REQUESTS]);
	if (++guard->ticks < every)
		return;
	guard->ticks = 0;
	start_probe(&guard->probes[TRANSPORT_EVENTS]);
	start_probe(&guard->probes[TRANSPORT_REQUESTS]);
}

struct transport_guard *transport_guard_new(struct bus *bus, const char *run_directory)
{
	struct transport_guard *guard = calloc(1, sizeof(*guard));

	if (guard == NULL)
		return NULL;
	guard->bus = bus;
	guard->run_directory = strdup(run_directory);
	for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
		struct probe *probe = &guard->probes[channel];

		probe->guard = guard;
		probe->channel = channel;
		probe->fd = -1;
		probe->timer = evtimer_new(bus->base, on_patience, probe);
	}
	if (guard->run_directory != NULL && guard->probes[0].timer != NULL &&
	    guard->probes[1].timer != NULL)
		return guard;
	transport_guard_free(guard);
	return NULL;
}

void transport_guard_free(struct transport_guard *guard)
{
	if (guard == NULL)
		return;
	for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
		if (guard->probes[channel].timer == NULL)
			continue;
		end_probe(&guard->probes[channel]);
		event_free(guard->probes[channel].timer);
	}
	free(guard->run_directory);
	free(guard);
}
