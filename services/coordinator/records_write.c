/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What changed in the call records goes to the disk. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "services/common/log.h"
#include "services/coordinator/records_internal.h"

/* While the file cannot be written, so many finished records are kept for it, the newest. */
#define UNWRITTEN_MAXIMUM 1000

struct record_time records_time(const struct records *records)
{
	const struct records_options *options = &records->options;

	return (struct record_time){options->wall_usec(options->context),
	                            options->mono_usec(options->context)};
}

void *records_allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory) {
		log_line(LOG_ERR, "out of memory");
		abort();
	}
	return memory;
}

static void list_unwritten(struct records *records, struct records_entry *entry)
{
	if (entry->is_unwritten)
		return;
	entry->is_unwritten = true;
	LL_PREPEND(records->unwritten, entry);
}

static void forget_call_id(struct records *records, struct records_entry *entry)
{
	if (entry->call_id)
		HASH_DELETE(by_call, records->by_call, entry);
	free(entry->call_id);
	entry->call_id = NULL;
}

static void index_by_call(struct records *records, struct records_entry *entry)
{
	const char *call_id = entry->record.call_id;

	if (strcmp(entry->call_id ? entry->call_id : "", call_id) == 0)
		return;
	forget_call_id(records, entry);
	entry->call_id = records_allocate(strlen(call_id) + 1);
	memcpy(entry->call_id, call_id, strlen(call_id));
	HASH_ADD_KEYPTR(by_call, records->by_call, entry->call_id, strlen(call_id), entry);
}

void records_entry_changed(struct records *records, struct records_entry *entry)
{
	index_by_call(records, entry);
	if (entry->record.is_changed)
		list_unwritten(records, entry);
}

void records_drop_entry(struct records *records, struct records_entry *entry)
{
	if (entry->is_unwritten)
		LL_DELETE(records->unwritten, entry);
	forget_call_id(records, entry);
	HASH_DEL(records->entries, entry);
	free(entry);
}

void records_held_changed(struct records *records, struct records_held *held)
{
	if (held->is_changed)
		return;
	held->is_changed = true;
	LL_PREPEND(records->unwritten_held, held);
}

void records_store_failed(struct records *records, const char *why)
{
	char obstacle[sizeof(records->obstacle)];

	records->failures++;
	snprintf(obstacle, sizeof(obstacle), "the call records cannot be kept: %s", why);
	records_store_close(records->store);
	records->store = NULL;
	if (!strcmp(obstacle, records->obstacle))
		return;
	snprintf(records->obstacle, sizeof(records->obstacle), "%s", obstacle);
	log_line(LOG_ERR, "%s; no calls are placed until they can", obstacle);
	records->options.obstructed(records->options.context, records->obstacle);
}

static void list_new_totals(struct records *records)
{
	for (struct records_entry *entry = records->entries; entry; entry = entry->hh.next)
		if (entry->record.has_new_totals)
			list_unwritten(records, entry);
}

static void mark_written(struct records *records)
{
	struct records_entry *entry, *next;
	struct records_held *held, *next_held;

	LL_FOREACH_SAFE (records->unwritten, entry, next) {
		entry->record.is_changed = entry->record.has_new_totals = false;
		entry->is_unwritten = false;
		entry->is_stored = true;
	}
	LL_FOREACH_SAFE (records->unwritten_held, held, next_held)
		held->is_changed = false;
	records->unwritten = NULL;
	records->unwritten_held = NULL;
}

static int write_unwritten(struct records *records)
{
	const struct record_holddown **holddowns;
	const struct records_entry *entry;
	const struct records_held *held;
	size_t count, holddown_count, row = 0, holddown = 0;
	const struct record **rows;
	enum records_durability durability = OUTLIVES_PROCESS;
	int result;

	LL_COUNT(records->unwritten, entry, count);
	LL_COUNT(records->unwritten_held, held, holddown_count);
	rows = records_allocate((count + 1) * sizeof(*rows));
	holddowns = records_allocate((holddown_count + 1) * sizeof(*holddowns));
	LL_FOREACH (records->unwritten, entry) {
		rows[row++] = &entry->record;
		/* A call that begins. What becomes of it sip-agent's own records tell again after a loss of power. */
		if (!entry->is_stored)
			durability = OUTLIVES_POWER;
	}
	LL_FOREACH (records->unwritten_held, held)
		holddowns[holddown++] = &held->holddown;
	result = records_store_write(records->store, rows, row, holddowns, holddown, durability);
	free(rows);
	free(holddowns);
	return result;
}

/* Finished, and not in the file: what runs is kept, there are no more of it than sessions. */
static bool is_waiting_to_be_written(const struct records_entry *entry)
{
	return entry->record.is_changed && !entry->record.is_held &&
	       entry->record.end != VPNSIP__RECORD_END__RECORD_RUNNING;
}

static void drop_oldest_unwritten(struct records *records)
{
	struct records_entry *entry, *next;
	size_t count = 0;

	LL_FOREACH (records->unwritten, entry)
		count += is_waiting_to_be_written(entry);
	if (count <= UNWRITTEN_MAXIMUM)
		return;
	HASH_ITER (hh, records->entries, entry, next) {
		if (count == UNWRITTEN_MAXIMUM)
			break;
		if (!is_waiting_to_be_written(entry))
			continue;
		records_drop_entry(records, entry);
		count--;
		records->dropped++;
	}
	if (!records->is_dropping)
		log_line(LOG_ERR,
		         "more than %d call records cannot be written: the oldest are lost",
		         UNWRITTEN_MAXIMUM);
	records->is_dropping = true;
}

bool records_flush(struct records *records, bool with_counters)
{
	uint64_t began_usec, took_usec;

	if (with_counters)
		list_new_totals(records);
	if (!records->store) {
		drop_oldest_unwritten(records);
		return false;
	}
	if (records->unwritten || records->unwritten_held) {
		began_usec = records_time(records).mono_usec;
		if (write_unwritten(records) != 0) {
			records_store_failed(records, records_store_error(records->store));
			return false;
		}
		took_usec = records_time(records).mono_usec - began_usec;
		records->writes++;
		if (took_usec > records->longest_write_usec)
			records->longest_write_usec = took_usec;
	}
	records->is_dropping = false;
	mark_written(records);
	return true;
}
