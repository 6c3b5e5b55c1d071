/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/offer.h"

static int open_windows(struct core *core)
{
	int result = call_window_open(&core->calls, core->config->maximum_calls_per_hour);

	for (size_t i = 0; i < core->session_count && result == 0; i++)
		result = call_window_open(&core->sessions[i].calls,
		                          core->config->peers[i].maximum_calls_per_hour);
	return result;
}

struct core *core_create(const struct config *config, const struct coordinator_port *port)
{
	struct core *core = calloc(1, sizeof(*core));

	if (!core)
		return NULL;
	core->config = config;
	core->port = port;
	core->line_count = config->line_count;
	core->session_count = config->peer_count;
	core->lines = calloc(core->line_count ? core->line_count : 1, sizeof(*core->lines));
	core->sessions = calloc(core->session_count ? core->session_count : 1,
	                        sizeof(*core->sessions));
	core->holdings = calloc(core->session_count ? core->session_count : 1,
	                        sizeof(*core->holdings));
	if (!core->lines || !core->sessions || !core->holdings || open_windows(core) != 0) {
		core_destroy(core);
		return NULL;
	}
	for (size_t i = 0; i < core->line_count; i++) {
		core->lines[i] = (struct line){.core = core, .config = &config->lines[i]};
		HASH_ADD_KEYPTR(hh, core->lines_by_number, config->lines[i].number,
		                strlen(config->lines[i].number), &core->lines[i]);
	}
	for (size_t i = 0; i < core->session_count; i++) {
		struct session *session = &core->sessions[i];

		session->core = core;
		session->peer = &config->peers[i];
		HASH_ADD_KEYPTR(by_tunnel, core->sessions_by_tunnel, session->peer->tunnel,
		                strlen(session->peer->tunnel), session);
		HASH_ADD_KEYPTR(by_number, core->sessions_by_number, session->peer->number,
		                strlen(session->peer->number), session);
		session->line = &core->lines[config->peers[i].line - config->lines];
		session->held = &core->holdings[i];
		session->state = SESSION_ADOPTING;
		session->state_since_usec = port->mono_usec(port->context);
		port->start_timer(port->context, session, false,
		                  session_states[SESSION_ADOPTING].limit_msec);
	}
	if (config->is_enabled)
		for (size_t i = 0; i < core->line_count; i++)
			line_handle(&core->lines[i], LINE_EVENT_ENABLED, NULL);
	return core;
}

void core_destroy(struct core *core)
{
	if (!core)
		return;
	for (size_t i = 0; core->sessions && i < core->session_count; i++)
		call_window_close(&core->sessions[i].calls);
	call_window_close(&core->calls);
	HASH_CLEAR(hh, core->lines_by_number);
	HASH_CLEAR(by_tunnel, core->sessions_by_tunnel);
	HASH_CLEAR(by_number, core->sessions_by_number);
	free(core->lines);
	free(core->sessions);
	free(core->holdings);
	free(core);
}

struct session *core_session_by_tunnel(struct core *core, const char *tunnel)
{
	struct session *session;

	HASH_FIND(by_tunnel, core->sessions_by_tunnel, tunnel, strlen(tunnel), session);
	return session;
}

struct session *core_session_by_number(struct core *core, const char *remote_number)
{
	struct session *session;

	HASH_FIND(by_number, core->sessions_by_number, remote_number, strlen(remote_number),
	          session);
	return session;
}

struct line *core_line_by_number(struct core *core, const char *local_number)
{
	struct line *line;

	HASH_FIND_STR(core->lines_by_number, local_number, line);
	return line;
}

const char *core_call_refusal(struct core *core, const struct session *session)
{
	enum admission_guard guard;

	if (core->is_shutting_down)
		return "shutting down";
	if (core->calls_barred)
		return core->calls_barred;
	if (!session->peer->is_enabled)
		return "the peer is disabled";
	if (core_missing_service(core))
		return core->refusal;
	if (session->line->state != LINE_STATE_REGISTERED)
		return session->line->cause[0] ? session->line->cause
		                               : "the line is not registered";
	guard = admission_bars_call(session);
	core->counters.triggers_shed += guard == GUARD_SETUPS;
	return guard == GUARD_COUNT ? NULL : admission_guards[guard].cause;
}

void core_step_finished(struct core *core, struct session *session, uint64_t attempt,
                        enum step step, const struct step_result *result)
{
	struct session_event event = {
		.type = result->is_done ? EVENT_STEP_DONE : EVENT_STEP_FAILED,
		.step = step,
		.kind = result->kind,
		.cause = result->cause,
		.is_unanswered = result->is_unanswered,
	};

	if (!attempt || attempt != session->attempt)
		return;
	session->changed_usec = core->port->mono_usec(core->port->context);
	if (result->is_done) {
		session->finished |= BIT(step);
		if (step == STEP_RESERVE_PORT)
			address_set_port(&session->local.address, result->port);
		if (step == STEP_PREPARE_IKE && result->media) {
			memcpy(session->local.fingerprints, result->media->fingerprints,
			       sizeof(session->local.fingerprints));
			session->local.fingerprint_count = result->media->fingerprint_count;
		}
	}
	session_handle(session, &event);
}

/*
 * The other side's BYE may be faster than what our own ike-agent has to say: its cause is the better one, and it
 * takes the place of "the other side hung up".
 */
static void ike_explains_failure(struct session *session, const char *cause)
{
	const struct coordinator_port *port = session->core->port;

	if (!strcmp(session->cause, cause))
		return;
	log_session(LOG_NOTICE, session->peer->tunnel, session->peer->number,
	            "%s (reported as: %s)", cause, session->cause);
	snprintf(session->cause, sizeof(session->cause), "%s", cause);
	port->session_changed(port->context, session);
}

void core_ike_ends_by_us(struct core *core, const char *tunnel, uint64_t attempt)
{
	struct session *session = core_session_by_tunnel(core, tunnel);

	if (session && attempt && session->attempt == attempt)
		session->is_ike_ended_by_us = true;
}

void core_ike_changed(struct core *core, const char *tunnel, uint64_t attempt,
                      Vpnsip__IkeStatus status, const char *cause)
{
	struct session *session = core_session_by_tunnel(core, tunnel);
	struct session_event event = {.cause = cause && cause[0] ? cause : "IKE failed"};

	if (!session || !attempt)
		return;
	session->held->ike_attempt = attempt;
	session->held->ike_status = status;
	if (attempt == session->failed_attempt && status == VPNSIP__IKE_STATUS__IKE_FAILED &&
	    cause && cause[0])
		ike_explains_failure(session, cause);
	if (session->attempt != attempt)
		return;
	if (cause && cause[0])
		snprintf(session->ike_cause, sizeof(session->ike_cause), "%s", cause);
	if (status == session->ike_status)
		return;
	session->ike_status = status;
	if (status == VPNSIP__IKE_STATUS__IKE_UP)
		event.type = EVENT_IKE_UP;
	else if (status == VPNSIP__IKE_STATUS__IKE_FAILED ||
	         status == VPNSIP__IKE_STATUS__IKE_ENDED)
		event.type = EVENT_IKE_DOWN;
	else
		return;
	session_handle(session, &event);
}

static void tunnel_conditions(struct session *session, const struct tunnel_report *report)
{
	const struct session_event idle = {.type = EVENT_TUNNEL_IDLE};
	const struct session_event dead = {.type = EVENT_PEER_DEAD,
	                                   .cause = "nothing received for too long"};

	if (session_states[session->state].status != VPNSIP__SESSION_STATUS__SESSION_UP)
		return;
	if (report->is_idle ||
	    (report->is_one_way && session->peer->ipsec_profile->releases_one_way))
		session_handle(session, &idle);
	else if (report->is_dead)
		session_handle(session, &dead);
}

void core_tunnel_changed(struct core *core, const struct tunnel_report *report)
{
	struct session *session = core_session_by_tunnel(core, report->tunnel);
	const struct session_event trigger = {.type = EVENT_TRIGGER};

	if (!session)
		return;
	session->held->peer_attempt = report->attempt;
	session->held->is_open = report->is_open;
	session->held->has_sas = report->has_sas;
	session->wants_peer = report->wants_peer;
	session->last_received_usec = report->last_received_usec;
	if (session->probe_sent_usec && session->last_received_usec > session->probe_sent_usec)
		session_finish_probe(session);
	if (report->attempt && report->attempt == session->attempt)
		tunnel_conditions(session, report);
	if (session->wants_peer && session->state == SESSION_READY)
		session_handle(session, &trigger);
}

/* Sessions whose SDP names an address that the line has not: all of them when it has none. */
static void release_line(struct core *core, const struct line *line, const char *cause)
{
	const struct session_event lost = {.type = EVENT_LINE_LOST, .cause = cause};

	for (size_t i = 0; i < core->session_count; i++) {
		struct session *session = &core->sessions[i];
		bool is_kept = line->is_wan_up &&
		               address_is_equal(&session->local.address, &line->wan_address);

		if (session->line == line && session->attempt && !is_kept)
			session_handle(session, &lost);
	}
}

static void line_wan_changed(struct core *core, struct line *line, bool is_up,
                             const struct sockaddr_storage *address, const char *cause)
{
	bool had_wan = line->is_wan_up;
	bool is_same = had_wan && is_up && !memcmp(address, &line->wan_address, sizeof(*address));

	line->is_wan_known = true;
	if (is_same)
		return;
	line->is_wan_up = is_up;
	if (is_up)
		line->wan_address = *address;
	release_line(core, line, is_up ? "the WAN address changed" : cause);
	line_handle(line, is_up ? LINE_EVENT_WAN_UP : LINE_EVENT_WAN_DOWN, is_up ? NULL : cause);
}

void core_wan_changed(struct core *core, const char *interface, bool is_up,
                      const struct sockaddr_storage *address, const char *cause)
{
	for (size_t i = 0; i < core->line_count; i++)
		if (!strcmp(core->lines[i].config->wan_interface, interface))
			line_wan_changed(core, &core->lines[i], is_up, address, cause);
}

void core_registration_changed(struct core *core, const char *local_number,
                               Vpnsip__RegistrationStatus status,
                               const struct sockaddr_storage *contact, const char *cause)
{
	const struct session_event trigger = {.type = EVENT_TRIGGER};
	bool is_registered = status == VPNSIP__REGISTRATION_STATUS__REGISTERED;
	struct line *line = core_line_by_number(core, local_number);
	enum line_state was;

	if (!line)
		return;
	was = line->state;
	line->registration = status;
	line->contact = *contact;
	line_handle(line, is_registered ? LINE_EVENT_REGISTERED : LINE_EVENT_UNREGISTERED,
	            is_registered ? NULL : cause);
	if (line->state == was || line->state != LINE_STATE_REGISTERED)
		return;
	for (size_t i = 0; i < core->session_count; i++)
		if (core->sessions[i].line == line && core->sessions[i].wants_peer &&
		    core->sessions[i].state == SESSION_READY)
			session_handle(&core->sessions[i], &trigger);
}

void core_session_timeout(struct core *core, struct session *session, bool is_probe)
{
	const struct session_event event = {.type = is_probe ? EVENT_PROBE_TIMEOUT : EVENT_TIMEOUT};
	char text[64];

	snprintf(text, sizeof(text), "%s timer of %s ran out", is_probe ? "probe" : "state",
	         session_states[session->state].name);
	core->port->trace(core->port->context, session, VPNSIP__TRACE_KIND__TRACE_TIMER, text);
	session_handle(session, &event);
}

void core_call_timeout(struct core *core, struct session *session)
{
	(void)core;
	admission_call_timeout(session);
}

void core_line_timeout(struct core *core, struct line *line)
{
	(void)core;
	line_handle(line, LINE_EVENT_TIMEOUT, NULL);
}

const char *core_operator_call(struct core *core, const char *remote_number)
{
	struct session *session = core_session_by_number(core, remote_number);
	const struct session_event event = {.type = EVENT_OPERATOR_CALL};
	const char *refusal;

	if (!session)
		return "no peer has this number";
	if (session->state == SESSION_ADOPTING)
		return "just started: what the other services hold is not known yet";
	if (session->state != SESSION_READY && session->state != SESSION_HOLDDOWN)
		return "the session is in use already";
	refusal = core_call_refusal(core, session);
	if (refusal) {
		admission_refused(session, refusal);
		return refusal;
	}
	session_handle(session, &event);
	/* Without an attempt number nothing has begun. */
	return session->attempt ? NULL : session->cause;
}

const char *core_operator_release(struct core *core, const char *remote_number, bool is_all,
                                  const char *cause)
{
	const struct session_event event = {.type = EVENT_OPERATOR_RELEASE, .cause = cause};
	struct session *session = is_all ? NULL : core_session_by_number(core, remote_number);

	if (!is_all && !session)
		return "no peer has this number";
	for (size_t i = 0; i < core->session_count; i++)
		if (is_all || session == &core->sessions[i])
			session_handle(&core->sessions[i], &event);
	return NULL;
}

void core_shut_down(struct core *core)
{
	core->is_shutting_down = true;
	core_operator_release(core, NULL, true, "shutdown ordered by the operator");
	for (size_t i = 0; i < core->line_count; i++)
		line_handle(&core->lines[i], LINE_EVENT_DISABLED, "shut down by the operator");
}

bool core_is_at_rest(const struct core *core)
{
	for (size_t i = 0; i < core->session_count; i++)
		if (core->sessions[i].attempt || core->sessions[i].state == SESSION_ADOPTING)
			return false;
	return true;
}
