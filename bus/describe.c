/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stands inside a service: the library's counters, and what the service itself tells. */
#include <malloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "bus/trace.h"

/** Well below what a reply may hold. */
#define OCTETS_MAXIMUM ((size_t)1024 * 1024)
#define LINE_SIZE      1024

struct lines {
	char **texts;
	size_t count, room;
};

struct bus_description {
	struct lines state, switches, conditions;
	struct lines *written; /* where bus_describe() writes to */
	Vpnsip__Counter **counters;
	size_t counter_count, counter_room;
	size_t octets;    /* of all texts */
	uint64_t omitted; /* did not fit, or no memory */
};

/** Makes room for one more pointer. */
static bool grow(void *array, size_t count, size_t *room)
{
	void **pointers = *(void ***)array, **larger;
	size_t wanted = *room == 0 ? 64 : *room * 2;

	if (count < *room)
		return true;
	larger = realloc(pointers, wanted * sizeof(*pointers));
	if (larger == NULL)
		return false;
	*(void ***)array = larger;
	*room = wanted;
	return true;
}

static char *copy_within_limit(struct bus_description *description, const char *text)
{
	size_t size = strlen(text) + 1;
	char *copy;

	if (description->octets + size > OCTETS_MAXIMUM)
		return NULL;
	copy = strdup(text);
	if (copy != NULL)
		description->octets += size;
	return copy;
}

void bus_describe(struct bus_description *description, const char *format, ...)
{
	struct lines *lines = description->written;
	char line[LINE_SIZE], *copy = NULL;
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	if (grow(&lines->texts, lines->count, &lines->room))
		copy = copy_within_limit(description, line);
	if (copy != NULL)
		lines->texts[lines->count++] = copy;
	else
		description->omitted++;
}

void bus_describe_counter(struct bus_description *description, const char *name, uint64_t value)
{
	Vpnsip__Counter *counter = NULL;

	if (grow(&description->counters, description->counter_count, &description->counter_room))
		counter = malloc(sizeof(*counter));
	if (counter != NULL) {
		vpnsip__counter__init(counter);
		counter->name = copy_within_limit(description, name);
		counter->value = value;
	}
	if (counter == NULL || counter->name == NULL) {
		free(counter);
		description->omitted++;
		return;
	}
	description->counters[description->counter_count++] = counter;
}

static void describe_peers(struct bus *bus, struct bus_description *description)
{
	uint64_t received = 0, lost = 0, gaps = 0, snapshots = 0, sent = 0, failed = 0, late = 0;
	uint64_t buffered = 0;

	for (int service = 0; service < PEER_COUNT; service++) {
		const struct peer *peer = &bus->peers[service];

		received += peer->counters.events_received;
		lost += peer->counters.events_lost;
		gaps += peer->counters.gaps;
		snapshots += peer->counters.snapshots;
		sent += peer->counters.requests_sent;
		failed += peer->counters.requests_failed;
		late += peer->counters.requests_timed_out;
		buffered += peer->buffered;
	}
	bus_describe_counter(description, "events.received", received);
	bus_describe_counter(description, "events.lost", lost);
	bus_describe_counter(description, "events.gaps", gaps);
	bus_describe_counter(description, "events.buffered", buffered);
	bus_describe_counter(description, "snapshots.received", snapshots);
	bus_describe_counter(description, "calls.sent", sent);
	bus_describe_counter(description, "calls.failed", failed);
	bus_describe_counter(description, "calls.timed-out", late);
}

static void describe_library(struct bus *bus, struct bus_description *description)
{
	const struct mallinfo2 heap = mallinfo2();
	unsigned depth, most;

	inbox_depth(bus->inbox, &depth, &most);
	bus_describe_counter(description, "events.sent", bus->sequence);
	describe_peers(bus, description);
	bus_describe_counter(description, "events.overflowed",
	                     bus->counters.overflowed_events +
	                             transport_overflowed(bus->transport));
	bus_describe_counter(description, "calls.in-flight", requests_count(bus));
	bus_describe_counter(description, "calls.waiting", bus->waiting_count);
	bus_describe_counter(description, "calls.shed", bus->counters.shed_calls);
	bus_describe_counter(description, "requests.served", bus->counters.served_requests);
	bus_describe_counter(description, "requests.open", bus->open_request_count);
	bus_describe_counter(description, "requests.open-max", bus->open_request_most);
	bus_describe_counter(description, "requests.repeated", bus->counters.repeated_requests);
	bus_describe_counter(description, "requests.late", bus->counters.late_requests);
	bus_describe_counter(description, "requests.shed", bus->counters.shed_requests);
	bus_describe_counter(description, "inbox.depth", depth);
	bus_describe_counter(description, "inbox.depth-max", most);
	bus_describe_counter(description, "inbox.lag-usec", inbox_lag_usec(bus->inbox));
	bus_describe_counter(description, "refused.peers", bus->counters.refused_peers);
	bus_describe_counter(description, "refused.messages", bus->counters.refused_messages);
	bus_describe_counter(description, "undecodable.messages",
	                     bus->counters.undecodable_messages);
	bus_describe_counter(description, "listener.restarts", bus->counters.listener_restarts);
	bus_describe_counter(description, "loop.lag-usec", bus->loop_lag_usec);
	bus_describe_counter(description, "loop.lag-max-usec", bus->loop_lag_most_usec);
	bus_describe_counter(description, "heap.used-octets", heap.uordblks + heap.hblkhd);
	trace_describe(bus->trace, description);
	faults_describe(bus->faults, description);
	record_describe(bus, description);
}

static void free_lines(struct lines *lines)
{
	for (size_t i = 0; i < lines->count; i++)
		free(lines->texts[i]);
	free(lines->texts);
}

void describe_answer(struct bus *bus, struct bus_request *request)
{
	Vpnsip__Internals internals = VPNSIP__INTERNALS__INIT;
	struct bus_description description = {0};

	description.written = &description.state;
	describe_library(bus, &description);
	if (bus->handlers.describe != NULL)
		bus->handlers.describe(bus->context, &description);
	description.written = &description.switches;
	if (bus->handlers.describe_log != NULL)
		bus->handlers.describe_log(bus->context, &description);
	description.written = &description.conditions;
	if (bus->handlers.describe_conditions != NULL)
		bus->handlers.describe_conditions(bus->context, &description);
	bus_describe_counter(&description, "description.omitted", description.omitted);

	internals.counters = description.counters;
	internals.n_counters = description.counter_count;
	internals.state = description.state.texts;
	internals.n_state = description.state.count;
	internals.debug_switches = description.switches.texts;
	internals.n_debug_switches = description.switches.count;
	internals.debug_conditions = description.conditions.texts;
	internals.n_debug_conditions = description.conditions.count;
	bus_reply(request, &internals.base);

	for (size_t i = 0; i < description.counter_count; i++) {
		free(description.counters[i]->name);
		free(description.counters[i]);
	}
	free(description.counters);
	free_lines(&description.state);
	free_lines(&description.switches);
	free_lines(&description.conditions);
}
