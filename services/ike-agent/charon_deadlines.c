/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The ends of lifetimes. libcharon's scheduler keeps a job until its time has come, however long its SA is gone: with
 * short sessions those of a whole lifetime would add up. Here deadlines go with their SA, and one job waits for the next.
 */
#include "services/ike-agent/charon_internal.h"

#include <processing/jobs/callback_job.h>
#include <pthread.h>

/* The longest wait: a job that waits in vain, because an earlier deadline came after it, is gone after that. */
#define WAIT_MAX_SEC 900

struct deadline {
	struct deadline *next;
	charon_meet_fn *meet;
	uint64_t owner;
	bool is_hard;
	time_t due; /* CLOCK_MONOTONIC */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct deadline *deadlines;
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

/** Takes the due ones off the list and returns them. The mutex is held. */
static struct deadline *take_due(time_t now, time_t *next)
{
	struct deadline **link = &deadlines, *due = NULL;

	*next = 0;
	while (*link) {
		struct deadline *deadline = *link;

		if (deadline->due > now) {
			*next = *next ? min(*next, deadline->due) : deadline->due;
			link = &deadline->next;
			continue;
		}
		*link = deadline->next;
		deadline->next = due;
		due = deadline;
	}
	return due;
}

static job_requeue_t meet_due(void *unused)
{
	time_t now = time_monotonic(NULL), next;
	struct deadline *due;

	pthread_mutex_lock(&mutex);
	due = take_due(now, &next);
	if (wake_at <= now)
		wake_at = 0;
	if (next != 0)
		wake_for(next);
	pthread_mutex_unlock(&mutex);
	while (due) {
		struct deadline *deadline = due;

		due = deadline->next;
		deadline->meet(deadline->owner, deadline->is_hard);
		free(deadline);
	}
	return JOB_REQUEUE_NONE;
}

static struct deadline **find(charon_meet_fn *meet, uint64_t owner, bool is_hard)
{
	struct deadline **link = &deadlines;

	while (*link &&
	       ((*link)->meet != meet || (*link)->owner != owner || (*link)->is_hard != is_hard))
		link = &(*link)->next;
	return link;
}

void charon_set_deadline(charon_meet_fn *meet, uint64_t owner, bool is_hard, uint64_t delay_sec)
{
	struct deadline *deadline;

	pthread_mutex_lock(&mutex);
	if (delay_sec > 0 && !*find(meet, owner, is_hard)) {
		INIT(deadline, .next = deadlines, .meet = meet, .owner = owner, .is_hard = is_hard,
		     .due = time_monotonic(NULL) + delay_sec);
		deadlines = deadline;
		wake_for(deadline->due);
	}
	pthread_mutex_unlock(&mutex);
}

uint64_t charon_deadline_usec(charon_meet_fn *meet, uint64_t owner, bool is_hard)
{
	const struct deadline *deadline;
	uint64_t due_usec;

	pthread_mutex_lock(&mutex);
	deadline = *find(meet, owner, is_hard);
	due_usec = deadline ? deadline->due * 1000000ull : 0;
	pthread_mutex_unlock(&mutex);
	return due_usec;
}

void charon_drop_deadlines(charon_meet_fn *meet, uint64_t owner)
{
	pthread_mutex_lock(&mutex);
	for (int is_hard = 0; is_hard < 2; is_hard++) {
		struct deadline **link = find(meet, owner, is_hard), *deadline = *link;

		if (!deadline)
			continue;
		*link = deadline->next;
		free(deadline);
	}
	pthread_mutex_unlock(&mutex);
}

void charon_deadlines_free(void)
{
	while (deadlines) {
		struct deadline *deadline = deadlines;

		deadlines = deadline->next;
		free(deadline);
	}
	wake_at = 0;
}
