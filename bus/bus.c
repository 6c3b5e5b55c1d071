/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/bus.h"

#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <unistd.h>

#include "bus/instance_lock.h"
#include "bus/internal.h"

static bool admits(const void *context, Vpnsip__Service peer, uid_t uid)
{
	const struct bus *bus = context;

	/* Who dials us says in each message who it is; whoever may open the socket may be the CLI. */
	return peer == VPNSIP__SERVICE__SERVICE_UNSPECIFIED ||
	       identity_admits(&bus->identity, peer, uid);
}

static void on_refused(void *context, uid_t uid)
{
	struct bus *bus = context;

	/* It dials for ever; every power of two is enough for the log. */
	bus->counters.refused_peers++;
	if ((bus->counters.refused_peers & (bus->counters.refused_peers - 1)) == 0)
		bus_log(bus, LOG_WARNING, "bus: refused a socket owned by uid %u (%llu so far)",
		        (unsigned)uid, (unsigned long long)bus->counters.refused_peers);
}

static void on_self_link(void *context, int listener, bool is_up)
{
	struct bus *bus = context;

	if (bus->guard != NULL)
		transport_guard_link(bus->guard, listener, is_up);
}

static void on_visited(void *context)
{
	struct bus *bus = context;

	if (bus->guard != NULL)
		transport_guard_hurry(bus->guard);
}

static const struct transport_handlers transport_handlers = {
	.event = events_receive,
	.request = serve_request,
	.reply = requests_reply,
	.link = peers_link,
	.self_link = on_self_link,
	.visited = on_visited,
	.refused = on_refused,
	.admits = admits,
};

static void on_tick(evutil_socket_t fd, short what, void *context)
{
	struct bus *bus = context;
	uint64_t now = bus_mono_usec(bus);
	uint64_t lag = now > bus->tick_due_usec ? now - bus->tick_due_usec : 0;

	(void)fd;
	(void)what;
	bus->tick_due_usec = now + HEARTBEAT_USEC;
	bus->loop_lag_usec = lag > UINT32_MAX ? UINT32_MAX : (uint32_t)lag;
	if (bus->loop_lag_usec > bus->loop_lag_most_usec)
		bus->loop_lag_most_usec = bus->loop_lag_usec;
	events_heartbeat(bus);
	peers_tick(bus, lag);
	record_tick(bus);
	if (bus->transport != NULL)
		transport_tick(bus->transport);
	if (bus->guard != NULL)
		transport_guard_tick(bus->guard);
	if (bus->redial != NULL)
		redial_tick(bus->redial);
}

static int start_tick(struct bus *bus)
{
	const struct timeval second = {.tv_usec = HEARTBEAT_USEC % 1000000,
	                               .tv_sec = HEARTBEAT_USEC / 1000000};

	bus->tick_due_usec = bus_mono_usec(bus) + HEARTBEAT_USEC;
	bus->tick = event_new(bus->base, -1, EV_PERSIST, on_tick, bus);
	return bus->tick != NULL && event_add(bus->tick, &second) == 0 ? 0 : -1;
}

static void end_trace(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	((struct bus *)context)->trace_id = 0;
}

static struct bus *new_bus(const struct bus_options *options, char *why, size_t why_size)
{
	struct bus *bus = calloc(1, sizeof(*bus));

	snprintf(why, why_size, "out of memory");
	if (bus == NULL)
		return NULL;
	bus->lock_fd = -1;
	bus->base = options->base;
	bus->environment = *options->environment;
	if (options->replay_file != NULL) {
		bus->replay = replay_open(options->replay_file, options->self,
		                          options->state_directory, why, why_size);
		if (bus->replay == NULL) {
			free(bus);
			return NULL;
		}
		bus->environment = replay_environment(bus->replay);
	}
	bus->handlers = *options->handlers;
	bus->context = options->context;
	bus->log = options->log;
	bus->version = options->version != NULL ? options->version : "";
	bus->config_file = options->config_file != NULL ? options->config_file : "";
	bus->config_digest = options->config_digest != NULL ? options->config_digest : "";
	bus->self = options->self;
	bus->loop_thread = pthread_self();
	bus->is_listening = options->is_listening;
	bus->state_directory = options->state_directory;
	bus->records_state = options->records_state;
	bus->epoch = random_id(bus);
	bus->started_usec = bus_mono_usec(bus);
	peers_init(bus, options->subscribes, options->calls);
	return bus;
}

/** What a bus has with and without peers. */
static int open_core(struct bus *bus, const struct bus_options *options)
{
	bus->inbox = inbox_new(bus->base);
	bus->replies = reply_cache_new();
	bus->trace = trace_new();
	bus->trace_end = event_new(bus->base, -1, 0, end_trace, bus);
	if (bus->inbox == NULL || bus->replies == NULL || bus->trace == NULL ||
	    bus->trace_end == NULL)
		return -1;
	if (options->allows_faults && (bus->faults = faults_new(bus)) == NULL)
		return -1;
	return 0;
}

static int open_parts(struct bus *bus, const struct bus_options *options, char *why,
                      size_t why_size)
{
	if (bus->replay != NULL)
		return open_core(bus, options);
	if (identity_load(&bus->identity, options->uid_map, why, why_size) != 0)
		return -1;
	if (options->is_listening) {
		bus->lock_fd = instance_lock(options->run_directory, bus->self, why, why_size);
		if (bus->lock_fd < 0)
			return -1;
	}
	snprintf(why, why_size, "out of memory or descriptors");
	if (open_core(bus, options) != 0)
		return -1;
	if (options->record_name != NULL &&
	    record_start(bus, options->record_name, true, why, why_size) != 0)
		bus_log(bus, LOG_ERR, "bus: no recording: %s", why);
	bus->transport = transport_open(options->run_directory, bus->inbox, &transport_handlers,
	                                bus, why, why_size);
	if (bus->transport == NULL)
		return -1;
	if (options->is_listening) {
		if (transport_listen(bus->transport, bus->self, why, why_size) != 0)
			return -1;
		bus->guard = transport_guard_new(bus, options->run_directory);
		if (bus->guard == NULL)
			return -1;
	}
	if (peers_dial(bus, why, why_size) != 0)
		return -1;
	if (options->is_listening) {
		bus->redial = redial_new(bus, options->run_directory);
		if (bus->redial == NULL)
			return -1;
		instance_lock_announce(bus->lock_fd);
	}
	return start_tick(bus);
}

struct bus *bus_open(const struct bus_options *options, char *why, size_t why_size)
{
	struct bus *bus = new_bus(options, why, why_size);

	if (bus != NULL && open_parts(bus, options, why, why_size) != 0) {
		bus_close(bus);
		bus = NULL;
	}
	if (bus != NULL)
		why[0] = '\0';
	return bus;
}

/** Closed, but nng's threads may use them until the end of the process (see transport_stop()). */
static struct bus *kept;

void bus_close(struct bus *bus)
{
	bool is_at_rest = true;

	if (bus == NULL)
		return;
	record_stop(bus);
	if (bus->tick != NULL)
		event_free(bus->tick);
	transport_guard_free(bus->guard);
	bus->guard = NULL;
	redial_free(bus->redial);
	bus->redial = NULL;
	faults_free(bus->faults);
	bus->faults = NULL;
	if (bus->transport != NULL)
		is_at_rest = transport_stop(bus->transport);
	bus->is_closing = true;
	requests_fail_all(bus);
	inbox_close(bus->inbox);
	serve_free_open(bus);
	peers_free(bus);
	reply_cache_free(bus->replies);
	if (bus->trace_end != NULL)
		event_free(bus->trace_end);
	if (bus->lock_fd >= 0)
		close(bus->lock_fd);
	if (!is_at_rest) {
		bus->next_kept = kept;
		kept = bus;
		return;
	}
	transport_free(bus->transport);
	inbox_free(bus->inbox);
	trace_free(bus->trace);
	replay_free(bus->replay);
	free(bus);
}

void bus_touch_state(struct bus *bus)
{
	atomic_fetch_add(&bus->state_revision, 1);
}

struct event_base *bus_event_base(const struct bus *bus)
{
	return bus->base;
}

uint64_t bus_mono_usec(const struct bus *bus)
{
	return bus->environment.mono_usec(bus->environment.context);
}

uint64_t bus_wall_usec(const struct bus *bus)
{
	return bus->environment.wall_usec(bus->environment.context);
}

void bus_random(const struct bus *bus, void *octets, size_t size)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;

	if (bus->replay != NULL) {
		replay_random(bus->replay, octets, size);
		return;
	}
	bus->environment.random(bus->environment.context, octets, size);
	if (bus->record == NULL)
		return;
	record.kind = VPNSIP__RECORD_KIND__RECORD_RANDOM;
	record.octets.data = octets;
	record.octets.len = size;
	record_add((struct bus *)bus, &record);
}
