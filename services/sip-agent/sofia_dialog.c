/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Dialogs that outlive their agent: the process was restarted, or the WAN address changed. The leg
 * only keeps what a record says too.
 */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"

/* CSeq numbers that may have been used since the record was written; gaps are legal (RFC 3261 section 12.2.1.1). */
#define SEQUENCE_RESERVE 16

static bool has_dialog(const struct sofia_call *call)
{
	switch (call->call.state) {
	case CALL_STATE_ANSWERED:
	case CALL_STATE_ACCEPTED:
	case CALL_STATE_CONFIRMED:
	case CALL_STATE_BYE_OWED:
	case CALL_STATE_LEAVING:
		return true;
	default:
		return false;
	}
}

static void print_routes(su_home_t *home, const sip_route_t *route, char *text, size_t size)
{
	size_t length = 0;

	text[0] = '\0';
	for (; route && length < size; route = route->r_next) {
		const char *one = sip_header_as_string(home, (const sip_header_t *)route);

		length += (size_t)snprintf(text + length, size - length, "%s%s", length ? ", " : "",
		                           one ? one : "");
	}
}

/* From the leg, or from where the dialog is parked. */
static bool fill_record(const struct sofia_call *call, struct dialog_record *record)
{
	const sip_route_t *route = NULL;
	const sip_contact_t *target = NULL;
	su_home_t home[1] = {SU_HOME_INIT(home)};

	if (call->parked)
		*record = *call->parked;
	record->call = call->call;
	record->origin = call->origin;
	record->timer = call->timer;
	record->peer_takes_update = call->peer_takes_update;
	record->wan_address = call->line->address;
	snprintf(record->sdp, sizeof(record->sdp), "%s", call->sdp ? call->sdp : "");
	if (!call->leg)
		return call->parked != NULL;
	nta_leg_get_route(call->leg, &route, &target);
	snprintf(record->local, sizeof(record->local), "%s;tag=%s", call->local_uri,
	         nta_leg_get_tag(call->leg));
	snprintf(record->remote, sizeof(record->remote), "%s;tag=%s", call->remote_uri,
	         nta_leg_get_rtag(call->leg));
	record->local_sequence = nta_leg_get_seq(call->leg);
	record->remote_sequence = nta_leg_get_rseq(call->leg);
	print_routes(home, route, record->routes, sizeof(record->routes));
	if (target) {
		const char *text = sip_header_as_string(home, (const sip_header_t *)target);

		snprintf(record->target, sizeof(record->target), "%s", text ? text : "");
	}
	su_home_deinit(home);
	return true;
}

void sofia_dialog_store(struct sofia_call *call)
{
	struct dialog_record record = {0};

	if (call->call.state == CALL_STATE_ENDED && call->call.attempt)
		dialog_store_remove(call->line->sofia->state_directory, call->call.attempt);
	else if (has_dialog(call) && fill_record(call, &record))
		dialog_store_write(call->line->sofia->state_directory, &record);
}

bool sofia_dialog_reopen(struct sofia_call *call)
{
	const struct dialog_record *record = call->parked;
	char sequence[32];
	su_home_t home[1] = {SU_HOME_INIT(home)};

	if (!record || !call->line->agent)
		return false;
	snprintf(sequence, sizeof(sequence), "%u INVITE",
	         record->local_sequence + SEQUENCE_RESERVE);
	call->leg = nta_leg_tcreate(call->line->agent, sofia_call_request, call,
	                            SIPTAG_CALL_ID_STR(record->call.call_id),
	                            SIPTAG_FROM_STR(record->local), SIPTAG_TO_STR(record->remote),
	                            SIPTAG_CSEQ_STR(sequence),
	                            NTATAG_REMOTE_CSEQ(record->remote_sequence), TAG_END());
	/* The route set is in the order of sending, as a UAS keeps it. */
	if (call->leg)
		nta_leg_server_route(call->leg,
		                     record->routes[0] ? sip_record_route_make(home, record->routes)
		                                       : NULL,
		                     sip_contact_make(home, record->target));
	su_home_deinit(home);
	if (!call->leg)
		return false;
	free(call->parked);
	call->parked = NULL;
	return true;
}

/* Takes the dialog out of its agent. */
static bool park(struct sofia_call *call)
{
	struct dialog_record *record = calloc(1, sizeof(*record));

	if (!record || !fill_record(call, record)) {
		free(record);
		return false;
	}
	sofia_call_drop_dialog(call);
	free(call->parked);
	call->parked = record;
	return true;
}

/* Nothing was established that could be ended from elsewhere. */
static void abandon(struct sofia_call *call)
{
	const uint64_t now = bus_wall_usec(call->line->sofia->bus);

	sofia_call_drop_dialog(call);
	call_core_handle(&call->call, CALL_EVENT_HANG_UP, now);
	call_core_handle(&call->call, CALL_EVENT_REFUSED, now);
	sofia_call_limit_state(call);
	sofia_session_stop(call);
	call->line->sofia->events->call_changed(call->line->sofia->context, &call->call);
}

void sofia_dialog_end_on_line(struct sofia_line *line, const char *cause)
{
	struct sofia_call *next;

	for (struct sofia_call *call = line->sofia->calls; call; call = next) {
		next = call->next;
		if (call->line != line)
			continue;
		if (call->call.state == CALL_STATE_ENDED) {
			sofia_call_drop_dialog(call);
			continue;
		}
		call_set_cause(&call->call, "%s", cause);
		if (!has_dialog(call) || !park(call)) {
			abandon(call);
			continue;
		}
		/* What was awaited at the old address will not come: the BYE goes out at once. */
		sofia_call_handle(call, CALL_EVENT_HANG_UP);
		if (call->call.state == CALL_STATE_BYE_OWED)
			sofia_call_handle(call, CALL_EVENT_NO_ACK);
		else if (call->call.state == CALL_STATE_LEAVING && !call->bye && call->parked)
			sofia_call_send_bye(call);
	}
}

static void copy_uri(char *uri, size_t size, const char *with_tag)
{
	snprintf(uri, size, "%.*s", (int)(strcspn(with_tag, ">") + 1), with_tag);
}

static struct sofia_call *revive(struct sofia_line *line, const struct dialog_record *record)
{
	struct sofia_call *call = sofia_call_new(line, record->call.direction);

	if (!call)
		return NULL;
	call->call = record->call;
	call->origin = record->origin;
	call->timer = record->timer;
	call->peer_takes_update = record->peer_takes_update;
	call->sdp = strdup(record->sdp);
	copy_uri(call->local_uri, sizeof(call->local_uri), record->local);
	copy_uri(call->remote_uri, sizeof(call->remote_uri), record->remote);
	call->parked = malloc(sizeof(*call->parked));
	if (!call->sdp || !call->parked) {
		sofia_call_free(call);
		return NULL;
	}
	*call->parked = *record;
	return call;
}

static void restore(void *context, const struct dialog_record *record)
{
	struct sofia *sofia = context;
	struct sofia_line *line = sofia_line_by_number(sofia, record->call.local_number);
	struct sofia_call *call = line ? revive(line, record) : NULL;

	if (!call) {
		log_session(LOG_ERR, record->call.tunnel, record->call.remote_number,
		            "a call of the last process cannot be taken up: line %s is gone",
		            record->call.local_number);
		dialog_store_remove(sofia->state_directory, record->call.attempt);
		return;
	}
	if (!line->agent) {
		line->address = record->wan_address;
		sofia_line_open(line);
	}
	log_session(LOG_NOTICE, record->call.tunnel, record->call.remote_number,
	            "call %s taken up after a restart", record->call.call_id);
	/* Our 200 and its ACK were the last process's: the refresh shows whether the call stands. */
	if (call->call.state == CALL_STATE_ACCEPTED)
		call_core_handle(&call->call, CALL_EVENT_ACK, 0);
	if (call->call.state == CALL_STATE_BYE_OWED)
		call_core_handle(&call->call, CALL_EVENT_NO_ACK, 0);
	sofia_call_limit_state(call);
	if (call->call.state == CALL_STATE_LEAVING) {
		sofia_call_send_bye(call);
	} else if (sofia_dialog_reopen(call)) {
		sofia_session_resume(call);
	} else {
		call_set_cause(&call->call, "after a restart: %s", line->cause);
		sofia_call_handle(call, CALL_EVENT_LOST);
	}
}

void sofia_dialog_restore(struct sofia *sofia)
{
	dialog_store_read(sofia->state_directory, restore, sofia);
}
