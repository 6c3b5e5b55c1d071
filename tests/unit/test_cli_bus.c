/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line against services that answer, hang, or are not there: partial output, in time, and their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/cli_fixture.h"

/** Where the hanging service leaves a file when it was told to purge. */
static const char *purged_path(void)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/purged", directory);
	return path;
}

static void send_snapshot(void *context, struct bus_request *request)
{
	Vpnsip__CoordinatorSnapshot snapshot = VPNSIP__COORDINATOR_SNAPSHOT__INIT;
	Vpnsip__SessionChanged session = VPNSIP__SESSION_CHANGED__INIT, *sessions[] = {&session};

	(void)context;
	session.tunnel = (char *)"vsip2";
	session.status = VPNSIP__SESSION_STATUS__READY_TO_CONNECT;
	snapshot.sessions = sessions;
	snapshot.n_sessions = 1;
	bus_reply(request, &snapshot.base);
}

static void take_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	(void)context;
	if (order->body_case == VPNSIP__ENVELOPE__BODY_CONNECT_SESSION)
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "there is no peer \"%s\"",
		         order->connect_session->remote_number);
	else
		bus_done(request);
}

static void hang(void *context, struct bus_request *request)
{
	(void)context;
	(void)request;
	pause();
	_exit(1);
}

static const struct service answering = {
	.id = VPNSIP__SERVICE__COORDINATOR,
	.name = "vpnsip-coordinator",
	.user = "",
	.handlers = {.snapshot = send_snapshot, .request = take_order},
};

/* The only order that the hanging service carries out, before it hangs; it leaves a file. */
static void take_purge(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	(void)context;
	assert_int_equal(order->body_case, VPNSIP__ENVELOPE__BODY_PURGE_TUNNELS);
	fclose(fopen(purged_path(), "we"));
	bus_done(request);
}

static const struct service hanging = {
	.id = VPNSIP__SERVICE__TUNNEL_AGENT,
	.name = "tunnel-agent",
	.user = "",
	.handlers = {.snapshot = hang, .request = take_purge},
};

static void test_answer(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "show", "vpn-sip", "session");
	assert_string_equal(outcome.err, "");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_non_null(
		strstr(outcome.out, "Interface: vsip2\n  Session status: READY_TO_CONNECT\n"));
	assert_true(outcome.seconds < 1);
}

static void test_hanging_service_is_named(void **state)
{
	struct outcome outcome;
	char expected[128];

	(void)state;
	RUN(&outcome, "show", "vpn-sip", "session", "detail");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	assert_non_null(strstr(outcome.out, "Interface: vsip2\n"));
	snprintf(expected, sizeof(expected), "vpnsip: tunnel-agent does not answer (");
	assert_memory_equal(outcome.err, expected, strlen(expected));
	assert_null(strstr(outcome.err, "coordinator"));
}

static void test_json_names_it_too(void **state)
{
	struct outcome outcome;
	json_t *model, *unanswered;

	(void)state;
	RUN(&outcome, "show", "services", "--json");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	model = json_loads(outcome.out, 0, NULL);
	assert_non_null(model);
	unanswered = json_object_get(model, "unanswered");
	assert_int_equal(json_array_size(unanswered), 5);
	assert_string_equal(
		text_of(json_array_get(json_object_get(model, "services"), 0), "health"), "up");
	assert_string_equal(
		text_of(json_array_get(json_object_get(model, "services"), 1), "health"), "absent");
	json_decref(model);
}

static void test_orders(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "call", "0388");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_equal(outcome.err, "vpnsip: there is no peer \"0388\"\n");
	RUN(&outcome, "hangup", "all");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.err, "");
}

static void test_purge(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, "purge");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < BOUNDED_SECONDS);
	assert_non_null(strstr(outcome.err, "track-agent does not answer; nothing was done"));
	assert_non_null(strstr(outcome.err, "only nat-qos-agent removes them"));
	assert_null(strstr(outcome.err, "tunnel-agent"));
	assert_int_equal(access(purged_path(), F_OK), 0);
}

static int start_services(void **state)
{
	static const struct service *const services[] = {&answering, &hanging};

	(void)state;
	return start_scripted(services, 2, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answer),
		cmocka_unit_test(test_purge), /* before somebody hangs */
		cmocka_unit_test(test_hanging_service_is_named),
		cmocka_unit_test(test_json_names_it_too),
		cmocka_unit_test(test_orders),
	};

	return cmocka_run_group_tests(tests, start_services, stop_services);
}
