/* SPDX-License-Identifier: GPL-3.0-or-later */
/* TCP packets larger than the MTU are cut into segments, segments that follow each other are joined again. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "services/tunnel-agent/checksum.h"
#include "services/tunnel-agent/coalescer.h"
#include "services/tunnel-agent/segmenter.h"

#define ROOM         70000
#define PAYLOAD_SIZE 5000
#define SEGMENT_SIZE 1400
#define SEQUENCE     UINT32_C(0xfffffff0) /* wraps inside */
#define OPTIONS_SIZE 12
#define FIN          0x01
#define PSH          0x08
#define ACK          0x10
#define CWR          0x80

struct flow {
	bool is_ipv6;
	uint8_t flags;
};

static size_t network_size(const struct flow *flow)
{
	return flow->is_ipv6 ? 40 : 20;
}

static size_t header_size(const struct flow *flow)
{
	return network_size(flow) + 20 + OPTIONS_SIZE;
}

static void put_32(uint8_t *octets, uint32_t value)
{
	value = htonl(value);
	memcpy(octets, &value, sizeof(value));
}

static uint32_t get_32(const uint8_t *octets)
{
	uint32_t value;

	memcpy(&value, octets, sizeof(value));
	return ntohl(value);
}

static unsigned get_16(const uint8_t *octets)
{
	return (unsigned)(octets[0] << 8 | octets[1]);
}

static bool is_sound(const uint8_t *packet, size_t size, size_t transport)
{
	uint64_t sum = checksum_add_pseudo(packet, IPPROTO_TCP, size - transport);

	return checksum_fold(checksum_add(sum, packet + transport, size - transport)) == UINT16_MAX;
}

/* A packet as the kernel hands it over, its checksum partial; returns the size. */
static size_t build(const struct flow *flow, uint8_t *packet, size_t payload_size,
                    struct virtio_net_hdr *header)
{
	size_t transport = network_size(flow), size = header_size(flow) + payload_size;
	uint8_t *tcp = packet + transport;
	uint16_t sum;

	memset(packet, 0, header_size(flow));
	if (flow->is_ipv6) {
		packet[0] = 0x60;
		packet[4] = (uint8_t)((size - 40) >> 8);
		packet[5] = (uint8_t)(size - 40);
		packet[6] = IPPROTO_TCP;
		packet[7] = 64;
		packet[23] = 1;
		packet[39] = 2;
	} else {
		packet[0] = 0x45;
		packet[2] = (uint8_t)(size >> 8);
		packet[3] = (uint8_t)size;
		packet[5] = 7; /* identification */
		packet[8] = 64;
		packet[9] = IPPROTO_TCP;
		packet[12] = packet[16] = 10;
		packet[15] = 1;
		packet[19] = 2;
		checksum_write_ipv4(packet);
	}
	tcp[1] = 80;
	tcp[3] = 81;
	put_32(tcp + 4, SEQUENCE);
	put_32(tcp + 8, 99);
	tcp[12] = (20 + OPTIONS_SIZE) / 4 << 4;
	tcp[13] = flow->flags;
	tcp[15] = 77;
	memset(tcp + 20, 1, OPTIONS_SIZE);
	for (size_t i = 0; i < payload_size; i++)
		packet[header_size(flow) + i] = (uint8_t)(i * 31 + i / 256);
	sum = checksum_fold(checksum_add_pseudo(packet, IPPROTO_TCP, size - transport));
	memcpy(tcp + 16, &sum, sizeof(sum));
	*header = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = flow->is_ipv6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = (uint16_t)header_size(flow),
		.gso_size = SEGMENT_SIZE,
		.csum_start = (uint16_t)transport,
		.csum_offset = 16,
	};
	return size;
}

static const struct flow flows[] = {{false, ACK | PSH | FIN | CWR}, {true, ACK | PSH | FIN | CWR}};

static void large_packets_are_cut(void **state)
{
	static uint8_t packet[ROOM], room[ROOM];

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		const struct flow *flow = &flows[f];
		size_t transport = network_size(flow), headers = header_size(flow), size, done = 0;
		struct segmenter segmenter;
		struct virtio_net_hdr header;
		unsigned count = 0;

		size = build(flow, packet, PAYLOAD_SIZE, &header);
		assert_true(segmenter_begin(&segmenter, &header, packet, size));
		while ((size = segmenter_next(&segmenter, room, sizeof(room))) > 0) {
			bool is_last = done + size - headers == PAYLOAD_SIZE;

			assert_int_equal(size - headers,
			                 is_last ? PAYLOAD_SIZE % SEGMENT_SIZE : SEGMENT_SIZE);
			assert_true(is_sound(room, size, transport));
			assert_int_equal(get_32(room + transport + 4), (uint32_t)(SEQUENCE + done));
			assert_int_equal(room[transport + 13],
			                 ACK | (is_last ? PSH | FIN : 0) | (count ? 0 : CWR));
			assert_memory_equal(room + headers, packet + headers + done,
			                    size - headers);
			if (flow->is_ipv6) {
				assert_int_equal(get_16(room + 4), size - 40);
			} else {
				assert_int_equal(get_16(room + 2), size);
				assert_int_equal(get_16(room + 4), 7 + count);
				assert_int_equal(checksum_fold(checksum_add(0, room, 20)),
				                 UINT16_MAX);
			}
			done += size - headers;
			count++;
		}
		assert_int_equal(done, PAYLOAD_SIZE);
		assert_int_equal(count, 4);
	}
}

static void partial_checksums_are_completed(void **state)
{
	static uint8_t packet[ROOM], room[ROOM];
	struct virtio_net_hdr header;
	struct segmenter segmenter;
	size_t size;

	(void)state;
	for (size_t payload_size = 1; payload_size < 40; payload_size++) {
		size = build(&flows[0], packet, payload_size, &header);
		header.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		assert_false(is_sound(packet, size, 20));
		assert_true(segmenter_begin(&segmenter, &header, packet, size));
		assert_int_equal(segmenter_next(&segmenter, room, sizeof(room)), size);
		assert_true(is_sound(room, size, 20));
		assert_int_equal(segmenter_next(&segmenter, room, sizeof(room)), 0);
	}
	/* Without an offload the packet is left as it is. */
	memset(&header, 0, sizeof(header));
	assert_true(segmenter_begin(&segmenter, &header, packet, size));
	assert_int_equal(segmenter_next(&segmenter, room, sizeof(room)), size);
	assert_memory_equal(room, packet, size);
	/* No room, no packet. */
	assert_true(segmenter_begin(&segmenter, &header, packet, size));
	assert_int_equal(segmenter_next(&segmenter, room, size - 1), 0);
}

static void contradictions_are_refused(void **state)
{
	static uint8_t packet[ROOM];
	struct virtio_net_hdr good, header;
	struct segmenter segmenter;
	size_t size = build(&flows[0], packet, PAYLOAD_SIZE, &good);

	(void)state;
	assert_true(segmenter_begin(&segmenter, &good, packet, size));
	assert_false(segmenter_begin(&segmenter, &good, packet, 0));
	assert_false(segmenter_begin(&segmenter, &good, packet, 40));
	assert_false(segmenter_begin(&segmenter, &good, packet, header_size(&flows[0])));
	header = good;
	header.gso_size = 0;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
	header = good;
	header.gso_type = VIRTIO_NET_HDR_GSO_TCPV6;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
	header.gso_type = VIRTIO_NET_HDR_GSO_UDP;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
	header = good;
	header.csum_start = 24;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
	header = good;
	header.flags = 0;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
	header = good;
	header.csum_start = 65000;
	assert_false(segmenter_begin(&segmenter, &header, packet, size));
}

/* Segments of one flow in rooms of their own; returns how many. */
static unsigned cut(const struct flow *flow, size_t payload_size, uint8_t rooms[][1500],
                    size_t *sizes)
{
	static uint8_t packet[ROOM];
	struct virtio_net_hdr header;
	struct segmenter segmenter;
	unsigned count = 0;
	size_t size = build(flow, packet, payload_size, &header);

	assert_true(segmenter_begin(&segmenter, &header, packet, size));
	while ((sizes[count] = segmenter_next(&segmenter, rooms[count], 1500)) > 0)
		count++;
	return count;
}

static size_t gather(const struct coalescer *coalescer, uint8_t *room)
{
	size_t size = 0;

	for (unsigned i = 1; i <= coalescer->packets; i++) {
		memcpy(room + size, coalescer->vectors[i].iov_base, coalescer->vectors[i].iov_len);
		size += coalescer->vectors[i].iov_len;
	}
	assert_int_equal(size, coalescer->size);
	return size;
}

static void segments_become_what_they_were(void **state)
{
	static uint8_t rooms[64][1500], packet[ROOM], joined[ROOM];
	static const struct flow plain[] = {{false, ACK | PSH}, {true, ACK}};
	size_t sizes[64];

	(void)state;
	for (size_t f = 0; f < 2; f++) {
		struct virtio_net_hdr header;
		struct coalescer coalescer = {0};
		unsigned count = cut(&plain[f], 60000, rooms, sizes);
		size_t size = build(&plain[f], packet, 60000, &header);

		assert_int_equal(count, 43);
		for (unsigned i = 0; i < count; i++)
			assert_true(coalescer_add(&coalescer, rooms[i], sizes[i]));
		coalescer_finish(&coalescer);
		assert_int_equal(gather(&coalescer, joined), size);
		assert_memory_equal(joined, packet, size);
		assert_memory_equal(&coalescer.header, &header, sizeof(header));
		/* What is shorter than the others, or pushed, ends the run. */
		assert_false(coalescer_add(&coalescer, rooms[0], sizes[0]));
		coalescer_clear(&coalescer);
		assert_true(coalescer_add(&coalescer, rooms[0], sizes[0]));
	}
}

/* Each change makes the second segment one that does not follow. */
static void others_are_not_joined(void **state)
{
	static const size_t changed[] = {1,       8,       13,      20 + 1,  20 + 7,  20 + 11,
	                                 20 + 13, 20 + 15, 20 + 16, 20 + 19, 20 + 21, 60};
	static const struct flow flow = {false, ACK};
	uint8_t rooms[64][1500];
	size_t sizes[64] = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(changed) / sizeof(*changed) + 1; i++) {
		struct coalescer coalescer = {0};
		bool is_control = i == sizeof(changed) / sizeof(*changed);

		cut(&flow, 3 * SEGMENT_SIZE, rooms, sizes);
		if (!is_control)
			rooms[1][changed[i]] ^= 0x04;
		assert_true(coalescer_add(&coalescer, rooms[0], sizes[0]));
		assert_int_equal(coalescer_add(&coalescer, rooms[1], sizes[1]), is_control);
		coalescer_finish(&coalescer);
		assert_int_equal(coalescer.header.gso_type,
		                 is_control ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_NONE);
	}
	/* The first one broken: what follows stands alone, and the checksum is left wrong. */
	cut(&flow, 3 * SEGMENT_SIZE, rooms, sizes);
	rooms[0][70] ^= 1;
	struct coalescer coalescer = {0};

	assert_true(coalescer_add(&coalescer, rooms[0], sizes[0]));
	assert_false(coalescer_add(&coalescer, rooms[1], sizes[1]));
}

static void only_tcp_is_joined(void **state)
{
	uint8_t packet[2][100] = {{0}, {0}};
	struct coalescer coalescer = {0};

	(void)state;
	packet[0][0] = packet[1][0] = 0x45;
	packet[0][9] = packet[1][9] = IPPROTO_UDP;
	assert_true(coalescer_add(&coalescer, packet[0], 100));
	assert_false(coalescer_add(&coalescer, packet[1], 100));
	coalescer_clear(&coalescer);
	assert_true(coalescer_add(&coalescer, packet[1], 1));
	assert_false(coalescer_add(&coalescer, packet[0], 100));
}

static void sums_do_not_depend_on_pieces(void **state)
{
	uint8_t octets[1001];

	(void)state;
	for (size_t i = 0; i < sizeof(octets); i++)
		octets[i] = (uint8_t)(255 - i * 7 % 11);
	for (size_t size = 0; size <= sizeof(octets); size++) {
		uint32_t expected = 0;

		for (size_t i = 0; i < size; i++)
			expected += i % 2 ? octets[i] : (uint32_t)octets[i] << 8;
		while (expected >> 16)
			expected = (expected & 0xffff) + (expected >> 16);
		assert_int_equal(ntohs(checksum_fold(checksum_add(0, octets, size))), expected);
		assert_int_equal(ntohs(checksum_fold(checksum_add(
					 checksum_add(0, octets, size / 2 & ~1u),
					 octets + (size / 2 & ~1u), size - (size / 2 & ~1u)))),
		                 expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(large_packets_are_cut),
		cmocka_unit_test(partial_checksums_are_completed),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(segments_become_what_they_were),
		cmocka_unit_test(others_are_not_joined),
		cmocka_unit_test(only_tcp_is_joined),
		cmocka_unit_test(sums_do_not_depend_on_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
