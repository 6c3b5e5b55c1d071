/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What `debug vpnsip-coordinator state` and `stats` show. */
#include <inttypes.h>
#include <stdio.h>

#include "services/coordinator/coordinator.h"
#include "services/coordinator/records.h"

/* "InstallShaper,SetPeer"; "-" for none. */
static const char *steps_text(unsigned steps, char *text, size_t size)
{
	size_t length = 0;

	snprintf(text, size, "-");
	for (enum step step = 0; step < STEP_COUNT && length < size; step++)
		if (steps & BIT(step))
			length += (size_t)snprintf(text + length, size - length, "%s%s",
			                           length ? "," : "", step_name(step));
	return text;
}

static void describe_line(struct bus_description *description, const struct line *line)
{
	bus_describe(description, "line %s: %s, ignored events %u%s%s", line->config->number,
	             line_states[line->state].name, line->ignored_events,
	             line->cause[0] ? ", " : "", line->cause);
}

static void describe_session(struct bus_description *description, const struct session *session,
                             const struct session_timers *timers, uint64_t now_usec)
{
	char awaited[STEP_COUNT * 20], finished[STEP_COUNT * 20];

	bus_describe(description,
	             "session %s %s: %s for %.1f s, attempt %" PRIu64
	             ", awaited %s, finished %s, timers%s%s, ike %d, call %d%s%s%s",
	             session->peer->tunnel, session->peer->number,
	             session_states[session->state].name,
	             (double)(now_usec - session->changed_usec) / 1e6, session->attempt,
	             steps_text(session->ordered & ~session->finished, awaited, sizeof(awaited)),
	             steps_text(session->finished, finished, sizeof(finished)),
	             bus_timer_is_running(timers->state) ? " state" : "",
	             bus_timer_is_running(timers->probe) ? " probe" : "", session->ike_status,
	             session->call_status, session->waiting.is_present ? ", a call waits" : "",
	             session->cause[0] ? ", " : "", session->cause);
}

static void describe_counters(struct bus_description *description,
                              const struct coordinator *coordinator)
{
	const struct core_counters *counters = &coordinator->core->counters;
	bus_describe_counter(description, "calls.placed", counters->calls_placed);
	bus_describe_counter(description, "calls.answered", counters->calls_answered);
	bus_describe_counter(description, "sessions.adopted", counters->sessions_adopted);
	bus_describe_counter(description, "sessions.ended_at_start",
	                     counters->sessions_ended_at_start);
	bus_describe_counter(description, "ike.resumed", counters->ike_resumed);
	bus_describe_counter(description, "triggers.refused", counters->triggers_refused);
	bus_describe_counter(description, "triggers.shed", counters->triggers_shed);
	bus_describe_counter(description, "offers.shed", counters->offers_shed);
	bus_describe_counter(description, "debts.open", debts_count(coordinator));
	bus_describe_counter(description, "debts.owed", coordinator->debts_owed);
	bus_describe_counter(description, "debts.settled", coordinator->debts_settled);
	bus_describe_counter(description, "comparisons", counters->comparisons);
	bus_describe_counter(description, "repairs", counters->repairs);
	bus_describe_counter(description, "strays", counters->strays);
}

static void describe_debt(struct bus_description *description, const struct debt *debt)
{
	const char *progress = debt->request ? ", under way" : "";

	if (debt->line)
		bus_describe(description, "owed %s %s%s", debt_name(debt),
		             debt->line->config->number, progress);
	else
		bus_describe(description, "owed %s %s attempt %" PRIu64 "%s%s%s", debt_name(debt),
		             debt->tunnel, debt->attempt, debt->call_id[0] ? " call " : "",
		             debt->call_id, progress);
}

static void describe_handover(struct bus_description *description, const struct handover_item *item)
{
	if (item->is_known)
		bus_describe(description, "%s of %s: %zu handed over, %s%s%s",
		             item->kind == HANDOVER_SERVERS ? "SIP servers" : "routes", item->key,
		             item->wanted.count,
		             item->is_confirmed   ? "confirmed"
		             : item->is_in_flight ? "under way"
		                                  : "not confirmed",
		             item->cause[0] ? ": " : "", item->cause);
}

void describe(void *context, struct bus_description *description)
{
	const struct coordinator *coordinator = ((struct service_context *)context)->state;
	const struct core *core = coordinator->core;
	uint64_t now_usec = bus_mono_usec(coordinator->service->bus);

	for (size_t i = 0; i < core->line_count; i++)
		describe_line(description, &core->lines[i]);
	for (size_t i = 0; i < core->session_count; i++)
		describe_session(description, &core->sessions[i], &coordinator->session_timers[i],
		                 now_usec);
	for (const struct debt *debt = coordinator->debts; debt; debt = debt->next)
		describe_debt(description, debt);
	for (size_t i = 0; i < coordinator->handover->item_count; i++)
		describe_handover(description, &coordinator->handover->items[i]);
	describe_counters(description, coordinator);
	records_describe(coordinator->records, description);
}
