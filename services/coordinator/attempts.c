/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/attempts.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* One fsync per block, not per call; a restart skips what is left of it. */
#define BLOCK 64

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

uint64_t attempts_next(struct attempts *attempts)
{
	if (attempts->last >= attempts->reserved) {
		if (write_reserved(attempts, attempts->last + BLOCK) != 0)
			return 0;
		attempts->reserved = attempts->last + BLOCK;
	}
	return ++attempts->last;
}
