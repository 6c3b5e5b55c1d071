/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * sip-agent's user agent alone: every call is answered within the process, nothing goes over the bus. Linked with no_records.c nothing is
 * written to the disk either. Which part of a call's cost is SIP is told by it.
 *
 *   sip_answerer CONFIGURATION RUN-DIR STATE-DIR LOCAL-NUMBER ADDRESS
 *
 * Says "registered" when the line is.
 */
#include <arpa/inet.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/config.h"
#include "services/sip-agent/sofia.h"

#define TUNNEL_MAXIMUM 4000

struct answerer {
	struct event_base *base;
	struct sofia *sofia;
	struct in_addr address;
	uint64_t attempt;
	bool is_registered;
};

struct offer {
	struct answerer *answerer;
	char call_id[CALL_ID_SIZE];
};

static void answer(evutil_socket_t descriptor, short what, void *context)
{
	struct offer *offer = context;
	struct answerer *answerer = offer->answerer;
	const struct sdp_tunnel media = {
		.address = answerer->address,
		.port = 50001,
		.bandwidth_kbit = 512,
		.role = SDP_PASSIVE,
	};
	char tunnel[16];

	(void)descriptor;
	(void)what;
	answerer->attempt++;
	snprintf(tunnel, sizeof(tunnel), "vsip%u", (unsigned)(answerer->attempt % TUNNEL_MAXIMUM));
	sofia_answer_call(answerer->sofia, offer->call_id, answerer->attempt, tunnel, &media);
	free(offer);
}

/* An answer is an order, and comes from outside of what tells of the call. */
static void call_changed(void *context, const struct call *call)
{
	static const struct timeval at_once;
	struct answerer *answerer = context;
	struct offer *offer;

	if (call->state != CALL_STATE_OFFERED || !(offer = malloc(sizeof(*offer))))
		return;
	offer->answerer = answerer;
	memcpy(offer->call_id, call->call_id, sizeof(offer->call_id));
	event_base_once(answerer->base, -1, EV_TIMEOUT, answer, offer, &at_once);
}

static void registration_changed(void *context, const struct registration_report *report)
{
	struct answerer *answerer = context;

	if (report->is_registered && !answerer->is_registered) {
		puts("registered");
		fflush(stdout);
	}
	answerer->is_registered = report->is_registered;
}

static struct bus *open_bus(struct answerer *answerer, const char *directory)
{
	static const struct bus_handlers handlers = {0};
	char why[256];
	struct bus *bus = bus_open(
		&(struct bus_options){
			.self = VPNSIP__SERVICE__SIP_AGENT,
			.run_directory = directory,
			.base = answerer->base,
			.environment = &bus_system_environment,
			.handlers = &handlers,
		},
		why, sizeof(why));

	if (!bus)
		fprintf(stderr, "sip_answerer: %s\n", why);
	return bus;
}

int main(int argc, char **argv)
{
	static const struct sofia_events events = {registration_changed, call_changed};
	struct answerer answerer = {0};
	struct config *config;
	struct bus *bus;
	sigset_t signals, before;

	if (argc != 6 || inet_pton(AF_INET, argv[5], &answerer.address) != 1) {
		fprintf(stderr, "usage: sip_answerer CONFIGURATION RUN-DIR STATE-DIR LOCAL-NUMBER "
		                "ADDRESS\n");
		return EXIT_FAILURE;
	}
	config = config_load(argv[1], config_report_to_stream, stderr);
	sigfillset(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	answerer.base = event_base_new();
	bus = config ? open_bus(&answerer, argv[2]) : NULL;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!bus)
		return EXIT_FAILURE;
	answerer.sofia = sofia_open(&(struct sofia_options){
		.base = answerer.base,
		.bus = bus,
		.config = config,
		.state_directory = argv[3],
		.events = &events,
		.context = &answerer,
	});
	if (!answerer.sofia ||
	    sofia_register_line(answerer.sofia, argv[4], answerer.address) != SOFIA_DONE)
		return EXIT_FAILURE;
	event_base_dispatch(answerer.base);
	return EXIT_SUCCESS;
}
