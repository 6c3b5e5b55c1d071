/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/exchange/story.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct story *story;
	FILE *stream;
	int line;          /* last one read */
	int group, groups; /* open one (0 = none), and how many there were */
	struct step **end;
	struct story_file **file_end;
};

static bool complain(const struct reader *reader, const char *what, const char *which)
{
	fprintf(stderr, "%s:%d: %s%s%s\n", reader->story->path, reader->line, what,
	        which[0] != '\0' ? ": " : "", which);
	return false;
}

/** The next word; `*text` then points at the rest. */
static char *word(char **text)
{
	char *start = *text + strspn(*text, " \t");
	size_t length = strcspn(start, " \t");

	*text = start + length;
	if (**text != '\0') {
		*(*text)++ = '\0';
		*text += strspn(*text, " \t");
	}
	return start;
}

static int open_braces(const char *text)
{
	int depth = 0;
	bool is_in_string = false;

	for (; *text != '\0'; text++) {
		if (*text == '"')
			is_in_string = !is_in_string;
		else if (!is_in_string && (*text == '{' || *text == '['))
			depth++;
		else if (!is_in_string && (*text == '}' || *text == ']'))
			depth--;
	}
	return depth;
}

/** A line without comment and line end; an open { } inside goes on over the following lines. malloc'ed, NULL at the end. */
static char *read_line(struct reader *reader)
{
	char *line = NULL, *whole = NULL;
	size_t size = 0, length = 0;

	while (getline(&line, &size, reader->stream) >= 0) {
		size_t start = strspn(line, " \t"), more;

		reader->line++;
		line[strcspn(line, "\r\n")] = '\0';
		more = strlen(line + start);
		whole = realloc(whole, length + more + 2);
		if (length > 0)
			whole[length++] = ' ';
		memcpy(whole + length, line + start, more + 1);
		length += more;
		if (whole[0] == '#' || whole[0] == '|' || strcmp(whole, "{") == 0 ||
		    open_braces(whole) <= 0)
			break;
	}
	free(line);
	return whole;
}

static bool read_peer(const struct reader *reader, char **text, Vpnsip__Service *peer)
{
	char *name = word(text);

	*peer = strcmp(name, "coordinator") == 0 ? VPNSIP__SERVICE__COORDINATOR
	                                         : bus_service_by_name(name);
	return *peer != VPNSIP__SERVICE__SERVICE_UNSPECIFIED ||
	       complain(reader, "no such service", name);
}

static bool read_body(const struct reader *reader, char **text,
                      const ProtobufCMessageDescriptor **body)
{
	char *name = word(text);

	*body = bus_body_type(name);
	return *body != NULL || complain(reader, "no such message", name);
}

struct step_syntax {
	const char *mark, *name;
	enum step_kind kind;
	bool has_peer, has_order, has_body, has_seconds;
};

static const struct step_syntax syntaxes[] = {
	{.mark = "<",
         .name = "request",
         .kind = STEP_EXPECT_REQUEST,
         .has_peer = true,
         .has_body = true},
	{.mark = "<", .name = "event", .kind = STEP_EXPECT_EVENT, .has_body = true},
	{.mark = "<", .name = "reply", .kind = STEP_EXPECT_REPLY, .has_body = true},
	{.mark = ">", .name = "reply", .kind = STEP_REPLY, .has_body = true},
	{.mark = ">", .name = "event", .kind = STEP_EVENT, .has_peer = true, .has_body = true},
	{.mark = ">", .name = "request", .kind = STEP_REQUEST, .has_peer = true, .has_body = true},
	{.mark = "!", .name = "quiet", .kind = STEP_QUIET, .has_seconds = true},
	{.mark = "!", .name = "wait", .kind = STEP_WAIT, .has_seconds = true},
	{.mark = "!", .name = "limit", .kind = STEP_LIMIT, .has_seconds = true},
	{.mark = "!", .name = "snapshot", .kind = STEP_SNAPSHOT, .has_peer = true, .has_body = true},
	{.mark = "!",
         .name = "answer",
         .kind = STEP_ANSWER,
         .has_peer = true,
         .has_order = true,
         .has_body = true},
	{.mark = "!", .name = "kill", .kind = STEP_KILL, .has_peer = true},
	{.mark = "!", .name = "start", .kind = STEP_START, .has_peer = true},
	{.mark = "!", .name = "crash", .kind = STEP_CRASH},
	{.mark = "!", .name = "restart", .kind = STEP_RESTART},
	{.mark = "=", .name = "snapshot", .kind = STEP_CHECK_SNAPSHOT},
	{.mark = "=", .name = "file", .kind = STEP_CHECK_FILE},
};

static const struct step_syntax *find_syntax(const char *mark, const char *name)
{
	for (size_t i = 0; i < sizeof(syntaxes) / sizeof(syntaxes[0]); i++)
		if (strcmp(syntaxes[i].mark, mark) == 0 && strcmp(syntaxes[i].name, name) == 0)
			return &syntaxes[i];
	return NULL;
}

static bool read_step(struct reader *reader, const char *mark, char *text)
{
	const char *name = word(&text);
	const struct step_syntax *syntax = find_syntax(mark, name);
	struct step *step;
	char *end;

	if (syntax == NULL)
		return complain(reader, "no such step", name);
	step = calloc(1, sizeof(*step));
	*reader->end = step;
	reader->end = &step->next;
	step->kind = syntax->kind;
	step->line = reader->line;
	step->group = reader->group;
	if (syntax->has_peer && !read_peer(reader, &text, &step->peer))
		return false;
	if (syntax->has_order && !read_body(reader, &text, &step->order))
		return false;
	if (syntax->has_body && !read_body(reader, &text, &step->body))
		return false;
	if (syntax->has_seconds) {
		step->seconds = strtod(text, &end);
		if (end == text || *end != '\0')
			return complain(reader, "expected seconds", text);
	}
	step->text = strdup(text);
	return true;
}

static struct story_file *new_file(struct reader *reader, const char *name, unsigned mode)
{
	struct story_file *file = calloc(1, sizeof(*file));

	file->name = strdup(name);
	file->mode = mode;
	file->content = strdup("");
	*reader->file_end = file;
	reader->file_end = &file->next;
	return file;
}

static bool append(const struct reader *reader, const char *text)
{
	struct story_file *file = reader->story->files;
	char *longer;

	while (file != NULL && file->next != NULL)
		file = file->next;
	if (file == NULL)
		return complain(reader, "'|' without 'config' or 'file' before it", "");
	if (asprintf(&longer, "%s%s\n", file->content, text + strspn(text, " ")) < 0)
		return complain(reader, "out of memory", "");
	free(file->content);
	file->content = longer;
	return true;
}

/** `config FILE`: the content of another file, whose path is relative to the story's. */
static bool include(const struct reader *reader, struct story_file *file, const char *name)
{
	const char *path = reader->story->path, *slash = strrchr(path, '/');
	char whole[512], line[1024];
	FILE *stream;

	snprintf(whole, sizeof(whole), "%.*s%s", slash != NULL ? (int)(slash - path + 1) : 0, path,
	         name);
	stream = fopen(whole, "re");
	if (stream == NULL)
		return complain(reader, strerror(errno), whole);
	while (fgets(line, sizeof(line), stream) != NULL) {
		char *longer;

		if (asprintf(&longer, "%s%s", file->content, line) < 0)
			break;
		free(file->content);
		file->content = longer;
	}
	fclose(stream);
	return true;
}

static bool read_setting(struct reader *reader, const char *keyword, char *text)
{
	struct story *story = reader->story;
	size_t count = 0;

	if (strcmp(keyword, "service") == 0)
		return read_peer(reader, &text, &story->service);
	if (strcmp(keyword, "config") == 0) {
		struct story_file *file = new_file(reader, "vpnsip.conf", 0644);

		return *text == '\0' || include(reader, file, text);
	}
	if (strcmp(keyword, "file") == 0) {
		char *name = word(&text);

		new_file(reader, name, *text != '\0' ? (unsigned)strtoul(text, NULL, 8) : 0644);
		return true;
	}
	if (strcmp(keyword, "argument") == 0) {
		while (story->arguments[count] != NULL)
			count++;
		if (count + 1 >= sizeof(story->arguments) / sizeof(story->arguments[0]))
			return complain(reader, "too many arguments", "");
		story->arguments[count] = strdup(text);
		return true;
	}
	return complain(reader, "expected service, config, file, argument, | < > ! = { or }",
	                keyword);
}

static bool read_one(struct reader *reader, char *line)
{
	char *text = line, *first;

	if (line[0] == '\0' || line[0] == '#')
		return true;
	if (line[0] == '|')
		return append(reader, line + 1);
	if (strcmp(line, "{") == 0) {
		if (reader->group != 0)
			return complain(reader, "a group within a group", "");
		reader->group = ++reader->groups;
		return true;
	}
	if (strcmp(line, "}") == 0) {
		if (reader->group == 0)
			return complain(reader, "'}' without '{'", "");
		reader->group = 0;
		return true;
	}
	first = word(&text);
	if (strlen(first) == 1 && strchr("<>!=", first[0]) != NULL)
		return read_step(reader, first, text);
	return read_setting(reader, first, text);
}

struct story *story_read(const char *path)
{
	struct story *story = calloc(1, sizeof(*story));
	struct reader reader = {.story = story,
	                        .end = &story->steps,
	                        .file_end = &story->files,
	                        .stream = fopen(path, "re")};
	bool is_good = true;
	char *line;

	story->path = path;
	if (reader.stream == NULL) {
		perror(path);
		free(story);
		return NULL;
	}
	while (is_good && (line = read_line(&reader)) != NULL) {
		is_good = read_one(&reader, line);
		free(line);
	}
	fclose(reader.stream);
	if (is_good && reader.group != 0)
		is_good = complain(&reader, "'{' without '}'", "");
	if (is_good && story->service == VPNSIP__SERVICE__SERVICE_UNSPECIFIED)
		is_good = complain(&reader, "no line says which service", "");
	if (is_good)
		return story;
	story_free(story);
	return NULL;
}

void story_free(struct story *story)
{
	struct step *step, *next_step;
	struct story_file *file, *next_file;

	for (step = story->steps; step != NULL; step = next_step) {
		next_step = step->next;
		free(step->text);
		free(step);
	}
	for (file = story->files; file != NULL; file = next_file) {
		next_file = file->next;
		free(file->name);
		free(file->content);
		free(file);
	}
	for (size_t i = 0; story->arguments[i] != NULL; i++)
		free(story->arguments[i]);
	free(story);
}
