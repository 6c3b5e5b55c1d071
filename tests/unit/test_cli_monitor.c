/* SPDX-License-Identifier: GPL-3.0-or-later */
/* monitor between two scripted services: what it shows, writes and reads again; that keys never appear. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/cli/monitor.h"
#include "services/common/log.h"
#include "tests/unit/cli_fixture.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* For what must come. A limit, not a measure: it is reached only when the test fails. */
#define LIMIT_SEC 30

static const uint8_t key[16] = {0xde, 0xad, 0xbe, 0xef, 0x01, 0x23, 0x45, 0x67,
                                0x89, 0xab, 0xcd, 0xef, 0xfe, 0xdc, 0xba, 0x98};
#define KEY_TEXT "deadbeef0123456789abcdeffedcba98"

/** An InstallChild with a key, as ike-agent sends it. */
struct child {
	Vpnsip__InstallChild order;
	Vpnsip__InstallSa inbound;
	Vpnsip__Secret secret;
};

static void make_child(struct child *child)
{
	vpnsip__install_child__init(&child->order);
	vpnsip__install_sa__init(&child->inbound);
	vpnsip__secret__init(&child->secret);
	child->secret.octets = (ProtobufCBinaryData){sizeof(key), (uint8_t *)key};
	child->inbound.if_id = 2;
	child->inbound.spi = 0xc5120b49;
	child->inbound.encryption_key = &child->secret;
	child->order.inbound = &child->inbound;
}

static void on_installed(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	if (outcome == BUS_DONE)
		bus_done(context);
	else
		bus_fail(context, VPNSIP__FAILURE_KIND__SYSTEM, "%s", bus_cause(reply));
}

/* Any order makes it install a child; whose reply has the other's, and so the child is there. */
static void install_child(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	const struct service_context *service = context;
	struct child child;

	(void)order;
	make_child(&child);
	bus_call(service->bus, VPNSIP__SERVICE__TUNNEL_AGENT, "vsip2", &child.order.base, 1000,
	         on_installed, request);
}

static void take_child(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	const Vpnsip__InstallSa *inbound = order->install_child->inbound;

	(void)context;
	if (inbound->encryption_key->octets.len == sizeof(key) &&
	    memcmp(inbound->encryption_key->octets.data, key, sizeof(key)) == 0)
		log_line(LOG_NOTICE, "the key has come");
	bus_done(request);
}

static const struct service ike_agent = {
	.id = VPNSIP__SERVICE__IKE_AGENT,
	.name = "ike-agent",
	.user = "",
	.calls = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT),
	.handlers = {.request = install_child},
};

static const struct service tunnel_agent = {
	.id = VPNSIP__SERVICE__TUNNEL_AGENT,
	.name = "tunnel-agent",
	.user = "",
	.handlers = {.request = take_child},
};

static bool is_in(const char *path, const void *octets, size_t size)
{
	static char text[1 << 20];
	FILE *stream = fopen(path, "re");
	size_t length;
	bool is_found;

	assert_non_null(stream);
	length = fread(text, 1, sizeof(text), stream);
	fclose(stream);
	is_found = memmem(text, length, octets, size) != NULL;
	return is_found;
}

/* Runs a monitor that ends by its --count; children are installed, each after the other, until then and one has come. */
static void monitor(const char *out, char *const *words, size_t count)
{
	const time_t limit = time(NULL) + LIMIT_SEC;
	bool is_installed = false, has_ended = false;
	struct outcome trigger;
	char err[128];
	pid_t process;
	int status;

	snprintf(err, sizeof(err), "%s/monitor.err", directory);
	process = begin_command(out, err, words, count);
	while (!(is_installed && has_ended) && time(NULL) < limit) {
		RUN(&trigger, "debug", "ike-agent", "send", "StopIke", "{\"attempt\": 1}");
		is_installed = is_installed || trigger.status == CLI_DONE;
		has_ended = has_ended || waitpid(process, &status, WNOHANG) == process;
	}
	if (!has_ended) {
		kill(process, SIGKILL);
		waitpid(process, &status, 0);
		fail_msg("the monitor saw nothing");
	}
	assert_true(is_installed);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), CLI_DONE);
}

#define MONITOR(out, ...)                                             \
	monitor(out, (char *const[]){(char *)"monitor", __VA_ARGS__}, \
	        1 + sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *))

/* The control comes first: in the message itself the key is there, and it does arrive. */
static void test_no_secret(void **state)
{
	struct child child;
	uint8_t packed[512];
	size_t size;
	char out[128], file[128];
	struct outcome outcome;

	(void)state;
	make_child(&child);
	size = vpnsip__install_child__pack(&child.order, packed);
	assert_non_null(memmem(packed, size, key, sizeof(key)));

	snprintf(out, sizeof(out), "%s/lines", directory);
	MONITOR(out, "--message", "InstallChild", "--count", "1");
	assert_true(is_in(log_file, "the key has come", 16));
	assert_true(is_in(out, "ike-agent -> tunnel-agent request InstallChild vsip2", 50));
	assert_true(is_in(out, "(secret)", 8));
	assert_false(is_in(out, KEY_TEXT, 32));

	MONITOR(out, "--json", "--message", "InstallChild", "--count", "1");
	assert_true(is_in(out, "\"(secret)\"", 10));
	assert_false(is_in(out, KEY_TEXT, 32));

	snprintf(file, sizeof(file), "%s/messages", directory);
	MONITOR(out, "-w", file, "--message", "InstallChild", "--count", "1");
	assert_false(is_in(out, "InstallChild", 12));
	assert_false(is_in(file, key, sizeof(key)));
	RUN(&outcome, "monitor", "-r", file);
	assert_int_equal(outcome.status, CLI_DONE);
	assert_non_null(
		strstr(outcome.out, "ike-agent -> tunnel-agent request InstallChild vsip2"));
	assert_null(strstr(outcome.out, KEY_TEXT));
	RUN(&outcome, "monitor", "-r", file, "--kind", "event");
	assert_int_equal(outcome.status, CLI_DONE);
	assert_string_equal(outcome.out, "");
}

static void test_latency(void **state)
{
	char file[128];
	struct outcome outcome;
	const char *line;

	(void)state;
	snprintf(file, sizeof(file), "%s/messages", directory);
	MONITOR("/dev/null", "-w", file, "--session", "vsip2", "--count", "4");
	RUN(&outcome, "monitor", "-r", file, "--latency");
	line = strstr(outcome.out, "tunnel-agent -> ike-agent reply Done vsip2 (");
	assert_non_null(line);
	assert_memory_equal(strchr(line, '\n') - 4, " ms)", 4);
	/* The first reply's order may have gone before the monitor came. */
	RUN(&outcome, "monitor", "-r", file, "--latency", "--json", "--from", "tunnel-agent");
	assert_non_null(strstr(outcome.out, "\"latency_usec\":"));
	RUN(&outcome, "monitor", "-r", file, "--json", "--from", "tunnel-agent", "--count", "1");
	assert_ptr_equal(strchr(outcome.out, '\n') + 1, outcome.out + strlen(outcome.out));
	RUN(&outcome, "monitor", "-r", file);
	assert_null(strstr(outcome.out, " ms)"));
}

static void test_bad_files(void **state)
{
	char file[128];
	struct outcome outcome;

	(void)state;
	snprintf(file, sizeof(file), "%s/bad", directory);
	RUN(&outcome, "monitor", "-r", "/nowhere");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_string_equal(outcome.err, "vpnsip: /nowhere: No such file or directory\n");
	write_file(file, "something else\n");
	RUN(&outcome, "monitor", "-r", file);
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_non_null(strstr(outcome.err, "is no file of"));
	RUN(&outcome, "monitor", "-w", "/dev/full", "--count", "1");
	assert_int_equal(outcome.status, CLI_FAILED);
	assert_non_null(strstr(outcome.err, "No space left on device"));
}

static int start_services(void **state)
{
	static const struct service *const services[] = {&ike_agent, &tunnel_agent};

	(void)state;
	return start_scripted(services, COUNT(services), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_secret),
		cmocka_unit_test(test_latency),
		cmocka_unit_test(test_bad_files),
	};

	return cmocka_run_group_tests(tests, start_services, stop_services);
}
