/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The coordinator without its bus: all lines and sessions, and what the other services report. Pure; one thread. */
#ifndef VPNSIP_COORDINATOR_CORE_H
#define VPNSIP_COORDINATOR_CORE_H

#include "services/coordinator/holdings.h"
#include "services/coordinator/line.h"
#include "services/coordinator/session.h"

/** Since the start. */
struct core_counters {
	uint64_t calls_placed, calls_answered;
	uint64_t sessions_adopted, sessions_ended_at_start;
	uint64_t ike_resumed;
	uint64_t triggers_refused, triggers_shed, offers_shed;
	uint64_t comparisons, repairs, strays;
};

struct service_state {
	Vpnsip__PeerHealth health;
	uint64_t lost_usec; /* when it was last up; 0 = never lost */
};

struct core {
	const struct config *config;
	const struct coordinator_port *port;
	struct line *lines, *lines_by_number;
	struct session *sessions, *sessions_by_tunnel, *sessions_by_number;
	struct holdings *holdings; /* one a session */
	size_t line_count, session_count;
	bool is_shutting_down;
	const char *
		calls_barred; /* why no own call may be placed whatever else is so; NULL = they may */
	struct service_state services[SERVICE_COUNT];
	unsigned surveyed;        /* set of services whose snapshot was read since the start */
	bool is_pacing;           /* the pace timer runs */
	size_t resumed;           /* where to look for the next session that wants a new IKE_SA */
	char refusal[CAUSE_SIZE]; /* what core_call_refusal() returned */
	struct core_counters counters;
	struct call_window calls; /* own ones */
	struct admission_tally tallies[GUARD_COUNT];
};

struct core *core_create(const struct config *config, const struct coordinator_port *port);
void core_destroy(struct core *core);

/** Result of an order. `media` carries the fingerprints of STEP_PREPARE_IKE; `port` that of STEP_RESERVE_PORT. */
struct step_result {
	bool is_done;
	bool is_unanswered; /* no word from the service: lost, late, or not running */
	Vpnsip__FailureKind kind;
	const char *cause;
	uint16_t port;
	const struct media *media;
};

/** A reply to an order of this attempt; late ones of older attempts are ignored. */
void core_step_finished(struct core *core, struct session *session, uint64_t attempt,
                        enum step step, const struct step_result *result);

void core_call_changed(struct core *core, const struct call_report *report);
/** The next report of IKE about this attempt will be that it ended, on our own verdict. */
void core_ike_ends_by_us(struct core *core, const char *tunnel, uint64_t attempt);
void core_ike_changed(struct core *core, const char *tunnel, uint64_t attempt,
                      Vpnsip__IkeStatus status, const char *cause);

/** What tunnel-agent says about a tunnel; the conditions are levels, repeated while they hold. */
struct tunnel_report {
	const char *tunnel;
	uint64_t attempt;
	bool wants_peer, is_idle, is_dead, is_one_way;
	bool is_open, has_sas;
	uint64_t last_received_usec;
};
void core_tunnel_changed(struct core *core, const struct tunnel_report *report);

/** An entry of nat-qos-agent's lists; core_surveyed() after the last. Forget the service's holdings before the first. */
void core_translation_found(struct core *core, const char *tunnel, uint64_t attempt,
                            bool is_installed);
void core_shaper_found(struct core *core, const char *tunnel, uint64_t attempt);

/** Before the entries of a snapshot of this service are given. */
void core_forget(struct core *core, Vpnsip__Service service);
/** Before what the service tells of one tunnel is given. */
void core_forget_tunnel(struct core *core, const char *tunnel, Vpnsip__Service service);
/** After the last entry of its snapshot: sessions are adopted when all owners are known, else compared with it. */
void core_surveyed(struct core *core, Vpnsip__Service service);

void core_service_changed(struct core *core, Vpnsip__Service service, Vpnsip__PeerHealth health);
/** The first service without which no session can be set up, as a sentence; NULL when all are there. */
const char *core_missing_service(struct core *core);
/** tunnel-agent is away for so long that a call may be idle and nobody sees it. */
void core_unwatched(struct core *core, const char *cause);

/** A session wants a new IKE_SA: they are begun one after the other, 50 a second. */
void core_resume(struct core *core);
/** The pace timer ran out. */
void core_resume_next(struct core *core);

void core_wan_changed(struct core *core, const char *interface, bool is_up,
                      const struct sockaddr_storage *address, const char *cause);
void core_registration_changed(struct core *core, const char *local_number,
                               Vpnsip__RegistrationStatus status,
                               const struct sockaddr_storage *contact, const char *cause);

/** The state timer or the probe timer of a session ran out. */
void core_session_timeout(struct core *core, struct session *session, bool is_probe);
/** The timer of the call's length ran out. */
void core_call_timeout(struct core *core, struct session *session);
void core_line_timeout(struct core *core, struct line *line);

/** Operator orders. NULL when carried out, else why not. */
const char *core_operator_call(struct core *core, const char *remote_number);
const char *core_operator_release(struct core *core, const char *remote_number, bool is_all,
                                  const char *cause);

/** Releases all sessions and ends the registrations; no calls after this. */
void core_shut_down(struct core *core);

/** True when no session holds anything any more. */
bool core_is_at_rest(const struct core *core);

struct session *core_session_by_tunnel(struct core *core, const char *tunnel);
struct session *core_session_by_number(struct core *core, const char *remote_number);
struct line *core_line_by_number(struct core *core, const char *local_number);

/** Why no own call may be placed now (not registered, too many), or NULL. */
const char *core_call_refusal(struct core *core, const struct session *session);

/** Removes what the other services hold under the session's tunnel for other attempts than its own. */
void core_disown_strays(struct session *session);

#endif
