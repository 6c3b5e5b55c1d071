/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Orders from others: who may, is it new, is it still wanted; then the service's handler, and its reply. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <utlist.h>

#include "bus/frame.h"
#include "bus/internal.h"
#include "bus/permissions.h"

/** Orders under way from which on none are begun: places are left for those that end something. */
#define OPEN_LIMIT     (TRANSPORT_REQUESTS_MAXIMUM * 3 / 4)
/** And how late the loop may be. */
#define LAG_LIMIT_USEC 1000000

struct bus_request {
	struct bus_request *prev, *next;
	struct bus *bus;
	struct transport_request *slot; /* NULL: nobody waits for the reply */
	uid_t uid;
	bool is_dispatched;
	uint64_t number;  /* in the recording; 0 = stands in none */
	bool is_repeated; /* of one that is being carried out: its reply is not kept */
	Vpnsip__Envelope *order;
};

static struct reply_key key_of(const Vpnsip__Envelope *order)
{
	return (struct reply_key){order->source, order->epoch, order->request_id};
}

static void free_request(struct bus_request *request)
{
	DL_DELETE(request->bus->open_requests, request);
	request->bus->open_request_count--;
	bus_free_envelope(request->order);
	free(request);
}

void serve_free_open(struct bus *bus)
{
	while (bus->open_requests != NULL)
		free_request(bus->open_requests);
}

/** In the recording, or to the replay in place of the sender. */
static void note_reply(struct bus_request *request, const Vpnsip__Envelope *reply)
{
	struct bus *bus = request->bus;

	if (request->number == 0)
		return;
	if (bus->replay == NULL)
		record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_REPLY_SENT,
		                    request->order->source, request->number, 0, reply);
	else
		replay_output_envelope(bus->replay, VPNSIP__RECORD_KIND__RECORD_REPLY_SENT,
		                       request->order->source, request->number, reply);
}

static uint8_t *pack_reply(struct bus_request *request, const ProtobufCMessage *body, size_t *size)
{
	const Vpnsip__Envelope *order = request->order;
	Vpnsip__Envelope reply;

	envelope_init(request->bus, &reply, VPNSIP__ENVELOPE_KIND__REPLY, body);
	if (!is_reply_to(reply.body_case, order->body_case, request->bus->self))
		return NULL;
	reply.sequence = request->bus->sequence;
	reply.request_id = order->request_id;
	reply.trace_id = order->trace_id;
	reply.session = order->session;
	note_reply(request, &reply);
	return frame_pack(&reply, size);
}

/** The sender's connection has its answer (NULL: none), and the request is over. */
static void conclude(struct bus_request *request, const uint8_t *octets, size_t size)
{
	if (request->slot != NULL)
		transport_reply(request->slot, octets, size);
	free_request(request);
}

static void send_reply(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                       size_t size)
{
	(void)bus;
	if (!passage->is_copy) /* a connection takes one reply */
		conclude(passage->object, octets, size);
}

static void withhold_reply(struct bus *bus, const struct passage *passage)
{
	(void)bus;
	conclude(passage->object, NULL, 0);
}

static void pass_reply(struct bus_request *request, const uint8_t *octets, size_t size)
{
	const struct passage passage = {.point = VPNSIP__FAULT_POINT__SEND_REPLY,
	                                .peer = request->order->source,
	                                .order = bus_body_name(request->order),
	                                .go = send_reply,
	                                .drop = withhold_reply,
	                                .object = request};

	faults_pass(request->bus, &passage, octets, size);
}

static void keep_reply(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                       size_t size)
{
	struct bus_request *request = passage->object;

	if (passage->is_copy)
		return;
	if (!request->is_repeated) {
		const struct reply_key key = key_of(request->order);

		reply_cache_store(bus->replies, &key, octets, size);
	}
	pass_reply(request, octets, size);
}

static void lose_reply(struct bus *bus, const struct passage *passage)
{
	struct bus_request *request = passage->object;
	const struct reply_key key = key_of(request->order);

	reply_cache_forget(bus->replies, &key);
	conclude(request, NULL, 0);
}

void bus_reply(struct bus_request *request, const ProtobufCMessage *reply)
{
	struct bus *bus = request->bus;
	size_t size = 0;
	uint8_t *octets = pack_reply(request, reply, &size);
	const struct passage passage = {.point = VPNSIP__FAULT_POINT__AFTER_EFFECT,
	                                .peer = request->order->source,
	                                .order = bus_body_name(request->order),
	                                .go = keep_reply,
	                                .drop = lose_reply,
	                                .object = request};

	if (octets == NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s is no answer to %s",
		         reply->descriptor->short_name, bus_body_name(request->order));
		return;
	}
	if (size > TRANSPORT_REPLY_LIMIT - TRANSPORT_HEADER) {
		free(octets);
		bus_log(bus, LOG_ERR, "bus: %s of %zu octets is too big to send",
		        reply->descriptor->short_name, size);
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "%s of %zu octets is too big",
		         reply->descriptor->short_name, size);
		return;
	}
	tap_mirror(bus, VPNSIP__TAP_POINT__REPLY_SENT, request->order->source, octets, size);
	if (request->is_dispatched)
		faults_pass(bus, &passage, octets, size);
	else
		keep_reply(bus, &passage, octets, size);
	free(octets);
}

void bus_done(struct bus_request *request)
{
	Vpnsip__Done done = VPNSIP__DONE__INIT;

	bus_reply(request, &done.base);
}

void bus_fail(struct bus_request *request, Vpnsip__FailureKind kind, const char *format, ...)
{
	Vpnsip__Failed failed = VPNSIP__FAILED__INIT;
	char cause[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(cause, sizeof(cause), format, arguments);
	va_end(arguments);
	failed.kind = kind;
	failed.cause = cause;
	bus_reply(request, &failed.base);
}

Vpnsip__Service bus_request_source(const struct bus_request *request)
{
	return request->order->source;
}

uid_t bus_request_uid(const struct bus_request *request)
{
	return request->uid;
}

static void set_log(struct bus *bus, struct bus_request *request)
{
	const Vpnsip__SetLog *order = request->order->set_log;

	if (bus->handlers.set_log == NULL)
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s has no debug switches",
		         bus_service_name(bus->self));
	else if (bus->handlers.set_log(bus->context, order) != 0)
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "there is no debug %s '%s'",
		         order->condition[0] ? "condition" : "switch",
		         order->condition[0] ? order->condition : order->category);
	else
		bus_done(request);
}

static void record_order(struct bus *bus, struct bus_request *request)
{
	if (bus->record == NULL)
		return;
	request->number = ++bus->request_count;
	record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_REQUEST, request->order->source,
	                    request->number, request->uid, request->order);
}

/** What the service itself answers. */
static void dispatch_to_service(struct bus *bus, struct bus_request *request)
{
	if (request->order->body_case != VPNSIP__ENVELOPE__BODY_GET_SNAPSHOT) {
		if (bus->handlers.request != NULL)
			bus->handlers.request(bus->context, request, request->order);
		else
			bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s takes no orders",
			         bus_service_name(bus->self));
	} else if (bus->handlers.snapshot != NULL) {
		bus->handlers.snapshot(bus->context, request);
	} else {
		bus_done(request);
	}
}

static void dispatch(struct bus *bus, struct bus_request *request)
{
	switch (request->order->body_case) {
	case VPNSIP__ENVELOPE__BODY_GET_SERVICE_STATUS:
		status_fill(bus, request);
		break;
	case VPNSIP__ENVELOPE__BODY_ENABLE_TAP:
		tap_enable(bus, request->order->enable_tap->lifetime_sec);
		bus_done(request);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_INTERNALS:
		describe_answer(bus, request);
		break;
	case VPNSIP__ENVELOPE__BODY_SET_LOG:
		set_log(bus, request);
		break;
	case VPNSIP__ENVELOPE__BODY_START_RECORDING:
		record_answer_start(bus, request, request->order->start_recording);
		break;
	case VPNSIP__ENVELOPE__BODY_STOP_RECORDING:
		record_answer_stop(bus, request);
		break;
	case VPNSIP__ENVELOPE__BODY_SET_FAULT:
		faults_set(bus->faults, request, request->order->set_fault);
		break;
	case VPNSIP__ENVELOPE__BODY_CLEAR_FAULTS:
		faults_clear(bus->faults, request);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_FAULTS:
		faults_answer(bus->faults, request);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_TRACE:
		trace_answer(bus->trace, request, request->order->get_trace);
		break;
	default:
		record_order(bus, request);
		dispatch_to_service(bus, request);
		break;
	}
}

/**
 * The replies of orders are kept for their repetitions. Packets of sessions that rest would push them out: at 1,000 sessions all
 * that is kept, in half a minute.
 */
static bool is_remembered(Vpnsip__Envelope__BodyCase body)
{
	const struct permission *permission = permission_of(body);

	return !permission->is_reading && !permission->is_packet;
}

/** Answers a repeated order, or one that is too late; false if it is to be carried out. */
static bool is_settled(struct bus *bus, struct bus_request *request)
{
	const struct reply_key key = key_of(request->order);
	const uint64_t deadline = request->order->deadline_mono_usec;
	const uint8_t *stored;
	size_t size;

	switch (reply_cache_find(bus->replies, &key, &stored, &size)) {
	case REPLY_STORED:
		bus->counters.repeated_requests++;
		pass_reply(request, stored, size);
		return true;
	case REPLY_IN_PROGRESS:
		bus->counters.repeated_requests++;
		request->is_repeated = true;
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "%s is being carried out",
		         bus_body_name(request->order));
		return true;
	default:
		break;
	}
	if (deadline == 0 || bus_mono_usec(bus) <= deadline)
		return false;
	bus->counters.late_requests++;
	bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%s came after its deadline",
	         bus_body_name(request->order));
	return true;
}

static bool is_allowed(struct bus *bus, const struct bus_request *request)
{
	const Vpnsip__Envelope *order = request->order;

	return identity_admits(&bus->identity, order->source, request->uid) &&
	       is_permitted(order->body_case, VPNSIP__ENVELOPE_KIND__REQUEST, order->source,
	                    bus->self);
}

/** Takes the envelope. */
static struct bus_request *new_request(struct bus *bus, struct transport_request *slot, uid_t uid,
                                       Vpnsip__Envelope *order)
{
	struct bus_request *request = calloc(1, sizeof(*request));

	if (order == NULL || request == NULL || order->kind != VPNSIP__ENVELOPE_KIND__REQUEST) {
		bus_free_envelope(order);
		free(request);
		return NULL;
	}
	*request = (struct bus_request){.bus = bus, .slot = slot, .uid = uid, .order = order};
	DL_APPEND(bus->open_requests, request);
	if (++bus->open_request_count > bus->open_request_most)
		bus->open_request_most = bus->open_request_count;
	bus->counters.served_requests++;
	return request;
}

static void give_back(struct bus *bus, const struct passage *passage)
{
	(void)bus;
	if (!passage->is_copy)
		transport_reply(passage->object, NULL, 0);
}

/** Answers what may not be sent; false if it may. */
static bool is_refused(struct bus *bus, struct bus_request *request)
{
	const Vpnsip__Envelope *order = request->order;

	if (!is_allowed(bus, request)) {
		bus_log(bus, LOG_WARNING, "bus: uid %u as %s may not send %s",
		        (unsigned)request->uid, bus_service_name(order->source),
		        bus_body_name(order));
		bus->counters.refused_messages++;
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s may not send %s to %s",
		         bus_service_name(order->source), bus_body_name(order),
		         bus_service_name(bus->self));
		return true;
	}
	if (permission_of(order->body_case)->is_for_root && request->uid != 0 &&
	    request->uid != geteuid()) {
		bus->counters.refused_messages++;
		bus_fail(request, VPNSIP__FAILURE_KIND__REALITY,
		         "%s is for root alone, not for uid %u", bus_body_name(order),
		         (unsigned)request->uid);
		return true;
	}
	return false;
}

/** Answers an order that begins something, when there is too much to do already; what ends something is always taken. */
static bool is_shed(struct bus *bus, struct bus_request *request)
{
	const char *name = bus_body_name(request->order);
	uint64_t lag = inbox_lag_usec(bus->inbox);

	if (permission_of(request->order->body_case)->shed_above == 0)
		return false;
	if (bus->open_request_count <= OPEN_LIMIT && lag <= LAG_LIMIT_USEC)
		return false;
	bus->counters.shed_requests++;
	if (lag > LAG_LIMIT_USEC)
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE,
		         "%s is overloaded: %s waited %u ms", bus_service_name(bus->self), name,
		         (unsigned)(lag / 1000));
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE,
		         "%s is overloaded: %s found %u orders under way",
		         bus_service_name(bus->self), name, bus->open_request_count - 1);
	return true;
}

static void serve(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                  size_t size)
{
	struct transport_request *slot = passage->is_copy ? NULL : passage->object;
	struct bus_request *request = new_request(bus, slot, (uid_t)passage->number,
	                                          frame_unpack(octets, size));
	uint64_t trace_before = bus->trace_id;

	if (request == NULL) {
		bus->counters.undecodable_messages++;
		give_back(bus, passage);
		return;
	}
	tap_mirror(bus, VPNSIP__TAP_POINT__REQUEST_RECEIVED, request->order->source, octets, size);
	if (is_refused(bus, request) || is_settled(bus, request) || is_shed(bus, request))
		return;
	if (is_remembered(request->order->body_case)) {
		const struct reply_key key = key_of(request->order);

		reply_cache_begin(bus->replies, &key);
	}
	bus->trace_id = request->order->trace_id;
	request->is_dispatched = true;
	dispatch(bus, request);
	bus->trace_id = trace_before;
}

void serve_replay(struct bus *bus, Vpnsip__Envelope *order, uid_t uid, uint64_t number)
{
	struct bus_request *request = new_request(bus, NULL, uid, order);
	uint64_t trace_before = bus->trace_id;

	if (request == NULL)
		return;
	request->number = number;
	bus->trace_id = order->trace_id;
	dispatch_to_service(bus, request);
	bus->trace_id = trace_before;
}

void serve_request(void *context, struct transport_request *slot, uid_t uid, const uint8_t *octets,
                   size_t size)
{
	const struct passage passage = {.point = VPNSIP__FAULT_POINT__BEFORE_HANDLER,
	                                .go = serve,
	                                .drop = give_back,
	                                .object = slot,
	                                .number = uid};

	faults_pass(context, &passage, octets, size);
}
