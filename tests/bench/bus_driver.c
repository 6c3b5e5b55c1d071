/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Plays the coordinator and ike-agent towards real services, for benches and tests of one service alone.
 *
 *   bus_driver RUN-DIR
 *
 * Each line on standard input is an order: SENDER RECEIVER MESSAGE {JSON}, for example
 *   coordinator tunnel-agent OpenTunnel {"tunnel":"vsip7","attempt":1,"rate_kbit":1000}
 * Each line on standard output is a JSON object: a reply, an event, or a request received (all are answered Done).
 * It ends with standard input. Root only: it speaks for other services.
 */
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus.h"
#include "bus/json.h"

#define DEADLINE_MSEC 3000

/* One of the services that are played. */
struct role {
	const char *name;
	Vpnsip__Service service;
	struct bus *bus;
};

static struct role roles[] = {
	{.name = "coordinator", .service = VPNSIP__SERVICE__COORDINATOR},
	{.name = "ike-agent", .service = VPNSIP__SERVICE__IKE_AGENT},
};

#define ROLE_COUNT (sizeof(roles) / sizeof(*roles))

static void print_line(const struct role *role, const char *kind, const Vpnsip__Envelope *envelope)
{
	const ProtobufCMessage *body = bus_body(envelope);
	json_t *line = json_pack("{s:s, s:s, s:s}", "role", role->name, "kind", kind, "message",
	                         bus_body_name(envelope));

	if (body)
		json_object_set_new(line, "body", bus_json_from_message(body));
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	print_line(context, "event", event);
}

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	print_line(context, "request", order);
	bus_done(request);
}

static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	(void)peer;
	print_line(context, "snapshot", snapshot);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	print_line(context, outcome == BUS_DONE ? "done" : "failed", reply);
}

static const ProtobufCMessageDescriptor *find_body(const char *name)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;

	for (unsigned i = 0; i < envelope->n_fields; i++) {
		const ProtobufCMessageDescriptor *body = envelope->fields[i].descriptor;

		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    strcmp(body->short_name, name) == 0)
			return body;
	}
	return NULL;
}

static struct role *find_role(const char *name)
{
	for (size_t i = 0; i < ROLE_COUNT; i++)
		if (strcmp(roles[i].name, name) == 0)
			return &roles[i];
	return NULL;
}

static void run_line(const char *line)
{
	const ProtobufCMessageDescriptor *descriptor;
	char sender[32], receiver[32], name[64], why[256] = "unknown sender or message";
	ProtobufCMessage *order = NULL;
	struct role *role;
	json_t *json = NULL;
	int offset = 0;

	if (sscanf(line, "%31s %31s %63s %n", sender, receiver, name, &offset) < 3)
		return;
	role = find_role(sender);
	descriptor = find_body(name);
	json = json_loads(line + offset, 0, NULL);
	if (role && descriptor && json)
		order = bus_message_from_json(descriptor, json, why, sizeof(why));
	if (order) {
		bus_call(role->bus, bus_service_by_name(receiver), NULL, order, DEADLINE_MSEC,
		         on_reply, role);
		protobuf_c_message_free_unpacked(order, NULL);
	} else {
		fprintf(stderr, "%s: %s\n", line, why);
	}
	json_decref(json);
}

static void read_input(evutil_socket_t descriptor, short what, void *context)
{
	static char text[65536];
	static size_t size;
	ssize_t count = read(descriptor, text + size, sizeof(text) - 1 - size);
	char *line = text, *end;

	(void)what;
	if (count <= 0) {
		event_base_loopexit(context, NULL);
		return;
	}
	size += (size_t)count;
	text[size] = '\0';
	while ((end = strchr(line, '\n')) != NULL) {
		*end = '\0';
		run_line(line);
		line = end + 1;
	}
	size -= (size_t)(line - text);
	memmove(text, line, size);
}

static int open_role(struct role *role, const char *run_directory, struct event_base *base)
{
	static const struct bus_handlers handlers = {
		.event = on_event,
		.request = on_request,
		.resync = on_resync,
	};
	struct bus_options options = {
		.self = role->service,
		.run_directory = run_directory,
		.base = base,
		.environment = &bus_system_environment,
		.calls = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT),
		.is_listening = true,
		.handlers = &handlers,
		.context = role,
	};
	char why[256];

	if (role->service == VPNSIP__SERVICE__COORDINATOR)
		options.subscribes = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT);
	role->bus = bus_open(&options, why, sizeof(why));
	if (!role->bus)
		fprintf(stderr, "%s: %s\n", role->name, why);
	return role->bus ? 0 : -1;
}

int main(int argc, char **argv)
{
	struct event_base *base;
	struct event *input;
	sigset_t signals;

	if (argc != 2) {
		fprintf(stderr, "usage: bus_driver RUN-DIR\n");
		return EXIT_FAILURE;
	}
	sigfillset(&signals);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	base = event_base_new();
	for (size_t i = 0; i < ROLE_COUNT; i++)
		if (open_role(&roles[i], argv[1], base) != 0)
			return EXIT_FAILURE;
	sigdelset(&signals, SIGKILL);
	sigprocmask(SIG_UNBLOCK, &signals, NULL);
	input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, read_input, base);
	event_add(input, NULL);
	event_base_dispatch(base);
	event_free(input);
	for (size_t i = 0; i < ROLE_COUNT; i++)
		bus_close(roles[i].bus);
	event_base_free(base);
	return EXIT_SUCCESS;
}
