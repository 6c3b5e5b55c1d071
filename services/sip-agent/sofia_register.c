/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Carries out what registration_core.c decides: REGISTER requests and their answers. */
#include <event2/event.h>
#include <sofia-sip/tport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

/* For the moment in which sofia-sip takes a REGISTER: longer than any of its transactions, so that we alone send it again. */
#define NO_RETRANSMISSION_MSEC 64000
#define PORT_SIZE              6
/* So long the end of a registration waits for the answers to its calls' BYEs. */
#define LEAVE_LIMIT_USEC       2000000

static void handle(struct sofia_line *line, enum registration_event event, unsigned seconds);

struct registration_report sofia_register_view(const struct sofia_line *line)
{
	const struct registration_core *core = &line->core;
	const struct sip_server *server = server_list_current(&line->servers);

	return (struct registration_report){
		.local_number = line->config->number,
		.is_ordered = core->state != REGISTRATION_OFF &&
	                      core->state != REGISTRATION_LEAVING,
		.is_registered = registration_core_is_registered(core),
		.address = line->address,
		.registrar = line->registrar + strlen("sip:"),
		.transport = server ? sip_transport_name(server->transport) : "",
		.call_id = line->call_id,
		.granted_sec = registration_core_is_registered(core) ? core->granted_sec : 0,
		.expires_at_usec = core->expires_at_usec,
		.sip_status = line->sip_status,
		.cause = line->cause,
		.servers = &line->servers,
		.associated_numbers = (const char(*)[NUMBER_SIZE])line->associated_numbers,
		.associated_count = line->associated_count,
		.alarm = line->alarm,
	};
}

void sofia_register_report(struct sofia_line *line)
{
	const struct registration_report report = sofia_register_view(line);

	line->sofia->events->registration_changed(line->sofia->context, &report);
}

/* What is derived from the server in use; its Service-Route is another's. */
static void follow_server(struct sofia_line *line)
{
	char was[SOFIA_URI_SIZE];

	snprintf(was, sizeof(was), "%s", line->registrar);
	sofia_line_note_server(line);
	if (strcmp(was, line->registrar) != 0)
		sofia_register_drop_route(line);
}

/* Bars the server. True when another one may be asked at once. */
static bool give_up_server(struct sofia_line *line, const struct sip_server *server,
                           unsigned minimum_sec, const char *why)
{
	const struct sip_server failed = *server;
	char uri[SOFIA_URI_SIZE];
	uint32_t random;

	bus_random(line->sofia->bus, &random, sizeof(random));
	const bool has_other = server_list_fail(
		&line->servers, &failed, bus_mono_usec(line->sofia->bus), random, minimum_sec);
	follow_server(line);
	if (has_other)
		log_line(LOG_WARNING, "line %s: SIP server %s %s: the next one is asked",
		         line->config->number,
		         sip_server_print_uri(&failed, uri, sizeof(uri)) + strlen("sip:"), why);
	return has_other;
}

/* Gives the REGISTER under way back. It must not be sent any more, also not when a connection comes about at last. */
static void drop_request(struct sofia_line *line, bool is_overdue)
{
	nta_outgoing_t *request = line->request;
	tport_t *transport = line->request_transport;

	line->request = NULL;
	line->request_transport = NULL;
	if (line->retransmission)
		event_del(line->retransmission);
	/* Before its connection: the end of that would be told to it. */
	if (request)
		nta_outgoing_destroy(request);
	if (transport && is_overdue && tport_is_secondary(transport))
		tport_shutdown(transport, 2);
	if (transport)
		tport_unref(transport);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct sofia_line *line = context;
	enum registration_event event = REGISTRATION_TIMER;

	(void)fd;
	(void)what;
	/* Overdue: its answer, should it still come, is of no interest. */
	if (line->request) {
		drop_request(line, true);
		snprintf(line->cause, sizeof(line->cause), "%s does not answer REGISTER",
		         line->asked_uri + strlen("sip:"));
		line->sip_status = 0;
		if (!line->is_leaving &&
		    give_up_server(line, &line->asked, 0, "does not answer REGISTER"))
			event = REGISTRATION_MOVED;
	}
	handle(line, event, 0);
	sofia_loop_wake(line->sofia->loop);
}

static void set_event(struct event *event, uint64_t wait_usec)
{
	const struct timeval delay = {(time_t)(wait_usec / 1000000),
	                              (suseconds_t)(wait_usec % 1000000)};

	event_add(event, &delay);
}

/* A line that is well registered returns to a better server as soon as that may be asked again. */
static void arm(struct sofia_line *line)
{
	uint64_t now = bus_mono_usec(line->sofia->bus);
	uint64_t deadline = line->core.deadline_usec;
	uint64_t back = server_list_return_usec(&line->servers);

	if (line->core.state == REGISTRATION_HELD && !line->core.failures && back &&
	    back < deadline)
		deadline = back;
	if (!line->timer)
		line->timer = event_new(line->sofia->base, -1, 0, on_timer, line);
	event_del(line->timer);
	if (deadline)
		set_event(line->timer, deadline > now ? deadline - now : 0);
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip);

static const char *scheme_of(const struct sofia_line *line)
{
	return line->config->scheme == URL_SIPS ? "sips" : "sip";
}

static bool create_leg(struct sofia_line *line)
{
	char token[SOFIA_TOKEN_SIZE], identity[SOFIA_URI_SIZE + 8];

	if (line->leg)
		return true;
	if (!line->call_id[0])
		sofia_random_token(line->sofia, line->call_id, SOFIA_TOKEN_SIZE);
	snprintf(identity, sizeof(identity), "<%s%s", scheme_of(line), strchr(line->identity, ':'));
	line->leg = nta_leg_tcreate(line->agent, NULL, NULL, SIPTAG_CALL_ID_STR(line->call_id),
	                            SIPTAG_FROM_STR(identity), SIPTAG_TO_STR(identity), TAG_END());
	sofia_random_token(line->sofia, token, 13);
	return line->leg && nta_leg_tag(line->leg, token);
}

static void on_retransmission(evutil_socket_t fd, short what, void *context)
{
	struct sofia_line *line = context;
	char host[ADDRESS_TEXT_SIZE], port[PORT_SIZE];
	tp_name_t name = {
		.tpn_proto = "udp", .tpn_host = host, .tpn_canon = host, .tpn_port = port};
	msg_t *message = nta_outgoing_getrequest(line->request);

	(void)fd;
	(void)what;
	address_format(&line->asked.address, host);
	snprintf(port, sizeof(port), "%u", address_port(&line->asked.address));
	if (message) {
		tport_tsend(line->request_transport, message, &name, TAG_END());
		msg_destroy(message);
	}
	/* The last one is only waited for. */
	if (++line->repetitions == line->config->retry_register)
		return;
	line->interval_msec = registration_next_interval_msec(line->interval_msec);
	set_event(line->retransmission, line->interval_msec * 1000ULL);
}

/*
 * A REGISTER has a first interval and a number of repetitions of its own, so over UDP it is we who repeat it. The wait for its
 * answer ends when the last interval does, long before sofia-sip gives up.
 */
static void watch_request(struct sofia_line *line)
{
	const struct config_line *config = line->config;
	unsigned answer_msec = line->core.limits.answer_msec;

	line->request_transport = nta_outgoing_transport(line->request);
	if (line->request_transport && !tport_is_reliable(line->request_transport)) {
		answer_msec = registration_answer_msec(
			config->retry_register, config->register_retransmit_msec, answer_msec);
		line->interval_msec = config->register_retransmit_msec;
		line->repetitions = 0;
		if (!line->retransmission)
			line->retransmission = event_new(line->sofia->base, -1, 0,
			                                 on_retransmission, line);
		set_event(line->retransmission, line->interval_msec * 1000ULL);
	}
	registration_core_limit_answer(&line->core, bus_mono_usec(line->sofia->bus), answer_msec);
	arm(line);
}

/* Our Contact, and the one that is to go. */
static void print_contacts(const struct sofia_line *line, unsigned expires_sec, char *text,
                           size_t size)
{
	const char *stale = line->is_leaving ? "" : line->stale_contact;

	snprintf(text, size, "%s;expires=%u%s%s%s", line->contact, expires_sec,
	         stale[0] ? ", " : "", stale, stale[0] ? ";expires=0" : "");
}

/* To the server that was chosen. */
static void send_register(struct sofia_line *line)
{
	char domain[SOFIA_URI_SIZE], contact[2 * SOFIA_URI_SIZE + 64], expires[16];
	const char *at = strchr(line->identity, '@');
	const unsigned expires_sec = line->is_leaving ? 0 : line->core.asked_sec;
	unsigned t1 = 0;

	line->tls_failure[0] = '\0';
	if (!sofia_line_open(line) || !create_leg(line)) {
		line->sip_status = 0;
		handle(line, REGISTRATION_REFUSED, 0);
		return;
	}
	snprintf(domain, sizeof(domain), "%s:%.*s", scheme_of(line), (int)strcspn(at + 1, ">"),
	         at + 1);
	snprintf(expires, sizeof(expires), "%u", expires_sec);
	print_contacts(line, expires_sec, contact, sizeof(contact));
	line->is_clearing = !line->is_leaving && line->stale_contact[0];
	nta_agent_get_params(line->agent, NTATAG_SIP_T1_REF(t1), TAG_END());
	nta_agent_set_params(line->agent, NTATAG_SIP_T1(NO_RETRANSMISSION_MSEC), TAG_END());
	line->request = nta_outgoing_tcreate(
		line->leg, on_response, line, (url_string_t *)line->asked_uri, SIP_METHOD_REGISTER,
		(url_string_t *)domain, SIPTAG_CONTACT_STR(contact), SIPTAG_EXPIRES_STR(expires),
		SIPTAG_ALLOW_STR(SOFIA_ALLOW), SIPTAG_SUPPORTED_STR("path"),
		SOFIA_AUTH_TAGS(&line->auth), TAG_END());
	nta_agent_set_params(line->agent, NTATAG_SIP_T1(t1), TAG_END());
	if (line->request) {
		watch_request(line);
	} else {
		snprintf(line->cause, sizeof(line->cause), "REGISTER cannot be built");
		handle(line, REGISTRATION_REFUSED, 0);
	}
}

/* The first server in order that may be asked; where the binding is when that is to end. */
static void begin_register(struct sofia_line *line, bool is_leaving)
{
	const struct sip_server *server =
		is_leaving ? server_list_current(&line->servers)
			   : server_list_choose(&line->servers, bus_mono_usec(line->sofia->bus));

	drop_request(line, false);
	sofia_auth_reset(&line->auth);
	line->is_leaving = is_leaving;
	if (!server) {
		line->sip_status = 0;
		snprintf(line->cause, sizeof(line->cause), "no SIP server is known");
		handle(line, REGISTRATION_REFUSED, 0);
		return;
	}
	line->asked = *server;
	sip_server_print_uri(server, line->asked_uri, sizeof(line->asked_uri));
	send_register(line);
}

void sofia_register_drop(struct sofia_line *line)
{
	drop_request(line, false);
	if (line->leg)
		nta_leg_destroy(line->leg);
	line->leg = NULL;
}

static void act(struct sofia_line *line, enum registration_action action)
{
	switch (action) {
	case REGISTRATION_NOTHING:
		break;
	case REGISTRATION_SEND:
	case REGISTRATION_SEND_LEAVE:
		begin_register(line, action == REGISTRATION_SEND_LEAVE);
		break;
	case REGISTRATION_FORGET:
		line->cause[0] = '\0';
		line->sip_status = 0;
		sofia_register_forget(line);
		break;
	}
}

static void tell_change(const struct sofia_line *line, enum registration_event event,
                        enum registration_state was)
{
	if (event == REGISTRATION_TIMER)
		log_debug(LOG_SIP_EVENTS, NULL, NULL,
		          "line %s: the timer of its registration ran out", line->config->number);
	if (line->core.state != was)
		log_debug(LOG_SIP_STATES, NULL, NULL, "line %s: registration %s -> %s",
		          line->config->number, registration_state_name(was),
		          registration_state_name(line->core.state));
}

static void handle(struct sofia_line *line, enum registration_event event, unsigned seconds)
{
	const bool was_registered = registration_core_is_registered(&line->core);
	const enum registration_state was = line->core.state;
	struct registration_input input = {
		.event = event,
		.now_usec = bus_mono_usec(line->sofia->bus),
		.seconds = seconds,
	};

	bus_random(line->sofia->bus, &input.random, sizeof(input.random));
	enum registration_action action = registration_core_handle(&line->core, &input);
	const bool is_registered = registration_core_is_registered(&line->core);
	tell_change(line, event, was);
	if (is_registered && !was_registered)
		log_line(LOG_NOTICE, "line %s: registered at %s for %u s", line->config->number,
		         line->registrar + strlen("sip:"), line->core.granted_sec);
	else if (was_registered && !is_registered)
		log_line(LOG_NOTICE, "line %s: not registered any more%s%s", line->config->number,
		         line->cause[0] ? ": " : "", line->cause);
	else if (line->core.state == REGISTRATION_WAITING && was != REGISTRATION_WAITING)
		log_line(LOG_WARNING, "line %s: registration failed: %s", line->config->number,
		         line->cause);
	arm(line);
	act(line, action);
	sofia_register_report(line);
}

static void refused(struct sofia_line *line, const sip_t *sip)
{
	const int status = sip->sip_status->st_status;
	const struct sip_server *current = server_list_current(&line->servers);
	unsigned pause = 0;
	const char *failure = sofia_local_failure(sip);
	char uri[SOFIA_URI_SIZE], text[SOFIA_CAUSE_SIZE];

	if (failure)
		snprintf(line->cause, sizeof(line->cause), "the registrar %.240s",
		         sofia_line_print_failure(line, failure, text));
	else if (!line->cause[0])
		snprintf(line->cause, sizeof(line->cause), "the registrar answered %d %s", status,
		         sip->sip_status->st_phrase);
	if (sip->sip_retry_after)
		pause = (unsigned)sip->sip_retry_after->af_delta;
	/* A server to which we wanted to return stays behind for any reason: the one in use is better. */
	const bool is_return = current && strcmp(sip_server_print_uri(current, uri, sizeof(uri)),
	                                         line->asked_uri) != 0;
	if (!line->is_leaving && (failure || status == 503 || is_return) &&
	    give_up_server(line, &line->asked, pause, failure ? failure : "refused REGISTER")) {
		handle(line, REGISTRATION_MOVED, 0);
		return;
	}
	/* Wrong credentials do not get right by repeating them. */
	if (status == 401 || status == 407 || status == 403)
		pause = line->core.limits.retry_maximum_msec / 1000;
	handle(line, REGISTRATION_REFUSED, pause);
}

static void accepted(struct sofia_line *line, const sip_t *sip)
{
	const bool was_clearing = line->is_clearing;
	unsigned granted_sec;

	if (!line->is_leaving) {
		if (server_list_use(&line->servers, &line->asked))
			log_line(LOG_NOTICE, "line %s: SIP server %s is in use now",
			         line->config->number, line->asked_uri + strlen("sip:"));
		follow_server(line);
	}
	if (!sofia_register_read(line, sip, &granted_sec)) {
		snprintf(line->cause, sizeof(line->cause),
		         "the registrar does not hold our binding");
		handle(line, REGISTRATION_UNBOUND, 0);
		return;
	}
	handle(line, REGISTRATION_ACCEPTED, granted_sec);
	if (line->stale_contact[0] && !was_clearing)
		handle(line, REGISTRATION_MOVED, 0);
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_line *line = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);

	if (request != line->request)
		return 0;
	/* A provisional response says that it arrived: no need to send it again. */
	if (status < 200) {
		if (line->retransmission)
			event_del(line->retransmission);
		return 0;
	}
	line->cause[0] = '\0';
	line->sip_status = (unsigned)status;
	bool is_repeated = sip && (status == 401 || status == 407) &&
	                   sofia_auth_challenged(&line->auth, line, request, sip, line->cause,
	                                         sizeof(line->cause));
	/* The response belongs to the request, which ends before what follows begins another. */
	msg_t *response = nta_outgoing_getresponse(request);
	drop_request(line, false);
	if (is_repeated) {
		send_register(line);
	} else if (!sip) {
		snprintf(line->cause, sizeof(line->cause), "REGISTER could not be sent");
		handle(line, REGISTRATION_REFUSED, 0);
	} else if (status < 300) {
		accepted(line, sip);
	} else if (status == 423 && sip->sip_min_expires) {
		handle(line, REGISTRATION_TOO_BRIEF, (unsigned)sip->sip_min_expires->me_delta);
	} else {
		refused(line, sip);
	}
	if (response)
		msg_destroy(response);
	return 0;
}

void sofia_line_set_servers(struct sofia_line *line, const struct sip_server *servers, size_t count)
{
	const bool is_other = server_list_set(&line->servers, servers, count);

	follow_server(line);
	if (is_other)
		handle(line, REGISTRATION_MOVED, 0);
	else
		sofia_register_report(line);
}

bool sofia_line_server_failed(struct sofia_line *line, const char *why)
{
	const struct sip_server *current = server_list_current(&line->servers);
	const bool has_other = current && give_up_server(line, current, 0, why);

	if (has_other)
		handle(line, REGISTRATION_MOVED, 0);
	return has_other;
}

static bool has_ending_call(const struct sofia_line *line)
{
	for (const struct sofia_call *call = line->sofia->calls; call; call = call->next)
		if (call->line == line && (call->call.state == CALL_STATE_LEAVING ||
		                           call->call.state == CALL_STATE_BYE_OWED ||
		                           call->call.state == CALL_STATE_CANCELLING ||
		                           call->call.state == CALL_STATE_CANCEL_OWED))
			return true;
	return false;
}

static void leave(struct sofia_line *line)
{
	line->is_leave_owed = false;
	if (line->leave_limit)
		event_del(line->leave_limit);
	handle(line, REGISTRATION_STOP, 0);
}

static void on_leave_limit(evutil_socket_t fd, short what, void *context)
{
	struct sofia_line *line = context;

	(void)fd;
	(void)what;
	leave(line);
	sofia_loop_wake(line->sofia->loop);
}

void sofia_register_call_ended(struct sofia_line *line)
{
	if (line->is_leave_owed && !has_ending_call(line))
		leave(line);
}

void sofia_register_start(struct sofia_line *line)
{
	line->is_leave_owed = false;
	if (line->leave_limit)
		event_del(line->leave_limit);
	handle(line, REGISTRATION_START, 0);
}

/* A carrier may drop what an unregistered line sends, so the ends of its calls are answered first. */
void sofia_register_stop(struct sofia_line *line)
{
	if (line->is_leave_owed)
		return;
	if (!has_ending_call(line)) {
		leave(line);
		return;
	}
	line->is_leave_owed = true;
	if (!line->leave_limit)
		line->leave_limit = event_new(line->sofia->base, -1, 0, on_leave_limit, line);
	set_event(line->leave_limit, LEAVE_LIMIT_USEC);
}
