/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Facts that are told only once the IKE_AUTH response has left which they follow from: libcharon has no hook for that, but
 * every message passes our socket.
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

/** A fact that waits for its IKE_AUTH response to leave. */
struct waiting_fact {
	struct engine_fact fact; /* first: who takes it out frees it */
	struct waiting_fact *next;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct waiting_fact *waiting_facts;

void charon_report_after_response(const struct engine_fact *fact)
{
	struct waiting_fact *waiting;

	INIT(waiting, .fact = *fact, );
	pthread_mutex_lock(&mutex);
	waiting->next = waiting_facts;
	waiting_facts = waiting;
	pthread_mutex_unlock(&mutex);
}

static bool is_response_of(const struct engine_fact *fact, chunk_t message)
{
	return fact->initiator_spi == untoh64(message.ptr + INITIATOR_SPI_OFFSET) &&
	       fact->responder_spi == untoh64(message.ptr + RESPONDER_SPI_OFFSET);
}

/** Takes the entry off the list that the link holds, if it holds one. */
static struct waiting_fact *unlink_fact(struct waiting_fact **link)
{
	struct waiting_fact *found = *link;

	if (found)
		*link = found->next;
	return found;
}

struct engine_fact *charon_take_fact_of(chunk_t message)
{
	struct waiting_fact **link = &waiting_facts, *found;

	if (message.len < HEADER_SIZE || message.ptr[EXCHANGE_TYPE_OFFSET] != IKE_AUTH ||
	    !(message.ptr[FLAGS_OFFSET] & FLAG_RESPONSE))
		return NULL;
	pthread_mutex_lock(&mutex);
	while (*link && !is_response_of(&(*link)->fact, message))
		link = &(*link)->next;
	found = unlink_fact(link);
	pthread_mutex_unlock(&mutex);
	return found ? &found->fact : NULL;
}

void charon_forget_response(uint32_t sa)
{
	struct waiting_fact **link = &waiting_facts, *found;

	pthread_mutex_lock(&mutex);
	while (*link && (*link)->fact.sa != sa)
		link = &(*link)->next;
	found = unlink_fact(link);
	pthread_mutex_unlock(&mutex);
	free(found);
}

void charon_responses_free(void)
{
	while (waiting_facts)
		free(unlink_fact(&waiting_facts));
}
