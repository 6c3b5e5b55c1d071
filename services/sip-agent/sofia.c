/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user agent as a whole: lines, and the orders that concern any call. */
#include "services/sip-agent/sofia.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
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
	sofia_log_open();
	sofia->loop = sofia_loop_open(options->base);
	sofia->lines = calloc(options->config->line_count, sizeof(*sofia->lines));
	if (!sofia->loop || !sofia->lines) {
		sofia_close(sofia);
		return NULL;
	}
	sofia->line_count = options->config->line_count;
	for (size_t i = 0; i < sofia->line_count; i++) {
		sofia_line_init(&sofia->lines[i], sofia, &options->config->lines[i]);
		if (options->port_obstacles)
			sofia->lines[i].known_obstacle = options->port_obstacles[i];
	}
	sofia_dialog_restore(sofia);
	return sofia;
}

void sofia_close(struct sofia *sofia)
{
	while (sofia->calls)
		sofia_call_free(sofia->calls);
	for (size_t i = 0; i < sofia->line_count; i++)
		sofia_line_free(&sofia->lines[i]);
	free(sofia->lines);
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

	if (!call)
		return SOFIA_DONE;
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
