/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/records_internal.h"

/* Counters alone are no reason to write to a flash disk each second: tunnel-agent's totals make them good after a restart. */
#define COUNTERS_USEC 30000000ull
#define DAY_USEC      86400000000ull
/* A call that sip-agent was ordered to make while its snapshot was on its way is not missing in it. */
#define SETTLED_USEC  2000000ull

/* While the file cannot be written, so many finished records are kept for it, the newest. */
#define UNWRITTEN_MAXIMUM 1000

static struct record_time time_now(const struct records *records)
{
	const struct records_options *options = &records->options;

	return (struct record_time){options->wall_usec(options->context),
	                            options->mono_usec(options->context)};
}

static void *allocate(size_t size)
{
	void *memory = calloc(1, size);

	if (!memory) {
		log_line(LOG_ERR, "out of memory");
		abort();
	}
	return memory;
}

static struct records_entry *add_entry(struct records *records, const struct record *record)
{
	struct records_entry *entry = allocate(sizeof(*entry));

	entry->record = *record;
	entry->next = records->entries;
	records->entries = entry;
	return entry;
}

static struct record *find_in_memory(struct records *records, uint64_t attempt)
{
	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		if (entry->record.attempt == attempt)
			return &entry->record;
	return NULL;
}

/* Also what was finished and forgotten: late reports come. */
static struct record *find(struct records *records, uint64_t attempt)
{
	struct record *known = attempt ? find_in_memory(records, attempt) : NULL;
	struct record stored;
	int found;

	if (known || !attempt || !records->store)
		return known;
	found = records_store_get(records->store, attempt, &stored);
	if (found < 0)
		records_store_failed(records, records_store_error(records->store));
	if (found != 1)
		return NULL;
	stored.opened_mono_usec = time_now(records).mono_usec;
	return &add_entry(records, &stored)->record;
}

static struct record *find_by_call(struct records *records, const char *call_id)
{
	for (struct records_entry *entry = records->entries; call_id[0] && entry;
	     entry = entry->next)
		if (!strcmp(entry->record.call_id, call_id))
			return &entry->record;
	return NULL;
}

static struct record *find_or_begin(struct records *records, uint64_t attempt, const char *tunnel)
{
	struct record *record = find(records, attempt);
	struct record_time now = time_now(records);
	struct record begun;

	if (record)
		return record;
	record_begin(&begun, attempt, tunnel, &now);
	return &add_entry(records, &begun)->record;
}

/* A record is kept for as long as sip-agent may say more of its call. */
static bool is_forgettable(struct records_entry *entry, uint64_t now_usec)
{
	if (!record_is_finished(&entry->record)) {
		entry->finished_mono_usec = 0;
		return false;
	}
	if (!entry->finished_mono_usec)
		entry->finished_mono_usec = now_usec;
	return now_usec - entry->finished_mono_usec > RECORD_REMEMBERED_USEC;
}

static void forget_finished(struct records *records)
{
	struct records_entry **link = &records->entries;
	uint64_t now_usec = time_now(records).mono_usec;

	while (*link) {
		struct records_entry *entry = *link;

		if (is_forgettable(entry, now_usec)) {
			*link = entry->next;
			free(entry);
		} else {
			link = &entry->next;
		}
	}
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

static size_t count_unwritten(const struct records *records, bool with_counters, size_t *holddowns)
{
	size_t count = 0;

	*holddowns = 0;
	for (const struct records_entry *entry = records->entries; entry; entry = entry->next)
		count += entry->record.is_changed ||
		         (with_counters && entry->record.has_new_totals);
	for (const struct records_held *held = records->held; held; held = held->next)
		*holddowns += held->is_changed;
	return count;
}

static void mark_written(struct records *records, bool with_counters)
{
	for (struct records_entry *entry = records->entries; entry; entry = entry->next) {
		if (entry->record.is_changed || with_counters)
			entry->record.has_new_totals = false;
		entry->record.is_changed = false;
	}
	for (struct records_held *held = records->held; held; held = held->next)
		held->is_changed = false;
}

static int write_unwritten(struct records *records, bool with_counters, size_t count,
                           size_t holddown_count)
{
	const struct record **rows = allocate((count + 1) * sizeof(*rows));
	const struct record_holddown **holddowns =
		allocate((holddown_count + 1) * sizeof(*holddowns));
	size_t row = 0, holddown = 0;
	int result;

	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		if (entry->record.is_changed || (with_counters && entry->record.has_new_totals))
			rows[row++] = &entry->record;
	for (struct records_held *held = records->held; held; held = held->next)
		if (held->is_changed)
			holddowns[holddown++] = &held->holddown;
	result = records_store_write(records->store, rows, row, holddowns, holddown);
	free(rows);
	free(holddowns);
	return result;
}

/* Entries are in the order of their beginning, the newest first. What runs is kept: there are no more of it than sessions. */
static void drop_oldest_unwritten(struct records *records)
{
	struct records_entry **link = &records->entries;
	size_t kept = 0;

	while (*link) {
		struct records_entry *entry = *link;
		bool is_running = entry->record.is_held ||
		                  entry->record.end == VPNSIP__RECORD_END__RECORD_RUNNING;

		if (is_running || !entry->record.is_changed || kept++ < UNWRITTEN_MAXIMUM) {
			link = &entry->next;
			continue;
		}
		*link = entry->next;
		free(entry);
		records->dropped++;
		if (!records->is_dropping)
			log_line(LOG_ERR,
			         "more than %d call records cannot be written: the oldest are lost",
			         UNWRITTEN_MAXIMUM);
		records->is_dropping = true;
	}
}

bool records_flush(struct records *records, bool with_counters)
{
	size_t holddowns, count = count_unwritten(records, with_counters, &holddowns);
	uint64_t began_usec = time_now(records).mono_usec, took_usec;

	if (!records->store) {
		drop_oldest_unwritten(records);
		return false;
	}
	if (count + holddowns && write_unwritten(records, with_counters, count, holddowns) != 0) {
		records_store_failed(records, records_store_error(records->store));
		return false;
	}
	if (count + holddowns) {
		took_usec = time_now(records).mono_usec - began_usec;
		records->writes++;
		if (took_usec > records->longest_write_usec)
			records->longest_write_usec = took_usec;
	}
	records->is_dropping = false;
	mark_written(records, with_counters);
	forget_finished(records);
	return true;
}

static bool take_running(void *context, const struct record *record)
{
	struct records *records = context;

	if (!find_in_memory(records, record->attempt))
		add_entry(records, record)->record.opened_mono_usec = time_now(records).mono_usec;
	return true;
}

static struct records_tunnel *find_tunnel(struct records *records, const char *name)
{
	for (struct records_tunnel *tunnel = records->tunnels; tunnel; tunnel = tunnel->next)
		if (!strcmp(tunnel->name, name))
			return tunnel;
	return NULL;
}

static struct records_tunnel *add_tunnel(struct records *records, const char *name,
                                         const struct record_traffic *totals, uint64_t attempt)
{
	struct records_tunnel *tunnel = allocate(sizeof(*tunnel));

	snprintf(tunnel->name, sizeof(tunnel->name), "%s", name);
	tunnel->totals = *totals;
	tunnel->attempt = attempt;
	tunnel->next = records->tunnels;
	records->tunnels = tunnel;
	return tunnel;
}

/* What runs on goes on counting from the totals that were written last. */
static void resume_counting(struct records *records)
{
	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		if (!find_tunnel(records, entry->record.tunnel))
			add_tunnel(records, entry->record.tunnel, &entry->record.totals,
			           entry->record.attempt);
}

static struct records_held *find_held(struct records *records, const char *tunnel)
{
	struct records_held *held = records->held;

	while (held && strcmp(held->holddown.tunnel, tunnel) != 0)
		held = held->next;
	return held;
}

static struct records_held *add_held(struct records *records, const char *tunnel)
{
	struct records_held *held = allocate(sizeof(*held));

	snprintf(held->holddown.tunnel, sizeof(held->holddown.tunnel), "%s", tunnel);
	held->next = records->held;
	records->held = held;
	return held;
}

static void take_holddown(void *context, const struct record_holddown *holddown)
{
	struct records *records = context;

	if (!find_held(records, holddown->tunnel))
		add_held(records, holddown->tunnel)->holddown = *holddown;
}

/* What an earlier process left. */
static int read_left(struct records *records)
{
	if (records_store_running(records->store, take_running, records) != 0 ||
	    records_store_holddowns(records->store, take_holddown, records) != 0)
		return -1;
	records->was_readable = true;
	resume_counting(records);
	records->options.readable(records->options.context, records);
	return 0;
}

/* Into a file that is new, because the old one was damaged, goes all that runs. */
static void write_all_anew(struct records *records)
{
	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		entry->record.is_changed = true;
	for (struct records_held *held = records->held; held; held = held->next)
		held->is_changed = true;
}

static void try_to_open(struct records *records)
{
	char why[PATH_MAX + 256];

	records->store = records_store_open(records->file, why, sizeof(why));
	if (!records->store) {
		records_store_failed(records, why);
		return;
	}
	if (records->was_readable) {
		write_all_anew(records);
	} else if (read_left(records) != 0) {
		records_store_failed(records, records_store_error(records->store));
		return;
	}
	if (records->store && records_flush(records, true) && records->obstacle[0]) {
		records->obstacle[0] = '\0';
		log_line(LOG_NOTICE, "the call records can be kept again: %s", records->file);
		records->options.obstructed(records->options.context, NULL);
	}
}

struct records *records_create(const struct records_options *options)
{
	struct records *records = calloc(1, sizeof(*records));

	if (!records)
		return NULL;
	records->options = *options;
	snprintf(records->file, sizeof(records->file), "%s/calls.db", options->folder);
	records->flushed_mono_usec = time_now(records).mono_usec;
	try_to_open(records);
	return records;
}

void records_destroy(struct records *records)
{
	if (!records)
		return;
	records_flush(records, true);
	records_store_close(records->store);
	while (records->entries) {
		struct records_entry *entry = records->entries;

		records->entries = entry->next;
		free(entry);
	}
	while (records->tunnels) {
		struct records_tunnel *tunnel = records->tunnels;

		records->tunnels = tunnel->next;
		free(tunnel);
	}
	while (records->held) {
		struct records_held *held = records->held;

		records->held = held->next;
		free(held);
	}
	free(records);
}

static void prune(struct records *records, const struct record_time *now)
{
	uint64_t keep_usec = records->options.keep_days * DAY_USEC;

	if (records->pruned_mono_usec && now->mono_usec - records->pruned_mono_usec < DAY_USEC)
		return;
	records->pruned_mono_usec = now->mono_usec;
	if (now->wall_usec > keep_usec &&
	    records_store_prune(records->store, now->wall_usec - keep_usec) != 0)
		records_store_failed(records, records_store_error(records->store));
}

void records_tick(struct records *records)
{
	struct record_time now;
	bool with_counters;

	if (!records)
		return;
	now = time_now(records);
	with_counters = now.mono_usec - records->flushed_mono_usec >= COUNTERS_USEC;
	if (!records->store)
		try_to_open(records);
	if (!records->store || !records_flush(records, with_counters))
		return;
	if (with_counters)
		records->flushed_mono_usec = now.mono_usec;
	prune(records, &now);
}

static void follow_holddown(struct records *records, const struct session *session,
                            const struct record_time *now)
{
	/* One that was restored waits until the session is known to rest. */
	bool is_over = session->attempt || session->state == SESSION_READY ||
	               session->holddown_until_usec <= now->mono_usec;
	uint64_t until_usec = is_over ? 0 : session->holddown_until_usec;
	struct records_held *held = find_held(records, session->peer->tunnel);

	if (!held && !until_usec && !session->holddown_msec)
		return;
	if (!held) {
		held = add_held(records, session->peer->tunnel);
	} else if (held->until_mono_usec == until_usec &&
	           held->holddown.next_msec == session->holddown_msec) {
		return;
	}
	held->until_mono_usec = until_usec;
	held->holddown.until_usec = until_usec ? now->wall_usec + (until_usec - now->mono_usec) : 0;
	held->holddown.next_msec = session->holddown_msec;
	snprintf(held->holddown.cause, sizeof(held->holddown.cause), "%s", session->cause);
	held->is_changed = true;
}

void records_session_changed(struct records *records, const struct session *session)
{
	struct record_time now;

	if (!records)
		return;
	now = time_now(records);
	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		if (entry->record.is_held && entry->record.attempt != session->attempt &&
		    !strcmp(entry->record.tunnel, session->peer->tunnel))
			record_leave_session(&entry->record);
	if (session->attempt)
		record_follow_session(
			find_or_begin(records, session->attempt, session->peer->tunnel), session,
			&now);
	follow_holddown(records, session, &now);
	records_flush(records, false);
}

static void follow_call(struct records *records, const Vpnsip__CallChanged *call, bool is_event)
{
	struct record_time now;
	struct record *record;

	if (!records)
		return;
	now = time_now(records);
	record = call->attempt ? find(records, call->attempt)
	                       : find_by_call(records, call->call_id);
	/* After the file was lost, what runs on is written down again. */
	if (!record && !is_event && call->attempt && call->tunnel[0] &&
	    call->status != VPNSIP__CALL_STATUS__CALL_ENDED)
		record = find_or_begin(records, call->attempt, call->tunnel);
	if (!record)
		return;
	record_follow_call(record, call, is_event, &now);
	records_flush(records, false);
}

void records_call_changed(struct records *records, const Vpnsip__CallChanged *call)
{
	follow_call(records, call, true);
}

static bool is_in(const Vpnsip__SipSnapshot *snapshot, const struct record *record)
{
	for (size_t i = 0; i < snapshot->n_calls; i++) {
		const Vpnsip__CallChanged *call = snapshot->calls[i];

		if (call->attempt == record->attempt ||
		    (record->call_id[0] && !strcmp(call->call_id, record->call_id)))
			return true;
	}
	return false;
}

/* Before anything was ordered of sip-agent it cannot know the call; a session that is being prepared has time. */
static bool may_be_missing(const struct record *record, const struct record_time *now)
{
	return now->mono_usec - record->opened_mono_usec < SETTLED_USEC && record->is_held;
}

void records_sip_snapshot(struct records *records, const Vpnsip__SipSnapshot *snapshot)
{
	struct record_time now;

	if (!records)
		return;
	now = time_now(records);
	for (size_t i = 0; i < snapshot->n_calls; i++)
		follow_call(records, snapshot->calls[i], false);
	for (struct records_entry *entry = records->entries; entry; entry = entry->next)
		if (!is_in(snapshot, &entry->record) && !may_be_missing(&entry->record, &now))
			record_settle(&entry->record, &now);
	records_flush(records, false);
}

void records_ike_changed(struct records *records, const Vpnsip__IkeChanged *ike)
{
	struct record *record;

	if (!records || ike->status != VPNSIP__IKE_STATUS__IKE_FAILED || !ike->cause[0])
		return;
	record = find(records, ike->attempt);
	if (!record)
		return;
	record_explain(record, ike->cause);
	records_flush(records, false);
}

void records_tunnel_changed(struct records *records, const Vpnsip__TunnelChanged *tunnel)
{
	const struct record_traffic totals = {tunnel->packets_in, tunnel->bytes_in,
	                                      tunnel->packets_out, tunnel->bytes_out};
	struct record_traffic more;
	struct records_tunnel *known;
	struct record *record;
	uint64_t attempt;

	if (!records)
		return;
	known = find_tunnel(records, tunnel->tunnel);
	if (!known) {
		add_tunnel(records, tunnel->tunnel, &totals, tunnel->attempt);
		return;
	}
	more = record_traffic_between(&known->totals, &totals);
	/* The last packets of a session are in the report that says that its peer is gone. */
	attempt = tunnel->attempt ? tunnel->attempt : known->attempt;
	known->totals = totals;
	known->attempt = tunnel->attempt;
	if (!attempt || !(more.packets_in || more.packets_out))
		return;
	record = find(records, attempt);
	if (!record)
		return;
	record_add_traffic(record, &more, &totals);
	records_flush(records, false);
}

void records_refused(struct records *records, uint64_t attempt)
{
	struct record *record = records ? find(records, attempt) : NULL;
	struct record_time now;

	if (!record)
		return;
	now = time_now(records);
	record_refuse(record, &now);
	records_flush(records, false);
}
