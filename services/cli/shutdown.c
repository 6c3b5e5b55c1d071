/* SPDX-License-Identifier: GPL-3.0-or-later */
/* shutdown: everything is hung up; tells how it goes on, until the coordinator says that it is done. */
#include <event2/event.h>
#include <string.h>

#include "services/cli/commands.h"

/** The coordinator answers when everything is down, or when its release timer has run out. */
#define BEYOND_RELEASE_MSEC 1500

static const struct timeval first_limit = {.tv_sec = GATHER_TIMEOUT_MSEC / 1000,
                                           .tv_usec = GATHER_TIMEOUT_MSEC % 1000 * 1000};

struct shutdown {
	const struct cli *cli;
	struct event_base *base;
	struct bus *bus;
	struct event *limit; /* until the coordinator has told its state */
	unsigned timeout_msec;
	bool is_ordered;
	struct ordered ordered;
};

/* Progress is for people: nothing of it is in --json. */
static void tell_session(const struct shutdown *shutdown, const Vpnsip__SessionChanged *session)
{
	const ProtobufCEnumValue *status = protobuf_c_enum_descriptor_get_value(
		&vpnsip__session_status__descriptor, (int)session->status);

	if (!shutdown->cli->wants_json && status)
		printf("%s %s: %s\n", session->tunnel, session->remote_number, status->name);
	fflush(stdout);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	const struct shutdown *shutdown = context;

	if (shutdown->is_ordered && event->body_case == VPNSIP__ENVELOPE__BODY_SESSION_CHANGED)
		tell_session(shutdown, event->session_changed);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct shutdown *shutdown = context;

	shutdown->ordered.outcome = outcome;
	snprintf(shutdown->ordered.cause, sizeof(shutdown->ordered.cause), "%s", bus_cause(reply));
	event_base_loopbreak(shutdown->base);
}

static unsigned release_msec(const Vpnsip__CoordinatorSnapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->n_timers; i++)
		if (strcmp(snapshot->timers[i]->name, "release") == 0)
			return snapshot->timers[i]->value_msec;
	return 0;
}

/* The coordinator's state has come: what is up is told, and the order sent. */
static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *envelope)
{
	static const Vpnsip__ShutDown order = VPNSIP__SHUT_DOWN__INIT;
	struct shutdown *shutdown = context;
	const Vpnsip__CoordinatorSnapshot *snapshot = envelope->coordinator_snapshot;

	if (shutdown->is_ordered ||
	    envelope->body_case != VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT)
		return;
	shutdown->is_ordered = true;
	shutdown->timeout_msec = release_msec(snapshot) + BEYOND_RELEASE_MSEC;
	event_del(shutdown->limit);
	for (size_t i = 0; i < snapshot->n_sessions; i++)
		if (snapshot->sessions[i]->attempt)
			tell_session(shutdown, snapshot->sessions[i]);
	bus_call(shutdown->bus, peer, NULL, &order.base, shutdown->timeout_msec, on_reply,
	         shutdown);
}

static void on_limit(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(((struct shutdown *)context)->base);
}

static int report(const struct shutdown *shutdown)
{
	char text[512];

	if (shutdown->is_ordered && shutdown->ordered.outcome == BUS_DONE) {
		if (shutdown->cli->wants_json)
			puts("{\"is_down\": true}");
		else
			puts("Everything is down. No call is placed until the services are "
			     "started again.");
		return CLI_DONE;
	}
	gather_explain_order(&shutdown->cli->bus, &shutdown->ordered,
	                     shutdown->is_ordered ? shutdown->timeout_msec : GATHER_TIMEOUT_MSEC,
	                     text, sizeof(text));
	if (shutdown->ordered.outcome == BUS_FAILED) {
		command_complain("%s", text);
		return CLI_FAILED;
	}
	command_complain("%s; %s", text,
	                 shutdown->is_ordered ? "whether everything is down is unknown"
	                                      : "nothing was done");
	return CLI_PARTIAL;
}

int command_shutdown(const struct cli *cli, const struct words *words)
{
	static const struct bus_handlers handlers = {.event = on_event, .resync = on_resync};
	struct shutdown shutdown = {.cli = cli, .base = event_base_new()};
	char why[256] = "out of memory";
	int status = CLI_FAILED;

	(void)words;
	shutdown.ordered = (struct ordered){.to = VPNSIP__SERVICE__COORDINATOR,
	                                    .outcome = BUS_NOT_SENT};
	if (shutdown.base)
		shutdown.limit = evtimer_new(shutdown.base, on_limit, &shutdown);
	if (shutdown.limit && event_add(shutdown.limit, &first_limit) == 0)
		shutdown.bus = gather_open(&cli->bus, BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR),
		                           true, &handlers, &shutdown, shutdown.base, why,
		                           sizeof(why));
	if (shutdown.bus) {
		event_base_dispatch(shutdown.base);
		status = report(&shutdown);
	} else {
		command_complain("%s", why);
	}
	bus_close(shutdown.bus);
	if (shutdown.limit)
		event_free(shutdown.limit);
	if (shutdown.base)
		event_base_free(shutdown.base);
	return status;
}
