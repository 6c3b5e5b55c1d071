/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/number.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *without_scheme(const char *text)
{
	static const char *const schemes[] = {"tel:", "sip:", "sips:"};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
		if (strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
			return text + strlen(schemes[i]);
	return text;
}

bool number_normalise(const char *text, const char *country_code, const char *trunk_prefix,
                      char digits[NUMBER_SIZE])
{
	const size_t code_length = strlen(country_code);
	size_t length = 0;

	text = without_scheme(text);
	if (code_length && text[0] == '+' && strncmp(text + 1, country_code, code_length) == 0) {
		length = (size_t)snprintf(digits, NUMBER_SIZE, "%s", trunk_prefix);
		text += 1 + code_length;
	}
	for (; *text && !strchr("@;?", *text); text++) {
		if (strchr("-.()", *text))
			continue;
		if (*text < '0' || *text > '9' || length + 1 >= NUMBER_SIZE)
			return false;
		digits[length++] = *text;
	}
	digits[length] = '\0';
	return length > 0;
}
