/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/classify.h"

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <stdbool.h>
#include <string.h>

#define IPV4_HEADER_MINIMUM 20

static bool is_link_local(uint32_t address)
{
	return (ntohl(address) & 0xffff0000) == 0xa9fe0000; /* 169.254.0.0/16, RFC 3927 */
}

static bool is_icmp_error(uint8_t type)
{
	switch (type) {
	case ICMP_DEST_UNREACH:
	case ICMP_SOURCE_QUENCH:
	case ICMP_REDIRECT:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETERPROB:
		return true;
	}
	return false;
}

static bool is_directed_broadcast(const struct classify_context *context, uint32_t destination)
{
	uint32_t host_bits;

	if (!context->own_address || context->prefix_length == 0 || context->prefix_length >= 31)
		return false;
	host_bits = UINT32_MAX >> context->prefix_length;
	return ntohl(destination) == (ntohl(context->own_address) | host_bits);
}

/* An echo request from this box itself to a probed target: a probe whose own route is gone. */
static bool is_own_probe(const struct classify_context *context, uint32_t source,
                         uint32_t destination, uint8_t type)
{
	if (type != ICMP_ECHO || source != context->own_address)
		return false;
	for (size_t i = 0; i < context->probe_target_count; i++)
		if (context->probe_targets[i] == destination)
			return true;
	return false;
}

static int classify_source(uint32_t source)
{
	uint32_t host = ntohl(source);

	if (is_link_local(source))
		return DROP_LINK_LOCAL;
	if (host >> 24 == 0 || host >> 24 == 127 || IN_MULTICAST(host) || IN_BADCLASS(host))
		return DROP_BAD_SOURCE;
	return CLASSIFY_PAYLOAD;
}

/* Neighbour discovery and router solicitations go to multicast or come from link-local addresses. */
static int classify_ipv6(const uint8_t *packet, size_t size)
{
	struct ip6_hdr header;

	if (size < sizeof(header))
		return DROP_MALFORMED;
	memcpy(&header, packet, sizeof(header));
	if (ntohs(header.ip6_plen) + sizeof(header) != size)
		return DROP_MALFORMED;
	if (IN6_IS_ADDR_MULTICAST(&header.ip6_dst))
		return DROP_MULTICAST;
	if (IN6_IS_ADDR_LINKLOCAL(&header.ip6_src) || IN6_IS_ADDR_LINKLOCAL(&header.ip6_dst))
		return DROP_LINK_LOCAL;
	if (IN6_IS_ADDR_UNSPECIFIED(&header.ip6_src) || IN6_IS_ADDR_LOOPBACK(&header.ip6_src) ||
	    IN6_IS_ADDR_MULTICAST(&header.ip6_src))
		return DROP_BAD_SOURCE;
	if (header.ip6_nxt == IPPROTO_ICMPV6 && size > sizeof(header) &&
	    !(packet[sizeof(header)] & ICMP6_INFOMSG_MASK))
		return DROP_ICMP_ERROR;
	return CLASSIFY_PAYLOAD;
}

int classify_packet(const struct classify_context *context, const uint8_t *packet, size_t size)
{
	uint32_t source, destination;
	size_t header_size;
	int verdict;

	if (size == 0)
		return DROP_MALFORMED;
	if (packet[0] >> 4 == 6)
		return context->is_dual_overlay ? classify_ipv6(packet, size) : DROP_IPV6;
	header_size = (packet[0] & 0x0fu) * 4u;
	if (packet[0] >> 4 != 4 || size < IPV4_HEADER_MINIMUM ||
	    header_size < IPV4_HEADER_MINIMUM || header_size > size ||
	    ((size_t)packet[2] << 8 | packet[3]) != size)
		return DROP_MALFORMED;
	memcpy(&source, packet + 12, sizeof(source));
	memcpy(&destination, packet + 16, sizeof(destination));
	if (IN_MULTICAST(ntohl(destination)))
		return DROP_MULTICAST;
	if (destination == INADDR_BROADCAST || is_directed_broadcast(context, destination))
		return DROP_BROADCAST;
	verdict = classify_source(source);
	if (verdict != CLASSIFY_PAYLOAD)
		return verdict;
	if (is_link_local(destination))
		return DROP_LINK_LOCAL;
	/* Only a first fragment shows the ICMP type. */
	if (packet[9] == IPPROTO_ICMP && !((packet[6] & 0x1f) | packet[7]) && header_size < size) {
		if (is_icmp_error(packet[header_size]))
			return DROP_ICMP_ERROR;
		if (is_own_probe(context, source, destination, packet[header_size]))
			return DROP_OWN_PROBE;
	}
	return CLASSIFY_PAYLOAD;
}
