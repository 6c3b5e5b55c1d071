/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ends of lifetimes. libcharon's scheduler keeps a job until its time has come, however long its SA is gone: with
 * short sessions those of a whole lifetime would add up. Here deadlines go with their SA, and one job waits for the next.
 */
#include "services/ike-agent/charon_internal.h"

#include <processing/jobs/callback_job.h>
#include <pthread.h>
#include <string.h>

/* The longest wait: a job that waits in vain, because an earlier deadline came after it, is gone after that. */
#define WAIT_MAX_SEC 900

/** Whose deadlines. Without padding: the table goes by its octets. */
struct deadline_key {
	charon_meet_fn *meet;
	uint64_t owner;
};

/** The two deadlines of an owner: one of them at least is set. */
struct deadlines {
	struct deadline_key key;
	time_t due[2]; /* soft and hard; CLOCK_MONOTONIC; 0 = none */
	UT_hash_handle hh;
};

/** A deadline that is met. */
struct met_deadline {
	struct met_deadline *next;
	struct deadline_key key;
	bool is_hard;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct deadlines *owners;
static time_t wake_at; /* when the job that waits looks here; 0 = none waits */

static job_requeue_t meet_due(void *unused);

/** Sees to it that a job looks here at that time or before. The mutex is held. */
static void wake_for(time_t due)
{
	time_t now = time_monotonic(NULL), wake = min(due, now + WAIT_MAX_SEC);

	if (wake_at != 0 && wake_at <= wake)
		return;
	wake_at = wake;
	lib->scheduler->schedule_job(lib->scheduler,
	                             (job_t *)callback_job_create(meet_due, NULL, NULL, NULL),
	                             wake > now ? wake - now : 0);
}

/** The owner's, or NULL. The mutex is held. */
static struct deadlines *find(charon_meet_fn *meet, uint64_t owner)
{
	struct deadline_key key;
	struct deadlines *found;

	memset(&key, 0, sizeof(key)); /* all its octets are hashed */
	key.meet = meet;
	key.owner = owner;
	HASH_FIND(hh, owners, &key, sizeof(key), found);
	return found;
}

static void forget(struct deadlines *deadlines)
{
	HASH_DEL(owners, deadlines);
	free(deadlines);
}

/** Takes the due ones off the table and returns them. All are looked at, but once in a second at the most. The mutex is held. */
static struct met_deadline *take_due(time_t now, time_t *next)
{
	struct met_deadline *met = NULL, *deadline;
	struct deadlines *each, *following;

	*next = 0;
	HASH_ITER (hh, owners, each, following) {
		for (int is_hard = 0; is_hard < 2; is_hard++) {
			if (each->due[is_hard] > now)
				*next = *next ? min(*next, each->due[is_hard]) : each->due[is_hard];
			if (each->due[is_hard] == 0 || each->due[is_hard] > now)
				continue;
			each->due[is_hard] = 0;
			INIT(deadline, .next = met, .key = each->key, .is_hard = is_hard, );
			met = deadline;
		}
		if (each->due[0] == 0 && each->due[1] == 0)
			forget(each);
	}
	return met;
}

static job_requeue_t meet_due(void *unused)
{
	time_t now = time_monotonic(NULL), next;
	struct met_deadline *met;

	pthread_mutex_lock(&mutex);
	met = take_due(now, &next);
	if (wake_at <= now)
		wake_at = 0;
	if (next != 0)
		wake_for(next);
	pthread_mutex_unlock(&mutex);
	while (met) {
		struct met_deadline *deadline = met;

		met = deadline->next;
		deadline->key.meet(deadline->key.owner, deadline->is_hard);
		free(deadline);
	}
	return JOB_REQUEUE_NONE;
}

void charon_set_deadline(charon_meet_fn *meet, uint64_t owner, bool is_hard, uint64_t delay_sec)
{
	struct deadlines *deadlines;

	if (delay_sec == 0)
		return;
	pthread_mutex_lock(&mutex);
	deadlines = find(meet, owner);
	if (!deadlines) {
		INIT(deadlines, .key = {.meet = meet, .owner = owner}, );
		HASH_ADD(hh, owners, key, sizeof(deadlines->key), deadlines);
	}
	if (deadlines->due[is_hard] == 0) {
		deadlines->due[is_hard] = time_monotonic(NULL) + delay_sec;
		wake_for(deadlines->due[is_hard]);
	}
	pthread_mutex_unlock(&mutex);
}

uint64_t charon_deadline_usec(charon_meet_fn *meet, uint64_t owner, bool is_hard)
{
	const struct deadlines *deadlines;
	uint64_t due_usec;

	pthread_mutex_lock(&mutex);
	deadlines = find(meet, owner);
	due_usec = deadlines ? deadlines->due[is_hard] * 1000000ull : 0;
	pthread_mutex_unlock(&mutex);
	return due_usec;
}

void charon_drop_deadlines(charon_meet_fn *meet, uint64_t owner)
{
	struct deadlines *deadlines;

	pthread_mutex_lock(&mutex);
	deadlines = find(meet, owner);
	if (deadlines)
		forget(deadlines);
	pthread_mutex_unlock(&mutex);
}

void charon_deadlines_free(void)
{
	struct deadlines *each, *following;

	HASH_ITER (hh, owners, each, following)
		forget(each);
	wake_at = 0;
}
