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

/* CSeq numbers that may have been used since the record was written, also while the disk was full; gaps are legal (RFC 3261 section 12.2.1.1). */
#define SEQUENCE_RESERVE 1000

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

/* These tell whether there was room. */
static bool print_routes(su_home_t *home, const sip_route_t *route, char *text, size_t size)
{
	size_t length = 0;

	text[0] = '\0';
	for (; route && length < size; route = route->r_next) {
		const char *one = sip_header_as_string(home, (const sip_header_t *)route);

		length += (size_t)snprintf(text + length, size - length, "%s%s", length ? ", " : "",
		                           one ? one : "");
	}
	return length < size;
}

static bool print_party(char *text, size_t size, const char *uri, const char *tag)
{
	return (size_t)snprintf(text, size, "%s%s%s", uri, tag ? ";tag=" : "", tag ? tag : "") <
	       size;
}

static bool print_target(su_home_t *home, const sip_contact_t *target, char *text, size_t size)
{
	const char *one = sip_header_as_string(home, (const sip_header_t *)target);

	return (size_t)snprintf(text, size, "%s", one ? one : "") < size;
}

static void make_ascii(char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text > '~')
			*text = '?';
}

/* Before an answer there is neither a route set nor a Contact: what the INVITE had says where it went. */
static bool fill_dialog(const struct sofia_call *call, struct dialog_record *record)
{
	const sip_route_t *route = NULL;
	const sip_contact_t *target = NULL;
	su_home_t home[1] = {SU_HOME_INIT(home)};
	bool fits;

	nta_leg_get_route(call->leg, &route, &target);
	fits = print_party(record->local, sizeof(record->local), call->local_uri,
	                   nta_leg_get_tag(call->leg));
	fits &= print_party(record->remote, sizeof(record->remote), call->remote_uri,
	                    nta_leg_get_rtag(call->leg));
	record->local_sequence = nta_leg_get_seq(call->leg);
	record->remote_sequence = nta_leg_get_rseq(call->leg);
	if (call->call.direction == CALL_OUTGOING && !target) {
		sofia_transport_print_route(call, record->routes, sizeof(record->routes));
		sofia_transport_print_target(call, record->target, sizeof(record->target));
	} else {
		fits &= print_routes(home, route, record->routes, sizeof(record->routes));
	}
	if (target)
		fits &= print_target(home, target, record->target, sizeof(record->target));
	su_home_deinit(home);
	/* A record is text: what is not ASCII is a display name, which means nothing here. */
	make_ascii(record->remote);
	make_ascii(record->routes);
	make_ascii(record->target);
	return fits;
}

bool sofia_dialog_fits(const struct sofia_call *call)
{
	struct dialog_record record;

	return fill_dialog(call, &record);
}

/* From the leg, or from where the dialog is parked. */
static bool fill_record(const struct sofia_call *call, struct dialog_record *record)
{
	if (call->parked)
		*record = *call->parked;
	record->call = call->call;
	record->origin = call->origin;
	record->timer = call->timer;
	record->refreshed_at_usec = call->refreshed_at_wall_usec;
	record->peer_takes_update = call->peer_takes_update;
	record->wan_address = call->line->address;
	record->invite_sequence = call->invite_cseq;
	record->is_acknowledged = call->is_acknowledged;
	snprintf(record->branch, sizeof(record->branch), "%s", call->branch);
	snprintf(record->sdp, sizeof(record->sdp), "%s", call->sdp ? call->sdp : "");
	snprintf(record->invite, sizeof(record->invite), "%s",
	         call->invite_text && !call->is_acknowledged ? call->invite_text : "");
	if (call->leg)
		fill_dialog(call, record);
	return call->leg || call->parked || call->call.state == CALL_STATE_ENDED;
}

/* Takes the outcome of a write: `why` is NULL when it went well. */
static bool note_written(struct sofia_call *call, const char *why)
{
	struct sofia *sofia = call->line->sofia;

	if (!why) {
		if (sofia->store_failure[0])
			log_line(LOG_NOTICE, "%s can be written again", sofia->state_directory);
		sofia->store_failure[0] = '\0';
		sofia->counters.store_writes++;
		return true;
	}
	/* Once, and not for each refresh of each call. */
	if (!sofia->store_failure[0])
		log_session(LOG_ERR, call->call.tunnel, call->call.remote_number,
		            "%s: no call is placed or answered, those that are up go on", why);
	log_debug(LOG_SIP_ERROR, call->call.tunnel, call->call.remote_number, "%s", why);
	snprintf(sofia->store_failure, sizeof(sofia->store_failure), "%s", why);
	sofia->counters.store_failures++;
	/* An ended call is still told of after a restart; without room for that it must not look as if it were up. */
	if (call->call.state == CALL_STATE_ENDED)
		sofia_dialog_forget(call);
	return false;
}

static bool write_record(struct sofia_call *call, const struct dialog_record *record,
                         bool is_lasting)
{
	char why[SOFIA_CAUSE_SIZE];
	const bool is_ok = dialog_store_write(call->line->sofia->state_directory, record,
	                                      is_lasting, why, sizeof(why));

	return note_written(call, is_ok ? NULL : why);
}

void sofia_dialog_store(struct sofia_call *call)
{
	struct dialog_record record = {0};

	if (fill_record(call, &record))
		write_record(call, &record, false);
}

void sofia_dialog_store_state(struct sofia_call *call)
{
	struct dialog_record record = {0};
	char why[SOFIA_CAUSE_SIZE];

	if (!fill_record(call, &record))
		return;
	const bool is_ok = dialog_store_write_state(call->line->sofia->state_directory, &record,
	                                            why, sizeof(why));
	note_written(call, is_ok ? NULL : why);
}

bool sofia_dialog_store_ahead(struct sofia_call *call, enum call_state state)
{
	struct dialog_record record = {0};

	if (!fill_record(call, &record))
		return false;
	record.call.state = state;
	if (state != CALL_STATE_CALLING && !record.call.answered_at_usec)
		record.call.answered_at_usec = bus_wall_usec(call->line->sofia->bus);
	return write_record(call, &record, true);
}

void sofia_dialog_forget(struct sofia_call *call)
{
	dialog_store_remove(call->line->sofia->state_directory, &call->call);
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
	/* The route set is in the order of sending, as a UAS keeps it. An INVITE without answer has none. */
	if (call->leg && strstr(record->remote, ";tag="))
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
	sofia_dialog_store(call);
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

static struct sofia_call *revive(struct sofia_line *line, const struct dialog_record *record)
{
	struct sofia_call *call = sofia_call_new(line, record->call.direction);

	if (!call)
		return NULL;
	call->call = record->call;
	sofia_call_index(call);
	call->origin = record->origin;
	call->timer = record->timer;
	call->peer_takes_update = record->peer_takes_update;
	call->invite_cseq = record->invite_sequence;
	call->is_acknowledged = record->is_acknowledged;
	call->refreshed_at_wall_usec = record->refreshed_at_usec;
	snprintf(call->branch, sizeof(call->branch), "%s", record->branch);
	call->sdp = strdup(record->sdp);
	call->invite_text = strdup(record->invite);
	call->local_uri = strndup(record->local, strcspn(record->local, ">") + 1);
	call->remote_uri = strndup(record->remote, strcspn(record->remote, ">") + 1);
	call->parked = malloc(sizeof(*call->parked));
	if (!call->local_uri || !call->remote_uri || !call->sdp || !call->invite_text ||
	    !call->parked) {
		sofia_call_free(call);
		return NULL;
	}
	*call->parked = *record;
	return call;
}

/* The server transaction of an INVITE that we did not answer for good; without it nothing can be said to the caller. */
static void settle_incoming(struct sofia_call *call, unsigned debts)
{
	if (!sofia_dialog_reopen(call) || !sofia_call_reopen_invite(call)) {
		if (debts & CALL_SEND_ANSWER)
			sofia_call_handle(call, CALL_EVENT_NO_ACK);
		return;
	}
	if (debts & CALL_SEND_ANSWER) {
		sofia_call_send_answer(call);
	} else {
		call->refusal = (struct sofia_refusal){.sip_status = 480};
		sofia_call_send_refusal(call);
	}
}

static void settle(struct sofia_call *call, unsigned debts)
{
	const uint64_t refreshed_at_usec = call->refreshed_at_wall_usec;

	if (debts & CALL_SEND_CANCEL) {
		call->line->sofia->counters.cancels_owed++;
		sofia_attempt_cancel(call);
	}
	if (debts & (CALL_SEND_ANSWER | CALL_SEND_REFUSAL))
		settle_incoming(call, debts);
	if ((debts & CALL_SEND_ACK) && sofia_dialog_reopen(call))
		sofia_call_send_ack(call);
	if (debts & CALL_SEND_BYE) {
		call->line->sofia->counters.byes_owed++;
		sofia_call_send_bye(call);
	}
	if (!(debts & CALL_RESUME))
		return;
	if (sofia_dialog_reopen(call)) {
		sofia_session_resume(call, refreshed_at_usec);
	} else {
		call_set_cause(&call->call, "after a restart: %s", call->line->cause);
		sofia_call_handle(call, CALL_EVENT_LOST);
	}
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
		dialog_store_remove(sofia->state_directory, &record->call);
		return;
	}
	if (!line->agent && call->call.state != CALL_STATE_ENDED) {
		line->address = record->wan_address;
		sofia_line_open(line);
	}
	sofia->counters.calls_restored++;
	sofia_attempt_note(sofia, call->call.tunnel, call->call.attempt);
	const enum call_state was = call->call.state;
	unsigned debts = call_core_restore(&call->call, record->is_acknowledged,
	                                   bus_wall_usec(sofia->bus));
	log_session(was == CALL_STATE_ENDED ? LOG_DEBUG : LOG_NOTICE, call->call.tunnel,
	            call->call.remote_number, "call %s taken up after a restart: %s -> %s",
	            call->call.call_id, call_state_name(was), call_state_name(call->call.state));
	sofia_call_limit_state(call);
	if (was != CALL_STATE_ENDED)
		settle(call, debts);
	sofia_dialog_store(call);
}

void sofia_dialog_restore(struct sofia *sofia)
{
	dialog_store_read(sofia->state_directory, restore, sofia);
}
