/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The answer to a packet that may not be fragmented and does not fit (RFC 1191, RFC 4443 section 3.2). Pure. */
#ifndef VPNSIP_ICMP_ERROR_H
#define VPNSIP_ICMP_ERROR_H

#include <stddef.h>
#include <stdint.h>

#define ICMP_ERROR_MAXIMUM 1280

/**
 * Writes the message that tells the sender of `packet` to send no more than `mtu` octets, from `own_address` (IPv4, network order;
 * an IPv6 message has the destination of the packet as its source, for the tunnel has no address of that kind). Returns its
 * size; 0 = no message is due (an ICMP error, or no address).
 */
size_t icmp_write_too_big(uint8_t room[ICMP_ERROR_MAXIMUM], const uint8_t *packet, size_t size,
                          uint32_t own_address, size_t mtu);

#endif
