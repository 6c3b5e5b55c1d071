/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The descriptors of nng's sockets, which it does not show: what it has connected, and what it will never close. */
#include <dirent.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bus/transport_nng.h"

/** nng's threads have closed by then what they ever will. */
#define GIVEN_UP_SECONDS 5

typedef int (*name_fn)(int fd, struct sockaddr *address, socklen_t *size);

/** Calls `visit` for each descriptor of this process that is a socket with this path at the end that `name` names. */
static void visit_sockets(name_fn name, const char *path, void (*visit)(int fd, void *context),
                          void *context)
{
	DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL) {
		int fd = (int)strtol(entry->d_name, NULL, 10);
		struct sockaddr_un address = {0};
		socklen_t size = sizeof(address);

		if (entry->d_name[0] != '.' && name(fd, (struct sockaddr *)&address, &size) == 0 &&
		    address.sun_family == AF_UNIX &&
		    strncmp(address.sun_path, path, sizeof(address.sun_path)) == 0)
			visit(fd, context);
	}
	if (directory != NULL)
		closedir(directory);
}

static bool identify(int fd, struct given_up *socket)
{
	struct stat status;

	socket->fd = fd;
	if (fstat(fd, &status) != 0 || !S_ISSOCK(status.st_mode))
		return false;
	socket->inode = status.st_ino;
	return true;
}

static void shut(int fd, void *context)
{
	struct listener *listener = context;
	int connection, is_listening = 0;
	socklen_t size = sizeof(is_listening);
	struct given_up socket, *grown;

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_listening, &size) == 0 && is_listening)
		while ((connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
			close(connection);
	shutdown(fd, SHUT_RDWR);
	if (!identify(fd, &socket))
		return;
	grown = realloc(listener->given_up,
	                (listener->given_up_count + 1) * sizeof(*listener->given_up));
	if (grown == NULL)
		return; /* it stays open: no worse than without */
	listener->given_up = grown;
	grown[listener->given_up_count++] = socket;
}

void transport_shut_sockets(struct listener *listener)
{
	listener->given_up_seconds = 0;
	visit_sockets(getsockname, listener->path, shut, listener);
}

void transport_tick(struct transport *transport)
{
	for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
		struct listener *listener = &transport->listeners[channel];

		if (listener->given_up_count == 0 ||
		    ++listener->given_up_seconds < GIVEN_UP_SECONDS)
			continue;
		for (size_t i = 0; i < listener->given_up_count; i++) {
			struct given_up now;

			/* The number may be another's by now: then nng did close it. */
			if (identify(listener->given_up[i].fd, &now) &&
			    now.inode == listener->given_up[i].inode)
				close(now.fd);
		}
		transport_forget_sockets(listener);
	}
}

void transport_forget_sockets(struct listener *listener)
{
	free(listener->given_up);
	listener->given_up = NULL;
	listener->given_up_count = 0;
}

static void note_living(int fd, void *context)
{
	struct pollfd connection = {.fd = fd};

	if (poll(&connection, 1, 0) >= 0 && (connection.revents & POLLHUP) == 0)
		*(bool *)context = true;
}

bool transport_is_dialling(const struct transport *transport, Vpnsip__Service peer,
                           enum transport_channel channel)
{
	const struct link *link = &transport->links[peer][channel];
	bool is_dialling = false;

	if (link->is_open && link->pipe == 0)
		visit_sockets(getpeername, link->url + strlen("ipc://"), note_living, &is_dialling);
	return is_dialling;
}
