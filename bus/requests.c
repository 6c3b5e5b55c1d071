/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Orders to others. A call waits here until its peer can be reached, so that what has not been sent is known not to
 * have been; then the transport has it; its timer ends either. Nothing is ever sent twice.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <syslog.h>
#include <uthash.h>
#include <utlist.h>

#include "bus/frame.h"
#include "bus/internal.h"
#include "bus/permissions.h"

/** A cancel can miss (see transport_cancel()): how soon it is repeated. */
static const struct timeval cancel_again = {.tv_usec = 10000};

#define SESSION_SIZE 32

struct call {
	UT_hash_handle hh;
	struct call *prev, *next; /* while waiting for the peer */
	struct bus *bus;
	uint64_t id;
	uint64_t trace_id;
	Vpnsip__Service to;
	const ProtobufCMessageDescriptor *order;
	Vpnsip__TraceEntry begun; /* for the trace; its session is `session` */
	char session[SESSION_SIZE];
	unsigned timeout_msec;
	bus_reply_fn *done; /* NULL: forgotten by bus_cancel() */
	void *context;
	struct event *timer;
	const char *refusal; /* it was not sent for this reason */
	bool is_waiting;
	bool is_recorded; /* the library's own GetSnapshot is not */
	bool is_counted;  /* in bus.unanswered */
	bool is_double;   /* see bus.doubles */
	bool is_lost;     /* a fault has it, or its reply */
	struct transport_call *sent;
	uint8_t *octets;
	size_t size;
};

const char *requests_refusal(const struct bus *bus, Vpnsip__Service to,
                             const ProtobufCMessage *order, size_t size)
{
	const ProtobufCFieldDescriptor *field = envelope_field(order->descriptor);

	if (field == NULL ||
	    !is_permitted(field->id, VPNSIP__ENVELOPE_KIND__REQUEST, bus->self, to))
		return "is not permitted";
	if (size > TRANSPORT_MESSAGE_LIMIT)
		return "is too big";
	if (!bus->peers[to].is_dialled)
		return "is not possible: that service was not named when the bus was opened";
	return NULL;
}

static Vpnsip__Envelope *failed(struct bus *bus, Vpnsip__Service to, uint64_t request_id,
                                Vpnsip__FailureKind kind, const char *format, ...)
	__attribute__((format(printf, 5, 6)));

static Vpnsip__Envelope *failed(struct bus *bus, Vpnsip__Service to, uint64_t request_id,
                                Vpnsip__FailureKind kind, const char *format, ...)
{
	Vpnsip__Envelope *envelope;
	char cause[256];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(cause, sizeof(cause), format, arguments);
	va_end(arguments);
	envelope = envelope_failed(bus, to, request_id, kind, cause);
	if (envelope == NULL)
		end_without_memory(cause);
	return envelope;
}

static Vpnsip__Envelope *check_reply(struct bus *bus, Vpnsip__Service to, uint64_t request_id,
                                     const ProtobufCMessageDescriptor *order, const uint8_t *octets,
                                     size_t size, enum bus_outcome *outcome)
{
	Vpnsip__Envelope *reply = frame_unpack(octets, size);

	if (reply != NULL && reply->kind == VPNSIP__ENVELOPE_KIND__REPLY && reply->source == to &&
	    reply->request_id == request_id &&
	    is_reply_to(reply->body_case, envelope_field(order)->id, to)) {
		*outcome = reply->body_case == VPNSIP__ENVELOPE__BODY_FAILED ? BUS_FAILED
		                                                             : BUS_DONE;
		return reply;
	}
	if (reply == NULL)
		bus->counters.undecodable_messages++;
	bus_free_envelope(reply);
	*outcome = BUS_LOST;
	return failed(bus, to, request_id, VPNSIP__FAILURE_KIND__BUG,
	              "%s answered %s with something else", bus_service_name(to),
	              order->short_name);
}

Vpnsip__Envelope *requests_outcome(struct bus *bus, Vpnsip__Service to, uint64_t request_id,
                                   const ProtobufCMessageDescriptor *order, unsigned timeout_msec,
                                   enum transport_result result, const uint8_t *octets, size_t size,
                                   enum bus_outcome *outcome)
{
	const char *name = bus_service_name(to);
	uint64_t silent_since = atomic_load(&bus->peers[to].silent_since_usec);

	switch (result) {
	case TRANSPORT_REPLIED:
		return check_reply(bus, to, request_id, order, octets, size, outcome);
	case TRANSPORT_LOST:
		*outcome = BUS_LOST;
		return failed(bus, to, request_id, VPNSIP__FAILURE_KIND__SYSTEM,
		              "%s went away while it had %s", name, order->short_name);
	case TRANSPORT_CANCELLED:
		*outcome = BUS_TIMED_OUT;
		if (silent_since != 0)
			return failed(bus, to, request_id, VPNSIP__FAILURE_KIND__SYSTEM,
			              "%s did not answer %s within %u ms: it has not been heard "
			              "for %u s",
			              name, order->short_name, timeout_msec,
			              (unsigned)((bus_mono_usec(bus) - silent_since) / 1000000));
		return failed(bus, to, request_id, VPNSIP__FAILURE_KIND__SYSTEM,
		              "%s did not answer %s within %u ms", name, order->short_name,
		              timeout_msec);
	default:
		*outcome = BUS_NOT_SENT;
		return failed(bus, to, request_id, VPNSIP__FAILURE_KIND__SYSTEM,
		              "%s was not running to receive %s within %u ms", name,
		              order->short_name, timeout_msec);
	}
}

unsigned requests_count(const struct bus *bus)
{
	return HASH_COUNT(bus->calls);
}

void requests_note(struct bus *bus, const Vpnsip__TraceEntry *begun, Vpnsip__Service to,
                   const ProtobufCMessageDescriptor *order, const Vpnsip__Envelope *reply)
{
	Vpnsip__TraceEntry entry = *begun;

	if (!trace_wants(envelope_field(order)->id))
		return;
	entry.kind = VPNSIP__TRACE_KIND__TRACE_BUS_REQUEST;
	entry.peer = to;
	entry.text = (char *)order->short_name; /* only copied */
	entry.outcome = (char *)bus_cause(reply);
	entry.duration_usec = bus_mono_usec(bus) - entry.mono_usec;
	trace_note(bus->trace, &entry);
}

static void stop_waiting(struct call *call)
{
	DL_DELETE(call->bus->waiting, call); // NOLINT(clang-analyzer-core.NullDereference)
	call->is_waiting = false;
	call->bus->waiting_count--;
}

static void count(struct bus *bus, Vpnsip__Service to, enum bus_outcome outcome)
{
	Vpnsip__PeerStatus *counters = &bus->peers[to].counters;

	if (outcome == BUS_TIMED_OUT)
		counters->requests_timed_out++;
	else if (outcome != BUS_DONE)
		counters->requests_failed++;
}

/** Takes the call out of the bus, tells the caller, frees both. */
static void finish(struct call *call, enum bus_outcome outcome, Vpnsip__Envelope *reply)
{
	struct bus *bus = call->bus;
	uint64_t trace_before = bus->trace_id;

	HASH_DEL(bus->calls, call);
	if (call->is_counted)
		bus->unanswered[envelope_field(call->order)->id]--;
	if (call->is_waiting)
		stop_waiting(call);
	event_free(call->timer);
	free(call->octets);
	count(bus, call->to, outcome);
	requests_note(bus, &call->begun, call->to, call->order, reply);
	if (call->done != NULL) {
		if (call->is_recorded)
			record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_REPLY, call->to,
			                    call->id, outcome, reply);
		bus->trace_id = call->trace_id;
		call->done(call->context, outcome, reply);
		bus->trace_id = trace_before;
	}
	bus_free_envelope(reply);
	free(call);
}

static struct call *find(const struct bus *bus, uint64_t id)
{
	struct call *call;

	HASH_FIND(hh, bus->calls, &id, sizeof(id), call);
	return call;
}

bool requests_replay(struct bus *bus, uint64_t id, enum bus_outcome outcome,
                     const Vpnsip__Envelope *reply)
{
	struct call *call = find(bus, id);
	size_t size;
	uint8_t *octets;

	if (call == NULL)
		return false;
	octets = envelope_pack(reply, &size);
	finish(call, outcome, octets != NULL ? envelope_unpack(octets, size) : NULL);
	free(octets);
	return true;
}

static void fail_unsent(struct call *call, const char *why)
{
	finish(call, BUS_NOT_SENT,
	       failed(call->bus, call->to, call->id, VPNSIP__FAILURE_KIND__BUG, "%s to %s %s",
	              call->order->short_name, bus_service_name(call->to), why));
}

static void end(struct call *call, enum transport_result result, const uint8_t *octets, size_t size)
{
	enum bus_outcome outcome;
	Vpnsip__Envelope *reply;

	if (octets != NULL)
		tap_mirror(call->bus, VPNSIP__TAP_POINT__REPLY_RECEIVED, call->to, octets, size);
	reply = requests_outcome(call->bus, call->to, call->id, call->order, call->timeout_msec,
	                         result, octets, size, &outcome);
	finish(call, outcome, reply);
}

static void take_reply(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                       size_t size)
{
	struct call *call = find(bus, passage->number);

	if (call != NULL)
		end(call, TRANSPORT_REPLIED, octets, size);
}

void requests_reply(void *call_context, enum transport_result result, const uint8_t *octets,
                    size_t size)
{
	struct call *call = call_context;

	call->sent = NULL;
	if (call->is_double) {
		DL_DELETE(call->bus->doubles, call);
		free(call);
	} else if (result != TRANSPORT_REPLIED) {
		end(call, result, NULL, 0);
	} else {
		const struct passage passage = {.point = VPNSIP__FAULT_POINT__RECEIVE_REPLY,
		                                .peer = call->to,
		                                .order = call->order->short_name,
		                                .go = take_reply,
		                                .number = call->id};

		call->is_lost = true; /* until it is taken */
		faults_pass(call->bus, &passage, octets, size);
	}
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct call *call = context;

	(void)fd;
	(void)what;
	if (call->sent != NULL) {
		transport_cancel(call->sent);
		event_add(call->timer, &cancel_again);
	} else if (call->refusal != NULL) {
		fail_unsent(call, call->refusal);
	} else {
		end(call, call->is_lost ? TRANSPORT_CANCELLED : TRANSPORT_NOT_SENT, NULL, 0);
	}
}

static void send_double(struct bus *bus, const struct call *call, const uint8_t *octets,
                        size_t size)
{
	struct call *twin = calloc(1, sizeof(*twin));

	if (twin == NULL)
		return;
	twin->bus = bus;
	twin->is_double = true;
	twin->sent = transport_call(bus->transport, call->to, octets, size, twin);
	if (twin->sent != NULL)
		DL_APPEND(bus->doubles, twin);
	else
		free(twin);
}

static void hand_over(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                      size_t size)
{
	struct call *call = find(bus, passage->number);

	if (call == NULL)
		return; /* its time ran out meanwhile */
	if (passage->is_copy) {
		send_double(bus, call, octets, size);
		return;
	}
	call->is_lost = false;
	call->sent = transport_call(bus->transport, call->to, octets, size, call);
	if (call->sent == NULL) {
		call->refusal = "failed: out of memory";
		event_active(call->timer, EV_TIMEOUT, 0);
	}
}

static void send_now(struct call *call)
{
	struct bus *bus = call->bus;
	const struct passage passage = {.point = VPNSIP__FAULT_POINT__SEND_REQUEST,
	                                .peer = call->to,
	                                .go = hand_over,
	                                .number = call->id};

	tap_mirror(bus, VPNSIP__TAP_POINT__REQUEST_SENT, call->to, call->octets, call->size);
	bus->peers[call->to].counters.requests_sent++;
	call->is_lost = true; /* until it is handed over */
	faults_pass(bus, &passage, call->octets, call->size);
	free(call->octets);
	call->octets = NULL;
}

void requests_peer_appeared(struct bus *bus, Vpnsip__Service peer)
{
	struct call *call, *next;

	DL_FOREACH_SAFE (bus->waiting, call, next) {
		if (call->to != peer)
			continue;
		stop_waiting(call);
		send_now(call);
	}
}

/** An order that begins something is not sent while too many such have no answer; NULL if it may be. */
static const char *shed(struct call *call)
{
	const unsigned body = envelope_field(call->order)->id;
	const unsigned limit = permission_of(body)->shed_above;
	struct bus *bus = call->bus;

	if (limit == 0)
		return NULL;
	if (bus->unanswered[body] >= limit) {
		bus->counters.shed_calls++;
		return "is not sent: too many wait for their answer";
	}
	bus->unanswered[body]++;
	call->is_counted = true;
	return NULL;
}

/** In a recording, or to the replay in place of the peer. */
static void note_call(struct call *call)
{
	struct bus *bus = call->bus;
	Vpnsip__Envelope *envelope;

	call->is_recorded = call->order != &vpnsip__get_snapshot__descriptor;
	if ((bus->record == NULL && bus->replay == NULL) || !call->is_recorded ||
	    call->octets == NULL)
		return;
	envelope = frame_unpack(call->octets, call->size);
	if (envelope == NULL)
		return;
	if (bus->replay != NULL)
		replay_output_envelope(bus->replay, VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT,
		                       call->to, call->id, envelope);
	else
		record_add_envelope(bus, VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT, call->to,
		                    call->id, 0, envelope);
	bus_free_envelope(envelope);
}

uint64_t bus_call(struct bus *bus, Vpnsip__Service to, const char *session,
                  const ProtobufCMessage *order, unsigned timeout_msec, bus_reply_fn *done,
                  void *context)
{
	struct timeval timeout = {.tv_sec = timeout_msec / 1000,
	                          .tv_usec = (timeout_msec % 1000) * 1000};
	struct call *call;

	if (bus->is_closing)
		return 0;
	call = calloc(1, sizeof(*call));
	if (call == NULL || (call->timer = evtimer_new(bus->base, on_timer, call)) == NULL)
		end_without_memory("the caller relies on its reply");
	call->bus = bus;
	call->id = atomic_fetch_add(&bus->last_request_id, 1) + 1;
	call->trace_id = current_trace(bus);
	call->to = to;
	call->order = order->descriptor;
	vpnsip__trace_entry__init(&call->begun);
	snprintf(call->session, sizeof(call->session), "%s", session != NULL ? session : "");
	call->begun.session = call->session;
	call->begun.attempt = trace_attempt_of(order);
	call->begun.trace_id = call->trace_id;
	call->begun.mono_usec = bus_mono_usec(bus);
	call->timeout_msec = timeout_msec;
	call->done = done;
	call->context = context;
	call->octets = frame_pack_order(bus, call->id, call->trace_id, session, order, timeout_msec,
	                                &call->size);
	HASH_ADD(hh, bus->calls, id, sizeof(call->id), call);
	note_call(call);
	if (bus->replay != NULL)
		return call->id;

	call->refusal = call->octets == NULL ? "failed: out of memory"
	                                     : requests_refusal(bus, to, order, call->size);
	if (call->refusal == NULL)
		call->refusal = shed(call);
	if (call->refusal != NULL) {
		bus_log(bus, LOG_ERR, "bus: %s to %s %s", order->descriptor->short_name,
		        bus_service_name(to), call->refusal);
		event_active(call->timer, EV_TIMEOUT, 0);
		return call->id;
	}
	event_add(call->timer, &timeout);
	if (bus->peers[to].is_link_up[TRANSPORT_REQUESTS]) {
		send_now(call);
	} else {
		call->is_waiting = true;
		DL_APPEND(bus->waiting, call);
		bus->waiting_count++;
	}
	return call->id;
}

void bus_cancel(struct bus *bus, uint64_t request_id)
{
	struct call *call = find(bus, request_id);

	if (call == NULL)
		return;
	call->done = NULL;
	event_active(call->timer, EV_TIMEOUT, 0);
}

void requests_fail_all(struct bus *bus)
{
	while (bus->calls != NULL)
		fail_unsent(bus->calls, "was given up: the bus is being closed");
	while (bus->doubles != NULL) {
		struct call *twin = bus->doubles;

		DL_DELETE(bus->doubles, twin);
		free(twin);
	}
}
