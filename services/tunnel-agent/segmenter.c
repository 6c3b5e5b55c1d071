/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/segmenter.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "services/tunnel-agent/checksum.h"

#define IPV4_HEADER_MINIMUM 20
#define IPV6_HEADER_SIZE    40
#define TCP_HEADER_MINIMUM  20
#define TCP_CHECKSUM        16
#define TCP_FLAGS           13
#define TCP_FIN             0x01
#define TCP_PSH             0x08
#define TCP_CWR             0x80

static uint16_t get_16(const uint8_t *octets)
{
	uint16_t value;

	memcpy(&value, octets, sizeof(value));
	return ntohs(value);
}

static void put_16(uint8_t *octets, uint16_t value)
{
	value = htons(value);
	memcpy(octets, &value, sizeof(value));
}

static bool begin_tcp(struct segmenter *segmenter, const struct virtio_net_hdr *header)
{
	bool is_ipv4 = (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) == VIRTIO_NET_HDR_GSO_TCPV4;
	size_t minimum = is_ipv4 ? IPV4_HEADER_MINIMUM : IPV6_HEADER_SIZE;
	const uint8_t *packet = segmenter->packet;

	if (!segmenter->checksum || segmenter->transport < minimum ||
	    segmenter->checksum != segmenter->transport + TCP_CHECKSUM ||
	    segmenter->size < segmenter->transport + TCP_HEADER_MINIMUM ||
	    packet[0] >> 4 != (is_ipv4 ? 4 : 6) ||
	    (is_ipv4 && segmenter->transport != (packet[0] & 0x0fu) * 4u))
		return false;
	segmenter->header_size = segmenter->transport +
	                         (packet[segmenter->transport + 12] >> 4) * 4u;
	segmenter->segment_size = header->gso_size;
	return segmenter->segment_size > 0 &&
	       segmenter->header_size >= segmenter->transport + TCP_HEADER_MINIMUM &&
	       segmenter->header_size < segmenter->size;
}

bool segmenter_begin(struct segmenter *segmenter, const struct virtio_net_hdr *header,
                     const uint8_t *packet, size_t size)
{
	*segmenter = (struct segmenter){.packet = packet, .size = size};
	if (size == 0)
		return false;
	if (header->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
		segmenter->transport = header->csum_start;
		segmenter->checksum = (size_t)header->csum_start + header->csum_offset;
		if (segmenter->checksum + sizeof(uint16_t) > size)
			return false;
	}
	switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
	case VIRTIO_NET_HDR_GSO_NONE:
		return true;
	case VIRTIO_NET_HDR_GSO_TCPV4:
	case VIRTIO_NET_HDR_GSO_TCPV6:
		return begin_tcp(segmenter, header);
	default:
		return false;
	}
}

static void write_checksum(uint8_t *field, uint64_t sum)
{
	uint16_t checksum = (uint16_t)~checksum_fold(sum);

	memcpy(field, &checksum, sizeof(checksum));
}

/* The field of a partial checksum holds the sum of the pseudo header already. */
static size_t copy_whole(struct segmenter *segmenter, uint8_t *room, size_t capacity)
{
	uint8_t *field = room + segmenter->checksum;

	segmenter->is_finished = true;
	if (segmenter->size > capacity)
		return 0;
	memcpy(room, segmenter->packet, segmenter->size);
	if (segmenter->checksum) {
		write_checksum(field, checksum_add(0, room + segmenter->transport,
		                                   segmenter->size - segmenter->transport));
		/* In UDP zero means that there is none. */
		if (field[0] == 0 && field[1] == 0)
			memset(field, 0xff, 2);
	}
	return segmenter->size;
}

/* Lengths and identification of the IP header of segment `index`. */
static void adjust_ip(uint8_t *packet, size_t size, unsigned index)
{
	if (packet[0] >> 4 == 4) {
		put_16(packet + 2, (uint16_t)size);
		put_16(packet + 4, (uint16_t)(get_16(packet + 4) + index));
		checksum_write_ipv4(packet);
	} else {
		put_16(packet + 4, (uint16_t)(size - IPV6_HEADER_SIZE));
	}
}

static void adjust_tcp(const struct segmenter *segmenter, uint8_t *packet, size_t size,
                       bool is_last)
{
	uint8_t *tcp = packet + segmenter->transport;
	size_t tcp_size = size - segmenter->transport;
	uint32_t sequence;

	memcpy(&sequence, tcp + 4, sizeof(sequence));
	sequence = htonl(ntohl(sequence) + (uint32_t)segmenter->done);
	memcpy(tcp + 4, &sequence, sizeof(sequence));
	if (!is_last)
		tcp[TCP_FLAGS] &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	/* "Congestion window reduced" is said once (RFC 3168 section 6.1.2). */
	if (segmenter->index > 0)
		tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	memset(tcp + TCP_CHECKSUM, 0, 2);
	write_checksum(
		tcp + TCP_CHECKSUM,
		checksum_add(checksum_add_pseudo(packet, IPPROTO_TCP, tcp_size), tcp, tcp_size));
}

size_t segmenter_next(struct segmenter *segmenter, uint8_t *room, size_t capacity)
{
	size_t payload_size = segmenter->size - segmenter->header_size - segmenter->done, size;
	bool is_last = payload_size <= segmenter->segment_size;

	if (segmenter->is_finished)
		return 0;
	if (!segmenter->segment_size)
		return copy_whole(segmenter, room, capacity);
	if (!is_last)
		payload_size = segmenter->segment_size;
	size = segmenter->header_size + payload_size;
	segmenter->is_finished = is_last || size > capacity;
	if (size > capacity)
		return 0;
	memcpy(room, segmenter->packet, segmenter->header_size);
	memcpy(room + segmenter->header_size,
	       segmenter->packet + segmenter->header_size + segmenter->done, payload_size);
	adjust_ip(room, size, segmenter->index);
	adjust_tcp(segmenter, room, size, is_last);
	segmenter->done += payload_size;
	segmenter->index++;
	return size;
}
