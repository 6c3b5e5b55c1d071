/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show calls [--since TIME] [--number NUMBER] [--limit N] [--csv] */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/cli/commands.h"
#include "services/cli/show_calls.h"

#define SECOND_USEC   1000000ull
#define PAGE          1000
#define DEFAULT_LIMIT 50

static bool since_age(const char *text, uint64_t now_usec, uint64_t *since_usec)
{
	static const struct {
		char letter;
		unsigned seconds;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}, {'w', 604800}};
	char *end;
	unsigned long long number = strtoull(text, &end, 10);
	uint64_t age_usec;

	if (end == text || text[0] == '-' || !end[0] || end[1] || number > 1000000)
		return false;
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
		if (units[i].letter == *end) {
			age_usec = number * units[i].seconds * SECOND_USEC;
			*since_usec = age_usec < now_usec ? now_usec - age_usec : 0;
			return true;
		}
	return false;
}

bool calls_since(const char *text, uint64_t now_usec, uint64_t *since_usec)
{
	static const char *const forms[] = {"%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S",
	                                    "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"};

	if (since_age(text, now_usec, since_usec))
		return true;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct tm moment = {.tm_isdst = -1};
		const char *end = strptime(text, forms[i], &moment);
		time_t seconds = end && !*end ? mktime(&moment) : (time_t)-1;

		if (seconds >= 0) {
			*since_usec = (uint64_t)seconds * SECOND_USEC;
			return true;
		}
	}
	return false;
}

/* Begun seconds count whole: the sum is never less than what is billed by the second. */
static json_int_t billed_sec(const Vpnsip__CallRecord *record, uint64_t now_usec)
{
	bool is_running = record->end == VPNSIP__RECORD_END__RECORD_RUNNING;
	uint64_t end_usec = is_running ? now_usec : record->ended_at_usec;

	if (!record->answered_at_usec || end_usec <= record->answered_at_usec)
		return 0;
	return (json_int_t)((end_usec - record->answered_at_usec + SECOND_USEC - 1) / SECOND_USEC);
}

static const char *ended_by_name(uint32_t ended_by)
{
	static const char *const names[] = {"", "us", "peer", "carrier"};

	return ended_by < sizeof(names) / sizeof(names[0]) ? names[ended_by] : "";
}

static const char *end_name(Vpnsip__RecordEnd end)
{
	return end == VPNSIP__RECORD_END__RECORD_RUNNING     ? "running"
	       : end == VPNSIP__RECORD_END__RECORD_ESTIMATED ? "estimated"
	                                                     : "exact";
}

static const char *direction_name(Vpnsip__Direction direction)
{
	return direction == VPNSIP__DIRECTION__INCOMING ? "incoming" : "outgoing";
}

json_t *calls_entry_model(const Vpnsip__CallRecord *record, uint64_t now_usec)
{
	json_t *entry = json_pack(
		"{s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:s}", "record",
		(json_int_t)record->record, "direction", direction_name(record->direction),
		"tunnel", model_text(record->tunnel), "local_number",
		model_text(record->local_number), "remote_number",
		model_text(record->remote_number), "sip_call_id", model_text(record->call_id),
		"started_at", model_moment(record->started_at_usec), "answered_at",
		model_moment(record->answered_at_usec), "up_at", model_moment(record->up_at_usec),
		"ended_at", model_moment(record->ended_at_usec), "end", end_name(record->end),
		"ended_by", ended_by_name(record->ended_by));

	json_object_set_new(entry, "cause", model_text(record->cause));
	json_object_set_new(entry, "sip_status", json_integer(record->sip_status));
	json_object_set_new(entry, "billed_sec", json_integer(billed_sec(record, now_usec)));
	json_object_set_new(entry, "negotiated_kbit", json_integer(record->negotiated_kbit));
	json_object_set_new(entry, "packets_in", json_integer((json_int_t)record->packets_in));
	json_object_set_new(entry, "bytes_in", json_integer((json_int_t)record->bytes_in));
	json_object_set_new(entry, "packets_out", json_integer((json_int_t)record->packets_out));
	json_object_set_new(entry, "bytes_out", json_integer((json_int_t)record->bytes_out));
	json_object_set_new(entry, "started_at_usec",
	                    json_integer((json_int_t)record->started_at_usec));
	json_object_set_new(entry, "answered_at_usec",
	                    json_integer((json_int_t)record->answered_at_usec));
	json_object_set_new(entry, "up_at_usec", json_integer((json_int_t)record->up_at_usec));
	json_object_set_new(entry, "ended_at_usec",
	                    json_integer((json_int_t)record->ended_at_usec));
	return entry;
}

json_t *calls_total_model(const json_t *calls)
{
	json_int_t answered = 0, billed = 0, estimated = 0, running = 0;
	const json_t *call;
	size_t index;

	json_array_foreach (calls, index, call) {
		answered += number_of(call, "answered_at_usec") != 0;
		billed += number_of(call, "billed_sec");
		estimated += !strcmp(text_of(call, "end"), "estimated");
		running += !strcmp(text_of(call, "end"), "running");
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I}", "calls", (json_int_t)json_array_size(calls),
	                 "answered", answered, "billed_sec", billed, "estimated", estimated,
	                 "running", running);
}

void show_calls_text(FILE *stream, const json_t *model)
{
	static const char ruler[] = "===================================================="
				    "====================================================";
	const json_t *call, *total = json_object_get(model, "total");
	char duration[32], marked[40];
	size_t index;

	fprintf(stream, "%-8s%-4s%-16s%-21s%-11s%-8s%-12s%-12s%-9s%s\n%s\n", "Call", "Dir",
	        "Remote number", "Start", "Duration", "kbit/s", "Bytes in", "Bytes out", "Ended by",
	        "Cause", ruler);
	json_array_foreach (json_object_get(model, "calls"), index, call) {
		bool is_estimated = !strcmp(text_of(call, "end"), "estimated");
		bool is_running = !strcmp(text_of(call, "end"), "running");
		bool is_answered = number_of(call, "answered_at_usec") != 0;

		snprintf(marked, sizeof(marked), "%s%s", is_estimated ? "~" : "",
		         duration_text(number_of(call, "billed_sec"), duration));
		fprintf(stream, "%-7lld %-3s %-15s %-20s %-10s %-7lld %-11lld %-11lld %-8s %s\n",
		        (long long)number_of(call, "record"),
		        strcmp(text_of(call, "direction"), "incoming") == 0 ? "(R)" : "(I)",
		        text_of(call, "remote_number"), text_of(call, "started_at"),
		        is_answered ? marked : "--", (long long)number_of(call, "negotiated_kbit"),
		        (long long)number_of(call, "bytes_in"),
		        (long long)number_of(call, "bytes_out"),
		        is_running ? "running" : text_of(call, "ended_by"), text_of(call, "cause"));
	}
	fprintf(stream, "Total: %lld calls, %lld answered, %s%lld s billed (%s)",
	        (long long)number_of(total, "calls"), (long long)number_of(total, "answered"),
	        number_of(total, "estimated") ? "~" : "", (long long)number_of(total, "billed_sec"),
	        duration_text(number_of(total, "billed_sec"), duration));
	if (number_of(total, "estimated"))
		fprintf(stream, ", %lld with an estimated end (~)",
		        (long long)number_of(total, "estimated"));
	if (number_of(total, "running"))
		fprintf(stream, ", %lld running", (long long)number_of(total, "running"));
	fputs(flag_of(model, "has_more") ? "; older ones are not shown: --limit or --since\n"
	                                 : "\n",
	      stream);
}

/* RFC 4180. */
static void print_csv_value(FILE *stream, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text) {
		fprintf(stream, "%lld", (long long)json_integer_value(value));
		return;
	}
	fputc('"', stream);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', stream);
		fputc(*text, stream);
	}
	fputc('"', stream);
}

void show_calls_csv(FILE *stream, const json_t *model)
{
	static const char *const columns[] = {
		"record",        "direction",   "tunnel",      "local_number",
		"remote_number", "sip_call_id", "started_at",  "answered_at",
		"up_at",         "ended_at",    "end",         "ended_by",
		"cause",         "sip_status",  "billed_sec",  "negotiated_kbit",
		"packets_in",    "bytes_in",    "packets_out", "bytes_out"};
	const size_t count = sizeof(columns) / sizeof(columns[0]);
	const json_t *call;
	size_t index;

	for (size_t i = 0; i < count; i++)
		fprintf(stream, "%s%s", i ? "," : "", columns[i]);
	fputs("\r\n", stream);
	json_array_foreach (json_object_get(model, "calls"), index, call) {
		for (size_t i = 0; i < count; i++) {
			if (i)
				fputc(',', stream);
			print_csv_value(stream, json_object_get(call, columns[i]));
		}
		fputs("\r\n", stream);
	}
}

/* Asks for one page and adds it, the newest first. The status of the command. */
static int add_page(const struct cli *cli, struct gatherer *gatherer, Vpnsip__GetCallRecords *query,
                    json_t *calls, bool *has_more)
{
	struct ordered ordered = {.to = VPNSIP__SERVICE__COORDINATOR, .order = &query->base};
	uint64_t now_usec = bus_system_environment.wall_usec(bus_system_environment.context);
	const Vpnsip__CallRecordList *list;
	int status = CLI_DONE;
	char why[512];

	gather_ask(gatherer, &ordered, 1, GATHER_TIMEOUT_MSEC);
	if (ordered.outcome != BUS_DONE || !ordered.reply ||
	    ordered.reply->body_case != VPNSIP__ENVELOPE__BODY_CALL_RECORD_LIST) {
		gather_explain_order(&cli->bus, &ordered, GATHER_TIMEOUT_MSEC, why, sizeof(why));
		command_complain("%s", why);
		status = ordered.outcome == BUS_FAILED ? CLI_FAILED : CLI_PARTIAL;
		*has_more = false;
	} else {
		list = ordered.reply->call_record_list;
		for (size_t i = 0; i < list->n_records; i++)
			json_array_append_new(calls, calls_entry_model(list->records[i], now_usec));
		*has_more = list->has_more && list->n_records;
		if (list->n_records)
			query->before_record = list->records[list->n_records - 1]->record;
	}
	gather_forget(&ordered, 1);
	return status;
}

static json_t *oldest_first(const json_t *calls)
{
	json_t *turned = json_array();

	for (size_t i = json_array_size(calls); i > 0; i--)
		json_array_append(turned, json_array_get(calls, i - 1));
	return turned;
}

static int read_query(const struct cli *cli, Vpnsip__GetCallRecords *query,
                      unsigned long long *limit)
{
	const char *since = options_get(cli, "since"), *number = options_get(cli, "number");
	uint64_t now_usec = bus_system_environment.wall_usec(bus_system_environment.context);
	bool is_all = since != NULL;

	if (since && !calls_since(since, now_usec, &query->since_usec)) {
		command_complain("--since \"%s\": expected 2026-01-31, \"2026-01-31 14:00\", 90m, "
		                 "2h or 7d",
		                 since);
		return CLI_FAILED;
	}
	if (number)
		query->remote_number = (char *)number; /* only packed */
	return options_number(cli, "limit", 1, 10000000, is_all ? 10000000 : DEFAULT_LIMIT, limit)
	               ? CLI_DONE
	               : CLI_FAILED;
}

int command_show_calls(const struct cli *cli, const struct words *words)
{
	Vpnsip__GetCallRecords query = VPNSIP__GET_CALL_RECORDS__INIT;
	unsigned long long limit = 0, left;
	json_t *calls, *turned, *model;
	struct gatherer *gatherer;
	bool has_more = true;
	char why[256];
	int status = read_query(cli, &query, &limit);

	(void)words;
	if (status != CLI_DONE)
		return status;
	gatherer = gather_begin(&cli->bus, BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR), why,
	                        sizeof(why));
	if (!gatherer) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	calls = json_array();
	while (status == CLI_DONE && has_more && json_array_size(calls) < limit) {
		left = limit - json_array_size(calls);
		query.limit = left < PAGE ? (uint32_t)left : PAGE;
		status = add_page(cli, gatherer, &query, calls, &has_more);
	}
	gather_end(gatherer);
	if (status == CLI_DONE) {
		turned = oldest_first(calls);
		model = json_pack("{s:o, s:o, s:b}", "calls", turned, "total",
		                  calls_total_model(turned), "has_more", (int)has_more);
		if (options_get(cli, "csv"))
			show_calls_csv(stdout, model);
		else
			command_print(cli, model, show_calls_text);
		json_decref(model);
	}
	json_decref(calls);
	return status;
}
