/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Plays the coordinator towards a real sip-agent: has the line registered and answers every call at once, each by its own attempt.
 *
 *   sip_driver RUN-DIR LOCAL-NUMBER ADDRESS
 *
 * Says "registered" when the line is, and at each end of a hundred calls how many were answered. Ends with standard input. Root only: it
 * speaks for another service.
 */
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus.h"
#include "services/common/address.h"

#define DEADLINE_MSEC  3000
#define TUNNEL_MAXIMUM 4000

struct driver {
	struct bus *bus;
	char *number;
	struct sockaddr_storage address;
	uint64_t attempt, answered;
	bool is_registered;
};

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)context;
	if (outcome != BUS_DONE)
		fprintf(stderr, "sip_driver: %s\n", bus_cause(reply));
}

static void order(struct driver *driver, const ProtobufCMessage *message)
{
	bus_call(driver->bus, VPNSIP__SERVICE__SIP_AGENT, NULL, message, DEADLINE_MSEC, on_reply,
	         driver);
}

static void register_line(struct driver *driver)
{
	Vpnsip__RegisterLine message = VPNSIP__REGISTER_LINE__INIT;

	message.local_number = driver->number;
	message.wan_address = address_to_bytes(&driver->address);
	order(driver, &message.base);
}

/* The tunnels take turns: more than there are calls at once. */
static void answer(struct driver *driver, const Vpnsip__CallChanged *call)
{
	Vpnsip__AnswerCall message = VPNSIP__ANSWER_CALL__INIT;
	Vpnsip__MediaDescription media = VPNSIP__MEDIA_DESCRIPTION__INIT;
	Vpnsip__SocketAddress address = VPNSIP__SOCKET_ADDRESS__INIT;
	char tunnel[16];

	driver->attempt++;
	snprintf(tunnel, sizeof(tunnel), "vsip%u", (unsigned)(driver->attempt % TUNNEL_MAXIMUM));
	address_to_proto(&driver->address, &address);
	address.port = 50001;
	media.address = &address;
	media.bandwidth_kbit = call->remote ? call->remote->bandwidth_kbit : 64;
	media.role = VPNSIP__SETUP_ROLE__PASSIVE;
	message.call_id = call->call_id;
	message.attempt = driver->attempt;
	message.tunnel = tunnel;
	message.answer = &media;
	order(driver, &message.base);
}

static void registration_changed(struct driver *driver,
                                 const Vpnsip__RegistrationChanged *registration)
{
	bool is_registered = registration->status == VPNSIP__REGISTRATION_STATUS__REGISTERED;

	if (is_registered && !driver->is_registered) {
		puts("registered");
		fflush(stdout);
	}
	driver->is_registered = is_registered;
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct driver *driver = context;

	if (event->body_case == VPNSIP__ENVELOPE__BODY_REGISTRATION_CHANGED)
		registration_changed(driver, event->registration_changed);
	if (event->body_case != VPNSIP__ENVELOPE__BODY_CALL_CHANGED)
		return;
	if (event->call_changed->status == VPNSIP__CALL_STATUS__CALL_OFFERED)
		answer(driver, event->call_changed);
	if (event->call_changed->status == VPNSIP__CALL_STATUS__CALL_CONFIRMED &&
	    ++driver->answered % 100 == 0) {
		printf("%llu\n", (unsigned long long)driver->answered);
		fflush(stdout);
	}
}

static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct driver *driver = context;

	(void)peer;
	register_line(driver);
	if (snapshot->body_case != VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
		return;
	for (size_t i = 0; i < snapshot->sip_snapshot->n_registrations; i++)
		registration_changed(driver, snapshot->sip_snapshot->registrations[i]);
	for (size_t i = 0; i < snapshot->sip_snapshot->n_calls; i++)
		if (snapshot->sip_snapshot->calls[i]->status == VPNSIP__CALL_STATUS__CALL_OFFERED)
			answer(driver, snapshot->sip_snapshot->calls[i]);
}

static void input_ended(evutil_socket_t descriptor, short what, void *context)
{
	char octet;

	(void)what;
	if (read(descriptor, &octet, 1) <= 0)
		event_base_loopexit(context, NULL);
}

int main(int argc, char **argv)
{
	static const struct bus_handlers handlers = {.event = on_event, .resync = on_resync};
	struct driver driver = {.number = argc > 2 ? argv[2] : NULL};
	struct event_base *base;
	struct event *input;
	sigset_t signals, before;
	char why[256];

	if (argc != 4 || !address_parse(argv[3], &driver.address)) {
		fprintf(stderr, "usage: sip_driver RUN-DIR LOCAL-NUMBER ADDRESS\n");
		return EXIT_FAILURE;
	}
	sigfillset(&signals);
	sigprocmask(SIG_BLOCK, &signals, &before);
	base = event_base_new();
	driver.attempt = bus_system_environment.wall_usec(NULL); /* above those of an earlier run */
	driver.bus = bus_open(
		&(struct bus_options){
			.self = VPNSIP__SERVICE__COORDINATOR,
			.run_directory = argv[1],
			.base = base,
			.environment = &bus_system_environment,
			.subscribes = BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT),
			.calls = BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT),
			.is_listening = true,
			.handlers = &handlers,
			.context = &driver,
		},
		why, sizeof(why));
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (!driver.bus) {
		fprintf(stderr, "sip_driver: %s\n", why);
		return EXIT_FAILURE;
	}
	input = event_new(base, STDIN_FILENO, EV_READ | EV_PERSIST, input_ended, base);
	event_add(input, NULL);
	event_base_dispatch(base);
	event_free(input);
	bus_close(driver.bus);
	event_base_free(base);
	return EXIT_SUCCESS;
}
