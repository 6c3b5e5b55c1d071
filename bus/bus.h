/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The message bus between the services of one box.
 *
 * Each service has one PUB listener for facts (events) and one REP listener for orders (requests), on unix
 * sockets below the run directory. PUB/SUB may lose; so an event is a hint and a reply is the truth: on a gap,
 * a new start of the source, or a missed heartbeat the library asks the owner for its snapshot by itself.
 *
 * A listening bus ends the process when its transport is beyond repair (see transport_guard.h); a supervisor starts it anew.
 *
 * Everything here runs on the thread of the event base, except bus_call_blocking() and bus_post().
 * Messages are protobuf-c messages; the body's type is found from its descriptor, so callers never name it.
 */
#ifndef VPNSIP_BUS_H
#define VPNSIP_BUS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "envelope.pb-c.h"

struct event_base;
struct bus;
struct bus_request;
struct bus_timer;
struct bus_description;

/** Where time and randomness come from; tests and replay give their own. All pointers are needed. */
struct bus_environment {
	/** Monotonic time in microseconds, shared by all processes of the box. */
	uint64_t (*mono_usec)(void *context);
	/** Wall-clock time in microseconds since 1970, for records only. */
	uint64_t (*wall_usec)(void *context);
	/** Fills `size` octets with random ones. */
	void (*random)(void *context, void *octets, size_t size);
	void *context;
};

/** The machine's own clock and getrandom(2). */
extern const struct bus_environment bus_system_environment;

enum bus_outcome {
	BUS_DONE = 1,  /* replied, body is not Failed */
	BUS_FAILED,    /* replied with Failed: the order was not carried out */
	BUS_TIMED_OUT, /* no reply before the deadline: outcome unknown */
	BUS_LOST,      /* the peer went away: outcome unknown */
	BUS_NOT_SENT, /* not permitted, too big, or the peer is absent: certainly not carried out */
};

/**
 * Called once for each bus_call(). `reply` is never NULL: for an outcome other than BUS_DONE its body is Failed with
 * a cause fit for the operator ("tunnel-agent did not answer CheckTunnel within 1000 ms"). It is freed afterwards.
 */
typedef void bus_reply_fn(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply);

struct bus_handlers {
	/** A fact from a service subscribed to. Never called for heartbeats and taps. May be NULL. */
	void (*event)(void *context, const Vpnsip__Envelope *event);
	/**
	 * An order. Answer it exactly once with bus_reply() or bus_fail(), now or later. GetSnapshot arrives at
	 * `snapshot`, the other messages of service.proto are answered by the library. May be NULL (all are refused).
	 */
	void (*request)(void *context, struct bus_request *request, const Vpnsip__Envelope *order);
	/** Answer a GetSnapshot with bus_reply(request, your ...Snapshot). May be NULL (an empty Done is sent). */
	void (*snapshot)(void *context, struct bus_request *request);
	/**
	 * The owner's whole state, after it came up, restarted, or events were lost. `snapshot` replaces all that was
	 * known of that peer. Later events follow in order. May be NULL if nothing is subscribed to.
	 */
	void (*resync)(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot);
	/** A peer came, went, or fell silent. May be NULL. */
	void (*peer)(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health);
	/**
	 * `debug SERVICE state` and `stats`: tells what stands inside with bus_describe() and bus_describe_counter(). May be
	 * NULL: then only the library's own counters are told.
	 */
	void (*describe)(void *context, struct bus_description *description);
	/** SetLog came (from root): 0, or -1 for an unknown category. NULL: refused. The service skeleton gives one. */
	int (*set_log)(void *context, const Vpnsip__SetLog *order);
	/**
	 * In a replay: what bus_record_core() noted as an input of the core; answer with bus_record_core() of its outputs. A service that has
	 * this is replayed by its core alone: nothing else of the recording is played or compared. NULL: it is replayed by its messages.
	 */
	void (*core_input)(void *context, const char *core, const void *octets, size_t size);
	/** Names the switches that are on, with bus_describe(). May be NULL. */
	void (*describe_log)(void *context, struct bus_description *description);
	/** Names the conditions of crypto debug lines, with bus_describe(). May be NULL. */
	void (*describe_conditions)(void *context, struct bus_description *description);
	/** A Tapped event of a service subscribed to, for `monitor`. May be NULL. */
	void (*tap)(void *context, const Vpnsip__Envelope *tapped);
};

/** Bit of a service in a set of services. */
#define BUS_SERVICE(service) (1u << (service))

struct bus_options {
	Vpnsip__Service self;
	const char *run_directory; /* "/run/vpnsip" */
	const char *uid_map;       /* file "SERVICE UID" a line; NULL = the system users */
	struct event_base *base;
	const struct bus_environment *environment;
	unsigned subscribes;         /* set of BUS_SERVICE(): whose events are wanted */
	unsigned calls;              /* set of BUS_SERVICE(): to whom requests are sent */
	bool is_listening;           /* false for the CLI: no listeners of its own */
	bool allows_faults;          /* SetFault is obeyed */
	const char *state_directory; /* where recordings go; NULL = none are made */
	const char *record_name;     /* records from the start; NULL = not */
	bool records_state; /* the files of the state directory are part of a recording: nothing secret stands in them */
	/* A recording to be played by bus_replay() instead of the peers. No sockets, no lock; NULL = the real thing. */
	const char *replay_file;
	const struct bus_handlers *handlers;
	void *context; /* first argument of the handlers */
	/* Told in ServiceStatus; NULL = "". They must outlive the bus. */
	const char *version, *config_file, *config_digest;
	/* Where the library reports what an operator should know: log_line() of the service. NULL = nowhere. */
	void (*log)(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));
};

/**
 * Takes the instance lock, listens, dials the peers. Block all signals before (nng starts threads), and do not fork
 * after. On failure returns NULL and writes a sentence into `why` (another instance runs, no permission ...).
 */
struct bus *bus_open(const struct bus_options *options, char *why, size_t why_size);

/** Fails all calls in flight with BUS_NOT_SENT, closes, frees. Takes a quarter of a second at the most. */
void bus_close(struct bus *bus);

/** Publishes a fact. `session` (may be NULL) is the tunnel's name. The message is copied before it returns. */
void bus_publish(struct bus *bus, const char *session, const ProtobufCMessage *fact);

/**
 * Sends an order; `done` is called later from the loop, never from inside. Calls run in parallel and have no order among
 * themselves; to keep order wait for the reply. Never re-sent by the library. Returns the request id.
 */
uint64_t bus_call(struct bus *bus, Vpnsip__Service to, const char *session,
                  const ProtobufCMessage *order, unsigned timeout_msec, bus_reply_fn *done,
                  void *context);

/** Forgets the reply of a call: `done` is not called any more. Unknown ids are ignored. */
void bus_cancel(struct bus *bus, uint64_t request_id);

/** Replies to a request and frees it. */
void bus_reply(struct bus_request *request, const ProtobufCMessage *reply);

/** Replies Done. */
void bus_done(struct bus_request *request);

/** Replies Failed with a printf-formatted cause, and frees the request. */
void bus_fail(struct bus_request *request, Vpnsip__FailureKind kind, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Who sent the request. */
Vpnsip__Service bus_request_source(const struct bus_request *request);

/** User id of the process that sent the request: CLI orders that need root check it. */
uid_t bus_request_uid(const struct bus_request *request);

/** Call when own state changed; it is carried as state_revision in everything sent. */
void bus_touch_state(struct bus *bus);

/**
 * From any foreign thread: sends an order and waits for the reply, at most `timeout_msec` (2000 at the most).
 * The result is never NULL and has the same meaning as in bus_reply_fn; free it with bus_free_envelope().
 */
Vpnsip__Envelope *bus_call_blocking(struct bus *bus, Vpnsip__Service to, const char *session,
                                    const ProtobufCMessage *order, unsigned timeout_msec,
                                    enum bus_outcome *outcome);

void bus_free_envelope(Vpnsip__Envelope *envelope);

/** From any thread: runs `work(context)` on the loop's thread soon, in the order posted. */
void bus_post(struct bus *bus, void (*work)(void *context), void *context);

/**
 * Asks a peer subscribed to for its snapshot again, as after a gap: resync() follows. For those who compare what is with
 * what shall be from time to time.
 */
void bus_ask_snapshot(struct bus *bus, Vpnsip__Service peer);

/**
 * A timer on the library's clock: a recording notes when it ran out, a replay makes it run out at the same place. Loop
 * only. `name` must outlive it. NULL when out of memory.
 */
struct bus_timer *bus_timer_new(struct bus *bus, const char *name, void (*fired)(void *context),
                                void *context);
/** Runs out once, so long from now; a running one starts anew. */
void bus_timer_start(struct bus_timer *timer, uint64_t msec);
void bus_timer_stop(struct bus_timer *timer);
bool bus_timer_is_running(const struct bus_timer *timer);
/** NULL is allowed. */
void bus_timer_free(struct bus_timer *timer);

/**
 * Notes a moment of a session's attempt for `vpnsip trace`. `session` and `attempt` may be NULL and 0 while unknown: the trace
 * of what is being handled ties it to the rest. `outside` (NULL = nobody) is who is on the other side of a SIP or IKE message.
 * Requests are noted by the library itself. Any thread.
 */
void bus_trace(struct bus *bus, const char *session, uint64_t attempt, Vpnsip__TraceKind kind,
               const char *outside, bool is_incoming, const char *format, ...)
	__attribute__((format(printf, 7, 8)));

/** The trace of what is being handled; 0 outside of any. To be kept and given to bus_resume_trace() when work goes on later. */
uint64_t bus_current_trace(const struct bus *bus);

/** Until the loop's next turn what happens belongs to this trace (0 = to none). */
void bus_resume_trace(struct bus *bus, uint64_t trace_id);

/** A line for `debug SERVICE state`. */
void bus_describe(struct bus_description *description, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/** A number for `debug SERVICE stats`; `name` as in Counter. */
void bus_describe_counter(struct bus_description *description, const char *name, uint64_t value);

/**
 * Adds what a core of the service gets (not `is_output`) or gives to the recording, if there is one; in a replay the outputs are
 * compared. The octets must hold no secret. For inputs that the library does not see.
 */
void bus_record_core(struct bus *bus, const char *core, bool is_output, const void *octets,
                     size_t size);

/** Closes the recording, if there is one: before the service takes itself apart. */
void bus_stop_recording(struct bus *bus);

/** True when the bus was opened with a recording: there are no peers, and the outside world is to be left alone. */
bool bus_is_replaying(const struct bus *bus);

struct bus_replay_result {
	uint64_t inputs, outputs; /* recorded ones */
	uint64_t differences;
	bool is_of_other_config; /* the recording was made with another configuration */
};

/**
 * Plays the recording this bus was opened with, from its beginning to its end: the handlers see what they saw then, at the time
 * and with the randomness of then, and what they send is compared with what they sent then, but for times, ids, epochs and
 * sequence numbers. Each difference is told as a sentence with its place.
 */
void bus_replay(struct bus *bus, void (*told)(void *context, const char *difference), void *context,
                struct bus_replay_result *result);

/**
 * A place where a fault may be ordered (NAMED_POINT): kills, stops or delays the process there. Costs a comparison when none
 * is. `name`: "sip-agent.before-ack".
 */
void bus_fault_point(struct bus *bus, const char *name);

Vpnsip__PeerHealth bus_peer_health(const struct bus *bus, Vpnsip__Service peer);
struct event_base *bus_event_base(const struct bus *bus);
uint64_t bus_mono_usec(const struct bus *bus);
uint64_t bus_wall_usec(const struct bus *bus);
void bus_random(const struct bus *bus, void *octets, size_t size);

/** "sip-agent" and so on; "?" for an unknown value. */
const char *bus_service_name(Vpnsip__Service service);

/** The service of that name, or SERVICE_UNSPECIFIED. */
Vpnsip__Service bus_service_by_name(const char *name);

/** The body of an envelope as a generic message, or NULL; and its type name ("CallChanged"). */
const ProtobufCMessage *bus_body(const Vpnsip__Envelope *envelope);
const char *bus_body_name(const Vpnsip__Envelope *envelope);

/** The type of the body of that name ("CallChanged"), or NULL. */
const ProtobufCMessageDescriptor *bus_body_type(const char *name);

/** The cause in a reply whose outcome is not BUS_DONE; "" otherwise. */
const char *bus_cause(const Vpnsip__Envelope *reply);

#endif
