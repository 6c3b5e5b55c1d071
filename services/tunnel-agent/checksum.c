/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/checksum.h"

#include <arpa/inet.h>
#include <string.h>

#define IPV4_CHECKSUM 10

uint64_t checksum_add(uint64_t sum, const void *octets, size_t size)
{
	const uint8_t *next = octets;
	uint64_t low = 0, high = 0, word;
	uint16_t last = 0;

	/* Halves of a word in sums of their own: no carry to take care of, and the two run side by side. */
	for (; size >= 8; size -= 8, next += 8) {
		memcpy(&word, next, sizeof(word));
		low += (uint32_t)word;
		high += word >> 32;
	}
	sum = checksum_fold(sum) + (uint64_t)checksum_fold(low) + checksum_fold(high);
	for (; size >= 2; size -= 2, next += 2) {
		memcpy(&last, next, sizeof(last));
		sum += last;
	}
	if (size > 0) {
		last = 0;
		memcpy(&last, next, 1);
		sum += last;
	}
	return sum;
}

uint64_t checksum_add_pseudo(const uint8_t *packet, uint8_t protocol, size_t transport_size)
{
	uint64_t sum = (uint64_t)htons(protocol) + htons((uint16_t)transport_size);

	return packet[0] >> 4 == 4 ? checksum_add(sum, packet + 12, 8)
	                           : checksum_add(sum, packet + 8, 32);
}

uint16_t checksum_fold(uint64_t sum)
{
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT32_MAX) + (sum >> 32);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	sum = (sum & UINT16_MAX) + (sum >> 16);
	return (uint16_t)sum;
}

void checksum_write_ipv4(uint8_t *packet)
{
	uint16_t checksum;

	memset(packet + IPV4_CHECKSUM, 0, sizeof(checksum));
	checksum = (uint16_t)~checksum_fold(checksum_add(0, packet, (packet[0] & 0x0fu) * 4u));
	memcpy(packet + IPV4_CHECKSUM, &checksum, sizeof(checksum));
}
