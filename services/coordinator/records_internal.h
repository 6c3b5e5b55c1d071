/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What records.c and records_show.c share. */
#ifndef VPNSIP_COORDINATOR_RECORDS_INTERNAL_H
#define VPNSIP_COORDINATOR_RECORDS_INTERNAL_H

#include <limits.h>
#include <stddef.h>

#include "services/coordinator/records.h"

/** A record that runs, is not written yet, or ended lately. */
struct records_entry {
	struct record record;
	uint64_t finished_mono_usec; /* since when nothing was to be done; 0 = not yet */
	struct records_entry *next;
};

/** tunnel-agent's last word on a tunnel. */
struct records_tunnel {
	char name[RECORD_TUNNEL_SIZE];
	struct record_traffic totals;
	uint64_t attempt;
	struct records_tunnel *next;
};

/** A session's hold-down as it was written last. */
struct records_held {
	struct record_holddown holddown;
	uint64_t until_mono_usec;
	bool is_changed;
	struct records_held *next;
};

struct records {
	struct records_options options;
	char file[PATH_MAX];
	struct records_store *store;   /* NULL = cannot be opened now */
	char obstacle[PATH_MAX + 320]; /* why no call may be placed; "" = none */
	struct records_entry *entries;
	struct records_tunnel *tunnels;
	struct records_held *held;
	bool was_readable;
	uint64_t flushed_mono_usec, pruned_mono_usec;
	uint64_t writes, failures, longest_write_usec;
	uint64_t dropped; /* never to be written: too many while the file could not be */
	bool is_dropping; /* said; until the file can be written again */
};

/** Writes everything that is not written, also counters when `with_counters`. False: it stays to be written. */
bool records_flush(struct records *records, bool with_counters);

/** The store failed: closes it, says why once, bars calls until it works again. */
void records_store_failed(struct records *records, const char *why);

#endif
