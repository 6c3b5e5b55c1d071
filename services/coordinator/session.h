/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * One session per tunnel: the state machine that calls, answers and tears down. Pure: no socket, no clock, no bus; what
 * it wants done goes out through struct coordinator_port, what happened comes in through core.h. One thread.
 */
#ifndef VPNSIP_COORDINATOR_SESSION_H
#define VPNSIP_COORDINATOR_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uthash.h>

#include "coordinator.pb-c.h"
#include "ike_agent.pb-c.h"
#include "service.pb-c.h"
#include "services/common/config.h"
#include "services/coordinator/admission.h"
#include "sip_agent.pb-c.h"

struct core;
struct holdings;
struct line;

#define BIT(number)          (1u << (number))
#define CALL_ID_SIZE         256
#define CAUSE_SIZE           256
#define FINGERPRINTS_MAXIMUM 4

enum session_state {
	SESSION_READY,
	SESSION_CALLING, /* outgoing: being prepared, or INVITE sent */
	SESSION_RINGING, /* outgoing: 180 received; incoming: being prepared for the 200 */
	SESSION_NEGOTIATING,
	SESSION_ESTABLISHED,
	SESSION_HANGING_UP, /* the end of the call is ordered; all else follows; shown as RELEASING */
	SESSION_STOPPING_IKE, /* the peer is told with a DELETE, while its packets still have their path; shown as RELEASING */
	SESSION_RELEASING,
	SESSION_HOLDDOWN,
	SESSION_ADOPTING, /* just started: what the other services hold is being read */
	SESSION_MENDING, /* was up and lacks something that is being made again; shown as SESSION_UP */
	SESSION_PARTING, /* was up, the peer ended its IKE_SA: its BYE is on its way; shown as SESSION_UP */
	SESSION_STATE_COUNT
};

/* Shown as RELEASING. */
#define STATES_RELEASING \
	(BIT(SESSION_HANGING_UP) | BIT(SESSION_STOPPING_IKE) | BIT(SESSION_RELEASING))

/** What another service does for an attempt. Each is one order on the bus, idempotent by tunnel and attempt. */
enum step {
	STEP_PREPARE_IKE,
	STEP_RESERVE_PORT,
	STEP_CHECK_TUNNEL,
	STEP_PLACE_CALL,
	STEP_INSTALL_TRANSLATION,
	STEP_INSTALL_SHAPER,
	STEP_SET_PEER,
	STEP_START_IKE,
	STEP_ANSWER_CALL,
	STEP_OPEN_TUNNEL,
	STEP_PROBE_PEER,
	STEP_HANG_UP,
	STEP_REJECT_CALL,
	STEP_STOP_IKE,
	STEP_REMOVE_TRANSLATION,
	STEP_REMOVE_SHAPER,
	STEP_CLEAR_PEER,
	STEP_COUNT
};

#define STEPS_PREPARING (BIT(STEP_PREPARE_IKE) | BIT(STEP_RESERVE_PORT) | BIT(STEP_CHECK_TUNNEL))
/* What IKE packets need to travel, and what payload needs on top of it. */
#define STEPS_IKE_PATH  (BIT(STEP_INSTALL_TRANSLATION) | BIT(STEP_SET_PEER))
#define STEPS_PATH      (STEPS_IKE_PATH | BIT(STEP_INSTALL_SHAPER))
/* What holds while SESSION_UP is shown. */
#define STEPS_RUNNING   (STEPS_PATH | BIT(STEP_START_IKE) | BIT(STEP_OPEN_TUNNEL))
#define STEPS_RELEASING                                                   \
	(BIT(STEP_HANG_UP) | BIT(STEP_REJECT_CALL) | BIT(STEP_STOP_IKE) | \
	 BIT(STEP_REMOVE_TRANSLATION) | BIT(STEP_REMOVE_SHAPER) | BIT(STEP_CLEAR_PEER))

enum session_event_type {
	EVENT_TRIGGER, /* a packet waits at the tunnel */
	EVENT_OPERATOR_CALL,
	EVENT_OPERATOR_RELEASE,
	EVENT_STEP_DONE,
	EVENT_STEP_FAILED,
	EVENT_CALL_RINGING,
	EVENT_CALL_ANSWERED,  /* outgoing: answer in `media` */
	EVENT_CALL_OFFERED,   /* incoming: another Call-ID than the session's */
	EVENT_CALL_CONFIRMED, /* incoming: ACK arrived */
	EVENT_CALL_FAILED,    /* ended before it was answered */
	EVENT_CALL_ENDED,     /* ended after it was answered */
	EVENT_IKE_UP,
	EVENT_IKE_DOWN,
	EVENT_TUNNEL_IDLE,
	EVENT_PEER_DEAD,
	EVENT_LINE_LOST,     /* the WAN address went or changed */
	EVENT_TIMEOUT,       /* the state's timer */
	EVENT_PROBE_TIMEOUT, /* nothing heard of the peer since the probe */
	EVENT_SURVEYED,      /* the snapshots of all owners have been read */
	EVENT_COMPARED,      /* a snapshot was compared with the session: `held` and `missing` */
	EVENT_SERVICE_LOST,  /* a service that the state needs went away or fell silent */
	EVENT_UNWATCHED,     /* tunnel-agent is away for too long: nobody sees an idle tunnel */
	EVENT_CALL_TOO_LONG, /* maximum-call */
	SESSION_EVENT_COUNT
};

struct fingerprint {
	Vpnsip__FingerprintSubject subject;
	char hash[16];
	uint8_t value[64];
	size_t size;
};

/** One side's SDP. */
struct media {
	struct sockaddr_storage address;
	uint32_t bandwidth_kbit;
	Vpnsip__SetupRole role;
	struct fingerprint fingerprints[FINGERPRINTS_MAXIMUM];
	size_t fingerprint_count;
};

/** A call as sip-agent reports it. */
struct call_report {
	const char *call_id;
	uint64_t attempt;
	Vpnsip__Direction direction;
	const char *local_number, *remote_number;
	Vpnsip__CallStatus status;
	const struct media *media; /* of the other side; NULL while unknown */
	const struct media *local; /* NULL while unknown */
	const char *tunnel;        /* NULL or "" while no session has it */
	bool is_restored;          /* sip-agent was restarted during the call */
	bool is_event;             /* a hint; else out of a snapshot */
	uint64_t started_wall_usec, answered_wall_usec;
	uint32_t sip_status;
	uint32_t retry_after_sec;
	Vpnsip__EndedBy ended_by;
	const char *cause;
};

struct session_event {
	enum session_event_type type;
	enum step step;           /* of EVENT_STEP_* */
	Vpnsip__FailureKind kind; /* of EVENT_STEP_FAILED */
	const char *cause;        /* of failures and ends; may be NULL */
	bool is_unanswered;       /* of EVENT_STEP_FAILED: the service did not say so itself */
	unsigned held, missing;   /* of EVENT_COMPARED: sets of steps */
	const struct call_report *call; /* of EVENT_CALL_* */
};

/** An INVITE that must wait: for the release of the old session, or for the answer to a probe. */
struct waiting_call {
	bool is_present;
	char call_id[CALL_ID_SIZE];
	struct media offer;
};

struct session {
	struct core *core;
	const struct config_peer *peer;
	struct line *line;
	UT_hash_handle by_tunnel, by_number;

	enum session_state state;
	uint64_t state_since_usec;
	uint64_t attempt;      /* 0 = none */
	uint64_t last_attempt; /* this one, or the one before the rest */
	Vpnsip__Direction direction;
	uint64_t call_since_usec;
	uint64_t answered_usec; /* 0 = not answered: it costs nothing yet, or no more */
	bool is_length_warned;
	char call_id[CALL_ID_SIZE];
	Vpnsip__CallStatus call_status; /* last one that was acted upon */
	Vpnsip__IkeStatus ike_status;
	bool is_ike_ended_by_us;    /* the peer may not even know why: our BYE tells it */
	unsigned ordered, finished; /* sets of steps of this attempt */
	uint64_t changed_usec;      /* last order, reply or change of state */
	struct holdings *held;      /* what the other services hold under this tunnel's name */
	bool is_ike_pending;        /* it was up and a new IKE_SA is wanted */
	bool is_unwanted;           /* ended by the operator before it was adopted */
	unsigned own_faults; /* calls that failed by a service of ours since the session was last up */
	struct media local, remote;
	uint32_t negotiated_kbit;
	bool is_acknowledged;
	uint32_t reject_status; /* for STEP_REJECT_CALL */
	const char *reject_reason;
	uint32_t reject_warning_code;
	char cause[CAUSE_SIZE]; /* why the attempt failed or ended; stays until the next attempt */
	char ike_cause[CAUSE_SIZE]; /* last thing ike-agent said about this attempt */
	uint64_t failed_attempt; /* the last one that never came up; a better cause may still arrive */
	bool holds_down_next;    /* after RELEASING */
	uint32_t failed_status; /* final response of an own call that failed; 0 = none came */
	uint32_t retry_after_sec;

	bool wants_peer; /* levels last reported by tunnel-agent */
	uint64_t last_received_usec;
	uint64_t probe_sent_usec; /* 0 = no probe runs */
	struct waiting_call waiting;

	unsigned holddown_msec; /* the next one of a temporary failure; doubles */
	unsigned failures;      /* in a row */
	unsigned pause_msec;    /* length of the hold-down that runs, or ran last */
	uint64_t holddown_until_usec;
	bool is_glare;        /* this attempt met the other side's own call */
	uint32_t glare_count; /* since the session was last up: only the first is forgiven */
	uint64_t ended_at_wall_usec;
	uint32_t attempts, established, failed, ignored_events;
	struct call_window calls; /* own ones */
	struct admission_tally refused_calls, ended_calls;
};

/** What the core wants done. `order` must not call back into the core before it returns. */
struct coordinator_port {
	void (*order)(void *context, struct session *session, enum step step);
	/** Refuses a call that no session takes. */
	void (*reject)(void *context, const char *call_id, uint32_t sip_status, const char *reason,
	               uint32_t warning_code, const char *warning_text);
	/** Ends a call that no session owns: after our restart, or one that came back from the dead. */
	void (*hang_up_stray)(void *context, const char *call_id);
	/** A step of RELEASING was not confirmed in time: order it again until it is. Called before the attempt is forgotten. */
	void (*owe)(void *context, const struct session *session, enum step step);
	void (*register_line)(void *context, const struct line *line, bool is_wanted);
	/** What no session owns any more, or not yet again after our start: to be removed, and repeated until it is. */
	void (*disown)(void *context, const char *tunnel, uint64_t attempt, enum step step);
	/** A comparison met something that was still moving: ask this service for its snapshot again soon. */
	void (*look_again)(void *context, Vpnsip__Service service);
	/** One state timer and one probe timer per session; 0 stops it. Fires core_session_timeout(). */
	void (*start_timer)(void *context, struct session *session, bool is_probe, uint64_t msec);
	/** How long the call may last; 0 stops it. Fires core_call_timeout(). */
	void (*start_call_timer)(void *context, struct session *session, uint64_t msec);
	/** Fires core_resume_next(). */
	void (*start_pace_timer)(void *context, uint64_t msec);
	void (*start_line_timer)(void *context, struct line *line, uint64_t msec);
	void (*session_changed)(void *context, const struct session *session);
	void (*line_changed)(void *context, const struct line *line);
	uint64_t (*mono_usec)(void *context);
	uint64_t (*wall_usec)(void *context);
	uint32_t (*random)(void *context);
	/**
	 * A number never given before, also not before the last restart. 0 and a sentence in `why` (CAUSE_SIZE) when it cannot be
	 * written down: no call then. Answering needs no writing while numbers are left that were written down before.
	 */
	uint64_t (*next_attempt)(void *context, Vpnsip__Direction direction, char *why);
	/** A moment for `vpnsip trace`. */
	void (*trace)(void *context, const struct session *session, Vpnsip__TraceKind kind,
	              const char *text);
	void *context;
};

struct session_state_description {
	const char *name; /* as shown */
	Vpnsip__SessionStatus status;
	unsigned accepts;    /* set of events */
	unsigned may_become; /* set of states */
	unsigned needs;      /* set of services whose loss ends the attempt */
	int timer;           /* enum timer_name, or -1 */
	uint64_t limit_msec; /* of a state whose limit is nobody's to choose; 0 = none */
	void (*handle)(struct session *session, const struct session_event *event);
};

extern const struct session_state_description session_states[SESSION_STATE_COUNT];

const char *session_event_name(enum session_event_type type);
const char *step_name(enum step step);

/** Gives the event to the state's handler, or counts and ignores it. The only entry. */
void session_handle(struct session *session, const struct session_event *event);

/** The only function that changes the state: checks the table, logs, stops and starts the timer, tells the port. */
void session_become(struct session *session, enum session_state next, const char *cause);

/** Orders a step and remembers that it was ordered. */
void session_order(struct session *session, enum step step);

/** True when all steps of the set are finished. */
bool session_has_finished(const struct session *session, unsigned steps);

/** To READY_TO_CONNECT, and on at once if a packet waits. */
void session_rest(struct session *session, const char *cause);

void session_begin_outgoing(struct session *session, const char *cause);
/** False when it could not begin: the call is refused then. */
bool session_begin_incoming(struct session *session, const char *call_id,
                            const struct media *offer);

/**
 * Ends the attempt: hangs up first, then everything else of the attempt. `holds_down` is heeded for own calls only.
 */
void session_release(struct session *session, bool holds_down, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/**
 * The call is being ended, or there is none: the rest of the release. IKE first, while its packets still have their path
 * (STOPPING_IKE), then everything else at once (RELEASING).
 */
void session_stop_ike(struct session *session, const char *cause);

/** Whether a failure by a service of ours bars own calls: not the first that cost a call, and none before. */
bool session_blames_itself(struct session *session);

/**
 * Something of a running session is missing: `missing` is ordered again (all at once, IKE paced). MENDING until everything stands.
 */
void session_mend(struct session *session, unsigned missing, const char *cause);
/** In MENDING: orders what can be ordered now; SESSION_UP when nothing is missing any more. */
void session_advance_mending(struct session *session);
/** The new IKE_SA of a session that waits for one, if its path stands. False when there is nothing to begin. */
bool session_resume_ike(struct session *session);

/** RELEASING is over: the waiting call, hold-down, or rest. */
void session_finish_release(struct session *session);

/** Handlers, one a state. */
void session_ready_handle(struct session *session, const struct session_event *event);
void session_calling_handle(struct session *session, const struct session_event *event);
void session_ringing_handle(struct session *session, const struct session_event *event);
void session_negotiating_handle(struct session *session, const struct session_event *event);
void session_established_handle(struct session *session, const struct session_event *event);
void session_hanging_up_handle(struct session *session, const struct session_event *event);
void session_stopping_ike_handle(struct session *session, const struct session_event *event);
void session_releasing_handle(struct session *session, const struct session_event *event);
void session_holddown_handle(struct session *session, const struct session_event *event);
void session_adopting_handle(struct session *session, const struct session_event *event);
void session_mending_handle(struct session *session, const struct session_event *event);
void session_parting_handle(struct session *session, const struct session_event *event);

#endif
