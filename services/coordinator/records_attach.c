/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The call records beside the core: what they tell it, and their timer. */
#include "services/common/log.h"
#include "services/coordinator/coordinator.h"
#include "services/coordinator/records.h"
#include "services/coordinator/restore.h"

static uint64_t wall_usec(void *context)
{
	return bus_wall_usec(((struct coordinator *)context)->service->bus);
}

static uint64_t mono_usec(void *context)
{
	return bus_mono_usec(((struct coordinator *)context)->service->bus);
}

static void obstructed(void *context, const char *why)
{
	core_bar_calls(((struct coordinator *)context)->core, why);
}

static void restore_holddown(void *context, const struct record_holddown *holddown)
{
	struct coordinator *coordinator = context;
	uint64_t now_usec = wall_usec(coordinator);
	uint64_t remaining_usec = holddown->until_usec > now_usec ? holddown->until_usec - now_usec
	                                                          : 0;

	core_restore_holddown(coordinator->core, holddown->tunnel, holddown->next_msec,
	                      remaining_usec / 1000, holddown->cause);
}

static void restore_call(void *context, const char *tunnel, uint64_t age_usec)
{
	core_restore_call(((struct coordinator *)context)->core, tunnel, age_usec);
}

/* An attempt's number is its record's for ever, also when the file of the numbers was lost. */
static void readable(void *context, struct records *records)
{
	struct coordinator *coordinator = context;

	attempts_skip(&coordinator->attempts, records_last_attempt(records));
	records_give_recent_calls(records, restore_call, coordinator);
	records_give_holddowns(records, restore_holddown, coordinator);
}

static void tick(void *context)
{
	struct coordinator *coordinator = context;

	records_tick(coordinator->records);
	bus_timer_start(coordinator->records_timer, RECORDS_TICK_MSEC);
}

int records_attach(struct coordinator *coordinator)
{
	const struct records_options options = {
		.folder = coordinator->service->state_directory,
		.keep_days = coordinator->service->config->call_records_days,
		.wall_usec = wall_usec,
		.mono_usec = mono_usec,
		.obstructed = obstructed,
		.readable = readable,
		.context = coordinator,
	};

	coordinator->records_timer = bus_timer_new(coordinator->service->bus, "records", tick,
	                                           coordinator);
	coordinator->records = records_create(&options);
	if (!coordinator->records_timer || !coordinator->records) {
		log_line(LOG_ERR, "out of memory");
		return -1;
	}
	bus_timer_start(coordinator->records_timer, RECORDS_TICK_MSEC);
	return 0;
}

void records_detach(struct coordinator *coordinator)
{
	records_destroy(coordinator->records);
	bus_timer_free(coordinator->records_timer);
}
