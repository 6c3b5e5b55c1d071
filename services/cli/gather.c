/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/gather.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** The bus ends each call in time; on a loaded machine its threads may be late, and the command is not. */
#define GRACE_MSEC 250

/** Where a reply is to be kept; NULL when the round is over. */
struct question {
	struct question *next;
	struct gatherer *gatherer;
	struct ordered *ordered;
};

/** A bus of the command line and what is under way on it. */
struct gatherer {
	struct event_base *base;
	struct bus *bus;
	struct event *limit; /* of the round */
	struct question *questions;
	unsigned stopped; /* BUS_SERVICE() set: not even dialled */
	unsigned pending;
	uint64_t answered_mono_usec; /* when the last answer came */
};

static void block_signals(void)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* For this thread alone: the command can be interrupted and ends when nobody reads it any more. */
static void unblock_signals(void)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGPIPE);
	pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

struct bus *gather_open(const struct gather_options *options, unsigned services, bool subscribes,
                        const struct bus_handlers *handlers, void *context, struct event_base *base,
                        char *why, size_t why_size)
{
	static const struct bus_handlers none;
	struct bus_options bus_options = {
		.self = options->as ? options->as : VPNSIP__SERVICE__CLI,
		.run_directory = options->run_directory,
		.uid_map = options->uid_map,
		.base = base,
		.environment = &bus_system_environment,
		.subscribes = subscribes ? services : 0,
		.calls = services,
		.handlers = handlers ? handlers : &none,
		.context = context,
		.version = VPNSIP_VERSION,
	};
	struct bus *bus;

	block_signals();
	bus = bus_open(&bus_options, why, why_size);
	unblock_signals();
	return bus;
}

static Vpnsip__Envelope *copy_envelope(const Vpnsip__Envelope *envelope)
{
	size_t size = vpnsip__envelope__get_packed_size(envelope);
	uint8_t *octets = malloc(size ? size : 1);
	Vpnsip__Envelope *copy;

	if (!octets)
		return NULL;
	vpnsip__envelope__pack(envelope, octets);
	copy = vpnsip__envelope__unpack(NULL, size, octets);
	free(octets);
	return copy;
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct question *question = context;
	struct gatherer *gatherer = question->gatherer;
	struct ordered *ordered = question->ordered;

	if (!ordered)
		return;
	question->ordered = NULL;
	ordered->outcome = outcome;
	snprintf(ordered->cause, sizeof(ordered->cause), "%s", bus_cause(reply));
	if (outcome == BUS_DONE) {
		ordered->reply = copy_envelope(reply);
		gatherer->answered_mono_usec = bus_mono_usec(gatherer->bus);
	}
	if (--gatherer->pending == 0)
		event_base_loopbreak(gatherer->base);
}

static void on_limit(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct gatherer *)context)->base);
}

/*
 * A process that does not answer may still be there: its instance lock names it. 0 when it is not. *is_stopped tells that it
 * has been stopped by a signal.
 */
static unsigned running_process(const char *run_directory, Vpnsip__Service service,
                                bool *is_stopped)
{
	const char *name = bus_service_name(service);
	char path[300], running[32], state = 'Z';
	unsigned process = 0;
	FILE *stream;

	*is_stopped = false;
	snprintf(path, sizeof(path), "%s/%s/lock", run_directory, name);
	stream = fopen(path, "re");
	if (!stream)
		return 0;
	if (fscanf(stream, "%u", &process) != 1)
		process = 0;
	fclose(stream);
	snprintf(path, sizeof(path), "/proc/%u/stat", process);
	stream = process ? fopen(path, "re") : NULL;
	if (!stream)
		return 0;
	/* The kernel keeps 15 characters of a name; a zombie has one too. */
	if (fscanf(stream, "%*u (%15[^)]) %c", running, &state) != 2 || state == 'Z' ||
	    strncmp(running, name, strlen(running)) != 0)
		process = 0;
	fclose(stream);
	*is_stopped = process && state == 'T';
	return process;
}

/*
 * Those that are known not to answer are not dialled: it saves the wait, and a connection that ends before nng's handshake
 * would make the service deaf when it goes on (see bus/transport_guard.c).
 */
static unsigned stopped_services(const struct gather_options *options, unsigned services)
{
	unsigned stopped = 0;
	bool is_stopped;

	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if ((services & BUS_SERVICE(i)) &&
		    running_process(options->run_directory, (Vpnsip__Service)i, &is_stopped) &&
		    is_stopped)
			stopped |= BUS_SERVICE(i);
	return stopped;
}

struct gatherer *gather_begin(const struct gather_options *options, unsigned services, char *why,
                              size_t why_size)
{
	struct gatherer *gatherer = calloc(1, sizeof(*gatherer));

	snprintf(why, why_size, "out of memory");
	if (!gatherer)
		return NULL;
	gatherer->stopped = stopped_services(options, services);
	gatherer->base = event_base_new();
	if (gatherer->base)
		gatherer->limit = evtimer_new(gatherer->base, on_limit, gatherer);
	if (gatherer->limit)
		gatherer->bus = gather_open(options, services & ~gatherer->stopped, false, NULL,
		                            NULL, gatherer->base, why, why_size);
	if (gatherer->bus)
		return gatherer;
	gather_end(gatherer);
	return NULL;
}

static void send_order(struct gatherer *gatherer, struct ordered *ordered, unsigned timeout_msec)
{
	struct question *question = calloc(1, sizeof(*question));

	if (!question) {
		fputs("vpnsip: out of memory\n", stderr);
		abort(); /* as the bus itself would, a moment later */
	}
	*question = (struct question){gatherer->questions, gatherer, ordered};
	gatherer->questions = question;
	gatherer->pending++;
	bus_call(gatherer->bus, ordered->to, ordered->session, ordered->order, timeout_msec,
	         on_reply, question);
}

void gather_ask(struct gatherer *gatherer, struct ordered *orders, size_t count,
                unsigned timeout_msec)
{
	unsigned limit_msec = timeout_msec + GRACE_MSEC;
	const struct timeval limit = {.tv_sec = limit_msec / 1000,
	                              .tv_usec = (suseconds_t)(limit_msec % 1000 * 1000)};

	for (size_t i = 0; i < count; i++) {
		bool is_stopped = (gatherer->stopped & BUS_SERVICE(orders[i].to)) != 0;

		orders[i].outcome = is_stopped ? BUS_NOT_SENT : BUS_TIMED_OUT;
		orders[i].reply = NULL;
		snprintf(orders[i].cause, sizeof(orders[i].cause), "%s did not answer within %u ms",
		         bus_service_name(orders[i].to), timeout_msec);
		if (!is_stopped)
			send_order(gatherer, &orders[i], timeout_msec);
	}
	if (gatherer->pending == 0)
		return;
	event_add(gatherer->limit, &limit);
	event_base_dispatch(gatherer->base);
	event_del(gatherer->limit);
	for (struct question *question = gatherer->questions; question; question = question->next)
		question->ordered = NULL;
	gatherer->pending = 0;
}

void gather_end(struct gatherer *gatherer)
{
	struct question *next;

	if (!gatherer)
		return;
	bus_close(gatherer->bus);
	if (gatherer->limit)
		event_free(gatherer->limit);
	if (gatherer->base)
		event_base_free(gatherer->base);
	for (struct question *question = gatherer->questions; question; question = next) {
		next = question->next;
		free(question);
	}
	free(gatherer);
}

bool gather_order(const struct gather_options *options, struct ordered *orders, size_t count,
                  unsigned timeout_msec, char *why, size_t why_size)
{
	struct gatherer *gatherer;
	unsigned services = 0;

	for (size_t i = 0; i < count; i++)
		services |= BUS_SERVICE(orders[i].to);
	gatherer = gather_begin(options, services, why, why_size);
	if (gatherer)
		gather_ask(gatherer, orders, count, timeout_msec);
	gather_end(gatherer);
	return gatherer != NULL;
}

void gather_forget(struct ordered *orders, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		bus_free_envelope(orders[i].reply);
		orders[i].reply = NULL;
	}
}

bool gather(const struct gather_options *options, unsigned services, bool wants_snapshots,
            struct gathered *gathered, char *why, size_t why_size)
{
	static const Vpnsip__GetSnapshot get_snapshot = VPNSIP__GET_SNAPSHOT__INIT;
	static const Vpnsip__GetServiceStatus get_status = VPNSIP__GET_SERVICE_STATUS__INIT;
	struct ordered orders[2 * VPNSIP__SERVICE__CLI] = {0};
	struct gatherer *gatherer = gather_begin(options, services, why, why_size);
	size_t count = 0;

	*gathered = (struct gathered){0};
	if (!gatherer)
		return false;
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		struct gathered_service *service = &gathered->services[i];

		service->is_asked = (services & BUS_SERVICE(i)) != 0;
		service->is_snapshot_wanted = service->is_asked && wants_snapshots;
		if (service->is_asked)
			orders[count++] = (struct ordered){.to = i, .order = &get_status.base};
		if (service->is_snapshot_wanted)
			orders[count++] = (struct ordered){.to = i, .order = &get_snapshot.base};
	}
	gather_ask(gatherer, orders, count, GATHER_TIMEOUT_MSEC);
	gathered->now_mono_usec = gatherer->answered_mono_usec;
	gather_end(gatherer);
	for (size_t i = 0; i < count; i++) {
		struct gathered_service *service = &gathered->services[orders[i].to];

		if (orders[i].order == &get_snapshot.base) {
			service->snapshot = orders[i].reply;
		} else {
			service->status = orders[i].reply;
			service->outcome = orders[i].outcome;
		}
	}
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		struct gathered_service *service = &gathered->services[i];

		if (service->is_asked && !gather_has_answered(service))
			service->process_id = running_process(
				options->run_directory, (Vpnsip__Service)i, &service->is_stopped);
	}
	return true;
}

void gather_free(struct gathered *gathered)
{
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		bus_free_envelope(gathered->services[i].snapshot);
		bus_free_envelope(gathered->services[i].status);
	}
	*gathered = (struct gathered){0};
}

bool gather_has_answered(const struct gathered_service *service)
{
	return service->status && (service->snapshot || !service->is_snapshot_wanted);
}

bool gather_is_complete(const struct gathered *gathered)
{
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if (gathered->services[i].is_asked && !gather_has_answered(&gathered->services[i]))
			return false;
	return true;
}

static void explain(Vpnsip__Service service, unsigned process_id, bool is_stopped,
                    enum bus_outcome outcome, unsigned timeout_msec, char *text, size_t size)
{
	const char *name = bus_service_name(service);

	if (is_stopped)
		snprintf(text, size, "%s does not answer (process %u has been stopped by a signal)",
		         name, process_id);
	else if (process_id)
		snprintf(text, size,
		         "%s does not answer (process %u runs, but was silent for %.1f s)", name,
		         process_id, timeout_msec / 1000.0);
	else if (outcome == BUS_NOT_SENT)
		snprintf(text, size, "%s does not answer (it is not running)", name);
	else
		snprintf(text, size, "%s does not answer (silent for %.1f s)", name,
		         timeout_msec / 1000.0);
}

void gather_explain(const struct gathered *gathered, Vpnsip__Service service, char *text,
                    size_t size)
{
	const struct gathered_service *asked = &gathered->services[service];

	explain(service, asked->process_id, asked->is_stopped, asked->outcome, GATHER_TIMEOUT_MSEC,
	        text, size);
}

void gather_explain_order(const struct gather_options *options, const struct ordered *ordered,
                          unsigned timeout_msec, char *text, size_t size)
{
	unsigned process_id;
	bool is_stopped;

	if (ordered->outcome == BUS_FAILED) {
		snprintf(text, size, "%s", ordered->cause);
		return;
	}
	process_id = running_process(options->run_directory, ordered->to, &is_stopped);
	explain(ordered->to, process_id, is_stopped, ordered->outcome, timeout_msec, text, size);
}
