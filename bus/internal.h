/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the library share. Not for others. */
#ifndef VPNSIP_BUS_INTERNAL_H
#define VPNSIP_BUS_INTERNAL_H

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

#include "bus/bus.h"
#include "bus/faults.h"
#include "bus/identity.h"
#include "bus/inbox.h"
#include "bus/record.h"
#include "bus/redial.h"
#include "bus/replay.h"
#include "bus/reply_cache.h"
#include "bus/trace.h"
#include "bus/transport.h"
#include "bus/transport_guard.h"

#define PEER_COUNT     (VPNSIP__SERVICE__CLI + 1)
#define BODY_COUNT     160 /* more than the highest field number of Envelope */
#define HEARTBEAT_USEC 1000000
#define SILENT_USEC    3000000

struct call;
struct buffered_event;

/** What is known of one other service. */
struct peer {
	bool is_subscribed, is_dialled;
	bool is_link_up[2]; /* by enum transport_channel */
	Vpnsip__PeerHealth health;
	uint64_t last_heard_usec;
	_Atomic uint64_t silent_since_usec; /* 0 = is heard, or not connected */
	uint64_t epoch;                     /* of the state that was delivered */
	uint64_t next_sequence;
	bool is_synchronised;      /* events are delivered; else they wait for the snapshot */
	uint64_t snapshot_request; /* under way; 0 = none */
	unsigned snapshots_missed; /* in a row */
	struct buffered_event *first_buffered, **buffered_end;
	unsigned buffered;
	Vpnsip__PeerStatus counters;
};

struct bus {
	struct event_base *base;
	struct bus_environment environment;
	struct bus_handlers handlers;
	void *context;
	void (*log)(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
	const char *version, *config_file, *config_digest;
	Vpnsip__Service self;
	bool is_listening;
	bool is_closing; /* no more calls, no more posted work */
	uint64_t epoch;
	uint64_t started_usec;
	uint64_t sequence; /* of the last event published */
	pthread_t loop_thread;
	uint64_t trace_id;       /* of what is being handled; 0 = nothing */
	struct event *trace_end; /* of bus_resume_trace() */
	struct trace *trace;
	struct faults *faults; /* NULL = none are allowed */
	const char *state_directory;
	bool records_state;
	struct record *record;    /* NULL = none is made */
	struct replay *replay;    /* NULL = the peers are real */
	struct bus_timer *timers; /* all, newest first */
	uint64_t timer_count;     /* ever made */
	uint64_t request_count;   /* orders recorded */
	_Atomic uint64_t state_revision;
	_Atomic uint64_t last_request_id;
	struct identity identity;
	int lock_fd;
	struct inbox *inbox;
	struct transport *transport;
	struct peer peers[PEER_COUNT];
	struct call *calls;   /* by request id */
	struct call *doubles; /* sent twice on order: their replies are for nobody */
	struct call *waiting; /* for a peer to appear, oldest first */
	unsigned waiting_count;
	unsigned unanswered
		[BODY_COUNT]; /* calls of orders that may be shed, by field number of the body */
	struct bus_request *open_requests;
	unsigned open_request_count, open_request_most;
	struct reply_cache *replies;
	struct transport_guard *guard;
	struct redial *redial; /* NULL for the CLI, whose life is short */
	struct event *tick;
	uint64_t tick_due_usec;
	uint32_t loop_lag_usec, loop_lag_most_usec;
	_Atomic uint64_t tap_until_usec; /* 0 = no tap */
	struct bus *next_kept;           /* of those that nng's threads outlast */
	struct {
		uint64_t refused_peers, refused_messages, listener_restarts;
		_Atomic uint64_t undecodable_messages;
		uint64_t served_requests, repeated_requests, late_requests, shed_requests;
		uint64_t shed_calls;
		uint64_t overflowed_events; /* found no room while a snapshot was under way */
	} counters;
};

#define bus_log(bus, ...)                        \
	do {                                     \
		if ((bus)->log != NULL)          \
			(bus)->log(__VA_ARGS__); \
	} while (0)

/* envelope.c */

/** An envelope of this bus around `body`, which it borrows; kind, ids and session are the caller's to set. */
void envelope_init(struct bus *bus, Vpnsip__Envelope *envelope, Vpnsip__EnvelopeKind kind,
                   const ProtobufCMessage *body);

/** Packed, malloc'ed; NULL when out of memory. For recordings and taps: what travels is packed by frame.h. */
uint8_t *envelope_pack(const Vpnsip__Envelope *envelope, size_t *size);

/** NULL for what is no envelope of a known kind with a body. */
Vpnsip__Envelope *envelope_unpack(const uint8_t *octets, size_t size);

/** A Failed envelope of our own, as if `source` had replied. NULL when out of memory. */
Vpnsip__Envelope *envelope_failed(struct bus *bus, Vpnsip__Service source, uint64_t request_id,
                                  Vpnsip__FailureKind kind, const char *cause);

/** The field of Envelope whose type is `type`, or NULL. */
const ProtobufCFieldDescriptor *envelope_field(const ProtobufCMessageDescriptor *type);

/** The end of a process that has no memory left for what somebody relies on: says so on standard error. Any thread. */
_Noreturn void end_without_memory(const char *what);

/** A random number for ids: not zero, and below 2^63 so that JSON can hold it. */
uint64_t random_id(struct bus *bus);

/** The trace of what is being handled, or a new one. */
uint64_t current_trace(struct bus *bus);

/* describe.c */

/** Answers GetInternals. */
void describe_answer(struct bus *bus, struct bus_request *request);

/* events.c */
void events_receive(void *context, Vpnsip__Service peer, const uint8_t *octets, size_t size);
void events_heartbeat(struct bus *bus);
/** Sends outside the sequence: heartbeats and taps. */
void events_publish_unnumbered(struct bus *bus, const char *session, const ProtobufCMessage *fact);
/** Hands an event to the service. */
void events_deliver(struct bus *bus, const Vpnsip__Envelope *event);

/* peers.c */
void peers_init(struct bus *bus, unsigned subscribes, unsigned calls);
int peers_dial(struct bus *bus, char *why, size_t why_size);
void peers_link(void *context, Vpnsip__Service service, enum transport_channel channel, bool is_up);
/** Takes ownership of `event`: delivers it in order, now or after a snapshot. */
void peers_event(struct bus *bus, Vpnsip__Service service, Vpnsip__Envelope *event);
void peers_heartbeat(struct bus *bus, Vpnsip__Service service, const Vpnsip__Envelope *heartbeat);
/** Each second: silence, snapshots that failed. */
void peers_tick(struct bus *bus, uint64_t lag_usec);
bool peers_are_complete(const struct bus *bus);
void peers_free(struct bus *bus);

/** Begins a recording with what is known of the peers, and asks them anew. */
void peers_record(struct bus *bus);
void peers_replay(struct bus *bus, Vpnsip__Service service, Vpnsip__PeerHealth health);

/* requests.c */
void requests_reply(void *call_context, enum transport_result result, const uint8_t *octets,
                    size_t size);
/** A peer can be reached: send what waits for it. */
void requests_peer_appeared(struct bus *bus, Vpnsip__Service peer);
void requests_fail_all(struct bus *bus);
/** The end of a call as recorded; false if there is no such call. */
bool requests_replay(struct bus *bus, uint64_t id, enum bus_outcome outcome,
                     const Vpnsip__Envelope *reply);
/** How many have no reply yet. */
unsigned requests_count(const struct bus *bus);
/** For the trace: an order came to its end. Any thread. */
void requests_note(struct bus *bus, const Vpnsip__TraceEntry *begun, Vpnsip__Service to,
                   const ProtobufCMessageDescriptor *order, const Vpnsip__Envelope *reply);
/** Why an order cannot be sent at all, or NULL. Any thread. */
const char *requests_refusal(const struct bus *bus, Vpnsip__Service to,
                             const ProtobufCMessage *order, size_t size);
/** Checks what came back; the envelope is never NULL unless out of memory. Any thread. */
Vpnsip__Envelope *requests_outcome(struct bus *bus, Vpnsip__Service to, uint64_t request_id,
                                   const ProtobufCMessageDescriptor *order, unsigned timeout_msec,
                                   enum transport_result result, const uint8_t *octets, size_t size,
                                   enum bus_outcome *outcome);

/* serve.c */
void serve_request(void *context, struct transport_request *slot, uid_t uid, const uint8_t *octets,
                   size_t size);
/** An order as recorded; takes the envelope. */
void serve_replay(struct bus *bus, Vpnsip__Envelope *order, uid_t uid, uint64_t number);
void serve_free_open(struct bus *bus);

/* status.c */
void status_fill(struct bus *bus, struct bus_request *request);

/* timer.c */

/** A timer runs out as recorded; false and a sentence if it would not have. */
bool timers_replay(struct bus *bus, uint64_t number, const char *name, char *why, size_t why_size);
/** Stops one that should have run out so long ago, and says so; false if there is none. */
bool timers_overdue(struct bus *bus, unsigned msec, char *text, size_t size);

/* tap.c */
void tap_enable(struct bus *bus, unsigned lifetime_sec);
/** Mirrors the frame that passes, while somebody looks. Loop only. */
void tap_mirror(struct bus *bus, Vpnsip__TapPoint point, Vpnsip__Service peer,
                const uint8_t *octets, size_t size);
/** The same from any thread. */
void tap_mirror_posted(struct bus *bus, Vpnsip__TapPoint point, Vpnsip__Service peer,
                       const uint8_t *octets, size_t size);

#endif
