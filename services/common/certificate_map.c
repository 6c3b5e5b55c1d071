/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/certificate_map.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define NAME_SIZE 1024

struct rule {
	bool is_whole;   /* eq, ne: the whole name, else a part of it */
	bool is_negated; /* nc, ne */
	const char *text;
};

static bool read_rule(const char *text, struct rule *rule)
{
	static const struct {
		const char *name;
		bool is_whole, is_negated;
	} operators[] = {
		{"co", false, false}, {"nc", false, true}, {"eq", true, false}, {"ne", true, true}};

	for (size_t i = 0; i < sizeof(operators) / sizeof(operators[0]); i++) {
		const char *rest = text + 2;

		if (strncasecmp(text, operators[i].name, 2) != 0 || *rest != ' ')
			continue;
		rest += strspn(rest, " ");
		*rule = (struct rule){operators[i].is_whole, operators[i].is_negated, rest};
		return *rest != '\0' && strlen(rest) < NAME_SIZE;
	}
	return false;
}

const char *certificate_rule_fault(const char *rule)
{
	struct rule read;

	return read_rule(rule, &read)
	               ? NULL
	               : "expected an operator and a text: co (contains), nc (contains not), eq "
	                 "(equals) or ne, as in \"co ou=branches\"";
}

/* Lower case, no blanks around separators: "cn=branch1,o=bank". False if it does not fit. */
static bool normalise(const char *name, char text[NAME_SIZE])
{
	size_t length = 0;

	for (; *name; name++) {
		const bool is_separator = *name == ',' || *name == '=';

		while (is_separator && length > 0 && text[length - 1] == ' ')
			length--;
		if (*name == ' ' &&
		    (length == 0 || text[length - 1] == ',' || text[length - 1] == '='))
			continue;
		if (length + 1 == NAME_SIZE)
			return false;
		text[length++] = (char)tolower((unsigned char)*name);
	}
	while (length > 0 && text[length - 1] == ' ')
		length--;
	text[length] = '\0';
	return true;
}

bool certificate_rule_holds(const char *rule, const char *const *names, size_t count)
{
	struct rule read;
	char wanted[NAME_SIZE], name[NAME_SIZE];
	bool is_found = false;

	if (!read_rule(rule, &read) || !normalise(read.text, wanted))
		return false;
	for (size_t i = 0; i < count; i++) {
		/* A name too long to be compared must not pass for one that does not fit. */
		if (!normalise(names[i], name))
			return false;
		is_found |= read.is_whole ? strcmp(name, wanted) == 0
		                          : strstr(name, wanted) != NULL;
	}
	return is_found != read.is_negated;
}
