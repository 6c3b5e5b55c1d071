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

/** Ticks between probes. While a peer is absent it may be this listener that keeps it away. */
#define HURRIED_TICKS 1
#define RELAXED_TICKS 10
/*
 * How long a probe may take to be accepted, and to be cleared away after its end. Ticks of this loop, not time: when the
 * process has been stopped or starved, nng's threads were too.
 */
#define ACCEPT_TICKS  2
#define CLEAR_TICKS   3

struct probe {
	int fd;             /* -1 = not under way */
	unsigned accepting; /* ticks since its start */
	bool is_accepted;   /* and none has been cleared away since */
	unsigned clearing;  /* ticks with that */
};

struct transport_guard {
	struct bus *bus;
	char *run_directory;
	unsigned ticks;         /* since the last probe */
	struct probe probes[2]; /* by enum transport_channel */
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
	probe->accepting = 0;
}

static void start_probe(struct transport_guard *guard, enum transport_channel channel)
{
	struct probe *probe = &guard->probes[channel];
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (probe->fd >= 0)
		return;
	if (transport_path(address.sun_path, sizeof(address.sun_path), guard->run_directory,
	                   guard->bus->self, channel) != 0)
		return;
	probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe->fd < 0)
		return; /* out of descriptors says nothing about the listener */
	/* A failure here (no such file, backlog full) is a listener to be replaced as well. */
	if (connect(probe->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(probe->fd, greetings[channel], sizeof(greetings[0]), MSG_NOSIGNAL) < 0)
		bus_log(guard->bus, LOG_DEBUG, "bus: probe: %s", strerror(errno));
}

void transport_guard_link(struct transport_guard *guard, enum transport_channel channel, bool is_up)
{
	struct probe *probe = &guard->probes[channel];

	if (!is_up) {
		probe->is_accepted = false;
		probe->clearing = 0;
	} else if (probe->fd >= 0) {
		probe->is_accepted = true;
		end_probe(probe);
	}
}

static void replace_listener(struct transport_guard *guard, enum transport_channel channel)
{
	struct bus *bus = guard->bus;

	bus->counters.listener_restarts++;
	bus_log(bus, LOG_WARNING, "bus: the %s listener was deaf and is being replaced",
	        channel == TRANSPORT_EVENTS ? "events" : "requests");
	if (transport_listen_again(bus->transport, channel) != 0)
		bus_log(bus, LOG_ERR, "bus: the listener cannot be replaced");
}

static void check_probe(struct transport_guard *guard, enum transport_channel channel)
{
	struct probe *probe = &guard->probes[channel];

	if (probe->fd >= 0 && ++probe->accepting >= ACCEPT_TICKS) {
		end_probe(probe);
		replace_listener(guard, channel);
	}
	if (probe->is_accepted && ++probe->clearing > CLEAR_TICKS) {
		bus_log(guard->bus, LOG_CRIT,
		        "bus: lost connections are not cleared away any more; the process ends to "
		        "be started anew");
		_exit(EXIT_FAILURE);
	}
}

void transport_guard_tick(struct transport_guard *guard)
{
	unsigned every = peers_are_complete(guard->bus) ? RELAXED_TICKS : HURRIED_TICKS;
	bool is_due = ++guard->ticks >= every;

	if (is_due)
		guard->ticks = 0;
	for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
		check_probe(guard, channel);
		if (is_due)
			start_probe(guard, channel);
	}
}

struct transport_guard *transport_guard_new(struct bus *bus, const char *run_directory)
{
	struct transport_guard *guard = calloc(1, sizeof(*guard));

	if (guard == NULL || (guard->run_directory = strdup(run_directory)) == NULL) {
		free(guard);
		return NULL;
	}
	guard->bus = bus;
	guard->probes[TRANSPORT_EVENTS].fd = -1;
	guard->probes[TRANSPORT_REQUESTS].fd = -1;
	return guard;
}

void transport_guard_free(struct transport_guard *guard)
{
	if (guard == NULL)
		return;
	end_probe(&guard->probes[TRANSPORT_EVENTS]);
	end_probe(&guard->probes[TRANSPORT_REQUESTS]);
	free(guard->run_directory);
	free(guard);
}
