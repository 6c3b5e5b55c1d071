/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <syslog.h>

#include "bus/frame.h"
#include "bus/internal.h"
#include "bus/permissions.h"

static void transmit(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                     size_t size)
{
	(void)passage;
	transport_publish(bus->transport, octets, size);
}

static void publish(struct bus *bus, Vpnsip__Envelope *event, const char *session)
{
	const struct passage passage = {.point = VPNSIP__FAULT_POINT__SEND_EVENT, .go = transmit};
	size_t size;
	uint8_t *octets;

	if (session != NULL)
		event->session = (char *)session; /* only packed */
	octets = frame_pack(event, &size);
	if (octets == NULL)
		return;
	if (size > TRANSPORT_MESSAGE_LIMIT)
		bus_log(bus, LOG_ERR, "bus: %s of %zu octets is too big to publish",
		        bus_body_name(event), size);
	else
		faults_pass(bus, &passage, octets, size);
	free(octets);
}

void bus_publish(struct bus *bus, const char *session, const ProtobufCMessage *fact)
{
	Vpnsip__Envelope event;

	envelope_init(bus, &event, VPNSIP__ENVELOPE_KIND__EVENT, fact);
	if (!is_permitted(event.body_case, event.kind, bus->self,
	                  VPNSIP__SERVICE__SERVICE_UNSPECIFIED)) {
		bus_log(bus, LOG_ERR, "bus: %s may not publish %s", bus_service_name(bus->self),
		        fact->descriptor->short_name);
		return;
	}
	/* Counted even if it cannot be sent: receivers see the gap and ask for the snapshot. */
	event.sequence = ++bus->sequence;
	event.trace_id = current_trace(bus);
	if (session != NULL)
		event.session = (char *)session; /* only packed */
	if (bus->replay != NULL) {
		replay_output_envelope(bus->replay, VPNSIP__RECORD_KIND__RECORD_EVENT_SENT, 0, 0,
		                       &event);
		return;
	}
	record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_EVENT_SENT, 0, 0, 0, &event);
	publish(bus, &event, session);
}

void events_publish_unnumbered(struct bus *bus, const char *session, const ProtobufCMessage *fact)
{
	Vpnsip__Envelope event;

	envelope_init(bus, &event, VPNSIP__ENVELOPE_KIND__EVENT, fact);
	publish(bus, &event, session);
}

void events_heartbeat(struct bus *bus)
{
	Vpnsip__Heartbeat heartbeat = VPNSIP__HEARTBEAT__INIT;

	if (!bus->is_listening)
		return;
	heartbeat.last_sequence = bus->sequence;
	heartbeat.state_revision = atomic_load(&bus->state_revision);
	heartbeat.loop_lag_usec = bus->loop_lag_usec;
	events_publish_unnumbered(bus, NULL, &heartbeat.base);
}

void events_deliver(struct bus *bus, const Vpnsip__Envelope *event)
{
	uint64_t trace_before = bus->trace_id;

	bus->peers[event->source].counters.events_received++;
	bus->trace_id = event->trace_id;
	record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_EVENT, event->source, 0, 0, event);
	if (bus->handlers.event != NULL)
		bus->handlers.event(bus->context, event);
	bus->trace_id = trace_before;
}

static void receive(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                    size_t size)
{
	const Vpnsip__Service peer = passage->peer;
	Vpnsip__Envelope *event = frame_unpack(octets, size);

	if (event == NULL) {
		bus->counters.undecodable_messages++;
		return;
	}
	if (event->source != peer ||
	    !is_permitted(event->body_case, event->kind, peer,
	                  VPNSIP__SERVICE__SERVICE_UNSPECIFIED) ||
	    event->kind != VPNSIP__ENVELOPE_KIND__EVENT) {
		bus->counters.refused_messages++;
		bus_free_envelope(event);
		return;
	}
	switch (event->body_case) {
	case VPNSIP__ENVELOPE__BODY_HEARTBEAT:
		peers_heartbeat(bus, peer, event);
		bus_free_envelope(event);
		break;
	case VPNSIP__ENVELOPE__BODY_TAPPED:
		if (bus->handlers.tap != NULL)
			bus->handlers.tap(bus->context, event);
		bus_free_envelope(event);
		break;
	default:
		peers_event(bus, peer, event);
		break;
	}
}

void events_receive(void *context, Vpnsip__Service peer, const uint8_t *octets, size_t size)
{
	const struct passage passage = {
		.point = VPNSIP__FAULT_POINT__RECEIVE_EVENT, .peer = peer, .go = receive};

	faults_pass(context, &passage, octets, size);
}
