/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What shall be against what is: each snapshot of a service is compared with the sessions. What is missing is ordered again, what
 * belongs to no session is removed. Level-triggered: it does not matter which event was lost.
 */
#include <stdio.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"

/* A snapshot may have been taken this long before it is read: what changed since may be missing in it. */
#define SNAPSHOT_AGE_USEC 1000000

/* Whose snapshots adoption waits for: the owners, and who knows the WAN addresses. */
#define SURVEYED (OWNERS | BIT(VPNSIP__SERVICE__TRACK_AGENT))

/* New IKE_SAs of sessions that were up: each costs a Diffie-Hellman exchange on both sides. */
#define RESUME_INTERVAL_MSEC 20

/* Kept by their services for running sessions; what is only prepared for a call is found missing when it is used. */
#define STEPS_COMPARED (STEPS_RUNNING & ~BIT(STEP_OPEN_TUNNEL))

static const char *service_name(Vpnsip__Service service)
{
	static const char *const names[SERVICE_COUNT] = {
		[VPNSIP__SERVICE__SIP_AGENT] = "sip-agent",
		[VPNSIP__SERVICE__IKE_AGENT] = "ike-agent",
		[VPNSIP__SERVICE__TUNNEL_AGENT] = "tunnel-agent",
		[VPNSIP__SERVICE__NAT_QOS_AGENT] = "nat-qos-agent",
	};

	return names[service];
}

void core_translation_found(struct core *core, const char *tunnel, uint64_t attempt,
                            bool is_installed)
{
	struct session *session = core_session_by_tunnel(core, tunnel);

	if (!session)
		return;
	session->held->translation_attempt = attempt;
	session->held->is_translated = is_installed;
}

void core_shaper_found(struct core *core, const char *tunnel, uint64_t attempt)
{
	struct session *session = core_session_by_tunnel(core, tunnel);

	if (session)
		session->held->shaper_attempt = attempt;
}

void core_forget(struct core *core, Vpnsip__Service service)
{
	for (size_t i = 0; i < core->session_count; i++)
		holdings_forget(&core->holdings[i], service);
}

void core_forget_tunnel(struct core *core, const char *tunnel, Vpnsip__Service service)
{
	struct session *session = core_session_by_tunnel(core, tunnel);

	if (session)
		holdings_forget(session->held, service);
}

static void disown(struct session *session, uint64_t attempt, enum step step)
{
	const struct coordinator_port *port = session->core->port;

	if (!attempt || attempt == session->attempt)
		return;
	session->core->counters.strays++;
	port->disown(port->context, session->peer->tunnel, attempt, step);
}

static void disown_of(struct session *session, Vpnsip__Service service)
{
	const struct holdings *held = session->held;

	switch (service) {
	case VPNSIP__SERVICE__IKE_AGENT:
		disown(session, held->ike_attempt, STEP_STOP_IKE);
		break;
	case VPNSIP__SERVICE__TUNNEL_AGENT:
		disown(session, held->peer_attempt, STEP_CLEAR_PEER);
		break;
	case VPNSIP__SERVICE__NAT_QOS_AGENT:
		disown(session, held->translation_attempt, STEP_REMOVE_TRANSLATION);
		disown(session, held->shaper_attempt, STEP_REMOVE_SHAPER);
		break;
	default:
		break;
	}
}

void core_disown_strays(struct session *session)
{
	disown_of(session, VPNSIP__SERVICE__IKE_AGENT);
	disown_of(session, VPNSIP__SERVICE__TUNNEL_AGENT);
	disown_of(session, VPNSIP__SERVICE__NAT_QOS_AGENT);
}

/* Everything of the session was confirmed before the snapshot can have been taken, or before the service's last death. */
static bool is_settled(const struct session *session, Vpnsip__Service service)
{
	const struct core *core = session->core;
	uint64_t now_usec = core->port->mono_usec(core->port->context);

	return now_usec - session->changed_usec > SNAPSHOT_AGE_USEC ||
	       session->changed_usec < core->services[service].lost_usec;
}

static void call_is_lost(struct session *session)
{
	struct call_report lost = {
		.call_id = session->call_id,
		.attempt = session->attempt,
		.direction = session->direction,
		.local_number = session->line->config->number,
		.remote_number = session->peer->number,
		.status = VPNSIP__CALL_STATUS__CALL_ENDED,
		.cause = "sip-agent does not know the call any more",
	};

	core_call_changed(session->core, &lost);
}

static void compare_call(struct session *session)
{
	bool has_call = session->call_id[0] || session_has_finished(session, BIT(STEP_PLACE_CALL));
	bool is_ending = session_states[session->state].status == VPNSIP__SESSION_STATUS__RELEASING;

	if (has_call && !is_ending && !session->held->call.is_present)
		call_is_lost(session);
}

static void compare_setup(struct session *session, Vpnsip__Service service, unsigned missing)
{
	char cause[CAUSE_SIZE];
	const struct session_event lost = {.type = EVENT_SERVICE_LOST, .cause = cause};

	snprintf(cause, sizeof(cause), "%s was restarted while the session was being set up",
	         service_name(service));
	if ((session_states[session->state].needs & BIT(service)) &&
	    (missing & session->finished & STEPS_COMPARED))
		session_handle(session, &lost);
}

static void compare_running(struct session *session, Vpnsip__Service service, unsigned missing)
{
	unsigned in_flight = session->ordered & ~session->finished;
	char cause[CAUSE_SIZE];
	const struct session_event compared = {
		.type = EVENT_COMPARED,
		.held = holdings_steps_of(service) & ~missing,
		.missing = missing & ~in_flight & session->ordered,
		.cause = cause,
	};

	snprintf(cause, sizeof(cause), "%s does not hold its part of the session any more",
	         service_name(service));
	session_handle(session, &compared);
}

static void compare(struct session *session, Vpnsip__Service service)
{
	const struct coordinator_port *port = session->core->port;
	bool is_up = session_states[session->state].status == VPNSIP__SESSION_STATUS__SESSION_UP;
	unsigned missing = holdings_steps_of(service) &
	                   ~holdings_steps(session->held, session->attempt);

	if (session->state == SESSION_ADOPTING)
		return;
	if (!is_settled(session, service)) {
		port->look_again(port->context, service);
		return;
	}
	disown_of(session, service);
	if (!session->attempt)
		return;
	if (service == VPNSIP__SERVICE__SIP_AGENT)
		compare_call(session);
	else if (is_up)
		compare_running(session, service, missing);
	else
		compare_setup(session, service, missing);
}

/* ADOPTING ends for all when the last owner is known. */
static void adopt_when_known(struct core *core)
{
	const struct session_event surveyed = {.type = EVENT_SURVEYED};

	if ((core->surveyed & SURVEYED) != SURVEYED)
		return;
	for (size_t i = 0; i < core->session_count; i++)
		if (core->sessions[i].state == SESSION_ADOPTING)
			session_handle(&core->sessions[i], &surveyed);
}

void core_surveyed(struct core *core, Vpnsip__Service service)
{
	core->surveyed |= BIT(service);
	core->counters.comparisons++;
	for (size_t i = 0; i < core->session_count; i++)
		compare(&core->sessions[i], service);
	adopt_when_known(core);
}

const char *core_missing_service(struct core *core)
{
	for (unsigned service = 0; service < SERVICE_COUNT; service++) {
		Vpnsip__PeerHealth health = core->services[service].health;

		if (!(OWNERS & BIT(service)) || health == VPNSIP__PEER_HEALTH__PEER_UP)
			continue;
		snprintf(core->refusal, sizeof(core->refusal), "%s %s", service_name(service),
		         health == VPNSIP__PEER_HEALTH__PEER_SILENT ? "is silent"
		                                                    : "is not running");
		return core->refusal;
	}
	return NULL;
}

void core_service_changed(struct core *core, Vpnsip__Service service, Vpnsip__PeerHealth health)
{
	struct service_state *state = &core->services[service];
	bool was_up = state->health == VPNSIP__PEER_HEALTH__PEER_UP;
	char cause[CAUSE_SIZE];
	const struct session_event lost = {.type = EVENT_SERVICE_LOST, .cause = cause};

	state->health = health;
	if (!(OWNERS & BIT(service)) || !was_up || health == VPNSIP__PEER_HEALTH__PEER_UP)
		return;
	if (health == VPNSIP__PEER_HEALTH__PEER_ABSENT)
		state->lost_usec = core->port->mono_usec(core->port->context);
	snprintf(cause, sizeof(cause), "%s %s while the session was being set up",
	         service_name(service),
	         health == VPNSIP__PEER_HEALTH__PEER_ABSENT ? "went away" : "fell silent");
	for (size_t i = 0; i < core->session_count; i++) {
		struct session *session = &core->sessions[i];

		if (session_states[session->state].needs & BIT(service))
			session_handle(session, &lost);
	}
}

void core_unwatched(struct core *core, const char *cause)
{
	const struct session_event unwatched = {.type = EVENT_UNWATCHED, .cause = cause};

	for (size_t i = 0; i < core->session_count; i++)
		if (session_states[core->sessions[i].state].accepts & BIT(EVENT_UNWATCHED))
			session_handle(&core->sessions[i], &unwatched);
}

void core_resume_next(struct core *core)
{
	const struct coordinator_port *port = core->port;

	core->is_pacing = false;
	for (size_t i = 0; i < core->session_count && !core->is_pacing; i++) {
		core->resumed = (core->resumed + 1) % core->session_count;
		core->is_pacing = session_resume_ike(&core->sessions[core->resumed]);
	}
	if (core->is_pacing)
		port->start_pace_timer(port->context, RESUME_INTERVAL_MSEC);
}

void core_resume(struct core *core)
{
	if (!core->is_pacing)
		core_resume_next(core);
}
