/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/coordinator.h"

#define DEBT_INTERVAL_MSEC 1000

static void remove_debt(struct debt *debt)
{
	struct debt **link = &debt->coordinator->debts;

	while (*link != debt)
		link = &(*link)->next;
	*link = debt->next;
	free(debt);
}

const char *debt_name(const struct debt *debt)
{
	return debt->line ? "DeregisterLine" : step_name(debt->step);
}

unsigned debts_count(const struct coordinator *coordinator)
{
	unsigned count = 0;

	for (const struct debt *debt = coordinator->debts; debt; debt = debt->next)
		count++;
	return count;
}

static void tell_settled(const struct debt *debt, enum bus_outcome outcome,
                         const Vpnsip__Envelope *reply)
{
	const char *refusal = outcome == BUS_DONE ? "" : bus_cause(reply);
	const char *separator = refusal[0] ? ": " : "";

	if (debt->line)
		log_session(LOG_INFO, NULL, debt->line->config->number,
		            "DeregisterLine is confirmed%s%s", separator, refusal);
	else
		log_session(LOG_INFO, debt->tunnel, NULL, "attempt %llu: owed %s is settled%s%s",
		            (unsigned long long)debt->attempt, debt_name(debt), separator, refusal);
}

static void debt_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct debt *debt = context;
	struct coordinator *coordinator = debt->coordinator;

	debt->request = 0;
	/* An order that was understood and refused as stale is no debt any more. */
	if (outcome == BUS_DONE || outcome == BUS_FAILED) {
		tell_settled(debt, outcome, reply);
		coordinator->debts_settled++;
		remove_debt(debt);
		shut_down_when_done(coordinator);
	}
}

static void pay(struct debt *debt)
{
	if (debt->request)
		return;
	if (debt->line)
		debt->request = orders_deregister(debt->coordinator, debt->line, debt_replied,
		                                  debt);
	else
		debt->request = orders_send_release(debt->coordinator, debt->tunnel, debt->attempt,
		                                    debt->call_id, "owed since the release",
		                                    debt->step, debt_replied, debt);
}

void debts_due(void *context)
{
	struct coordinator *coordinator = context;

	for (struct debt *debt = coordinator->debts; debt; debt = debt->next)
		pay(debt);
	if (coordinator->debts)
		bus_timer_start(coordinator->debt_timer, DEBT_INTERVAL_MSEC);
}

static struct debt *new_debt(struct coordinator *coordinator)
{
	struct debt *debt = calloc(1, sizeof(*debt));

	if (!debt) {
		log_line(LOG_ERR, "out of memory");
		abort();
	}
	debt->coordinator = coordinator;
	return debt;
}

static void begin(struct debt *debt)
{
	struct coordinator *coordinator = debt->coordinator;

	debt->next = coordinator->debts;
	coordinator->debts = debt;
	coordinator->debts_owed++;
	pay(debt);
	bus_timer_start(coordinator->debt_timer, DEBT_INTERVAL_MSEC);
}

void debts_add(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
               const char *call_id, enum step step)
{
	struct debt *debt;

	for (debt = coordinator->debts; debt; debt = debt->next)
		if (!debt->line && debt->attempt == attempt && debt->step == step &&
		    !strcmp(debt->tunnel, tunnel) && !strcmp(debt->call_id, call_id))
			return;
	debt = new_debt(coordinator);
	snprintf(debt->tunnel, sizeof(debt->tunnel), "%s", tunnel);
	snprintf(debt->call_id, sizeof(debt->call_id), "%s", call_id);
	debt->attempt = attempt;
	debt->step = step;
	begin(debt);
}

static struct debt *find_of_line(struct coordinator *coordinator, const struct line *line)
{
	struct debt *debt = coordinator->debts;

	while (debt && debt->line != line)
		debt = debt->next;
	return debt;
}

void debts_add_line(struct coordinator *coordinator, const struct line *line)
{
	struct debt *debt;

	if (find_of_line(coordinator, line))
		return;
	debt = new_debt(coordinator);
	debt->line = line;
	begin(debt);
}

void debts_forget_line(struct coordinator *coordinator, const struct line *line)
{
	struct debt *debt = find_of_line(coordinator, line);

	if (!debt)
		return;
	if (debt->request)
		bus_cancel(coordinator->service->bus, debt->request);
	remove_debt(debt);
}

void debts_free(struct coordinator *coordinator)
{
	while (coordinator->debts) {
		bus_cancel(coordinator->service->bus, coordinator->debts->request);
		remove_debt(coordinator->debts);
	}
}
