/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line against services that answer, hang, or are not there: partial output, in time, and their names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/cli/commands.h"
#include "services/common/service.h"

static char directory[64], run_directory[128], state_directory[128], config_file[128], uid_map[128],
	purged[128];
static pid_t coordinator, tunnel_agent;

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
	fclose(fopen(purged, "we"));
	bus_done(request);
}

static const struct service hanging = {
	.id = VPNSIP__SERVICE__TUNNEL_AGENT,
	.name = "tunnel-agent",
	.user = "",
	.handlers = {.snapshot = hang, .request = take_purge},
};

static pid_t start(const struct service *service)
{
	char *arguments[] = {
		(char *)service->name, (char *)"-c",     config_file,
		(char *)"--run-dir",   run_directory,    (char *)"--state-dir",
		state_directory,       (char *)"--user", (char *)"",
		(char *)"--uid-map",   uid_map,          NULL,
	};
	pid_t process = fork();

	if (process == 0) {
		int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(nowhere, STDERR_FILENO);
		_exit(service_main(service, 11, arguments));
	}
	return process;
}

/** What a command wrote and how it ended. */
struct outcome {
	int status;
	double seconds;
	char out[8192], err[2048];
};

static void read_file(const char *path, char *text, size_t size)
{
	FILE *stream = fopen(path, "re");
	size_t length = stream ? fread(text, 1, size - 1, stream) : 0;

	text[length] = '\0';
	if (stream)
		fclose(stream);
}

/* In a child of its own: the parent stays without nng and may fork again. */
static void run(struct outcome *outcome, bool wants_json, char *const *words, size_t count)
{
	const struct cli cli = {.bus = {.run_directory = run_directory, .uid_map = uid_map},
	                        .wants_json = wants_json,
	                        .is_sure = true};
	struct timespec before, after;
	char out[128], err[128];
	int status;
	pid_t process;

	snprintf(out, sizeof(out), "%s/out", directory);
	snprintf(err, sizeof(err), "%s/err", directory);
	clock_gettime(CLOCK_MONOTONIC, &before);
	process = fork();
	if (process == 0) {
		if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
			_exit(99);
		status = command_execute(&cli, words, count);
		fflush(stdout);
		fflush(stderr);
		_exit(status);
	}
	assert_int_equal(waitpid(process, &status, 0), process);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(WIFEXITED(status));
	outcome->status = WEXITSTATUS(status);
	outcome->seconds = (double)(after.tv_sec - before.tv_sec) +
	                   (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	read_file(out, outcome->out, sizeof(outcome->out));
	read_file(err, outcome->err, sizeof(outcome->err));
}

#define RUN(outcome, wants_json, ...)                          \
	run(outcome, wants_json, (char *const[]){__VA_ARGS__}, \
	    sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_answer(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, false, "show", "vpn-sip", "session");
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
	RUN(&outcome, false, "show", "vpn-sip", "session", "detail");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < 3);
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
	RUN(&outcome, true, "show", "services");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < 3);
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
	RUN(&outcome, false, "call", "0388");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_equal(outcome.err, "vpnsip: there is no peer \"0388\"\n");
	RUN(&outcome, false, "hangup", "all");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.err, "");
}

static void test_purge(void **state)
{
	struct outcome outcome;

	(void)state;
	RUN(&outcome, false, "purge");
	assert_int_equal(outcome.status, CLI_PARTIAL);
	assert_true(outcome.seconds < 3);
	assert_non_null(strstr(outcome.err, "track-agent does not answer; nothing was done"));
	assert_non_null(strstr(outcome.err, "only nat-qos-agent removes them"));
	assert_null(strstr(outcome.err, "tunnel-agent"));
	assert_int_equal(access(purged, F_OK), 0);
}

static bool has_socket(const char *service)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/requests.sock", run_directory, service);
	return access(path, F_OK) == 0;
}

static int stop_services(void **state)
{
	char command[128];

	(void)state;
	kill(coordinator, SIGKILL);
	kill(tunnel_agent, SIGKILL);
	waitpid(coordinator, NULL, 0);
	waitpid(tunnel_agent, NULL, 0);
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static int start_services(void **state)
{
	FILE *stream;

	snprintf(directory, sizeof(directory), "/tmp/vpnsip-test-XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(run_directory, sizeof(run_directory), "%s/run", directory);
	snprintf(state_directory, sizeof(state_directory), "%s/state", directory);
	snprintf(config_file, sizeof(config_file), "%s/vpnsip.conf", directory);
	snprintf(purged, sizeof(purged), "%s/purged", directory);
	stream = fopen(config_file, "we");
	if (!stream)
		return -1;
	fputs("enabled = true\n", stream);
	fclose(stream);
	/* Whoever runs the test is these services. */
	snprintf(uid_map, sizeof(uid_map), "%s/uids", directory);
	stream = fopen(uid_map, "we");
	if (!stream)
		return -1;
	fprintf(stream, "vpnsip-coordinator %u\ntunnel-agent %u\n", getuid(), getuid());
	fclose(stream);
	coordinator = start(&answering);
	tunnel_agent = start(&hanging);
	for (int i = 0; i < 500; i++) {
		if (has_socket("vpnsip-coordinator") && has_socket("tunnel-agent"))
			return 0;
		usleep(10000);
	}
	stop_services(state); /* cmocka does not call it after a failed start */
	return -1;
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
