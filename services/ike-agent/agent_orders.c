/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The orders of the coordinator and of tunnel-agent. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/ike-agent/agent.h"
#include "services/ike-agent/fingerprint.h"

static const struct config_key *find_key(const struct ike_agent *agent, const char *number)
{
	for (size_t i = 0; agent->keyring && i < agent->keyring->key_count; i++)
		if (strcmp(agent->keyring->keys[i].key_id, number) == 0)
			return &agent->keyring->keys[i];
	return NULL;
}

/** The peer of tunnel and number and its key; fails the request and returns NULL if one is wanting. */
static const struct config_peer *find_peer(struct ike_agent *agent, struct bus_request *request,
                                           const char *tunnel, const char *number,
                                           const struct config_key **key)
{
	const struct config *config = agent->service->config;
	const struct config_peer *peer = config_peer_by_tunnel(config, tunnel);

	if (!peer || strcmp(peer->number, number) != 0) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "%s: no peer %s has tunnel %s",
		         config->file, number, tunnel);
		return NULL;
	}
	*key = find_key(agent, number);
	if (!*key) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "no key for %s in %s", number,
		         config->keyring_file ? config->keyring_file : "(no keyring-file)");
		return NULL;
	}
	if (peer->has_fingerprint &&
	    !fingerprint_fits((*key)->key, (*key)->key_size, peer->fingerprint_hash,
	                      peer->fingerprint, peer->fingerprint_size)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG,
		         "the key for %s has not the fingerprint that %s:%d wants", number,
		         config->file, peer->line_number);
		return NULL;
	}
	return peer;
}

/** SHA-256 for whoever can; beside it SHA-1 where the other side may know nothing else. */
static size_t show_fingerprints(const struct config_peer *peer, const struct config_key *key,
                                Vpnsip__Fingerprint fingerprints[2],
                                uint8_t values[2][FINGERPRINT_MAX])
{
	static const char *const hashes[] = {"SHA-256", "SHA-1"};
	const size_t count = !peer->ike_profile->sends_psk_fingerprint ? 0
	                     : peer->ike_profile->allows_sha1          ? 2
	                                                               : 1;

	for (size_t i = 0; i < count; i++) {
		vpnsip__fingerprint__init(&fingerprints[i]);
		fingerprints[i].subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;
		fingerprints[i].hash = (char *)hashes[i];
		fingerprints[i].value.data = values[i];
		fingerprints[i].value.len = fingerprint_compute(hashes[i], key->key, key->key_size,
		                                                values[i]);
	}
	return count;
}

static void prepare(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__PrepareIke *order)
{
	Vpnsip__IkePrepared reply = VPNSIP__IKE_PREPARED__INIT;
	Vpnsip__Fingerprint fingerprints[2], *list[] = {&fingerprints[0], &fingerprints[1]};
	uint8_t values[2][FINGERPRINT_MAX];
	const struct config_key *key;
	const struct config_peer *peer = find_peer(agent, request, order->tunnel,
	                                           order->remote_number, &key);

	if (!peer)
		return;
	reply.n_fingerprints = show_fingerprints(peer, key, fingerprints, values);
	reply.fingerprints = list;
	bus_reply(request, &reply.base);
}

/**
 * The announced fingerprints of hashes that fit. False if there were some but none is of use: without a pin any key
 * would do, so that must not pass for "nothing announced".
 */
static bool read_pins(const struct config_peer *peer, const Vpnsip__StartIke *order,
                      struct engine_pin pins[ENGINE_PINS_MAX], size_t *count)
{
	*count = 0;
	for (size_t i = 0; i < order->n_pinned && *count < ENGINE_PINS_MAX; i++) {
		const Vpnsip__Fingerprint *announced = order->pinned[i];
		struct engine_pin *pin = &pins[*count];

		if (strlen(announced->hash) >= sizeof(pin->hash) ||
		    announced->value.len > sizeof(pin->value) ||
		    (strcasecmp(announced->hash, "SHA-1") == 0 && !peer->ike_profile->allows_sha1))
			continue;
		memset(pin, 0, sizeof(*pin));
		pin->is_pre_shared_key = announced->subject ==
		                         VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY;
		snprintf(pin->hash, sizeof(pin->hash), "%s", announced->hash);
		pin->size = announced->value.len;
		memcpy(pin->value, announced->value.data, pin->size);
		(*count)++;
	}
	return *count > 0 || order->n_pinned == 0;
}

/** Makes room for the attempt. The new session, or NULL with the request answered. */
static struct ike_session *admit(struct ike_agent *agent, struct bus_request *request,
                                 const struct config_peer *peer, uint64_t attempt)
{
	struct ike_session *session;
	enum session_admission admission = session_table_admit(agent->sessions, peer->if_id,
	                                                       attempt, &session);

	if (admission == SESSION_REPLACES) {
		agent_end_session(agent, session);
		admission = session_table_admit(agent->sessions, peer->if_id, attempt, &session);
	}
	if (admission == SESSION_NEW && session)
		return session;
	if (admission == SESSION_STALE)
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM,
		         "attempt %" PRIu64 " of %s is stale", attempt, peer->tunnel);
	else if (!session)
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
	else if (session->state == IKE_STATE_FAILED || session->state == IKE_STATE_ENDED)
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "the session is over: %s",
		         session->cause);
	else
		bus_done(request);
	return NULL;
}

static void start(struct ike_agent *agent, struct bus_request *request,
                  const Vpnsip__StartIke *order)
{
	struct engine_pin pins[ENGINE_PINS_MAX];
	struct engine_session engine_session = {.pins = pins};
	const struct config_key *key;
	const struct config_peer *peer = find_peer(agent, request, order->tunnel,
	                                           order->remote_number, &key);
	struct ike_session *session;
	char why[ENGINE_CAUSE_SIZE];

	if (!peer)
		return;
	bus_fault_point(agent->service->bus, "ike-agent.before-start");
	if (!address_from_proto(order->local, &engine_session.local) ||
	    !address_from_proto(order->remote, &engine_session.remote)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "StartIke without addresses");
		return;
	}
	if (!read_pins(peer, order, pins, &engine_session.pin_count)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER,
		         "peer announced no fingerprint of a hash that we use");
		return;
	}
	session = admit(agent, request, peer, order->attempt);
	if (!session)
		return;
	ike_session_init(session, peer->tunnel, order->attempt, peer->if_id, order->local_number,
	                 order->remote_number, order->initiate);
	session->local = engine_session.local;
	session->ike.remote = engine_session.remote;
	engine_session.if_id = peer->if_id;
	engine_session.attempt = order->attempt;
	engine_session.local_number = order->local_number;
	engine_session.remote_number = order->remote_number;
	engine_session.peer = peer;
	engine_session.key = key->key;
	engine_session.key_size = key->key_size;
	if (!engine_add_session(&engine_session, why, sizeof(why))) {
		session_table_remove(agent->sessions, peer->if_id);
		bus_fail(request, VPNSIP__FAILURE_KIND__PEER, "%s", why);
		return;
	}
	if (order->initiate)
		engine_initiate(peer->if_id, order->attempt);
	bus_done(request);
	agent_publish(agent, session, true);
}

static void stop(struct ike_agent *agent, struct bus_request *request, const Vpnsip__StopIke *order)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config,
	                                                       order->tunnel);
	struct ike_session *session = peer ? session_table_find(agent->sessions, peer->if_id)
	                                   : NULL;

	if (peer)
		session_table_end_attempt(agent->sessions, peer->if_id, order->attempt);
	if (session && session->attempt <= order->attempt) {
		agent_end_session(agent, session);
		bus_touch_state(agent->service->bus);
	}
	bus_done(request);
}

static void probe_session(const struct ike_session *session)
{
	for (size_t i = 0; i < session->sa_count; i++)
		if (session->sas[i].is_up && !session->sas[i].is_superseded)
			engine_probe_sa(session->sas[i].sa);
}

static void probe(struct ike_agent *agent, struct bus_request *request,
                  const Vpnsip__ProbePeer *order)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config,
	                                                       order->tunnel);
	struct ike_session *session = peer ? session_table_find(agent->sessions, peer->if_id)
	                                   : NULL;

	if (!session || session->attempt != order->attempt || session->state != IKE_STATE_UP) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "no IKE is up on %s",
		         order->tunnel);
		return;
	}
	probe_session(session);
	bus_done(request);
}

/* The peer that answers still has its IKE_SA, and its own rekeying mends the rest; the one that does not is dead. */
static void recover_spi(struct ike_agent *agent, struct bus_request *request,
                        const Vpnsip__ReportUnknownSpi *report)
{
	const struct ike_session *session = session_table_find(agent->sessions, report->if_id);

	if (session && session->state == IKE_STATE_UP) {
		log_session(LOG_NOTICE, session->tunnel, session->remote_number,
		            "ESP for the unknown SPI %08x: the peer is asked for a sign of life",
		            report->spi);
		probe_session(session);
	}
	bus_done(request);
}

static void deliver(struct ike_agent *agent, struct bus_request *request,
                    const Vpnsip__DeliverIkePacket *order)
{
	const struct ike_session *session = session_table_find(agent->sessions, order->if_id);
	struct sockaddr_storage remote;

	/* Late or early: another attempt's session is no business of it. tunnel-agent names none while it was just restarted. */
	if (order->attempt && session && session->attempt != order->attempt) {
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY,
		         "%s: IKE runs for attempt %" PRIu64 ", not for %" PRIu64, session->tunnel,
		         session->attempt, order->attempt);
		return;
	}
	if (address_from_proto(order->remote, &remote) &&
	    engine_deliver(order->if_id, &remote, order->packet.data, order->packet.len)) {
		agent->packets_delivered++;
		agent_note_packet(agent, order->if_id, true, &remote, order->packet.data,
		                  order->packet.len);
		bus_done(request);
		return;
	}
	if (session)
		agent_count_drop(agent, order->if_id, session->attempt, &agent->crowded, NULL);
	bus_fail(request, VPNSIP__FAILURE_KIND__REALITY, "no IKE session takes packets of if_id %u",
	         order->if_id);
}

void agent_take_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct ike_agent *agent = ike_agent_of(context);

	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_PREPARE_IKE:
		prepare(agent, request, order->prepare_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_START_IKE:
		start(agent, request, order->start_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_STOP_IKE:
		stop(agent, request, order->stop_ike);
		break;
	case VPNSIP__ENVELOPE__BODY_PROBE_PEER:
		probe(agent, request, order->probe_peer);
		break;
	case VPNSIP__ENVELOPE__BODY_DELIVER_IKE_PACKET:
		deliver(agent, request, order->deliver_ike_packet);
		break;
	case VPNSIP__ENVELOPE__BODY_REPORT_UNKNOWN_SPI:
		recover_spi(agent, request, order->report_unknown_spi);
		break;
	case VPNSIP__ENVELOPE__BODY_REPORT_SA_LIMIT:
		/* An SA that is gone needs no rekeying. */
		engine_expire(order->report_sa_limit->if_id, order->report_sa_limit->spi,
		              order->report_sa_limit->is_hard);
		bus_done(request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "ike-agent does not know %s",
		         bus_body_name(order));
	}
}
