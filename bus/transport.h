/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * How octets travel between the services: one socket for events and one for requests per service. What is inside is not
 * known here. transport_nng*.c implements it on nng over unix sockets and is the only code that knows nng.
 */
#ifndef VPNSIP_BUS_TRANSPORT_H
#define VPNSIP_BUS_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "shared.pb-c.h"

/** Largest message that a listener or subscriber accepts: it is allocated before it is read. */
#define TRANSPORT_LIMIT            65536
/** Largest reply that a dialler accepts: its peer's uid is known, and the snapshot of a headend is large. */
#define TRANSPORT_REPLY_LIMIT      (4 * 1024 * 1024)
/** Room for the transport's own header in both. */
#define TRANSPORT_HEADER           64
/** Largest request or event of ours. */
#define TRANSPORT_MESSAGE_LIMIT    (TRANSPORT_LIMIT - TRANSPORT_HEADER)
/** Requests that can be open at a service: an order may take as long as its effect. More wait in the sender's socket. */
#define TRANSPORT_REQUESTS_MAXIMUM 1024

struct inbox;
struct transport;
struct transport_call;
struct transport_request;

enum transport_channel { TRANSPORT_EVENTS, TRANSPORT_REQUESTS };
/** A third listener, which nobody but the guard of this process connects to: it never gets deaf. */
#define TRANSPORT_WITNESS   2
#define TRANSPORT_LISTENERS 3

enum transport_result {
	TRANSPORT_REPLIED,
	TRANSPORT_NOT_SENT,  /* the peer cannot have seen it */
	TRANSPORT_LOST,      /* the connection ended after it was sent */
	TRANSPORT_CANCELLED, /* given up after it was sent */
};

/** All run on the loop's thread except admits(). Octets are valid during the call only. */
struct transport_handlers {
	void (*event)(void *context, Vpnsip__Service peer, const uint8_t *octets, size_t size);
	/** To be answered with transport_reply(). */
	void (*request)(void *context, struct transport_request *request, uid_t uid,
	                const uint8_t *octets, size_t size);
	/** The end of a transport_call(); exactly once for each. */
	void (*reply)(void *call_context, enum transport_result result, const uint8_t *octets,
	              size_t size);
	/** A dialled connection came up or ended. */
	void (*link)(void *context, Vpnsip__Service peer, enum transport_channel channel,
	             bool is_up);
	/** A connection of this process itself reached one of its own listeners, or was cleared away after its end. */
	void (*self_link)(void *context, int listener, bool is_up);
	/** A connection of another process reached a listener, or was cleared away after its end. */
	void (*visited)(void *context);
	/** A connection was refused because of its uid. */
	void (*refused)(void *context, uid_t uid);
	/** Any thread: may the process with this uid be `peer` (SERVICE_UNSPECIFIED: any dialler of ours)? */
	bool (*admits)(const void *context, Vpnsip__Service peer, uid_t uid);
};

/** `context` is the first argument of all handlers except reply(). NULL and a sentence in `why` on failure. */
struct transport *transport_open(const char *run_directory, struct inbox *inbox,
                                 const struct transport_handlers *handlers, void *context,
                                 char *why, size_t why_size);

/**
 * Closes everything; no handler runs any more. Then the inbox must be closed, and after it transport_free() called.
 * false when nng's threads do not come to rest in time (see transport_nng.c): they may go on to use the inbox, the
 * context of the handlers and the transport, which then must stay. The process can only end.
 */
bool transport_stop(struct transport *transport);
void transport_free(struct transport *transport);

/** Creates the listeners of this service. 0, or -1 and a sentence. */
int transport_listen(struct transport *transport, Vpnsip__Service self, char *why, size_t why_size);

/** Replaces a listener that does not accept any more. 0, or -1. */
int transport_listen_again(struct transport *transport, enum transport_channel channel);

/** Starts to dial a peer's listener, for ever. 0, or -1 and a sentence. */
int transport_dial(struct transport *transport, Vpnsip__Service peer,
                   enum transport_channel channel, char *why, size_t why_size);

/** Dials with a new dialer if the connection is down. 0, or -1 when nng cannot. */
int transport_redial(struct transport *transport, Vpnsip__Service peer,
                     enum transport_channel channel);

/**
 * Whether there is a connection to a peer's listener that is not known to be up: within its handshake, most likely. To end it there
 * makes the listener deaf (see transport_guard.h).
 */
bool transport_is_dialling(const struct transport *transport, Vpnsip__Service peer,
                           enum transport_channel channel);

/** Each second: closes what nng left open of replaced listeners. */
void transport_tick(struct transport *transport);

/** To all subscribers. Lost silently for those that are slow. */
void transport_publish(struct transport *transport, const uint8_t *octets, size_t size);

/** Events that found the queue to the loop full. */
uint64_t transport_overflowed(const struct transport *transport);

/** Sends a request to a dialled peer; handlers->reply(call_context) follows later. NULL when out of memory. */
struct transport_call *transport_call(struct transport *transport, Vpnsip__Service peer,
                                      const uint8_t *octets, size_t size, void *call_context);

/**
 * Asks for the end of a call. It may miss a call that is just changing from sending to receiving: repeat until
 * handlers->reply() has run.
 */
void transport_cancel(struct transport_call *call);

/** Any thread but the loop's own I/O: sends a request and waits. `*reply` is malloc'ed when TRANSPORT_REPLIED. */
enum transport_result transport_call_and_wait(struct transport *transport, Vpnsip__Service peer,
                                              const uint8_t *octets, size_t size,
                                              unsigned timeout_msec, uint8_t **reply,
                                              size_t *reply_size);

/** Answers a request and gives its slot back. `octets` NULL: no answer. */
void transport_reply(struct transport_request *slot, const uint8_t *octets, size_t size);

/** The path of a service's socket: a channel's, or the witness's. 0, or -1 if it is too long for a socket. */
int transport_path(char *path, size_t size, const char *run_directory, Vpnsip__Service service,
                   int listener);

#endif
