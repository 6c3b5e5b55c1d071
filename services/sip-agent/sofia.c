/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user agent as a whole: lines, and the orders that concern any call. */
#include "services/sip-agent/sofia.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/guard_memory.h"
#include "services/sip-agent/sofia_internal.h"
#include "services/sip-agent/sofia_log.h"

struct sofia *sofia_open(const struct sofia_options *options)
{
	struct sofia *sofia = calloc(1, sizeof(*sofia));

	if (!sofia)
		return NULL;
	sofia->base = options->base;
	sofia->bus = options->bus;
	sofia->config = options->config;
	sofia->state_directory = options->state_directory;
	sofia->events = options->events;
	sofia->context = options->context;
	sofia->is_guard_off = options->is_guard_off;
	sofia_log_open();
	sofia->loop = sofia_loop_open(options->base);
	sofia->lines = calloc(options->config->line_count, sizeof(*sofia->lines));
	if (!sofia->loop || !sofia->lines) {
		sofia_close(sofia);
		return NULL;
	}
	sofia->line_count = options->config->line_count;
	if (!sofia_transport_begin(sofia)) {
		sofia_close(sofia);
		return NULL;
	}
	sofia_tap_open(sofia);
	for (size_t i = 0; i < sofia->line_count; i++) {
		sofia_line_init(&sofia->lines[i], sofia, &options->config->lines[i]);
		if (options->port_obstacles)
			sofia->lines[i].known_obstacle = options->port_obstacles[i];
	}
	guard_memory_read(sofia->state_directory, &sofia->guard);
	sofia_dialog_restore(sofia);
	return sofia;
}

uint64_t sofia_attempt_of(const struct sofia *sofia, const char *tunnel)
{
	const struct sofia_attempt *attempt;

	HASH_FIND_STR(sofia->attempts, tunnel, attempt);
	return attempt ? attempt->number : 0;
}

void sofia_attempt_note(struct sofia *sofia, const char *tunnel, uint64_t attempt)
{
	struct sofia_attempt *known;

	if (!tunnel[0] || !attempt)
		return;
	HASH_FIND_STR(sofia->attempts, tunnel, known);
	if (!known) {
		known = calloc(1, sizeof(*known));
		if (!known)
			return;
		snprintf(known->tunnel, sizeof(known->tunnel), "%s", tunnel);
		HASH_ADD_STR(sofia->attempts, tunnel, known);
	}
	if (known->number < attempt)
		known->number = attempt;
}

const struct guard *sofia_guard(const struct sofia *sofia, size_t *half_open)
{
	*half_open = sofia_guard_half_open(sofia, NULL);
	return &sofia->guard;
}

bool sofia_guard_is_off(const struct sofia *sofia)
{
	return sofia->is_guard_off;
}

const char *sofia_store_failure(const struct sofia *sofia)
{
	return sofia->store_failure;
}

/* Whether a request that ends a call still waits for its answer. */
static bool has_request_under_way(const struct sofia *sofia)
{
	for (const struct sofia_call *call = sofia->calls; call; call = call->next)
		if (call->bye || call->cancel || call->call.state == CALL_STATE_CANCELLING)
			return true;
	for (size_t i = 0; i < sofia->line_count; i++)
		if (sofia->lines[i].is_leave_owed ||
		    (sofia->lines[i].request && sofia->lines[i].is_leaving))
			return true;
	return false;
}

void sofia_finish(struct sofia *sofia, unsigned msec)
{
	const struct timeval limit = {msec / 1000, (suseconds_t)(msec % 1000) * 1000};
	const uint64_t end = bus_mono_usec(sofia->bus) + msec * 1000ULL;

	event_base_loopexit(sofia->base, &limit);
	while (has_request_under_way(sofia) && bus_mono_usec(sofia->bus) < end)
		event_base_loop(sofia->base, EVLOOP_ONCE);
}

void sofia_close(struct sofia *sofia)
{
	sofia_tap_open(NULL);
	/* nta answers 500 for an unanswered INVITE that is given back; the record answers it after the restart. */
	for (struct sofia_call *call = sofia->calls; call; call = call->next)
		if (call->incoming && nta_incoming_status(call->incoming) < 200) {
			nta_incoming_bind(call->incoming, NULL, NULL);
			call->incoming = NULL;
		}
	while (sofia->calls)
		sofia_call_free(sofia->calls);
	for (size_t i = 0; i < sofia->line_count; i++)
		sofia_line_free(&sofia->lines[i]);
	HASH_CLEAR(hh, sofia->lines_by_number);
	free(sofia->lines);
	struct sofia_attempt *attempt, *next;
	HASH_ITER (hh, sofia->attempts, attempt, next) {
		HASH_DEL(sofia->attempts, attempt);
		free(attempt);
	}
	sofia_transport_end(sofia);
	sofia_loop_close(sofia->loop);
	free(sofia);
}

enum sofia_outcome sofia_register_line(struct sofia *sofia, const char *number,
                                       struct in_addr address)
{
	struct sofia_line *line = sofia_line_by_number(sofia, number);

	if (!line)
		return SOFIA_UNKNOWN;
	if (line->address.s_addr != address.s_addr)
		sofia_line_move(line, address);
	sofia_register_start(line);
	sofia_loop_wake(sofia->loop);
	return SOFIA_DONE;
}

enum sofia_outcome sofia_deregister_line(struct sofia *sofia, const char *number)
{
	struct sofia_line *line = sofia_line_by_number(sofia, number);

	if (!line)
		return SOFIA_UNKNOWN;
	sofia_register_stop(line);
	sofia_loop_wake(sofia->loop);
	return SOFIA_DONE;
}

static struct sofia_call *find_call(struct sofia *sofia, const char *call_id, uint64_t attempt)
{
	if (call_id[0])
		return sofia_call_by_id(sofia, call_id);
	struct sofia_call *call = sofia->calls;
	while (call && (attempt == 0 || call->call.attempt != attempt))
		call = call->next;
	return call;
}

enum sofia_outcome sofia_hang_up(struct sofia *sofia, const char *call_id, uint64_t attempt,
                                 const char *cause)
{
	struct sofia_call *call = find_call(sofia, call_id, attempt);

	log_debug(LOG_SIP_FUNCTION, call ? call->call.tunnel : NULL,
	          call ? call->call.remote_number : NULL, "sofia_hang_up %s attempt %llu: %s",
	          call_id, (unsigned long long)attempt, cause);
	if (!call) {
		/* The order to call may come after this one: it must not call then. */
		if (!call_id[0] && attempt)
			sofia->hung_up[sofia->hung_up_next++ % SOFIA_HUNG_UP_MAXIMUM] = attempt;
		return SOFIA_DONE;
	}
	if (call->call.state != CALL_STATE_ENDED && call->call.state != CALL_STATE_LEAVING)
		call_set_cause(&call->call, "%s", cause);
	sofia_call_handle(call, CALL_EVENT_HANG_UP);
	sofia_loop_wake(sofia->loop);
	return SOFIA_DONE;
}

size_t sofia_hang_up_all(struct sofia *sofia, const char *cause)
{
	struct sofia_call *next;
	size_t count = 0;

	for (struct sofia_call *call = sofia->calls; call; call = next) {
		next = call->next;
		if (call->call.state == CALL_STATE_ENDED)
			continue;
		count++;
		call_set_cause(&call->call, "%s", cause);
		sofia_call_handle(call, CALL_EVENT_HANG_UP);
	}
	sofia_loop_wake(sofia->loop);
	return count;
}

void sofia_tell_all(struct sofia *sofia, const struct sofia_events *events, void *context)
{
	for (size_t i = 0; i < sofia->line_count; i++) {
		const struct registration_report report = sofia_register_view(&sofia->lines[i]);

		events->registration_changed(context, &report);
	}
	for (const struct sofia_call *call = sofia->calls; call; call = call->next)
		events->call_changed(context, &call->call);
}
