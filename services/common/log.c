/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_SIZE 2048

static char log_name[32];
static atomic_int highest_level = LOG_INFO;

static const char *const level_names[] = {
	[LOG_EMERG] = "emergency", [LOG_ALERT] = "alert",     [LOG_CRIT] = "critical",
	[LOG_ERR] = "error",       [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
	[LOG_INFO] = "info",       [LOG_DEBUG] = "debug",
};

void log_set_name(const char *name)
{
	snprintf(log_name, sizeof(log_name), "%s", name);
}

static void (*watcher)(void);

void log_watch(void (*changed)(void))
{
	watcher = changed;
}

void log_tell_watcher(void)
{
	if (watcher)
		watcher();
}

void log_set_level(int level)
{
	atomic_store(&highest_level, level);
	log_tell_watcher();
}

int log_level(void)
{
	return atomic_load(&highest_level);
}

/* What a peer sent may stand in the text: it must not be able to start a line of its own. */
static void replace_control_characters(char *text)
{
	for (; *text; text++)
		if (iscntrl((unsigned char)*text))
			*text = ' ';
}

void log_write_va(int level, const char *tunnel, const char *number, const char *format,
                  va_list arguments)
{
	char line[LINE_SIZE];
	int saved_errno = errno;
	size_t used;

	used = (size_t)snprintf(line, 256, "%s %s: %.32s%s%.40s%s",
	                        log_name[0] ? log_name : program_invocation_short_name,
	                        level_names[level <= LOG_DEBUG ? level : LOG_DEBUG],
	                        tunnel ? tunnel : "", tunnel && number ? " " : "",
	                        number ? number : "", tunnel || number ? ": " : "");
	errno = saved_errno; /* for %m */
	vsnprintf(line + used, sizeof(line) - used - 1, format, arguments);
	replace_control_characters(line);
	used = strlen(line);
	line[used++] = '\n';
	/* One write a line: lines of several threads and processes on one stream do not mix. */
	while (write(STDERR_FILENO, line, used) < 0 && errno == EINTR)
		;
	errno = saved_errno;
}

void log_va(int level, const char *tunnel, const char *number, const char *format,
            va_list arguments)
{
	if (level <= log_level() && level >= LOG_EMERG)
		log_write_va(level, tunnel, number, format, arguments);
}

void log_line(int level, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_va(level, NULL, NULL, format, arguments);
	va_end(arguments);
}

void log_session(int level, const char *tunnel, const char *number, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	log_va(level, tunnel, number, format, arguments);
	va_end(arguments);
}
