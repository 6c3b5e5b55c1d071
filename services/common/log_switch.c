/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which debug lines are wanted: per category for all sessions, or for one. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/common/log_condition.h"

#define SESSIONS_MAXIMUM 8
#define TUNNEL_SIZE      16

const char *const log_category_names[LOG_CATEGORY_COUNT] = {
	[LOG_EVENT] = "event",
	[LOG_ERRORS] = "errors",
	[LOG_SIP_CALLS] = "sip calls",
	[LOG_SIP_DHCP] = "sip dhcp",
	[LOG_SIP_ERROR] = "sip error",
	[LOG_SIP_EVENTS] = "sip events",
	[LOG_SIP_FEATURE] = "sip feature",
	[LOG_SIP_FUNCTION] = "sip function",
	[LOG_SIP_INFO] = "sip info",
	[LOG_SIP_LEVEL] = "sip level",
	[LOG_SIP_MEDIA] = "sip media",
	[LOG_SIP_MESSAGES] = "sip messages",
	[LOG_SIP_NON_CALL] = "sip non-call",
	[LOG_SIP_PREAUTH] = "sip preauth",
	[LOG_SIP_STATES] = "sip states",
	[LOG_SIP_TRANSLATE] = "sip translate",
	[LOG_SIP_TRANSPORT] = "sip transport",
	[LOG_SIP_VERBOSE] = "sip verbose",
	[LOG_IKE] = "ike",
	[LOG_IKE_ERROR] = "ike error",
	[LOG_TUNNEL] = "tunnel",
	[LOG_TUNNEL_ERROR] = "tunnel error",
	[LOG_TRACK] = "track",
	[LOG_NAT_QOS] = "nat-qos",
	[LOG_BUS] = "bus",
};

/* The sessions of a category that is on for some only; an empty name is a free place. */
struct category {
	bool is_on_for_all;
	char tunnels[SESSIONS_MAXIMUM][TUNNEL_SIZE];
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct category categories[LOG_CATEGORY_COUNT];
static _Atomic unsigned
	on_for_any; /* bit per category: the answer to most questions, without the mutex */

static void summarise(enum log_category number)
{
	const struct category *category = &categories[number];
	bool is_on = category->is_on_for_all;

	for (int i = 0; i < SESSIONS_MAXIMUM; i++)
		is_on |= category->tunnels[i][0] != '\0';
	if (is_on)
		atomic_fetch_or(&on_for_any, 1u << number);
	else
		atomic_fetch_and(&on_for_any, ~(1u << number));
}

static void switch_one(enum log_category number, const char *tunnel, bool is_on)
{
	struct category *category = &categories[number];
	char *free_place = NULL;

	if (tunnel[0] == '\0') {
		memset(category, 0, sizeof(*category));
		category->is_on_for_all = is_on;
		return;
	}
	for (int i = 0; i < SESSIONS_MAXIMUM; i++) {
		if (strcmp(category->tunnels[i], tunnel) == 0)
			category->tunnels[i][0] = '\0';
		if (category->tunnels[i][0] == '\0')
			free_place = category->tunnels[i];
	}
	/* One session more than there are places: all of them are shown, none is missed. */
	if (is_on && free_place == NULL)
		category->is_on_for_all = true;
	else if (is_on)
		snprintf(free_place, TUNNEL_SIZE, "%s", tunnel);
}

static bool is_meant(const char *category, const char *name)
{
	return strcmp(category, "all") == 0 || strcmp(category, name) == 0 ||
	       (strcmp(category, "sip all") == 0 && strncmp(name, "sip ", 4) == 0);
}

int log_switch(const char *category, const char *tunnel, bool is_on)
{
	int result = -1;

	pthread_mutex_lock(&mutex);
	for (int i = 0; i < LOG_CATEGORY_COUNT; i++) {
		if (!is_meant(category, log_category_names[i]))
			continue;
		switch_one(i, tunnel != NULL ? tunnel : "", is_on);
		summarise(i);
		result = 0;
	}
	pthread_mutex_unlock(&mutex);
	log_tell_watcher();
	return result;
}

/** The category whose lines include this one's, or itself. */
static enum log_category whole_of(enum log_category category)
{
	return category == LOG_IKE_ERROR      ? LOG_IKE
	       : category == LOG_TUNNEL_ERROR ? LOG_TUNNEL
	                                      : category;
}

static bool is_crypto(enum log_category category)
{
	return whole_of(category) == LOG_IKE || whole_of(category) == LOG_TUNNEL;
}

static bool is_on(enum log_category category, const char *tunnel)
{
	bool is_on;

	if ((atomic_load(&on_for_any) & 1u << category) == 0)
		return false;
	pthread_mutex_lock(&mutex);
	is_on = categories[category].is_on_for_all || tunnel == NULL;
	for (int i = 0; !is_on && i < SESSIONS_MAXIMUM; i++)
		is_on = strcmp(categories[category].tunnels[i], tunnel) == 0;
	pthread_mutex_unlock(&mutex);
	return is_on;
}

bool log_is_on(enum log_category category, const char *tunnel)
{
	return is_on(category, tunnel) || is_on(whole_of(category), tunnel);
}

void log_debug(enum log_category category, const char *tunnel, const char *number,
               const char *format, ...)
{
	va_list arguments;

	if (!log_is_on(category, tunnel) ||
	    (is_crypto(category) && !log_condition_holds(tunnel, number)))
		return;
	va_start(arguments, format);
	log_write_va(LOG_DEBUG, tunnel, number, format, arguments);
	va_end(arguments);
}

void log_describe(void (*told)(void *context, const char *text), void *context)
{
	char text[64];

	pthread_mutex_lock(&mutex);
	for (int i = 0; i < LOG_CATEGORY_COUNT; i++) {
		if (categories[i].is_on_for_all)
			told(context, log_category_names[i]);
		for (int j = 0; j < SESSIONS_MAXIMUM; j++) {
			if (categories[i].tunnels[j][0] == '\0')
				continue;
			snprintf(text, sizeof(text), "%s %s", log_category_names[i],
			         categories[i].tunnels[j]);
			told(context, text);
		}
	}
	pthread_mutex_unlock(&mutex);
}
