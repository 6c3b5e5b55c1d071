/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/gather.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** Calls in flight on one loop. */
struct round {
	struct event_base *base;
	unsigned pending;
	uint64_t *answered_mono_usec; /* when the last answer came */
};

/** Where a reply is to be kept. */
struct question {
	struct round *round;
	struct gathered_service *service;
	bool is_status;
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
		.self = VPNSIP__SERVICE__CLI,
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

static struct event_base *new_base(void)
{
	return event_base_new();
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

static void one_less(struct round *round)
{
	if (--round->pending == 0)
		event_base_loopbreak(round->base);
}

static void on_answer(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct question *question = context;
	struct gathered_service *service = question->service;
	Vpnsip__Envelope *copy = outcome == BUS_DONE ? copy_envelope(reply) : NULL;

	if (outcome == BUS_DONE)
		*question->round->answered_mono_usec =
			bus_system_environment.mono_usec(bus_system_environment.context);
	if (question->is_status) {
		service->outcome = outcome;
		service->status = copy;
	} else {
		service->snapshot = copy;
	}
	one_less(question->round);
}

/* A process that does not answer may still be there: its instance lock names it. */
static unsigned running_process(const char *run_directory, Vpnsip__Service service)
{
	const char *name = bus_service_name(service);
	char path[300], running[32], state = 'Z';
	unsigned process = 0;
	FILE *stream;

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
	return process;
}

static void ask(struct bus *bus, struct round *round, struct gathered *gathered,
                struct question *questions, bool wants_snapshots)
{
	Vpnsip__GetSnapshot snapshot = VPNSIP__GET_SNAPSHOT__INIT;
	Vpnsip__GetServiceStatus status = VPNSIP__GET_SERVICE_STATUS__INIT;

	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		struct gathered_service *service = &gathered->services[i];

		if (!service->is_asked)
			continue;
		*questions = (struct question){round, service, true};
		bus_call(bus, (Vpnsip__Service)i, NULL, &status.base, GATHER_TIMEOUT_MSEC,
		         on_answer, questions++);
		round->pending++;
		service->is_snapshot_wanted = wants_snapshots;
		if (!wants_snapshots)
			continue;
		*questions = (struct question){round, service, false};
		bus_call(bus, (Vpnsip__Service)i, NULL, &snapshot.base, GATHER_TIMEOUT_MSEC,
		         on_answer, questions++);
		round->pending++;
	}
}

bool gather(const struct gather_options *options, unsigned services, bool wants_snapshots,
            struct gathered *gathered, char *why, size_t why_size)
{
	struct question questions[2 * VPNSIP__SERVICE__CLI];
	struct round round = {.base = new_base(), .answered_mono_usec = &gathered->now_mono_usec};
	struct bus *bus;

	*gathered = (struct gathered){0};
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		gathered->services[i].is_asked = (services & BUS_SERVICE(i)) != 0;
	snprintf(why, why_size, "out of memory");
	if (!round.base)
		return false;
	bus = gather_open(options, services, false, NULL, NULL, round.base, why, why_size);
	if (bus) {
		ask(bus, &round, gathered, questions, wants_snapshots);
		if (round.pending)
			event_base_dispatch(round.base);
		bus_close(bus);
	}
	event_base_free(round.base);
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if (gathered->services[i].is_asked && !gather_has_answered(&gathered->services[i]))
			gathered->services[i].process_id = running_process(options->run_directory,
			                                                   (Vpnsip__Service)i);
	return bus != NULL;
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

void gather_explain(const struct gathered *gathered, Vpnsip__Service service, char *text,
                    size_t size)
{
	const struct gathered_service *asked = &gathered->services[service];

	if (asked->process_id)
		snprintf(text, size,
		         "%s does not answer (process %u runs, but was silent for %.1f s)",
		         bus_service_name(service), asked->process_id,
		         GATHER_TIMEOUT_MSEC / 1000.0);
	else if (asked->outcome == BUS_NOT_SENT)
		snprintf(text, size, "%s does not answer (it is not running)",
		         bus_service_name(service));
	else
		snprintf(text, size, "%s does not answer (silent for %.1f s)",
		         bus_service_name(service), GATHER_TIMEOUT_MSEC / 1000.0);
}

/** An order in flight. */
struct order_question {
	struct round *round;
	struct ordered *ordered;
};

static void on_order_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct order_question *question = context;
	struct ordered *ordered = question->ordered;

	ordered->outcome = outcome;
	snprintf(ordered->cause, sizeof(ordered->cause), "%s", bus_cause(reply));
	one_less(question->round);
}

bool gather_order(const struct gather_options *options, struct ordered *orders, size_t count,
                  char *why, size_t why_size)
{
	struct order_question questions[VPNSIP__SERVICE__CLI];
	struct round round = {.base = new_base()};
	unsigned services = 0;
	struct bus *bus;

	snprintf(why, why_size, "out of memory");
	if (!round.base || count > VPNSIP__SERVICE__CLI)
		return false;
	for (size_t i = 0; i < count; i++)
		services |= BUS_SERVICE(orders[i].to);
	bus = gather_open(options, services, false, NULL, NULL, round.base, why, why_size);
	for (size_t i = 0; bus && i < count; i++) {
		questions[i] = (struct order_question){&round, &orders[i]};
		round.pending++;
		bus_call(bus, orders[i].to, NULL, orders[i].order, ORDER_TIMEOUT_MSEC,
		         on_order_reply, &questions[i]);
	}
	if (round.pending)
		event_base_dispatch(round.base);
	bus_close(bus);
	event_base_free(round.base);
	return bus != NULL;
}
