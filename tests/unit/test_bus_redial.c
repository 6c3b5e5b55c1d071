/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nng 1.5's dialer stops for good when its listener ends the connection within the handshake, as one does that is killed there.
 * Ours finds the restarted service all the same, and at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/req.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>

#include "bus_fixture.h"

/** A restarted service must be back within this. */
#define BACK_MSEC  1000
/** Several of the pauses between two attempts. */
#define AGAIN_MSEC 4000

/** A socket that listens where a service would. */
static int listen_at(const char *run_directory, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/tunnel-agent/%s", run_directory,
	         name);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/** Takes connections and closes them at once, as a process does that is killed. Returns how many came within `msec`. */
static unsigned take_and_drop(int fd, int msec)
{
	struct pollfd readable = {.fd = fd, .events = POLLIN};
	unsigned count = 0;

	while (poll(&readable, 1, msec) > 0) {
		int connection = accept(fd, NULL, NULL);

		if (connection < 0)
			break;
		close(connection);
		count++;
		msec = AGAIN_MSEC;
	}
	return count;
}

static void make_service_directory(const struct fixture *fixture)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/tunnel-agent", fixture->run_directory);
	assert_int_equal(mkdir(path, 0750), 0);
}

static void a_bare_dialer_dials_once(void **state)
{
	const struct fixture *fixture = *state;
	char url[160];
	nng_socket socket;
	int listening;

	make_service_directory(fixture);
	listening = listen_at(fixture->run_directory, "requests.sock");
	snprintf(url, sizeof(url), "ipc://%s/tunnel-agent/requests.sock", fixture->run_directory);
	assert_int_equal(nng_req0_open(&socket), 0);
	nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 100);
	nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, 200);
	assert_int_equal(nng_dial(socket, url, NULL, NNG_FLAG_NONBLOCK), 0);

	if (take_and_drop(listening, AGAIN_MSEC) > 1)
		print_message("this nng's dialer goes on\n");
	nng_close(socket);
	close(listening);
}

struct seen {
	Vpnsip__Service peer;
	const struct bus *bus;
};

static bool is_up(void *context)
{
	const struct seen *seen = context;

	return bus_peer_health(seen->bus, seen->peer) == VPNSIP__PEER_HEALTH__PEER_UP;
}

static void resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	(void)context;
	(void)peer;
	(void)snapshot;
}

static const struct bus_handlers watching = {.resync = resync};
static const struct bus_handlers silent;

static void a_service_that_died_in_the_handshake_is_found_again(void **state)
{
	struct fixture *fixture = *state;
	struct seen seen = {.peer = TUNNEL_AGENT};
	int events, requests;
	struct bus *ike, *tunnel;

	make_service_directory(fixture);
	events = listen_at(fixture->run_directory, "events.sock");
	requests = listen_at(fixture->run_directory, "requests.sock");
	ike = open_bus_with(fixture, (struct bus_options){.self = IKE_AGENT,
	                                                  .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .handlers = &watching});
	seen.bus = ike;
	for (int i = 0; i < 2; i++) {
		int listening = i == 0 ? events : requests;
		struct pollfd readable = {.fd = listening, .events = POLLIN};

		assert_int_equal(poll(&readable, 1, AGAIN_MSEC), 1);
		close(accept(listening, NULL, NULL));
		close(listening);
	}
	run_until(fixture->base, 300, NULL, NULL);
	assert_false(is_up(&seen));

	tunnel = open_bus_with(fixture,
	                       (struct bus_options){.self = TUNNEL_AGENT, .handlers = &silent});
	assert_true(run_until(fixture->base, BACK_MSEC, is_up, &seen));
	bus_close(tunnel);
	bus_close(ike);
}

static void a_restarted_service_is_back_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct seen seen = {.peer = TUNNEL_AGENT};
	struct bus *ike, *tunnel;

	ike = open_bus_with(fixture, (struct bus_options){.self = IKE_AGENT,
	                                                  .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .handlers = &watching});
	seen.bus = ike;
	/* It was away for so long that nng's pauses have grown. */
	run_until(fixture->base, 3000, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		tunnel = open_bus_with(
			fixture, (struct bus_options){.self = TUNNEL_AGENT, .handlers = &silent});
		assert_true(run_until(fixture->base, BACK_MSEC, is_up, &seen));
		bus_close(tunnel);
		run_until(fixture->base, 200, NULL, NULL);
		assert_false(is_up(&seen));
	}
	bus_close(ike);
}

/** Tells those who watch that tunnel-agent listens, as it does itself. */
static void announce(const struct fixture *fixture)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/tunnel-agent/lock", fixture->run_directory);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	assert_true(fd >= 0);
	assert_int_equal(futimens(fd, NULL), 0);
	close(fd);
}

/*
 * The service has been dialled, and we wait for the service's half of the handshake when the service tells that it listens: to dial anew then
 * would end that connection, and with it, in nng 1.5, the listener.
 */
static void a_connection_within_its_handshake_is_left_alone(void **state)
{
	struct fixture *fixture = *state;
	int listening, connection;
	struct pollfd readable;
	uint8_t greeting[16];
	struct bus *ike;

	make_service_directory(fixture);
	announce(fixture);
	listening = listen_at(fixture->run_directory, "requests.sock");
	ike = open_bus_with(fixture, (struct bus_options){.self = IKE_AGENT,
	                                                  .calls = BUS_SERVICE(TUNNEL_AGENT),
	                                                  .is_listening = true,
	                                                  .handlers = &silent});
	run_until(fixture->base, 300, NULL, NULL);
	announce(fixture);
	run_until(fixture->base, 300, NULL, NULL);
	connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(connection >= 0);
	assert_int_equal(recv(connection, greeting, sizeof(greeting), 0), 8);
	assert_int_equal(recv(connection, greeting, sizeof(greeting), 0), -1);
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(accept(listening, NULL, NULL), -1);

	/* And it was not forgotten that the service listens: when this comes to nothing, the next is tried within a second or so. */
	close(connection);
	readable = (struct pollfd){.fd = listening, .events = POLLIN};
	for (int i = 0; i < 20 && poll(&readable, 1, 0) == 0; i++)
		run_until(fixture->base, 100, NULL, NULL);
	assert_int_equal(poll(&readable, 1, 0), 1);
	bus_close(ike);
	close(listening);
}

#define BUS_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(a_bare_dialer_dials_once),
		BUS_TEST(a_service_that_died_in_the_handshake_is_found_again),
		BUS_TEST(a_restarted_service_is_back_at_once),
		BUS_TEST(a_connection_within_its_handshake_is_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
