/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/log_condition.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "services/common/address.h"

#define CONDITIONS_MAX 32
#define TEXT_SIZE      80
#define TUNNEL_SIZE    16
#define SPIS_MAX       8

enum condition_kind { CONDITION_PEER = 1, CONDITION_NUMBER, CONDITION_SPI, CONDITION_SESSION };

struct condition {
	enum condition_kind kind;
	char text[TEXT_SIZE]; /* as it is told: "peer 192.0.2.0/24" */
	char name[TEXT_SIZE]; /* of NUMBER and SESSION */
	struct sockaddr_storage address;
	unsigned length;
	uint32_t spi;
};

/** A session as far as conditions need it. */
struct known_session {
	char tunnel[TUNNEL_SIZE];
	struct sockaddr_storage peer; /* family 0 = nobody knows */
	uint32_t spis[SPIS_MAX];
	size_t spi_count;
	UT_hash_handle hh;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct condition conditions[CONDITIONS_MAX];
static size_t condition_count;
static bool shows_unmatched;
static atomic_bool is_any; /* a condition: the answer to most questions, without the mutex */
static struct known_session *sessions; /* by tunnel */

/** Reads "KIND VALUE" into its canonical form. */
static bool read_condition(const char *text, struct condition *condition)
{
	static const struct {
		const char *word;
		enum condition_kind kind;
	} kinds[] = {
		{"peer ", CONDITION_PEER},
		{"remote-number ", CONDITION_NUMBER},
		{"spi ", CONDITION_SPI},
		{"session ", CONDITION_SESSION},
	};
	const char *value = NULL;
	char address[ADDRESS_TEXT_SIZE], *end;

	*condition = (struct condition){0};
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (strncmp(text, kinds[i].word, strlen(kinds[i].word)) == 0) {
			condition->kind = kinds[i].kind;
			value = text + strlen(kinds[i].word);
		}
	if (!value || !value[0] || strlen(value) >= TEXT_SIZE - 16)
		return false;
	switch (condition->kind) {
	case CONDITION_PEER:
		if (!address_parse_prefix(value, &condition->address, &condition->length)) {
			if (!address_parse(value, &condition->address))
				return false;
			condition->length = condition->address.ss_family == AF_INET6 ? 128 : 32;
		}
		address_mask(&condition->address, condition->length);
		snprintf(condition->text, TEXT_SIZE, "peer %s",
		         address_format_prefix(&condition->address, condition->length, address));
		return true;
	case CONDITION_SPI:
		errno = 0;
		condition->spi = (uint32_t)strtoul(value, &end, 0);
		if (errno || *end || !condition->spi || strtoul(value, NULL, 0) > UINT32_MAX)
			return false;
		snprintf(condition->text, TEXT_SIZE, "spi 0x%08x", condition->spi);
		return true;
	default:
		snprintf(condition->name, TEXT_SIZE, "%s", value);
		snprintf(condition->text, TEXT_SIZE, "%s", text);
		return true;
	}
}

/** The place of the condition in the list, or its end. The mutex is held. */
static size_t find_condition(const struct condition *condition)
{
	size_t i = 0;

	while (i < condition_count && strcmp(conditions[i].text, condition->text) != 0)
		i++;
	return i;
}

static int change_list(const struct condition *condition, bool is_on)
{
	size_t at = find_condition(condition);

	if (is_on && at == CONDITIONS_MAX)
		return -1;
	if (is_on && at == condition_count)
		conditions[condition_count++] = *condition;
	else if (!is_on && at < condition_count)
		conditions[at] = conditions[--condition_count];
	return 0;
}

int log_condition_change(const char *text, bool is_on)
{
	struct condition condition;
	int result = 0;

	pthread_mutex_lock(&mutex);
	if (strcmp(text, "reset") == 0) {
		condition_count = 0;
		shows_unmatched = false;
	} else if (strcmp(text, "unmatched") == 0) {
		shows_unmatched = is_on;
	} else if (read_condition(text, &condition)) {
		result = change_list(&condition, is_on);
	} else {
		result = -1;
	}
	is_any = condition_count > 0;
	pthread_mutex_unlock(&mutex);
	return result;
}

/** NULL if nothing is known of it, or `tunnel` is NULL. The mutex is held. */
static struct known_session *find_session(const char *tunnel)
{
	struct known_session *found = NULL;

	if (tunnel)
		HASH_FIND_STR(sessions, tunnel, found);
	return found;
}

static bool is_met(const struct condition *condition, const char *tunnel, const char *number,
                   const struct known_session *session)
{
	switch (condition->kind) {
	case CONDITION_NUMBER:
		return number && strcmp(number, condition->name) == 0;
	case CONDITION_SESSION:
		return tunnel && strcmp(tunnel, condition->name) == 0;
	case CONDITION_PEER:
		return session && session->peer.ss_family &&
		       address_is_in_prefix(&session->peer, &condition->address, condition->length);
	case CONDITION_SPI:
		for (size_t i = 0; session && i < session->spi_count; i++)
			if (session->spis[i] == condition->spi)
				return true;
		return false;
	}
	return false;
}

bool log_condition_holds(const char *tunnel, const char *number)
{
	const struct known_session *session;
	bool holds;

	if (!is_any)
		return true;
	pthread_mutex_lock(&mutex);
	holds = condition_count == 0 || (!tunnel && !number && shows_unmatched);
	session = find_session(tunnel);
	for (size_t i = 0; !holds && i < condition_count; i++)
		holds = is_met(&conditions[i], tunnel, number, session);
	pthread_mutex_unlock(&mutex);
	return holds;
}

void log_condition_describe(void (*told)(void *context, const char *text), void *context)
{
	pthread_mutex_lock(&mutex);
	for (size_t i = 0; i < condition_count; i++)
		told(context, conditions[i].text);
	if (shows_unmatched)
		told(context, "unmatched");
	pthread_mutex_unlock(&mutex);
}

/** The session's entry, made if there is none. NULL when out of memory. The mutex is held. */
static struct known_session *entry_of(const char *tunnel)
{
	struct known_session *entry = find_session(tunnel);

	if (entry || !(entry = calloc(1, sizeof(*entry))))
		return entry;
	snprintf(entry->tunnel, TUNNEL_SIZE, "%s", tunnel);
	HASH_ADD_STR(sessions, tunnel, entry);
	return entry;
}

void log_condition_know(const char *tunnel, const struct sockaddr_storage *peer,
                        const uint32_t *spis, size_t spi_count)
{
	struct known_session *session;

	pthread_mutex_lock(&mutex);
	session = entry_of(tunnel);
	if (session) {
		session->peer = peer ? *peer : (struct sockaddr_storage){0};
		session->spi_count = spi_count < SPIS_MAX ? spi_count : SPIS_MAX;
		if (session->spi_count)
			memcpy(session->spis, spis, session->spi_count * sizeof(*spis));
	}
	pthread_mutex_unlock(&mutex);
}
