/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * tunnel-agent from ike-agent's side: IKE packets and SAs on their way there (from the engine's threads), what it tells of
 * the SAs it holds, and the replacement of those that it lost in a restart.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/ike-agent/agent.h"
#include "services/ike-agent/ike_message.h"

#define PACKETS_IN_FLIGHT_MAX 256
#define PACKET_TIMEOUT_MSEC   1000
#define SA_TIMEOUT_MSEC       2000
#define REKEY_TICK_MSEC       20 /* 50 a second */
#define SAS_PER_TUNNEL_MAX    32

#define TUNNEL_AGENT VPNSIP__SERVICE__TUNNEL_AGENT

void agent_count_drop(struct ike_agent *agent, uint32_t if_id, uint64_t attempt,
                      struct drop_counter *counter, const char *detail)
{
	const struct ike_session *session;
	unsigned count;

	if (!agent->sessions)
		return;
	session = session_table_find(agent->sessions, if_id);
	if (!session || session->attempt != attempt || session->state == IKE_STATE_FAILED ||
	    session->state == IKE_STATE_ENDED)
		return;
	count = ++counter->count;
	if ((count & (count - 1)) == 0)
		log_line(LOG_WARNING, "IKE packets dropped, %s: %u%s%s", counter->reason, count,
		         detail ? "; " : "", detail ? detail : "");
}

void agent_note_packet(struct ike_agent *agent, uint32_t if_id, uint64_t attempt, bool is_incoming,
                       const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	/* A session that was stopped has its last words. */
	const struct config_peer *peer = config_peer_by_if_id(agent->service->config, if_id);
	char text[IKE_MESSAGE_TEXT_SIZE], outside[ADDRESS_TEXT_SIZE];

	if (!peer)
		return;
	ike_message_describe(packet, size, text);
	address_format_port(remote, outside);
	bus_trace(agent->service->bus, peer->tunnel, attempt, VPNSIP__TRACE_KIND__TRACE_IKE,
	          outside, is_incoming, "%s", text);
	log_debug(LOG_IKE, peer->tunnel, peer->number, "%s %s: %s", is_incoming ? "from" : "to",
	          outside, text);
}

/** For the log lines of a call. The configuration never changes, so any thread may ask. */
static const char *tunnel_name(const struct ike_agent *agent, uint32_t if_id)
{
	const struct config_peer *peer = config_peer_by_if_id(agent->service->config, if_id);

	return peer ? peer->tunnel : NULL;
}

/** An IKE packet or a fact, on its way from an engine's thread to the loop's; a packet, until it is answered. */
struct posted_packet {
	struct ike_agent *agent;
	uint32_t if_id;
	uint64_t attempt;
	struct sockaddr_storage remote;
	bool has_fact; /* to be taken when the packet has left */
	struct engine_fact fact;
	size_t size;
	uint8_t packet[];
};

struct posted_fact {
	struct ike_agent *agent;
	struct engine_fact fact;
};

/** The packet has left or is lost. */
static void finish_packet(struct posted_packet *posted)
{
	if (posted->has_fact)
		agent_take_fact(posted->agent, &posted->fact);
	free(posted);
}

static void packet_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct posted_packet *posted = context;
	struct ike_agent *agent = posted->agent;

	agent->packets_in_flight--;
	if (outcome != BUS_DONE) {
		agent_count_drop(agent, posted->if_id, posted->attempt, &agent->unanswered,
		                 bus_cause(reply));
	}
	finish_packet(posted);
}

static void call_send(void *context)
{
	struct posted_packet *posted = context;
	struct ike_agent *agent = posted->agent;
	Vpnsip__SendIkePacket order = VPNSIP__SEND_IKE_PACKET__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;

	if (agent->packets_in_flight == PACKETS_IN_FLIGHT_MAX) {
		agent_count_drop(agent, posted->if_id, posted->attempt, &agent->congested, NULL);
		finish_packet(posted);
		return;
	}
	agent->packets_in_flight++;
	agent->packets_sent++;
	agent_note_packet(agent, posted->if_id, posted->attempt, false, &posted->remote,
	                  posted->packet, posted->size);
	address_to_proto(&posted->remote, &remote);
	order.if_id = posted->if_id;
	order.remote = &remote;
	order.attempt = posted->attempt;
	order.packet.data = posted->packet;
	order.packet.len = posted->size;
	bus_call(agent->service->bus, TUNNEL_AGENT, tunnel_name(agent, posted->if_id), &order.base,
	         PACKET_TIMEOUT_MSEC, packet_replied, posted);
}

static _Noreturn void end_without_memory(void)
{
	log_line(LOG_ERR, "out of memory");
	abort();
}

/** The packet in a form that can wait; `then` may be NULL. */
static struct posted_packet *post_of(struct ike_agent *agent, uint32_t if_id, uint64_t attempt,
                                     const struct sockaddr_storage *remote, const uint8_t *packet,
                                     size_t size, const struct engine_fact *then)
{
	struct posted_packet *posted = malloc(sizeof(*posted) + size);

	if (!posted)
		end_without_memory(); /* as for a fact, which it may bear */
	posted->agent = agent;
	posted->if_id = if_id;
	posted->attempt = attempt;
	posted->remote = *remote;
	posted->has_fact = then;
	if (then)
		posted->fact = *then;
	posted->size = size;
	memcpy(posted->packet, packet, size);
	return posted;
}

void agent_send_packet(struct ike_agent *agent, uint32_t if_id, uint64_t attempt,
                       const struct sockaddr_storage *remote, const uint8_t *packet, size_t size)
{
	call_send(post_of(agent, if_id, attempt, remote, packet, size, NULL));
}

static void host_send_packet(void *context, uint32_t if_id, uint64_t attempt,
                             const struct sockaddr_storage *remote, const uint8_t *packet,
                             size_t size, const struct engine_fact *then)
{
	struct ike_agent *agent = context;

	bus_post(agent->service->bus, call_send,
	         post_of(agent, if_id, attempt, remote, packet, size, then));
}

static Vpnsip__SaDirection direction(bool is_inbound)
{
	return is_inbound ? VPNSIP__SA_DIRECTION__SA_INBOUND : VPNSIP__SA_DIRECTION__SA_OUTBOUND;
}

/** An InstallSa and what it points to. */
struct install_order {
	Vpnsip__InstallSa message;
	Vpnsip__Secret encryption_key, integrity_key;
};

static void fill_install(struct install_order *order, const struct engine_sa *sa)
{
	static const Vpnsip__EncryptionAlgorithm encryptions[] = {
		[ENGINE_AES_GCM_16] = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
		[ENGINE_AES_CBC] = VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC,
		[ENGINE_CHACHA20_POLY1305] = VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305,
	};
	static const Vpnsip__IntegrityAlgorithm integrities[] = {
		[ENGINE_INTEGRITY_NONE] = VPNSIP__INTEGRITY_ALGORITHM__INTEGRITY_NONE,
		[ENGINE_HMAC_SHA2_256_128] = VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128,
		[ENGINE_HMAC_SHA2_384_192] = VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_384_192,
		[ENGINE_HMAC_SHA2_512_256] = VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256,
		[ENGINE_HMAC_SHA1_96] = VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96,
	};
	Vpnsip__InstallSa *message = &order->message;

	vpnsip__install_sa__init(message);
	vpnsip__secret__init(&order->encryption_key);
	vpnsip__secret__init(&order->integrity_key);
	order->encryption_key.octets.data = (uint8_t *)sa->encryption_key;
	order->encryption_key.octets.len = sa->encryption_key_size;
	order->integrity_key.octets.data = (uint8_t *)sa->integrity_key;
	order->integrity_key.octets.len = sa->integrity_key_size;
	message->if_id = sa->if_id;
	message->direction = direction(sa->is_inbound);
	message->spi = sa->spi;
	message->encryption = encryptions[sa->encryption];
	message->encryption_key = &order->encryption_key;
	message->integrity = integrities[sa->integrity];
	message->integrity_key = &order->integrity_key;
	message->has_extended_sequence = sa->has_extended_sequence;
	message->replay_window = sa->replay_window;
	message->hard_lifetime_sec = sa->hard_lifetime_sec;
	message->soft_byte_limit = sa->soft_byte_limit;
	message->hard_byte_limit = sa->hard_byte_limit;
	message->soft_packet_limit = sa->soft_packet_limit;
	message->hard_packet_limit = sa->hard_packet_limit;
}

static bool host_install_sa(void *context, const struct engine_sa *sa,
                            const struct engine_sa *outbound, char *why, size_t why_size)
{
	struct ike_agent *agent = context;
	struct install_order first, second;
	Vpnsip__InstallChild both = VPNSIP__INSTALL_CHILD__INIT;
	const ProtobufCMessage *order = &first.message.base;
	enum bus_outcome outcome;
	Vpnsip__Envelope *reply;

	fill_install(&first, sa);
	if (outbound) {
		fill_install(&second, outbound);
		both.inbound = &first.message;
		both.outbound = &second.message;
		order = &both.base;
	}
	/* A tunnel-agent that is just being started is waited for. */
	reply = bus_call_blocking(agent->service->bus, TUNNEL_AGENT, tunnel_name(agent, sa->if_id),
	                          order, SA_TIMEOUT_MSEC, &outcome);
	snprintf(why, why_size, "%s", bus_cause(reply));
	bus_free_envelope(reply);
	/*
	 * Who died over the order may have sent with the SAs: they must not be installed again. That counts as done; its next
	 * start misses them, and then they are replaced.
	 */
	if (outcome != BUS_DONE && outcome != BUS_LOST)
		return false;
	bus_fault_point(agent->service->bus, "ike-agent.child-installed");
	return true;
}

static void host_remove_sa(void *context, uint32_t if_id, bool is_inbound, uint32_t spi)
{
	struct ike_agent *agent = context;
	Vpnsip__RemoveSa order = VPNSIP__REMOVE_SA__INIT;
	enum bus_outcome outcome;
	Vpnsip__Envelope *reply;

	order.if_id = if_id;
	order.direction = direction(is_inbound);
	order.spi = spi;
	reply = bus_call_blocking(agent->service->bus, TUNNEL_AGENT, tunnel_name(agent, if_id),
	                          &order.base, SA_TIMEOUT_MSEC, &outcome);
	/* What stays behind, tunnel-agent drops with the peer or at its hard lifetime. */
	if (outcome != BUS_DONE)
		log_line(LOG_WARNING, "an SA was not removed: %s", bus_cause(reply));
	bus_free_envelope(reply);
}

static void take_posted_fact(void *context)
{
	struct posted_fact *posted = context;

	agent_take_fact(posted->agent, &posted->fact);
	free(posted);
}

static void host_report(void *context, const struct engine_fact *fact)
{
	struct ike_agent *agent = context;
	struct posted_fact *posted = malloc(sizeof(*posted));

	if (!posted)
		end_without_memory(); /* a lost fact would leave a session in a wrong state for ever */
	posted->agent = agent;
	posted->fact = *fact;
	bus_post(agent->service->bus, take_posted_fact, posted);
}

void agent_init_host(struct ike_agent *agent)
{
	agent->host = (struct engine_host){
		.install_sa = host_install_sa,
		.remove_sa = host_remove_sa,
		.send_packet = host_send_packet,
		.report = host_report,
		.context = agent,
	};
	agent_open_admission(agent);
	agent->crowded.reason = "too many wait for libcharon";
	agent->congested.reason = "too many are in flight";
	agent->unanswered.reason = "tunnel-agent did not take them";
}

static void follow_replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	(void)context;
	/* The next ESP packet of the peer's tells tunnel-agent the same. */
	if (outcome != BUS_DONE)
		log_line(LOG_WARNING, "tunnel-agent does not follow the peer: %s",
		         bus_cause(reply));
}

void agent_follow_peer(struct ike_agent *agent, const struct ike_session *session,
                       const struct sockaddr_storage *from)
{
	Vpnsip__FollowPeer order = VPNSIP__FOLLOW_PEER__INIT;
	Vpnsip__SocketAddress before = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__SocketAddress now = VPNSIP__SOCKET_ADDRESS__INIT;

	address_to_proto(from, &before);
	address_to_proto(&session->ike.remote, &now);
	order.if_id = session->if_id;
	order.attempt = session->attempt;
	order.from = &before;
	order.to = &now;
	bus_call(agent->service->bus, TUNNEL_AGENT, session->tunnel, &order.base, SA_TIMEOUT_MSEC,
	         follow_replied, agent);
}

/** tunnel-agent follows what the peer's ESP proves; IKE, if it was where ESP was, goes with it. */
static void follow_esp(struct ike_session *session, const Vpnsip__TunnelChanged *tunnel)
{
	const struct sockaddr_storage before = session->esp_remote;
	struct sockaddr_storage remote;

	if (!address_from_proto(tunnel->remote, &remote) ||
	    address_is_same_endpoint(&remote, &before))
		return;
	session->esp_remote = remote;
	if (before.ss_family && address_is_same_endpoint(&before, &session->ike.remote))
		engine_move_peer(session->sa_in_force, &remote);
}

/** Makes a child for what tunnel-agent misses: in place of the one it lost, or the first of an IKE_SA that has none. */
static void replace_sas(struct ike_agent *agent, const struct due_rekey *due)
{
	const struct ike_session *session = session_table_find(agent->sessions, due->if_id);

	engine_rekey_children(due->if_id, due->is_each);
	for (size_t i = 0; session && i < session->sa_count; i++)
		if (session->sas[i].is_up && !session->sas[i].is_superseded)
			engine_make_child(session->sas[i].sa);
}

static void rekey_next(evutil_socket_t fd, short what, void *context)
{
	struct ike_agent *agent = context;

	(void)fd;
	(void)what;
	if (agent->rekey_count == 0) {
		event_del(agent->rekey_timer);
		return;
	}
	replace_sas(agent, &agent->rekeys[0]);
	memmove(agent->rekeys, agent->rekeys + 1, --agent->rekey_count * sizeof(*agent->rekeys));
}

int agent_open_rekeys(struct ike_agent *agent)
{
	agent->rekey_timer = event_new(agent->service->base, -1, EV_PERSIST, rekey_next, agent);
	agent->rekey_capacity = agent->service->config->peer_count;
	agent->rekeys = calloc(agent->rekey_capacity + 1, sizeof(*agent->rekeys));
	return agent->rekey_timer && agent->rekeys ? 0 : -1;
}

void agent_close_rekeys(struct ike_agent *agent)
{
	if (agent->rekey_timer)
		event_free(agent->rekey_timer);
	free(agent->rekeys);
}

static void queue_rekey(struct ike_agent *agent, uint32_t if_id, bool is_each)
{
	const struct timeval tick = {.tv_usec = REKEY_TICK_MSEC * 1000};

	for (size_t i = 0; i < agent->rekey_count; i++)
		if (agent->rekeys[i].if_id == if_id) {
			agent->rekeys[i].is_each |= is_each;
			return;
		}
	if (agent->rekey_count == agent->rekey_capacity)
		return;
	agent->rekeys[agent->rekey_count++] = (struct due_rekey){if_id, is_each};
	if (!event_pending(agent->rekey_timer, EV_TIMEOUT, NULL))
		event_add(agent->rekey_timer, &tick);
}

/** `is_new_start`: tunnel-agent was restarted, so that it may not know the attempt yet. Else no attempt is an end. */
static void take_tunnel(struct ike_agent *agent, const Vpnsip__TunnelChanged *tunnel,
                        uint64_t reported_mono_usec, bool is_new_start)
{
	struct ike_session *session = session_table_find(agent->sessions, tunnel->if_id);
	struct engine_sa_usage usage[SAS_PER_TUNNEL_MAX];
	struct engine_difference difference;
	size_t count = 0;

	if (!session || session->state != IKE_STATE_UP)
		return;
	if (session->attempt != tunnel->attempt && !(is_new_start && tunnel->attempt == 0))
		return;
	if (session->attempt == tunnel->attempt)
		follow_esp(session, tunnel);
	for (; count < tunnel->n_sas && count < SAS_PER_TUNNEL_MAX; count++) {
		const Vpnsip__SaStatus *sa = tunnel->sas[count];

		usage[count] = (struct engine_sa_usage){
			.spi = sa->spi,
			.is_inbound = sa->direction == VPNSIP__SA_DIRECTION__SA_INBOUND,
			.packets = sa->packets,
			.bytes = sa->bytes,
			.last_used_mono_usec = sa->last_used_mono_usec,
		};
	}
	difference = engine_note_usage(tunnel->if_id, usage, count, reported_mono_usec);
	if (difference.missing > 0)
		log_session(LOG_INFO, session->tunnel, session->remote_number,
		            "tunnel-agent lost the SAs: rekeying");
	else if (is_new_start && difference.strange > 0)
		/* Only with a new child it gives up what it found in the kernel. */
		log_session(LOG_INFO, session->tunnel, session->remote_number,
		            "tunnel-agent found %zu SAs of former children: rekeying",
		            difference.strange);
	if (difference.missing > 0 || (is_new_start && difference.strange > 0) || tunnel->wants_sa)
		queue_rekey(agent, tunnel->if_id, is_new_start && difference.strange > 0);
}

void agent_take_event(void *context, const Vpnsip__Envelope *event)
{
	if (event->body_case == VPNSIP__ENVELOPE__BODY_TUNNEL_CHANGED)
		take_tunnel(ike_agent_of(context), event->tunnel_changed, event->sent_mono_usec,
		            false);
}

void agent_take_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	struct ike_agent *agent = ike_agent_of(context);
	bool is_new_start;

	(void)peer;
	if (snapshot->body_case != VPNSIP__ENVELOPE__BODY_TUNNEL_SNAPSHOT)
		return;
	is_new_start = agent->tunnel_agent_epoch != snapshot->epoch;
	agent->tunnel_agent_epoch = snapshot->epoch;
	for (size_t i = 0; i < snapshot->tunnel_snapshot->n_tunnels; i++)
		take_tunnel(agent, snapshot->tunnel_snapshot->tunnels[i], snapshot->sent_mono_usec,
		            is_new_start);
}
