/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The coordinator without its bus: all lines and sessions, and what the other services report. Pure; one thread. */
#ifndef VPNSIP_COORDINATOR_CORE_H
#define VPNSIP_COORDINATOR_CORE_H

#include "services/coordinator/line.h"
#include "services/coordinator/session.h"

#define CALLS_REMEMBERED 1024

struct core {
	const struct config *config;
	const struct coordinator_port *port;
	struct line *lines;
	struct session *sessions;
	size_t line_count, session_count;
	bool is_shutting_down;
	const char *calls_barred; /* why no own call may be placed whatever else is so; NULL = they may */
	uint64_t call_times_usec[CALLS_REMEMBERED]; /* ring of own calls, for the hourly limit */
	size_t call_count;
};

struct core *core_create(const struct config *config, const struct coordinator_port *port);
void core_destroy(struct core *core);

/** Result of an order. `media` carries the fingerprints of STEP_PREPARE_IKE; `port` that of STEP_RESERVE_PORT. */
struct step_result {
	bool is_done;
	Vpnsip__FailureKind kind;
	const char *cause;
	uint16_t port;
	const struct media *media;
};

/** A reply to an order of this attempt; late ones of older attempts are ignored. */
void core_step_finished(struct core *core, struct session *session, uint64_t attempt,
                        enum step step, const struct step_result *result);

void core_call_changed(struct core *core, const struct call_report *report);
void core_ike_changed(struct core *core, const char *tunnel, uint64_t attempt,
                      Vpnsip__IkeStatus status, const char *cause);

/** What tunnel-agent says about a tunnel; the conditions are levels, repeated while they hold. */
struct tunnel_report {
	const char *tunnel;
	uint64_t attempt;
	bool wants_peer, is_idle, is_dead, is_one_way;
	uint64_t idle_since_usec, last_received_usec;
};
void core_tunnel_changed(struct core *core, const struct tunnel_report *report);

void core_wan_changed(struct core *core, const char *interface, bool is_up,
                      const struct sockaddr_storage *address, const char *cause);
void core_registration_changed(struct core *core, const char *local_number,
                               Vpnsip__RegistrationStatus status, const char *cause);

/** The state timer or the probe timer of a session ran out. */
void core_session_timeout(struct core *core, struct session *session, bool is_probe);
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

/** Why no own call may be placed now (not registered, too many), or NULL. */
const char *core_call_refusal(struct core *core, const struct session *session);

/** Remembers an own call for the hourly limit. */
void core_count_call(struct core *core);

#endif
