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

int reserved_ports_set(uint16_t first, uint16_t last, bool is_reserved)
{
	char list[LIST_SIZE], edited[LIST_SIZE];
	ssize_t size;
	int error = 0;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	size = read(fd, list, sizeof(list) - 1);
	if (size < 0) {
		error = -errno;
		goto out;
	}
	list[size] = '\0';
	if (!reserved_ports_edit(list, first, last, is_reserved, edited, sizeof(edited) - 1)) {
		error = -EINVAL;
		goto out;
	}
	/* An empty list is written as an empty line. */
	size = (ssize_t)strlen(edited);
	edited[size++] = '\n';
	if (pwrite(fd, edited, (size_t)size, 0) < 0)
		error = -errno;
out:
	close(fd);
	return error;
}
