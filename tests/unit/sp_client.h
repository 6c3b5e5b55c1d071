/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The scalability protocols' unix socket transport by hand: for what a well-behaved library would not send. */
#ifndef VPNSIP_TEST_SP_CLIENT_H
#define VPNSIP_TEST_SP_CLIENT_H

#include <endian.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <zlib.h>

#include "envelope.pb-c.h"

#define SP_SUB          0x21
#define SP_REQ          0x30
#define SP_TYPE_MESSAGE 1

static inline int sp_connect_bare(const char *run_directory, const char *service, const char *name)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const struct timeval limit = {.tv_sec = 2};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s/%s", run_directory, service,
	         name);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static inline int sp_connect(const char *run_directory, const char *service, const char *name,
                             uint8_t protocol)
{
	const uint8_t greeting[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0};
	uint8_t answer[8];
	int fd = sp_connect_bare(run_directory, service, name);

	if (fd < 0)
		return -1;
	if (send(fd, greeting, sizeof(greeting), MSG_NOSIGNAL) == sizeof(greeting) &&
	    recv(fd, answer, sizeof(answer), MSG_WAITALL) == sizeof(answer))
		return fd;
	close(fd);
	return -1;
}

/** Sends one request: framing, nng's own request id, and the octets. */
static inline void sp_send_request(int fd, const uint8_t *octets, size_t size)
{
	static uint32_t next_id = 1;
	const uint64_t length = htobe64(size + sizeof(uint32_t));
	const uint32_t id = htobe32(0x80000000U | next_id++);
	uint8_t head[13] = {SP_TYPE_MESSAGE};

	memcpy(head + 1, &length, sizeof(length));
	memcpy(head + 9, &id, sizeof(id));
	send(fd, head, sizeof(head), MSG_NOSIGNAL);
	send(fd, octets, size, MSG_NOSIGNAL);
}

/** Puts the checksum behind the octets; there must be room. Returns the size of both. */
static inline size_t sp_add_checksum(uint8_t *octets, size_t size)
{
	const uint32_t sum = htole32((uint32_t)crc32(0, octets, (uInt)size));

	memcpy(octets + size, &sum, sizeof(sum));
	return size + sizeof(sum);
}

static inline void sp_send_envelope(int fd, const Vpnsip__Envelope *envelope)
{
	uint8_t octets[4096];

	sp_send_request(fd, octets,
	                sp_add_checksum(octets, vpnsip__envelope__pack(envelope, octets)));
}

/** A reply if one is there, without waiting for it; else NULL. */
static inline Vpnsip__Envelope *sp_receive_reply(int fd)
{
	uint8_t head[13], octets[65536];
	uint64_t length;

	if (recv(fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT) != sizeof(head))
		return NULL;
	recv(fd, head, sizeof(head), MSG_WAITALL);
	memcpy(&length, head + 1, sizeof(length));
	length = be64toh(length) - sizeof(uint32_t);
	if (length > sizeof(octets) || recv(fd, octets, length, MSG_WAITALL) != (ssize_t)length)
		return NULL;
	return vpnsip__envelope__unpack(NULL, length - sizeof(uint32_t), octets);
}

#endif
