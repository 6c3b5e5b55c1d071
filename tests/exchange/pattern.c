/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/exchange/pattern.h"

#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Objects with one of these as their only key stand for themselves nowhere: fields have no such names. */
#define CAPTURE "$capture"
#define REGEX   "$regex"

/** The name after a '$'; its length. */
static size_t name_length(const char *text)
{
	size_t length = 0;

	while (isalnum((unsigned char)text[length]) || text[length] == '_')
		length++;
	return length;
}

static void put_plain(FILE *stream, const json_t *value)
{
	if (json_is_string(value))
		fputs(json_string_value(value), stream);
	else
		json_dumpf(value, stream, JSON_ENCODE_ANY);
}

/** Copies one variable's value; what has none becomes a capture, which cannot be part of a string. */
static int put_variable(FILE *stream, const char *name, size_t length, bool is_in_string,
                        const json_t *variables, char *why, size_t why_size)
{
	char key[64];
	const json_t *value;

	snprintf(key, sizeof(key), "%.*s", (int)length, name);
	value = json_object_get(variables, key);
	if (value == NULL && is_in_string) {
		snprintf(why, why_size, "$%s has no value yet", key);
		return -1;
	}
	if (value == NULL)
		fprintf(stream, "{\"" CAPTURE "\":\"%s\"}", key);
	else if (is_in_string)
		put_plain(stream, value);
	else
		json_dumpf(value, stream, JSON_ENCODE_ANY);
	return 0;
}

static char *substitute(const char *text, const json_t *variables, char *why, size_t why_size)
{
	char *result = NULL;
	size_t size;
	FILE *stream = open_memstream(&result, &size);
	bool is_in_string = false;

	for (; *text != '\0'; text++) {
		size_t length = *text == '$' ? name_length(text + 1) : 0;

		if (length > 0) {
			if (put_variable(stream, text + 1, length, is_in_string, variables, why,
			                 why_size) != 0)
				goto failed;
			text += length;
			continue;
		}
		if (*text == '\\' && is_in_string && text[1] != '\0')
			fputc(*text++, stream);
		else if (*text == '"')
			is_in_string = !is_in_string;
		fputc(*text, stream);
	}
	fclose(stream);
	return result;
failed:
	fclose(stream);
	free(result);
	return NULL;
}

/** The end of a value: the next blank outside of a string. */
static const char *value_end(const char *text)
{
	bool is_in_string = false;

	for (; *text != '\0' && (is_in_string || !isblank((unsigned char)*text)); text++) {
		if (*text == '\\' && is_in_string && text[1] != '\0')
			text++;
		else if (*text == '"')
			is_in_string = !is_in_string;
	}
	return text;
}

static json_t *read_value(const char *text, size_t length)
{
	json_error_t error;
	json_t *value;

	if (length > 0 && text[0] == '~') {
		json_t *regex = json_loadb(text + 1, length - 1, JSON_DECODE_ANY, &error);

		return regex != NULL ? json_pack("{so}", REGEX, regex) : NULL;
	}
	value = json_loadb(text, length, JSON_DECODE_ANY, &error);
	/* A bare word: the name of an enumeration value, or an address. */
	return value != NULL ? value : json_stringn(text, length);
}

/** The member `name` of an object, or the element of a list when it is a number; made if it is not there. */
static json_t *enter(json_t *parent, const char *name, bool is_list)
{
	json_t *child;

	if (json_is_array(parent)) {
		size_t index = strtoul(name, NULL, 10);

		while (json_array_size(parent) <= index)
			json_array_append_new(parent, is_list ? json_array() : json_object());
		return json_array_get(parent, index);
	}
	child = json_object_get(parent, name);
	if (child == NULL) {
		child = is_list ? json_array() : json_object();
		json_object_set_new(parent, name, child);
	}
	return child;
}

/** offer.fingerprints.0.hash=VALUE */
static void set_path(json_t *object, char *path, json_t *value)
{
	char *name = path, *dot;

	while ((dot = strchr(name, '.')) != NULL) {
		*dot = '\0';
		object = enter(object, name, isdigit((unsigned char)dot[1]) != 0);
		name = dot + 1;
	}
	if (json_is_array(object))
		json_array_append_new(object, value);
	else
		json_object_set_new(object, name, value);
}

static json_t *read_pairs(const char *text, char *why, size_t why_size)
{
	json_t *object = json_object();

	for (text += strspn(text, " \t"); *text != '\0'; text += strspn(text, " \t")) {
		const char *equals = strchr(text, '='), *end;
		char path[128];
		json_t *value;

		if (equals == NULL || equals - text >= (int)sizeof(path)) {
			snprintf(why, why_size, "expected name=value, got \"%s\"", text);
			goto failed;
		}
		snprintf(path, sizeof(path), "%.*s", (int)(equals - text), text);
		end = value_end(equals + 1);
		value = read_value(equals + 1, (size_t)(end - equals - 1));
		if (value == NULL) {
			snprintf(why, why_size, "%s: cannot read its value", path);
			goto failed;
		}
		set_path(object, path, value);
		text = end;
	}
	return object;
failed:
	json_decref(object);
	return NULL;
}

json_t *pattern_read(const char *text, const json_t *variables, char *why, size_t why_size)
{
	char *substituted = substitute(text, variables, why, why_size);
	json_error_t error;
	json_t *object;

	if (substituted == NULL)
		return NULL;
	if (substituted[0] == '{') {
		object = json_loads(substituted, 0, &error);
		if (object == NULL)
			snprintf(why, why_size, "%s (line %d of it)", error.text, error.line);
	} else {
		object = read_pairs(substituted, why, why_size);
	}
	free(substituted);
	return object;
}

static bool differ(const char *path, const json_t *pattern, const json_t *actual, char *why,
                   size_t why_size)
{
	char *expected = json_dumps(pattern, JSON_ENCODE_ANY | JSON_COMPACT);
	char *got = actual != NULL ? json_dumps(actual, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;

	snprintf(why, why_size, "%s: expected %s, got %s", path, expected,
	         got != NULL ? got : "nothing");
	free(expected);
	free(got);
	return false;
}

static bool regex_matches(const char *expression, const json_t *actual)
{
	char number[24];
	const char *text = json_string_value(actual);
	regex_t regex;
	bool is_match;

	if (json_is_integer(actual)) {
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(actual));
		text = number;
	}
	if (!text || regcomp(&regex, expression, REG_EXTENDED | REG_NOSUB) != 0)
		return false;
	is_match = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return is_match;
}

static bool match(const char *path, const json_t *pattern, const json_t *actual, json_t *captured,
                  char *why, size_t why_size);

static bool match_list(const char *path, const json_t *pattern, const json_t *actual,
                       json_t *captured, char *why, size_t why_size)
{
	char below[256];

	if (json_array_size(pattern) != json_array_size(actual) || !json_is_array(actual))
		return differ(path, pattern, actual, why, why_size);
	for (size_t i = 0; i < json_array_size(pattern); i++) {
		snprintf(below, sizeof(below), "%s.%zu", path, i);
		if (!match(below, json_array_get(pattern, i), json_array_get(actual, i), captured,
		           why, why_size))
			return false;
	}
	return true;
}

static bool match(const char *path, const json_t *pattern, const json_t *actual, json_t *captured,
                  char *why, size_t why_size)
{
	const json_t *special;
	const char *name;
	json_t *member;
	char below[256];

	special = json_object_get(pattern, CAPTURE);
	if (special != NULL) {
		const json_t *before = json_object_get(captured, json_string_value(special));

		if (before != NULL && !json_equal(before, actual))
			return differ(path, before, actual, why, why_size);
		json_object_set(captured, json_string_value(special), (json_t *)actual);
		return true;
	}
	special = json_object_get(pattern, REGEX);
	if (special != NULL)
		return regex_matches(json_string_value(special), actual) ||
		       differ(path, pattern, actual, why, why_size);
	if (json_is_array(pattern))
		return match_list(path, pattern, actual, captured, why, why_size);
	if (!json_is_object(pattern))
		return json_equal(pattern, actual) || differ(path, pattern, actual, why, why_size);
	if (!json_is_object(actual))
		return differ(path, pattern, actual, why, why_size);
	json_object_foreach ((json_t *)pattern, name, member) {
		snprintf(below, sizeof(below), "%s%s%s", path, path[0] != '\0' ? "." : "", name);
		if (!match(below, member, json_object_get(actual, name), captured, why, why_size))
			return false;
	}
	return true;
}

bool pattern_matches(const json_t *pattern, const json_t *actual, json_t *variables, char *why,
                     size_t why_size)
{
	json_t *captured = json_object();
	bool is_match = match("", pattern, actual, captured, why, why_size);

	if (is_match)
		json_object_update(variables, captured);
	json_decref(captured);
	return is_match;
}

bool pattern_has_captures(const json_t *pattern)
{
	char *text = json_dumps(pattern, 0);
	bool has_captures = text != NULL && strstr(text, "\"" CAPTURE "\"") != NULL;

	free(text);
	return has_captures;
}
