/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the records*.c files share. */
#ifndef VPNSIP_COORDINATOR_RECORDS_INTERNAL_H
#define VPNSIP_COORDINATOR_RECORDS_INTERNAL_H

#include <limits.h>
#include <stddef.h>
#include <uthash.h>

#include "services/coordinator/records.h"

/** A record that runs, is not written yet, or ended lately. */
struct records_entry {
	struct record record;
	uint64_t finished_mono_usec; /* since when nothing was to be done; 0 = not yet */
	uint64_t told_in_snapshot;   /* the last one of sip-agent's that had the call */
	char *call_id;               /* by which it is found; NULL = not known yet */
	bool is_stored;              /* the file has its row */
	bool is_unwritten;           /* it is in that list */
	struct records_entry *next;  /* there */
	UT_hash_handle hh, by_call;
};

/** A tunnel, and tunnel-agent's last word on it. */
struct records_tunnel {
	char name[RECORD_TUNNEL_SIZE];
	bool is_counting; /* the two that follow are known */
	struct record_traffic totals;
	uint64_t attempt;
	uint64_t held_attempt; /* that its session had last; 0 = none */
	UT_hash_handle hh;
};

/** A session's hold-down as it was written last. */
struct records_held {
	struct record_holddown holddown;
	uint64_t until_mono_usec;
	bool is_changed;
	struct records_held *next; /* of the unwritten ones */
	UT_hash_handle hh;
};

struct records {
	struct records_options options;
	char file[PATH_MAX];
	struct records_store *store;     /* NULL = cannot be opened now */
	char obstacle[PATH_MAX + 320];   /* why no call may be placed; "" = none */
	struct records_entry *entries;   /* by attempt; iterated, the oldest comes first */
	struct records_entry *by_call;   /* those of them that have a Call-ID */
	struct records_entry *unwritten; /* those of them that changed; a list */
	struct records_tunnel *tunnels;  /* by name */
	struct records_held *held;       /* by tunnel */
	struct records_held *unwritten_held;
	bool was_readable;
	uint64_t snapshots; /* of sip-agent's */
	uint64_t flushed_mono_usec, pruned_mono_usec;
	uint64_t writes, failures, longest_write_usec;
	uint64_t dropped; /* never to be written: too many while the file could not be */
	bool is_dropping; /* said; until the file can be written again */
};

/** Both clocks. */
struct record_time records_time(const struct records *records);

/** Zeroed memory; ends the process without. */
void *records_allocate(size_t size);

/* After each change of one: what is to be written is known without a look at all of them. */
void records_entry_changed(struct records *records, struct records_entry *entry);
void records_held_changed(struct records *records, struct records_held *held);

/** Forgets it, written or not. */
void records_drop_entry(struct records *records, struct records_entry *entry);

/** Writes everything that is not written, also counters when `with_counters`. False: it stays to be written. */
bool records_flush(struct records *records, bool with_counters);

/** The store failed: closes it, says why once, bars calls until it works again. */
void records_store_failed(struct records *records, const char *why);

#endif
