/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/coordinator.h"
#include "services/coordinator/records.h"

static void port_order(void *context, struct session *session, enum step step)
{
	orders_send(context, session, step);
}

static void port_reject(void *context, const char *call_id, uint32_t sip_status, const char *reason,
                        uint32_t warning_code, const char *warning_text)
{
	orders_reject(context, call_id, sip_status, reason, warning_code, warning_text);
}

static void port_hang_up_stray(void *context, const char *call_id)
{
	log_line(LOG_WARNING, "call %s belongs to no session: hanging up", call_id);
	debts_add(context, "", 0, call_id, STEP_HANG_UP);
}

static void port_owe(void *context, const struct session *session, enum step step)
{
	debts_add(context, session->peer->tunnel, session->attempt, orders_hang_up_name(session),
	          step);
}

static void port_disown(void *context, const char *tunnel, uint64_t attempt, enum step step)
{
	log_session(LOG_INFO, tunnel, NULL, "attempt %llu is over, but something is left: %s",
	            (unsigned long long)attempt, step_name(step));
	debts_add(context, tunnel, attempt, "", step);
}

static void port_look_again(void *context, Vpnsip__Service service)
{
	watch_look_again(context, service);
}

static void port_register_line(void *context, const struct line *line, bool is_wanted)
{
	if (!is_wanted) {
		debts_add_line(context, line);
		return;
	}
	debts_forget_line(context, line);
	orders_register(context, line);
}

static void set_timer(struct bus_timer *timer, uint64_t msec)
{
	if (msec)
		bus_timer_start(timer, msec);
	else
		bus_timer_stop(timer);
}

static void port_start_timer(void *context, struct session *session, bool is_probe, uint64_t msec)
{
	struct coordinator *coordinator = context;
	struct session_timers *timers =
		&coordinator->session_timers[session - session->core->sessions];

	set_timer(is_probe ? timers->probe : timers->state, msec);
}

static void port_start_call_timer(void *context, struct session *session, uint64_t msec)
{
	struct coordinator *coordinator = context;

	set_timer(coordinator->session_timers[session - session->core->sessions].call, msec);
}

static void port_start_pace_timer(void *context, uint64_t msec)
{
	set_timer(((struct coordinator *)context)->pace_timer, msec);
}

static void port_start_line_timer(void *context, struct line *line, uint64_t msec)
{
	struct coordinator *coordinator = context;

	set_timer(coordinator->line_timers[line - line->core->lines].timer, msec);
}

static void shutdown_finished(struct coordinator *coordinator)
{
	bus_done(coordinator->shutdown_request);
	coordinator->shutdown_request = NULL;
	bus_timer_stop(coordinator->shutdown_timer);
	log_line(LOG_NOTICE, "shut down: no session is left, no calls until the next start");
}

void shut_down_when_done(struct coordinator *coordinator)
{
	if (coordinator->shutdown_request && core_is_at_rest(coordinator->core) &&
	    !coordinator->debts)
		shutdown_finished(coordinator);
}

static void port_session_changed(void *context, const struct session *session)
{
	struct coordinator *coordinator = context;

	/* First: what is known here is on the disk before anything is ordered of it. */
	records_session_changed(coordinator->records, session);
	show_session_changed(context, session);
	shut_down_when_done(context);
}

static void port_line_changed(void *context, const struct line *line)
{
	show_line_changed(context, line);
}

static uint64_t port_mono_usec(void *context)
{
	return bus_mono_usec(((struct coordinator *)context)->service->bus);
}

static uint64_t port_wall_usec(void *context)
{
	return bus_wall_usec(((struct coordinator *)context)->service->bus);
}

static uint32_t port_random(void *context)
{
	uint32_t value;

	bus_random(((struct coordinator *)context)->service->bus, &value, sizeof(value));
	return value;
}

static uint64_t port_next_attempt(void *context, Vpnsip__Direction direction, char *why)
{
	struct coordinator *coordinator = context;
	uint64_t attempt = attempts_next(&coordinator->attempts,
	                                 direction == VPNSIP__DIRECTION__OUTGOING,
	                                 port_mono_usec(context));

	if (!attempt)
		snprintf(why, CAUSE_SIZE, "the attempt number cannot be written to %s: %s",
		         coordinator->attempts.file, strerror(errno));
	return attempt;
}

static void port_trace(void *context, const struct session *session, Vpnsip__TraceKind kind,
                       const char *text)
{
	bus_trace(((struct coordinator *)context)->service->bus, session->peer->tunnel,
	          session->last_attempt, kind, NULL, false, "%s", text);
}

static void state_timer_fired(void *context)
{
	struct session_timers *timers = context;

	core_session_timeout(timers->coordinator->core, timers->session, false);
}

static void probe_timer_fired(void *context)
{
	struct session_timers *timers = context;

	core_session_timeout(timers->coordinator->core, timers->session, true);
}

static void call_timer_fired(void *context)
{
	struct session_timers *timers = context;

	core_call_timeout(timers->coordinator->core, timers->session);
}

static void line_timer_fired(void *context)
{
	struct line_timer *timer = context;

	core_line_timeout(timer->coordinator->core, timer->line);
}

/* What is owed is ordered on, as long as we live: but the operator must know. */
static void shutdown_timer_fired(void *context)
{
	struct coordinator *coordinator = context;
	unsigned sessions = 0;

	for (size_t i = 0; i < coordinator->core->session_count; i++)
		sessions += coordinator->core->sessions[i].attempt != 0;
	if (coordinator->shutdown_request)
		bus_fail(
			coordinator->shutdown_request, VPNSIP__FAILURE_KIND__SYSTEM,
			"not everything is down yet: %u sessions are being released, %u orders are "
			"not confirmed",
			sessions, debts_count(coordinator));
	coordinator->shutdown_request = NULL;
}

/* The timers exist before the core, whose creation may already start one. */
static int create_timers(struct coordinator *coordinator, const struct config *config)
{
	struct bus *bus = coordinator->service->bus;
	bool is_complete;

	coordinator->session_timers = calloc(config->peer_count + 1,
	                                     sizeof(*coordinator->session_timers));
	coordinator->line_timers = calloc(config->line_count + 1,
	                                  sizeof(*coordinator->line_timers));
	coordinator->shutdown_timer = bus_timer_new(bus, "shutdown", shutdown_timer_fired,
	                                            coordinator);
	coordinator->debt_timer = bus_timer_new(bus, "debts", debts_due, coordinator);
	is_complete = coordinator->session_timers && coordinator->line_timers &&
	              coordinator->shutdown_timer && coordinator->debt_timer;
	for (size_t i = 0; is_complete && i < config->peer_count; i++) {
		struct session_timers *timers = &coordinator->session_timers[i];

		timers->coordinator = coordinator;
		timers->state = bus_timer_new(bus, "session", state_timer_fired, timers);
		timers->probe = bus_timer_new(bus, "probe", probe_timer_fired, timers);
		timers->call = bus_timer_new(bus, "call", call_timer_fired, timers);
		is_complete = timers->state && timers->probe && timers->call;
	}
	for (size_t i = 0; is_complete && i < config->line_count; i++) {
		struct line_timer *timer = &coordinator->line_timers[i];

		timer->coordinator = coordinator;
		timer->timer = bus_timer_new(bus, "line", line_timer_fired, timer);
		is_complete = timer->timer != NULL;
	}
	return is_complete ? 0 : -1;
}

static void bind_timers(struct coordinator *coordinator)
{
	struct core *core = coordinator->core;

	for (size_t i = 0; i < core->session_count; i++)
		coordinator->session_timers[i].session = &core->sessions[i];
	for (size_t i = 0; i < core->line_count; i++)
		coordinator->line_timers[i].line = &core->lines[i];
}

static void stop(struct service_context *service)
{
	struct coordinator *coordinator = service->state;

	debts_free(coordinator);
	records_detach(coordinator);
	for (size_t i = 0; coordinator->session_timers && i < service->config->peer_count; i++) {
		bus_timer_free(coordinator->session_timers[i].state);
		bus_timer_free(coordinator->session_timers[i].probe);
		bus_timer_free(coordinator->session_timers[i].call);
	}
	for (size_t i = 0; coordinator->line_timers && i < service->config->line_count; i++)
		bus_timer_free(coordinator->line_timers[i].timer);
	bus_timer_free(coordinator->shutdown_timer);
	bus_timer_free(coordinator->debt_timer);
	watch_stop(coordinator);
	handover_detach(coordinator);
	if (coordinator->shutdown_request)
		bus_fail(coordinator->shutdown_request, VPNSIP__FAILURE_KIND__SYSTEM, "stopping");
	free(coordinator->session_timers);
	free(coordinator->line_timers);
	core_destroy(coordinator->core);
	free(coordinator);
	service->state = NULL;
}

static int start(struct service_context *service)
{
	struct coordinator *coordinator = calloc(1, sizeof(*coordinator));

	if (!coordinator)
		return -1;
	service->state = coordinator;
	coordinator->service = service;
	coordinator->port = (struct coordinator_port){
		.order = port_order,
		.reject = port_reject,
		.hang_up_stray = port_hang_up_stray,
		.owe = port_owe,
		.disown = port_disown,
		.look_again = port_look_again,
		.register_line = port_register_line,
		.start_timer = port_start_timer,
		.start_call_timer = port_start_call_timer,
		.start_pace_timer = port_start_pace_timer,
		.start_line_timer = port_start_line_timer,
		.session_changed = port_session_changed,
		.line_changed = port_line_changed,
		.mono_usec = port_mono_usec,
		.wall_usec = port_wall_usec,
		.random = port_random,
		.next_attempt = port_next_attempt,
		.trace = port_trace,
		.context = coordinator,
	};
	if (attempts_open(&coordinator->attempts, service->state_directory) != 0) {
		log_line(LOG_ERR, "cannot read %s: %s; mend or remove the file",
		         coordinator->attempts.file, strerror(errno));
		return -1;
	}
	if (create_timers(coordinator, service->config) != 0 || watch_start(coordinator) != 0 ||
	    handover_attach(coordinator) != 0)
		return -1;
	coordinator->core = core_create(service->config, &coordinator->port);
	if (!coordinator->core)
		return -1;
	bind_timers(coordinator);
	return records_attach(coordinator);
}

static void reply_refusal(struct bus_request *request, const char *refusal)
{
	if (refusal)
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "%s", refusal);
	else
		bus_done(request);
}

/** Many sessions end at once, but each end is a story of its own: else the trace of each would tell of all. */
static void tell_apart(struct coordinator *coordinator)
{
	bus_resume_trace(coordinator->service->bus, 0);
}

static void release(struct coordinator *coordinator, struct bus_request *request,
                    const Vpnsip__ReleaseSession *order)
{
	if (order->is_all)
		tell_apart(coordinator);
	reply_refusal(request, core_operator_release(coordinator->core, order->remote_number,
	                                             order->is_all, order->cause));
}

static void shut_down(struct coordinator *coordinator, struct bus_request *request)
{
	uint64_t limit_msec = coordinator->service->config->timer_msec[TIMER_RELEASE] + 1000;

	if (coordinator->shutdown_request)
		bus_fail(coordinator->shutdown_request, VPNSIP__FAILURE_KIND__SYSTEM,
		         "not everything is down yet, and shutdown was ordered again");
	coordinator->shutdown_request = request;
	bus_timer_start(coordinator->shutdown_timer, limit_msec);
	tell_apart(coordinator);
	core_shut_down(coordinator->core);
	shut_down_when_done(coordinator);
}

static void handle_request(void *context, struct bus_request *request,
                           const Vpnsip__Envelope *order)
{
	struct coordinator *coordinator = ((struct service_context *)context)->state;
	struct core *core = coordinator->core;

	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_CONNECT_SESSION:
		reply_refusal(request,
		              core_operator_call(core, order->connect_session->remote_number));
		break;
	case VPNSIP__ENVELOPE__BODY_RELEASE_SESSION:
		release(coordinator, request, order->release_session);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_CALL_RECORDS:
		records_answer(coordinator->records, request, order->get_call_records);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_CALL_ADMISSION:
		show_admission(core, request);
		break;
	case VPNSIP__ENVELOPE__BODY_SHUT_DOWN:
		shut_down(coordinator, request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "the coordinator does not take %s",
		         bus_body_name(order));
		break;
	}
}

#define AGENTS                                                                                    \
	(BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT) | BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT) |      \
	 BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT) | BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT) | \
	 BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT))

static const struct service coordinator_service = {
	.id = VPNSIP__SERVICE__COORDINATOR,
	.name = "vpnsip-coordinator",
	.user = "vpnsip-coordinator",
	.subscribes = AGENTS,
	.calls = AGENTS,
	.start = start,
	.stop = stop,
	.is_replayable = true,
	.handlers =
		{
			.event = reports_event,
			.request = handle_request,
			.snapshot = show_snapshot,
			.resync = reports_resync,
			.peer = watch_peer,
			.describe = describe,
		},
};

int main(int argc, char **argv)
{
	return service_main(&coordinator_service, argc, argv);
}
