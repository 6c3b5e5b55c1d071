/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One line per fact on stderr: "sip-agent notice: vsip7 0388884001: ...". Any thread. Never a secret. */
#ifndef VPNSIP_LOG_H
#define VPNSIP_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <syslog.h>

/** LOG_ERR: someone must act; LOG_WARNING: degraded; LOG_NOTICE: session up or down; LOG_INFO: transitions; LOG_DEBUG: messages. */
void log_line(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** The same about one session: `tunnel` and `number` come first; either may be NULL. */
void log_session(int level, const char *tunnel, const char *number, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

void log_va(int level, const char *tunnel, const char *number, const char *format,
            va_list arguments);

/**
 * Debug lines that an operator switches on at run time, for all sessions or one: the guide's 19 `debug vpn-sip` switches (VPN-SIP
 * chapter, "Debug Commands"), and one per other area. Each has its documented meaning in docs/troubleshooting.md.
 */
enum log_category {
	LOG_EVENT,  /* "event": what the state machines receive and become */
	LOG_ERRORS, /* "errors": failures with their cause */
	LOG_SIP_CALLS,
	LOG_SIP_DHCP,
	LOG_SIP_ERROR,
	LOG_SIP_EVENTS,
	LOG_SIP_FEATURE,
	LOG_SIP_FUNCTION,
	LOG_SIP_INFO,
	LOG_SIP_LEVEL,
	LOG_SIP_MEDIA,
	LOG_SIP_MESSAGES, /* whole messages, credentials blanked */
	LOG_SIP_NON_CALL,
	LOG_SIP_PREAUTH,
	LOG_SIP_STATES,
	LOG_SIP_TRANSLATE,
	LOG_SIP_TRANSPORT,
	LOG_SIP_VERBOSE,
	LOG_IKE,
	LOG_IKE_ERROR, /* the failures among them; "ike" shows these too */
	LOG_TUNNEL,
	LOG_TUNNEL_ERROR,
	LOG_TRACK,
	LOG_NAT_QOS,
	LOG_BUS,
	LOG_CATEGORY_COUNT
};

/** As typed after `debug vpn-sip`: "sip non-call". Indexed by enum log_category. */
extern const char *const log_category_names[LOG_CATEGORY_COUNT];

/** Switches a category on or off. `category` "all" or "sip all" means several; `tunnel` NULL or "" = all sessions. 0, or -1 if unknown. */
int log_switch(const char *category, const char *tunnel, bool is_on);

/** Is the category on, for this session (NULL: for any)? Any thread; to save the work of making a text. */
bool log_is_on(enum log_category category, const char *tunnel);

/** Writes a line at LOG_DEBUG if the category is on for this session, whatever the level is. */
void log_debug(enum log_category category, const char *tunnel, const char *number,
               const char *format, ...) __attribute__((format(printf, 4, 5)));

/** Has `changed` called after each change of a switch or of the level, in the thread that made it. */
void log_watch(void (*changed)(void));
/** Calls it: for the files of the log alone. */
void log_tell_watcher(void);

/** Calls `told` for each switch that is on: "sip messages", or "sip messages vsip7". */
void log_describe(void (*told)(void *context, const char *text), void *context);

/** Writes a line whatever the level is. */
void log_write_va(int level, const char *tunnel, const char *number, const char *format,
                  va_list arguments);

/** Name in front of each line; default is the program's. */
void log_set_name(const char *name);

/** Lines above this level are not written; default LOG_INFO. */
void log_set_level(int level);
int log_level(void);

#endif
