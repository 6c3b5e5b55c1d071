/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/icmp_error.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <string.h>

#include "services/tunnel-agent/checksum.h"

#define IPV4_HEADER_SIZE 20
#define ICMP_HEADER_SIZE 8
#define TIME_TO_LIVE     64
#define QUOTED_IPV4      548 /* RFC 1812 section 4.3.2.3: the message has no more than 576 octets */

static void write_checksum(uint8_t *icmp, uint64_t sum, size_t size)
{
	uint16_t checksum = (uint16_t)~checksum_fold(checksum_add(sum, icmp, size));

	memcpy(icmp + 2, &checksum, sizeof(checksum));
}

static size_t write_ipv4(uint8_t *room, const uint8_t *packet, size_t size, size_t mtu)
{
	size_t quoted = size < QUOTED_IPV4 ? size : QUOTED_IPV4;
	uint16_t total = htons((uint16_t)(IPV4_HEADER_SIZE + ICMP_HEADER_SIZE + quoted));
	uint16_t next_mtu = htons((uint16_t)mtu);
	uint8_t *icmp = room + IPV4_HEADER_SIZE;

	memset(room, 0, IPV4_HEADER_SIZE + ICMP_HEADER_SIZE);
	room[0] = 0x45;
	memcpy(room + 2, &total, sizeof(total));
	room[8] = TIME_TO_LIVE;
	room[9] = IPPROTO_ICMP;
	memcpy(room + 12, packet + 16, sizeof(struct in_addr));
	memcpy(room + 16, packet + 12, sizeof(struct in_addr));
	checksum_write_ipv4(room);
	icmp[0] = ICMP_DEST_UNREACH;
	icmp[1] = ICMP_FRAG_NEEDED;
	memcpy(icmp + 6, &next_mtu, sizeof(next_mtu));
	memcpy(icmp + ICMP_HEADER_SIZE, packet, quoted);
	write_checksum(icmp, 0, ICMP_HEADER_SIZE + quoted);
	return ntohs(total);
}

static size_t write_ipv6(uint8_t *room, const uint8_t *packet, size_t size, size_t mtu)
{
	const size_t headers = sizeof(struct ip6_hdr) + ICMP_HEADER_SIZE;
	size_t quoted = size < ICMP_ERROR_MAXIMUM - headers ? size : ICMP_ERROR_MAXIMUM - headers;
	struct ip6_hdr header = {.ip6_hops = TIME_TO_LIVE, .ip6_nxt = IPPROTO_ICMPV6};
	uint8_t *icmp = room + sizeof(header);
	uint32_t next_mtu = htonl((uint32_t)mtu);

	header.ip6_flow = htonl(6u << 28);
	header.ip6_plen = htons((uint16_t)(ICMP_HEADER_SIZE + quoted));
	memcpy(&header.ip6_src, packet + 24, sizeof(header.ip6_src));
	memcpy(&header.ip6_dst, packet + 8, sizeof(header.ip6_dst));
	memcpy(room, &header, sizeof(header));
	memset(icmp, 0, ICMP_HEADER_SIZE);
	icmp[0] = ICMP6_PACKET_TOO_BIG;
	memcpy(icmp + 4, &next_mtu, sizeof(next_mtu));
	memcpy(icmp + ICMP_HEADER_SIZE, packet, quoted);
	write_checksum(icmp, checksum_add_pseudo(room, IPPROTO_ICMPV6, ICMP_HEADER_SIZE + quoted),
	               ICMP_HEADER_SIZE + quoted);
	return headers + quoted;
}

size_t icmp_write_too_big(uint8_t room[ICMP_ERROR_MAXIMUM], const uint8_t *packet, size_t size,
                          size_t mtu)
{
	return packet[0] >> 4 == 4 ? write_ipv4(room, packet, size, mtu)
	                           : write_ipv6(room, packet, size, mtu);
}
