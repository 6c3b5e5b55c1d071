/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "services/sip-agent/sdp.h"

/* A cursor over the text, and where lines of the current section go. */
struct reader {
	const char *next, *end;
	struct sdp_description *description;
	struct sdp_section *section;
	struct sdp_problem *problem;
	unsigned version_count;
	struct sdp_fingerprint_line *folded; /* that goes on later; NULL = none */
};

static bool broken(struct reader *reader, const char *text)
{
	*reader->problem = (struct sdp_problem){.sip_status = 400, .text = text};
	return false;
}

bool sdp_span_is(struct sdp_span span, const char *word)
{
	return span.size == strlen(word) && strncasecmp(span.text, word, span.size) == 0;
}

/* Cuts the next line off, without its end. False at the end of the text. */
static bool next_line(struct reader *reader, struct sdp_span *line)
{
	if (reader->next == reader->end)
		return false;
	const char *feed = memchr(reader->next, '\n', reader->end - reader->next);
	const char *end = feed ? feed : reader->end;

	line->text = reader->next;
	line->size = end - reader->next;
	if (line->size && line->text[line->size - 1] == '\r')
		line->size--;
	reader->next = feed ? feed + 1 : reader->end;
	return true;
}

/* Cuts off the part before `separator`; all that is left when there is none. */
static struct sdp_span cut(struct sdp_span *rest, char separator)
{
	const char *found = memchr(rest->text, separator, rest->size);
	struct sdp_span part = {rest->text, found ? (size_t)(found - rest->text) : rest->size};
	size_t used = part.size + (found ? 1 : 0);

	rest->text += used;
	rest->size -= used;
	return part;
}

/* Decimal digits and nothing else; numbers of more than 18 digits are not read. */
static bool read_number(struct sdp_span span, uint64_t *number)
{
	*number = 0;
	if (span.size == 0 || span.size > 18)
		return false;
	for (size_t i = 0; i < span.size; i++) {
		if (span.text[i] < '0' || span.text[i] > '9')
			return false;
		*number = *number * 10 + (unsigned)(span.text[i] - '0');
	}
	return true;
}

static bool read_media(struct reader *reader, struct sdp_span value)
{
	struct sdp_description *description = reader->description;
	uint64_t port;

	if (description->media_count == SDP_MEDIA_MAXIMUM)
		return broken(reader, "too many media lines");
	struct sdp_media *media = &description->media[description->media_count++];
	media->type = cut(&value, ' ');
	struct sdp_span ports = cut(&value, ' ');
	media->protocol = cut(&value, ' ');
	media->formats = value;
	if (!read_number(cut(&ports, '/'), &port) || port > UINT16_MAX)
		return broken(reader, "invalid port in m=");
	if (!media->type.size || !media->protocol.size || !media->formats.size)
		return broken(reader, "incomplete m= line");
	media->port = (uint32_t)port;
	reader->section = &media->section;
	return true;
}

static bool read_bandwidth(struct reader *reader, struct sdp_span value)
{
	struct sdp_span type = cut(&value, ':');
	uint64_t number;

	if (!type.size || !read_number(value, &number))
		return broken(reader, "invalid b= line");
	if (!sdp_span_is(type, "AS")) {
		reader->section->has_other_bandwidth = true;
		return true;
	}
	if (reader->section->has_bandwidth)
		return broken(reader, "b=AS stands twice");
	reader->section->has_bandwidth = true;
	reader->section->bandwidth_kbit = number;
	return true;
}

static bool add_fingerprint(struct reader *reader, enum sdp_fingerprint_subject subject,
                            struct sdp_span value)
{
	struct sdp_section *section = reader->section;
	const size_t room = sizeof(section->fingerprints) / sizeof(section->fingerprints[0]);

	if (section->fingerprint_count == room)
		return broken(reader, "too many fingerprints");
	struct sdp_fingerprint_line *line = &section->fingerprints[section->fingerprint_count++];
	*line = (struct sdp_fingerprint_line){.subject = subject, .value = value};
	reader->folded = value.size && value.text[value.size - 1] == '\\' ? line : NULL;
	return true;
}

static bool read_attribute(struct reader *reader, struct sdp_span value)
{
	struct sdp_span name = cut(&value, ':');

	if (!name.size)
		return broken(reader, "invalid a= line");
	if (sdp_span_is(name, "ike-setup")) {
		if (reader->section->setup.text)
			return broken(reader, "ike-setup stands twice");
		reader->section->setup = value;
		return true;
	}
	if (sdp_span_is(name, "fingerprint"))
		return add_fingerprint(reader, SDP_CERTIFICATE, value);
	if (sdp_span_is(name, "psk-fingerprint"))
		return add_fingerprint(reader, SDP_PRE_SHARED_KEY, value);
	return true;
}

static bool read_version(struct reader *reader, struct sdp_span value)
{
	if (reader->version_count++ || !sdp_span_is(value, "0"))
		return broken(reader, "unknown SDP version");
	return true;
}

/* "4A:AD:B9": nothing but octets, maybe indented. */
static bool read_folded(struct reader *reader, struct sdp_span line)
{
	while (line.size && (*line.text == ' ' || *line.text == '\t'))
		line = (struct sdp_span){line.text + 1, line.size - 1};
	if (!reader->folded || !line.size)
		return false;
	for (size_t i = 0; i < line.size; i++)
		if (!isxdigit((unsigned char)line.text[i]) && line.text[i] != ':')
			return false;
	reader->folded->rest = line;
	reader->folded = NULL;
	return true;
}

static bool read_line(struct reader *reader, struct sdp_span line)
{
	if (read_folded(reader, line))
		return true;
	if (line.size < 2 || line.text[0] < 'a' || line.text[0] > 'z' || line.text[1] != '=')
		return broken(reader, "a line that is not type=value");
	if (memchr(line.text, '\0', line.size))
		return broken(reader, "NUL in a line");
	struct sdp_span value = {line.text + 2, line.size - 2};

	if (line.text[0] != 'v' && !reader->version_count)
		return broken(reader, "v= must come first");
	switch (line.text[0]) {
	case 'v':
		return read_version(reader, value);
	case 'o':
		if (reader->description->origin.text)
			return broken(reader, "o= stands twice");
		reader->description->origin = value;
		return true;
	case 'c':
		if (reader->section->connection.text)
			return broken(reader, "c= stands twice in one section");
		reader->section->connection = value;
		return true;
	case 'b':
		return read_bandwidth(reader, value);
	case 'a':
		return read_attribute(reader, value);
	case 'm':
		return read_media(reader, value);
	default:
		return true;
	}
}

bool sdp_read(const char *text, size_t size, struct sdp_description *description,
              struct sdp_problem *problem)
{
	struct reader reader = {text,    text + size, description, &description->session,
	                        problem, 0,           NULL};
	struct sdp_span line;

	memset(description, 0, sizeof(*description));
	if (size == 0 || size > SDP_TEXT_SIZE)
		return broken(&reader, size ? "description too long" : "empty description");
	while (next_line(&reader, &line))
		if (!read_line(&reader, line))
			return false;
	if (!description->origin.text)
		return broken(&reader, "o= is missing");
	return true;
}
