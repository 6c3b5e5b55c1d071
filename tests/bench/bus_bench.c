/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The bus beside what it is made of: one measurement a run, printed as a JSON object. tests/bench/bus runs them in turn.
 *
 *   bus_bench seqpacket|nng|bus COUNT CPU CPU    round trips of 200 octets between two processes on these processors
 *   bus_bench events RATE SECONDS                a publisher and a subscriber
 *   bus_bench idle SECONDS                       six services that have nothing to say
 *
 * Root only: it speaks for services.
 */
#include <event2/event.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus.h"

#define MESSAGE_SIZE  200
/** An order with this session is about as large when it is packed. */
#define SESSION_SIZE  130
#define WARM_UP       500
#define DEADLINE_MSEC 2000
#define PEER          VPNSIP__SERVICE__TUNNEL_AGENT
#define TICK_USEC     1000
#define CONNECT_MSEC  1500
#define DRAIN_MSEC    1000

static uint64_t now_nsec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void must(bool is_true, const char *what)
{
	if (is_true)
		return;
	fprintf(stderr, "bus_bench: %s\n", what);
	kill(0, SIGTERM);
	exit(EXIT_FAILURE);
}

static void pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	must(sched_setaffinity(0, sizeof(set), &set) == 0, "cannot pin to that processor");
}

/* Round trips. */

struct trips {
	uint64_t *nsec;
	size_t count, done; /* the first WARM_UP are not counted */
	uint64_t started_nsec;
};

static int compare(const void *one, const void *other)
{
	const uint64_t a = *(const uint64_t *)one, b = *(const uint64_t *)other;

	return (a > b) - (a < b);
}

/** Counts one; true when it was the last. */
static bool note_trip(struct trips *trips)
{
	if (trips->done >= WARM_UP)
		trips->nsec[trips->done - WARM_UP] = now_nsec() - trips->started_nsec;
	return ++trips->done == trips->count + WARM_UP;
}

static void print_trips(const struct trips *trips)
{
	const size_t half = trips->count / 2, most = trips->count * 99 / 100;

	qsort(trips->nsec, trips->count, sizeof(*trips->nsec), compare);
	printf("{\"p50_usec\": %.1f, \"p99_usec\": %.1f}\n", (double)trips->nsec[half] / 1000,
	       (double)trips->nsec[most] / 1000);
}

static void trip_by_seqpacket(struct trips *trips, int processors[2])
{
	char message[MESSAGE_SIZE] = {0};
	int ends[2];

	must(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0, "socketpair");
	if (fork() == 0) {
		pin(processors[1]);
		while (recv(ends[1], message, sizeof(message), 0) > 0)
			send(ends[1], message, sizeof(message), MSG_NOSIGNAL);
	}
	pin(processors[0]);
	do {
		trips->started_nsec = now_nsec();
		send(ends[0], message, sizeof(message), 0);
		must(recv(ends[0], message, sizeof(message), 0) > 0, "recv");
	} while (!note_trip(trips));
}

static void echo_by_nng(const char *url)
{
	nng_socket socket;
	nng_msg *message;

	must(nng_rep0_open(&socket) == 0 && nng_listen(socket, url, NULL, 0) == 0, "nng_listen");
	while (nng_recvmsg(socket, &message, 0) == 0)
		nng_sendmsg(socket, message, 0);
}

static void trip_by_nng(struct trips *trips, int processors[2], const char *directory)
{
	char url[96];
	nng_socket socket;
	nng_msg *message;

	snprintf(url, sizeof(url), "ipc://%s/nng.sock", directory);
	if (fork() == 0) {
		pin(processors[1]);
		echo_by_nng(url);
	}
	pin(processors[0]);
	must(nng_req0_open(&socket) == 0, "nng_req0_open");
	while (nng_dial(socket, url, NULL, 0) != 0)
		usleep(10000);
	nng_msg_alloc(&message, MESSAGE_SIZE);
	do {
		trips->started_nsec = now_nsec();
		must(nng_sendmsg(socket, message, 0) == 0, "nng_sendmsg");
		must(nng_recvmsg(socket, &message, 0) == 0, "nng_recvmsg");
	} while (!note_trip(trips));
}

/* The bus. */

struct bench {
	struct event_base *base;
	struct bus *bus;
	struct trips *trips;
	unsigned long received;
};

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	(void)context;
	(void)order;
	bus_done(request);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	(void)event;
	((struct bench *)context)->received++;
}

static void on_resync(void *context, Vpnsip__Service peer, const Vpnsip__Envelope *snapshot)
{
	(void)context;
	(void)peer;
	(void)snapshot;
}

static void open_bus(struct bench *bench, const char *directory, struct bus_options options)
{
	char why[256];

	bench->base = event_base_new();
	options.run_directory = directory;
	options.base = bench->base;
	options.environment = &bus_system_environment;
	options.is_listening = true;
	options.context = bench;
	bench->bus = bus_open(&options, why, sizeof(why));
	must(bench->bus != NULL, why);
}

static void send_order(struct bench *bench);

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct bench *bench = context;

	must(outcome == BUS_DONE, bus_cause(reply));
	if (note_trip(bench->trips))
		event_base_loopbreak(bench->base);
	else
		send_order(bench);
}

static void send_order(struct bench *bench)
{
	static char session[SESSION_SIZE];
	Vpnsip__OpenTunnel order = VPNSIP__OPEN_TUNNEL__INIT;

	memset(session, 'x', sizeof(session) - 1);
	order.tunnel = "vsip7";
	bench->trips->started_nsec = now_nsec();
	bus_call(bench->bus, PEER, session, &order.base, DEADLINE_MSEC, on_reply, bench);
}

static void trip_by_bus(struct trips *trips, int processors[2], const char *directory)
{
	static const struct bus_handlers handlers = {.request = on_request};
	struct bench bench = {.trips = trips};

	if (fork() == 0) {
		pin(processors[1]);
		open_bus(&bench, directory,
		         (struct bus_options){.self = PEER, .handlers = &handlers});
		event_base_dispatch(bench.base);
	}
	pin(processors[0]);
	usleep(200000);
	open_bus(&bench, directory,
	         (struct bus_options){.self = VPNSIP__SERVICE__COORDINATOR,
	                              .calls = BUS_SERVICE(PEER),
	                              .handlers = &handlers});
	send_order(&bench);
	event_base_dispatch(bench.base);
}

static void measure_trips(const char *how, size_t count, int processors[2], const char *directory)
{
	struct trips trips = {.count = count, .nsec = calloc(count, sizeof(uint64_t))};

	if (strcmp(how, "seqpacket") == 0)
		trip_by_seqpacket(&trips, processors);
	else if (strcmp(how, "nng") == 0)
		trip_by_nng(&trips, processors, directory);
	else
		trip_by_bus(&trips, processors, directory);
	print_trips(&trips);
}

static void stop(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(context);
}

static void run_for(struct bench *bench, unsigned msec)
{
	const struct timeval limit = {.tv_sec = msec / 1000,
	                              .tv_usec = (suseconds_t)(msec % 1000) * 1000};

	event_base_once(bench->base, -1, EV_TIMEOUT, stop, bench->base, &limit);
	event_base_dispatch(bench->base);
}

/** As many events as are due, once a tick. */
static void publish(const char *directory, unsigned long rate, unsigned seconds)
{
	static const struct bus_handlers none;
	Vpnsip__TunnelChanged fact = VPNSIP__TUNNEL_CHANGED__INIT;
	struct bench bench = {0};
	unsigned long sent = 0;
	uint64_t began;

	open_bus(&bench, directory, (struct bus_options){.self = PEER, .handlers = &none});
	run_for(&bench, CONNECT_MSEC);
	fact.tunnel = "vsip7";
	began = now_nsec();
	while (sent < rate * seconds) {
		unsigned long due = (now_nsec() - began) * rate / 1000000000;

		for (; sent < due && sent < rate * seconds; sent++)
			bus_publish(bench.bus, "vsip7", &fact.base);
		usleep(TICK_USEC);
	}
	run_for(&bench, DRAIN_MSEC * 2);
}

static void measure_events(unsigned long rate, unsigned seconds, const char *directory)
{
	static const struct bus_handlers handlers = {.event = on_event};
	struct bench bench = {0};

	if (fork() == 0) {
		publish(directory, rate, seconds);
		_exit(EXIT_SUCCESS);
	}
	open_bus(&bench, directory,
	         (struct bus_options){.self = VPNSIP__SERVICE__COORDINATOR,
	                              .subscribes = BUS_SERVICE(PEER),
	                              .handlers = &handlers});
	run_for(&bench, CONNECT_MSEC + seconds * 1000 + DRAIN_MSEC);
	printf("{\"sent\": %lu, \"received\": %lu}\n", rate * seconds, bench.received);
}

static void measure_idle(unsigned seconds, const char *directory)
{
	static const struct bus_handlers handlers = {.event = on_event, .resync = on_resync};
	const int services = VPNSIP__SERVICE__NAT_QOS_AGENT;
	double used_sec = 0;
	pid_t children[VPNSIP__SERVICE__NAT_QOS_AGENT + 1];

	for (int service = 1; service <= services; service++) {
		struct bench bench = {0};
		struct rusage before, after;

		children[service] = fork();
		if (children[service] != 0)
			continue;
		open_bus(&bench, directory,
		         (struct bus_options){.self = service,
		                              .subscribes = 0x7e & ~BUS_SERVICE(service),
		                              .handlers = &handlers});
		run_for(&bench, CONNECT_MSEC * 2);
		getrusage(RUSAGE_SELF, &before);
		run_for(&bench, seconds * 1000);
		getrusage(RUSAGE_SELF, &after);
		timersub(&after.ru_utime, &before.ru_utime, &after.ru_utime);
		timersub(&after.ru_stime, &before.ru_stime, &after.ru_stime);
		timeradd(&after.ru_utime, &after.ru_stime, &after.ru_utime);
		/* In units of 0.01 % of a processor, up to 2.55 %: what an exit status holds. */
		used_sec = (double)after.ru_utime.tv_sec + (double)after.ru_utime.tv_usec / 1e6;
		_exit((int)(used_sec / seconds * 10000 + 0.5));
	}
	for (int service = 1; service <= services; service++) {
		int status;

		waitpid(children[service], &status, 0);
		used_sec += WEXITSTATUS(status);
	}
	printf("{\"processor_percent_each\": %.2f}\n", used_sec / services / 100);
}

int main(int argc, char **argv)
{
	char directory[] = "/tmp/vpnsip-bench-XXXXXX";
	char removal[64];

	setpgid(0, 0);
	signal(SIGTERM, SIG_DFL);
	must(argc >= 3 && mkdtemp(directory) != NULL, "what is to be measured?");
	if (strcmp(argv[1], "events") == 0 && argc == 4) {
		measure_events(strtoul(argv[2], NULL, 10), (unsigned)atoi(argv[3]), directory);
	} else if (strcmp(argv[1], "idle") == 0) {
		measure_idle((unsigned)atoi(argv[2]), directory);
	} else {
		int processors[2];

		must(argc == 5, "which processors?");
		processors[0] = atoi(argv[3]);
		processors[1] = atoi(argv[4]);
		measure_trips(argv[1], strtoul(argv[2], NULL, 10), processors, directory);
	}
	fflush(stdout);
	snprintf(removal, sizeof(removal), "rm -rf %s", directory);
	must(system(removal) == 0, removal);
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM); /* the other end */
	_exit(EXIT_SUCCESS);
}
