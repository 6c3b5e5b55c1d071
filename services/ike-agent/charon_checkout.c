/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The IKE_SAs by their numbers. libcharon finds them by their SPIs; by number it would ask one after the other, and wait for each that
 * is at work.
 */
#include "services/ike-agent/charon_internal.h"

#include <pthread.h>

/** An IKE_SA that exists. */
struct numbered_sa {
	uint32_t sa;
	ike_sa_id_t *spis;
	UT_hash_handle hh;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct numbered_sa *numbered;

void charon_number_sa(ike_sa_t *ike_sa)
{
	const uint32_t sa = ike_sa->get_unique_id(ike_sa);
	ike_sa_id_t *spis = ike_sa->get_id(ike_sa);
	struct numbered_sa *known;

	pthread_mutex_lock(&mutex);
	HASH_FIND(hh, numbered, &sa, sizeof(sa), known);
	if (known) {
		known->spis->replace_values(known->spis, spis);
	} else {
		INIT(known, .sa = sa, .spis = spis->clone(spis), );
		HASH_ADD(hh, numbered, sa, sizeof(sa), known);
	}
	pthread_mutex_unlock(&mutex);
}

static void forget(struct numbered_sa *known)
{
	HASH_DEL(numbered, known);
	known->spis->destroy(known->spis);
	free(known);
}

void charon_forget_sa(uint32_t sa)
{
	struct numbered_sa *known;

	pthread_mutex_lock(&mutex);
	HASH_FIND(hh, numbered, &sa, sizeof(sa), known);
	if (known)
		forget(known);
	pthread_mutex_unlock(&mutex);
}

ike_sa_t *charon_checkout(uint32_t sa)
{
	ike_sa_id_t *spis = NULL;
	struct numbered_sa *known;
	ike_sa_t *ike_sa;

	pthread_mutex_lock(&mutex);
	HASH_FIND(hh, numbered, &sa, sizeof(sa), known);
	if (known)
		spis = known->spis->clone(known->spis);
	pthread_mutex_unlock(&mutex);
	if (!spis)
		return NULL;
	ike_sa = charon->ike_sa_manager->checkout(charon->ike_sa_manager, spis);
	spis->destroy(spis);
	return ike_sa;
}

void charon_numbers_free(void)
{
	struct numbered_sa *each, *following;

	HASH_ITER (hh, numbered, each, following)
		forget(each);
}
