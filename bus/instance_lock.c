/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/instance_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bus/bus.h"

int instance_lock(const char *run_directory, Vpnsip__Service self, char *why, size_t why_size)
{
	const char *name = bus_service_name(self);
	char path[256], holder[16] = "?";
	int lock;

	snprintf(path, sizeof(path), "%s/%s", run_directory, name);
	/* Set-up makes it; in a lab the first start does. Where it cannot be made the open below says why. */
	if (mkdir(path, 02750) != 0 && errno != EEXIST) {
		snprintf(why, why_size, "cannot make %s: %s", path, strerror(errno));
		return -1;
	}
	snprintf(path, sizeof(path), "%s/%s/" INSTANCE_LOCK_FILE, run_directory, name);
	lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (lock < 0) {
		snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
		return -1;
	}
	if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
		ssize_t got = read(lock, holder, sizeof(holder) - 1);

		holder[got > 0 ? got : 0] = '\0';
		holder[strcspn(holder, "\n")] = '\0';
		snprintf(why, why_size, "another instance of %s is running (process %s holds %s)",
		         name, holder, path);
		close(lock);
		return -1;
	}
	if (ftruncate(lock, 0) != 0 || dprintf(lock, "%d\n", (int)getpid()) < 0) {
		snprintf(why, why_size, "cannot write %s: %s", path, strerror(errno));
		close(lock);
		return -1;
	}
	return lock;
}

void instance_lock_announce(int lock)
{
	futimens(lock, NULL);
}
