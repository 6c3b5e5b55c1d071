/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/leaderless.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "services/common/log.h"

#define USEC_PER_SEC      1000000ULL
/* A coordinator that was started with us must have its chance to be heard. */
#define SHORTEST_WAIT_SEC 5

static void name_file(char path[PATH_MAX], const char *state_directory)
{
	snprintf(path, PATH_MAX, "%s/leaderless", state_directory);
}

uint64_t leaderless_wait_usec(uint64_t since_usec, uint64_t now_usec)
{
	const uint64_t limit = LEADERLESS_LIMIT_SEC * USEC_PER_SEC;
	const uint64_t shortest = SHORTEST_WAIT_SEC * USEC_PER_SEC;

	/* A clock that was set back says nothing. */
	if (since_usec == 0 || since_usec > now_usec)
		return limit;
	if (now_usec - since_usec + shortest > limit)
		return shortest;
	return limit - (now_usec - since_usec);
}

uint64_t leaderless_read(const char *state_directory)
{
	char path[PATH_MAX];
	uint64_t since_usec = 0;

	name_file(path, state_directory);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &since_usec) != 1)
		since_usec = 0;
	fclose(file);
	return since_usec;
}

void leaderless_write(const char *state_directory, uint64_t since_usec)
{
	char path[PATH_MAX];

	name_file(path, state_directory);
	if (since_usec == 0) {
		unlink(path);
		return;
	}
	FILE *file = fopen(path, "we");
	if (!file || fprintf(file, "%" PRIu64 "\n", since_usec) < 0)
		log_line(LOG_WARNING, "cannot write %s: %m", path);
	if (file)
		fclose(file);
}
