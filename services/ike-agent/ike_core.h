/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One session's IKE as a state machine: pure, fed with the engine's facts, told the time.
 *
 * A session may have several IKE_SAs at once: a rekey's successor, a new one of a peer whose ike-agent was restarted,
 * two begun by both sides at the same instant, and what strangers try on the session's port. It is down when its
 * last IKE_SA is gone; one that was superseded does not keep it up.
 */
#ifndef VPNSIP_IKE_CORE_H
#define VPNSIP_IKE_CORE_H

#include "services/ike-agent/ike_engine.h"

/** In the order of the proto's IkeStatus. */
enum ike_state {
	IKE_STATE_WAITING = 0, /* the peer is to begin */
	IKE_STATE_NEGOTIATING,
	IKE_STATE_UP,
	IKE_STATE_FAILED, /* never came up; final */
	IKE_STATE_ENDED,  /* was up; final */
	IKE_STATE_COUNT
};

enum ike_event {
	IKE_EVENT_BEGUN = 0, /* an IKE_SA exists */
	IKE_EVENT_CHILD_UP,
	IKE_EVENT_REFUSED, /* the last IKE_SA is gone: ours, or the peer's with a verdict on it */
	IKE_EVENT_LOST,    /* the last IKE_SA is gone: somebody began it and proved nothing */
	IKE_EVENT_COUNT
};

#define IKE_SAS_MAX 8

/** How long a negotiation may take: the call it belongs to is billed. */
#define IKE_NEGOTIATION_SEC 30

/**
 * Seconds for which a request on an IKE_SA that is up may go unanswered. Never less than dead peer detection gives a peer of which nothing is
 * heard (interval + 5 x retry, tunnel-agent's deadline): that is the judge then, for it knows of the peer's ESP too.
 */
unsigned ike_patience_sec(const struct config_ike_profile *profile);

/** One IKE_SA of a session. */
struct ike_sa_entry {
	uint32_t sa;
	bool is_initiator;
	bool is_up;         /* authenticated, with a child */
	bool is_superseded; /* another one is up in its place; it goes soon and counts no more */
	bool is_proven;
	uint32_t peer_life; /* of an IKE_SA that is up: ENGINE_LIFE_OF() the peer's SPI */
	uint64_t begun_usec, up_usec;
	/* What explains most of its end. */
	enum engine_cause_rank rank;
	char cause[ENGINE_CAUSE_SIZE];
	enum ike_guard_class guard_class;
	struct sockaddr_storage remote; /* with the cause */
};

struct ike_session {
	char tunnel[16];
	uint64_t attempt;
	uint32_t if_id;
	char local_number[64], remote_number[64];
	struct sockaddr_storage
		local; /* our end, as StartIke said; ike.remote is the other, from the beginning */
	bool is_lower; /* our number orders before the peer's: our IKE_SA wins when both begin at once */
	bool is_initiator;
	enum ike_state state;
	char cause[ENGINE_CAUSE_SIZE];
	bool is_ended_by_us; /* ENDED on our verdict about a certificate */
	struct ike_sa_entry
		*sas; /* its own; most sessions have one at a time, none more than IKE_SAS_MAX */
	size_t sa_count, sa_room;
	char remote_identity[64];
	char ike_proposal[ENGINE_PROPOSAL_SIZE];
	char esp_proposal[ENGINE_PROPOSAL_SIZE];
	uint64_t initiator_spi, responder_spi;
	uint64_t up_since_usec;
	struct engine_authentication authentication; /* of the IKE_SA in force */
	/* Of the IKE_SA in force and its child; a child with inbound_spi 0 is none. */
	struct sockaddr_storage
		esp_remote; /* where tunnel-agent last sent ESP to; family 0 = not told yet */
	uint32_t sa_in_force;
	uint64_t reauthenticates_usec; /* when we authenticate anew; 0 = never */
	uint32_t reauthenticated_sa;   /* we began another one in place of this; 0 = none */
	struct engine_ike ike;
	struct engine_child child;
	unsigned ike_rekeys, child_rekeys, reauthentications; /* since the session came up */
};

/** What follows from a fact. */
struct ike_outcome {
	bool is_changed;       /* publish the session */
	bool is_noteworthy;    /* and tell the log: another state, or another IKE_SA */
	bool is_over;          /* FAILED or ENDED was entered: retire it */
	uint32_t superseded;   /* let this IKE_SA go; 0 = none */
	bool tells_superseded; /* with a DELETE: the peer may keep it otherwise */
	bool is_heard;         /* the peer has proven that it lives */
	bool has_moved;        /* the peer, from `moved_from` to ike.remote */
	struct sockaddr_storage moved_from;
	bool is_authenticated; /* an IKE_SA is in force that has just been authenticated */
	bool wants_initiation; /* begin an IKE_SA */
	bool wants_retry;      /* to authenticate anew failed: once more in a while */
	uint32_t unwanted;     /* end this IKE_SA with a DELETE; 0 = none */
	enum ike_guard_class
		guard_class; /* why an IKE_SA was refused to `refused`, if it was a matter of security */
	struct sockaddr_storage refused;
	char stray[ENGINE_CAUSE_SIZE]; /* why an IKE_SA failed that was not the session's last; "" = none */
};

/** The state after `event`, or IKE_STATE_COUNT if the event means nothing there. */
enum ike_state ike_next_state(enum ike_state state, enum ike_event event);

/**
 * A new session: NEGOTIATING if we begin, else WAITING. Names longer than the fields are cut; the configuration
 * allows none. Undone by ike_session_clear().
 */
void ike_session_init(struct ike_session *session, const char *tunnel, uint64_t attempt,
                      uint32_t if_id, const char *local_number, const char *remote_number,
                      bool is_initiator);

/** Frees what the session holds, not itself. */
void ike_session_clear(struct ike_session *session);

/** Applies a fact about this session and attempt. */
void ike_session_apply(struct ike_session *session, const struct engine_fact *fact,
                       uint64_t now_usec, struct ike_outcome *outcome);

#endif
