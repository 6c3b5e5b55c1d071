/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How long a request of ours waits for its answer. libcharon's settings are the same for all IKE_SAs: it repeats a request for ever, and
 * the deadline here, which a request's first repetition sets and its answer drops, ends the IKE_SA.
 */
#include "services/ike-agent/charon_internal.h"

#include <sa/task.h>

#include "services/ike-agent/ike_core.h"

/* When the first repetition is sent, a second of the time is over (`retransmit_timeout`). */
#define FIRST_REPETITION_SEC 1

static unsigned patience_with(ike_sa_t *ike_sa)
{
	struct charon_session *session = charon_session_of(ike_sa);
	const ike_sa_state_t state = ike_sa->get_state(ike_sa);
	const bool is_running = session && (state == IKE_ESTABLISHED || state == IKE_REKEYING);
	unsigned patience_sec = is_running ? ike_patience_sec(session->peer->ike_profile)
	                                   : IKE_NEGOTIATION_SEC;

	charon_session_release(session);
	return patience_sec;
}

/** The answer may have come while the deadline waited for the IKE_SA. */
static bool is_waiting(ike_sa_t *ike_sa)
{
	enumerator_t *tasks = ike_sa->create_task_enumerator(ike_sa, TASK_QUEUE_ACTIVE);
	task_t *task;
	bool is_found = tasks->enumerate(tasks, &task);

	tasks->destroy(tasks);
	return is_found;
}

static void meet_silence(uint64_t sa, bool is_hard)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uint32_t)sa);

	if (!ike_sa)
		return;
	if (!is_waiting(ike_sa)) {
		manager->checkin(manager, ike_sa);
		return;
	}
	charon_report_cause(ENGINE_CAUSE_SILENCE, "no answer from peer within %u s",
	                    patience_with(ike_sa));
	manager->checkin_and_destroy(manager, ike_sa);
}

void charon_begin_patience(ike_sa_t *ike_sa)
{
	charon_set_deadline(meet_silence, ike_sa->get_unique_id(ike_sa), true,
	                    patience_with(ike_sa) - FIRST_REPETITION_SEC);
}

void charon_end_patience(uint32_t sa)
{
	charon_drop_deadlines(meet_silence, sa);
}
