/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared by the transport_nng*.c files alone. */
#ifndef VPNSIP_BUS_TRANSPORT_NNG_H
#define VPNSIP_BUS_TRANSPORT_NNG_H

#include <nng/nng.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "bus/inbox.h"
#include "bus/transport.h"

/** One more than the largest Service. */
#define SERVICE_COUNT 8

/** A dialled socket: exactly one dialer each, so that nng cannot choose between peers. */
struct link {
	struct transport *transport;
	Vpnsip__Service peer;
	enum transport_channel channel;
	bool is_open;
	nng_socket socket;
	nng_dialer dialer;
	char url[sizeof("ipc://") + 108];
	int pipe;                     /* id of the connection that is up; 0 = none. Loop only */
	nng_aio *event_aio;           /* receives events */
	atomic_uint queued_events;    /* in the inbox */
	struct transport_call *calls; /* all of this link. Loop only */
	struct transport_call *free_calls;
	unsigned free_count;
};

/** A socket of a replaced listener: the number of a descriptor says nothing without the inode. */
struct given_up {
	int fd;
	ino_t inode;
};

struct listener {
	struct transport *transport;
	int number; /* a channel, or TRANSPORT_WITNESS */
	bool is_open;
	nng_socket socket;
	nng_listener listener;
	char path[108];
	struct given_up *given_up; /* of the replaced ones: nng closes some of them. Loop only */
	size_t given_up_count;
	unsigned given_up_seconds; /* since the last one came */
};

/** A REP context: receives, is served, replies, then receives again or leaves. */
struct transport_request {
	struct inbox_item item;
	struct transport *transport;
	struct transport_request *next, *previous;
	enum { SLOT_RECEIVING, SLOT_SERVED, SLOT_REPLYING, SLOT_LEAVING } state;
	nng_ctx ctx;
	nng_aio *aio;
	nng_msg *message;
	uid_t uid;
};

struct transport {
	char *run_directory;
	struct inbox *inbox;
	struct transport_handlers handlers;
	void *context;
	bool is_stopped;
	atomic_ullong overflowed_events;
	struct listener listeners[TRANSPORT_LISTENERS];
	struct link links[SERVICE_COUNT][2];
	struct transport_request *slots;   /* Loop only */
	unsigned slot_count, served_slots; /* Loop only */
};

/** Starts to receive requests on the slots. 0 or an nng error. */
int transport_start_slots(struct transport *transport);
void transport_stop_slots(struct transport *transport);
void transport_free_slots(struct transport *transport);
void transport_stop_calls(struct link *link);
void transport_free_calls(struct link *link);

/** Shuts down all sockets that are bound to the listener's path, and has them closed later if nng does not (transport_tick()). */
void transport_shut_sockets(struct listener *listener);
void transport_forget_sockets(struct listener *listener);

/** A message with these octets as its body, or NULL. */
nng_msg *transport_message(const uint8_t *octets, size_t size);

#endif
