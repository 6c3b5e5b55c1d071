/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The file of the call records: sqlite with a write-ahead log, one row an attempt. Every write is one transaction, which a kill of this
 * process does not undo once the function has returned. There are about seven in a call; the one that must outlive a loss of power too
 * waits for the disk, a fraction of a millisecond on one with a cache of its own (`debug vpnsip-coordinator stats`:
 * records.longest_write_usec), so they are made on the event loop. One thread.
 */
#ifndef VPNSIP_COORDINATOR_RECORDS_STORE_H
#define VPNSIP_COORDINATOR_RECORDS_STORE_H

#include <stddef.h>

#include "services/coordinator/records_row.h"

struct records_store;

/** The hold-down of a session as it stood last. */
struct record_holddown {
	char tunnel[RECORD_TUNNEL_SIZE];
	uint64_t until_usec; /* wall; 0 = none runs */
	uint32_t next_msec;  /* the next one's length; 0 = the first */
	char cause[CAUSE_SIZE];
};

/** Called for each row; returns false to stop. */
typedef bool records_row_fn(void *context, const struct record *record);
typedef void records_holddown_fn(void *context, const struct record_holddown *holddown);

/**
 * Opens or creates the file. One that is no database, is damaged or of another version is renamed to FILE.damaged-TIME, logged,
 * and a new one begun. NULL and a sentence naming file and reason in `why` when it cannot be read or written.
 */
struct records_store *records_store_open(const char *file, char *why, size_t why_size);

/** NULL is allowed. */
void records_store_close(struct records_store *store);

/* The following return 0, or -1: records_store_error() tells why, and the store must be closed and opened again. */

/** What has been written outlives the end of this process; or a loss of power too, with all that was written before. */
enum records_durability { OUTLIVES_PROCESS, OUTLIVES_POWER };

/** Writes rows and hold-downs, all or none. */
int records_store_write(struct records_store *store, const struct record *const *records,
                        size_t count, const struct record_holddown *const *holddowns,
                        size_t holddown_count, enum records_durability durability);

/** 1 when there is one, 0 when not. */
int records_store_get(struct records_store *store, uint64_t attempt, struct record *record);

/** The rows that are RUNNING. */
int records_store_running(struct records_store *store, records_row_fn *row, void *context);

/** Own calls started since, the oldest first, without those that came to no INVITE. */
int records_store_own_calls(struct records_store *store, uint64_t since_usec, records_row_fn *row,
                            void *context);

int records_store_holddowns(struct records_store *store, records_holddown_fn *give, void *context);

/** What GetCallRecords asks for, the newest first; up to one more than its limit. */
int records_store_select(struct records_store *store, const Vpnsip__GetCallRecords *query,
                         uint32_t limit, records_row_fn *row, void *context);

/** The greatest attempt; 0 without any. */
int records_store_last(struct records_store *store, uint64_t *attempt);

/** Deletes what ended before. */
int records_store_prune(struct records_store *store, uint64_t before_usec);

/** Why the last function failed: "/var/lib/...: database or disk is full". */
const char *records_store_error(const struct records_store *store);

#endif
