/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/faults.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <utlist.h>

#include "bus/frame.h"
#include "bus/internal.h"

#define FAULT_MAXIMUM      64
#define DELAY_LIMIT_MSEC   60000
/** How long a message waits for the next one, behind which it shall go. */
#define REORDER_LIMIT_MSEC 1000

struct fault {
	Vpnsip__SetFault order;
	char message[64], session[32];
	uint64_t random_state;
	uint64_t matched, injected;
};

/** A message that waits. */
struct held {
	struct held *prev, *next;
	struct faults *faults;
	struct passage passage;
	struct event *timer;
	bool is_reordered; /* and goes with the next of its point */
	size_t size;
	uint8_t octets[];
};

struct faults {
	struct bus *bus;
	pthread_mutex_t lock;
	atomic_uint count;
	struct fault all[FAULT_MAXIMUM];
	atomic_ullong injected;
	struct held *held; /* loop only */
};

static const char *const steering[] = {
	"SetFault",       "ClearFaults",      "GetFaults",     "FaultList",
	"GetInternals",   "Internals",        "SetLog",        "GetTrace",
	"Trace",          "GetServiceStatus", "ServiceStatus", "EnableTap",
	"StartRecording", "StopRecording",    "Tapped",        "Heartbeat",
};

static bool is_steering(const char *message)
{
	for (size_t i = 0; i < sizeof(steering) / sizeof(*steering); i++)
		if (strcmp(steering[i], message) == 0)
			return true;
	return false;
}

struct faults *faults_new(struct bus *bus)
{
	struct faults *faults = calloc(1, sizeof(*faults));

	if (faults == NULL)
		return NULL;
	faults->bus = bus;
	pthread_mutex_init(&faults->lock, NULL);
	return faults;
}

static struct passage release(struct held *held)
{
	DL_DELETE(held->faults->held, held);
	event_free(held->timer);
	return held->passage;
}

static void go_on(struct held *held)
{
	struct bus *bus = held->faults->bus;
	const struct passage passage = release(held);

	passage.go(bus, &passage, held->octets, held->size);
	explicit_bzero(held->octets, held->size);
	free(held);
}

static void give_up(struct bus *bus, const struct passage *passage)
{
	if (passage->drop != NULL)
		passage->drop(bus, passage);
}

void faults_free(struct faults *faults)
{
	if (faults == NULL)
		return;
	while (faults->held != NULL) {
		struct held *held = faults->held;
		const struct passage passage = release(held);

		give_up(faults->bus, &passage);
		free(held);
	}
	pthread_mutex_destroy(&faults->lock);
	free(faults);
}

static void on_held_timer(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	go_on(context);
}

static void hold(struct faults *faults, const struct passage *passage, const uint8_t *octets,
                 size_t size, unsigned msec, bool is_reordered)
{
	const struct timeval after = {.tv_sec = msec / 1000, .tv_usec = msec % 1000 * 1000};
	struct held *held = malloc(sizeof(*held) + size);

	if (held != NULL) {
		*held = (struct held){.faults = faults,
		                      .passage = *passage,
		                      .is_reordered = is_reordered,
		                      .size = size};
		memcpy(held->octets, octets, size);
		held->timer = evtimer_new(faults->bus->base, on_held_timer, held);
	}
	if (held == NULL || held->timer == NULL || event_add(held->timer, &after) != 0) {
		free(held);
		give_up(faults->bus, passage);
		return;
	}
	DL_APPEND(faults->held, held);
}

/** One has passed: those that shall come behind it follow. */
static void release_reordered(struct faults *faults, Vpnsip__FaultPoint point)
{
	struct held *held, *next;

	DL_FOREACH_SAFE (faults->held, held, next) {
		if (held->is_reordered && held->passage.point == point) {
			go_on(held);
			next = faults->held; /* the list may have become another one */
		}
	}
}

/** splitmix64: the same seed gives the same faults. */
static uint64_t next_random(uint64_t *state)
{
	uint64_t value = *state += UINT64_C(0x9e3779b97f4a7c15);

	value = (value ^ value >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	value = (value ^ value >> 27) * UINT64_C(0x94d049bb133111eb);
	return value ^ value >> 31;
}

static bool is_meant(const struct fault *fault, Vpnsip__FaultPoint point, Vpnsip__Service peer,
                     const char *message, const char *answered, const char *session)
{
	if (fault->order.point != point || (fault->order.peer != 0 && fault->order.peer != peer) ||
	    (fault->session[0] != '\0' && strcmp(fault->session, session) != 0))
		return false;
	if (fault->message[0] == '\0')
		return !is_steering(answered != NULL ? answered : message);
	return strcmp(fault->message, message) == 0 ||
	       (answered != NULL && strcmp(fault->message, answered) == 0);
}

/** Is it this one's turn? Counts. */
static bool strikes(struct fault *fault)
{
	const Vpnsip__SetFault *order = &fault->order;

	fault->matched++;
	if (fault->matched <= order->skip || (order->count != 0 && fault->injected >= order->count))
		return false;
	if (order->probability_permille != 0 &&
	    next_random(&fault->random_state) % 1000 >= order->probability_permille)
		return false;
	fault->injected++;
	return true;
}

static void stall_or_kill(struct bus *bus, Vpnsip__FaultAction action, const char *message)
{
	bool is_stall = action == VPNSIP__FAULT_ACTION__FAULT_STALL;

	if (!is_stall && action != VPNSIP__FAULT_ACTION__FAULT_KILL)
		return;
	bus_log(bus, LOG_WARNING, "bus: fault on order: %s at %s", is_stall ? "stopped" : "killed",
	        message);
	raise(is_stall ? SIGSTOP : SIGKILL);
}

struct fault_verdict faults_decide(struct faults *faults, Vpnsip__FaultPoint point,
                                   Vpnsip__Service peer, const char *message, const char *order,
                                   const char *session)
{
	struct fault_verdict verdict = {0};

	if (faults == NULL || atomic_load(&faults->count) == 0)
		return verdict;
	pthread_mutex_lock(&faults->lock);
	for (unsigned i = 0; i < faults->count && verdict.action == 0; i++) {
		struct fault *fault = &faults->all[i];

		if (!is_meant(fault, point, peer, message, order, session) || !strikes(fault))
			continue;
		verdict.action = fault->order.action;
		verdict.delay_msec = fault->order.delay_msec;
		verdict.random = next_random(&fault->random_state);
		atomic_fetch_add(&faults->injected, 1);
	}
	pthread_mutex_unlock(&faults->lock);
	if (verdict.action == VPNSIP__FAULT_ACTION__FAULT_STALL ||
	    verdict.action == VPNSIP__FAULT_ACTION__FAULT_KILL) {
		stall_or_kill(faults->bus, verdict.action, message);
		verdict.action = 0;
	}
	return verdict;
}

void faults_corrupt(uint8_t *octets, size_t size, uint64_t random)
{
	if (size > 0)
		octets[(random >> 8) % size] ^= (uint8_t)(random % 255 + 1);
}

/** The octets end with the first time they go. */
static uint8_t *copy_of(const uint8_t *octets, size_t size)
{
	uint8_t *copy = malloc(size + 1);

	if (copy != NULL)
		memcpy(copy, octets, size);
	return copy;
}

static void wipe(uint8_t *octets, size_t size)
{
	if (octets != NULL)
		explicit_bzero(octets, size);
	free(octets);
}

static void go_corrupted(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                         size_t size, uint64_t random)
{
	uint8_t *changed = copy_of(octets, size);

	if (changed == NULL) {
		give_up(bus, passage);
		return;
	}
	faults_corrupt(changed, size, random);
	passage->go(bus, passage, changed, size);
	wipe(changed, size);
}

static void go_twice(struct bus *bus, const struct passage *passage, const uint8_t *octets,
                     size_t size)
{
	struct passage second = *passage;
	uint8_t *copy = copy_of(octets, size);

	passage->go(bus, passage, octets, size);
	second.is_copy = true;
	if (copy != NULL)
		second.go(bus, &second, copy, size);
	wipe(copy, size);
}

static struct fault_verdict decide_by_octets(struct faults *faults, const struct passage *passage,
                                             const uint8_t *octets, size_t size)
{
	Vpnsip__Envelope *envelope = frame_unpack(octets, size);
	struct fault_verdict verdict = {0};

	if (envelope != NULL)
		verdict = faults_decide(faults, passage->point,
		                        passage->peer != 0 ? passage->peer : envelope->source,
		                        bus_body_name(envelope), passage->order, envelope->session);
	bus_free_envelope(envelope);
	return verdict;
}

void faults_pass(struct bus *bus, const struct passage *passage, const uint8_t *octets, size_t size)
{
	struct faults *faults = bus->faults;
	const Vpnsip__FaultPoint point = passage->point;
	struct fault_verdict verdict;

	if (faults == NULL || (atomic_load(&faults->count) == 0 && faults->held == NULL)) {
		passage->go(bus, passage, octets, size);
		return;
	}
	verdict = decide_by_octets(faults, passage, octets, size);
	switch (verdict.action) {
	case VPNSIP__FAULT_ACTION__FAULT_DROP:
		give_up(bus, passage);
		return;
	case VPNSIP__FAULT_ACTION__FAULT_DELAY:
		hold(faults, passage, octets, size, verdict.delay_msec, false);
		return;
	case VPNSIP__FAULT_ACTION__FAULT_REORDER:
		hold(faults, passage, octets, size, REORDER_LIMIT_MSEC, true);
		return;
	case VPNSIP__FAULT_ACTION__FAULT_CORRUPT:
		go_corrupted(bus, passage, octets, size, verdict.random);
		break;
	case VPNSIP__FAULT_ACTION__FAULT_DUPLICATE:
		go_twice(bus, passage, octets, size);
		break;
	default:
		passage->go(bus, passage, octets, size);
		break;
	}
	release_reordered(faults, point);
}

void bus_fault_point(struct bus *bus, const char *name)
{
	struct fault_verdict verdict = faults_decide(bus->faults, VPNSIP__FAULT_POINT__NAMED_POINT,
	                                             0, name, NULL, "");
	const struct timespec delay = {.tv_sec = verdict.delay_msec / 1000,
	                               .tv_nsec = verdict.delay_msec % 1000 * 1000000L};

	if (verdict.action == VPNSIP__FAULT_ACTION__FAULT_DELAY)
		nanosleep(&delay, NULL);
}

/** Why an order for a fault makes no sense, or NULL. */
static const char *mistake_in(const Vpnsip__SetFault *order)
{
	bool is_named = order->point == VPNSIP__FAULT_POINT__NAMED_POINT;

	if (order->point < VPNSIP__FAULT_POINT__SEND_EVENT ||
	    order->point > VPNSIP__FAULT_POINT__NAMED_POINT)
		return "it says not where (point)";
	if (order->action < VPNSIP__FAULT_ACTION__FAULT_DROP ||
	    order->action > VPNSIP__FAULT_ACTION__FAULT_KILL)
		return "it says not what (action)";
	if (is_named &&
	    (order->message[0] == '\0' || (order->action != VPNSIP__FAULT_ACTION__FAULT_DELAY &&
	                                   order->action != VPNSIP__FAULT_ACTION__FAULT_STALL &&
	                                   order->action != VPNSIP__FAULT_ACTION__FAULT_KILL)))
		return "a named point needs its name, and can be delayed, stalled and killed";
	if (!is_named && order->message[0] != '\0' && bus_body_type(order->message) == NULL)
		return "there is no such message";
	if (order->probability_permille > 1000)
		return "a probability is at most 1000 per mille";
	if (order->action == VPNSIP__FAULT_ACTION__FAULT_DELAY &&
	    (order->delay_msec == 0 || order->delay_msec > DELAY_LIMIT_MSEC))
		return "a delay is 1 to 60000 ms";
	return NULL;
}

static void fill(struct fault *fault, const Vpnsip__SetFault *order, uint64_t seed)
{
	memset(fault, 0, sizeof(*fault));
	fault->order = *order;
	snprintf(fault->message, sizeof(fault->message), "%s", order->message);
	snprintf(fault->session, sizeof(fault->session), "%s", order->session);
	fault->order.message = fault->message;
	fault->order.session = fault->session;
	fault->order.seed = fault->random_state = seed;
}

/** The place of one that says the same but for its numbers, or a new one; NULL when there are too many. */
static struct fault *place_for(struct faults *faults, const Vpnsip__SetFault *order)
{
	for (unsigned i = 0; i < faults->count; i++) {
		const struct fault *fault = &faults->all[i];

		if (fault->order.point == order->point && fault->order.action == order->action &&
		    fault->order.peer == order->peer &&
		    strcmp(fault->message, order->message) == 0 &&
		    strcmp(fault->session, order->session) == 0)
			return &faults->all[i];
	}
	return faults->count < FAULT_MAXIMUM ? &faults->all[faults->count] : NULL;
}

static bool refuses(struct faults *faults, struct bus_request *request)
{
	if (faults == NULL)
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG,
		         "it was not started with --allow-faults");
	return faults == NULL;
}

void faults_set(struct faults *faults, struct bus_request *request, const Vpnsip__SetFault *order)
{
	const char *mistake = mistake_in(order);
	struct fault *fault;
	uint64_t seed;

	if (refuses(faults, request))
		return;
	if (mistake != NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "no such fault: %s", mistake);
		return;
	}
	seed = order->seed != 0 ? order->seed : random_id(faults->bus);
	pthread_mutex_lock(&faults->lock);
	fault = place_for(faults, order);
	if (fault != NULL) {
		fill(fault, order, seed);
		if (fault == &faults->all[faults->count])
			atomic_fetch_add(&faults->count, 1);
	}
	pthread_mutex_unlock(&faults->lock);
	if (fault == NULL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "there are %d faults already",
		         FAULT_MAXIMUM);
		return;
	}
	bus_log(faults->bus, LOG_WARNING, "bus: a fault was ordered for '%s', seed %llu",
	        order->message, (unsigned long long)seed);
	bus_done(request);
}

void faults_clear(struct faults *faults, struct bus_request *request)
{
	if (refuses(faults, request))
		return;
	atomic_store(&faults->count, 0);
	bus_done(request);
}

void faults_answer(struct faults *faults, struct bus_request *request)
{
	Vpnsip__FaultList list = VPNSIP__FAULT_LIST__INIT;
	Vpnsip__FaultStatus statuses[FAULT_MAXIMUM], *pointers[FAULT_MAXIMUM];
	struct fault copies[FAULT_MAXIMUM];

	list.is_allowed = faults != NULL;
	list.faults = pointers;
	if (faults != NULL) {
		pthread_mutex_lock(&faults->lock);
		memcpy(copies, faults->all, sizeof(copies));
		list.n_faults = faults->count;
		pthread_mutex_unlock(&faults->lock);
	}
	for (size_t i = 0; i < list.n_faults; i++) {
		vpnsip__fault_status__init(&statuses[i]);
		copies[i].order.message = copies[i].message;
		copies[i].order.session = copies[i].session;
		statuses[i].fault = &copies[i].order;
		statuses[i].matched = copies[i].matched;
		statuses[i].injected = copies[i].injected;
		pointers[i] = &statuses[i];
	}
	bus_reply(request, &list.base);
}

uint64_t faults_injected(struct faults *faults)
{
	return faults != NULL ? atomic_load(&faults->injected) : 0;
}

void faults_describe(struct faults *faults, struct bus_description *description)
{
	bus_describe_counter(description, "faults.set", faults != NULL ? faults->count : 0);
	bus_describe_counter(description, "faults.injected", faults_injected(faults));
}
