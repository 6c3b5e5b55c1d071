/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is the same in two runs of a service, and what is not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "bus/json.h"
#include "bus/replay.h"

/** A timer's length is often what is left of something: it may differ by so much. */
#define TIMER_TOLERANCE_MSEC 50

static const char *const kind_names[] = {
	[VPNSIP__RECORD_KIND__RECORD_STATE_FILE] = "file",
	[VPNSIP__RECORD_KIND__RECORD_EVENT] = "event",
	[VPNSIP__RECORD_KIND__RECORD_SNAPSHOT] = "snapshot",
	[VPNSIP__RECORD_KIND__RECORD_REQUEST] = "request",
	[VPNSIP__RECORD_KIND__RECORD_REPLY] = "reply",
	[VPNSIP__RECORD_KIND__RECORD_PEER] = "health",
	[VPNSIP__RECORD_KIND__RECORD_TIMER] = "end of timer",
	[VPNSIP__RECORD_KIND__RECORD_RANDOM] = "random octets",
	[VPNSIP__RECORD_KIND__RECORD_CORE_INPUT] = "input of core",
	[VPNSIP__RECORD_KIND__RECORD_EVENT_SENT] = "event",
	[VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT] = "request",
	[VPNSIP__RECORD_KIND__RECORD_REPLY_SENT] = "reply",
	[VPNSIP__RECORD_KIND__RECORD_TIMER_STARTED] = "start of timer",
	[VPNSIP__RECORD_KIND__RECORD_CORE_OUTPUT] = "output of core",
};

static bool has_envelope(const Vpnsip__Record *record)
{
	switch (record->kind) {
	case VPNSIP__RECORD_KIND__RECORD_EVENT:
	case VPNSIP__RECORD_KIND__RECORD_SNAPSHOT:
	case VPNSIP__RECORD_KIND__RECORD_REQUEST:
	case VPNSIP__RECORD_KIND__RECORD_REPLY:
	case VPNSIP__RECORD_KIND__RECORD_EVENT_SENT:
	case VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT:
	case VPNSIP__RECORD_KIND__RECORD_REPLY_SENT:
		return true;
	default:
		return false;
	}
}

static Vpnsip__Envelope *envelope_of(const Vpnsip__Record *record)
{
	return has_envelope(record) ? envelope_unpack(record->octets.data, record->octets.len)
	                            : NULL;
}

void replay_name(const Vpnsip__Record *record, char *text, size_t size)
{
	const size_t count = sizeof(kind_names) / sizeof(*kind_names);
	const char *kind = record->kind < count ? kind_names[record->kind] : NULL;
	Vpnsip__Envelope *envelope = envelope_of(record);

	if (kind == NULL)
		kind = "something";
	if (envelope != NULL && record->peer != 0)
		snprintf(text, size, "%s %s %s %s", kind, bus_body_name(envelope),
		         record->kind < VPNSIP__RECORD_KIND__RECORD_EVENT_SENT ? "of" : "to",
		         bus_service_name(record->peer));
	else if (envelope != NULL)
		snprintf(text, size, "%s %s", kind, bus_body_name(envelope));
	else if (record->peer != 0)
		snprintf(text, size, "%s of %s", kind, bus_service_name(record->peer));
	else
		snprintf(text, size, "%s %s", kind, record->name);
	bus_free_envelope(envelope);
}

bool replay_is_alike(const Vpnsip__Record *one, const Vpnsip__Record *other)
{
	char names[2][160];

	if (one->kind != other->kind)
		return false;
	replay_name(one, names[0], sizeof(names[0]));
	replay_name(other, names[1], sizeof(names[1]));
	return strcmp(names[0], names[1]) == 0;
}

static bool is_time(const char *field)
{
	size_t size = strlen(field);

	return size > 5 && strcmp(field + size - 5, "_usec") == 0;
}

static bool differ(const json_t *recorded, const json_t *replayed, const char *path, char *text,
                   size_t size);

static bool objects_differ(const json_t *recorded, const json_t *replayed, const char *path,
                           char *text, size_t size)
{
	const char *key;
	json_t *value;
	char below[256];

	json_object_foreach ((json_t *)recorded, key, value) {
		snprintf(below, sizeof(below), "%s%s%s", path, path[0] != '\0' ? "." : "", key);
		if (!is_time(key) &&
		    differ(value, json_object_get(replayed, key), below, text, size))
			return true;
	}
	return false;
}

static bool arrays_differ(const json_t *recorded, const json_t *replayed, const char *path,
                          char *text, size_t size)
{
	char below[256];

	if (json_array_size(recorded) != json_array_size(replayed)) {
		snprintf(text, size, "%s: recorded %zu, replayed %zu of them", path,
		         json_array_size(recorded), json_array_size(replayed));
		return true;
	}
	for (size_t i = 0; i < json_array_size(recorded); i++) {
		snprintf(below, sizeof(below), "%s.%zu", path, i);
		if (differ(json_array_get(recorded, i), json_array_get(replayed, i), below, text,
		           size))
			return true;
	}
	return false;
}

static bool differ(const json_t *recorded, const json_t *replayed, const char *path, char *text,
                   size_t size)
{
	char *shown[2];

	if (json_is_object(recorded) && json_is_object(replayed))
		return objects_differ(recorded, replayed, path, text, size);
	if (json_is_array(recorded) && json_is_array(replayed))
		return arrays_differ(recorded, replayed, path, text, size);
	if (json_equal(recorded, replayed))
		return false;
	shown[0] = json_dumps(recorded, JSON_ENCODE_ANY | JSON_COMPACT);
	shown[1] = json_dumps(replayed, JSON_ENCODE_ANY | JSON_COMPACT);
	snprintf(text, size, "%s: recorded %.100s, replayed %.100s", path,
	         shown[0] != NULL ? shown[0] : "?", shown[1] != NULL ? shown[1] : "?");
	free(shown[0]);
	free(shown[1]);
	return true;
}

static bool envelopes_differ(const Vpnsip__Envelope *recorded, const Vpnsip__Envelope *replayed,
                             char *text, size_t size)
{
	json_t *one, *other;
	bool result;

	if (strcmp(recorded->session, replayed->session) != 0) {
		snprintf(text, size, "session: recorded '%s', replayed '%s'", recorded->session,
		         replayed->session);
		return true;
	}
	one = bus_json_from_message(bus_body(recorded));
	other = bus_json_from_message(bus_body(replayed));
	result = differ(one, other, "", text, size);
	json_decref(one);
	json_decref(other);
	return result;
}

bool replay_differs(const Vpnsip__Record *recorded, const Vpnsip__Record *replayed, char *text,
                    size_t size)
{
	Vpnsip__Envelope *one = envelope_of(recorded), *other = envelope_of(replayed);
	bool result = false;

	if (recorded->kind == VPNSIP__RECORD_KIND__RECORD_TIMER_STARTED) {
		uint64_t more = recorded->value > replayed->value ? recorded->value
		                                                  : replayed->value;
		uint64_t less = recorded->value + replayed->value - more;

		result = recorded->number != replayed->number || more - less > TIMER_TOLERANCE_MSEC;
		snprintf(text, size,
		         "recorded number %llu for %llu ms, replayed number %llu for %llu ms",
		         (unsigned long long)recorded->number, (unsigned long long)recorded->value,
		         (unsigned long long)replayed->number, (unsigned long long)replayed->value);
	} else if (recorded->kind == VPNSIP__RECORD_KIND__RECORD_REPLY_SENT &&
	           recorded->number != replayed->number) {
		result = true;
		snprintf(text, size, "answers another request");
	} else if (one != NULL && other != NULL) {
		result = envelopes_differ(one, other, text, size);
	} else if (recorded->octets.len != replayed->octets.len ||
	           memcmp(recorded->octets.data, replayed->octets.data, recorded->octets.len) !=
	                   0) {
		result = true;
		snprintf(text, size, "recorded %zu octets, replayed %zu others",
		         recorded->octets.len, replayed->octets.len);
	}
	bus_free_envelope(one);
	bus_free_envelope(other);
	return result;
}
