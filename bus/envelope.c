/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"
#include "bus/redact.h"

static const char *const service_names[] = {
	[VPNSIP__SERVICE__COORDINATOR] = "vpnsip-coordinator",
	[VPNSIP__SERVICE__SIP_AGENT] = "sip-agent",
	[VPNSIP__SERVICE__IKE_AGENT] = "ike-agent",
	[VPNSIP__SERVICE__TUNNEL_AGENT] = "tunnel-agent",
	[VPNSIP__SERVICE__TRACK_AGENT] = "track-agent",
	[VPNSIP__SERVICE__NAT_QOS_AGENT] = "nat-qos-agent",
	[VPNSIP__SERVICE__CLI] = "vpnsip",
};

const char *bus_service_name(Vpnsip__Service service)
{
	return service > 0 && service <= VPNSIP__SERVICE__CLI ? service_names[service] : "?";
}

Vpnsip__Service bus_service_by_name(const char *name)
{
	for (int service = VPNSIP__SERVICE__COORDINATOR; service <= VPNSIP__SERVICE__CLI; service++)
		if (strcmp(service_names[service], name) == 0)
			return service;
	return VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
}

const ProtobufCFieldDescriptor *envelope_field(const ProtobufCMessageDescriptor *type)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;

	for (unsigned i = 0; i < envelope->n_fields; i++)
		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    envelope->fields[i].descriptor == type)
			return &envelope->fields[i];
	return NULL;
}

const ProtobufCMessage *bus_body(const Vpnsip__Envelope *envelope)
{
	/* All members of the oneof are pointers to messages at the same place. */
	return envelope->body_case == VPNSIP__ENVELOPE__BODY__NOT_SET
	               ? NULL
	               : (const ProtobufCMessage *)envelope->done;
}

const char *bus_body_name(const Vpnsip__Envelope *envelope)
{
	const ProtobufCMessage *body = bus_body(envelope);

	return body != NULL ? body->descriptor->short_name : "nothing";
}

const ProtobufCMessageDescriptor *bus_body_type(const char *name)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;

	for (unsigned i = 0; i < envelope->n_fields; i++) {
		const ProtobufCMessageDescriptor *type = envelope->fields[i].descriptor;

		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    strcmp(type->short_name, name) == 0)
			return type;
	}
	return NULL;
}

const char *bus_cause(const Vpnsip__Envelope *reply)
{
	return reply->body_case == VPNSIP__ENVELOPE__BODY_FAILED ? reply->failed->cause : "";
}

void end_without_memory(const char *what)
{
	fprintf(stderr, "out of memory: %s\n", what);
	abort();
}

uint64_t random_id(struct bus *bus)
{
	uint64_t id = 0;

	bus->environment.random(bus->environment.context, &id, sizeof(id));
	return (id >> 1) | 1;
}

uint64_t current_trace(struct bus *bus)
{
	return bus->trace_id != 0 ? bus->trace_id : random_id(bus);
}

void envelope_init(struct bus *bus, Vpnsip__Envelope *envelope, Vpnsip__EnvelopeKind kind,
                   const ProtobufCMessage *body)
{
	const ProtobufCFieldDescriptor *field = envelope_field(body->descriptor);

	vpnsip__envelope__init(envelope);
	envelope->kind = kind;
	envelope->source = bus->self;
	envelope->epoch = bus->epoch;
	envelope->state_revision = atomic_load(&bus->state_revision);
	envelope->sent_mono_usec = bus_mono_usec(bus);
	if (field != NULL) {
		envelope->body_case = field->id;
		envelope->done = (Vpnsip__Done *)body; /* any member: see bus_body() */
	}
}

uint8_t *envelope_pack(const Vpnsip__Envelope *envelope, size_t *size)
{
	uint8_t *octets;

	*size = vpnsip__envelope__get_packed_size(envelope);
	octets = malloc(*size + 1);
	if (octets != NULL)
		vpnsip__envelope__pack(envelope, octets);
	return octets;
}

Vpnsip__Envelope *envelope_unpack(const uint8_t *octets, size_t size)
{
	Vpnsip__Envelope *envelope = vpnsip__envelope__unpack(NULL, size, octets);

	if (envelope == NULL)
		return NULL;
	if (bus_body(envelope) != NULL && envelope->source > 0 &&
	    envelope->source <= VPNSIP__SERVICE__CLI)
		return envelope;
	bus_free_envelope(envelope);
	return NULL;
}

Vpnsip__Envelope *envelope_failed(struct bus *bus, Vpnsip__Service source, uint64_t request_id,
                                  Vpnsip__FailureKind kind, const char *cause)
{
	Vpnsip__Envelope *envelope = malloc(sizeof(*envelope));
	Vpnsip__Failed *failed = malloc(sizeof(*failed));
	char *text = strdup(cause);

	if (envelope == NULL || failed == NULL || text == NULL) {
		free(envelope);
		free(failed);
		free(text);
		return NULL;
	}
	vpnsip__failed__init(failed);
	failed->kind = kind;
	failed->cause = text;
	envelope_init(bus, envelope, VPNSIP__ENVELOPE_KIND__REPLY, &failed->base);
	envelope->source = source;
	envelope->epoch = 0;
	envelope->request_id = request_id;
	return envelope;
}

void bus_free_envelope(Vpnsip__Envelope *envelope)
{
	if (envelope == NULL)
		return;
	redact_wipe(&envelope->base);
	vpnsip__envelope__free_unpacked(envelope, NULL);
}
