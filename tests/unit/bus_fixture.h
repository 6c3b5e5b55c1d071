/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Buses of several services in one process, on one loop, in a run directory of their own. */
#ifndef VPNSIP_TEST_BUS_FIXTURE_H
#define VPNSIP_TEST_BUS_FIXTURE_H

#include <dirent.h>
#include <event2/event.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bus/bus.h"

#define COORDINATOR  VPNSIP__SERVICE__COORDINATOR
#define SIP_AGENT    VPNSIP__SERVICE__SIP_AGENT
#define IKE_AGENT    VPNSIP__SERVICE__IKE_AGENT
#define TUNNEL_AGENT VPNSIP__SERVICE__TUNNEL_AGENT
#define CLI          VPNSIP__SERVICE__CLI

struct fixture {
	struct event_base *base;
	char run_directory[64];
};

static inline int fixture_set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));

	strcpy(fixture->run_directory, "/tmp/vpnsip-bus-XXXXXX");
	assert_non_null(mkdtemp(fixture->run_directory));
	fixture->base = event_base_new();
	*state = fixture;
	return 0;
}

static inline void remove_tree(const char *path)
{
	DIR *directory = opendir(path);
	struct dirent *entry;
	char below[512];

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		if (entry->d_type == DT_DIR)
			remove_tree(below);
		else
			unlink(below);
	}
	if (directory != NULL)
		closedir(directory);
	rmdir(path);
}

static inline int fixture_tear_down(void **state)
{
	struct fixture *fixture = *state;

	event_base_free(fixture->base);
	remove_tree(fixture->run_directory);
	free(fixture);
	return 0;
}

static inline void on_turn_over(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	event_base_loopbreak(context);
}

/** Runs the loop until `condition(context)`, or for at most `msec`. Tells whether it became true. */
static inline bool run_until(struct event_base *base, unsigned msec,
                             bool (*condition)(void *context), void *context)
{
	const struct timeval slice = {.tv_usec = 2000};
	struct event *turn = event_new(base, -1, EV_PERSIST, on_turn_over, base);
	unsigned passed;

	event_add(turn, &slice);
	for (passed = 0; passed < msec; passed += 2) {
		if (condition != NULL && condition(context))
			break;
		event_base_dispatch(base);
	}
	event_free(turn);
	return condition != NULL && condition(context);
}

static inline bool is_set(void *context)
{
	return *(const int *)context != 0;
}

struct expected_count {
	const uint64_t *counter;
	uint64_t count;
};

static inline bool is_counted(void *context)
{
	const struct expected_count *expected = context;

	return *expected->counter >= expected->count;
}

struct expected_undecodable {
	const _Atomic uint64_t *counter;
	uint64_t count;
};

static inline bool is_undecodable(void *context)
{
	const struct expected_undecodable *expected = context;

	return *expected->counter >= expected->count;
}

static inline struct bus *open_bus_with(struct fixture *fixture, struct bus_options options)
{
	char why[256];
	struct bus *bus;

	options.run_directory = fixture->run_directory;
	options.base = fixture->base;
	if (options.environment == NULL)
		options.environment = &bus_system_environment;
	options.is_listening = options.self != CLI;
	bus = bus_open(&options, why, sizeof(why));
	if (bus == NULL)
		fail_msg("bus_open: %s", why);
	return bus;
}

#endif
