/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the outside of an IKE message tells whoever has no keys (RFC 7296 section 3.1). Pure. */
#ifndef VPNSIP_IKE_MESSAGE_H
#define VPNSIP_IKE_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#define IKE_MESSAGE_TEXT_SIZE 64

/* Offsets in the header, and its values. */
#define IKE_HEADER_SIZE          28
#define IKE_PAYLOAD_HEADER_SIZE  4
#define IKE_SPI_SIZE             8
#define IKE_RESPONDER_SPI_OFFSET 8
#define IKE_NEXT_PAYLOAD_OFFSET  16
#define IKE_VERSION_OFFSET       17
#define IKE_EXCHANGE_TYPE_OFFSET 18
#define IKE_FLAGS_OFFSET         19
#define IKE_MESSAGE_ID_OFFSET    20
#define IKE_LENGTH_OFFSET        24
#define IKE_VERSION_2_0          0x20
#define IKE_FLAG_RESPONSE        0x20
#define IKE_EXCHANGE_SA_INIT     34

enum ike_message_kind {
	/**
	 * What no peer sends: of another length than it says, an IKE_SA_INIT with a message ID, or a message of an existing IKE_SA whose
	 * only payload is not an Encrypted one of all the rest (RFC 7296 section 3.14), or a fragment of it (RFC 7383 section 2.5).
	 */
	IKE_MESSAGE_MALFORMED = 1,
	IKE_MESSAGE_BEGINS_SA,   /* an IKE_SA_INIT request */
	IKE_MESSAGE_ANSWERS_SA,  /* an IKE_SA_INIT response, which nothing protects either */
	IKE_MESSAGE_IS_PROTECTED /* or claims to be: its integrity is for those who have the keys */
};

/** Two octets in network order, as all numbers of IKE. */
unsigned ike_read_16(const uint8_t *octets);

/** The packet begins with the IKE header and may be anything, as for the next. */
enum ike_message_kind ike_message_kind(const uint8_t *packet, size_t size);

/** "IKE_AUTH request 1, 256 octets". */
void ike_message_describe(const uint8_t *packet, size_t size, char text[IKE_MESSAGE_TEXT_SIZE]);

#endif
