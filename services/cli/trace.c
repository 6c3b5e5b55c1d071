/* SPDX-License-Identifier: GPL-3.0-or-later */
/* trace [WHAT...]: asks all services for their part in one attempt. */
#include "services/cli/trace.h"

#include "services/cli/debug.h"

/** Three rounds; who was silent in the first is not asked again. */
#define FIRST_MSEC 1000
#define LATER_MSEC 500
#define MOST_IDS   64
#define LISTED     100

/** The answers of the first round, in this order. */
enum { RECORDS, COORDINATOR, SIP, FIRST_STATUS, QUESTIONS = FIRST_STATUS + SERVICE_COUNT };

struct first_round {
	struct ordered orders[QUESTIONS];
	uint64_t now_mono_usec;
};

static void ask_first(struct gatherer *gatherer, struct first_round *round)
{
	static const Vpnsip__GetSnapshot snapshot = VPNSIP__GET_SNAPSHOT__INIT;
	static const Vpnsip__GetServiceStatus status = VPNSIP__GET_SERVICE_STATUS__INIT;
	Vpnsip__GetCallRecords records = VPNSIP__GET_CALL_RECORDS__INIT;

	records.limit = TRACE_ATTEMPTS_MAXIMUM / 2;
	*round = (struct first_round){0};
	round->orders[RECORDS] = (struct ordered){.to = VPNSIP__SERVICE__COORDINATOR,
	                                          .order = &records.base};
	round->orders[COORDINATOR] = (struct ordered){.to = VPNSIP__SERVICE__COORDINATOR,
	                                              .order = &snapshot.base};
	round->orders[SIP] = (struct ordered){.to = VPNSIP__SERVICE__SIP_AGENT,
	                                      .order = &snapshot.base};
	for (int i = 0; i < SERVICE_COUNT; i++)
		round->orders[FIRST_STATUS + i] = (struct ordered){
			.to = VPNSIP__SERVICE__COORDINATOR + i, .order = &status.base};
	gather_ask(gatherer, round->orders, QUESTIONS, FIRST_MSEC);
	round->now_mono_usec = bus_system_environment.mono_usec(bus_system_environment.context);
}

static bool has_body(const struct ordered *ordered, Vpnsip__Envelope__BodyCase body)
{
	return ordered->reply && ordered->reply->body_case == body;
}

static void collect(const struct first_round *round, struct trace_attempts *attempts)
{
	const struct ordered *orders = round->orders;

	trace_attempts_collect(
		attempts,
		has_body(&orders[RECORDS], VPNSIP__ENVELOPE__BODY_CALL_RECORD_LIST)
			? orders[RECORDS].reply->call_record_list
			: NULL,
		has_body(&orders[COORDINATOR], VPNSIP__ENVELOPE__BODY_COORDINATOR_SNAPSHOT)
			? orders[COORDINATOR].reply->coordinator_snapshot
			: NULL,
		has_body(&orders[SIP], VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
			? orders[SIP].reply->sip_snapshot
			: NULL);
}

/* Asks those that answered before. The parts point into `orders`. */
static void ask_parts(struct gatherer *gatherer, const struct first_round *round,
                      const Vpnsip__GetTrace *get, struct ordered *orders, struct trace_part *parts)
{
	size_t count = 0;

	for (int i = 0; i < SERVICE_COUNT; i++)
		if (round->orders[FIRST_STATUS + i].reply)
			orders[count++] = (struct ordered){.to = VPNSIP__SERVICE__COORDINATOR + i,
			                                   .order = &get->base};
	gather_ask(gatherer, orders, count, LATER_MSEC);
	for (size_t i = 0, asked = 0; i < SERVICE_COUNT; i++) {
		const struct ordered *status = &round->orders[FIRST_STATUS + i];

		parts[i] = (struct trace_part){.service = status->to};
		if (!status->reply)
			continue;
		parts[i].started_mono_usec = round->now_mono_usec -
		                             (status->reply->service_status->uptime_sec + 1) *
		                                     UINT64_C(1000000);
		if (orders[asked].reply)
			parts[i].trace = orders[asked].reply->trace;
		asked++;
	}
}

static json_t *build(struct gatherer *gatherer, const struct first_round *round,
                     const struct trace_attempt *attempt)
{
	Vpnsip__GetTrace get = VPNSIP__GET_TRACE__INIT;
	struct ordered first[SERVICE_COUNT] = {0}, second[SERVICE_COUNT] = {0};
	struct trace_part parts[SERVICE_COUNT];
	uint64_t ids[MOST_IDS];
	json_t *model;

	get.session = (char *)attempt->session; /* only packed */
	get.attempt = attempt->attempt;
	ask_parts(gatherer, round, &get, first, parts);
	/* An INVITE came before it had an attempt: its trace tells that it belongs here. */
	get.n_trace_ids = trace_ids(parts, SERVICE_COUNT, ids, MOST_IDS);
	get.trace_ids = ids;
	ask_parts(gatherer, round, &get, second, parts);
	model = trace_model(attempt, parts, SERVICE_COUNT);
	gather_forget(first, SERVICE_COUNT);
	gather_forget(second, SERVICE_COUNT);
	return model;
}

static int show(const struct cli *cli, const struct words *words, struct gatherer *gatherer,
                const struct first_round *round)
{
	static struct trace_attempts attempts;
	const struct trace_attempt *attempt = NULL;
	char why[256] = "";
	json_t *model;

	collect(round, &attempts);
	if (options_get(cli, "list")) {
		model = trace_list_model(&attempts, LISTED);
	} else {
		attempt = trace_attempts_find(&attempts, words, why, sizeof(why));
		if (!attempt) {
			command_complain("%s", why);
			return CLI_FAILED;
		}
		model = build(gatherer, round, attempt);
	}
	json_object_set_new(
		model, "unanswered",
		debug_unanswered(cli, &round->orders[FIRST_STATUS], SERVICE_COUNT, FIRST_MSEC));
	command_print(cli, model,
	              !attempt                     ? trace_list_text
	              : options_get(cli, "narrow") ? trace_narrow_text
	                                           : trace_ladder_text);
	json_decref(model);
	return CLI_DONE;
}

int command_trace(const struct cli *cli, const struct words *words)
{
	struct gatherer *gatherer;
	struct first_round round;
	char why[256];
	int status, silent;

	gatherer = gather_begin(&cli->bus, ALL_SERVICES, why, sizeof(why));
	if (!gatherer) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	ask_first(gatherer, &round);
	status = show(cli, words, gatherer, &round);
	silent = debug_complain(cli, &round.orders[FIRST_STATUS], SERVICE_COUNT, FIRST_MSEC);
	if (round.orders[RECORDS].outcome == BUS_FAILED)
		command_complain("call records: %s", round.orders[RECORDS].cause);
	gather_forget(round.orders, QUESTIONS);
	gather_end(gatherer);
	return status == CLI_DONE ? silent : status;
}
