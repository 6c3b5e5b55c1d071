/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The Internet checksum (RFC 1071) in pieces. Sums are in memory order, so they can be stored as they are. Pure. */
#ifndef VPNSIP_CHECKSUM_H
#define VPNSIP_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/** Goes on from `sum` (0 at first) over these octets. Only the last piece may be of odd size. */
uint64_t checksum_add(uint64_t sum, const void *octets, size_t size);

/** The sum of the pseudo header of an IPv4 or IPv6 packet (RFC 9293, RFC 8200 section 8.1). */
uint64_t checksum_add_pseudo(const uint8_t *packet, uint8_t protocol, size_t transport_size);

/** Ones' complement sum of 16 bits; the checksum is its complement. */
uint16_t checksum_fold(uint64_t sum);

/** Writes the header checksum of an IPv4 packet. */
void checksum_write_ipv4(uint8_t *packet);

#endif
