/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/guard_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* On this machine alone: in its own order of octets. */
struct slot {
	uint64_t number; /* of the Call-ID, counted from 1; 0 = empty */
	uint64_t hash;
};

static int open_file(const char *directory, int flags)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/ended-calls", directory);
	return open(path, flags | O_CLOEXEC, 0600);
}

void guard_memory_read(const char *directory, struct guard *guard)
{
	struct slot slots[GUARD_MEMORY];
	const int fd = open_file(directory, O_RDONLY);
	const ssize_t size = fd >= 0 ? read(fd, slots, sizeof(slots)) : 0;
	const size_t count = size > 0 ? (size_t)size / sizeof(slots[0]) : 0;

	if (fd >= 0)
		close(fd);
	for (size_t i = 0; i < count; i++) {
		if (slots[i].number == 0 || (slots[i].number - 1) % GUARD_MEMORY != i)
			continue;
		guard->ended[i] = slots[i].hash;
		if (slots[i].number > guard->ended_next)
			guard->ended_next = slots[i].number;
	}
}

bool guard_memory_note(const char *directory, const struct guard *guard)
{
	const size_t place = (guard->ended_next - 1) % GUARD_MEMORY;
	const struct slot slot = {guard->ended_next, guard->ended[place]};
	const int fd = open_file(directory, O_WRONLY | O_CREAT);

	if (fd < 0)
		return false;
	const bool is_ok = pwrite(fd, &slot, sizeof(slot), (off_t)(place * sizeof(slot))) ==
	                   sizeof(slot);
	const int error = errno;
	close(fd);
	errno = error;
	return is_ok;
}
