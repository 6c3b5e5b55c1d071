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

static void debt_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct debt *debt = context;
	struct coordinator *coordinator = debt->coordinator;

	debt->request = 0;
	/* An order that was understood and refused as stale is no debt any more. */
	if (outcome == BUS_DONE || outcome == BUS_FAILED) {
		log_session(LOG_INFO, debt->tunnel, NULL, "attempt %llu: owed %s is settled%s%s",
		            (unsigned long long)debt->attempt, step_name(debt->step),
		            outcome == BUS_DONE ? "" : ": ", bus_cause(reply));
		coordinator->debts_settled++;
		remove_debt(debt);
		shut_down_when_done(coordinator);
	}
}

static void pay(struct debt *debt)
{
	if (!debt->request)
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

void debts_add(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
               const char *call_id, enum step step)
{
	struct debt *debt;

	for (debt = coordinator->debts; debt; debt = debt->next)
		if (debt->attempt == attempt && debt->step == step &&
		    !strcmp(debt->tunnel, tunnel) && !strcmp(debt->call_id, call_id))
			return;
	debt = calloc(1, sizeof(*debt));
	if (!debt) {
		log_line(LOG_ERR, "out of memory");
		abort();
	}
	debt->coordinator = coordinator;
	snprintf(debt->tunnel, sizeof(debt->tunnel), "%s", tunnel);
	snprintf(debt->call_id, sizeof(debt->call_id), "%s", call_id);
	debt->attempt = attempt;
	debt->step = step;
	debt->next = coordinator->debts;
	coordinator->debts = debt;
	coordinator->debts_owed++;
	pay(debt);
	bus_timer_start(coordinator->debt_timer, DEBT_INTERVAL_MSEC);
}

void debts_free(struct coordinator *coordinator)
{
	while (coordinator->debts) {
		bus_cancel(coordinator->service->bus, coordinator->debts->request);
		remove_debt(coordinator->debts);
	}
}
