/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/port_owner.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/address.h"

#define TCP_LISTENING 0x0a

/* "0100007F:1194": 32-bit words of the address as the CPU prints them, then the port. */
static bool parse_socket(const char *text, struct sockaddr_storage *address)
{
	uint32_t words[4];
	unsigned port, count = strlen(text) > 32 ? 4 : 1;

	for (unsigned i = 0; i < count; i++)
		if (sscanf(text + i * 8, "%8" SCNx32, &words[i]) != 1)
			return false;
	if (sscanf(text + count * 8, ":%4x", &port) != 1)
		return false;
	return address_from_octets((const uint8_t *)words, count * 4, (uint16_t)port, address);
}

static bool collides(const struct sockaddr_storage *wanted, const struct sockaddr_storage *found)
{
	return address_port(wanted) == address_port(found) &&
	       (address_is_equal(wanted, found) || address_is_any(wanted) || address_is_any(found));
}

/* Inode of the socket that holds the port, 0 = none, from one of the kernel's socket lists. */
static unsigned long find_inode(const char *list, bool is_tcp,
                                const struct sockaddr_storage *wanted)
{
	FILE *stream = fopen(list, "re");
	char line[512], local[64];
	struct sockaddr_storage found;
	unsigned long inode, result = 0;
	unsigned state;

	while (stream && !result && fgets(line, sizeof(line), stream)) {
		if (sscanf(line, "%*s %63s %*s %x %*s %*s %*s %*s %*s %lu", local, &state,
		           &inode) != 3)
			continue;
		if (parse_socket(local, &found) && collides(wanted, &found) &&
		    (!is_tcp || state == TCP_LISTENING))
			result = inode;
	}
	if (stream)
		fclose(stream);
	return result;
}

static bool process_has_socket(const char *process, const char *wanted)
{
	char path[300], target[64];
	struct dirent *entry;
	DIR *directory;
	bool has = false;

	snprintf(path, sizeof(path), "/proc/%s/fd", process);
	directory = opendir(path);
	while (directory && !has && (entry = readdir(directory))) {
		ssize_t length = readlinkat(dirfd(directory), entry->d_name, target,
		                            sizeof(target) - 1);

		if (length <= 0)
			continue;
		target[length] = '\0';
		has = strcmp(target, wanted) == 0;
	}
	if (directory)
		closedir(directory);
	return has;
}

static bool find_process(unsigned long inode, char process[32], char name[32])
{
	char wanted[64], path[300];
	struct dirent *entry;
	DIR *directory = opendir("/proc");
	bool found = false;
	FILE *stream;

	snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
	while (directory && !found && (entry = readdir(directory))) {
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    !process_has_socket(entry->d_name, wanted))
			continue;
		found = true;
		snprintf(process, 32, "%.31s", entry->d_name);
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		stream = fopen(path, "re");
		if (!stream || !fgets(name, 32, stream))
			snprintf(name, 32, "?");
		name[strcspn(name, "\n")] = '\0';
		if (stream)
			fclose(stream);
	}
	if (directory)
		closedir(directory);
	return found;
}

char *who_has_port(int protocol, const struct sockaddr_storage *address)
{
	bool is_tcp = protocol == IPPROTO_TCP;
	const char *protocol_name = is_tcp ? "TCP" : "UDP";
	unsigned long inode = find_inode(is_tcp ? "/proc/net/tcp" : "/proc/net/udp", is_tcp,
	                                 address);
	char process[32], name[32], *sentence = NULL;
	int length;

	if (!inode)
		inode = find_inode(is_tcp ? "/proc/net/tcp6" : "/proc/net/udp6", is_tcp, address);
	if (inode && find_process(inode, process, name))
		length = asprintf(&sentence, "%s port %u is in use by %s (process %s)",
		                  protocol_name, address_port(address), name, process);
	else
		length = asprintf(&sentence, "%s port %u is in use by another process",
		                  protocol_name, address_port(address));
	return length < 0 ? NULL : sentence;
}
