/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/ike_message.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define INFORMATIONAL                37
#define PAYLOAD_ENCRYPTED            46
#define PAYLOAD_ENCRYPTED_FRAGMENT   53
#define FRAGMENT_PAYLOAD_HEADER_SIZE 8

unsigned ike_read_16(const uint8_t *octets)
{
	return (unsigned)octets[0] << 8 | octets[1];
}

static uint32_t read_32(const uint8_t *octets)
{
	return (uint32_t)ike_read_16(octets) << 16 | ike_read_16(octets + 2);
}

/** The one payload is an Encrypted one, or a fragment with a place among the others, and reaches to the end. */
static bool is_protected(const uint8_t *packet, size_t size)
{
	const uint8_t *payload = packet + IKE_HEADER_SIZE;
	const size_t rest = size - IKE_HEADER_SIZE;
	unsigned number;

	if (rest < IKE_PAYLOAD_HEADER_SIZE || ike_read_16(payload + 2) != rest)
		return false;
	if (packet[IKE_NEXT_PAYLOAD_OFFSET] == PAYLOAD_ENCRYPTED)
		return true;
	if (packet[IKE_NEXT_PAYLOAD_OFFSET] != PAYLOAD_ENCRYPTED_FRAGMENT ||
	    rest < FRAGMENT_PAYLOAD_HEADER_SIZE)
		return false;
	number = ike_read_16(payload + 4);
	return number >= 1 && number <= ike_read_16(payload + 6);
}

enum ike_message_kind ike_message_kind(const uint8_t *packet, size_t size)
{
	static const uint8_t no_spi[IKE_SPI_SIZE];
	bool has_responder;
	unsigned exchange;

	if (size < IKE_HEADER_SIZE || read_32(packet + IKE_LENGTH_OFFSET) != size)
		return IKE_MESSAGE_MALFORMED;
	has_responder = memcmp(packet + IKE_RESPONDER_SPI_OFFSET, no_spi, IKE_SPI_SIZE) != 0;
	exchange = packet[IKE_EXCHANGE_TYPE_OFFSET];
	if (exchange != IKE_EXCHANGE_SA_INIT)
		return exchange > IKE_EXCHANGE_SA_INIT && exchange <= INFORMATIONAL &&
		                       has_responder && is_protected(packet, size)
		               ? IKE_MESSAGE_IS_PROTECTED
		               : IKE_MESSAGE_MALFORMED;
	if (read_32(packet + IKE_MESSAGE_ID_OFFSET) != 0)
		return IKE_MESSAGE_MALFORMED;
	if (packet[IKE_FLAGS_OFFSET] & IKE_FLAG_RESPONSE)
		return IKE_MESSAGE_ANSWERS_SA;
	return has_responder ? IKE_MESSAGE_MALFORMED : IKE_MESSAGE_BEGINS_SA;
}

void ike_message_describe(const uint8_t *packet, size_t size, char text[IKE_MESSAGE_TEXT_SIZE])
{
	static const char *const exchanges[] = {"IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA",
	                                        "INFORMATIONAL"};
	const size_t exchange_count = sizeof(exchanges) / sizeof(*exchanges);
	char other[24];
	unsigned exchange;

	if (size < IKE_HEADER_SIZE) {
		snprintf(text, IKE_MESSAGE_TEXT_SIZE, "not IKE, %zu octets", size);
		return;
	}
	exchange = packet[IKE_EXCHANGE_TYPE_OFFSET];
	snprintf(other, sizeof(other), "exchange type %u", exchange);
	snprintf(text, IKE_MESSAGE_TEXT_SIZE, "%s %s %u, %zu octets",
	         exchange - IKE_EXCHANGE_SA_INIT < exchange_count
	                 ? exchanges[exchange - IKE_EXCHANGE_SA_INIT]
	                 : other,
	         packet[IKE_FLAGS_OFFSET] & IKE_FLAG_RESPONSE ? "response" : "request",
	         (unsigned)read_32(packet + IKE_MESSAGE_ID_OFFSET), size);
}
