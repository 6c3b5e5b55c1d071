/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/coalescer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "services/tunnel-agent/checksum.h"

#define IPV4_HEADER_SIZE   20 /* with options nothing is coalesced */
#define IPV6_HEADER_SIZE   40
#define IPV4_DONT_FRAGMENT 0x40
#define TCP_HEADER_MINIMUM 20
#define TCP_SEQUENCE       4
#define TCP_FLAGS          13
#define TCP_WINDOW         14
#define TCP_CHECKSUM       16
#define TCP_URGENT         18
#define TCP_ACK            0x10
#define TCP_PSH            0x08
#define PACKET_MAXIMUM     65535

/* Where things are in a TCP segment that may be coalesced. */
struct segment {
	size_t transport, header_size, payload_size;
	uint32_t sequence;
	bool is_pushed;
};

static uint16_t get_16(const uint8_t *octets)
{
	return (uint16_t)(octets[0] << 8 | octets[1]);
}

static void put_16(uint8_t *octets, uint16_t value)
{
	octets[0] = (uint8_t)(value >> 8);
	octets[1] = (uint8_t)value;
}

static size_t find_tcp(const uint8_t *packet, size_t size)
{
	/* No options, no fragment. */
	if (packet[0] == 0x45 && size >= IPV4_HEADER_SIZE + TCP_HEADER_MINIMUM &&
	    packet[9] == IPPROTO_TCP && (packet[6] & ~IPV4_DONT_FRAGMENT) == 0 && packet[7] == 0)
		return IPV4_HEADER_SIZE;
	if (packet[0] >> 4 == 6 && size >= IPV6_HEADER_SIZE + TCP_HEADER_MINIMUM &&
	    packet[6] == IPPROTO_TCP)
		return IPV6_HEADER_SIZE;
	return 0;
}

/* False for anything but a segment with payload and no flag beside ACK and PSH. */
static bool parse(const uint8_t *packet, size_t size, struct segment *segment)
{
	const uint8_t *tcp;
	size_t tcp_header_size;

	segment->transport = find_tcp(packet, size);
	if (!segment->transport)
		return false;
	tcp = packet + segment->transport;
	tcp_header_size = (tcp[12] >> 4) * 4u;
	segment->header_size = segment->transport + tcp_header_size;
	if (tcp_header_size < TCP_HEADER_MINIMUM || segment->header_size >= size ||
	    (tcp[TCP_FLAGS] & ~TCP_PSH) != TCP_ACK)
		return false;
	segment->payload_size = size - segment->header_size;
	segment->is_pushed = tcp[TCP_FLAGS] & TCP_PSH;
	memcpy(&segment->sequence, tcp + TCP_SEQUENCE, sizeof(segment->sequence));
	segment->sequence = ntohl(segment->sequence);
	return true;
}

/* The large packet gets a new checksum: what arrived broken must not look sound afterwards. */
static bool has_good_checksum(const uint8_t *packet, size_t size, size_t transport)
{
	uint64_t sum = checksum_add_pseudo(packet, IPPROTO_TCP, size - transport);

	return checksum_fold(checksum_add(sum, packet + transport, size - transport)) == UINT16_MAX;
}

static bool has_same_network(const struct coalescer *coalescer, const uint8_t *first,
                             const uint8_t *packet)
{
	if (first[0] >> 4 == 6)
		/* all but the length */
		return memcmp(first, packet, 4) == 0 &&
		       memcmp(first + 6, packet + 6, IPV6_HEADER_SIZE - 6) == 0;
	/* Version, service, flags, time to live, addresses; identifications count up or do not matter. */
	return memcmp(first, packet, 2) == 0 && memcmp(first + 6, packet + 6, 4) == 0 &&
	       memcmp(first + 12, packet + 12, 8) == 0 &&
	       ((packet[6] & IPV4_DONT_FRAGMENT) ||
	        get_16(packet + 4) == (uint16_t)(get_16(first + 4) + coalescer->packets));
}

static bool has_same_transport(const uint8_t *first, const uint8_t *tcp, size_t header_size)
{
	return memcmp(first, tcp, TCP_SEQUENCE) == 0 &&
	       memcmp(first + 8, tcp + 8, 5) == 0 && /* acknowledgement, header size */
	       memcmp(first + TCP_WINDOW, tcp + TCP_WINDOW, 2) == 0 &&
	       memcmp(first + TCP_URGENT, tcp + TCP_URGENT, header_size - TCP_URGENT) == 0;
}

static bool follows(const struct coalescer *coalescer, const uint8_t *packet, size_t size,
                    const struct segment *segment)
{
	const uint8_t *first = coalescer->vectors[1].iov_base;

	return segment->transport == coalescer->transport &&
	       segment->header_size == coalescer->header_size &&
	       segment->sequence == coalescer->next_sequence &&
	       segment->payload_size <= coalescer->segment_size &&
	       coalescer->size + segment->payload_size <= PACKET_MAXIMUM &&
	       has_same_network(coalescer, first, packet) &&
	       has_same_transport(first + segment->transport, packet + segment->transport,
	                          segment->header_size - segment->transport) &&
	       has_good_checksum(packet, size, segment->transport) &&
	       (coalescer->packets > 1 ||
	        has_good_checksum(first, coalescer->size, segment->transport));
}

static void begin(struct coalescer *coalescer, uint8_t *packet, size_t size)
{
	struct segment segment;

	memset(&coalescer->header, 0, sizeof(coalescer->header));
	coalescer->vectors[0] = (struct iovec){&coalescer->header, sizeof(coalescer->header)};
	coalescer->vectors[1] = (struct iovec){packet, size};
	coalescer->packets = 1;
	coalescer->size = size;
	coalescer->is_open = parse(packet, size, &segment) && !segment.is_pushed;
	if (!coalescer->is_open)
		return;
	coalescer->transport = segment.transport;
	coalescer->header_size = segment.header_size;
	coalescer->segment_size = segment.payload_size;
	coalescer->next_sequence = segment.sequence + (uint32_t)segment.payload_size;
}

bool coalescer_add(struct coalescer *coalescer, uint8_t *packet, size_t size)
{
	struct segment segment;
	uint8_t *first;

	if (coalescer->packets == 0) {
		begin(coalescer, packet, size);
		return true;
	}
	if (!coalescer->is_open || coalescer->packets == COALESCE_PACKETS ||
	    !parse(packet, size, &segment) || !follows(coalescer, packet, size, &segment))
		return false;
	coalescer->packets++;
	coalescer->vectors[coalescer->packets] = (struct iovec){packet + segment.header_size,
	                                                        segment.payload_size};
	coalescer->size += segment.payload_size;
	coalescer->next_sequence += (uint32_t)segment.payload_size;
	if (segment.is_pushed) {
		first = coalescer->vectors[1].iov_base;
		first[coalescer->transport + TCP_FLAGS] |= TCP_PSH;
	}
	coalescer->is_open = !segment.is_pushed && segment.payload_size == coalescer->segment_size;
	return true;
}

void coalescer_finish(struct coalescer *coalescer)
{
	uint8_t *packet = coalescer->vectors[1].iov_base;
	size_t tcp_size = coalescer->size - coalescer->transport;
	bool is_ipv4 = packet[0] >> 4 == 4;
	uint16_t sum;

	if (coalescer->packets < 2)
		return;
	if (is_ipv4) {
		put_16(packet + 2, (uint16_t)coalescer->size);
		checksum_write_ipv4(packet);
	} else {
		put_16(packet + 4, (uint16_t)(coalescer->size - IPV6_HEADER_SIZE));
	}
	sum = checksum_fold(checksum_add_pseudo(packet, IPPROTO_TCP, tcp_size));
	memcpy(packet + coalescer->transport + TCP_CHECKSUM, &sum, sizeof(sum));
	coalescer->header = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = is_ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
		.hdr_len = (uint16_t)coalescer->header_size,
		.gso_size = (uint16_t)coalescer->segment_size,
		.csum_start = (uint16_t)coalescer->transport,
		.csum_offset = TCP_CHECKSUM,
	};
}

void coalescer_clear(struct coalescer *coalescer)
{
	coalescer->packets = 0;
}
