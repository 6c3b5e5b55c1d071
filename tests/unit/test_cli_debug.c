/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The debug commands against scripted services: what they send, what they print, and what they refuse with which words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/cli/debug.h"
#include "services/common/log.h"
#include "tests/unit/cli_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void send_coordinator(void *context, struct bus_request *request)
{
	Vpnsip__CoordinatorSnapshot snapshot = VPNSIP__COORDINATOR_SNAPSHOT__INIT;
	Vpnsip__SessionChanged session = VPNSIP__SESSION_CHANGED__INIT, *sessions[] = {&session};

	(void)context;
	session.tunnel = (char *)"vsip2";
	session.remote_number = (char *)"0388884001";
	session.attempt = 12;
	session.status = VPNSIP__SESSION_STATUS__SESSION_UP;
	session.direction = VPNSIP__DIRECTION__OUTGOING;
	snapshot.sessions = sessions;
	snapshot.n_sessions = 1;
	bus_reply(request, &snapshot.base);
}

static void send_records(struct bus_request *request)
{
	Vpnsip__CallRecordList list = VPNSIP__CALL_RECORD_LIST__INIT;
	Vpnsip__CallRecord record = VPNSIP__CALL_RECORD__INIT, *records[] = {&record};

	record.record = 12;
	record.tunnel = (char *)"vsip2";
	record.remote_number = (char *)"0388884001";
	record.direction = VPNSIP__DIRECTION__OUTGOING;
	record.end = VPNSIP__RECORD_END__RECORD_RUNNING;
	list.records = records;
	list.n_records = 1;
	bus_reply(request, &list.base);
}

static void take_coordinator(void *context, struct bus_request *request,
                             const Vpnsip__Envelope *order)
{
	(void)context;
	if (order->body_case == VPNSIP__ENVELOPE__BODY_GET_CALL_RECORDS)
		send_records(request);
	else
		bus_done(request);
}

static void describe(void *context, struct bus_description *description)
{
	(void)context;
	bus_describe(description, "call abc@x: CONFIRMED, vsip2");
	bus_describe_counter(description, "calls.placed", 7);
}

/* Notes in its log what it was ordered, so that the test sees it. */
static void take_sip(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	const struct service_context *service = context;

	if (order->body_case != VPNSIP__ENVELOPE__BODY_PLACE_CALL) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "no");
		return;
	}
	bus_trace(service->bus, order->session, order->place_call->attempt,
	          VPNSIP__TRACE_KIND__TRACE_SIP, "198.51.100.5:5060", false, "INVITE sip:%s",
	          order->place_call->remote_number);
	log_debug(LOG_SIP_MESSAGES, order->session, NULL, "the INVITE");
	log_line(LOG_INFO, "PlaceCall from %s attempt %llu in %s",
	         bus_service_name(bus_request_source(request)),
	         (unsigned long long)order->place_call->attempt, order->session);
	bus_done(request);
}

static const struct service coordinator = {
	.id = VPNSIP__SERVICE__COORDINATOR,
	.name = "vpnsip-coordinator",
	.user = "",
	.handlers = {.snapshot = send_coordinator, .request = take_coordinator},
};

static const struct service sip_agent = {
	.id = VPNSIP__SERVICE__SIP_AGENT,
	.name = "sip-agent",
	.user = "",
	.handlers = {.request = take_sip, .describe = describe},
};

static void hang(void *context, struct bus_description *description)
{
	(void)context;
	(void)description;
	pause();
	_exit(1);
}

static const struct service ike_agent = {
	.id = VPNSIP__SERVICE__IKE_AGENT,
	.name = "ike-agent",
	.user = "",
	.handlers = {.describe = hang},
};

static bool log_has(const char *text)
{
	static char log[65536];

	read_file(log_file, log, sizeof(log));
	return strstr(log, text) != NULL;
}

#define PLACE_CALL "debug", "sip-agent", "send", "PlaceCall"

static void test_state(void **state)
{
	struct outcome outcome;
	json_t *model;

	(void)state;
	RUN(&outcome, "debug", "sip-agent", "state");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_non_null(strstr(outcome.out, "call abc@x: CONFIRMED, vsip2\n"));
	RUN(&outcome, "debug", "sip-agent", "stats", "--json");
	assert_int_equal(outcome.status, CLI_DONE);
	model = json_loads(outcome.out, 0, NULL);
	assert_int_equal(number_of(json_object_get(model, "counters"), "calls.placed"), 7);
	json_decref(model);
}

static void test_peers_and_snapshot(void **state)
{
	struct outcome outcome;
	json_t *model;

	(void)state;
	RUN(&outcome, "debug", "sip-agent", "peers");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_non_null(strstr(outcome.out, "Refused: 0 connections, 0 messages"));
	RUN(&outcome, "debug", "coordinator", "snapshot");
	assert_int_equal(outcome.status, CLI_DONE);
	model = json_loads(outcome.out, 0, NULL);
	assert_string_equal(
		text_of(json_array_get(json_object_get(model, "sessions"), 0), "status"),
		"SESSION_UP");
	json_decref(model);
}

/* The order arrives as if the one permitted sender had sent it, with the session that it names. */
static void test_send(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 12,", "\"tunnel\": \"vsip2\"}");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_non_null(strstr(outcome.out, "\"reply\": \"Done\""));
	assert_true(log_has("PlaceCall from vpnsip-coordinator attempt 12 in vsip2"));
	RUN(&outcome, "debug", "sip-agent", "send", "HangUp", "{}");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_equal(outcome.err, "vpnsip: no\n");
}

static void test_wrong_input(void **state)
{
	static const struct {
		char *words[8];
		const char *complaint;
	} lines[] = {
		{{"debug", "sip-agnt", "state"}, "did you mean 'sip-agent'?"},
		{{PLACE_CALL, "{\"atempt\": 1}"},
	         "PlaceCall has no field 'atempt'; did you mean 'attempt'?"},
		{{PLACE_CALL, "{\"offer\": {\"role\": \"ACTIV\"}}"},
	         "field \"role\": there is no 'ACTIV'; did you mean 'ACTIVE'?"},
		{{PLACE_CALL, "{\"attempt\": true}"}, "field \"attempt\": expected a number"},
		{{PLACE_CALL, "{"}, "no JSON: "},
		{{"debug", "sip-agent", "send", "PlaceCal"}, "did you mean 'PlaceCall'?"},
		{{"debug", "sip-agent", "send", "CallChanged"}, "CallChanged is no order"},
		{{"debug", "ike-agent", "send", "PlaceCall"},
	         "PlaceCall goes to sip-agent, not to ike-agent"},
		{{PLACE_CALL, "--as", "track-agent"},
	         "PlaceCall is sent by vpnsip-coordinator, not by track-agent"},
		{{"debug", "sip-agent", "fault", "send-evnt", "drop"},
	         "did you mean 'send-event'?"},
		{{"debug", "sip-agent", "fault", "send-event", "dorp"}, "did you mean 'drop'?"},
		{{"debug", "sip-agent", "fault", "send-event", "drop", "CalChanged"},
	         "did you mean 'CallChanged'?"},
		{{"debug", "sip-agent", "fault", "send-event", "delay"}, "delay needs --delay MS"},
		{{"debug", "sip-agent", "fault", "send-event", "drop", "--probability", "2"},
	         "--probability: '2' is no number"},
		{{"debug", "sip-agent", "fault", "send-event", "drop", "--count", "x"},
	         "--count: 'x' is no number"},
		{{"debug", "sip-agent", "state", "--count", "1"}, "takes no --count"},
		{{"debug", "vpn-sip", "sip", "mesages"}, "did you mean 'messages'?"},
		{{"debug", "vpn-sip", "sip", "me"}, "ambiguous: 'me' can be 'media' or 'messages'"},
		{{"debug", "vpn-sip", "sip"}, "the command is not complete"},
		{{"debug", "vpn-sip", "event", "vsip3"},
	         "there is no session 'vsip3'; did you mean 'vsip2'?"},
		{{"debug", "vpn-sip", "event", "vsip2", "x"}, "'x' is one word too many"},
		{{"debug", "sip-agent", "log", "off"}, "off what?"},
		{{"debug", "sip-agent", "log", "debgu"}, "or a level: error, warning"},
		{{"monitor", "--message", "CalChanged"}, "did you mean 'CallChanged'?"},
		{{"monitor", "--kind", "answer"}, "'answer' is not event, request or reply"},
		{{"trace", "attempt", "99"}, "attempt 99 is not known"},
		{{"trace", "vsip2", "x"}, "expected a session, a number"},
		{{"health", "sip"}, "there is no service 'sip'"},
		{{"replay", "/nowhere", "coordinator"}, "/nowhere: No such file"},
		{{"replay", "/dev/null", "track-cor"}, "there is no service 'track-cor'"},
	};
	struct outcome outcome;

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		size_t count = 0;

		while (count < COUNT(lines[i].words) && lines[i].words[count])
			count++;
		run(&outcome, lines[i].words, count);
		if (outcome.status != CLI_FAILED || !strstr(outcome.err, lines[i].complaint) ||
		    outcome.out[0])
			fail_msg("expected <%s>, status %d, said <%s>", lines[i].complaint,
			         outcome.status, outcome.err);
	}
}

static void test_faults(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "debug", "sip-agent", "fault", "send-reply", "delay", "Done", "--delay", "1",
	    "--count", "3", "--peer", "coordinator", "--seed", "5");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	RUN(&outcome, "debug", "sip-agent", "faults");
	assert_non_null(strstr(outcome.out, "\nsend-reply      1 ms       Done                "
	                                    "vpnsip-coordinator  any      0     3      1      "
	                                    "0        0         5\n"));
	RUN(&outcome, "debug", "sip-agent", "fault", "clear");
	assert_int_equal(outcome.status, CLI_DONE);
	RUN(&outcome, "debug", "sip-agent", "faults");
	assert_string_equal(outcome.out, "sip-agent has no faults\n");
}

/* Off by default: no line; on: the service writes it and `show debugging` tells; off again: none. */
static void test_switches(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 13, \"tunnel\": \"vsip2\"}");
	assert_false(log_has("the INVITE"));
	RUN(&outcome, "debug", "vpn-sip", "sip", "mess", "0388884001");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.out,
	                    "sip messages debugging is on for vsip2\n"
	                    "Its lines are in the log of sip-agent (standard error, or the "
	                    "journal)\n");
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 14, \"tunnel\": \"vsip3\"}");
	assert_false(log_has("the INVITE"));
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 15, \"tunnel\": \"vsip2\"}");
	assert_true(log_has("the INVITE"));
	RUN(&outcome, "undebug", "vpn-sip", "sip", "all");
	assert_string_equal(outcome.out, "sip all debugging is off\n");
	RUN(&outcome, "debug", "sip-agent", "log", "warning");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.out, "");
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 16}");
	assert_false(log_has("attempt 16"));
	RUN(&outcome, "debug", "sip-agent", "log", "info");
	RUN(&outcome, PLACE_CALL, "{\"attempt\": 17}");
	assert_true(log_has("attempt 17"));
}

/* Four of the six are not there: the others are switched, and each that was not is named. */
static void test_show_debugging(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "debug", "vpn-sip", "errors");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	assert_non_null(strstr(outcome.err, "tunnel-agent does not answer (it is not running)"));
	assert_non_null(strstr(outcome.out, "errors debugging is on\n"));
	RUN(&outcome, "show", "debugging");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	assert_non_null(strstr(outcome.out, "vpnsip-coordinator:\n  errors debugging is on\n"
	                                    "sip-agent:\n  errors debugging is on\n"));
	assert_non_null(strstr(outcome.err, "ike-agent does not answer (silent for "));
	RUN(&outcome, "no", "debug", "all");
	assert_non_null(strstr(outcome.out, "all debugging is off\n"));
}

static void test_recording(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "debug", "sip-agent", "record", "start", "../x");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_not_equal(outcome.err, "");
	RUN(&outcome, "debug", "sip-agent", "record", "start", "run-1");
	assert_string_equal(outcome.err, "");
	RUN(&outcome, "debug", "sip-agent", "record", "stop");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
}

/* A service has half a second to answer, and on a busy machine one may miss it: what is said of those that did not is true then, too. */
#define RUN_UNTIL(outcome, wanted, ...)                                                     \
	for (int tries = 0; tries == 0 || (tries < 5 && !strstr((outcome)->out, (wanted))); \
	     tries++)                                                                       \
	RUN((outcome), __VA_ARGS__)

static void test_trace(void **state)
{
	const char *const invite =
		"sip-agent -> carrier 198.51.100.5:5060: INVITE sip:0388884001\n";
	const char *const listed = "12       vsip2    0388884001      OUTGOING";
	struct outcome outcome;

	(void)state;
	RUN_UNTIL(&outcome, listed, "trace", "--list");
	assert_non_null(strstr(outcome.out, listed));
	RUN(&outcome, PLACE_CALL,
	    "{\"attempt\": 12, \"tunnel\": \"vsip2\", \"remote_number\": \"0388884001\"}");
	for (int i = 0; i < 2; i++) {
		RUN_UNTIL(&outcome, invite, "trace", i ? "vsip2" : "0388884001", "--narrow");
		assert_int_equal(outcome.status, CLI_PARTIAL);
		assert_true(outcome.seconds < BOUNDED_SECONDS);
		assert_non_null(strstr(outcome.out, "vsip2 0388884001: attempt 12, outgoing\n"));
		assert_non_null(strstr(outcome.out, invite));
	}
}

static void test_health(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "health", "sip-agent");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_memory_equal(outcome.out, "sip-agent is up (process ", 25);
	RUN(&outcome, "health", "nat-qos-agent");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_equal(outcome.out, "nat-qos-agent does not answer (it is not running)\n");
	assert_true(outcome.seconds < 2);
	RUN(&outcome, "debug", "ike-agent", "state"); /* hangs from here on */
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	RUN(&outcome, "health", "ike-agent", "--json");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_non_null(strstr(outcome.out, "\"is_healthy\": false"));
	assert_true(outcome.seconds < 2);
}

static void test_shutdown(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "shutdown");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.out, "vsip2 0388884001: SESSION_UP\n"
	                                 "Everything is down. No call is placed until the services "
	                                 "are started again.\n");
}

/* All 19 switches of the guide are understood, each as itself. */
static void test_switches_of_the_guide(void **state)
{
	int count = 0;
	char why[256];

	(void)state;
	for (int i = LOG_EVENT; i <= LOG_SIP_VERBOSE + 1; i++) {
		const char *name = i > LOG_SIP_VERBOSE ? "sip all" : log_category_names[i];
		const char *second = strchr(name, ' ');
		struct words words = {.arguments = {{"SERVICE", "x"}, {"WHAT", "sip"}}, .count = 2};
		struct switch_order order;

		if (second)
			words.arguments[words.count++].value = second + 1;
		else
			words.arguments[1].value = name;
		strcpy(words.arguments[2].name, "WHAT");
		assert_true(switch_read_guide(&words, &order, why, sizeof(why)));
		assert_string_equal(order.category, name);
		assert_null(order.session);
		count++;
	}
	assert_int_equal(count, 19);
}

/* The program of the service takes the command's place: found in PATH, with the file and the configuration. */
static void test_replay(void **state)
{
	char program[128], path[300], *before = getenv("PATH");
	struct outcome outcome;

	(void)state;
	snprintf(program, sizeof(program), "%s/track-agent", directory);
	snprintf(path, sizeof(path), "%s:%s", directory, before);
	before = strdup(before ? before : "");
	assert_int_equal(write_file(program, "#!/bin/sh\necho \"$@\"\nexit 7\n"), 0);
	assert_int_equal(chmod(program, 0700), 0);
	setenv("PATH", path, 1);
	RUN(&outcome, "replay", "/dev/null", "track-core", "-c", "x.conf");
	assert_int_equal(outcome.status, 7);
	assert_string_equal(outcome.out, "--replay /dev/null -c x.conf\n");
	setenv("PATH", directory, 1);
	RUN(&outcome, "replay", "/dev/null", "coordinator");
	setenv("PATH", before, 1);
	free(before);
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_non_null(strstr(outcome.err, "vpnsip-coordinator cannot be started: No such file"));
}

static int start_services(void **state)
{
	static const struct service *const services[] = {&coordinator, &sip_agent, &ike_agent};

	(void)state;
	return start_scripted(services, COUNT(services), true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_peers_and_snapshot),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_wrong_input),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_recording),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_switches_of_the_guide),
		cmocka_unit_test(test_replay),
		cmocka_unit_test(test_shutdown),
		cmocka_unit_test(test_health), /* from here on one hangs */
		cmocka_unit_test(test_show_debugging),
	};

	return cmocka_run_group_tests(tests, start_services, stop_services);
}
