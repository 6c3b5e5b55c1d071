/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/sofia_loop.h"

#include <dirent.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/log.h"

#define STEPS_PER_WAKE     4
#define LONGEST_SLEEP_MSEC 60000
#define FD_MAXIMUM         1024

struct sofia_loop {
	struct event_base *base;
	su_root_t *root;
	struct event *readable, *timer;
};

/*
 * Runs what is ready. su_root_step() returns 0 also when it did something, so it is asked a few
 * times and then later.
 */
static void step(evutil_socket_t fd, short what, void *context)
{
	struct sofia_loop *loop = context;
	su_duration_t wait;
	int steps = 0;

	(void)fd;
	(void)what;
	do
		wait = su_root_step(loop->root, 0);
	while (wait == 0 && ++steps < STEPS_PER_WAKE);
	if (wait == 0)
		wait = 1;
	if (wait < 0 || wait > LONGEST_SLEEP_MSEC)
		wait = LONGEST_SLEEP_MSEC;
	struct timeval delay = {wait / 1000, wait % 1000 * 1000};
	event_add(loop->timer, &delay);
}

/* Marks the descriptors of this process that are epoll instances. */
static void list_epolls(bool is_epoll[FD_MAXIMUM])
{
	DIR *folder = opendir("/proc/self/fd");
	struct dirent *entry;

	memset(is_epoll, 0, FD_MAXIMUM * sizeof(*is_epoll));
	while (folder && (entry = readdir(folder))) {
		char target[64];
		ssize_t length = readlinkat(dirfd(folder), entry->d_name, target,
		                            sizeof(target) - 1);
		int fd = atoi(entry->d_name);

		if (length <= 0 || fd < 0 || fd >= FD_MAXIMUM)
			continue;
		target[length] = '\0';
		is_epoll[fd] = strcmp(target, "anon_inode:[eventpoll]") == 0;
	}
	if (folder)
		closedir(folder);
}

/* sofia has no getter for its epoll descriptor: it is the one that appeared when the root was created. */
static int create_root(struct sofia_loop *loop)
{
	bool before[FD_MAXIMUM], after[FD_MAXIMUM];

	list_epolls(before);
	loop->root = su_root_create(NULL);
	if (!loop->root)
		return -1;
	su_root_threading(loop->root, 0);
	list_epolls(after);
	for (int fd = 0; fd < FD_MAXIMUM; fd++)
		if (after[fd] && !before[fd])
			return fd;
	return -1;
}

struct sofia_loop *sofia_loop_open(struct event_base *base)
{
	struct sofia_loop *loop = calloc(1, sizeof(*loop));

	if (!loop || su_init() != 0)
		goto failed;
	loop->base = base;
	int epoll = create_root(loop);
	if (epoll < 0) {
		log_line(LOG_ERR, "sofia-sip does not use epoll here (is SU_PORT set?)");
		goto failed;
	}
	loop->readable = event_new(base, epoll, EV_READ | EV_PERSIST, step, loop);
	loop->timer = event_new(base, -1, 0, step, loop);
	if (!loop->readable || !loop->timer || event_add(loop->readable, NULL) != 0)
		goto failed;
	sofia_loop_wake(loop);
	return loop;
failed:
	log_line(LOG_ERR, "cannot set up the loop of sofia-sip");
	sofia_loop_close(loop);
	return NULL;
}

void sofia_loop_close(struct sofia_loop *loop)
{
	if (!loop)
		return;
	if (loop->readable)
		event_free(loop->readable);
	if (loop->timer)
		event_free(loop->timer);
	if (loop->root)
		su_root_destroy(loop->root);
	free(loop);
	su_deinit();
}

su_root_t *sofia_loop_root(struct sofia_loop *loop)
{
	return loop->root;
}

void sofia_loop_wake(struct sofia_loop *loop)
{
	event_active(loop->timer, EV_TIMEOUT, 0);
}
