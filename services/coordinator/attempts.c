/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Written down ahead; a restart skips what is left of it. */
#define BLOCK 64

/* Calls in a quick row share one fsync. */
#define FRESH_USEC 1000000

static int write_reserved(const struct attempts *attempts, uint64_t reserved)
{
	char temporary[sizeof(attempts->file) + 4], text[24];
	int length = snprintf(text, sizeof(text), "%" PRIu64 "\n", reserved);
	int fd, result = -1;

	snprintf(temporary, sizeof(temporary), "%s.new", attempts->file);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	if (fd < 0)
		return -1;
	if (write(fd, text, length) == length && fsync(fd) == 0)
		result = 0;
	if (close(fd) != 0)
		result = -1;
	return result ? result : rename(temporary, attempts->file);
}

int attempts_open(struct attempts *attempts, const char *folder)
{
	FILE *file;
	int fields;

	*attempts = (struct attempts){0};
	snprintf(attempts->file, sizeof(attempts->file), "%s/attempts", folder);
	file = fopen(attempts->file, "re");
	if (!file)
		return errno == ENOENT ? 0 : -1;
	fields = fscanf(file, "%" SCNu64, &attempts->last);
	fclose(file);
	if (fields != 1) {
		errno = EINVAL;
		return -1;
	}
	attempts->reserved = attempts->last;
	return 0;
}

void attempts_skip(struct attempts *attempts, uint64_t given)
{
	if (attempts->last < given)
		attempts->last = given;
}

static int reserve(struct attempts *attempts, uint64_t now_usec)
{
	if (write_reserved(attempts, attempts->last + BLOCK) != 0)
		return -1;
	attempts->reserved = attempts->last + BLOCK;
	attempts->written_usec = now_usec;
	return 0;
}

uint64_t attempts_next(struct attempts *attempts, bool is_own_call, uint64_t now_usec)
{
	bool is_fresh = attempts->written_usec && now_usec - attempts->written_usec < FRESH_USEC;
	bool has_numbers = attempts->last < attempts->reserved;

	if ((!has_numbers || (is_own_call && !is_fresh)) && reserve(attempts, now_usec) != 0)
		return 0;
	return ++attempts->last;
}
