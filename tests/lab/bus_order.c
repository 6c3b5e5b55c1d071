/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Sends orders to a running service, for tests that drive it alone. Each line of standard input is
 *   {"to": "nat-qos-agent", "order": "ReservePort", "body": {"tunnel": "vsip2", "attempt": 1}}
 * and is answered by one line {"outcome": "done" | "failed" | "not carried out", "cause": "...", "reply": {...}}.
 */
#include <event2/event.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "bus/json.h"

#define DEADLINE_MSEC 2000

#define RETRY_MSEC 20

struct client {
	struct event_base *base;
	struct bus *bus;
	bool is_answered;
	bool is_last_try;
};

static void answered(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct client *client = context;
	const char *name = outcome == BUS_DONE     ? "done"
	                   : outcome == BUS_FAILED ? "failed"
	                                           : "not carried out";
	const ProtobufCMessage *body = bus_body(reply);
	json_t *answer;

	event_base_loopbreak(client->base);
	/* The connection may still be under way. */
	if (outcome == BUS_NOT_SENT && !client->is_last_try)
		return;
	client->is_answered = true;
	answer = json_pack("{s:s, s:s, s:o}", "outcome", name, "cause", bus_cause(reply), "reply",
	                   body != NULL ? bus_json_from_message(body) : json_null());
	json_dumpf(answer, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(answer);
}

static void send_order(struct client *client, Vpnsip__Service to, const ProtobufCMessage *order)
{
	struct timeval pause = {.tv_usec = RETRY_MSEC * 1000};

	client->is_answered = false;
	for (unsigned msec = 0; !client->is_answered; msec += RETRY_MSEC) {
		client->is_last_try = msec >= DEADLINE_MSEC;
		bus_call(client->bus, to, NULL, order, DEADLINE_MSEC, answered, client);
		event_base_dispatch(client->base);
		if (client->is_answered)
			break;
		event_base_loopexit(client->base, &pause);
		event_base_dispatch(client->base);
	}
}

static const ProtobufCMessageDescriptor *descriptor_of(const char *name)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;

	for (unsigned i = 0; i < envelope->n_fields; i++) {
		const ProtobufCMessageDescriptor *candidate = envelope->fields[i].descriptor;

		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    strcmp(candidate->short_name, name) == 0)
			return candidate;
	}
	return NULL;
}

/* False, and a sentence on stderr, when the line cannot be understood. */
static bool send_line(struct client *client, const char *line)
{
	json_t *input = json_loads(line, 0, NULL);
	const char *to = json_string_value(json_object_get(input, "to"));
	const char *order = json_string_value(json_object_get(input, "order"));
	const ProtobufCMessageDescriptor *descriptor = order != NULL ? descriptor_of(order) : NULL;
	ProtobufCMessage *message = NULL;
	char why[256] = "it needs \"to\", \"order\" and \"body\"";

	if (descriptor != NULL && to != NULL)
		message = bus_message_from_json(descriptor, json_object_get(input, "body"), why,
		                                sizeof(why));
	if (message != NULL) {
		send_order(client, bus_service_by_name(to), message);
		protobuf_c_message_free_unpacked(message, NULL);
	} else {
		fprintf(stderr, "%s: %s\n", line, why);
	}
	json_decref(input);
	return message != NULL;
}

int main(int argc, char **argv)
{
	static const struct bus_handlers handlers;
	struct bus_options options = {
		.environment = &bus_system_environment,
		.calls = BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT) |
	                 BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT) |
	                 BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT),
		.handlers = &handlers,
	};
	struct client client = {0};
	char why[256], line[4096];
	sigset_t all;
	int status = EXIT_FAILURE;

	if (argc != 3) {
		fprintf(stderr, "usage: %s RUN-DIRECTORY SENDER\n", argv[0]);
		return EXIT_FAILURE;
	}
	sigfillset(&all);
	sigdelset(&all, SIGTERM);
	sigprocmask(SIG_BLOCK, &all, NULL);
	client.base = event_base_new();
	options.base = client.base;
	options.context = &client;
	options.run_directory = argv[1];
	options.self = bus_service_by_name(argv[2]);
	client.bus = bus_open(&options, why, sizeof(why));
	if (client.bus == NULL) {
		fprintf(stderr, "%s\n", why);
		goto out;
	}
	status = EXIT_SUCCESS;
	while (status == EXIT_SUCCESS && fgets(line, sizeof(line), stdin) != NULL)
		if (!send_line(&client, line))
			status = EXIT_FAILURE;
	bus_close(client.bus);
out:
	event_base_free(client.base);
	return status;
}
