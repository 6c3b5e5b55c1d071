/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>

#include "services/cli/trace.h"

static const char *const kinds[] = {
	[VPNSIP__TRACE_KIND__TRACE_KIND_UNSPECIFIED] = "",
	[VPNSIP__TRACE_KIND__TRACE_BUS_REQUEST] = "request",
	[VPNSIP__TRACE_KIND__TRACE_STATE] = "state",
	[VPNSIP__TRACE_KIND__TRACE_SIP] = "sip",
	[VPNSIP__TRACE_KIND__TRACE_IKE] = "ike",
	[VPNSIP__TRACE_KIND__TRACE_KERNEL] = "kernel",
	[VPNSIP__TRACE_KIND__TRACE_TIMER] = "timer",
};

/** An entry and who told it. */
struct told {
	Vpnsip__Service service;
	const Vpnsip__TraceEntry *entry;
	size_t order; /* in which it was told */
};

size_t trace_ids(const struct trace_part *parts, size_t count, uint64_t *ids, size_t limit)
{
	size_t found = 0, known;

	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; parts[i].trace && j < parts[i].trace->n_entries; j++) {
			uint64_t id = parts[i].trace->entries[j]->trace_id;

			for (known = 0; known < found && ids[known] != id; known++)
				;
			if (id && known == found && found < limit)
				ids[found++] = id;
		}
	}
	return found;
}

/* A cause can concern several sessions (hangup all): what is known to be another's is left out. */
static bool belongs(const struct trace_attempt *attempt, const Vpnsip__TraceEntry *entry)
{
	if (entry->attempt)
		return entry->attempt == attempt->attempt;
	return !*entry->session || strcmp(entry->session, attempt->session) == 0;
}

static int by_time(const void *a, const void *b)
{
	const struct told *first = a, *second = b;

	if (first->entry->mono_usec != second->entry->mono_usec)
		return first->entry->mono_usec < second->entry->mono_usec ? -1 : 1;
	return first->order < second->order ? -1 : first->order > second->order;
}

/* In the order of time. Free the result. */
static struct told *sort_entries(const struct trace_attempt *attempt,
                                 const struct trace_part *parts, size_t part_count, size_t *count)
{
	size_t room = 1;
	struct told *list;

	for (size_t i = 0; i < part_count; i++)
		room += parts[i].trace ? parts[i].trace->n_entries : 0;
	list = calloc(room, sizeof(*list));
	*count = 0;
	for (size_t i = 0; list && i < part_count; i++)
		for (size_t j = 0; parts[i].trace && j < parts[i].trace->n_entries; j++)
			if (belongs(attempt, parts[i].trace->entries[j])) {
				list[*count] = (struct told){parts[i].service,
				                             parts[i].trace->entries[j], *count};
				(*count)++;
			}
	if (list)
		qsort(list, *count, sizeof(*list), by_time);
	return list;
}

/* Who is at the other end; "" when there is none: what SIP or IKE tells of itself is no message. */
static const char *other_end(const Vpnsip__TraceEntry *entry)
{
	switch (entry->kind) {
	case VPNSIP__TRACE_KIND__TRACE_BUS_REQUEST:
		return bus_service_name(entry->peer);
	case VPNSIP__TRACE_KIND__TRACE_SIP:
		return *entry->outside ? "carrier" : "";
	case VPNSIP__TRACE_KIND__TRACE_IKE:
		return *entry->outside ? "peer" : "";
	default:
		return "";
	}
}

static json_t *entry_model(const struct told *told, uint64_t first_mono_usec)
{
	const Vpnsip__TraceEntry *entry = told->entry;
	const char *own = bus_service_name(told->service), *other = other_end(entry);
	bool is_incoming = *other && entry->is_incoming;
	int kind = entry->kind <= VPNSIP__TRACE_KIND__TRACE_TIMER ? entry->kind : 0;

	return json_pack("{s:f, s:I, s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:f}", "msec",
	                 (double)(entry->mono_usec - first_mono_usec) / 1000.0, "mono_usec",
	                 (json_int_t)entry->mono_usec, "service", own, "kind", kinds[kind], "from",
	                 is_incoming ? other : own, "to", is_incoming ? own : other, "outside",
	                 model_text(entry->outside), "text", model_text(entry->text), "outcome",
	                 model_text(entry->outcome), "duration_msec",
	                 (double)entry->duration_usec / 1000.0);
}

static void add_notes(json_t *notes, const struct trace_part *parts, size_t count,
                      uint64_t first_mono_usec)
{
	char text[160];

	for (size_t i = 0; i < count; i++) {
		const char *name = bus_service_name(parts[i].service);

		if (first_mono_usec && parts[i].started_mono_usec > first_mono_usec) {
			snprintf(text, sizeof(text),
			         "%s was started %.1f s after the first cause: its part until then "
			         "is lost",
			         name,
			         (double)(parts[i].started_mono_usec - first_mono_usec) / 1e6);
			json_array_append_new(notes, json_string(text));
		}
		if (parts[i].started_mono_usec && !parts[i].trace) {
			snprintf(text, sizeof(text), "%s did not tell its part", name);
			json_array_append_new(notes, json_string(text));
		}
		if (parts[i].trace && parts[i].trace->forgotten) {
			snprintf(text, sizeof(text), "%s has forgotten %llu entries in the middle",
			         name, (unsigned long long)parts[i].trace->forgotten);
			json_array_append_new(notes, json_string(text));
		}
	}
}

json_t *trace_model(const struct trace_attempt *attempt, const struct trace_part *parts,
                    size_t count)
{
	json_t *entries = json_array(), *notes = json_array();
	size_t entry_count;
	struct told *list = sort_entries(attempt, parts, count, &entry_count);
	uint64_t first = list && entry_count ? list[0].entry->mono_usec : 0;

	for (size_t i = 0; list && i < entry_count; i++)
		json_array_append_new(entries, entry_model(&list[i], first));
	free(list);
	add_notes(notes, parts, count, first);
	return json_pack("{s:o, s:o, s:I, s:o, s:I, s:I, s:o, s:o, s:o}", "session",
	                 model_text(attempt->session), "number", model_text(attempt->number),
	                 "attempt", (json_int_t)attempt->attempt, "direction",
	                 model_enum(&vpnsip__direction__descriptor, attempt->direction, ""),
	                 "started_at_usec", (json_int_t)attempt->started_at_usec, "ended_at_usec",
	                 (json_int_t)attempt->ended_at_usec, "cause", model_text(attempt->cause),
	                 "entries", entries, "notes", notes);
}
