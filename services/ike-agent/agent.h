/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * ike-agent between the bus and the engine. All of it runs on the loop's thread, except the functions of
 * struct engine_host, which the engine's threads call.
 */
#ifndef VPNSIP_IKE_AGENT_H
#define VPNSIP_IKE_AGENT_H

#include <event2/event.h>

#include "bus/bus.h"
#include "services/common/config.h"
#include "services/common/event_class.h"
#include "services/common/service.h"
#include "services/ike-agent/ike_admission.h"
#include "services/ike-agent/session_table.h"

/** Packets lost for one reason; told in the log at the 1st, 2nd, 4th, 8th ... */
struct drop_counter {
	const char *reason;
	unsigned count;
};

/** Children to be replaced: those that tunnel-agent has lost, or each. */
struct due_rekey {
	uint32_t if_id;
	bool is_each;
};

struct ike_agent {
	struct service_context *service;
	struct agent_authentication *authentication; /* keys and certificates */
	bool is_engine_open;
	struct session_table *sessions; /* NULL once the agent is leaving */
	struct ending *endings;         /* stopped sessions whose IKE_SAs are not gone yet */
	struct engine_host host;
	unsigned packets_in_flight; /* SendIkePacket called, not answered */
	uint64_t packets_sent, packets_delivered;
	uint64_t tunnel_agent_epoch; /* of its last snapshot; 0 = none yet */
	struct drop_counter crowded, congested, unanswered;
	struct ike_admission admission;
	struct event_class guard[IKE_GUARD_CLASS_COUNT]; /* whose IKE was turned away */
	uint64_t begun_by_us, up_by_us;                  /* IKE_SAs */
	struct event *rekey_timer;
	struct due_rekey *rekeys; /* tunnels that want other SAs, one is served a tick */
	size_t rekey_count, rekey_capacity;
	struct signs_of_life *signs; /* to be reported */
};

struct ike_agent *ike_agent_of(void *service_context);

/** Handlers of the bus; `context` is the struct service_context. */
void agent_take_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order);
void agent_take_event(void *context, const Vpnsip__Envelope *event);
void agent_take_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot);
void agent_give_snapshot(void *context, struct bus_request *request);
void agent_describe(void *context, struct bus_description *description);

/** Fills the functions through which the engine reaches the bus. */
void agent_init_host(struct ike_agent *agent);
/** Prepares and frees the pacing of rekeys after a restart of tunnel-agent. 0, or -1. */
int agent_open_rekeys(struct ike_agent *agent);
void agent_close_rekeys(struct ike_agent *agent);

/** Prepares the admission of IKE_SAs that others begin. */
void agent_open_admission(struct ike_agent *agent);
/** True if the engine shall have this packet of `remote` for the session, NULL if it is over. Else it is dealt with: refused, or asked for a cookie. */
bool agent_admit_packet(struct ike_agent *agent, const struct ike_session *session,
                        const struct sockaddr_storage *remote, const uint8_t *packet, size_t size);
/** Notes a packet that came for no session. */
void agent_refuse_packet(struct ike_agent *agent, const char *tunnel,
                         const struct sockaddr_storage *remote, const uint8_t *packet, size_t size);
/** Counts that `remote` was turned away, and tells the log, which a flood does not fill; `tunnel` may be NULL. */
void agent_note_refusal(struct ike_agent *agent, enum ike_guard_class class, const char *tunnel,
                        const struct sockaddr_storage *remote);
/** Sends an IKE message of the attempt. Loop's thread only. */
void agent_send_packet(struct ike_agent *agent, uint32_t if_id, uint64_t attempt,
                       const struct sockaddr_storage *remote, const uint8_t *packet, size_t size);
/** Has tunnel-agent send where the peer's IKE is now, if it has sent where that was. */
void agent_follow_peer(struct ike_agent *agent, const struct ike_session *session,
                       const struct sockaddr_storage *from);
/** Tells tunnel-agent soon that a verified message of the session's peer came. */
void agent_report_sign_of_life(struct ike_agent *agent, const struct ike_session *session);
/** Tells what is still to be told. */
void agent_flush_signs_of_life(struct ike_agent *agent);
/** Prepares and frees the reports of signs of life. 0, or -1. */
int agent_open_signs_of_life(struct ike_agent *agent);
void agent_close_signs_of_life(struct ike_agent *agent);
/** Statistics of who was let in and who was not. */
struct admission_message {
	Vpnsip__IkeAdmission admission;
	Vpnsip__GuardClass classes[IKE_GUARD_CLASS_COUNT], *pointers[IKE_GUARD_CLASS_COUNT];
};

/** Fills the message, whose strings are the agent's. */
void agent_describe_admission(struct ike_agent *agent, struct admission_message *message);

/** Publishes the session's state and, if it is noteworthy, tells the log. */
void agent_publish(struct ike_agent *agent, const struct ike_session *session, bool is_noteworthy);
/** Applies a fact of the engine. */
void agent_take_fact(struct ike_agent *agent, const struct engine_fact *fact);
/** Ends the session's IKE_SAs with a DELETE each and forgets it. */
void agent_end_session(struct ike_agent *agent, struct ike_session *session);

/** Ends the session; answered when the peer knows, or its time to answer is over. */
void agent_stop_ike(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__StopIke *order);
/** An IKE_SA is gone: a stopped session may have waited for it. */
void agent_take_gone(struct ike_agent *agent, uint32_t sa);
/** Refuses the orders that still wait: the agent is leaving. */
void agent_close_endings(struct ike_agent *agent);

/** Tells the trace and, when switched on, the debug log of an attempt's IKE message; `remote` is who sent it or is to have it. */
void agent_note_packet(struct ike_agent *agent, uint32_t if_id, uint64_t attempt, bool is_incoming,
                       const struct sockaddr_storage *remote, const uint8_t *packet, size_t size);

/** The status' name as in the messages: "IKE_UP". */
const char *agent_status_name(enum ike_state state);

/** Counts an IKE packet of the tunnel that was lost, `detail` (may be NULL) for the log; unless the attempt's session lives it is a late one, no loss. */
void agent_count_drop(struct ike_agent *agent, uint32_t if_id, uint64_t attempt,
                      struct drop_counter *counter, const char *detail);

#endif
