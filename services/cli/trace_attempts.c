/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/cli/session_name.h"
#include "services/cli/trace.h"

static struct trace_attempt *find_attempt(struct trace_attempts *attempts, uint64_t number)
{
	for (size_t i = 0; i < attempts->count; i++)
		if (attempts->list[i].attempt == number)
			return &attempts->list[i];
	return NULL;
}

/* NULL when it has no number, or there are too many. */
static struct trace_attempt *find_or_add(struct trace_attempts *attempts, uint64_t number,
                                         const char *session, const char *remote_number)
{
	struct trace_attempt *attempt = number ? find_attempt(attempts, number) : NULL;

	if (number && !attempt && attempts->count < TRACE_ATTEMPTS_MAXIMUM)
		attempt = &attempts->list[attempts->count++];
	if (!attempt || attempt->attempt)
		return attempt;
	*attempt = (struct trace_attempt){.attempt = number};
	snprintf(attempt->session, sizeof(attempt->session), "%s", session);
	snprintf(attempt->number, sizeof(attempt->number), "%s", remote_number);
	return attempt;
}

static void add_record(struct trace_attempts *attempts, const Vpnsip__CallRecord *record)
{
	struct trace_attempt *attempt = find_or_add(attempts, record->record, record->tunnel,
	                                            record->remote_number);

	if (!attempt)
		return;
	attempt->direction = record->direction;
	attempt->started_at_usec = record->started_at_usec;
	attempt->ended_at_usec = record->ended_at_usec;
	if (record->end != VPNSIP__RECORD_END__RECORD_RUNNING)
		snprintf(attempt->cause, sizeof(attempt->cause), "%s", record->cause);
}

static void add_call(struct trace_attempts *attempts, const Vpnsip__CallChanged *call)
{
	struct trace_attempt *attempt = *call->tunnel
	                                        ? find_or_add(attempts, call->attempt, call->tunnel,
	                                                      call->remote_number)
	                                        : NULL;

	if (!attempt || attempt->started_at_usec)
		return;
	attempt->direction = call->direction;
	attempt->started_at_usec = call->started_at_usec;
	attempt->ended_at_usec = call->ended_at_usec;
	if (call->status == VPNSIP__CALL_STATUS__CALL_ENDED)
		snprintf(attempt->cause, sizeof(attempt->cause), "%s", call->cause);
}

static int newest_first(const void *a, const void *b)
{
	uint64_t first = ((const struct trace_attempt *)a)->attempt;
	uint64_t second = ((const struct trace_attempt *)b)->attempt;

	return first > second ? -1 : first < second;
}

void trace_attempts_collect(struct trace_attempts *attempts, const Vpnsip__CallRecordList *records,
                            const Vpnsip__CoordinatorSnapshot *coordinator,
                            const Vpnsip__SipSnapshot *sip)
{
	attempts->count = 0;
	for (size_t i = 0; records && i < records->n_records; i++)
		add_record(attempts, records->records[i]);
	for (size_t i = 0; coordinator && i < coordinator->n_sessions; i++) {
		const Vpnsip__SessionChanged *session = coordinator->sessions[i];
		struct trace_attempt *attempt = find_or_add(
			attempts, session->attempt, session->tunnel, session->remote_number);

		if (attempt && !attempt->direction)
			attempt->direction = session->direction;
	}
	for (size_t i = 0; sip && i < sip->n_calls; i++)
		add_call(attempts, sip->calls[i]);
	qsort(attempts->list, attempts->count, sizeof(attempts->list[0]), newest_first);
}

static const struct trace_attempt *newest_of(const struct trace_attempts *attempts,
                                             const char *name)
{
	for (size_t i = 0; i < attempts->count; i++)
		if (!name || strcmp(attempts->list[i].session, name) == 0 ||
		    strcmp(attempts->list[i].number, name) == 0)
			return &attempts->list[i];
	return NULL;
}

const struct trace_attempt *trace_attempts_find(const struct trace_attempts *attempts,
                                                const struct words *words, char *why,
                                                size_t why_size)
{
	const char *what = words->count ? words->arguments[0].value : "last";
	const char *number = words->count > 1 ? words->arguments[1].value : NULL;
	const struct trace_attempt *found = NULL;

	if (words->count > 2 || (number && strcmp(what, "attempt") != 0) ||
	    (!number && strcmp(what, "attempt") == 0)) {
		snprintf(why, why_size, "expected a session, a number, 'attempt N' or 'last'");
		return NULL;
	}
	if (!number) {
		found = newest_of(attempts, strcmp(what, "last") == 0 ? NULL : what);
		if (!found)
			snprintf(why, why_size,
			         "no attempt %s%s is known; 'vpnsip trace --list' "
			         "shows those that are",
			         strcmp(what, "last") == 0 ? "at all" : "of ",
			         strcmp(what, "last") == 0 ? "" : what);
		return found;
	}
	for (size_t i = 0; session_is_number(number) && i < attempts->count && !found; i++)
		if (attempts->list[i].attempt == strtoull(number, NULL, 10))
			found = &attempts->list[i];
	if (!found)
		snprintf(why, why_size,
		         "attempt %s is not known; 'vpnsip trace --list' shows those that are",
		         number);
	return found;
}

json_t *trace_list_model(const struct trace_attempts *attempts, size_t limit)
{
	json_t *list = json_array();

	for (size_t i = 0; i < attempts->count && i < limit; i++) {
		const struct trace_attempt *attempt = &attempts->list[i];

		json_array_append_new(
			list, json_pack("{s:I, s:o, s:o, s:o, s:I, s:I, s:o}", "attempt",
		                        (json_int_t)attempt->attempt, "session",
		                        model_text(attempt->session), "number",
		                        model_text(attempt->number), "direction",
		                        model_enum(&vpnsip__direction__descriptor,
		                                   attempt->direction, ""),
		                        "started_at_usec", (json_int_t)attempt->started_at_usec,
		                        "ended_at_usec", (json_int_t)attempt->ended_at_usec,
		                        "cause", model_text(attempt->cause)));
	}
	return json_pack("{s:o}", "attempts", list);
}

void trace_list_text(FILE *stream, const json_t *model)
{
	const json_t *attempt;
	size_t index;

	fputs("Attempt  Session  Number          Direction  Started              Cause\n", stream);
	json_array_foreach (json_object_get(model, "attempts"), index, attempt) {
		time_t seconds = (time_t)(number_of(attempt, "started_at_usec") / 1000000);
		const char *cause = text_of(attempt, "cause");
		char when[32] = "-";
		struct tm local;

		if (seconds && localtime_r(&seconds, &local))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
		fprintf(stream, "%-9lld%-9s%-16s%-11s%-21s%s\n",
		        (long long)number_of(attempt, "attempt"), text_of(attempt, "session"),
		        text_of(attempt, "number"), text_of(attempt, "direction"), when,
		        *cause                                ? cause
		        : number_of(attempt, "ended_at_usec") ? "-"
		                                              : "(running)");
	}
}
