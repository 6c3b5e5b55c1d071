/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "reserved_ports.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PORT_COUNT 65536
#define LIST_SIZE  16384

static const char path[] = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/* Marks the ports of "8080,9000-9100". */
static bool parse(const char *list, bool ports[PORT_COUNT])
{
	while (*list != '\0' && *list != '\n') {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (end == list)
			return false;
		if (*end == '-') {
			list = end + 1;
			last = strtoul(list, &end, 10);
			if (end == list)
				return false;
		}
		if (first > last || last >= PORT_COUNT)
			return false;
		for (unsigned long port = first; port <= last; port++)
			ports[port] = true;
		list = end + (*end == ',');
		if (*end != ',' && *end != '\n' && *end != '\0')
			return false;
	}
	return true;
}

bool reserved_ports_edit(const char *list, uint16_t first, uint16_t last, bool is_reserved,
                         char *result, size_t size)
{
	static bool ports[PORT_COUNT];
	size_t used = 0;

	memset(ports, 0, sizeof(ports));
	if (size == 0 || !parse(list, ports))
		return false;
	for (unsigned port = first; port <= last; port++)
		ports[port] = is_reserved;
	result[0] = '\0';
	for (unsigned port = 0; port < PORT_COUNT; port++) {
		unsigned end = port;

		if (!ports[port])
			continue;
		while (end + 1 < PORT_COUNT && ports[end + 1])
			end++;
		used += (size_t)snprintf(result + used, size - used,
		                         end > port ? "%s%u-%u" : "%s%u", used > 0 ? "," : "", port,
		                         end);
		if (used >= size)
			return false;
		port = end;
	}
	return true;
}

/* The list without its end of line. A negative errno. */
static int read_list(char *list, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, list, size - 1);
	int error = got < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	list[got > 0 ? got : 0] = '\0';
	list[strcspn(list, "\n")] = '\0';
	return error;
}

int reserved_ports_set(uint16_t first, uint16_t last, bool is_reserved)
{
	char list[LIST_SIZE], edited[LIST_SIZE];
	size_t size;
	int error = read_list(list, sizeof(list));
	int fd;

	if (error)
		return error;
	if (!reserved_ports_edit(list, first, last, is_reserved, edited, sizeof(edited) - 1))
		return -EINVAL;
	/* In a container the file is read-only, and set from outside. */
	if (strcmp(list, edited) == 0)
		return 0;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	/* An empty list is written as an empty line. */
	size = strlen(edited);
	edited[size++] = '\n';
	if (write(fd, edited, size) < 0)
		error = -errno;
	close(fd);
	return error;
}
