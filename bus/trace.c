/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>
#include <utlist.h>

#include "bus/internal.h"
#include "bus/permissions.h"

/** Entries of an attempt; where there are many attempts, of each only so many that none is forgotten for the others' sake. */
#define KEPT_MAXIMUM   256
#define KEPT_MINIMUM   64
#define KEPT_AT_FIRST  16
#define ENDED_MAXIMUM  100
#define LOOSE_MAXIMUM  1024
/** Of all attempts together: some 60000 common entries. */
#define OCTETS_MAXIMUM (6u << 20)
#define OCTETS_MANY    (OCTETS_MAXIMUM / 2)
#define SESSION_SIZE   32
#define TEXT_SIZE      512

/** Packed: half as large as the message, and there are some hundred of a call. */
struct entry {
	uint16_t size;
	uint8_t octets[];
};

struct attempt_key {
	char session[SESSION_SIZE];
	uint64_t attempt;
};

struct attempt {
	struct attempt_key key;
	UT_hash_handle hh, by_session; /* the latter of the newest of its session alone */
	struct attempt *prev, *next;
	bool is_ended;
	struct entry **entries; /* the first ones, then a ring of the last ones */
	size_t capacity;
	bool is_ring;   /* it grows no more */
	uint64_t count; /* of all that were noted */
};

struct trace {
	pthread_mutex_t lock;
	struct attempt *by_key, *newest;         /* the latter by session */
	struct attempt *running, *ended;         /* lists, oldest first */
	size_t ended_count, entry_count, octets; /* the latter two of all attempts */
	uint64_t noted;
	struct entry *loose[LOOSE_MAXIMUM]; /* ring */
	uint64_t loose_count;
};

struct trace *trace_new(void)
{
	struct trace *trace = calloc(1, sizeof(*trace));

	if (trace != NULL)
		pthread_mutex_init(&trace->lock, NULL);
	return trace;
}

static size_t kept_count(const struct attempt *attempt)
{
	return attempt->count < attempt->capacity ? (size_t)attempt->count : attempt->capacity;
}

/** So many of the first ones stay: three of four. */
static size_t first_count(const struct attempt *attempt)
{
	return attempt->capacity - attempt->capacity / 4;
}

/** Of the entry with that number, the first being 0, once it is kept. */
static struct entry **place_of(const struct attempt *attempt, uint64_t number)
{
	const size_t first = first_count(attempt);

	if (number < attempt->capacity)
		return &attempt->entries[number];
	return &attempt->entries[first + (number - first) % (attempt->capacity - first)];
}

static void forget(struct trace *trace, struct entry *entry)
{
	trace->entry_count--;
	trace->octets -= sizeof(*entry) + entry->size;
	free(entry);
}

static void drop(struct trace *trace, struct attempt *attempt)
{
	for (size_t i = 0; i < kept_count(attempt); i++)
		forget(trace, attempt->entries[i]);
	free(attempt->entries);
	if (attempt->by_session.tbl != NULL)
		HASH_DELETE(by_session, trace->newest, attempt);
	HASH_DEL(trace->by_key, attempt);
	if (attempt->is_ended) {
		trace->ended_count--;
		DL_DELETE(trace->ended, attempt); // NOLINT(clang-analyzer-core.NullDereference)
	} else {
		DL_DELETE(trace->running, attempt);
	}
	free(attempt);
}

static struct attempt *oldest(const struct trace *trace)
{
	return trace->ended != NULL ? trace->ended : trace->running;
}

void trace_free(struct trace *trace)
{
	if (trace == NULL)
		return;
	while (oldest(trace) != NULL)
		drop(trace, oldest(trace));
	for (int i = 0; i < LOOSE_MAXIMUM; i++)
		free(trace->loose[i]);
	pthread_mutex_destroy(&trace->lock);
	free(trace);
}

static char *cut(const char *text, char room[TEXT_SIZE])
{
	snprintf(room, TEXT_SIZE, "%s", text);
	return room;
}

static struct entry *pack_entry(const Vpnsip__TraceEntry *told)
{
	char texts[4][TEXT_SIZE];
	Vpnsip__TraceEntry kept = *told;
	struct entry *entry;
	size_t size;

	kept.session = cut(told->session, texts[0]);
	kept.outside = cut(told->outside, texts[1]);
	kept.text = cut(told->text, texts[2]);
	kept.outcome = cut(told->outcome, texts[3]);
	size = vpnsip__trace_entry__get_packed_size(&kept);
	entry = malloc(sizeof(*entry) + size);
	if (entry == NULL)
		return NULL;
	entry->size = (uint16_t)size;
	vpnsip__trace_entry__pack(&kept, entry->octets);
	return entry;
}

static struct attempt_key key_of(const char *session, uint64_t attempt)
{
	struct attempt_key key = {.attempt = attempt};

	snprintf(key.session, sizeof(key.session), "%s", session);
	return key;
}

static struct attempt *find(const struct trace *trace, const char *session, uint64_t number)
{
	const struct attempt_key key = key_of(session, number);
	struct attempt *attempt;

	HASH_FIND(hh, trace->by_key, &key, sizeof(key), attempt);
	return attempt;
}

static void add_ended(struct trace *trace, struct attempt *attempt)
{
	DL_APPEND(trace->ended, attempt);
	attempt->is_ended = true;
	trace->ended_count++;
}

/** Of a session only the newest attempt can run; of those that are over the oldest are forgotten. */
static void place(struct trace *trace, struct attempt *attempt)
{
	struct attempt *newest;

	HASH_FIND(by_session, trace->newest, attempt->key.session, sizeof(attempt->key.session),
	          newest);
	if (newest != NULL && newest->key.attempt > attempt->key.attempt) {
		add_ended(trace, attempt);
	} else {
		if (newest != NULL) {
			HASH_DELETE(by_session, trace->newest, newest);
			memset(&newest->by_session, 0, sizeof(newest->by_session));
			DL_DELETE(trace->running, newest);
			add_ended(trace, newest);
		}
		DL_APPEND(trace->running, attempt);
		HASH_ADD(by_session, trace->newest, key.session, sizeof(attempt->key.session),
		         attempt);
	}
	while (trace->ended_count > ENDED_MAXIMUM && trace->ended != attempt)
		drop(trace, trace->ended);
}

static struct attempt *find_or_add(struct trace *trace, const char *session, uint64_t number)
{
	struct attempt *attempt = find(trace, session, number);

	if (attempt != NULL)
		return attempt;
	attempt = calloc(1, sizeof(*attempt));
	if (attempt == NULL)
		return NULL;
	attempt->key = key_of(session, number);
	HASH_ADD(hh, trace->by_key, key, sizeof(attempt->key), attempt);
	place(trace, attempt);
	return attempt;
}

static bool may_grow(const struct trace *trace, const struct attempt *attempt)
{
	return !attempt->is_ring && attempt->capacity < KEPT_MAXIMUM &&
	       (attempt->capacity < KEPT_MINIMUM || trace->octets < OCTETS_MANY);
}

static void grow(const struct trace *trace, struct attempt *attempt)
{
	const size_t wanted = attempt->capacity == 0 ? KEPT_AT_FIRST : 2 * attempt->capacity;
	struct entry **more = NULL;

	if (may_grow(trace, attempt))
		more = realloc(attempt->entries, wanted * sizeof(struct entry *));
	if (more == NULL) {
		attempt->is_ring = attempt->capacity > 0;
		return;
	}
	attempt->entries = more;
	attempt->capacity = wanted;
}

static void keep(struct trace *trace, struct attempt *attempt, struct entry *entry)
{
	struct entry **place;

	if (attempt->count == attempt->capacity)
		grow(trace, attempt);
	if (attempt->capacity == 0) {
		free(entry);
		return;
	}
	place = place_of(attempt, attempt->count);
	if (attempt->count >= attempt->capacity)
		forget(trace, *place);
	*place = entry;
	trace->entry_count++;
	trace->octets += sizeof(*entry) + entry->size;
	attempt->count++;
	while (trace->octets > OCTETS_MAXIMUM && oldest(trace) != attempt)
		drop(trace, oldest(trace));
}

static void keep_loose(struct trace *trace, struct entry *entry)
{
	struct entry **place = &trace->loose[trace->loose_count++ % LOOSE_MAXIMUM];

	free(*place);
	*place = entry;
}

void trace_note(struct trace *trace, const Vpnsip__TraceEntry *told)
{
	struct entry *entry = pack_entry(told);
	struct attempt *attempt = NULL;

	if (entry == NULL)
		return;
	pthread_mutex_lock(&trace->lock);
	trace->noted++;
	if (told->attempt != 0 && told->session[0] != '\0')
		attempt = find_or_add(trace, told->session, told->attempt);
	if (attempt != NULL)
		keep(trace, attempt, entry);
	else
		keep_loose(trace, entry);
	pthread_mutex_unlock(&trace->lock);
}

bool trace_wants(Vpnsip__Envelope__BodyCase body)
{
	const struct permission *permission = permission_of(body);

	return permission != NULL && !permission->is_reading && !permission->is_packet;
}

uint64_t trace_attempt_of(const ProtobufCMessage *order)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(order->descriptor, "attempt");

	if (field == NULL || field->type != PROTOBUF_C_TYPE_UINT64 ||
	    field->label == PROTOBUF_C_LABEL_REPEATED)
		return 0;
	return *(const uint64_t *)((const uint8_t *)order + field->offset);
}

/** What a Trace is filled with. */
struct selection {
	const Vpnsip__GetTrace *wanted;
	Vpnsip__TraceEntry *entries[KEPT_MAXIMUM + LOOSE_MAXIMUM]; /* owned */
	size_t count;
};

static Vpnsip__TraceEntry *unpack(const struct entry *entry)
{
	return vpnsip__trace_entry__unpack(NULL, entry->size, entry->octets);
}

static void select_entry(struct selection *selection, const struct entry *entry)
{
	Vpnsip__TraceEntry *told = unpack(entry);

	if (told != NULL)
		selection->entries[selection->count++] = told;
}

static void free_selection(struct selection *selection)
{
	for (size_t i = 0; i < selection->count; i++)
		vpnsip__trace_entry__free_unpacked(selection->entries[i], NULL);
	free(selection);
}

static bool has_trace(const struct selection *selection, size_t own_count, uint64_t trace_id)
{
	for (size_t i = 0; i < selection->wanted->n_trace_ids; i++)
		if (selection->wanted->trace_ids[i] == trace_id)
			return true;
	/* What belongs to the attempt itself tells which traces do. */
	for (size_t i = 0; i < own_count; i++)
		if (selection->entries[i]->trace_id == trace_id)
			return true;
	return false;
}

static bool is_wanted(const struct selection *selection, size_t own_count,
                      const Vpnsip__TraceEntry *told)
{
	const char *session = selection->wanted->session;

	if (told->trace_id == 0 ||
	    (told->session[0] != '\0' && session[0] != '\0' && strcmp(told->session, session) != 0))
		return false;
	return has_trace(selection, own_count, told->trace_id);
}

static void select_loose(const struct trace *trace, struct selection *selection)
{
	uint64_t from = trace->loose_count > LOOSE_MAXIMUM ? trace->loose_count - LOOSE_MAXIMUM : 0;
	size_t own_count = selection->count;

	for (uint64_t i = from; i < trace->loose_count; i++) {
		Vpnsip__TraceEntry *told = unpack(trace->loose[i % LOOSE_MAXIMUM]);

		if (told != NULL && is_wanted(selection, own_count, told))
			selection->entries[selection->count++] = told;
		else
			vpnsip__trace_entry__free_unpacked(told, NULL);
	}
}

static void select_attempt(const struct attempt *attempt, struct selection *selection)
{
	const size_t kept = kept_count(attempt), first = first_count(attempt);

	for (uint64_t i = 0; i < kept; i++)
		select_entry(selection,
		             *place_of(attempt, i < first ? i : attempt->count - kept + i));
}

void trace_answer(struct trace *trace, struct bus_request *request, const Vpnsip__GetTrace *wanted)
{
	Vpnsip__Trace answer = VPNSIP__TRACE__INIT;
	struct selection *selection = calloc(1, sizeof(*selection));
	const struct attempt *attempt;

	if (selection == NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		return;
	}
	selection->wanted = wanted;
	pthread_mutex_lock(&trace->lock);
	attempt = find(trace, wanted->session, wanted->attempt);
	if (attempt != NULL) {
		select_attempt(attempt, selection);
		answer.forgotten = attempt->count - kept_count(attempt);
	}
	select_loose(trace, selection);
	answer.entries = selection->entries;
	answer.n_entries = selection->count;
	bus_reply(request, &answer.base);
	pthread_mutex_unlock(&trace->lock);
	free_selection(selection);
}

void trace_describe(struct trace *trace, struct bus_description *description)
{
	pthread_mutex_lock(&trace->lock);
	bus_describe_counter(description, "trace.noted", trace->noted);
	bus_describe_counter(description, "trace.entries", trace->entry_count);
	bus_describe_counter(description, "trace.octets", trace->octets);
	bus_describe_counter(description, "trace.attempts", HASH_COUNT(trace->by_key));
	pthread_mutex_unlock(&trace->lock);
}

void bus_trace(struct bus *bus, const char *session, uint64_t attempt, Vpnsip__TraceKind kind,
               const char *outside, bool is_incoming, const char *format, ...)
{
	Vpnsip__TraceEntry entry = VPNSIP__TRACE_ENTRY__INIT;
	char text[TEXT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	entry.mono_usec = bus_mono_usec(bus);
	entry.kind = kind;
	entry.attempt = attempt;
	entry.is_incoming = is_incoming;
	entry.text = text;
	if (session != NULL)
		entry.session = (char *)session; /* only copied */
	if (outside != NULL)
		entry.outside = (char *)outside;
	/* A foreign thread handles nothing of the loop's. */
	if (pthread_equal(pthread_self(), bus->loop_thread))
		entry.trace_id = bus->trace_id;
	trace_note(bus->trace, &entry);
}

uint64_t bus_current_trace(const struct bus *bus)
{
	return bus->trace_id;
}

void bus_resume_trace(struct bus *bus, uint64_t trace_id)
{
	bus->trace_id = trace_id;
	/* Runs when the loop has finished what is being done now. */
	event_active(bus->trace_end, EV_TIMEOUT, 0);
}
