/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Facts that are told only once the response has left which they follow from, an IKE_AUTH response or the answer to a DELETE: libcharon has
 * no hook for that, but every message passes our socket.
 */
#include "services/ike-agent/charon_internal.h"

#include <encoding/payloads/ike_header.h>
#include <pthread.h>

/* The IKE header, RFC 7296 section 3.1 */
#define HEADER_SIZE          28
#define INITIATOR_SPI_OFFSET 0
#define RESPONDER_SPI_OFFSET 8
#define EXCHANGE_TYPE_OFFSET 18
#define FLAGS_OFFSET         19
#define FLAG_RESPONSE        0x20

/** A fact and the response that it waits for. */
struct waiting_fact {
	struct waiting_fact *next;
	struct engine_fact fact;
	uint8_t exchange;
	bool is_told; /* the response has passed the socket; only of an IKE_SA's end, while the IKE_SA exists */
	bool is_orphan; /* the IKE_SA does not exist any more */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct waiting_fact *waiting_facts;

void charon_report_after_response(const struct engine_fact *fact, exchange_type_t exchange)
{
	struct waiting_fact *waiting;

	INIT(waiting, .fact = *fact, .exchange = exchange, );
	pthread_mutex_lock(&mutex);
	waiting->next = waiting_facts;
	waiting_facts = waiting;
	pthread_mutex_unlock(&mutex);
}

static bool is_awaited(const struct waiting_fact *waiting, chunk_t message)
{
	return !waiting->is_told && waiting->exchange == message.ptr[EXCHANGE_TYPE_OFFSET] &&
	       waiting->fact.initiator_spi == untoh64(message.ptr + INITIATOR_SPI_OFFSET) &&
	       waiting->fact.responder_spi == untoh64(message.ptr + RESPONDER_SPI_OFFSET);
}

static void free_linked(struct waiting_fact **link)
{
	struct waiting_fact *waiting = *link;

	*link = waiting->next;
	free(waiting);
}

struct engine_fact *charon_take_fact_of(chunk_t message)
{
	struct waiting_fact **link = &waiting_facts;
	struct engine_fact *found = NULL;

	if (message.len < HEADER_SIZE || !(message.ptr[FLAGS_OFFSET] & FLAG_RESPONSE))
		return NULL;
	pthread_mutex_lock(&mutex);
	while (*link && !is_awaited(*link, message))
		link = &(*link)->next;
	if (*link) {
		found = malloc_thing(struct engine_fact);
		*found = (*link)->fact;
		if (found->kind == ENGINE_SA_GONE && !(*link)->is_orphan)
			(*link)->is_told = true;
		else
			free_linked(link);
	}
	pthread_mutex_unlock(&mutex);
	return found;
}

bool charon_end_responses(uint32_t sa)
{
	struct waiting_fact **link = &waiting_facts;
	bool is_told = false;

	pthread_mutex_lock(&mutex);
	while (*link) {
		struct waiting_fact *waiting = *link;
		bool is_end = waiting->fact.kind == ENGINE_SA_GONE;

		if (waiting->fact.sa != sa) {
			link = &waiting->next;
			continue;
		}
		is_told |= is_end;
		waiting->is_orphan = true;
		/* Any other response than that to a DELETE was never made. */
		if (waiting->is_told || !is_end)
			free_linked(link);
		else
			link = &waiting->next;
	}
	pthread_mutex_unlock(&mutex);
	return is_told;
}

void charon_responses_free(void)
{
	while (waiting_facts)
		free_linked(&waiting_facts);
}
