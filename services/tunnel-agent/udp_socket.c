/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/udp_socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/port_owner.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif
#ifndef SO_RCVMARK
#define SO_RCVMARK 75 /* Linux 5.19 */
#endif

#define BUFFER_SIZE   (16 << 20) /* as the kernel counts, a good tenth of a second of 1 Gbit/s */
#define IPV4_UDP_SIZE (20 + 8)

/* Of what leaves in one message. Linux before 6.9 takes so many. */
#define SEGMENTS_MAXIMUM 64
#define MESSAGE_MAXIMUM  (UINT16_MAX - IPV4_UDP_SIZE)

union control {
	char octets[CMSG_SPACE(sizeof(uint32_t)) + 2 * CMSG_SPACE(sizeof(int))];
	struct cmsghdr alignment;
};

/* Beside a message to be sent: what it consists of. */
struct outgoing {
	uint32_t mark;
	struct outer_fields outer;
	unsigned packets;    /* of one size; the last may be smaller */
	size_t segment_size; /* the first one's size */
	size_t size;         /* of all */
	bool is_open;        /* another packet may join */
};

struct udp_batch {
	size_t headroom, packet_size, slot_size;
	unsigned packets;  /* to be sent */
	unsigned messages; /* that they make */
	bool is_segmenting_refused;
	struct mmsghdr headers[UDP_BATCH];
	struct iovec vectors[UDP_BATCH];
	struct sockaddr_storage remotes[UDP_BATCH];
	union control controls[UDP_BATCH];
	struct outgoing outgoing[UDP_BATCH];
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
	/* Congestion marks of the path (RFC 6040). */
	step = "set IP_RECVTOS on";
	if (set_option(descriptor, IPPROTO_IP, IP_RECVTOS, 1) != 0)
		goto fail;
	/* The socket survives that somebody removes the address, until it is restored. */
	step = "set IP_FREEBIND on";
	if (set_option(descriptor, IPPROTO_IP, IP_FREEBIND, 1) != 0)
		goto fail;
	/* What is not told otherwise may be fragmented. */
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

bool udp_join_received(int descriptor)
{
	return set_option(descriptor, IPPROTO_UDP, UDP_GRO, 1) == 0;
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
		struct msghdr *header = &batch->headers[i].msg_hdr;

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
	return slot(batch, batch->packets);
}

static struct cmsghdr *put_control(struct msghdr *header, struct cmsghdr *part, int level, int type,
                                   const void *value, size_t size)
{
	part->cmsg_level = level;
	part->cmsg_type = type;
	part->cmsg_len = CMSG_LEN(size);
	memcpy(CMSG_DATA(part), value, size);
	header->msg_controllen = (size_t)((char *)part - (char *)header->msg_control) +
	                         CMSG_SPACE(size);
	return (struct cmsghdr *)((char *)part + CMSG_SPACE(size));
}

/* `segment_size` 0 = the message is one packet. */
static void set_controls(struct msghdr *header, union control *control, uint32_t mark, int tos,
                         size_t segment_size)
{
	uint16_t size = (uint16_t)segment_size;
	struct cmsghdr *part = &control->alignment;

	header->msg_control = control->octets;
	part = put_control(header, part, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
	part = put_control(header, part, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
	if (segment_size)
		put_control(header, part, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof(size));
}

/* Whether the packet may leave in one message with the last one. */
static bool joins(const struct udp_batch *batch, size_t size, const struct udp_target *target)
{
	const struct outgoing *last;

	if (batch->messages == 0)
		return false;
	last = &batch->outgoing[batch->messages - 1];
	return last->is_open && size <= last->segment_size && last->mark == target->mark &&
	       last->outer.tos == target->outer.tos && last->outer.has_df == target->outer.has_df &&
	       last->packets < SEGMENTS_MAXIMUM && last->size + size <= MESSAGE_MAXIMUM &&
	       address_is_equal(&batch->remotes[batch->messages - 1], target->remote);
}

bool udp_add(struct udp_batch *batch, const uint8_t *octets, size_t size,
             const struct udp_target *target)
{
	unsigned index = batch->packets++;
	struct outgoing *last;

	batch->vectors[index] = (struct iovec){(void *)octets, size};
	if (joins(batch, size, target)) {
		last = &batch->outgoing[batch->messages - 1];
		last->packets++;
		last->size += size;
		last->is_open = size == last->segment_size;
		batch->headers[batch->messages - 1].msg_hdr.msg_iovlen++;
	} else {
		struct msghdr *header = &batch->headers[batch->messages].msg_hdr;

		batch->remotes[batch->messages] = *target->remote;
		header->msg_namelen = address_socket_length(target->remote);
		header->msg_iov = &batch->vectors[index];
		header->msg_iovlen = 1;
		batch->outgoing[batch->messages++] = (struct outgoing){
			.mark = target->mark,
			.outer = target->outer,
			.packets = 1,
			.segment_size = size,
			.size = size,
			.is_open = !batch->is_segmenting_refused &&
		                   size + IPV4_UDP_SIZE <= target->path_mtu,
		};
	}
	return batch->packets == UDP_BATCH;
}

/* How the socket sends: options that no control message can give. */
struct mode {
	bool has_df, has_checksum;
};

/* Don't-fragment is set on the packet alone: what the path told about its MTU to others does not count here. */
static void set_mode(int descriptor, struct mode *mode, bool has_df, bool has_checksum)
{
	if (mode->has_df != has_df)
		set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER,
		           has_df ? IP_PMTUDISC_PROBE : IP_PMTUDISC_DONT);
	if (mode->has_checksum != has_checksum)
		set_option(descriptor, SOL_SOCKET, SO_NO_CHECK, !has_checksum);
	*mode = (struct mode){has_df, has_checksum};
}

/* A message of several packets is cut by the kernel or the network card, which compute its checksum anyway. */
static bool is_segmented(const struct outgoing *outgoing)
{
	return outgoing->packets > 1;
}

/* The messages from `first` on that are sent in the same mode. */
static unsigned count_alike(const struct udp_batch *batch, unsigned first)
{
	const struct outgoing *outgoing = &batch->outgoing[first];
	unsigned next = first + 1;

	while (next < batch->messages &&
	       batch->outgoing[next].outer.has_df == outgoing->outer.has_df &&
	       is_segmented(&batch->outgoing[next]) == is_segmented(outgoing))
		next++;
	return next - first;
}

/* The kernel cannot segment: each packet of the message goes by itself, now and in future. */
static void send_apart(struct udp_batch *batch, int descriptor, unsigned message, struct mode *mode,
                       udp_refused_fn *refused, void *context)
{
	const struct outgoing *outgoing = &batch->outgoing[message];
	struct msghdr header = batch->headers[message].msg_hdr;

	batch->is_segmenting_refused = true;
	set_mode(descriptor, mode, outgoing->outer.has_df, false);
	set_controls(&header, &batch->controls[message], outgoing->mark, outgoing->outer.tos, 0);
	header.msg_iovlen = 1;
	for (unsigned i = 0; i < outgoing->packets; i++, header.msg_iov++)
		if (sendmsg(descriptor, &header, 0) < 0)
			refused(context, outgoing->mark, 1, errno);
}

void udp_flush(struct udp_batch *batch, int descriptor, udp_refused_fn *refused, void *context)
{
	struct mode mode = {0};
	unsigned sent = 0;

	for (unsigned i = 0; i < batch->messages; i++) {
		const struct outgoing *outgoing = &batch->outgoing[i];

		set_controls(&batch->headers[i].msg_hdr, &batch->controls[i], outgoing->mark,
		             outgoing->outer.tos,
		             is_segmented(outgoing) ? outgoing->segment_size : 0);
	}
	while (sent < batch->messages) {
		const struct outgoing *outgoing = &batch->outgoing[sent];
		int result;

		set_mode(descriptor, &mode, outgoing->outer.has_df, is_segmented(outgoing));
		result = sendmmsg(descriptor, batch->headers + sent, count_alike(batch, sent), 0);
		if (result > 0) {
			sent += (unsigned)result;
		} else if (errno == EIO || (errno == EINVAL && is_segmented(outgoing))) {
			send_apart(batch, descriptor, sent++, &mode, refused, context);
		} else if (errno != EINTR) {
			/* The error is the first message's; the others get their chance. */
			refused(context, outgoing->mark, outgoing->packets, errno);
			sent++;
		}
	}
	set_mode(descriptor, &mode, false, false);
	batch->packets = batch->messages = 0;
}

unsigned udp_receive(struct udp_batch *batch, int descriptor)
{
	int count;

	for (unsigned i = 0; i < UDP_BATCH; i++) {
		struct msghdr *header = &batch->headers[i].msg_hdr;

		batch->vectors[i] = (struct iovec){slot(batch, i), batch->packet_size};
		header->msg_namelen = sizeof(batch->remotes[i]);
		header->msg_control = batch->controls[i].octets;
		header->msg_controllen = sizeof(batch->controls[i].octets);
	}
	count = recvmmsg(descriptor, batch->headers, UDP_BATCH, MSG_DONTWAIT, NULL);
	return count > 0 ? (unsigned)count : 0;
}

static void read_control(const struct cmsghdr *part, struct udp_packet *packet)
{
	int segment_size;

	if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_MARK) {
		memcpy(&packet->mark, CMSG_DATA(part), sizeof(packet->mark));
	} else if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_TOS) {
		packet->tos = *CMSG_DATA(part);
	} else if (part->cmsg_level == IPPROTO_UDP && part->cmsg_type == UDP_GRO) {
		memcpy(&segment_size, CMSG_DATA(part), sizeof(segment_size));
		if (segment_size > 0)
			packet->segment_size = (size_t)segment_size;
	}
}

struct udp_packet udp_packet(struct udp_batch *batch, unsigned index)
{
	struct mmsghdr *message = &batch->headers[index];
	struct udp_packet packet = {
		.octets = slot(batch, index),
		.size = message->msg_len,
		.segment_size = message->msg_len,
		.remote = &batch->remotes[index],
	};

	packet.is_truncated = message->msg_hdr.msg_flags & MSG_TRUNC;
	for (struct cmsghdr *part = CMSG_FIRSTHDR(&message->msg_hdr); part;
	     part = CMSG_NXTHDR(&message->msg_hdr, part))
		read_control(part, &packet);
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

	set_controls(&header, &control, mark, 0, 0);
	return sendmsg(descriptor, &header, 0) < 0 ? -1 : 0;
}
