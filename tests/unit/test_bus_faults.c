/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Peers that die, stop, lie or talk nonsense. A peer that must be a process of its own is this program started again
 * with the run directory as its argument.
 */
#include <spawn.h>

#include "bus_faults_scene.h"

/* The process of its own: a tunnel-agent that never answers an order. */

static int be_the_peer(const char *run_directory)
{
	struct tunnel tunnel = {.is_holding = true};
	struct event_base *base = event_base_new();
	char why[256];

	tunnel.bus = bus_open(&(struct bus_options){.self = TUNNEL_AGENT,
	                                            .run_directory = run_directory,
	                                            .base = base,
	                                            .environment = &bus_system_environment,
	                                            .is_listening = true,
	                                            .handlers = &tunnel_handlers,
	                                            .context = &tunnel},
	                      why, sizeof(why));
	if (tunnel.bus == NULL)
		return 1;
	return event_base_dispatch(base);
}

static pid_t start_peer(struct fixture *fixture)
{
	char *arguments[] = {"peer", fixture->run_directory, NULL};
	pid_t child;

	assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, arguments, environ), 0);
	return child;
}

static void end_peer(pid_t child)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

static void a_killed_peer_is_lost_at_once(void **state)
{
	struct fixture *fixture = *state;
	struct watcher watcher = {0};
	pid_t child = start_peer(fixture);

	open_watcher(fixture, &watcher);
	assert_true(run_until(fixture->base, 5000, is_set, &watcher.is_up));
	order(&watcher, 5000);
	run_until(fixture->base, 100, NULL, NULL);
	assert_false(watcher.reply.is_there);
	end_peer(child);
	assert_true(run_until(fixture->base, 500, is_set, &watcher.reply.is_there));
	assert_int_equal(watcher.reply.outcome, BUS_LOST);
	assert_string_equal(watcher.reply.cause, "tunnel-agent went away while it had CheckTunnel");
	assert_true(run_until(fixture->base, 500, is_set, &watcher.is_absent));

	child = start_peer(fixture);
	assert_true(run_until(fixture->base, 5000, is_set, &watcher.is_up));
	end_peer(child);
	bus_close(watcher.bus);
}

static void a_stopped_peer_is_silent_after_three_seconds(void **state)
{
	struct fixture *fixture = *state;
	struct watcher watcher = {0};
	pid_t child = start_peer(fixture);
	uint64_t stopped_usec;

	open_watcher(fixture, &watcher);
	assert_true(run_until(fixture->base, 5000, is_set, &watcher.is_up));
	kill(child, SIGSTOP);
	stopped_usec = bus_system_environment.mono_usec(NULL);
	assert_true(run_until(fixture->base, 5300, is_set, &watcher.is_silent));
	/* Its last heartbeat was heard up to a second before. */
	assert_true(bus_system_environment.mono_usec(NULL) - stopped_usec > 1800000);
	order(&watcher, 200);
	assert_true(run_until(fixture->base, 500, is_set, &watcher.reply.is_there));
	assert_int_equal(watcher.reply.outcome, BUS_TIMED_OUT);
	assert_non_null(strstr(watcher.reply.cause,
	                       "tunnel-agent did not answer CheckTunnel within "
	                       "200 ms: it has not been heard for"));
	kill(child, SIGCONT);
	assert_true(run_until(fixture->base, 2000, is_set, &watcher.is_up));
	end_peer(child);
	bus_close(watcher.bus);
}

/* Messages that the library would not send. */

struct awaited {
	int fd;
	Vpnsip__Envelope *reply;
};

static bool is_received(void *context)
{
	struct awaited *awaited = context;

	if (awaited->reply == NULL)
		awaited->reply = sp_receive_reply(awaited->fd);
	return awaited->reply != NULL;
}

static Vpnsip__Envelope *exchange(struct fixture *fixture, int fd, const Vpnsip__Envelope *order)
{
	struct awaited awaited = {.fd = fd};

	sp_send_envelope(fd, order);
	run_until(fixture->base, 1000, is_received, &awaited);
	return awaited.reply;
}

static void forge(Vpnsip__Envelope *envelope, Vpnsip__CheckTunnel *check)
{
	vpnsip__envelope__init(envelope);
	vpnsip__check_tunnel__init(check);
	envelope->kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope->source = COORDINATOR;
	envelope->epoch = 4711;
	envelope->request_id = 1;
	envelope->body_case = VPNSIP__ENVELOPE__BODY_CHECK_TUNNEL;
	envelope->check_tunnel = check;
}

static void assert_reply(struct fixture *fixture, int fd, const Vpnsip__Envelope *order,
                         const char *cause)
{
	Vpnsip__Envelope *reply = exchange(fixture, fd, order);

	assert_non_null(reply);
	assert_int_equal(reply->request_id, order->request_id);
	assert_string_equal(bus_cause(reply), cause);
	if (cause[0] == '\0')
		assert_int_equal(reply->body_case, VPNSIP__ENVELOPE__BODY_DONE);
	bus_free_envelope(reply);
}

static void a_repeated_order_is_carried_out_once(void **state)
{
	struct fixture *fixture = *state;
	struct tunnel tunnel = {0};
	Vpnsip__Envelope envelope;
	Vpnsip__CheckTunnel check;
	int fd;

	open_tunnel(fixture, &tunnel);
	fd = sp_connect(fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	assert_true(fd >= 0);
	forge(&envelope, &check);
	assert_reply(fixture, fd, &envelope, "");
	assert_reply(fixture, fd, &envelope, "");
	assert_int_equal(tunnel.orders, 1);
	envelope.request_id = 2;
	assert_reply(fixture, fd, &envelope, "");
	envelope.epoch++;
	assert_reply(fixture, fd, &envelope, "");
	assert_int_equal(tunnel.orders, 3);

	/* Again while the first is still under way; its own reply is kept all the same. */
	tunnel.is_holding = true;
	envelope.request_id = 3;
	assert_null(exchange(fixture, fd, &envelope));
	assert_reply(fixture, fd, &envelope, "CheckTunnel is being carried out");
	bus_done(tunnel.held);
	run_until(fixture->base, 50, NULL, NULL);
	bus_free_envelope(sp_receive_reply(fd));
	assert_reply(fixture, fd, &envelope, "");
	assert_int_equal(tunnel.orders, 4);
	close(fd);
	bus_close(tunnel.bus);
}

static void an_order_after_its_deadline_is_not_carried_out(void **state)
{
	struct fixture *fixture = *state;
	struct tunnel tunnel = {0};
	Vpnsip__Envelope envelope;
	Vpnsip__CheckTunnel check;
	int fd;

	open_tunnel(fixture, &tunnel);
	fd = sp_connect(fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	forge(&envelope, &check);
	envelope.deadline_mono_usec = bus_mono_usec(tunnel.bus) - 1;
	assert_reply(fixture, fd, &envelope, "CheckTunnel came after its deadline");
	assert_int_equal(tunnel.orders, 0);
	envelope.request_id = 2;
	envelope.deadline_mono_usec = bus_mono_usec(tunnel.bus) + 1000000;
	assert_reply(fixture, fd, &envelope, "");
	assert_int_equal(tunnel.orders, 1);
	close(fd);
	bus_close(tunnel.bus);
}

static void what_must_not_be_sent_is_refused_by_the_receiver(void **state)
{
	struct fixture *fixture = *state;
	struct tunnel tunnel = {0};
	Vpnsip__Envelope envelope;
	Vpnsip__CheckTunnel check;
	int fd;

	open_tunnel(fixture, &tunnel);
	fd = sp_connect(fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	forge(&envelope, &check);
	envelope.source = SIP_AGENT;
	assert_reply(fixture, fd, &envelope, "sip-agent may not send CheckTunnel to tunnel-agent");
	envelope.source = CLI;
	assert_reply(fixture, fd, &envelope, "vpnsip may not send CheckTunnel to tunnel-agent");
	assert_int_equal(tunnel.orders, 0);
	assert_int_equal(tunnel.bus->counters.refused_messages, 2);
	envelope.source = COORDINATOR;
	assert_reply(fixture, fd, &envelope, "");
	close(fd);
	bus_close(tunnel.bus);
}

#define STRANGER 65534

static int connect_as_stranger(struct fixture *fixture)
{
	char path[256];
	int fd;

	chmod(fixture->run_directory, 0755);
	snprintf(path, sizeof(path), "%s/tunnel-agent", fixture->run_directory);
	chmod(path, 0755);
	snprintf(path, sizeof(path), "%s/tunnel-agent/requests.sock", fixture->run_directory);
	chmod(path, 0666);
	assert_int_equal(seteuid(STRANGER), 0);
	fd = sp_connect(fixture->run_directory, "tunnel-agent", "requests.sock", SP_REQ);
	assert_int_equal(seteuid(0), 0);
	assert_true(fd >= 0);
	return fd;
}

static void a_sender_is_its_uid(void **state)
{
	struct fixture *fixture = *state;
	struct tunnel tunnel = {0};
	Vpnsip__Envelope envelope;
	Vpnsip__CheckTunnel check;
	int fd;

	if (getuid() != 0)
		skip();
	open_tunnel(fixture, &tunnel);
	fd = connect_as_stranger(fixture);
	forge(&envelope, &check);
	assert_reply(fixture, fd, &envelope,
	             "vpnsip-coordinator may not send CheckTunnel to tunnel-agent");
	assert_int_equal(tunnel.orders, 0);

	/* The same connection, once that uid is the coordinator's. */
	tunnel.bus->identity.is_known[COORDINATOR] = true;
	tunnel.bus->identity.uid[COORDINATOR] = STRANGER;
	envelope.request_id = 2;
	assert_reply(fixture, fd, &envelope, "");
	close(fd);
	bus_close(tunnel.bus);
}

static void a_socket_of_a_stranger_is_not_used(void **state)
{
	struct fixture *fixture = *state;
	struct watcher watcher = {0};
	char map[96], why[256];
	struct identity identity;
	FILE *stream;

	snprintf(map, sizeof(map), "%s/uids", fixture->run_directory);
	stream = fopen(map, "w");
	fprintf(stream, "# lab\ntunnel-agent %d\n\nsip-agent 1234 # it\n", STRANGER);
	fclose(stream);
	assert_int_equal(identity_load(&identity, map, why, sizeof(why)), 0);
	assert_true(identity_admits(&identity, TUNNEL_AGENT, STRANGER));
	assert_true(identity_admits(&identity, TUNNEL_AGENT, 0));
	assert_true(identity_admits(&identity, CLI, 4321));
	assert_false(identity_admits(&identity, TUNNEL_AGENT, 1234));
	assert_false(identity_admits(&identity, COORDINATOR, STRANGER));

	stream = fopen(map, "w");
	fprintf(stream, "sip-agent 1234\ntunel-agent 1\n");
	fclose(stream);
	assert_int_equal(identity_load(&identity, map, why, sizeof(why)), -1);
	assert_non_null(strstr(why, "uids:2: expected a service and a user id"));

	if (getuid() != 0)
		skip();
	/* The listener belongs to nobody: a dialler that knows tunnel-agent by another uid refuses it. */
	chmod(fixture->run_directory, 0777);
	assert_int_equal(seteuid(STRANGER), 0);
	pid_t child = start_peer(fixture);
	assert_int_equal(seteuid(0), 0);
	open_watcher(fixture, &watcher);
	assert_false(run_until(fixture->base, 1500, is_set, &watcher.is_up));
	assert_true(watcher.bus->counters.refused_peers > 0);

	/* The same socket, once that uid is tunnel-agent's. */
	watcher.bus->identity.is_known[TUNNEL_AGENT] = true;
	watcher.bus->identity.uid[TUNNEL_AGENT] = STRANGER;
	assert_true(run_until(fixture->base, 3000, is_set, &watcher.is_up));
	end_peer(child);
	bus_close(watcher.bus);
}

/** So many of the last come as far as the decoder, on the socket for requests. */
#define UNDECODABLE 2

static const struct {
	const char *octets;
	size_t size;
} nonsense[] = {
	{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
	{"\0SP\0\0\x10\0\0", 8},              /* another protocol */
	{"\0SP\0\0\x30\0\0\x09xxxxxxxx", 17}, /* unknown type */
	{"\0SP\0\0\x30\0\0\x01\0\0\0\0\0\0\0\x03"
         "abc",
         20}, /* shorter than a request id */
	{"\0SP\0\0\x30\0\0\x01\0\0\0\0\0\0\0\x08"
         "\x01\x01\x01\x01qqqq",
         25},                                           /* no request id */
	{"\0SP\0\0\x30\0\0\x01\x40\0\0\0\0\0\0\0", 17}, /* 2^62 octets */
	{"\0SP\0\0\x30\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff", 17},
	{"\0SP\0\0\x30\0\0\x01\0\0\0\x02\0\0\0\0", 17}, /* 8 GiB */
	{"\0SP\0\0\x30\0\0\x01\0\0\0\0\0\0\0\x0c"
         "\x80\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xff",
         29},                                                       /* not protobuf */
	{"\0SP\0\0\x30\0\0\x01\0\0\0\0\0\0\0\x04\x80\0\0\x01", 21}, /* an empty envelope */
};

/** The listener has seen what is wrong and hung up. */
static bool is_hung_up(void *context)
{
	uint8_t octet;
	ssize_t got;

	while ((got = recv(*(int *)context, &octet, sizeof(octet), MSG_DONTWAIT)) > 0)
		continue; /* its greeting */
	return got == 0 || errno == ECONNRESET;
}

static void nonsense_on_the_sockets_harms_nobody(void **state)
{
	struct fixture *fixture = *state;
	struct watcher watcher = {0};
	struct tunnel tunnel = {0};
	const unsigned count = sizeof(nonsense) / sizeof(nonsense[0]);
	struct expected_undecodable expected = {0};
	uint8_t noise[4096];

	open_tunnel(fixture, &tunnel);
	expected.counter = &tunnel.bus->counters.undecodable_messages;
	open_watcher(fixture, &watcher);
	assert_serves(fixture, &watcher);
	for (unsigned i = 0; i < 2 * count; i++) {
		int fd = sp_connect_bare(fixture->run_directory, "tunnel-agent",
		                         i % 2 == 0 ? "requests.sock" : "events.sock");

		assert_true(fd >= 0);
		send(fd, nonsense[i / 2].octets, nonsense[i / 2].size, MSG_NOSIGNAL);
		/* Noise right behind it would end the connection, and a message whose sender is gone is dropped. */
		if (i / 2 >= count - UNDECODABLE && i % 2 == 0) {
			expected.count++;
			assert_true(run_until(fixture->base, 5000, is_undecodable, &expected));
		}
		bus_random(tunnel.bus, noise, sizeof(noise));
		send(fd, noise, sizeof(noise), MSG_NOSIGNAL | MSG_DONTWAIT);
		run_until(fixture->base, 1000, is_hung_up, &fd);
		close(fd);
	}
	assert_serves(fixture, &watcher);
	assert_int_equal(expected.count, UNDECODABLE);
	assert_int_equal(tunnel.orders, 2);
	bus_close(watcher.bus);
	bus_close(tunnel.bus);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(a_killed_peer_is_lost_at_once),
		BUS_TEST(a_stopped_peer_is_silent_after_three_seconds),
		BUS_TEST(a_repeated_order_is_carried_out_once),
		BUS_TEST(an_order_after_its_deadline_is_not_carried_out),
		BUS_TEST(what_must_not_be_sent_is_refused_by_the_receiver),
		BUS_TEST(a_sender_is_its_uid),
		BUS_TEST(a_socket_of_a_stranger_is_not_used),
		BUS_TEST(nonsense_on_the_sockets_harms_nobody),
	};

	if (argc > 1)
		return be_the_peer(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
