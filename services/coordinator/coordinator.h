/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The coordinator's shell around the pure core: bus, timers, attempt numbers on disk. One thread. */
#ifndef VPNSIP_COORDINATOR_H
#define VPNSIP_COORDINATOR_H

#include "services/common/service.h"
#include "services/coordinator/attempts.h"
#include "services/coordinator/core.h"
#include "services/coordinator/handover.h"

/** An order that must be carried out, late or not: of RELEASING, or DeregisterLine. Repeated each second until it is confirmed. */
struct debt {
	struct coordinator *coordinator;
	const struct line *line; /* to be deregistered; NULL = a step of a session */
	char tunnel[32];
	char call_id[CALL_ID_SIZE];
	uint64_t attempt;
	enum step step;
	uint64_t request; /* in flight; 0 = none */
	struct debt *next;
};

/** An order of a session whose reply is awaited. */
struct pending_step {
	struct coordinator *coordinator;
	struct session *session;
	uint64_t attempt;
	enum step step;
	Vpnsip__Service to;
	uint64_t request;
	struct pending_step *next, *previous;
};

struct session_timers {
	struct coordinator *coordinator;
	struct session *session;
	struct bus_timer *state, *probe, *call;
};

struct line_timer {
	struct coordinator *coordinator;
	struct line *line;
	struct bus_timer *timer;
};

struct coordinator {
	struct service_context *service;
	struct core *core;
	struct coordinator_port port;
	struct attempts attempts;
	struct records *records;
	struct bus_timer *records_timer;
	struct handover *handover;
	struct bus_timer *handover_timer;
	struct session_timers *session_timers;
	struct line_timer *line_timers;
	struct bus_timer *pace_timer;
	struct bus_timer *compare_timer;    /* every 30 s */
	struct bus_timer *look_again_timer; /* for the services in look_again */
	struct bus_timer *away_timer;       /* tunnel-agent is not up */
	unsigned look_again;
	struct pending_step *pending;
	struct debt *debts;
	uint64_t debts_owed, debts_settled; /* since the start */
	struct bus_timer *debt_timer;
	struct bus_request *shutdown_request; /* answered when all is down, or by the timer */
	struct bus_timer *shutdown_timer;
};

/* orders.c: what the core wants of the other services, as bus messages. */
void orders_send(struct coordinator *coordinator, struct session *session, enum step step);
void orders_reject(struct coordinator *coordinator, const char *call_id, uint32_t sip_status,
                   const char *reason, uint32_t warning_code, const char *warning_text);
void orders_register(struct coordinator *coordinator, const struct line *line);
/** `done` gets `context`. The request's id. */
uint64_t orders_deregister(struct coordinator *coordinator, const struct line *line,
                           bus_reply_fn *done, void *context);

/** The Call-ID that HangUp names the call by; "" = by the attempt, which sip-agent knows and no hint can have spoiled. */
const char *orders_hang_up_name(const struct session *session);
/** Forgets the replies of all orders under way. */
void orders_cancel_all(struct coordinator *coordinator);

/* debts.c */
/** Orders it at once, and again each second until it is confirmed. Known ones are not doubled. */
void debts_add(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
               const char *call_id, enum step step);
/** The line is to be deregistered; core's lines outlive the debts. */
void debts_add_line(struct coordinator *coordinator, const struct line *line);
/** The line is wanted again. */
void debts_forget_line(struct coordinator *coordinator, const struct line *line);
/** What a debt orders, as in the log. */
const char *debt_name(const struct debt *debt);
unsigned debts_count(const struct coordinator *coordinator);
/** The debt timer ran out. `context` is the coordinator. */
void debts_due(void *context);
void debts_free(struct coordinator *coordinator);
/** Sends one order of RELEASING; also used for a debt. `done` gets `context`. The request's id. */
uint64_t orders_send_release(struct coordinator *coordinator, const char *tunnel, uint64_t attempt,
                             const char *call_id, const char *cause, enum step step,
                             bus_reply_fn *done, void *context);

/* records_attach.c: the call records beside the core. 0, or -1 after logging why. */
int records_attach(struct coordinator *coordinator);
void records_detach(struct coordinator *coordinator);

/* handover_orders.c: what sip-agent found out, for those that act upon it. */
/** 0, or -1 when out of memory. */
int handover_attach(struct coordinator *coordinator);
void handover_detach(struct coordinator *coordinator);
void handover_registration(struct coordinator *coordinator,
                           const Vpnsip__RegistrationChanged *registration);
void handover_discovery(struct coordinator *coordinator, const Vpnsip__DiscoveryChanged *discovery);
void handover_nat_qos(struct coordinator *coordinator, const Vpnsip__NatQosSnapshot *snapshot);

/* reports.c: what the other services say, as core events. */
void reports_event(void *context, const Vpnsip__Envelope *event);
void reports_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot);

/* watch.c: the other services' health, and the comparisons that nobody asks for. */
int watch_start(struct coordinator *coordinator);
void watch_stop(struct coordinator *coordinator);
void watch_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health);
void watch_look_again(struct coordinator *coordinator, Vpnsip__Service service);

/* describe.c */
void describe(void *context, struct bus_description *description);

/* show_admission.c */
/** Answers GetCallAdmission. */
void show_admission(const struct core *core, struct bus_request *request);

/* main.c */
/** Answers ShutDown when nothing is left and nothing owed. */
void shut_down_when_done(struct coordinator *coordinator);

/* show.c: our own state as messages. */
void show_session_changed(struct coordinator *coordinator, const struct session *session);
void show_line_changed(struct coordinator *coordinator, const struct line *line);
void show_snapshot(void *context, struct bus_request *request);

#endif
