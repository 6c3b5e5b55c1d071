/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor [SERVICE...]: events, and by their taps the requests and replies, until interrupted. */
#include "services/cli/monitor.h"

#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "services/cli/commands.h"

/** Orders of command lines whose replies are still to be shown; ours, EnableTap, are not among them. */
#define SHOWN_ORDERS 64

/** A tap ends by itself when the monitor does not ask again. */
#define TAP_LIFETIME_SEC 60
static const struct timeval tap_again = {.tv_sec = 20};

struct monitor {
	const struct cli *cli;
	struct bus *bus;
	struct event_base *base;
	unsigned watched;
	struct monitor_output *output;
	uint64_t shown_traces[SHOWN_ORDERS];
	unsigned next_shown;
};

static void take(struct monitor *monitor, const Vpnsip__Envelope *event)
{
	monitor_take(monitor->output, event);
	if (monitor->output->is_full)
		event_base_loopbreak(monitor->base);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	take(context, event);
}

/* What a command line orders is shown with its reply, except that we enable taps. */
static bool is_of_interest(struct monitor *monitor, const Vpnsip__Tapped *tapped,
                           const Vpnsip__Envelope *envelope)
{
	if (tapped->peer != VPNSIP__SERVICE__CLI)
		return true;
	if (envelope->kind == VPNSIP__ENVELOPE_KIND__REQUEST) {
		if (envelope->body_case == VPNSIP__ENVELOPE__BODY_ENABLE_TAP)
			return false;
		monitor->shown_traces[monitor->next_shown++ % SHOWN_ORDERS] = envelope->trace_id;
		return true;
	}
	for (unsigned i = 0; i < SHOWN_ORDERS; i++)
		if (monitor->shown_traces[i] == envelope->trace_id)
			return true;
	return false;
}

static void on_tap(void *context, const Vpnsip__Envelope *event)
{
	struct monitor *monitor = context;
	const Vpnsip__Tapped *tapped = event->tapped;
	Vpnsip__Envelope *inner;

	if (!monitor_is_shown(tapped, monitor->watched))
		return;
	inner = vpnsip__envelope__unpack(NULL, tapped->envelope.len, tapped->envelope.data);
	if (inner && is_of_interest(monitor, tapped, inner))
		take(monitor, event);
	bus_free_envelope(inner);
}

static void on_tap_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)context;
	if (outcome != BUS_DONE && outcome != BUS_NOT_SENT)
		command_complain("%s", bus_cause(reply));
}

static void enable_tap(struct monitor *monitor, Vpnsip__Service service)
{
	Vpnsip__EnableTap order = VPNSIP__ENABLE_TAP__INIT;

	order.lifetime_sec = TAP_LIFETIME_SEC;
	bus_call(monitor->bus, service, NULL, &order.base, GATHER_TIMEOUT_MSEC, on_tap_reply,
	         monitor);
}

static void enable_taps(evutil_socket_t fd, short what, void *context)
{
	struct monitor *monitor = context;

	(void)fd;
	(void)what;
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++)
		if (monitor->watched & BUS_SERVICE(i))
			enable_tap(monitor, (Vpnsip__Service)i);
}

static void on_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	struct monitor *monitor = context;
	static const char *const texts[] = {
		[VPNSIP__PEER_HEALTH__PEER_ABSENT] = "is gone",
		[VPNSIP__PEER_HEALTH__PEER_UP] = "is up",
		[VPNSIP__PEER_HEALTH__PEER_SILENT] = "is silent",
	};

	command_complain("%s %s", bus_service_name(peer), texts[health]);
	if (health == VPNSIP__PEER_HEALTH__PEER_UP && monitor->bus)
		enable_tap(monitor, peer);
}

static void stop(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	event_base_loopbreak(((struct monitor *)context)->base);
}

static int run(struct monitor *monitor)
{
	static const struct bus_handlers handlers = {
		.event = on_event,
		.tap = on_tap,
		.peer = on_peer,
	};
	struct event *interrupt = evsignal_new(monitor->base, SIGINT, stop, monitor);
	struct event *terminate = evsignal_new(monitor->base, SIGTERM, stop, monitor);
	struct event *again = event_new(monitor->base, -1, EV_PERSIST, enable_taps, monitor);
	int status = CLI_FAILED;
	char why[256] = "out of memory";

	if (interrupt && terminate && again && event_add(interrupt, NULL) == 0 &&
	    event_add(terminate, NULL) == 0 && event_add(again, &tap_again) == 0)
		monitor->bus = gather_open(&monitor->cli->bus, monitor->watched, true, &handlers,
		                           monitor, monitor->base, why, sizeof(why));
	if (monitor->bus) {
		enable_taps(-1, 0, monitor);
		event_base_dispatch(monitor->base);
		status = CLI_DONE;
	} else {
		command_complain("%s", why);
	}
	bus_close(monitor->bus);
	if (again)
		event_free(again);
	if (terminate)
		event_free(terminate);
	if (interrupt)
		event_free(interrupt);
	return status;
}

/* False after a complaint about an unknown name. */
static bool read_services(const struct words *words, unsigned *watched)
{
	*watched = 0;
	for (size_t i = 0; i < words->count; i++) {
		Vpnsip__Service service;

		if (!command_service(words->arguments[i].value, &service))
			return false;
		*watched |= BUS_SERVICE(service);
	}
	if (words->count == 0)
		*watched = ALL_SERVICES;
	return true;
}

static int watch(const struct cli *cli, unsigned watched, struct monitor_output *output)
{
	struct monitor monitor = {.cli = cli, .watched = watched, .output = output};
	int status;

	monitor.base = event_base_new();
	if (!monitor.base)
		return CLI_FAILED;
	status = run(&monitor);
	event_base_free(monitor.base);
	return status;
}

int command_monitor(const struct cli *cli, const struct words *words)
{
	static struct monitor_output output;
	const char *to_file = options_get(cli, "write"), *from_file = options_get(cli, "read");
	const struct bus_environment *clock = &bus_system_environment;
	unsigned long long count;
	unsigned watched;
	int status;

	output = (struct monitor_output){
		.wants_json = cli->wants_json,
		.wants_latency = options_get(cli, "latency") != NULL,
		.wall_offset_usec = clock->wall_usec(clock->context) -
	                            clock->mono_usec(clock->context),
	};
	if (!read_services(words, &watched) || !monitor_filter_read(cli, &output.filter) ||
	    !options_number(cli, "count", 1, UINT32_MAX, 0, &count))
		return CLI_FAILED;
	output.remaining = count;
	if (to_file && from_file) {
		command_complain("-w and -r exclude each other");
		return CLI_FAILED;
	}
	if (from_file)
		return monitor_file_show(from_file, &output);
	if (to_file && !(output.file = monitor_file_create(to_file)))
		return CLI_FAILED;
	status = watch(cli, watched, &output);
	if (output.file) {
		fclose(output.file);
		command_complain("%llu messages are in %s", (unsigned long long)output.written,
		                 to_file);
	}
	return output.has_failed ? CLI_FAILED : status;
}
