/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is known of the other services, and how it stays true although events get lost.
 *
 * A peer that is subscribed to is either synchronised (its events are delivered as they come, each sequence number one
 * more than the last) or not: then its events wait while GetSnapshot is under way. The reply says which event was the last
 * before it; older ones are dropped, later ones delivered. A new epoch, a gap, or a heartbeat that names an event
 * that never came end the synchronised state.
 */
#include <stdlib.h>
#include <syslog.h>

#include "bus/internal.h"

#define SNAPSHOT_TIMEOUT_MSEC 1000
/** So many in a row are worth a warning: a service that is just starting, or ends, answers none. */
#define MISSED_LIMIT          3
/** Events that may wait for a snapshot; more start it all over. */
#define BUFFER_LIMIT          8192

struct buffered_event {
	struct buffered_event *next;
	Vpnsip__Envelope *event;
};

static void synchronise(struct bus *bus, Vpnsip__Service service);

void peers_init(struct bus *bus, unsigned subscribes, unsigned calls)
{
	for (int service = VPNSIP__SERVICE__COORDINATOR; service <= VPNSIP__SERVICE__CLI;
	     service++) {
		struct peer *peer = &bus->peers[service];

		peer->is_subscribed = (subscribes & BUS_SERVICE(service)) != 0;
		peer->is_dialled = ((subscribes | calls) & BUS_SERVICE(service)) != 0;
		peer->health = VPNSIP__PEER_HEALTH__PEER_ABSENT;
		peer->buffered_end = &peer->first_buffered;
		vpnsip__peer_status__init(&peer->counters);
		peer->counters.service = service;
	}
}

int peers_dial(struct bus *bus, char *why, size_t why_size)
{
	for (int service = VPNSIP__SERVICE__COORDINATOR; service < VPNSIP__SERVICE__CLI;
	     service++) {
		const struct peer *peer = &bus->peers[service];

		if (peer->is_subscribed &&
		    transport_dial(bus->transport, service, TRANSPORT_EVENTS, why, why_size) != 0)
			return -1;
		/* A snapshot is a request too. */
		if (peer->is_dialled &&
		    transport_dial(bus->transport, service, TRANSPORT_REQUESTS, why, why_size) != 0)
			return -1;
	}
	return 0;
}

static bool is_connected(const struct peer *peer)
{
	return peer->is_link_up[TRANSPORT_REQUESTS] &&
	       (peer->is_link_up[TRANSPORT_EVENTS] || !peer->is_subscribed);
}

bool peers_are_complete(const struct bus *bus)
{
	for (int service = 0; service < PEER_COUNT; service++)
		if (bus->peers[service].is_dialled && !is_connected(&bus->peers[service]))
			return false;
	return true;
}

static void record_health(struct bus *bus, Vpnsip__Service service)
{
	Vpnsip__Record record = VPNSIP__RECORD__INIT;

	record.kind = VPNSIP__RECORD_KIND__RECORD_PEER;
	record.peer = service;
	record.value = bus->peers[service].health;
	record_add(bus, &record);
}

static void set_health(struct bus *bus, Vpnsip__Service service, Vpnsip__PeerHealth health)
{
	struct peer *peer = &bus->peers[service];

	if (peer->health == health)
		return;
	peer->health = health;
	atomic_store(&peer->silent_since_usec,
	             health == VPNSIP__PEER_HEALTH__PEER_SILENT ? peer->last_heard_usec : 0);
	record_health(bus, service);
	if (bus->handlers.peer != NULL)
		bus->handlers.peer(bus->context, service, health);
}

static void heard(struct bus *bus, Vpnsip__Service service)
{
	bus->peers[service].last_heard_usec = bus_mono_usec(bus);
	if (is_connected(&bus->peers[service]))
		set_health(bus, service, VPNSIP__PEER_HEALTH__PEER_UP);
}

static void drop_buffer(struct peer *peer)
{
	struct buffered_event *buffered, *next;

	for (buffered = peer->first_buffered; buffered != NULL; buffered = next) {
		next = buffered->next;
		bus_free_envelope(buffered->event);
		free(buffered);
	}
	peer->first_buffered = NULL;
	peer->buffered_end = &peer->first_buffered;
	peer->buffered = 0;
}

static void forget_state(struct bus *bus, struct peer *peer)
{
	if (peer->snapshot_request != 0)
		bus_cancel(bus, peer->snapshot_request);
	peer->snapshot_request = 0;
	peer->is_synchronised = false;
	drop_buffer(peer);
}

void peers_link(void *context, Vpnsip__Service service, enum transport_channel channel, bool is_up)
{
	struct bus *bus = context;
	struct peer *peer = &bus->peers[service];

	peer->is_link_up[channel] = is_up;
	if (bus->guard != NULL)
		transport_guard_hurry(bus->guard);
	if (!is_up) {
		forget_state(bus, peer);
		set_health(bus, service, VPNSIP__PEER_HEALTH__PEER_ABSENT);
		return;
	}
	if (channel == TRANSPORT_REQUESTS)
		requests_peer_appeared(bus, service);
	if (!is_connected(peer))
		return;
	peer->last_heard_usec = bus_mono_usec(bus);
	if (!peer->is_subscribed)
		set_health(bus, service, VPNSIP__PEER_HEALTH__PEER_UP);
	else
		synchronise(bus, service);
}

static void buffer_event(struct bus *bus, struct peer *peer, Vpnsip__Envelope *event)
{
	struct buffered_event *buffered = calloc(1, sizeof(*buffered));

	if (buffered == NULL || peer->buffered >= BUFFER_LIMIT) {
		bus->counters.overflowed_events++;
		free(buffered);
		bus_free_envelope(event);
		return; /* the gap is found when the rest is replayed */
	}
	buffered->event = event;
	*peer->buffered_end = buffered;
	peer->buffered_end = &buffered->next;
	peer->buffered++;
}

static void replay(struct bus *bus, Vpnsip__Service service)
{
	struct peer *peer = &bus->peers[service];
	struct buffered_event *buffered = peer->first_buffered, *next;

	peer->first_buffered = NULL;
	peer->buffered_end = &peer->first_buffered;
	peer->buffered = 0;
	for (; buffered != NULL; buffered = next) {
		next = buffered->next;
		/* A start before the one that sent the snapshot says nothing any more. */
		if (buffered->event->epoch == peer->epoch)
			peers_event(bus, service, buffered->event);
		else
			bus_free_envelope(buffered->event);
		free(buffered);
	}
}

static void on_snapshot(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *snapshot)
{
	struct bus *bus = context;
	Vpnsip__Service service = snapshot->source;
	struct peer *peer = &bus->peers[service];

	peer->snapshot_request = 0;
	if (outcome != BUS_DONE) {
		bus_log(bus, ++peer->snapshots_missed < MISSED_LIMIT ? LOG_INFO : LOG_WARNING,
		        "bus: no snapshot of %s: %s", bus_service_name(service),
		        bus_cause(snapshot));
		return; /* the next tick asks again */
	}
	peer->snapshots_missed = 0;
	peer->counters.snapshots++;
	peer->epoch = snapshot->epoch;
	peer->next_sequence = snapshot->sequence + 1;
	peer->is_synchronised = true;
	heard(bus, service);
	record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_SNAPSHOT, service, 0, 0, snapshot);
	bus->handlers.resync(bus->context, service, snapshot);
	replay(bus, service);
}

static void synchronise(struct bus *bus, Vpnsip__Service service)
{
	struct peer *peer = &bus->peers[service];
	Vpnsip__GetSnapshot order = VPNSIP__GET_SNAPSHOT__INIT;

	if (bus->handlers.resync == NULL || peer->snapshot_request != 0)
		return;
	peer->is_synchronised = false;
	peer->snapshot_request = bus_call(bus, service, NULL, &order.base, SNAPSHOT_TIMEOUT_MSEC,
	                                  on_snapshot, bus);
}

void bus_ask_snapshot(struct bus *bus, Vpnsip__Service peer)
{
	if (bus->peers[peer].is_subscribed && is_connected(&bus->peers[peer]))
		synchronise(bus, peer);
}

void peers_record(struct bus *bus)
{
	for (Vpnsip__Service service = VPNSIP__SERVICE__COORDINATOR;
	     service <= VPNSIP__SERVICE__CLI; service++) {
		if (!bus->peers[service].is_dialled)
			continue;
		record_health(bus, service);
		bus_ask_snapshot(bus, service);
	}
}

void peers_replay(struct bus *bus, Vpnsip__Service service, Vpnsip__PeerHealth health)
{
	if (service > 0 && service < PEER_COUNT)
		set_health(bus, service, health);
}

static void found_gap(struct bus *bus, Vpnsip__Service service, uint64_t lost)
{
	struct peer *peer = &bus->peers[service];

	peer->counters.gaps++;
	peer->counters.events_lost += lost;
	bus_log(bus, LOG_INFO, "bus: %llu events of %s lost", (unsigned long long)lost,
	        bus_service_name(service));
	synchronise(bus, service);
}

void peers_event(struct bus *bus, Vpnsip__Service service, Vpnsip__Envelope *event)
{
	struct peer *peer = &bus->peers[service];

	heard(bus, service);
	if (bus->handlers.resync == NULL) {
		events_deliver(bus, event); /* an onlooker keeps no state */
		bus_free_envelope(event);
		return;
	}
	if (peer->is_synchronised && event->epoch != peer->epoch)
		synchronise(bus, service);
	else if (peer->is_synchronised && event->sequence > peer->next_sequence)
		found_gap(bus, service, event->sequence - peer->next_sequence);

	if (!peer->is_synchronised) {
		buffer_event(bus, peer, event);
		return;
	}
	if (event->sequence == peer->next_sequence) {
		peer->next_sequence++;
		events_deliver(bus, event);
	}
	bus_free_envelope(event);
}

void peers_heartbeat(struct bus *bus, Vpnsip__Service service, const Vpnsip__Envelope *heartbeat)
{
	struct peer *peer = &bus->peers[service];
	uint64_t last = heartbeat->heartbeat->last_sequence;

	heard(bus, service);
	if (!peer->is_synchronised)
		return;
	if (heartbeat->epoch != peer->epoch)
		synchronise(bus, service);
	else if (last >= peer->next_sequence)
		found_gap(bus, service, last - peer->next_sequence + 1);
}

void peers_tick(struct bus *bus, uint64_t lag_usec)
{
	uint64_t now = bus_mono_usec(bus);

	for (int service = 0; service < PEER_COUNT; service++) {
		struct peer *peer = &bus->peers[service];

		if (!peer->is_subscribed || !is_connected(peer))
			continue;
		/* After an own pause their heartbeats are still unread: that is not their silence. */
		if (lag_usec > HEARTBEAT_USEC)
			peer->last_heard_usec = now;
		if (now - peer->last_heard_usec > SILENT_USEC)
			set_health(bus, service, VPNSIP__PEER_HEALTH__PEER_SILENT);
		else if (!peer->is_synchronised)
			synchronise(bus, service);
	}
}

Vpnsip__PeerHealth bus_peer_health(const struct bus *bus, Vpnsip__Service peer)
{
	return peer > 0 && peer < PEER_COUNT ? bus->peers[peer].health
	                                     : VPNSIP__PEER_HEALTH__PEER_HEALTH_UNSPECIFIED;
}

void peers_free(struct bus *bus)
{
	for (int service = 0; service < PEER_COUNT; service++)
		if (bus->peers[service].buffered_end != NULL)
			drop_buffer(&bus->peers[service]);
}
