/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls from the other side: which offer is taken, refused, or kept waiting; and whether an answer to ours will do. Pure. */
#ifndef VPNSIP_COORDINATOR_OFFER_H
#define VPNSIP_COORDINATOR_OFFER_H

#include "services/coordinator/session.h"

/** At rest or in hold-down: begin the incoming attempt, or refuse with code and Warning. */
void session_consider_offer(struct session *session, const struct call_report *call);

/** A newer call from the same number while the first is still unanswered: the first is gone for its caller. */
void session_supersede_offer(struct session *session, const struct call_report *call);

/** After a step of an incoming attempt in RINGING: the next ones, in the end AnswerCall. */
void session_advance_incoming(struct session *session);

/** Keeps the call until the session can serve it; a call that waited already is refused as busy. */
void session_keep_waiting(struct session *session, const struct call_report *call);

/** Refuses the waiting call, if there is one. */
void session_refuse_waiting(struct session *session, uint32_t sip_status, const char *reason);

/** A new call while the session seems to run: ask whether the peer is alive; session_finish_probe() decides after 2 s. */
void session_probe_for(struct session *session, const struct call_report *call);
void session_finish_probe(struct session *session);

/** Sets the SIP code for an unanswered offer that fails on our side; harmless for own calls. */
void session_refuse_offer_for(struct session *session, Vpnsip__FailureKind kind, const char *cause);

/** Why the answer in session->remote cannot be used, or NULL. */
const char *answer_refusal(const struct session *session);

/** SESSION_UP if everything that it needs is there. */
void session_establish_when_complete(struct session *session);

#endif
