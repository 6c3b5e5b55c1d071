/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sessions that libcharon's threads look up: by local port for what they send and receive, by if_id for us. */
#include "services/ike-agent/charon_internal.h"

#include <errno.h>
#include <processing/jobs/callback_job.h>
#include <pthread.h>
#include <utlist.h>

/* A retired session stays this long, so that its last DELETE still finds its way out. */
#define RETIRED_SEC 5

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct charon_session *sessions; /* the list has a reference of each */
static struct charon_session *newest_by_port, *newest_by_if_id;

static uint16_t port_of(const struct sockaddr_storage *address)
{
	return ntohs(address->ss_family == AF_INET6
	                     ? ((const struct sockaddr_in6 *)address)->sin6_port
	                     : ((const struct sockaddr_in *)address)->sin_port);
}

void charon_session_release(struct charon_session *session)
{
	if (!session || atomic_fetch_sub(&session->references, 1) > 1)
		return;
	DESTROY_IF(session->child_cfg);
	DESTROY_IF(session->peer_cfg);
	charon_own_certificate_release(session);
	if (session->key)
		explicit_bzero(session->key, session->key_size);
	free(session->key);
	free(session->local_number);
	free(session->remote_number);
	free(session);
}

struct charon_session *charon_session_by_port(uint16_t local_port)
{
	struct charon_session *found;

	pthread_mutex_lock(&mutex);
	HASH_FIND(by_port, newest_by_port, &local_port, sizeof(local_port), found);
	if (found)
		atomic_fetch_add(&found->references, 1);
	pthread_mutex_unlock(&mutex);
	return found;
}

struct charon_session *charon_session_by_if_id(uint32_t if_id)
{
	struct charon_session *found;

	pthread_mutex_lock(&mutex);
	HASH_FIND(by_if_id, newest_by_if_id, &if_id, sizeof(if_id), found);
	if (found)
		atomic_fetch_add(&found->references, 1);
	pthread_mutex_unlock(&mutex);
	return found;
}

struct charon_session *charon_session_of(ike_sa_t *ike_sa)
{
	host_t *local = ike_sa ? ike_sa->get_my_host(ike_sa) : NULL;

	return local ? charon_session_by_port(local->get_port(local)) : NULL;
}

/** The keyring may be another one while the session lasts. */
static bool copy_key(struct charon_session *session, const struct engine_session *wanted, char *why,
                     size_t why_size)
{
	if (!wanted->key)
		return true;
	session->key = malloc(wanted->key_size);
	if (!session->key) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return false;
	}
	session->key_size = wanted->key_size;
	memcpy(session->key, wanted->key, wanted->key_size);
	return true;
}

/** Enters the session, which gives up its reference to the list, in the place of those with its port or if_id. */
static void link_session(struct charon_session *session)
{
	struct charon_session *older;

	pthread_mutex_lock(&mutex);
	DL_PREPEND2(sessions, session, previous, next);
	HASH_REPLACE(by_port, newest_by_port, local_port, sizeof(session->local_port), session,
	             older);
	HASH_REPLACE(by_if_id, newest_by_if_id, if_id, sizeof(session->if_id), session, older);
	session->is_listed = true;
	pthread_mutex_unlock(&mutex);
}

bool engine_add_session(const struct engine_session *wanted, char *why, size_t why_size)
{
	struct charon_session *session =
		calloc(1, sizeof(*session) + wanted->pin_count * sizeof(session->pins[0]));

	if (!session) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return false;
	}
	session->references = 1;
	session->if_id = wanted->if_id;
	session->attempt = wanted->attempt;
	session->local = wanted->local;
	session->local_port = port_of(&wanted->local);
	session->peer = wanted->peer;
	session->local_number = strdup(wanted->local_number);
	session->remote_number = strdup(wanted->remote_number);
	session->certificates = wanted->certificates;
	session->pin_count = wanted->pin_count;
	for (size_t i = 0; i < wanted->pin_count; i++)
		session->pins[i] = wanted->pins[i];
	if (!copy_key(session, wanted, why, why_size) ||
	    !charon_own_certificate_load(session, why, why_size) ||
	    !charon_config_build(session, &wanted->remote, why, why_size)) {
		charon_session_release(session);
		return false;
	}
	link_session(session);
	return true;
}

/** Takes the session off the list and out of the tables; the list's reference passes to the caller. NULL if it is not on it. */
static struct charon_session *unlink_session(struct charon_session *session)
{
	struct charon_session *newest;
	bool was_listed;

	pthread_mutex_lock(&mutex);
	was_listed = session->is_listed;
	if (was_listed) {
		session->is_listed = false;
		DL_DELETE2(sessions, session, previous, next);
		HASH_FIND(by_port, newest_by_port, &session->local_port,
		          sizeof(session->local_port), newest);
		if (newest == session)
			HASH_DELETE(by_port, newest_by_port, session);
		HASH_FIND(by_if_id, newest_by_if_id, &session->if_id, sizeof(session->if_id),
		          newest);
		if (newest == session)
			HASH_DELETE(by_if_id, newest_by_if_id, session);
	}
	pthread_mutex_unlock(&mutex);
	return was_listed ? session : NULL;
}

static job_requeue_t purge(void *data)
{
	charon_session_release(unlink_session(data));
	return JOB_REQUEUE_NONE;
}

void engine_retire_session(uint32_t if_id, uint64_t attempt)
{
	struct charon_session *session = charon_session_by_if_id(if_id);

	charon_end_reauthentication(if_id);
	if (session && session->attempt == attempt && !atomic_exchange(&session->is_retired, true))
		/* The job's reference is the one that find() took. */
		lib->scheduler->schedule_job(
			lib->scheduler,
			(job_t *)callback_job_create(purge, session, (void *)charon_session_release,
		                                     NULL),
			RETIRED_SEC);
	else
		charon_session_release(session);
}

void charon_sessions_free(void)
{
	while (sessions)
		charon_session_release(unlink_session(sessions));
}
