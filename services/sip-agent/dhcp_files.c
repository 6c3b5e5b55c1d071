/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dhcp_files.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/log.h"

#define FILE_MAXIMUM    32768
#define DIRECTORY_COUNT 2
/* What happens in a directory when a lease comes, changes or goes; both writers rename into it. */
#define LEASE_EVENTS \
	(IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF)
#define SELF_GONE (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT)

/* A directory that is not there yet is looked for so often: it is made with the first lease. */
static const struct timeval search_time = {.tv_sec = 5};

struct dhcp_files {
	char directories[DIRECTORY_COUNT][PATH_MAX]; /* of the hooks, of systemd-networkd */
	int watches[DIRECTORY_COUNT];                /* -1 = not there yet */
	int inotify;
	struct event *readable, *search;
	void (*changed)(void *context);
	void *context;
};

/* True when a directory has appeared. */
static bool watch_missing(struct dhcp_files *files)
{
	bool has_appeared = false, is_missing = false;

	for (size_t i = 0; i < DIRECTORY_COUNT; i++) {
		if (files->watches[i] >= 0)
			continue;
		files->watches[i] = inotify_add_watch(files->inotify, files->directories[i],
		                                      LEASE_EVENTS | IN_ONLYDIR);
		has_appeared |= files->watches[i] >= 0;
		is_missing |= files->watches[i] < 0;
	}
	if (is_missing)
		evtimer_add(files->search, &search_time);
	return has_appeared;
}

static void on_search(evutil_socket_t fd, short what, void *context)
{
	struct dhcp_files *files = context;

	(void)fd;
	(void)what;
	if (watch_missing(files))
		files->changed(files->context);
}

static void on_readable(evutil_socket_t fd, short what, void *context)
{
	struct dhcp_files *files = context;
	char buffer[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t size;

	(void)what;
	while ((size = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t at = 0; at < size;) {
			const struct inotify_event *event = (const void *)(buffer + at);

			for (size_t i = 0; i < DIRECTORY_COUNT; i++)
				if (files->watches[i] == event->wd && event->mask & SELF_GONE)
					files->watches[i] = -1;
			at += (ssize_t)(sizeof(*event) + event->len);
		}
	watch_missing(files);
	files->changed(files->context);
}

struct dhcp_files *dhcp_files_open(struct event_base *base, const char *directory,
                                   const char *networkd_directory, void (*changed)(void *context),
                                   void *context)
{
	struct dhcp_files *files = calloc(1, sizeof(*files));

	if (!files)
		return NULL;
	snprintf(files->directories[0], PATH_MAX, "%s", directory);
	snprintf(files->directories[1], PATH_MAX, "%s", networkd_directory);
	files->watches[0] = files->watches[1] = -1;
	files->changed = changed;
	files->context = context;
	files->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (files->inotify >= 0) {
		files->readable = event_new(base, files->inotify, EV_READ | EV_PERSIST, on_readable,
		                            files);
		files->search = evtimer_new(base, on_search, files);
	}
	if (!files->readable || !files->search || event_add(files->readable, NULL) != 0) {
		log_line(LOG_ERR, "cannot watch for DHCP leases: %s", strerror(errno));
		dhcp_files_close(files);
		return NULL;
	}
	watch_missing(files);
	return files;
}

void dhcp_files_close(struct dhcp_files *files)
{
	if (!files)
		return;
	if (files->readable)
		event_free(files->readable);
	if (files->search)
		event_free(files->search);
	if (files->inotify >= 0)
		close(files->inotify);
	free(files);
}

/* The whole file as text; NULL when there is none, or nobody's lease is that long. */
static char *read_file(const char *directory, const char *name, uint64_t *written_at_usec)
{
	char path[2 * PATH_MAX];
	struct stat facts;
	char *text = NULL;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	if (file < 0)
		return NULL;
	if (fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size > FILE_MAXIMUM)
		goto out;
	text = calloc(1, (size_t)facts.st_size + 1);
	if (text && read(file, text, (size_t)facts.st_size) < 0) {
		free(text);
		text = NULL;
	}
	*written_at_usec = (uint64_t)facts.st_mtim.tv_sec * 1000000 +
	                   (uint64_t)facts.st_mtim.tv_nsec / 1000;
out:
	close(file);
	return text;
}

bool dhcp_files_read(const struct dhcp_files *files, const char *interface,
                     struct dhcp_lease *lease)
{
	char name[NAME_MAX];
	uint64_t written_at_usec = 0;

	snprintf(name, sizeof(name), "%s.lease", interface);
	char *text = read_file(files->directories[0], name, &written_at_usec);

	if (text) {
		dhcp_lease_read(text, lease);
	} else {
		snprintf(name, sizeof(name), "%u", if_nametoindex(interface));
		text = read_file(files->directories[1], name, &written_at_usec);
		if (text)
			dhcp_lease_read_networkd(text, lease);
	}
	if (!text)
		return false;
	lease->written_at_usec = written_at_usec;
	free(text);
	return true;
}
