/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "bus/bus.h"

static uint64_t now_usec(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static uint64_t system_mono_usec(void *context)
{
	(void)context;
	return now_usec(CLOCK_MONOTONIC);
}

static uint64_t system_wall_usec(void *context)
{
	(void)context;
	return now_usec(CLOCK_REALTIME);
}

static void system_random(void *context, void *octets, size_t size)
{
	uint8_t *next = octets;

	(void)context;
	while (size > 0) {
		ssize_t got = getrandom(next, size, 0);

		if (got <= 0)
			continue; /* interrupted */
		next += got;
		size -= (size_t)got;
	}
}

const struct bus_environment bus_system_environment = {
	.mono_usec = system_mono_usec,
	.wall_usec = system_wall_usec,
	.random = system_random,
};
