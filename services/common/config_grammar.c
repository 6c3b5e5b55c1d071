/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The syntax: libconfuse reads every value as text with its line; what the text means is decided afterwards. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/config_internal.h"
#include "services/common/suggest.h"

/* Names that nobody can write by accident. */
#define LINE_OPTION "(line)"
#define END_OPTION  "(end)"

#define FINDING_SIZE 512

/* libconfuse's callbacks carry no context of ours. Configuration is read on one thread, before any other starts. */
static struct config_reading *current_reading;
static cfg_t *current_root;

static void report(struct config_reading *reading, int level, int line, const char *format,
                   va_list arguments)
{
	char text[FINDING_SIZE];

	vsnprintf(text, sizeof(text), format, arguments);
	if (level <= LOG_ERR)
		reading->errors++;
	reading->report(reading->context, level, reading->file, line, text);
}

void config_error(struct config_reading *reading, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(reading, LOG_ERR, line, format, arguments);
	va_end(arguments);
}

void config_warning(struct config_reading *reading, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(reading, LOG_WARNING, line, format, arguments);
	va_end(arguments);
}

void config_notice(struct config_reading *reading, int line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	report(reading, LOG_NOTICE, line, format, arguments);
	va_end(arguments);
}

void config_report_to_stream(void *context, int level, const char *file, int line, const char *text)
{
	FILE *stream = context ? context : stderr;
	const char *name = level <= LOG_ERR ? "error" : level == LOG_WARNING ? "warning" : "notice";

	if (line > 0)
		fprintf(stream, "%s:%d: %s: %s\n", file, line, name, text);
	else
		fprintf(stream, "%s: %s: %s\n", file, name, text);
}

char *config_read_file(struct config_reading *reading, size_t *size)
{
	FILE *stream = fopen(reading->file, "re");
	char *text = NULL;
	size_t capacity = 0;
	ssize_t length;

	if (!stream) {
		config_error(reading, 0, "cannot be opened: %m");
		return NULL;
	}
	errno = 0;
	length = getdelim(&text, &capacity, '\0', stream);
	if (ferror(stream)) {
		config_error(reading, 0, "cannot be read: %m");
		goto fail;
	}
	if (length < 0) { /* an empty file */
		length = 0;
		if (!text && !(text = strdup("")))
			goto fail;
		text[0] = '\0';
	}
	if (strlen(text) != (size_t)length || fgetc(stream) != EOF) {
		config_error(reading, 0, "is not a text file: it has a zero octet");
		goto fail;
	}
	if (size)
		*size = (size_t)length;
	fclose(stream);
	return text;
fail:
	free(text);
	fclose(stream);
	return NULL;
}

static int keep_value(cfg_t *section, cfg_opt_t *option, const char *text, void *result)
{
	struct config_value *value;
	const char *first_line = cfg_opt_getcomment(option);
	char line[16];
	int newlines = 0;

	for (const char *c = strchr(text, '\n'); c; c = strchr(c + 1, '\n'))
		newlines++;
	if (newlines) {
		config_error(
			current_reading, section->line - newlines,
			"%s: a text does not go over the end of a line: a closing quote is missing",
			option->name);
		return -1;
	}
	if (first_line && !(option->flags & CFGF_LIST)) {
		config_error(current_reading, section->line,
		             "'%s' is given twice: first in line %s", option->name, first_line);
	} else {
		snprintf(line, sizeof(line), "%d", section->line);
		cfg_opt_setcomment(option, line);
	}
	value = calloc(1, sizeof(*value));
	if (!value)
		return -1;
	value->line = section->line;
	value->text = strdup(text);
	*(void **)result = value;
	return value->text ? 0 : -1;
}

static void free_value(void *pointer)
{
	struct config_value *value = pointer;

	if (value->text)
		explicit_bzero(value->text, strlen(value->text)); /* it may be a key */
	free(value->text);
	free(value);
}

cfg_opt_t config_value_option(const char *name, bool is_list)
{
	cfg_opt_t single = CFG_PTR_CB(name, NULL, CFGF_NONE, keep_value, free_value);
	cfg_opt_t list = CFG_PTR_LIST_CB(name, NULL, CFGF_NONE, keep_value, free_value);

	return is_list ? list : single;
}

/* Its default is "parsed" when a section opens: that is when libconfuse still knows the line. */
cfg_opt_t config_line_option(void)
{
	cfg_opt_t option = config_value_option(LINE_OPTION, false);

	option.def.parsed = (char *)"opened";
	return option;
}

/* Stands at the end of every text: see config_parse(). */
cfg_opt_t config_end_option(void)
{
	return config_value_option(END_OPTION, false);
}

const struct config_value *config_value(cfg_t *section, const char *name, unsigned index)
{
	return cfg_size(section, name) > index ? cfg_getnptr(section, name, index) : NULL;
}

int config_section_line(cfg_t *section)
{
	const struct config_value *value = config_value(section, LINE_OPTION, 0);

	return value ? value->line : 0;
}

static bool is_root_option(const char *word)
{
	for (cfg_opt_t *option = current_root->opts; option->name; option++)
		if (strcmp(option->name, word) == 0)
			return true;
	return false;
}

static void report_unknown(cfg_t *section, const char *word)
{
	const char *known[64];
	size_t count = 0;
	const char *near;
	char suggestion[80] = "";

	for (cfg_opt_t *option = section->opts; option->name && count < 64; option++)
		if (option->name[0] != '(')
			known[count++] = option->name;
	near = suggest_word(word, known, count);
	if (near)
		snprintf(suggestion, sizeof(suggestion), "; did you mean '%s'?", near);
	config_error(current_reading, section->line, "unknown %s '%s'%s",
	             strcmp(section->name, "root") == 0 ? "option or section" : "option", word,
	             suggestion);
}

/* Puts libconfuse's messages into our words; they are recognised by their formats. */
static void report_syntax(cfg_t *section, const char *format, va_list arguments)
{
	const char *word = strchr(format, '%') ? va_arg(arguments, const char *) : "";
	int line = section->line;

	if (strstr(format, "no such option") && section != current_root && is_root_option(word))
		config_error(current_reading, config_section_line(section),
		             "section '%s' is not closed: a '}' is missing", section->name);
	else if (strstr(format, "no such option"))
		report_unknown(section, word);
	else if (strstr(format, "duplicate title"))
		config_error(current_reading, line, "\"%s\" is already configured further up",
		             word);
	else if (strstr(format, "premature end"))
		config_error(current_reading, line, "the file ends inside a quoted text");
	else if (strstr(format, "equal sign"))
		config_error(current_reading, line, "expected '=' after '%s'", word);
	else if (strstr(format, "missing title"))
		config_error(current_reading, line, "section '%s' needs a name: %s \"...\" { }",
		             word, word);
	else if (strstr(format, "opening brace"))
		config_error(current_reading, line, "expected '{' after section '%s'", word);
	else if (strstr(format, "unexpected token"))
		config_error(current_reading, line, "unexpected '%s': expected %s", word,
		             word[0] == '}' || word[0] == '=' ? "a value or an option's name"
		                                              : "name = value");
	else
		config_error(current_reading, line, "syntax error");
}

cfg_t *config_parse(struct config_reading *reading, cfg_opt_t *grammar, const char *text)
{
	cfg_t *root = cfg_init(grammar, CFGF_NONE);
	char *closed = NULL;
	unsigned errors_before = reading->errors;
	int result;

	/* libconfuse takes the end of the file for the end of an open section: a last option shows in which we are. */
	if (!root || asprintf(&closed, "%s\n\"" END_OPTION "\" = 1\n", text) < 0) {
		config_error(reading, 0, "out of memory");
		goto fail;
	}
	current_reading = reading;
	current_root = root;
	cfg_set_error_function(root, report_syntax);
	result = cfg_parse_buf(root, closed);
	current_reading = NULL;
	current_root = NULL;
	if (result != CFG_SUCCESS && reading->errors == errors_before)
		config_error(reading, root->line, "syntax error");
	explicit_bzero(closed, strlen(closed));
	free(closed);
	if (result == CFG_SUCCESS)
		return root;
fail:
	if (root)
		cfg_free(root);
	return NULL;
}
