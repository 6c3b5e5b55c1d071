/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Carries out what registration_core.c decides: REGISTER requests and their answers. */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

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
	};
}

void sofia_register_report(struct sofia_line *line)
{
	const struct registration_report report = sofia_register_view(line);

	line->sofia->events->registration_changed(line->sofia->context, &report);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct sofia_line *line = context;

	(void)fd;
	(void)what;
	/* Overdue: its answer, should it still come, is of no interest. */
	if (line->request) {
		nta_outgoing_destroy(line->request);
		line->request = NULL;
		snprintf(line->cause, sizeof(line->cause), "%s does not answer REGISTER",
		         line->registrar + strlen("sip:"));
		line->sip_status = 0;
	}
	handle(line, REGISTRATION_TIMER, 0);
	sofia_loop_wake(line->sofia->loop);
}

static void arm(struct sofia_line *line)
{
	uint64_t now = bus_mono_usec(line->sofia->bus);
	uint64_t deadline = line->core.deadline_usec;
	uint64_t wait = deadline > now ? deadline - now : 0;
	struct timeval delay = {(time_t)(wait / 1000000), (suseconds_t)(wait % 1000000)};

	if (!line->timer)
		line->timer = event_new(line->sofia->base, -1, 0, on_timer, line);
	event_del(line->timer);
	if (deadline)
		event_add(line->timer, &delay);
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip);

static bool create_leg(struct sofia_line *line)
{
	char token[SOFIA_TOKEN_SIZE];

	if (line->leg)
		return true;
	if (!line->call_id[0])
		sofia_random_token(line->sofia, line->call_id, SOFIA_TOKEN_SIZE);
	line->leg = nta_leg_tcreate(line->agent, NULL, NULL, SIPTAG_CALL_ID_STR(line->call_id),
	                            SIPTAG_FROM_STR(line->identity), SIPTAG_TO_STR(line->identity),
	                            TAG_END());
	sofia_random_token(line->sofia, token, 13);
	return line->leg && nta_leg_tag(line->leg, token);
}

static void send_register(struct sofia_line *line, bool is_leaving)
{
	char domain[SOFIA_URI_SIZE], contact[SOFIA_URI_SIZE + 32], expires[16];
	const char *at = strchr(line->identity, '@');

	line->is_leaving = is_leaving;
	if (!sofia_line_open(line) || !create_leg(line)) {
		line->sip_status = 0;
		handle(line, REGISTRATION_REFUSED, 0);
		return;
	}
	log_debug(LOG_SIP_DHCP, NULL, NULL,
	          "line %s: static discovery: registrar %s from the configuration, no DHCP option "
	          "is read",
	          line->config->number, line->registrar + strlen("sip:"));
	snprintf(domain, sizeof(domain), "sip:%.*s", (int)strcspn(at + 1, ">"), at + 1);
	snprintf(expires, sizeof(expires), "%u", is_leaving ? 0 : line->core.asked_sec);
	snprintf(contact, sizeof(contact), "%s;expires=%s", line->contact, expires);
	line->request = nta_outgoing_tcreate(
		line->leg, on_response, line, (url_string_t *)line->registrar, SIP_METHOD_REGISTER,
		(url_string_t *)domain, SIPTAG_CONTACT_STR(contact), SIPTAG_EXPIRES_STR(expires),
		SIPTAG_ALLOW_STR(SOFIA_ALLOW), SIPTAG_SUPPORTED_STR("path"),
		SOFIA_AUTH_TAGS(&line->auth), TAG_END());
	if (!line->request) {
		snprintf(line->cause, sizeof(line->cause), "REGISTER cannot be built");
		handle(line, REGISTRATION_REFUSED, 0);
	}
}

void sofia_register_drop(struct sofia_line *line)
{
	if (line->request)
		nta_outgoing_destroy(line->request);
	if (line->leg)
		nta_leg_destroy(line->leg);
	line->request = NULL;
	line->leg = NULL;
}

static void act(struct sofia_line *line, enum registration_action action)
{
	switch (action) {
	case REGISTRATION_NOTHING:
		break;
	case REGISTRATION_SEND:
	case REGISTRATION_SEND_LEAVE:
		if (line->request)
			nta_outgoing_destroy(line->request);
		line->request = NULL;
		sofia_auth_reset(&line->auth);
		send_register(line, action == REGISTRATION_SEND_LEAVE);
		break;
	case REGISTRATION_FORGET:
		line->cause[0] = '\0';
		line->sip_status = 0;
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

/*
 * What the registrar granted: the expires parameter of our own Contact, else the Expires header
 * (RFC 3261 section 10.2.4).
 */
static unsigned granted_seconds(const struct sofia_line *line, const sip_t *sip)
{
	for (const sip_contact_t *contact = sip->sip_contact; contact; contact = contact->m_next)
		if (contact->m_url->url_user &&
		    strcmp(contact->m_url->url_user, line->contact_user) == 0 && contact->m_expires)
			return (unsigned)strtoul(contact->m_expires, NULL, 10);
	if (sip->sip_expires)
		return (unsigned)sip->sip_expires->ex_delta;
	return line->core.asked_sec;
}

static void refused(struct sofia_line *line, const sip_t *sip)
{
	unsigned pause = 0;
	const char *failure = sofia_local_failure(sip);

	if (failure)
		snprintf(line->cause, sizeof(line->cause), "the registrar %s", failure);
	else if (!line->cause[0])
		snprintf(line->cause, sizeof(line->cause), "the registrar answered %d %s",
		         sip->sip_status->st_status, sip->sip_status->st_phrase);
	if (sip->sip_retry_after)
		pause = (unsigned)sip->sip_retry_after->af_delta;
	/* Wrong credentials do not get right by repeating them. */
	if (sip->sip_status->st_status == 401 || sip->sip_status->st_status == 407 ||
	    sip->sip_status->st_status == 403)
		pause = line->core.limits.retry_maximum_msec / 1000;
	handle(line, REGISTRATION_REFUSED, pause);
}

static int on_response(void *context, nta_outgoing_t *request, const sip_t *sip)
{
	struct sofia_line *line = context;
	int status = sip ? sip->sip_status->st_status : nta_outgoing_status(request);

	if (request != line->request || status < 200)
		return 0;
	line->cause[0] = '\0';
	line->sip_status = (unsigned)status;
	bool is_repeated = sip && (status == 401 || status == 407) &&
	                   sofia_auth_challenged(&line->auth, line, request, sip, line->cause,
	                                         sizeof(line->cause));
	nta_outgoing_destroy(line->request);
	line->request = NULL;
	if (is_repeated) {
		send_register(line, line->is_leaving);
	} else if (!sip) {
		snprintf(line->cause, sizeof(line->cause), "REGISTER could not be sent");
		handle(line, REGISTRATION_REFUSED, 0);
	} else if (status < 300) {
		handle(line, REGISTRATION_ACCEPTED, granted_seconds(line, sip));
	} else if (status == 423 && sip->sip_min_expires) {
		handle(line, REGISTRATION_TOO_BRIEF, (unsigned)sip->sip_min_expires->me_delta);
	} else {
		refused(line, sip);
	}
	return 0;
}

void sofia_register_start(struct sofia_line *line)
{
	handle(line, REGISTRATION_START, 0);
}

void sofia_register_stop(struct sofia_line *line)
{
	handle(line, REGISTRATION_STOP, 0);
}
