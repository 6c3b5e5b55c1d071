/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One line per fact on stderr: "sip-agent notice: vsip7 0388884001: ...". Any thread. Never a secret. */
#ifndef VPNSIP_LOG_H
#define VPNSIP_LOG_H

#include <stdarg.h>
#include <syslog.h>

/** LOG_ERR: someone must act; LOG_WARNING: degraded; LOG_NOTICE: session up or down; LOG_INFO: transitions; LOG_DEBUG: messages. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** The same about one session: `tunnel` and `number` come first; either may be NULL. */
void log_session(int level, const char *tunnel, const char *number, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void log_va(int level, const char *tunnel, const char *number, const char *format,
            va_list arguments);

/** Name in front of each line; default is the program's. */
void log_set_name(const char *name);

/** Lines above this level are not written; default LOG_INFO. */
void log_set_level(int level);
int log_level(void);

#endif
