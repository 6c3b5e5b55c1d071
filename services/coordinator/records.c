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

static struct records_entry *add_entry(struct records *records, const struct record *record)
{
	struct records_entry *entry = records_allocate(sizeof(*entry));

	entry->record = *record;
	HASH_ADD(hh, records->entries, record.attempt, sizeof(entry->record.attempt), entry);
	records_entry_changed(records, entry);
	return entry;
}

/* One that was read from the file. */
static struct records_entry *add_stored(struct records *records, struct record *record)
{
	struct records_entry *entry;

	record->opened_mono_usec = records_time(records).mono_usec;
	entry = add_entry(records, record);
	entry->is_stored = true;
	return entry;
}

static struct records_entry *find_in_memory(struct records *records, uint64_t attempt)
{
	struct records_entry *entry;

	HASH_FIND(hh, records->entries, &attempt, sizeof(attempt), entry);
	return entry;
}

/* Also what was finished and forgotten: late reports come. */
static struct records_entry *find(struct records *records, uint64_t attempt)
{
	struct records_entry *known = attempt ? find_in_memory(records, attempt) : NULL;
	struct record stored;
	int found;

	if (known || !attempt || !records->store)
		return known;
	found = records_store_get(records->store, attempt, &stored);
	if (found < 0)
		records_store_failed(records, records_store_error(records->store));
	if (found != 1)
		return NULL;
	return add_stored(records, &stored);
}

static struct records_entry *find_by_call(struct records *records, const char *call_id)
{
	struct records_entry *entry;

	HASH_FIND(by_call, records->by_call, call_id, strlen(call_id), entry);
	return entry;
}

static struct records_entry *find_or_begin(struct records *records, uint64_t attempt,
                                           const char *tunnel)
{
	struct records_entry *entry = find(records, attempt);
	struct record_time now = records_time(records);
	struct record begun;

	if (entry)
		return entry;
	record_begin(&begun, attempt, tunnel, &now);
	return add_entry(records, &begun);
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
	struct records_entry *entry, *next;
	uint64_t now_usec = records_time(records).mono_usec;

	HASH_ITER (hh, records->entries, entry, next)
		if (is_forgettable(entry, now_usec))
			records_drop_entry(records, entry);
}

static bool take_running(void *context, const struct record *record)
{
	struct records *records = context;
	struct record stored = *record;

	if (!find_in_memory(records, record->attempt))
		add_stored(records, &stored);
	return true;
}

static struct records_tunnel *tunnel_of(struct records *records, const char *name)
{
	struct records_tunnel *tunnel;

	HASH_FIND_STR(records->tunnels, name, tunnel);
	if (!tunnel) {
		tunnel = records_allocate(sizeof(*tunnel));
		snprintf(tunnel->name, sizeof(tunnel->name), "%s", name);
		HASH_ADD_STR(records->tunnels, name, tunnel);
	}
	return tunnel;
}

static void begin_counting(struct records_tunnel *tunnel, const struct record_traffic *totals,
                           uint64_t attempt)
{
	tunnel->is_counting = true;
	tunnel->totals = *totals;
	tunnel->attempt = attempt;
}

/* What runs on goes on counting from the totals that were written last. */
static void resume_counting(struct records *records)
{
	struct records_entry *newest = records->entries
	                                       ? ELMT_FROM_HH(records->entries->hh.tbl,
	                                                      records->entries->hh.tbl->tail)
	                                       : NULL;

	for (struct records_entry *entry = newest; entry; entry = entry->hh.prev) {
		struct records_tunnel *tunnel = tunnel_of(records, entry->record.tunnel);

		if (!tunnel->is_counting)
			begin_counting(tunnel, &entry->record.totals, entry->record.attempt);
	}
}

static struct records_held *find_held(struct records *records, const char *tunnel)
{
	struct records_held *held;

	HASH_FIND_STR(records->held, tunnel, held);
	return held;
}

static struct records_held *add_held(struct records *records, const char *tunnel)
{
	struct records_held *held = records_allocate(sizeof(*held));

	snprintf(held->holddown.tunnel, sizeof(held->holddown.tunnel), "%s", tunnel);
	HASH_ADD_KEYPTR(hh, records->held, held->holddown.tunnel, strlen(held->holddown.tunnel),
	                held);
	return held;
}

static void take_holddown(void *context, const struct record_holddown *holddown)
{
	struct records *records = context;

	struct records_held *held;

	if (find_held(records, holddown->tunnel))
		return;
	held = add_held(records, holddown->tunnel);
	held->holddown.until_usec = holddown->until_usec;
	held->holddown.next_msec = holddown->next_msec;
	memcpy(held->holddown.cause, holddown->cause, sizeof(held->holddown.cause));
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
	for (struct records_entry *entry = records->entries; entry; entry = entry->hh.next) {
		entry->record.is_changed = true;
		entry->is_stored = false;
		records_entry_changed(records, entry);
	}
	for (struct records_held *held = records->held; held; held = held->hh.next)
		records_held_changed(records, held);
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
	records->flushed_mono_usec = records_time(records).mono_usec;
	try_to_open(records);
	return records;
}

void records_destroy(struct records *records)
{
	struct records_entry *entry, *next;
	struct records_tunnel *tunnel, *next_tunnel;
	struct records_held *held, *next_held;

	if (!records)
		return;
	records_flush(records, true);
	records_store_close(records->store);
	HASH_ITER (hh, records->entries, entry, next)
		records_drop_entry(records, entry);
	HASH_ITER (hh, records->tunnels, tunnel, next_tunnel) {
		HASH_DEL(records->tunnels, tunnel);
		free(tunnel);
	}
	HASH_ITER (hh, records->held, held, next_held) {
		HASH_DEL(records->held, held);
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
	now = records_time(records);
	with_counters = now.mono_usec - records->flushed_mono_usec >= COUNTERS_USEC;
	if (!records->store)
		try_to_open(records);
	if (!records->store || !records_flush(records, with_counters))
		return;
	forget_finished(records);
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
	records_held_changed(records, held);
}

/* The session has another attempt now, or none. */
static void leave_attempt(struct records *records, struct records_tunnel *tunnel)
{
	struct records_entry *left = tunnel->held_attempt
	                                     ? find_in_memory(records, tunnel->held_attempt)
	                                     : NULL;

	if (left) {
		record_leave_session(&left->record);
		records_entry_changed(records, left);
	}
}

void records_session_changed(struct records *records, const struct session *session)
{
	struct records_tunnel *tunnel;
	struct records_entry *entry;
	struct record_time now;

	if (!records)
		return;
	now = records_time(records);
	tunnel = tunnel_of(records, session->peer->tunnel);
	if (tunnel->held_attempt != session->attempt)
		leave_attempt(records, tunnel);
	tunnel->held_attempt = session->attempt;
	if (session->attempt) {
		entry = find_or_begin(records, session->attempt, session->peer->tunnel);
		record_follow_session(&entry->record, session, &now);
		records_entry_changed(records, entry);
	}
	follow_holddown(records, session, &now);
	records_flush(records, false);
}

/* NULL when no record is of this call. */
static struct records_entry *follow_call(struct records *records, const Vpnsip__CallChanged *call,
                                         bool is_event)
{
	struct records_entry *entry;
	struct record_time now = records_time(records);

	entry = call->attempt ? find(records, call->attempt) : find_by_call(records, call->call_id);
	/* After the file was lost, what runs on is written down again. */
	if (!entry && !is_event && call->attempt && call->tunnel[0] &&
	    call->status != VPNSIP__CALL_STATUS__CALL_ENDED)
		entry = find_or_begin(records, call->attempt, call->tunnel);
	if (!entry)
		return NULL;
	record_follow_call(&entry->record, call, is_event, &now);
	records_entry_changed(records, entry);
	return entry;
}

void records_call_changed(struct records *records, const Vpnsip__CallChanged *call)
{
	if (!records)
		return;
	follow_call(records, call, true);
	records_flush(records, false);
}

static void note_told(struct records *records, struct records_entry *entry)
{
	if (entry)
		entry->told_in_snapshot = records->snapshots;
}

/* Whether its attempt is in the snapshot, or its Call-ID: a call that was offered to us has no attempt yet. */
static void follow_told(struct records *records, const Vpnsip__CallChanged *call)
{
	note_told(records, follow_call(records, call, false));
	note_told(records, find_by_call(records, call->call_id));
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
	now = records_time(records);
	records->snapshots++;
	for (size_t i = 0; i < snapshot->n_calls; i++)
		follow_told(records, snapshot->calls[i]);
	for (struct records_entry *entry = records->entries; entry; entry = entry->hh.next) {
		if (entry->told_in_snapshot == records->snapshots ||
		    may_be_missing(&entry->record, &now))
			continue;
		record_settle(&entry->record, &now);
		records_entry_changed(records, entry);
	}
	records_flush(records, false);
}

void records_ike_changed(struct records *records, const Vpnsip__IkeChanged *ike)
{
	struct records_entry *entry;

	if (!records || ike->status != VPNSIP__IKE_STATUS__IKE_FAILED || !ike->cause[0])
		return;
	entry = find(records, ike->attempt);
	if (!entry)
		return;
	record_explain(&entry->record, ike->cause);
	records_entry_changed(records, entry);
	records_flush(records, false);
}

void records_tunnel_changed(struct records *records, const Vpnsip__TunnelChanged *tunnel)
{
	const struct record_traffic totals = {tunnel->packets_in, tunnel->bytes_in,
	                                      tunnel->packets_out, tunnel->bytes_out};
	struct record_traffic more;
	struct records_tunnel *known;
	struct records_entry *entry;
	uint64_t attempt;

	if (!records)
		return;
	known = tunnel_of(records, tunnel->tunnel);
	if (!known->is_counting) {
		begin_counting(known, &totals, tunnel->attempt);
		return;
	}
	more = record_traffic_between(&known->totals, &totals);
	/* The last packets of a session are in the report that says that its peer is gone. */
	attempt = tunnel->attempt ? tunnel->attempt : known->attempt;
	known->totals = totals;
	known->attempt = tunnel->attempt;
	if (!attempt || !(more.packets_in || more.packets_out))
		return;
	entry = find(records, attempt);
	if (!entry)
		return;
	record_add_traffic(&entry->record, &more, &totals);
	records_entry_changed(records, entry);
	records_flush(records, false);
}

void records_refused(struct records *records, uint64_t attempt)
{
	struct records_entry *entry = records ? find(records, attempt) : NULL;
	struct record_time now;

	if (!entry)
		return;
	now = records_time(records);
	record_refuse(&entry->record, &now);
	records_entry_changed(records, entry);
	records_flush(records, false);
}
