/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What we ask of libcharon runs as its jobs: the Diffie-Hellman keys of an initiation would hold up our loop. */
#include "services/ike-agent/charon_internal.h"

#include <processing/jobs/callback_job.h>
#include <processing/jobs/delete_ike_sa_job.h>
#include <processing/jobs/rekey_ike_sa_job.h>
#include <sa/ikev2/tasks/ike_dpd.h>
#include <sa/task.h>
#include <sys/random.h>

/* After a hard limit whoever noticed it makes a new child; an IKE_SA that stays without one carries nothing. */
#define CHILDLESS_SEC 3

/* What the peer sent before it changed over to another IKE_SA's child has arrived by then. */
#define SUPERSEDED_SEC 5

#define CHILDREN_MAX 4

#define CLOSE_ROUNDS     2 /* the DELETE, and once more */
#define CLOSE_ROUND_MSEC (ENGINE_CLOSE_MSEC / CLOSE_ROUNDS)

static job_requeue_t initiate(struct charon_session *session)
{
	struct engine_fact fact = {
		.kind = ENGINE_INITIATION_FAILED,
		.if_id = session->if_id,
		.attempt = session->attempt,
		.cause = "IKE could not be initiated",
	};

	if (session->is_retired)
		return JOB_REQUEUE_NONE;
	if (charon->controller->initiate(charon->controller,
	                                 session->peer_cfg->get_ref(session->peer_cfg),
	                                 session->child_cfg->get_ref(session->child_cfg), NULL,
	                                 NULL, 0, FALSE) != SUCCESS)
		charon_engine.host->report(charon_engine.host->context, &fact);
	return JOB_REQUEUE_NONE;
}

void engine_initiate(uint32_t if_id, uint64_t attempt)
{
	struct charon_session *session = charon_session_by_if_id(if_id);

	if (session && session->attempt == attempt)
		lib->processor->queue_job(
			lib->processor,
			(job_t *)callback_job_create((void *)initiate, session,
		                                     (void *)charon_session_release, NULL));
	else
		charon_session_release(session);
}

static job_requeue_t delete_sa(void *sa)
{
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	ike_sa->delete (ike_sa, TRUE);
	charon->ike_sa_manager->checkin_and_destroy(charon->ike_sa_manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

static job_requeue_t end_if_childless(void *sa)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	if (ike_sa->get_state(ike_sa) != IKE_ESTABLISHED || ike_sa->get_child_count(ike_sa) > 0) {
		manager->checkin(manager, ike_sa);
		return JOB_REQUEUE_NONE;
	}
	charon_report_cause(ENGINE_CAUSE_CLOSED, "the child SA ended");
	ike_sa->delete (ike_sa, TRUE);
	manager->checkin_and_destroy(manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

void charon_end_if_childless(uint32_t sa)
{
	lib->scheduler->schedule_job(
		lib->scheduler,
		(job_t *)callback_job_create(end_if_childless, (void *)(uintptr_t)sa, NULL, NULL),
		CHILDLESS_SEC);
}

static void meet_lifetime(uint64_t sa, bool is_hard)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uint32_t)sa);
	ike_sa_id_t *id;

	if (!ike_sa)
		return;
	id = ike_sa->get_id(ike_sa);
	lib->processor->queue_job(lib->processor,
	                          is_hard ? (job_t *)delete_ike_sa_job_create(id, TRUE)
	                                  : (job_t *)rekey_ike_sa_job_create(id, FALSE));
	manager->checkin(manager, ike_sa);
}

void charon_begin_lifetime(uint32_t sa, const struct charon_session *session)
{
	uint32_t lifetime = session->peer->ike_profile->lifetime_sec;
	uint32_t margin = charon_rekey_margin(lifetime);
	uint32_t jitter = 0, rekey;

	/* What was set up at once is not rekeyed at once, nor by both ends. */
	if (getrandom(&jitter, sizeof(jitter), 0) != sizeof(jitter))
		jitter = 0;
	rekey = lifetime - margin - jitter % (margin / 2 + 1);
	charon_set_deadline(meet_lifetime, sa, false, rekey);
	charon_set_deadline(meet_lifetime, sa, true, rekey + margin);
}

void charon_end_lifetime(uint32_t sa)
{
	charon_drop_deadlines(meet_lifetime, sa);
}

void charon_read_lifetime(uint32_t sa, uint64_t *rekeys_usec, uint64_t *ends_usec)
{
	*rekeys_usec = charon_deadline_usec(meet_lifetime, sa, false);
	*ends_usec = charon_deadline_usec(meet_lifetime, sa, true);
}

static job_requeue_t drop_sa(void *sa)
{
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);

	if (ike_sa)
		charon->ike_sa_manager->checkin_and_destroy(charon->ike_sa_manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

void engine_end_sa(uint32_t sa, bool tells_peer)
{
	lib->processor->queue_job(lib->processor,
	                          (job_t *)callback_job_create(tells_peer ? delete_sa : drop_sa,
	                                                       (void *)(uintptr_t)sa, NULL, NULL));
}

/** What stop_sending() is to remove once the IKE_SA is checked in again. */
struct outbound_sa {
	uint32_t if_id, spi;
};

static size_t list_outbound(ike_sa_t *ike_sa, struct outbound_sa list[CHILDREN_MAX])
{
	enumerator_t *children = ike_sa->create_child_sa_enumerator(ike_sa);
	child_sa_t *child;
	size_t count = 0;

	while (count < CHILDREN_MAX && children->enumerate(children, &child))
		list[count++] = (struct outbound_sa){
			.if_id = child->get_if_id(child, FALSE),
			.spi = ntohl(child->get_spi(child, FALSE)),
		};
	children->destroy(children);
	return count;
}

static job_requeue_t stop_sending(void *sa)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);
	struct outbound_sa list[CHILDREN_MAX];
	size_t count;

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	count = list_outbound(ike_sa, list);
	manager->checkin(manager, ike_sa);
	for (size_t i = 0; i < count; i++)
		charon_remove_outbound(list[i].if_id, list[i].spi);
	return JOB_REQUEUE_NONE;
}

void engine_supersede_sa(uint32_t sa, bool tells_peer)
{
	void *data = (void *)(uintptr_t)sa;

	lib->processor->queue_job(lib->processor,
	                          (job_t *)callback_job_create(stop_sending, data, NULL, NULL));
	lib->scheduler->schedule_job(
		lib->scheduler,
		(job_t *)callback_job_create(tells_peer ? delete_sa : drop_sa, data, NULL, NULL),
		SUPERSEDED_SEC);
}

/** An IKE_SA that is being deleted. */
struct closing {
	uint32_t sa;
	unsigned round; /* how often the DELETE was sent */
};

/** The first time it sends the DELETE, then repeats it, at last it gives up. */
static job_requeue_t close_sa(struct closing *closing)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	status_t status = SUCCESS;
	ike_sa_t *ike_sa;

	/* What the peer would get after the DELETE it could not open any more: tunnel-agent keeps it for the next call. */
	if (closing->round == 0)
		stop_sending((void *)(uintptr_t)closing->sa);
	ike_sa = charon_checkout(closing->sa);
	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	if (closing->round == 0)
		status = ike_sa->delete (ike_sa, FALSE);
	else if (closing->round == CLOSE_ROUNDS)
		status = DESTROY_ME;
	else if (ike_sa->get_state(ike_sa) ==
	         IKE_DELETING) /* else it waits for another exchange's end */
		status = ike_sa->retransmit(ike_sa, ike_sa->get_message_id(ike_sa, TRUE));
	closing->round++;
	if (status == DESTROY_ME) {
		manager->checkin_and_destroy(manager, ike_sa);
		return JOB_REQUEUE_NONE;
	}
	manager->checkin(manager, ike_sa);
	return JOB_RESCHEDULE_MS(CLOSE_ROUND_MSEC);
}

void engine_close_sa(uint32_t sa)
{
	struct closing *closing;

	INIT(closing, .sa = sa, );
	lib->processor->queue_job(lib->processor, (job_t *)callback_job_create(
							  (void *)close_sa, closing, free, NULL));
}

static void meet_reauthentication(uint64_t if_id, bool is_hard)
{
	struct charon_session *session = charon_session_by_if_id((uint32_t)if_id);
	struct engine_fact fact = {
		.kind = is_hard ? ENGINE_REAUTHENTICATION_MISSED : ENGINE_REAUTHENTICATION_DUE,
		.if_id = (uint32_t)if_id,
	};

	if (session && !session->is_retired) {
		fact.attempt = session->attempt;
		charon_engine.host->report(charon_engine.host->context, &fact);
	}
	charon_session_release(session);
}

void charon_end_reauthentication(uint32_t if_id)
{
	charon_drop_deadlines(meet_reauthentication, if_id);
}

void engine_reauthenticate_again(uint32_t if_id, uint32_t due_sec)
{
	charon_set_deadline(meet_reauthentication, if_id, false, due_sec);
}

void engine_reauthenticate_in(uint32_t if_id, uint64_t attempt, uint32_t due_sec,
                              uint32_t missed_sec)
{
	struct charon_session *session = charon_session_by_if_id(if_id);

	charon_end_reauthentication(if_id);
	if (session && session->attempt == attempt && !session->is_retired) {
		charon_set_deadline(meet_reauthentication, if_id, false, due_sec);
		charon_set_deadline(meet_reauthentication, if_id, true, missed_sec);
	}
	charon_session_release(session);
}

static bool is_making_child(ike_sa_t *ike_sa)
{
	static const task_queue_t queues[] = {TASK_QUEUE_ACTIVE, TASK_QUEUE_PASSIVE,
	                                      TASK_QUEUE_QUEUED};
	bool is_found = false;

	for (size_t i = 0; i < countof(queues); i++) {
		enumerator_t *tasks = ike_sa->create_task_enumerator(ike_sa, queues[i]);
		task_t *task;

		while (tasks->enumerate(tasks, &task))
			is_found |= task->get_type(task) == TASK_CHILD_CREATE;
		tasks->destroy(tasks);
	}
	return is_found;
}

static job_requeue_t make_child(void *sa)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);
	struct charon_session *session = charon_session_of(ike_sa);
	child_init_args_t arguments = {};

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	if (session && ike_sa->get_state(ike_sa) == IKE_ESTABLISHED &&
	    ike_sa->get_child_count(ike_sa) == 0 && !is_making_child(ike_sa) &&
	    ike_sa->initiate(ike_sa, session->child_cfg->get_ref(session->child_cfg), &arguments) ==
	            DESTROY_ME)
		manager->checkin_and_destroy(manager, ike_sa);
	else
		manager->checkin(manager, ike_sa);
	charon_session_release(session);
	return JOB_REQUEUE_NONE;
}

void engine_make_child(uint32_t sa)
{
	lib->processor->queue_job(
		lib->processor,
		(job_t *)callback_job_create(make_child, (void *)(uintptr_t)sa, NULL, NULL));
}

/** An IKE_SA and where its peer is. */
struct move {
	uint32_t sa;
	struct sockaddr_storage remote;
};

static job_requeue_t move_peer(struct move *move)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout(move->sa);
	host_t *remote;

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	remote = host_create_from_sockaddr((sockaddr_t *)&move->remote);
	if (remote && ike_sa->get_state(ike_sa) == IKE_ESTABLISHED)
		ike_sa->update_hosts(ike_sa, NULL, remote, UPDATE_HOSTS_FORCE_REMOTE);
	DESTROY_IF(remote);
	manager->checkin(manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

void engine_move_peer(uint32_t sa, const struct sockaddr_storage *remote)
{
	struct move *move;

	INIT(move, .sa = sa, .remote = *remote);
	lib->processor->queue_job(
		lib->processor, (job_t *)callback_job_create((void *)move_peer, move, free, NULL));
}

static job_requeue_t renew_children(void *sa)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);
	uint32_t spis[CHILDREN_MAX];
	enumerator_t *children;
	child_sa_t *child;
	size_t count = 0;
	bool is_lost = false;

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	children = ike_sa->create_child_sa_enumerator(ike_sa);
	while (count < CHILDREN_MAX && children->enumerate(children, &child))
		if (child->get_state(child) == CHILD_INSTALLED)
			spis[count++] = child->get_spi(child, TRUE);
	children->destroy(children);
	for (size_t i = 0; i < count && !is_lost; i++)
		is_lost = ike_sa->rekey_child_sa(ike_sa, PROTO_ESP, spis[i]) == DESTROY_ME;
	if (is_lost)
		manager->checkin_and_destroy(manager, ike_sa);
	else
		manager->checkin(manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

void engine_renew_children(uint32_t sa)
{
	lib->processor->queue_job(
		lib->processor,
		(job_t *)callback_job_create(renew_children, (void *)(uintptr_t)sa, NULL, NULL));
}

static job_requeue_t probe_sa(void *sa)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uintptr_t)sa);

	if (!ike_sa)
		return JOB_REQUEUE_NONE;
	/* libcharon's own DPD keeps still while there is traffic; the question is whether the peer's IKE lives. */
	if (ike_sa->get_state(ike_sa) == IKE_ESTABLISHED) {
		ike_sa->queue_task(ike_sa, (task_t *)ike_dpd_create(TRUE));
		if (ike_sa->initiate(ike_sa, NULL, NULL) == DESTROY_ME) {
			manager->checkin_and_destroy(manager, ike_sa);
			return JOB_REQUEUE_NONE;
		}
	}
	manager->checkin(manager, ike_sa);
	return JOB_REQUEUE_NONE;
}

void engine_probe_sa(uint32_t sa)
{
	lib->processor->queue_job(
		lib->processor,
		(job_t *)callback_job_create(probe_sa, (void *)(uintptr_t)sa, NULL, NULL));
}
