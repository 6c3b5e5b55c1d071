/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/udp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/port_owner.h"

#ifndef SO_RCVMARK
#define SO_RCVMARK 75 /* Linux 5.19 */
#endif

#define BUFFER_SIZE (8 << 20)

union control {
	char octets[CMSG_SPACE(sizeof(uint32_t)) + CMSG_SPACE(sizeof(int))];
	struct cmsghdr alignment;
};

struct udp_batch {
	size_t headroom, packet_size, slot_size;
	unsigned count; /* to be sent */
	struct mmsghdr messages[UDP_BATCH];
	struct iovec vectors[UDP_BATCH];
	struct sockaddr_storage remotes[UDP_BATCH];
	union control controls[UDP_BATCH];
	uint32_t marks[UDP_BATCH];
	uint8_t slots[];
};

static int set_option(int descriptor, int level, int option, int value)
{
	return setsockopt(descriptor, level, option, &value, sizeof(value));
}

int udp_open(const struct sockaddr_storage *local, char *why, size_t why_size)
{
	char text[ADDRESS_TEXT_SIZE];
	const char *step = "open";
	char *owner;
	int descriptor;

	descriptor = socket(local->ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (descriptor < 0)
		goto fail;
	step = "set SO_RCVMARK on";
	if (set_option(descriptor, SOL_SOCKET, SO_RCVMARK, 1) != 0)
		goto fail;
	/*
	 * Without a checksum (RFC 3948 section 2.1 wants zero): the stateless translation could not repair a checksum that
	 * the network card is left to complete.
	 */
	step = "set SO_NO_CHECK on";
	if (set_option(descriptor, SOL_SOCKET, SO_NO_CHECK, 1) != 0)
		goto fail;
	/* The socket survives that somebody removes the address, until it is restored. */
	step = "set IP_FREEBIND on";
	if (set_option(descriptor, IPPROTO_IP, IP_FREEBIND, 1) != 0)
		goto fail;
	/* The tunnel's MTU leaves room for the encapsulation; a path that is still narrower may fragment. */
	set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT);
	if (set_option(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_SIZE) != 0)
		set_option(descriptor, SOL_SOCKET, SO_RCVBUF, BUFFER_SIZE);
	if (set_option(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, BUFFER_SIZE) != 0)
		set_option(descriptor, SOL_SOCKET, SO_SNDBUF, BUFFER_SIZE);
	step = "bind";
	if (bind(descriptor, (const struct sockaddr *)local, address_socket_length(local)) != 0)
		goto fail;
	return descriptor;
fail:
	owner = errno == EADDRINUSE ? who_has_port(IPPROTO_UDP, local) : NULL;
	snprintf(why, why_size, "cannot %s UDP %s: %s", step, address_format_port(local, text),
	         owner ? owner : strerror(errno));
	free(owner);
	if (descriptor >= 0)
		close(descriptor);
	return -1;
}

struct udp_batch *udp_batch_new(size_t headroom, size_t packet_size, size_t tailroom)
{
	size_t slot_size = (headroom + packet_size + tailroom + 63) & ~(size_t)63;
	struct udp_batch *batch = calloc(1, sizeof(*batch) + UDP_BATCH * slot_size);

	if (!batch)
		return NULL;
	batch->headroom = headroom;
	batch->packet_size = packet_size;
	batch->slot_size = slot_size;
	for (unsigned i = 0; i < UDP_BATCH; i++) {
		struct msghdr *header = &batch->messages[i].msg_hdr;

		header->msg_name = &batch->remotes[i];
		header->msg_iov = &batch->vectors[i];
		header->msg_iovlen = 1;
		header->msg_control = batch->controls[i].octets;
	}
	return batch;
}

void udp_batch_free(struct udp_batch *batch)
{
	free(batch);
}

static uint8_t *slot(struct udp_batch *batch, unsigned index)
{
	return batch->slots + index * batch->slot_size + batch->headroom;
}

uint8_t *udp_next_slot(struct udp_batch *batch)
{
	return slot(batch, batch->count);
}

static void set_control(struct msghdr *header, union control *control, uint32_t mark, int tos)
{
	struct cmsghdr *part;

	header->msg_control = control->octets;
	header->msg_controllen = sizeof(control->octets);
	part = CMSG_FIRSTHDR(header);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SO_MARK;
	part->cmsg_len = CMSG_LEN(sizeof(mark));
	memcpy(CMSG_DATA(part), &mark, sizeof(mark));
	part = CMSG_NXTHDR(header, part);
	part->cmsg_level = IPPROTO_IP;
	part->cmsg_type = IP_TOS;
	part->cmsg_len = CMSG_LEN(sizeof(tos));
	memcpy(CMSG_DATA(part), &tos, sizeof(tos));
}

bool udp_add(struct udp_batch *batch, const uint8_t *octets, size_t size,
             const struct sockaddr_storage *remote, uint32_t mark, uint8_t tos)
{
	unsigned index = batch->count++;
	struct msghdr *header = &batch->messages[index].msg_hdr;

	batch->vectors[index] = (struct iovec){(void *)octets, size};
	batch->remotes[index] = *remote;
	batch->marks[index] = mark;
	header->msg_namelen = address_socket_length(remote);
	set_control(header, &batch->controls[index], mark, tos);
	return batch->count == UDP_BATCH;
}

void udp_flush(struct udp_batch *batch, int descriptor, udp_refused_fn *refused, void *context)
{
	unsigned sent = 0;

	while (sent < batch->count) {
		int result = sendmmsg(descriptor, batch->messages + sent, batch->count - sent, 0);

		if (result > 0) {
			sent += (unsigned)result;
		} else if (errno != EINTR) {
			/* The error is the first packet's; the others get their chance. */
			refused(context, batch->marks[sent], errno);
			sent++;
		}
	}
	batch->count = 0;
}

unsigned udp_receive(struct udp_batch *batch, int descriptor)
{
	int count;

	for (unsigned i = 0; i < UDP_BATCH; i++) {
		struct msghdr *header = &batch->messages[i].msg_hdr;

		batch->vectors[i] = (struct iovec){slot(batch, i), batch->packet_size};
		header->msg_namelen = sizeof(batch->remotes[i]);
		header->msg_control = batch->controls[i].octets;
		header->msg_controllen = sizeof(batch->controls[i].octets);
	}
	count = recvmmsg(descriptor, batch->messages, UDP_BATCH, MSG_DONTWAIT, NULL);
	return count > 0 ? (unsigned)count : 0;
}

struct udp_packet udp_packet(struct udp_batch *batch, unsigned index)
{
	struct mmsghdr *message = &batch->messages[index];
	struct udp_packet packet = {
		.octets = slot(batch, index),
		.size = message->msg_len,
		.remote = &batch->remotes[index],
	};

	packet.is_truncated = message->msg_hdr.msg_flags & MSG_TRUNC;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message->msg_hdr); part;
	     part = CMSG_NXTHDR(&message->msg_hdr, part))
		if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_MARK)
			memcpy(&packet.mark, CMSG_DATA(part), sizeof(packet.mark));
	return packet;
}

int udp_send(int descriptor, const struct sockaddr_storage *remote, uint32_t mark,
             const void *first, size_t first_size, const void *second, size_t second_size)
{
	union control control = {.octets = {0}};
	struct iovec vectors[2] = {{(void *)first, first_size}, {(void *)second, second_size}};
	struct msghdr header = {
		.msg_name = (void *)remote,
		.msg_namelen = address_socket_length(remote),
		.msg_iov = vectors,
		.msg_iovlen = 2,
	};

	set_control(&header, &control, mark, 0);
	return sendmsg(descriptor, &header, 0) < 0 ? -1 : 0;
}
