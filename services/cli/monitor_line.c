/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bus/json.h"
#include "services/cli/monitor.h"
#include "services/cli/show.h"

#define LONGEST_VALUE 96

static bool is_default(const json_t *value)
{
	switch (json_typeof(value)) {
	case JSON_NULL:
	case JSON_FALSE:
		return true;
	case JSON_INTEGER:
		return json_integer_value(value) == 0;
	case JSON_STRING:
		return json_string_length(value) == 0 ||
		       strstr(json_string_value(value), "UNSPECIFIED") != NULL;
	case JSON_ARRAY:
		return json_array_size(value) == 0;
	default:
		return false;
	}
}

/* What is at its default says nothing and hides the rest. */
static void remove_defaults(json_t *object)
{
	const char *key;
	json_t *value, *entry;
	void *next;
	size_t index;

	json_object_foreach_safe (object, next, key, value) {
		if (json_is_object(value))
			remove_defaults(value);
		json_array_foreach (value, index, entry)
			if (json_is_object(entry))
				remove_defaults(entry);
		if (is_default(value) || (json_is_object(value) && !json_object_size(value)))
			json_object_del(object, key);
	}
}

json_t *monitor_model(const Vpnsip__Envelope *envelope, Vpnsip__Service to,
                      uint64_t wall_offset_usec)
{
	const ProtobufCMessage *body = bus_body(envelope);
	uint64_t mono_usec = envelope->sent_mono_usec, time_usec = mono_usec + wall_offset_usec;
	json_t *fields = body ? bus_json_from_message(body) : NULL;
	const char *kind = envelope->kind == VPNSIP__ENVELOPE_KIND__EVENT     ? "event"
	                   : envelope->kind == VPNSIP__ENVELOPE_KIND__REQUEST ? "request"
	                                                                      : "reply";

	if (!fields)
		fields = json_object();
	remove_defaults(fields);
	if (*envelope->session)
		json_object_del(fields, "tunnel");
	return json_pack("{s:I, s:I, s:s, s:s, s:s, s:s, s:o, s:o}", "time_usec",
	                 (json_int_t)time_usec, "mono_usec", (json_int_t)mono_usec, "kind", kind,
	                 "from", bus_service_name(envelope->source), "to",
	                 to ? bus_service_name(to) : "", "body", bus_body_name(envelope), "session",
	                 model_text(envelope->session), "fields", fields);
}

static void print_value(FILE *stream, const json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
	const char *string = json_string_value(value), *shown = text ? text : "?";
	size_t length;

	/* Names and numbers go without quotes. */
	if (string && !strpbrk(string, " \"=\n"))
		shown = string;
	length = strlen(shown);
	if (string && length > LONGEST_VALUE && strspn(string, "0123456789abcdef") == length)
		fprintf(stream, "(%zu octets)", length / 2);
	else
		fprintf(stream, "%.*s%s", length > LONGEST_VALUE ? LONGEST_VALUE : (int)length,
		        shown, length > LONGEST_VALUE ? "..." : "");
	free(text);
}

static bool is_point_in_time(const char *key)
{
	size_t length = strlen(key);

	return (length > 10 && strcmp(key + length - 10, "_mono_usec") == 0) ||
	       (length > 8 && strcmp(key + length - 8, "_at_usec") == 0);
}

/* Of a list or an object of objects the size is enough on a line. */
static void print_fields(FILE *stream, json_t *fields)
{
	const char *key;
	json_t *value;

	json_object_foreach (fields, key, value) {
		const json_t *host = json_object_get(value, "address");

		if (is_point_in_time(key))
			continue;
		if (host && json_object_get(value, "port") && json_object_size(value) == 2) {
			fprintf(stream, " %s=%s:%lld", key, json_string_value(host),
			        (long long)number_of(value, "port"));
		} else if (json_is_array(value)) {
			fprintf(stream, " %s[%zu]", key, json_array_size(value));
		} else {
			fprintf(stream, " %s=", key);
			print_value(stream, value);
		}
	}
}

void monitor_text(FILE *stream, const json_t *model)
{
	const char *to = text_of(model, "to"), *session = text_of(model, "session");
	json_int_t time_usec = number_of(model, "time_usec");
	time_t seconds = (time_t)(time_usec / 1000000);
	struct tm local;
	char clock[16];

	localtime_r(&seconds, &local);
	strftime(clock, sizeof(clock), "%H:%M:%S", &local);
	fprintf(stream, "%s.%06d %s -> %s %s %s%s%s", clock, (int)(time_usec % 1000000),
	        text_of(model, "from"), *to ? to : "all", text_of(model, "kind"),
	        text_of(model, "body"), *session ? " " : "", session);
	print_fields(stream, json_object_get(model, "fields"));
	if (json_object_get(model, "latency_usec"))
		fprintf(stream, " (%.3f ms)", (double)number_of(model, "latency_usec") / 1000);
	fputc('\n', stream);
}

bool monitor_is_shown(const Vpnsip__Tapped *tapped, unsigned watched)
{
	bool is_callers_word = tapped->point == VPNSIP__TAP_POINT__REQUEST_SENT ||
	                       tapped->point == VPNSIP__TAP_POINT__REPLY_RECEIVED;

	return is_callers_word || !(watched & BUS_SERVICE(tapped->peer));
}
