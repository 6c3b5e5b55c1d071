/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show calls: its pure parts. */
#ifndef VPNSIP_CLI_SHOW_CALLS_H
#define VPNSIP_CLI_SHOW_CALLS_H

#include "coordinator.pb-c.h"
#include "services/cli/show.h"

/** "90m" ago, or a local time "2026-01-31 14:00", as microseconds since 1970. False when it is none of them. */
bool calls_since(const char *text, uint64_t now_usec, uint64_t *since_usec);

json_t *calls_entry_model(const Vpnsip__CallRecord *record, uint64_t now_usec);

/** Sums of an array of calls_entry_model(). */
json_t *calls_total_model(const json_t *calls);

show_text_fn show_calls_text, show_calls_csv;

#endif
