/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the call records give back: to the core at start, to the operator. */
#include <stdlib.h>

#include "services/coordinator/records.h"
#include "services/coordinator/records_internal.h"

#define HOUR_USEC     3600000000ull
#define DEFAULT_LIMIT 1000
#define MOST_ROWS     10000
#define MOST_OCTETS   3000000 /* a message of the bus is at most 4 MiB */

void records_give_holddowns(struct records *records, records_holddown_fn *restored, void *context)
{
	for (struct records_held *held = records ? records->held : NULL; held; held = held->hh.next)
		restored(context, &held->holddown);
}

struct recent {
	records_call_fn *restored;
	void *context;
	uint64_t now_usec;
};

static bool give_age(void *context, const struct record *record)
{
	const struct recent *recent = context;

	if (record->started_at_usec <= recent->now_usec)
		recent->restored(recent->context, record->tunnel,
		                 recent->now_usec - record->started_at_usec);
	return true;
}

void records_give_recent_calls(struct records *records, records_call_fn *restored, void *context)
{
	struct recent recent = {restored, context, 0};

	if (!records || !records->store)
		return;
	recent.now_usec = records->options.wall_usec(records->options.context);
	if (records_store_own_calls(records->store, recent.now_usec - HOUR_USEC, give_age,
	                            &recent) != 0)
		records_store_failed(records, records_store_error(records->store));
}

uint64_t records_last_attempt(struct records *records)
{
	uint64_t attempt = 0;

	if (records && records->store && records_store_last(records->store, &attempt) != 0)
		records_store_failed(records, records_store_error(records->store));
	return attempt;
}

/** An answer while it is collected. */
struct answer {
	Vpnsip__CallRecordList list;
	struct record *records;
	Vpnsip__CallRecord *messages;
	size_t limit, octets;
};

static bool collect(void *context, const struct record *record)
{
	struct answer *answer = context;
	size_t i = answer->list.n_records;

	if (i == answer->limit || answer->octets > MOST_OCTETS) {
		answer->list.has_more = true;
		return false;
	}
	answer->records[i] = *record;
	record_to_message(&answer->records[i], &answer->messages[i]);
	answer->list.records[i] = &answer->messages[i];
	answer->list.n_records++;
	answer->octets += vpnsip__call_record__get_packed_size(&answer->messages[i]) + 4;
	return true;
}

void records_answer(struct records *records, struct bus_request *request,
                    const Vpnsip__GetCallRecords *query)
{
	struct answer answer = {.list = VPNSIP__CALL_RECORD_LIST__INIT};

	if (!records || !records_flush(records, true)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s",
		         records ? records->obstacle : "no call records are kept");
		return;
	}
	answer.limit = query->limit && query->limit < MOST_ROWS ? query->limit : DEFAULT_LIMIT;
	answer.records = calloc(answer.limit, sizeof(*answer.records));
	answer.messages = calloc(answer.limit, sizeof(*answer.messages));
	answer.list.records = calloc(answer.limit, sizeof(Vpnsip__CallRecord *));
	if (!answer.records || !answer.messages || !answer.list.records) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
	} else if (records_store_select(records->store, query, (uint32_t)answer.limit, collect,
	                                &answer) != 0) {
		records_store_failed(records, records_store_error(records->store));
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s", records->obstacle);
	} else {
		bus_reply(request, &answer.list.base);
	}
	free(answer.records);
	free(answer.messages);
	free(answer.list.records);
}

void records_describe(const struct records *records, struct bus_description *description)
{
	size_t running = 0, remembered = 0;

	if (!records)
		return;
	for (const struct records_entry *entry = records->entries; entry; entry = entry->hh.next) {
		const struct record *record = &entry->record;

		bus_describe(description, "call record %llu %s %s: end %d, answered %llu, %s",
		             (unsigned long long)record->attempt, record->tunnel,
		             record->remote_number, (int)record->end,
		             (unsigned long long)record->answered_at_usec,
		             record->is_changed ? "to be written" : "written");
		running += record->end == VPNSIP__RECORD_END__RECORD_RUNNING;
		remembered++;
	}
	if (records->obstacle[0])
		bus_describe(description, "%s", records->obstacle);
	bus_describe_counter(description, "records.running", running);
	bus_describe_counter(description, "records.remembered", remembered);
	bus_describe_counter(description, "records.writes", records->writes);
	bus_describe_counter(description, "records.failures", records->failures);
	bus_describe_counter(description, "records.dropped", records->dropped);
	bus_describe_counter(description, "records.longest_write_usec",
	                     records->longest_write_usec);
}
