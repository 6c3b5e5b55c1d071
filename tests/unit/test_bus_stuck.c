/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * nng's one thread that clears ended connections away can hang for ever (see transport_nng.c). Here it hangs for certain: in
 * a callback of the test. Nothing in such a process can be used afterwards, so each case has one of its own.
 */
#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "bus_fixture.h"

/** A service ends within a second, and the bus is only a part of it. */
#define CLOSE_LIMIT_MSEC 800
/** The guard probes each second and is patient for three. */
#define RUN_MSEC         6500
#define CHILD_LIMIT_SEC  30
#define CHECK_FAILED     99

static void note_pipe(nng_pipe pipe, nng_pipe_ev what, void *context)
{
	(void)what;
	atomic_store((atomic_int *)context, nng_pipe_id(pipe));
}

static void hang(nng_pipe pipe, nng_pipe_ev what, void *context)
{
	(void)pipe;
	(void)what;
	atomic_store((atomic_int *)context, 0);
	for (;;)
		pause();
}

/** In a child, where cmocka is not: its asserts would run the parent's tests there. */
static void must(bool is_true)
{
	if (!is_true)
		_exit(CHECK_FAILED);
}

/** Ends a connection of nng with itself, and its clearing never returns. */
static void hang_the_clearing(void)
{
	static atomic_int pipe;
	nng_socket ends[2];

	must(nng_pair0_open(&ends[0]) == 0);
	must(nng_pair0_open(&ends[1]) == 0);
	nng_pipe_notify(ends[1], NNG_PIPE_EV_ADD_POST, note_pipe, &pipe);
	nng_pipe_notify(ends[1], NNG_PIPE_EV_REM_POST, hang, &pipe);
	must(nng_listen(ends[0], "inproc://stuck", NULL, 0) == 0);
	must(nng_dial(ends[1], "inproc://stuck", NULL, 0) == 0);
	while (atomic_load(&pipe) == 0)
		usleep(1000);
	nng_pipe_close((nng_pipe){.id = (uint32_t)atomic_load(&pipe)});
	while (atomic_load(&pipe) != 0)
		usleep(1000);
}

static const struct bus_handlers no_handlers;

static struct bus *open_service(struct fixture *fixture)
{
	return open_bus_with(fixture, (struct bus_options){.self = TUNNEL_AGENT,
	                                                   .subscribes = BUS_SERVICE(COORDINATOR),
	                                                   .handlers = &no_handlers});
}

static unsigned close_msec(struct bus *bus)
{
	struct timespec before, after;

	clock_gettime(CLOCK_MONOTONIC, &before);
	bus_close(bus);
	clock_gettime(CLOCK_MONOTONIC, &after);
	return (unsigned)((after.tv_sec - before.tv_sec) * 1000 +
	                  (after.tv_nsec - before.tv_nsec) / 1000000);
}

/** A client and a service with a connection between them both close in time. */
static void close_both(struct fixture *fixture, bool is_hanging)
{
	struct bus *service = open_service(fixture);
	struct bus *client =
		open_bus_with(fixture, (struct bus_options){.self = CLI,
	                                                    .subscribes = BUS_SERVICE(TUNNEL_AGENT),
	                                                    .handlers = &no_handlers});

	run_until(fixture->base, 1500, NULL, NULL); /* a heartbeat */
	must(bus_peer_health(client, TUNNEL_AGENT) == VPNSIP__PEER_HEALTH__PEER_UP);
	if (is_hanging)
		hang_the_clearing();
	must(close_msec(client) < CLOSE_LIMIT_MSEC);
	must(close_msec(service) < CLOSE_LIMIT_MSEC);
}

static void run_service(struct fixture *fixture, bool is_hanging)
{
	open_service(fixture);
	run_until(fixture->base, 300, NULL, NULL);
	if (is_hanging)
		hang_the_clearing();
	run_until(fixture->base, RUN_MSEC, NULL, NULL);
}

/** Exit status of a process that does this: 0 at its end; 128 when it does not come to it. */
static int status_of(struct fixture *fixture, void (*work)(struct fixture *, bool), bool is_hanging)
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		alarm(CHILD_LIMIT_SEC);
		work(fixture, is_hanging);
		_exit(EXIT_SUCCESS);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static void a_bus_closes_in_time(void **state)
{
	assert_int_equal(status_of(*state, close_both, false), EXIT_SUCCESS);
}

static void a_bus_closes_in_time_when_nng_hangs(void **state)
{
	assert_int_equal(status_of(*state, close_both, true), EXIT_SUCCESS);
}

static void a_service_runs_on(void **state)
{
	assert_int_equal(status_of(*state, run_service, false), EXIT_SUCCESS);
}

static void a_service_that_sees_no_losses_ends(void **state)
{
	assert_int_equal(status_of(*state, run_service, true), EXIT_FAILURE);
}

#define BUS_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		BUS_TEST(a_bus_closes_in_time),
		BUS_TEST(a_bus_closes_in_time_when_nng_hangs),
		BUS_TEST(a_service_runs_on),
		BUS_TEST(a_service_that_sees_no_losses_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
