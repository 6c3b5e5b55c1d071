/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `debug sip-agent state` and `stats` tell. */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "bus/bus.h"
#include "services/sip-agent/sofia_internal.h"

#define USEC_PER_SEC 1000000

/* Seconds until the event is due; -1 = it is not. */
static long due_in(const struct sofia *sofia, const struct event *event)
{
	struct timeval due, now;

	if (!event || !event_pending(event, EV_TIMEOUT, &due))
		return -1;
	/* libevent tells real time */
	event_base_gettimeofday_cached(sofia->base, &now);
	return due.tv_sec > now.tv_sec ? (long)(due.tv_sec - now.tv_sec) : 0;
}

static void describe_line(const struct sofia_line *line, struct bus_description *description)
{
	const struct registration_report report = sofia_register_view(line);
	const uint64_t now = bus_mono_usec(line->sofia->bus);
	const uint64_t left = report.expires_at_usec > now ? report.expires_at_usec - now : 0;

	bus_describe(description,
	             "registration %s: %s at %s over %s, granted %u s, %llu s left, transport %s, "
	             "%s%s",
	             report.local_number, report.is_registered ? "registered" : "not registered",
	             report.registrar, report.transport, report.granted_sec,
	             (unsigned long long)(left / USEC_PER_SEC), line->agent ? "open" : "closed",
	             line->cause[0] ? ": " : "", line->cause);
}

static const char *debt_of(const struct sofia_call *call)
{
	switch (call->call.state) {
	case CALL_STATE_CANCEL_OWED:
		return "CANCEL owed at the first provisional response";
	case CALL_STATE_CANCELLING:
		return call->is_cancel_owed ? "CANCEL owed, sent again at the deadline"
		                            : "CANCEL sent, final response awaited";
	case CALL_STATE_BYE_OWED:
		return "BYE owed with the ACK";
	case CALL_STATE_LEAVING:
		return call->bye ? "BYE sent, answer awaited"
		                 : "BYE owed, sent again at the deadline";
	default:
		return "nothing owed";
	}
}

static void describe_call(const struct sofia_call *call, struct bus_description *description)
{
	const struct call *state = &call->call;

	bus_describe(description,
	             "call %s: %s %s %s attempt %llu %s%s%s, %s, deadline in %ld s, session timer "
	             "%u s next in %ld s, record %s%s%s",
	             state->call_id, state->tunnel[0] ? state->tunnel : "-",
	             state->direction == CALL_OUTGOING ? "to" : "from", state->remote_number,
	             (unsigned long long)state->attempt, call_state_name(state->state),
	             state->is_restored ? " restored" : "",
	             call->parked ? " without transport" : "", debt_of(call),
	             due_in(call->line->sofia, call->state_event), call->timer.interval_sec,
	             due_in(call->line->sofia, call->session_event),
	             call->is_acknowledged ? "of the dialog" : "of the attempt",
	             state->cause[0] ? ": " : "", state->cause);
}

static uint64_t count_retransmissions(const struct sofia *sofia)
{
	uint64_t count = 0;

	for (size_t i = 0; i < sofia->line_count; i++) {
		usize_t requests = 0, responses = 0;

		if (!sofia->lines[i].agent)
			continue;
		nta_agent_get_stats(sofia->lines[i].agent, NTATAG_S_RETRY_REQUEST_REF(requests),
		                    NTATAG_S_RETRY_RESPONSE_REF(responses), TAG_END());
		count += (uint64_t)requests + responses;
	}
	return count;
}

static uint64_t count_kept_invites(const struct sofia *sofia)
{
	uint64_t count = 0;

	for (const struct sofia_call *call = sofia->calls; call; call = call->next)
		count += call->invite || call->ack;
	return count;
}

void sofia_describe(const struct sofia *sofia, struct bus_description *description)
{
	const struct sofia_counters *counters = &sofia->counters;
	const struct {
		const char *name;
		uint64_t value;
	} values[] = {
		{"sip.invites-sent", counters->invites_sent},
		{"sip.invites-kept", count_kept_invites(sofia)},
		{"sip.invites-received", counters->invites_received},
		{"sip.cancels-owed", counters->cancels_owed},
		{"sip.cancels-paid", counters->cancels_paid},
		{"sip.byes-owed", counters->byes_owed},
		{"sip.byes-paid", counters->byes_paid},
		{"sip.stray-responses", counters->stray_responses},
		{"sip.requests-refused", counters->requests_refused},
		{"sip.messages-sent", counters->messages_sent},
		{"sip.messages-received", counters->messages_received},
		{"sip.retransmissions", count_retransmissions(sofia)},
		{"sip.resolver-users", sofia_resolver_users()},
		{"sip.calls-restored", counters->calls_restored},
		{"store.writes", counters->store_writes},
		{"store.failures", counters->store_failures},
	};

	for (size_t i = 0; i < sofia->line_count; i++)
		describe_line(&sofia->lines[i], description);
	for (const struct sofia_call *call = sofia->calls; call; call = call->next)
		describe_call(call, description);
	for (const struct sofia_attempt *attempt = sofia->attempts; attempt;
	     attempt = attempt->hh.next)
		bus_describe(description, "tunnel %s: latest attempt %llu", attempt->tunnel,
		             (unsigned long long)attempt->number);
	if (sofia->store_failure[0])
		bus_describe(description, "store: %s", sofia->store_failure);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		bus_describe_counter(description, values[i].name, values[i].value);
}
