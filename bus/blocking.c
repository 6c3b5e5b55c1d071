/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What foreign threads may do: call and wait, and post work to the loop. Everything used here is constant or atomic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/internal.h"

#define BLOCKING_LIMIT_MSEC 2000

struct posted {
	struct inbox_item item;
	struct bus *bus;
	void (*work)(void *context);
	void *context;
};

static void take_posted(struct inbox_item *item)
{
	struct posted *posted = (struct posted *)item;

	/* While the bus closes, what the work needs may be gone. */
	if (!posted->bus->is_closing)
		posted->work(posted->context);
	free(posted);
}

void bus_post(struct bus *bus, void (*work)(void *context), void *context)
{
	struct posted *posted = malloc(sizeof(*posted));

	if (posted == NULL)
		abort(); /* the caller relies on it */
	*posted = (struct posted){
		.item.take = take_posted, .bus = bus, .work = work, .context = context};
	inbox_put(bus->inbox, &posted->item);
}

Vpnsip__Envelope *bus_call_blocking(struct bus *bus, Vpnsip__Service to, const char *session,
                                    const ProtobufCMessage *order, unsigned timeout_msec,
                                    enum bus_outcome *outcome)
{
	uint64_t id = atomic_fetch_add(&bus->last_request_id, 1) + 1;
	enum transport_result result = TRANSPORT_NOT_SENT;
	Vpnsip__TraceEntry begun = VPNSIP__TRACE_ENTRY__INIT;
	Vpnsip__Envelope *reply;
	uint8_t *octets, *answer = NULL;
	size_t size, answer_size = 0;
	const char *refusal;

	if (timeout_msec > BLOCKING_LIMIT_MSEC)
		timeout_msec = BLOCKING_LIMIT_MSEC;
	begun.mono_usec = bus_mono_usec(bus);
	begun.trace_id = random_id(bus);
	begun.attempt = trace_attempt_of(order);
	if (session != NULL)
		begun.session = (char *)session; /* only copied */
	octets = envelope_pack_order(bus, id, begun.trace_id, session, order, timeout_msec, &size);
	refusal = octets == NULL ? "failed: out of memory" : requests_refusal(bus, to, order, size);
	if (refusal != NULL) {
		char cause[160];

		snprintf(cause, sizeof(cause), "%s to %s %s", order->descriptor->short_name,
		         bus_service_name(to), refusal);
		free(octets);
		*outcome = BUS_NOT_SENT;
		reply = envelope_failed(bus, to, id, VPNSIP__FAILURE_KIND__BUG, cause);
		if (reply == NULL)
			abort(); /* not even memory to say so */
		return reply;
	}
	tap_mirror_posted(bus, VPNSIP__TAP_POINT__REQUEST_SENT, to, octets, size);
	result = transport_call_and_wait(bus->transport, to, octets, size, timeout_msec, &answer,
	                                 &answer_size);
	if (answer != NULL)
		tap_mirror_posted(bus, VPNSIP__TAP_POINT__REPLY_RECEIVED, to, answer, answer_size);
	reply = requests_outcome(bus, to, id, order->descriptor, timeout_msec, result, answer,
	                         answer_size, outcome);
	requests_note(bus, &begun, to, order->descriptor, reply);
	free(octets);
	free(answer);
	return reply;
}
