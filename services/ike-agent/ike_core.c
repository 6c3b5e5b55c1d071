/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/ike_core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/number.h"

#define NONE IKE_STATE_COUNT

/*
 * IKE_SAs that both sides begin without knowing of the other's are up within the time limit of a negotiation, as either side sees it. One
 * that is begun later than this after the older one came up is meant to take its place.
 */
#define CROSSING_USEC (90 * 1000000ull)

/* A peer that failed before it proved anything may be anyone: the session waits on for the right one. */
static const enum ike_state transitions[IKE_STATE_COUNT][IKE_EVENT_COUNT] = {
	[IKE_STATE_WAITING] =
		{
			[IKE_EVENT_BEGUN] = IKE_STATE_NEGOTIATING,
			[IKE_EVENT_CHILD_UP] = NONE,
			[IKE_EVENT_REFUSED] = IKE_STATE_FAILED,
			[IKE_EVENT_LOST] = NONE,
		},
	[IKE_STATE_NEGOTIATING] =
		{
			[IKE_EVENT_BEGUN] = IKE_STATE_NEGOTIATING,
			[IKE_EVENT_CHILD_UP] = IKE_STATE_UP,
			[IKE_EVENT_REFUSED] = IKE_STATE_FAILED,
			[IKE_EVENT_LOST] = IKE_STATE_WAITING,
		},
	[IKE_STATE_UP] =
		{
			[IKE_EVENT_BEGUN] = IKE_STATE_UP,
			[IKE_EVENT_CHILD_UP] = IKE_STATE_UP,
			[IKE_EVENT_REFUSED] = IKE_STATE_ENDED,
			[IKE_EVENT_LOST] = IKE_STATE_ENDED,
		},
	[IKE_STATE_FAILED] = {NONE, NONE, NONE, NONE},
	[IKE_STATE_ENDED] = {NONE, NONE, NONE, NONE},
};

enum ike_state ike_next_state(enum ike_state state, enum ike_event event)
{
	return transitions[state][event];
}

void ike_session_init(struct ike_session *session, const char *tunnel, uint64_t attempt,
                      uint32_t if_id, const char *local_number, const char *remote_number,
                      bool is_initiator)
{
	memset(session, 0, sizeof(*session));
	snprintf(session->tunnel, sizeof(session->tunnel), "%s", tunnel);
	snprintf(session->local_number, sizeof(session->local_number), "%s", local_number);
	snprintf(session->remote_number, sizeof(session->remote_number), "%s", remote_number);
	session->attempt = attempt;
	session->if_id = if_id;
	session->is_lower = number_precedes(local_number, remote_number);
	session->is_initiator = is_initiator;
	session->state = is_initiator ? IKE_STATE_NEGOTIATING : IKE_STATE_WAITING;
}

void ike_session_clear(struct ike_session *session)
{
	free(session->sas);
	session->sas = NULL;
	session->sa_count = session->sa_room = 0;
}

unsigned ike_patience_sec(const struct config_ike_profile *profile)
{
	const unsigned dead_sec = config_dead_peer_sec(profile);

	return dead_sec > IKE_NEGOTIATION_SEC ? dead_sec : IKE_NEGOTIATION_SEC;
}

/** Moves the session by the table. An event that means nothing in the state is ignored. */
static void move(struct ike_session *session, enum ike_event event, struct ike_outcome *outcome)
{
	enum ike_state next = ike_next_state(session->state, event);

	if (next == NONE)
		return;
	if (next != session->state)
		outcome->is_changed = outcome->is_noteworthy = true;
	session->state = next;
	if (next == IKE_STATE_FAILED || next == IKE_STATE_ENDED)
		outcome->is_over = true;
}

static struct ike_sa_entry *find_sa(struct ike_session *session, uint32_t sa)
{
	for (size_t i = 0; i < session->sa_count; i++)
		if (session->sas[i].sa == sa)
			return &session->sas[i];
	return NULL;
}

static void forget_sa(struct ike_session *session, struct ike_sa_entry *entry)
{
	*entry = session->sas[--session->sa_count];
}

/** How many IKE_SAs the session stands on. */
static size_t count_in_force(const struct ike_session *session)
{
	size_t count = 0;

	for (size_t i = 0; i < session->sa_count; i++)
		count += !session->sas[i].is_superseded;
	return count;
}

/** The IKE_SA that makes room for another: the oldest of those that are not up, or NULL. */
static struct ike_sa_entry *oldest_pending(struct ike_session *session)
{
	struct ike_sa_entry *oldest = NULL;

	for (size_t i = 0; i < session->sa_count; i++) {
		struct ike_sa_entry *entry = &session->sas[i];

		if (!entry->is_up && (!oldest || entry->begun_usec < oldest->begun_usec))
			oldest = entry;
	}
	return oldest;
}

/** True if there is room for another IKE_SA, false when out of memory. */
static bool make_room(struct ike_session *session)
{
	struct ike_sa_entry *larger;

	if (session->sa_count < session->sa_room)
		return true;
	larger = realloc(session->sas, (session->sa_room + 1) * sizeof(*larger));
	if (!larger)
		return false;
	session->sas = larger;
	session->sa_room++;
	return true;
}

static void begin(struct ike_session *session, const struct engine_fact *fact, uint64_t now_usec,
                  struct ike_outcome *outcome)
{
	if (find_sa(session, fact->sa))
		return;
	if (session->state == IKE_STATE_FAILED || session->state == IKE_STATE_ENDED) {
		outcome->unwanted = fact->sa;
		return;
	}
	/* Strangers that begin and fall silent must not keep the right peer out. */
	if (session->sa_count == IKE_SAS_MAX) {
		struct ike_sa_entry *victim = oldest_pending(session);

		outcome->unwanted = victim ? victim->sa : fact->sa;
		if (!victim)
			return;
		forget_sa(session, victim);
	}
	if (!make_room(session)) {
		outcome->unwanted = fact->sa;
		return;
	}
	session->sas[session->sa_count++] = (struct ike_sa_entry){
		.sa = fact->sa,
		.is_initiator = fact->is_initiator,
		.begun_usec = now_usec,
	};
	move(session, IKE_EVENT_BEGUN, outcome);
}

/**
 * Of two IKE_SAs that are up the newer stays: who began it had lost the older one. Unless both sides began one in their present
 * lives, then nobody had lost anything and the one that the lower number began stays. Which it is follows from the SPIs alone,
 * the same on both sides: by the clock one side may see two that overlap where the other sees one after the other.
 */
static bool is_older_kept(const struct ike_session *session, const struct ike_sa_entry *older,
                          const struct ike_sa_entry *newer)
{
	bool has_crossed = older->is_initiator != newer->is_initiator &&
	                   older->peer_life == newer->peer_life &&
	                   newer->begun_usec < older->up_usec + CROSSING_USEC;

	return has_crossed && older->is_initiator == session->is_lower;
}

/** True if the fact is about the IKE_SA that the session stands on. */
static bool is_in_force(const struct ike_session *session, const struct engine_fact *fact)
{
	return session->state == IKE_STATE_UP && session->sa_in_force == fact->sa;
}

static void child_up(struct ike_session *session, const struct engine_fact *fact, uint64_t now_usec,
                     struct ike_outcome *outcome)
{
	struct ike_sa_entry *entry = find_sa(session, fact->sa);

	if (!entry)
		return;
	if (entry->is_up) {
		/* Another child in the place of one that ended. */
		if (is_in_force(session, fact))
			session->child = fact->child;
		return;
	}
	entry->is_up = true;
	entry->up_usec = now_usec;
	entry->peer_life = ENGINE_LIFE_OF(fact->is_initiator ? fact->responder_spi
	                                                     : fact->initiator_spi);
	for (size_t i = 0; i < session->sa_count && !outcome->superseded; i++) {
		struct ike_sa_entry *other = &session->sas[i];
		struct ike_sa_entry *lost;

		if (other == entry || !other->is_up || other->is_superseded)
			continue;
		lost = is_older_kept(session, other, entry) ? entry : other;
		lost->is_superseded = true;
		outcome->superseded = lost->sa;
	}
	move(session, IKE_EVENT_CHILD_UP, outcome);
	if (session->state != IKE_STATE_UP || outcome->superseded == fact->sa)
		return;
	if (!session->up_since_usec)
		session->up_since_usec = now_usec;
	if (session->reauthenticated_sa && session->reauthenticated_sa == outcome->superseded)
		outcome->tells_superseded = fact->is_initiator;
	session->reauthentications += outcome->superseded != 0 &&
	                              session->reauthenticated_sa == outcome->superseded;
	session->reauthenticated_sa = 0;
	outcome->is_authenticated = true;
	session->is_initiator = fact->is_initiator;
	session->cause[0] = '\0';
	snprintf(session->ike_proposal, sizeof(session->ike_proposal), "%s", fact->ike_proposal);
	snprintf(session->esp_proposal, sizeof(session->esp_proposal), "%s", fact->esp_proposal);
	snprintf(session->remote_identity, sizeof(session->remote_identity), "%s",
	         fact->remote_identity);
	session->initiator_spi = fact->initiator_spi;
	session->responder_spi = fact->responder_spi;
	session->sa_in_force = fact->sa;
	session->authentication = fact->authentication;
	session->ike = fact->ike;
	session->child = fact->child;
	outcome->is_changed = outcome->is_noteworthy = true;
}

/** IKE rekey: the successor takes the old IKE_SA's place at once; the old one's end says nothing any more. */
static void replace(struct ike_session *session, const struct engine_fact *fact,
                    struct ike_outcome *outcome)
{
	struct ike_sa_entry *old = find_sa(session, fact->sa);
	struct ike_sa_entry *known = find_sa(session, fact->successor);

	if (!old)
		return;
	if (known && known != old) {
		forget_sa(session, known);
		old = find_sa(session, fact->sa);
	}
	old->sa = fact->successor;
	if (session->reauthenticated_sa == fact->sa)
		session->reauthenticated_sa = fact->successor;
	if (old->is_superseded)
		outcome->superseded = old->sa;
	if (session->state != IKE_STATE_UP || old->is_superseded)
		return;
	session->initiator_spi = fact->initiator_spi;
	session->responder_spi = fact->responder_spi;
	session->sa_in_force = fact->successor;
	session->ike = fact->ike;
	session->ike_rekeys++;
	outcome->is_changed = true;
}

static void child_rekeyed(struct ike_session *session, const struct engine_fact *fact,
                          struct ike_outcome *outcome)
{
	if (!is_in_force(session, fact))
		return;
	snprintf(session->esp_proposal, sizeof(session->esp_proposal), "%s", fact->esp_proposal);
	session->child = fact->child;
	session->child_rekeys++;
	outcome->is_changed = true;
}

static void peer_moved(struct ike_session *session, const struct engine_fact *fact,
                       struct ike_outcome *outcome)
{
	if (!is_in_force(session, fact))
		return;
	outcome->has_moved = true;
	outcome->moved_from = session->ike.remote;
	session->ike.remote = fact->ike.remote;
	outcome->is_changed = true;
}

static void gone(struct ike_session *session, const struct engine_fact *fact,
                 struct ike_outcome *outcome)
{
	struct ike_sa_entry *entry = find_sa(session, fact->sa);
	struct ike_sa_entry last;
	bool is_refused;

	if (!entry)
		return;
	last = *entry;
	forget_sa(session, entry);
	outcome->guard_class = last.guard_class;
	outcome->refused = last.remote;
	if (last.is_superseded)
		return;
	if (count_in_force(session) > 0) {
		/* Should what is pending not come up, this is why the session ended. */
		memcpy(last.is_up ? session->cause : outcome->stray, last.cause,
		       sizeof(session->cause));
		outcome->wants_retry = !last.is_up && last.is_initiator &&
		                       session->reauthenticated_sa != 0;
		return;
	}
	if (session->state != IKE_STATE_UP || last.is_up || !session->cause[0])
		memcpy(session->cause, last.cause, sizeof(session->cause));
	if (!session->cause[0])
		snprintf(session->cause, sizeof(session->cause), "%s",
		         last.is_up ? "the IKE_SA was ended" : "IKE negotiation failed");
	is_refused = last.is_up || last.is_initiator || last.is_proven;
	session->is_ended_by_us = last.is_up && last.rank == ENGINE_CAUSE_VERDICT;
	move(session, is_refused ? IKE_EVENT_REFUSED : IKE_EVENT_LOST, outcome);
}

static void reauthenticate(struct ike_session *session, struct ike_outcome *outcome)
{
	if (session->state != IKE_STATE_UP)
		return;
	session->reauthenticated_sa = session->sa_in_force;
	outcome->wants_initiation = true;
}

/** Neither side has authenticated in time: what was believed then is not believed any longer. */
static void end_unauthenticated(struct ike_session *session, struct ike_outcome *outcome)
{
	struct ike_sa_entry *entry = find_sa(session, session->sa_in_force);

	if (session->state != IKE_STATE_UP || !entry)
		return;
	entry->rank = ENGINE_CAUSE_VERDICT;
	snprintf(entry->cause, sizeof(entry->cause),
	         "neither side authenticated anew within the time of reauthentication");
	outcome->unwanted = entry->sa;
}

static void note_cause(struct ike_session *session, const struct engine_fact *fact)
{
	struct ike_sa_entry *entry = find_sa(session, fact->sa);

	if (!entry)
		return;
	entry->is_proven |= fact->is_proven;
	if (fact->rank <= entry->rank)
		return;
	entry->rank = fact->rank;
	memcpy(entry->cause, fact->cause, sizeof(entry->cause));
	entry->guard_class = fact->guard_class;
	entry->remote = fact->ike.remote;
}

void ike_session_apply(struct ike_session *session, const struct engine_fact *fact,
                       uint64_t now_usec, struct ike_outcome *outcome)
{
	memset(outcome, 0, sizeof(*outcome));
	switch (fact->kind) {
	case ENGINE_SA_BEGUN:
		begin(session, fact, now_usec, outcome);
		break;
	case ENGINE_SA_REPLACED:
		replace(session, fact, outcome);
		break;
	case ENGINE_SA_GONE:
		gone(session, fact, outcome);
		break;
	case ENGINE_CHILD_UP:
		child_up(session, fact, now_usec, outcome);
		break;
	case ENGINE_CHILD_REKEYED:
		child_rekeyed(session, fact, outcome);
		break;
	case ENGINE_CHILD_GONE:
		/* The IKE_SA makes another, or ends. */
		if (is_in_force(session, fact))
			session->child = (struct engine_child){0};
		break;
	case ENGINE_REAUTHENTICATION_DUE:
		reauthenticate(session, outcome);
		break;
	case ENGINE_REAUTHENTICATION_MISSED:
		end_unauthenticated(session, outcome);
		break;
	case ENGINE_PEER_HEARD:
		outcome->is_heard = is_in_force(session, fact);
		break;
	case ENGINE_PEER_MOVED:
		peer_moved(session, fact, outcome);
		break;
	case ENGINE_CAUSE:
		note_cause(session, fact);
		break;
	case ENGINE_INITIATION_FAILED:
		if (count_in_force(session) > 0)
			break;
		memcpy(session->cause, fact->cause, sizeof(session->cause));
		move(session, IKE_EVENT_REFUSED, outcome);
		break;
	}
}
