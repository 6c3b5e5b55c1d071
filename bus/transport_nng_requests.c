/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests on nng: a context and one aio for each that is under way, at both ends. */
#include "bus/transport_nng.h"

#include <nng/supplemental/util/platform.h>
#include <nng/transport/ipc/ipc.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/** So many contexts wait for the next calls; a start with 1,000 lines needs as many at once, of 2.4 kB each. */
#define FREE_CALLS_MAXIMUM 64

/** So many receive requests; that there is always one, another is made when fewer than the minimum are left. */
#define FREE_SLOTS_MINIMUM 8
#define FREE_SLOTS_MAXIMUM 16

/** A REQ context. Its one aio first sends, then receives; two would crash nng 1.5 on a cancel. */
struct transport_call {
	struct inbox_item item;
	struct link *link;
	struct transport_call *next, *previous, *next_free;
	nng_ctx ctx;
	nng_aio *aio;
	bool is_sent; /* written by nng's thread before the item is put */
	enum transport_result result;
	nng_msg *reply;
	void *context;
};

static void free_call(struct transport_call *call)
{
	nng_ctx_close(call->ctx);
	nng_aio_free(call->aio);
	DL_DELETE2(call->link->calls, call, previous, next);
	free(call);
}

static void give_back(struct transport_call *call)
{
	struct link *link = call->link;

	if (link->free_count == FREE_CALLS_MAXIMUM && !link->transport->is_stopped) {
		free_call(call);
		return;
	}
	call->next_free = link->free_calls;
	link->free_calls = call;
	link->free_count++;
}

static void take_reply(struct inbox_item *item)
{
	struct transport_call *call = (struct transport_call *)item;
	struct link *link = call->link;
	struct transport *transport = link->transport;
	nng_msg *reply = call->reply;
	enum transport_result result = call->result;
	void *context = call->context;

	call->reply = NULL;
	give_back(call);
	if (!transport->is_stopped)
		transport->handlers.reply(context, result, reply ? nng_msg_body(reply) : NULL,
		                          reply ? nng_msg_len(reply) : 0);
	if (reply != NULL)
		nng_msg_free(reply);
}

static void finish(struct transport_call *call, enum transport_result result)
{
	call->result = result;
	inbox_put(call->link->transport->inbox, &call->item);
}

static void on_call_aio(void *context)
{
	struct transport_call *call = context;
	int error = nng_aio_result(call->aio);

	if (!call->is_sent) {
		if (error == 0) {
			call->is_sent = true;
			nng_ctx_recv(call->ctx, call->aio);
			return;
		}
		nng_msg_free(nng_aio_get_msg(call->aio)); /* still ours */
		finish(call, TRANSPORT_NOT_SENT);
	} else if (error == 0) {
		call->reply = nng_aio_get_msg(call->aio);
		finish(call, TRANSPORT_REPLIED);
	} else {
		finish(call, error == NNG_ECANCELED ? TRANSPORT_CANCELLED : TRANSPORT_LOST);
	}
}

static struct transport_call *new_call(struct link *link)
{
	struct transport_call *call = link->free_calls;

	if (call != NULL) {
		link->free_calls = call->next_free;
		link->free_count--;
		return call;
	}
	call = calloc(1, sizeof(*call));
	if (call == NULL)
		return NULL;
	if (nng_aio_alloc(&call->aio, on_call_aio, call) != 0) {
		free(call);
		return NULL;
	}
	if (nng_ctx_open(&call->ctx, link->socket) != 0) {
		nng_aio_free(call->aio);
		free(call);
		return NULL;
	}
	/* Deadlines are the loop's: an expiring timer inside nng costs about a millisecond. */
	nng_aio_set_timeout(call->aio, NNG_DURATION_INFINITE);
	call->item.take = take_reply;
	call->link = link;
	DL_APPEND2(link->calls, call, previous, next);
	return call;
}

struct transport_call *transport_call(struct transport *transport, Vpnsip__Service peer,
                                      const uint8_t *octets, size_t size, void *call_context)
{
	struct link *link = &transport->links[peer][TRANSPORT_REQUESTS];
	nng_msg *message = transport_message(octets, size);
	struct transport_call *call = message != NULL ? new_call(link) : NULL;

	if (call == NULL) {
		nng_msg_free(message);
		return NULL;
	}
	call->context = call_context;
	call->is_sent = false;
	nng_aio_set_msg(call->aio, message);
	nng_ctx_send(call->ctx, call->aio);
	return call;
}

void transport_cancel(struct transport_call *call)
{
	nng_aio_cancel(call->aio);
}

void transport_stop_calls(struct link *link)
{
	for (struct transport_call *call = link->calls; call != NULL; call = call->next) {
		nng_aio_stop(call->aio);
		nng_ctx_close(call->ctx);
	}
}

void transport_free_calls(struct link *link)
{
	struct transport_call *call, *next;

	for (call = link->calls; call != NULL; call = next) {
		next = call->next;
		nng_aio_free(call->aio);
		free(call);
	}
	link->calls = NULL;
}

static nng_duration remaining_msec(nng_time deadline)
{
	nng_time now = nng_clock();

	return now < deadline ? (nng_duration)(deadline - now) : 1;
}

enum transport_result transport_call_and_wait(struct transport *transport, Vpnsip__Service peer,
                                              const uint8_t *octets, size_t size,
                                              unsigned timeout_msec, uint8_t **reply,
                                              size_t *reply_size)
{
	struct link *link = &transport->links[peer][TRANSPORT_REQUESTS];
	nng_time deadline = nng_clock() + timeout_msec;
	enum transport_result result = TRANSPORT_NOT_SENT;
	nng_msg *message = NULL;
	nng_aio *aio = NULL;
	nng_ctx ctx;
	int error;

	if (nng_ctx_open(&ctx, link->socket) != 0)
		return TRANSPORT_NOT_SENT;
	if (nng_aio_alloc(&aio, NULL, NULL) != 0)
		goto out;
	message = transport_message(octets, size);
	if (message == NULL)
		goto out;
	nng_aio_set_msg(aio, message);
	nng_aio_set_timeout(aio, remaining_msec(deadline));
	nng_ctx_send(ctx, aio);
	nng_aio_wait(aio);
	if (nng_aio_result(aio) != 0)
		goto out;
	message = NULL;

	nng_aio_set_timeout(aio, remaining_msec(deadline));
	nng_ctx_recv(ctx, aio);
	nng_aio_wait(aio);
	error = nng_aio_result(aio);
	result = error == NNG_ETIMEDOUT ? TRANSPORT_CANCELLED : TRANSPORT_LOST;
	if (error != 0)
		goto out;
	message = nng_aio_get_msg(aio);
	*reply_size = nng_msg_len(message);
	*reply = malloc(*reply_size + 1);
	if (*reply != NULL) {
		memcpy(*reply, nng_msg_body(message), *reply_size);
		result = TRANSPORT_REPLIED;
	}
out:
	nng_msg_free(message);
	nng_aio_free(aio);
	nng_ctx_close(ctx);
	return result;
}

static void free_slot(struct transport_request *slot)
{
	struct transport *transport = slot->transport;

	nng_ctx_close(slot->ctx);
	nng_aio_free(slot->aio);
	DL_DELETE2(transport->slots, slot, previous, next);
	transport->slot_count--;
	free(slot);
}

static void take_leaving(struct inbox_item *item)
{
	struct transport_request *slot = (struct transport_request *)item;

	if (!slot->transport->is_stopped)
		free_slot(slot);
}

/** On an nng thread: looks who sent it. false when the sender is gone already. */
static bool find_sender(struct transport_request *slot)
{
	uint64_t uid;

	if (nng_pipe_get_uint64(nng_msg_get_pipe(slot->message), NNG_OPT_IPC_PEER_UID, &uid) != 0)
		return false;
	slot->uid = (uid_t)uid;
	return true;
}

static void on_slot_aio(void *context)
{
	struct transport_request *slot = context;
	int error = nng_aio_result(slot->aio);

	if (slot->state != SLOT_RECEIVING) {
		if (error != 0)
			nng_msg_free(nng_aio_get_msg(slot->aio));
	} else if (error == 0) {
		slot->message = nng_aio_get_msg(slot->aio);
		if (find_sender(slot)) {
			slot->state = SLOT_SERVED;
			inbox_put(slot->transport->inbox, &slot->item);
			return;
		}
		nng_msg_free(slot->message);
		slot->message = NULL;
	}
	if (slot->state == SLOT_LEAVING) {
		inbox_put(slot->transport->inbox, &slot->item);
		return;
	}
	if (error == NNG_ECLOSED || error == NNG_ECANCELED)
		return;
	slot->state = SLOT_RECEIVING;
	nng_ctx_recv(slot->ctx, slot->aio);
}

static void take_request(struct inbox_item *item);

static int add_slot(struct transport *transport)
{
	struct transport_request *slot = calloc(1, sizeof(*slot));
	int error;

	if (slot == NULL)
		return NNG_ENOMEM;
	error = nng_ctx_open(&slot->ctx, transport->listeners[TRANSPORT_REQUESTS].socket);
	if (error != 0)
		goto no_context;
	error = nng_aio_alloc(&slot->aio, on_slot_aio, slot);
	if (error != 0)
		goto no_aio;
	nng_aio_set_timeout(slot->aio, NNG_DURATION_INFINITE);
	slot->transport = transport;
	slot->item.take = take_request;
	DL_APPEND2(transport->slots, slot, previous, next);
	transport->slot_count++;
	nng_ctx_recv(slot->ctx, slot->aio);
	return 0;
no_aio:
	nng_ctx_close(slot->ctx);
no_context:
	free(slot);
	return error;
}

static unsigned free_slots(const struct transport *transport)
{
	return transport->slot_count - transport->served_slots;
}

static void take_request(struct inbox_item *item)
{
	struct transport_request *slot = (struct transport_request *)item;
	struct transport *transport = slot->transport;

	if (transport->is_stopped)
		return;
	transport->served_slots++;
	/* Without memory the next ones wait. */
	if (free_slots(transport) < FREE_SLOTS_MINIMUM &&
	    transport->slot_count < TRANSPORT_REQUESTS_MAXIMUM)
		add_slot(transport);
	transport->handlers.request(transport->context, slot, slot->uid,
	                            nng_msg_body(slot->message), nng_msg_len(slot->message));
}

void transport_reply(struct transport_request *slot, const uint8_t *octets, size_t size)
{
	struct transport *transport = slot->transport;
	nng_msg *answer;
	bool leaves;

	if (transport->is_stopped)
		return;
	nng_msg_free(slot->message);
	slot->message = NULL;
	transport->served_slots--;
	leaves = free_slots(transport) > FREE_SLOTS_MAXIMUM;
	answer = octets != NULL ? transport_message(octets, size) : NULL;
	if (answer == NULL && leaves) {
		free_slot(slot);
		return;
	}
	if (answer == NULL) {
		/* Receiving again makes nng forget the request. */
		slot->state = SLOT_RECEIVING;
		nng_ctx_recv(slot->ctx, slot->aio);
		return;
	}
	slot->state = leaves ? SLOT_LEAVING : SLOT_REPLYING;
	slot->item.take = leaves ? take_leaving : take_request;
	nng_aio_set_msg(slot->aio, answer);
	nng_ctx_send(slot->ctx, slot->aio);
}

int transport_start_slots(struct transport *transport)
{
	int error = 0;

	while (error == 0 && transport->slot_count < FREE_SLOTS_MAXIMUM)
		error = add_slot(transport);
	return error;
}

void transport_stop_slots(struct transport *transport)
{
	for (struct transport_request *slot = transport->slots; slot != NULL; slot = slot->next) {
		nng_aio_stop(slot->aio);
		nng_ctx_close(slot->ctx);
		nng_msg_free(slot->message);
		slot->message = NULL;
	}
}

void transport_free_slots(struct transport *transport)
{
	struct transport_request *slot, *next;

	for (slot = transport->slots; slot != NULL; slot = next) {
		next = slot->next;
		nng_aio_free(slot->aio);
		free(slot);
	}
	transport->slots = NULL;
}
