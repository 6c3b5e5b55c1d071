/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the other services hold for one tunnel, as they last said: the actual state that a session is compared with. Filled from
 * snapshots and events alike. Pure.
 */
#ifndef VPNSIP_COORDINATOR_HOLDINGS_H
#define VPNSIP_COORDINATOR_HOLDINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "ike_agent.pb-c.h"
#include "services/coordinator/media.h"
#include "sip_agent.pb-c.h"

/** The services whose snapshots make up a session: sip-agent, ike-agent, tunnel-agent, nat-qos-agent. */
#define OWNERS                                                               \
	(BIT(VPNSIP__SERVICE__SIP_AGENT) | BIT(VPNSIP__SERVICE__IKE_AGENT) | \
	 BIT(VPNSIP__SERVICE__TUNNEL_AGENT) | BIT(VPNSIP__SERVICE__NAT_QOS_AGENT))
#define SERVICE_COUNT (VPNSIP__SERVICE__CLI + 1)

/** A call that is not over. */
struct held_call {
	bool is_present;
	char call_id[CALL_ID_SIZE];
	uint64_t attempt;
	Vpnsip__Direction direction;
	Vpnsip__CallStatus status;
	bool is_restored; /* sip-agent was restarted during the call */
	bool has_local, has_remote;
	struct media local, remote;
	uint64_t started_wall_usec, answered_wall_usec;
};

/** Attempts are 0 where nothing is held. */
struct holdings {
	struct held_call call;
	uint64_t ike_attempt;
	Vpnsip__IkeStatus ike_status;
	uint64_t peer_attempt;
	bool is_open, has_sas;
	uint64_t translation_attempt;
	bool is_translated; /* installed, not only a port reserved */
	uint64_t shaper_attempt;
};

/** Before a snapshot of this service is read: what it does not name is not there. */
void holdings_forget(struct holdings *held, Vpnsip__Service service);

/** The orders of this attempt that are in force: a set of steps out of STEPS_RUNNING. */
unsigned holdings_steps(const struct holdings *held, uint64_t attempt);

/** Steps of STEPS_RUNNING whose effect this service holds. */
unsigned holdings_steps_of(Vpnsip__Service service);

/** What a starting coordinator makes of a tunnel. */
enum adoption {
	ADOPT_NOTHING, /* no call: what is left of it is removed */
	ADOPT_RUNNING, /* the session goes on; what is missing is ordered again */
	ADOPT_ENDED,   /* hang up */
};

/** Decides by what is held alone. `cause` is a sentence for ADOPT_ENDED. */
enum adoption holdings_judge(const struct holdings *held, const char **cause);

#endif
