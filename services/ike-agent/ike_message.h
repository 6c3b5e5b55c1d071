/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the header of an IKE message tells a reader (RFC 7296 section 3.1). Pure. */
#ifndef VPNSIP_IKE_MESSAGE_H
#define VPNSIP_IKE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#define IKE_MESSAGE_TEXT_SIZE 64

/** "IKE_AUTH request 1, 256 octets"; the packet begins with the IKE header and may be anything. */
void ike_message_describe(const uint8_t *packet, size_t size, char text[IKE_MESSAGE_TEXT_SIZE]);

#endif
