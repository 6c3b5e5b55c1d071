/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/ike_message.h"

#include <stdio.h>

#define HEADER_SIZE          28
#define EXCHANGE_TYPE_OFFSET 18
#define FLAGS_OFFSET         19
#define MESSAGE_ID_OFFSET    20
#define FLAG_RESPONSE        0x20
#define EXCHANGE_TYPE_FIRST  34

void ike_message_describe(const uint8_t *packet, size_t size, char text[IKE_MESSAGE_TEXT_SIZE])
{
	static const char *const exchanges[] = {"IKE_SA_INIT", "IKE_AUTH", "CREATE_CHILD_SA",
	                                        "INFORMATIONAL"};
	const size_t exchange_count = sizeof(exchanges) / sizeof(*exchanges);
	const uint8_t *id;
	char other[24];
	unsigned exchange;

	if (size < HEADER_SIZE) {
		snprintf(text, IKE_MESSAGE_TEXT_SIZE, "not IKE, %zu octets", size);
		return;
	}
	exchange = packet[EXCHANGE_TYPE_OFFSET];
	id = packet + MESSAGE_ID_OFFSET;
	snprintf(other, sizeof(other), "exchange type %u", exchange);
	snprintf(text, IKE_MESSAGE_TEXT_SIZE, "%s %s %u, %zu octets",
	         exchange - EXCHANGE_TYPE_FIRST < exchange_count
	                 ? exchanges[exchange - EXCHANGE_TYPE_FIRST]
	                 : other,
	         packet[FLAGS_OFFSET] & FLAG_RESPONSE ? "response" : "request",
	         (unsigned)id[0] << 24 | id[1] << 16 | id[2] << 8 | id[3], size);
}
