/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What foreign threads may do: call and wait, and post work to the loop. Everything used here is constant or atomic. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/frame.h"
#include "bus/internal.h"

#define BLOCKING_LIMIT_MSEC 2000
/** What a fault puts between an order and those of other threads. */
#define REORDER_MSEC        100

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
		end_without_memory("the caller relies on what it posts");
	*posted = (struct posted){
		.item.take = take_posted, .bus = bus, .work = work, .context = context};
	inbox_put(bus->inbox, &posted->item);
}

struct blocking_call {
	struct bus *bus;
	Vpnsip__Service to;
	const char *name, *session;
	uint64_t until_usec;
	uint8_t *octets, *answer;
	size_t size, answer_size;
};

static unsigned remaining_msec(const struct blocking_call *call)
{
	uint64_t now = bus_mono_usec(call->bus);

	return now < call->until_usec ? (unsigned)((call->until_usec - now + 999) / 1000) : 0;
}

static void pause_msec(const struct blocking_call *call, unsigned msec)
{
	unsigned limit = remaining_msec(call);

	usleep((msec < limit ? msec : limit) * 1000);
}

/** Waits or changes the octets as ordered; false when they are lost. */
static bool strike(const struct blocking_call *call, const struct fault_verdict *verdict,
                   uint8_t *octets, size_t size)
{
	switch (verdict->action) {
	case VPNSIP__FAULT_ACTION__FAULT_DROP:
		pause_msec(call, BLOCKING_LIMIT_MSEC);
		return false;
	case VPNSIP__FAULT_ACTION__FAULT_DELAY:
		pause_msec(call, verdict->delay_msec);
		return remaining_msec(call) > 0;
	case VPNSIP__FAULT_ACTION__FAULT_REORDER:
		pause_msec(call, REORDER_MSEC);
		return remaining_msec(call) > 0;
	case VPNSIP__FAULT_ACTION__FAULT_CORRUPT:
		faults_corrupt(octets, size, verdict->random);
		return true;
	default:
		return true;
	}
}

static enum transport_result carry(struct blocking_call *call)
{
	return transport_call_and_wait(call->bus->transport, call->to, call->octets, call->size,
	                               remaining_msec(call), &call->answer, &call->answer_size);
}

static enum transport_result carry_with_faults(struct blocking_call *call)
{
	struct faults *faults = call->bus->faults;
	struct fault_verdict verdict;
	enum transport_result result;

	verdict = faults_decide(faults, VPNSIP__FAULT_POINT__SEND_REQUEST, call->to, call->name,
	                        NULL, call->session);
	if (!strike(call, &verdict, call->octets, call->size))
		return TRANSPORT_CANCELLED;
	result = carry(call);
	if (verdict.action == VPNSIP__FAULT_ACTION__FAULT_DUPLICATE &&
	    result == TRANSPORT_REPLIED) {
		free(call->answer);
		call->answer = NULL;
		result = carry(call);
	}
	if (result != TRANSPORT_REPLIED)
		return result;
	verdict = faults_decide(faults, VPNSIP__FAULT_POINT__RECEIVE_REPLY, call->to, "",
	                        call->name, call->session);
	if (strike(call, &verdict, call->answer, call->answer_size))
		return result;
	free(call->answer);
	call->answer = NULL;
	return TRANSPORT_CANCELLED;
}

Vpnsip__Envelope *bus_call_blocking(struct bus *bus, Vpnsip__Service to, const char *session,
                                    const ProtobufCMessage *order, unsigned timeout_msec,
                                    enum bus_outcome *outcome)
{
	uint64_t id = atomic_fetch_add(&bus->last_request_id, 1) + 1;
	struct blocking_call call = {.bus = bus,
	                             .to = to,
	                             .name = order->descriptor->short_name,
	                             .session = session != NULL ? session : ""};
	enum transport_result result;
	Vpnsip__TraceEntry begun = VPNSIP__TRACE_ENTRY__INIT;
	Vpnsip__Envelope *reply;
	const char *refusal;

	if (timeout_msec > BLOCKING_LIMIT_MSEC)
		timeout_msec = BLOCKING_LIMIT_MSEC;
	begun.mono_usec = bus_mono_usec(bus);
	begun.trace_id = random_id(bus);
	begun.attempt = trace_attempt_of(order);
	begun.session = (char *)call.session; /* only copied */
	call.until_usec = begun.mono_usec + (uint64_t)timeout_msec * 1000;
	call.octets = frame_pack_order(bus, id, begun.trace_id, session, order, timeout_msec,
	                               &call.size);
	refusal = call.octets == NULL ? "failed: out of memory"
	                              : requests_refusal(bus, to, order, call.size);
	if (refusal != NULL) {
		char cause[160];

		snprintf(cause, sizeof(cause), "%s to %s %s", order->descriptor->short_name,
		         bus_service_name(to), refusal);
		free(call.octets);
		*outcome = BUS_NOT_SENT;
		reply = envelope_failed(bus, to, id, VPNSIP__FAILURE_KIND__BUG, cause);
		if (reply == NULL)
			end_without_memory(cause);
		return reply;
	}
	tap_mirror_posted(bus, VPNSIP__TAP_POINT__REQUEST_SENT, to, call.octets, call.size);
	result = carry_with_faults(&call);
	if (call.answer != NULL)
		tap_mirror_posted(bus, VPNSIP__TAP_POINT__REPLY_RECEIVED, to, call.answer,
		                  call.answer_size);
	reply = requests_outcome(bus, to, id, order->descriptor, timeout_msec, result, call.answer,
	                         call.answer_size, outcome);
	requests_note(bus, &begun, to, order->descriptor, reply);
	free(call.octets);
	free(call.answer);
	return reply;
}
