/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/records_row.h"

#include <stdio.h>
#include <string.h>

#include "services/coordinator/line.h"

/* A report older than this was not seen when it happened: its monotonic time is unknown. */
#define PROMPT_USEC    2000000ull
/* The two clocks are compared this coarsely: what is between is the way of the report. */
#define TOLERANCE_USEC 500000ull

#define RUNNING   VPNSIP__RECORD_END__RECORD_RUNNING
#define EXACT     VPNSIP__RECORD_END__RECORD_EXACT
#define ESTIMATED VPNSIP__RECORD_END__RECORD_ESTIMATED

static void set_text(struct record *record, char *text, size_t size, const char *value)
{
	if (!value || !value[0] || !strncmp(text, value, size - 1))
		return;
	snprintf(text, size, "%s", value);
	record->is_changed = true;
}

static void set_time(struct record *record, uint64_t *time, uint64_t value)
{
	if (!value || *time == value)
		return;
	*time = value;
	record->is_changed = true;
}

static void set_number(struct record *record, uint32_t *number, uint32_t value)
{
	if (!value || *number == value)
		return;
	*number = value;
	record->is_changed = true;
}

void record_begin(struct record *record, uint64_t attempt, const char *tunnel,
                  const struct record_time *now)
{
	*record = (struct record){
		.attempt = attempt,
		.end = RUNNING,
		.started_at_usec = now->wall_usec,
		.opened_mono_usec = now->mono_usec,
		.is_changed = true,
	};
	snprintf(record->tunnel, sizeof(record->tunnel), "%s", tunnel);
}

static void set_direction(struct record *record, Vpnsip__Direction direction)
{
	uint32_t number = record->direction;

	set_number(record, &number, direction);
	record->direction = (Vpnsip__Direction)number;
}

/* Before one of these orders nothing can be billed. */
static bool may_be_billed(const struct session *session)
{
	return session->ordered & (BIT(STEP_PLACE_CALL) | BIT(STEP_ANSWER_CALL));
}

static void close_record(struct record *record, Vpnsip__RecordEnd end, uint64_t ended_at_usec)
{
	uint64_t least_usec = record->answered_at_usec ? record->answered_at_usec
	                                               : record->started_at_usec;

	if (ended_at_usec < least_usec)
		ended_at_usec = least_usec;
	if (record->end == end && record->ended_at_usec == ended_at_usec)
		return;
	record->end = end;
	record->ended_at_usec = ended_at_usec;
	record->is_changed = true;
}

static void close_by_us(struct record *record, uint64_t ended_at_usec)
{
	if (!record->ended_by)
		set_number(record, &record->ended_by, VPNSIP__ENDED_BY__ENDED_BY_US);
	close_record(record, EXACT, ended_at_usec);
}

void record_follow_session(struct record *record, const struct session *session,
                           const struct record_time *now)
{
	record->is_held = true;
	set_direction(record, session->direction);
	set_text(record, record->local_number, sizeof(record->local_number),
	         session->line->config->number);
	set_text(record, record->remote_number, sizeof(record->remote_number),
	         session->peer->number);
	set_text(record, record->call_id, sizeof(record->call_id), session->call_id);
	set_number(record, &record->negotiated_kbit, session->negotiated_kbit);
	if (session->state == SESSION_ESTABLISHED && !record->up_at_usec)
		set_time(record, &record->up_at_usec, now->wall_usec);
	if (!(STATES_RELEASING & BIT(session->state)))
		return;
	set_text(record, record->cause, sizeof(record->cause), session->cause);
	if (record->end == RUNNING && !may_be_billed(session))
		close_by_us(record, now->wall_usec);
}

void record_leave_session(struct record *record)
{
	record->is_held = false;
}

/* When something happened by the monotonic clock, if it was reported at once; else 0. */
static uint64_t moment_of(uint64_t wall_usec, const struct record_time *now)
{
	if (!wall_usec || wall_usec > now->wall_usec || now->wall_usec - wall_usec > PROMPT_USEC)
		return 0;
	return now->mono_usec - (now->wall_usec - wall_usec);
}

/* The wall clock may be set during a call: what both clocks have seen lasts as long as the monotonic one says. */
static uint64_t end_by_both_clocks(const struct record *record, uint64_t ended_at_usec,
                                   const struct record_time *now)
{
	uint64_t ended_mono_usec = moment_of(ended_at_usec, now);
	uint64_t lasted_usec, by_wall_usec;

	if (!record->answered_mono_usec || !ended_mono_usec ||
	    ended_mono_usec < record->answered_mono_usec)
		return ended_at_usec;
	lasted_usec = ended_mono_usec - record->answered_mono_usec;
	by_wall_usec = ended_at_usec - record->answered_at_usec;
	if (ended_at_usec >= record->answered_at_usec &&
	    by_wall_usec <= lasted_usec + TOLERANCE_USEC &&
	    lasted_usec <= by_wall_usec + TOLERANCE_USEC)
		return ended_at_usec;
	return record->answered_at_usec + lasted_usec;
}

static void follow_answer(struct record *record, uint64_t answered_at_usec,
                          const struct record_time *now)
{
	if (!answered_at_usec || record->answered_at_usec == answered_at_usec)
		return;
	set_time(record, &record->answered_at_usec, answered_at_usec);
	record->answered_mono_usec = moment_of(answered_at_usec, now);
}

/* The call lives although its end was estimated, or it was answered although nobody was to answer it. */
static void reopen(struct record *record)
{
	record->end = RUNNING;
	record->ended_at_usec = 0;
	record->is_changed = true;
}

/* What sip-agent has seen is not undone by an older report, but a snapshot mends what an event said wrongly. */
static bool is_known_already(const struct record *record, const Vpnsip__CallChanged *call,
                             bool is_event)
{
	return record->end == EXACT && record->answered_at_usec &&
	       (is_event || !record->reported_end_usec ||
	        record->reported_end_usec == call->ended_at_usec);
}

void record_follow_call(struct record *record, const Vpnsip__CallChanged *call, bool is_event,
                        const struct record_time *now)
{
	/* A call that sip-agent took up again when its session was over already has ended before, or not. */
	bool is_guess = call->is_end_estimated || !call->ended_at_usec ||
	                (call->is_restored && !record->is_held);
	uint64_t ended_at_usec = call->ended_at_usec ? call->ended_at_usec : now->wall_usec;

	if (is_known_already(record, call, is_event))
		return;
	record->reported_end_usec = call->ended_at_usec;
	set_direction(record, call->direction);
	set_text(record, record->local_number, sizeof(record->local_number), call->local_number);
	set_text(record, record->remote_number, sizeof(record->remote_number), call->remote_number);
	set_text(record, record->call_id, sizeof(record->call_id), call->call_id);
	set_time(record, &record->started_at_usec, call->started_at_usec);
	follow_answer(record, call->answered_at_usec, now);
	set_number(record, &record->ended_by, call->ended_by);
	set_number(record, &record->sip_status, call->sip_status);
	if (call->status == VPNSIP__CALL_STATUS__CALL_ENDED) {
		if (!record->cause[0])
			set_text(record, record->cause, sizeof(record->cause), call->cause);
		close_record(record, is_guess ? ESTIMATED : EXACT,
		             end_by_both_clocks(record, ended_at_usec, now));
	} else if (record->end == ESTIMATED || (record->end == EXACT && call->answered_at_usec)) {
		reopen(record);
	}
}

void record_explain(struct record *record, const char *cause)
{
	if (!record->up_at_usec)
		set_text(record, record->cause, sizeof(record->cause), cause);
}

void record_refuse(struct record *record, const struct record_time *now)
{
	if (record->end == RUNNING && !record->answered_at_usec)
		close_by_us(record, now->wall_usec);
}

void record_settle(struct record *record, const struct record_time *now)
{
	uint64_t now_usec = now->wall_usec;
	uint64_t age_usec = now_usec > record->started_at_usec ? now_usec - record->started_at_usec
	                                                       : 0;

	if (record->end != RUNNING)
		return;
	if (!record->cause[0])
		set_text(record, record->cause, sizeof(record->cause), "the end was not seen");
	if (record->answered_mono_usec)
		now_usec = record->answered_at_usec + now->mono_usec - record->answered_mono_usec;
	/* sip-agent writes a call down before its INVITE or 200, and would still know of one this young. */
	if (!record->answered_at_usec && age_usec < RECORD_REMEMBERED_USEC) {
		close_by_us(record, now_usec);
		return;
	}
	if (!record->answered_at_usec)
		set_time(record, &record->answered_at_usec, record->started_at_usec);
	close_record(record, ESTIMATED, now_usec);
}

static uint64_t growth(uint64_t earlier, uint64_t later)
{
	return later >= earlier ? later - earlier : later;
}

struct record_traffic record_traffic_between(const struct record_traffic *earlier,
                                             const struct record_traffic *later)
{
	return (struct record_traffic){
		.packets_in = growth(earlier->packets_in, later->packets_in),
		.bytes_in = growth(earlier->bytes_in, later->bytes_in),
		.packets_out = growth(earlier->packets_out, later->packets_out),
		.bytes_out = growth(earlier->bytes_out, later->bytes_out),
	};
}

void record_add_traffic(struct record *record, const struct record_traffic *more,
                        const struct record_traffic *totals)
{
	record->traffic.packets_in += more->packets_in;
	record->traffic.bytes_in += more->bytes_in;
	record->traffic.packets_out += more->packets_out;
	record->traffic.bytes_out += more->bytes_out;
	record->totals = *totals;
	record->has_new_totals = true;
	/* The last words of tunnel-agent come after the end. */
	if (record->end != RUNNING)
		record->is_changed = true;
}

bool record_is_finished(const struct record *record)
{
	return record->end != RUNNING && !record->is_held && !record->is_changed;
}

void record_to_message(const struct record *record, Vpnsip__CallRecord *message)
{
	vpnsip__call_record__init(message);
	message->record = record->attempt;
	message->tunnel = (char *)record->tunnel;
	message->local_number = (char *)record->local_number;
	message->remote_number = (char *)record->remote_number;
	message->direction = record->direction;
	message->call_id = (char *)record->call_id;
	message->started_at_usec = record->started_at_usec;
	message->answered_at_usec = record->answered_at_usec;
	message->up_at_usec = record->up_at_usec;
	message->ended_at_usec = record->ended_at_usec;
	message->end = record->end;
	message->ended_by = record->ended_by;
	message->cause = (char *)record->cause;
	message->sip_status = record->sip_status;
	message->negotiated_kbit = record->negotiated_kbit;
	message->packets_in = record->traffic.packets_in;
	message->bytes_in = record->traffic.bytes_in;
	message->packets_out = record->traffic.packets_out;
	message->bytes_out = record->traffic.bytes_out;
}
