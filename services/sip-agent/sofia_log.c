/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/sofia_log.h"

#include <ctype.h>
#include <sofia-sip/su_log.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/log.h"

#define SOFIA_WARNINGS   1
#define SOFIA_EVERYTHING 9

extern su_log_t nta_log[], tport_log[];

/* sofia writes a line in pieces, one call each. */
static struct {
	char text[1024];
	size_t length;
} line;

static bool is_secret(const char *text)
{
	static const char *const headers[] = {"Authorization", "Proxy-Authorization"};

	while (isspace((unsigned char)*text))
		text++;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		size_t length = strlen(headers[i]);

		if (strncasecmp(text, headers[i], length) == 0 && strchr(": \t", text[length]))
			return true;
	}
	return false;
}

static void write_line(void)
{
	line.text[line.length] = '\0';
	const char *text = is_secret(line.text) ? "(credentials)" : line.text;

	if (line.length && log_level() >= LOG_DEBUG)
		log_line(LOG_DEBUG, "sofia: %s", text);
	else if (line.length)
		log_debug(log_is_on(LOG_SIP_VERBOSE, NULL) ? LOG_SIP_VERBOSE : LOG_SIP_ERROR, NULL,
		          NULL, "sofia: %s", text);
	line.length = 0;
}

static void take(void *stream, char const *format, va_list arguments)
{
	char piece[2048];

	(void)stream;
	vsnprintf(piece, sizeof(piece), format, arguments);
	for (const char *next = piece; *next; next++) {
		if (*next == '\n')
			write_line();
		else if (*next != '\r' && line.length + 1 < sizeof(line.text))
			line.text[line.length++] = *next;
	}
}

static su_log_t *const logs[] = {su_log_default, nta_log, tport_log};
static int level_in_force;

void sofia_log_open(void)
{
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++) {
		su_log_init(logs[i]);
		su_log_redirect(logs[i], take, NULL);
	}
	level_in_force = 0;
	sofia_log_adjust();
}

void sofia_log_adjust(void)
{
	const int level = log_level() >= LOG_DEBUG || log_is_on(LOG_SIP_VERBOSE, NULL)
	                          ? SOFIA_EVERYTHING
	                          : SOFIA_WARNINGS;

	if (level == level_in_force)
		return;
	level_in_force = level;
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++)
		su_log_set_level(logs[i], (unsigned)level);
}
