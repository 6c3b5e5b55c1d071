/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The answer to a packet that may not be fragmented and does not fit (RFC 1191, RFC 4443 section 3.2). Pure. */
#ifndef VPNSIP_ICMP_ERROR_H
#define VPNSIP_ICMP_ERROR_H

#include <stddef.h>
#include <stdint.h>

#define ICMP_ERROR_MAXIMUM 1280

/**
 * Writes the message that tells the sender of `packet` to send no more than `mtu` octets. It comes from the destination of the packet:
 * the kernel believes no packet from outside that has an address of its own. Returns its size.
 */
size_t icmp_write_too_big(uint8_t room[ICMP_ERROR_MAXIMUM], const uint8_t *packet, size_t size,
                          size_t mtu);

#endif
