/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/path_report.h"

#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <string.h>

#include "services/tunnel-agent/checksum.h"

#define ESP_HEADER_SIZE 8

/* An IPv4 header and what follows it. */
struct ipv4_packet {
	struct iphdr header;
	const uint8_t *payload;
	size_t payload_size;
};

static bool read_ipv4(const uint8_t *octets, size_t size, struct ipv4_packet *packet)
{
	size_t header_size;

	if (size < sizeof(packet->header))
		return false;
	memcpy(&packet->header, octets, sizeof(packet->header));
	header_size = packet->header.ihl * 4u;
	if (packet->header.version != IPVERSION || header_size < sizeof(packet->header) ||
	    header_size > size)
		return false;
	packet->payload = octets + header_size;
	packet->payload_size = size - header_size;
	return true;
}

static bool is_too_big_message(const struct ipv4_packet *packet, struct icmphdr *icmp)
{
	if (packet->header.protocol != IPPROTO_ICMP || packet->payload_size < sizeof(*icmp) ||
	    checksum_fold(checksum_add(0, packet->payload, packet->payload_size)) != UINT16_MAX)
		return false;
	memcpy(icmp, packet->payload, sizeof(*icmp));
	return icmp->type == ICMP_DEST_UNREACH && icmp->code == ICMP_FRAG_NEEDED;
}

/* A first or only piece of a packet that must not be fragmented, with the beginnings of UDP and ESP. */
static bool is_ours(const struct ipv4_packet *quoted, in_addr_t own_address)
{
	return quoted->header.saddr == own_address && quoted->header.protocol == IPPROTO_UDP &&
	       (ntohs(quoted->header.frag_off) & (IP_DF | IP_OFFMASK)) == IP_DF &&
	       quoted->payload_size >= sizeof(struct udphdr) + ESP_HEADER_SIZE;
}

static uint32_t read_word(const uint8_t *octets)
{
	uint32_t word;

	memcpy(&word, octets, sizeof(word));
	return ntohl(word);
}

static void set_address(struct sockaddr_storage *address, in_addr_t host, in_port_t port)
{
	struct sockaddr_in *ipv4 = (struct sockaddr_in *)address;

	memset(address, 0, sizeof(*address));
	*ipv4 = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = host, .sin_port = port};
}

bool path_report_parse(const uint8_t *packet, size_t size, struct path_report *report)
{
	struct ipv4_packet outer, quoted;
	struct icmphdr icmp;
	struct udphdr udp;

	if (!read_ipv4(packet, size, &outer) || !is_too_big_message(&outer, &icmp) ||
	    !read_ipv4(outer.payload + sizeof(icmp), outer.payload_size - sizeof(icmp), &quoted) ||
	    !is_ours(&quoted, outer.header.daddr))
		return false;
	report->packet_size = ntohs(quoted.header.tot_len);
	report->mtu = ntohs(icmp.un.frag.mtu);
	/* Routers from before RFC 1191 tell 0. */
	if (report->mtu < PATH_MTU_MINIMUM)
		report->mtu = PATH_MTU_MINIMUM;
	memcpy(&udp, quoted.payload, sizeof(udp));
	set_address(&report->router, outer.header.saddr, 0);
	set_address(&report->remote, quoted.header.daddr, udp.dest);
	report->spi = read_word(quoted.payload + sizeof(udp));
	report->sequence = read_word(quoted.payload + sizeof(udp) + sizeof(report->spi));
	return true;
}
