/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/transport_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "bus/instance_lock.h"
#include "bus/internal.h"

/** Between probes; and how long it stays in a hurry after a peer went or came. While one is absent it always is. */
#define HURRIED_MSEC  250
#define RELAXED_MSEC  2000
#define HURRY_USEC    3000000
/*
 * How long a probe may take to be accepted, and to be cleared away after its end. Turns of this loop, not time: when the
 * process has been stopped or starved, nng's threads were too.
 */
#define LOOK_MSEC     60
#define ACCEPT_LOOKS  4
#define CLEAR_SECONDS 3
/*
 * On a busy machine nng's threads may be later than that. So the witness is asked: a listener of the same process that
 * nobody can have made deaf. Only what is not taken although the witness's connection, which came later, was taken, is deaf.
 * The witness itself is believed for so many looks.
 */
#define WITNESS_LOOKS 30

struct probe {
	int fd;             /* -1 = not under way */
	unsigned accepting; /* looks since its start */
	bool is_accepted;   /* and none has been cleared away since */
	unsigned clearing;  /* seconds with that */
};

struct transport_guard {
	struct bus *bus;
	char *run_directory;
	bool is_looking;     /* what became of the probes; else they are still to be sent */
	struct event *timer; /* the next probe, or the next look at those under way */
	bool is_relaxed;     /* and it is the next probe, after RELAXED_MSEC */
	uint64_t hurried_until_usec;
	struct probe probes[TRANSPORT_LISTENERS];
	unsigned testimony; /* looks since the witness's connection was taken, from 1; 0 = it has not been since it was asked */
};

/** The other end's half of the handshake: 0 'S' 'P' 0, protocol number, 0 0. */
static const uint8_t greetings[TRANSPORT_LISTENERS][8] = {
	[TRANSPORT_EVENTS] = {0, 'S', 'P', 0, 0, 0x21, 0, 0},   /* SUB */
	[TRANSPORT_REQUESTS] = {0, 'S', 'P', 0, 0, 0x30, 0, 0}, /* REQ */
	[TRANSPORT_WITNESS] = {0, 'S', 'P', 0, 0, 0x21, 0, 0},
};

static void end_probe(struct probe *probe)
{
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
	probe->accepting = 0;
}

static void start_probe(struct transport_guard *guard, int listener)
{
	struct probe *probe = &guard->probes[listener];
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (probe->fd >= 0)
		return;
	if (transport_path(address.sun_path, sizeof(address.sun_path), guard->run_directory,
	                   guard->bus->self, listener) != 0)
		return;
	probe->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (probe->fd < 0)
		return; /* out of descriptors says nothing about the listener */
	/* A failure here (no such file, backlog full) is a listener to be replaced as well. */
	if (connect(probe->fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
	    send(probe->fd, greetings[listener], sizeof(greetings[0]), MSG_NOSIGNAL) < 0)
		bus_log(guard->bus, LOG_DEBUG, "bus: probe: %s", strerror(errno));
}

void transport_guard_link(struct transport_guard *guard, int listener, bool is_up)
{
	struct probe *probe = &guard->probes[listener];

	if (!is_up) {
		probe->is_accepted = false;
		probe->clearing = 0;
	} else if (probe->fd >= 0) {
		probe->is_accepted = true;
		if (listener == TRANSPORT_WITNESS)
			guard->testimony = 1;
		end_probe(probe);
	}
}

static void replace_listener(struct transport_guard *guard, enum transport_channel channel)
{
	struct bus *bus = guard->bus;

	/* All peers dial now, and one may again be a peer that ends at once. */
	guard->hurried_until_usec = bus_mono_usec(bus) + HURRY_USEC;
	bus->counters.listener_restarts++;
	bus_log(bus, LOG_WARNING, "bus: the %s listener was deaf and is being replaced",
	        channel == TRANSPORT_EVENTS ? "events" : "requests");
	if (transport_listen_again(bus->transport, channel) != 0)
		bus_log(bus, LOG_ERR, "bus: the listener cannot be replaced");
	else
		instance_lock_announce(bus->lock_fd);
}

/** Without one the other end of the probe could not be taken, which says nothing about the listener. */
static bool has_free_descriptor(int any)
{
	int fd = fcntl(any, F_DUPFD_CLOEXEC, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Whether a probe that has not been taken for so many looks never will be. */
static bool is_deaf(struct transport_guard *guard, const struct probe *probe)
{
	if (probe->accepting < ACCEPT_LOOKS)
		return false;
	if (probe->accepting == ACCEPT_LOOKS) {
		/* One that is still on its way is not ended: that would make the witness deaf. */
		guard->testimony = 0;
		start_probe(guard, TRANSPORT_WITNESS);
	}
	/* A look more: nng's threads may tell of two connections in another order than they came. */
	return guard->testimony > 1 || probe->accepting >= WITNESS_LOOKS;
}

static void check_probe(struct transport_guard *guard, enum transport_channel channel)
{
	struct probe *probe = &guard->probes[channel];

	bool has_room;

	if (probe->fd < 0)
		return;
	probe->accepting++;
	if (!is_deaf(guard, probe))
		return;
	has_room = has_free_descriptor(probe->fd);
	end_probe(probe);
	if (has_room)
		replace_listener(guard, channel);
	else
		bus_log(guard->bus, LOG_WARNING,
		        "bus: no descriptors are left: nobody new is taken");
}

static bool is_probing(const struct transport_guard *guard)
{
	return guard->probes[TRANSPORT_EVENTS].fd >= 0 || guard->probes[TRANSPORT_REQUESTS].fd >= 0;
}

static int wait_for_next(struct transport_guard *guard)
{
	bool is_hurried = !peers_are_complete(guard->bus) ||
	                  bus_mono_usec(guard->bus) < guard->hurried_until_usec;
	unsigned msec = guard->is_looking ? LOOK_MSEC : is_hurried ? HURRIED_MSEC : RELAXED_MSEC;
	const struct timeval pause = {.tv_sec = msec / 1000, .tv_usec = msec % 1000 * 1000};

	guard->is_relaxed = msec == RELAXED_MSEC;
	return event_add(guard->timer, &pause);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct transport_guard *guard = context;

	(void)fd;
	(void)what;
	if (guard->is_looking) {
		check_probe(guard, TRANSPORT_EVENTS);
		check_probe(guard, TRANSPORT_REQUESTS);
		guard->testimony += guard->testimony > 0;
		guard->is_looking = is_probing(guard);
	} else {
		start_probe(guard, TRANSPORT_EVENTS);
		start_probe(guard, TRANSPORT_REQUESTS);
		guard->is_looking = true;
	}
	wait_for_next(guard);
}

void transport_guard_hurry(struct transport_guard *guard)
{
	guard->hurried_until_usec = bus_mono_usec(guard->bus) + HURRY_USEC;
	/* A probe that comes soon anyway stays where it is: what happens often would put it off for ever. */
	if (guard->is_relaxed)
		wait_for_next(guard);
}

void transport_guard_tick(struct transport_guard *guard)
{
	for (int listener = 0; listener < TRANSPORT_LISTENERS; listener++) {
		struct probe *probe = &guard->probes[listener];

		if (!probe->is_accepted || ++probe->clearing <= CLEAR_SECONDS)
			continue;
		bus_log(guard->bus, LOG_CRIT,
		        "bus: lost connections are not cleared away any more; the process ends to "
		        "be started anew");
		_exit(EXIT_FAILURE);
	}
}

struct transport_guard *transport_guard_new(struct bus *bus, const char *run_directory)
{
	struct transport_guard *guard = calloc(1, sizeof(*guard));

	if (guard == NULL)
		return NULL;
	guard->bus = bus;
	for (int listener = 0; listener < TRANSPORT_LISTENERS; listener++)
		guard->probes[listener].fd = -1;
	guard->run_directory = strdup(run_directory);
	guard->timer = evtimer_new(bus->base, on_timer, guard);
	/* Everybody dials a service that has just begun to listen. */
	guard->hurried_until_usec = bus_mono_usec(bus) + HURRY_USEC;
	if (guard->run_directory == NULL || guard->timer == NULL || wait_for_next(guard) != 0) {
		transport_guard_free(guard);
		return NULL;
	}
	return guard;
}

void transport_guard_free(struct transport_guard *guard)
{
	if (guard == NULL)
		return;
	for (int listener = 0; listener < TRANSPORT_LISTENERS; listener++)
		end_probe(&guard->probes[listener]);
	if (guard->timer != NULL)
		event_free(guard->timer);
	free(guard->run_directory);
	free(guard);
}
