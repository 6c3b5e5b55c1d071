/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A trace as a ladder: time runs down, a column for each process, an arrow for each message. */
#include <ctype.h>
#include <string.h>
#include <time.h>

#include "services/cli/trace.h"

#define WIDTH        120
#define TIME_WIDTH   10
#define WIDEST       22
#define LABEL_SIZE   256
#define COLUMNS      ((int)(sizeof(columns) / sizeof(columns[0])))
/** An arrow with its label inside: "|-- PlaceCall ->|". */
#define ARROW_AROUND 8

static const struct {
	const char *name, *title;
} columns[] = {
	{"carrier", "carrier"},   {"sip-agent", "sip"},       {"vpnsip-coordinator", "coordinator"},
	{"ike-agent", "ike"},     {"tunnel-agent", "tunnel"}, {"nat-qos-agent", "nat-qos"},
	{"track-agent", "track"}, {"peer", "peer"},
};

/** Where each column's line is; 0 = it is not shown. */
struct ladder {
	int place[sizeof(columns) / sizeof(columns[0])];
};

static int column_of(const char *name)
{
	for (int i = 0; i < COLUMNS; i++)
		if (strcmp(columns[i].name, name) == 0)
			return i;
	return -1;
}

static int place_of(const struct ladder *ladder, const char *name)
{
	int column = column_of(name);

	return column < 0 ? 0 : ladder->place[column];
}

static void lay_out(struct ladder *ladder, const json_t *entries)
{
	bool is_shown[sizeof(columns) / sizeof(columns[0])] = {false};
	int count = 0, width, at = 0;
	const json_t *entry;
	size_t index;

	*ladder = (struct ladder){0};
	json_array_foreach (entries, index, entry) {
		int from = column_of(text_of(entry, "from")), to = column_of(text_of(entry, "to"));

		if (from >= 0)
			is_shown[from] = true;
		if (to >= 0)
			is_shown[to] = true;
	}
	for (int i = 0; i < COLUMNS; i++)
		count += is_shown[i];
	width = count ? (WIDTH - TIME_WIDTH) / count : WIDEST;
	if (width > WIDEST)
		width = WIDEST;
	for (int i = 0; i < COLUMNS; i++)
		if (is_shown[i])
			ladder->place[i] = TIME_WIDTH + at++ * width + width / 2;
}

/* What is said of an entry: "PlaceCall 3.1 ms", "PlaceCall 1000.2 ms: sip-agent did not answer". ASCII only. */
static void make_label(const json_t *entry, char label[LABEL_SIZE])
{
	bool is_request = strcmp(text_of(entry, "kind"), "request") == 0;
	const char *outcome = text_of(entry, "outcome");
	char duration[32] = "";

	if (is_request)
		snprintf(duration, sizeof(duration), " %.1f ms",
		         json_number_value(json_object_get(entry, "duration_msec")));
	snprintf(label, LABEL_SIZE, "%s%s%s%s", text_of(entry, "text"), duration,
	         *outcome ? " failed: " : "", outcome);
	for (char *c = label; *c; c++)
		if (!isprint((unsigned char)*c))
			*c = (unsigned char)*c < 0x80 ? ' ' : '?';
}

/* Writes `label` into the line from `at` on, shortened to `room`. */
static void put_label(char *line, int at, int room, const char *label)
{
	int length = (int)strlen(label);

	if (room < 1)
		return;
	if (length <= room) {
		memcpy(line + at, label, (size_t)length);
	} else {
		memcpy(line + at, label, (size_t)room);
		for (int i = room > 3 ? room - 3 : 0; i < room; i++)
			line[at + i] = '.';
	}
}

/* Beside what spans from `left` to `right`: to the right if it fits, else to the left, else where there is more room. */
static void put_beside(char *line, int left, int right, const char *label)
{
	int length = (int)strlen(label);
	int room_right = WIDTH - (right + 2), room_left = left - 1 - TIME_WIDTH;

	if (length <= room_right || (length > room_left && room_right >= room_left)) {
		put_label(line, right + 2, room_right, label);
	} else {
		int used = length < room_left ? length : room_left;

		put_label(line, left - 1 - used, used, label);
	}
}

static void draw_arrow(char *line, int from, int to, const char *label)
{
	int left = from < to ? from : to, right = from < to ? to : from;
	int length = (int)strlen(label), room = right - left - 1;

	memset(line + left + 1, '-', (size_t)room);
	if (from < to)
		line[right - 1] = '>';
	else
		line[left + 1] = '<';
	if (length + ARROW_AROUND <= room) {
		int at = left + 1 + (room - length) / 2;

		line[at - 1] = line[at + length] = ' ';
		memcpy(line + at, label, (size_t)length);
	} else {
		put_beside(line, left, right, label);
	}
}

static char mark_of(const char *kind)
{
	return strcmp(kind, "kernel") == 0 ? '#' : strcmp(kind, "timer") == 0 ? '@' : '*';
}

static void print_line(FILE *stream, const char *line)
{
	int length = WIDTH;

	while (length > 0 && line[length - 1] == ' ')
		length--;
	fprintf(stream, "%.*s\n", length, line);
}

static void draw_entry(FILE *stream, const struct ladder *ladder, const json_t *entry)
{
	char line[WIDTH + 1], time_text[32], label[LABEL_SIZE];
	int from = place_of(ladder, text_of(entry, "from"));
	int to = place_of(ladder, text_of(entry, "to"));

	memset(line, ' ', WIDTH);
	line[WIDTH] = '\0';
	for (int i = 0; i < COLUMNS; i++)
		if (ladder->place[i])
			line[ladder->place[i]] = '|';
	snprintf(time_text, sizeof(time_text), "%9.1f",
	         json_number_value(json_object_get(entry, "msec")));
	put_label(line, 0, TIME_WIDTH, time_text);
	make_label(entry, label);
	if (from && to && from != to) {
		draw_arrow(line, from, to, label);
	} else {
		line[from] = mark_of(text_of(entry, "kind"));
		put_beside(line, from, from, label);
	}
	print_line(stream, line);
}

static void draw_titles(FILE *stream, const struct ladder *ladder)
{
	char line[WIDTH + 1];

	memset(line, ' ', WIDTH);
	put_label(line, 7, 2, "ms");
	for (int i = 0; i < COLUMNS; i++) {
		int length = (int)strlen(columns[i].title);

		if (ladder->place[i])
			put_label(line, ladder->place[i] - length / 2, length, columns[i].title);
	}
	print_line(stream, line);
}

static void print_head(FILE *stream, const json_t *model)
{
	time_t seconds = (time_t)(number_of(model, "started_at_usec") / 1000000);
	const char *cause = text_of(model, "cause"), *direction = text_of(model, "direction");
	char when[40] = "";
	struct tm local;

	if (seconds && localtime_r(&seconds, &local))
		strftime(when, sizeof(when), ", %Y-%m-%d %H:%M:%S", &local);
	fprintf(stream, "%s %s: attempt %lld%s%s%s%s%s\n", text_of(model, "session"),
	        text_of(model, "number"), (long long)number_of(model, "attempt"),
	        *direction ? ", " : "",
	        strcmp(direction, "OUTGOING") == 0   ? "outgoing"
	        : strcmp(direction, "INCOMING") == 0 ? "incoming"
	                                             : "",
	        when, *cause ? ": " : "", cause);
}

static void print_notes(FILE *stream, const json_t *model)
{
	const json_t *note;
	size_t index;

	json_array_foreach (json_object_get(model, "notes"), index, note)
		fprintf(stream, "Note: %s\n", json_string_value(note));
	if (json_array_size(json_object_get(model, "entries")) == 0)
		fputs("No service remembers anything of it\n", stream);
}

void trace_ladder_text(FILE *stream, const json_t *model)
{
	const json_t *entries = json_object_get(model, "entries"), *entry;
	struct ladder ladder;
	size_t index;

	print_head(stream, model);
	lay_out(&ladder, entries);
	if (json_array_size(entries))
		draw_titles(stream, &ladder);
	json_array_foreach (entries, index, entry)
		draw_entry(stream, &ladder, entry);
	print_notes(stream, model);
}

void trace_narrow_text(FILE *stream, const json_t *model)
{
	const json_t *entry;
	size_t index;

	print_head(stream, model);
	json_array_foreach (json_object_get(model, "entries"), index, entry) {
		const char *to = text_of(entry, "to"), *outside = text_of(entry, "outside");
		char label[LABEL_SIZE];

		make_label(entry, label);
		fprintf(stream, "%9.1f  %s%s%s%s%s: %s\n",
		        json_number_value(json_object_get(entry, "msec")), text_of(entry, "from"),
		        *to ? " -> " : "", to, *outside ? " " : "", outside, label);
	}
	print_notes(stream, model);
}
