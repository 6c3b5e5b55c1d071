/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the outside of an IKE message tells: which of them no peer sends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "services/ike-agent/ike_message.h"

enum { ENCRYPTED = 46, FRAGMENT = 53, INFORMATIONAL = 37 };

struct message {
	uint8_t octets[128];
	size_t size;
};

/** A message of an IKE_SA: header, and one payload of `size` octets in all. */
static struct message message_of(uint8_t exchange, uint8_t payload, uint8_t size)
{
	struct message message = {.size = 28u + size};

	memset(message.octets, 7, 16); /* SPIs */
	message.octets[16] = payload;
	message.octets[17] = 0x20;
	message.octets[18] = exchange;
	message.octets[23] = 2; /* message ID */
	message.octets[27] = (uint8_t)message.size;
	message.octets[31] = size;
	message.octets[33] = 1; /* of a fragment: first of two */
	message.octets[35] = 2;
	return message;
}

static struct message beginning(void)
{
	struct message message = message_of(IKE_EXCHANGE_SA_INIT, 33, 60);

	memset(message.octets + IKE_RESPONDER_SPI_OFFSET, 0, IKE_SPI_SIZE);
	message.octets[23] = 0;
	return message;
}

static enum ike_message_kind kind_of(struct message message)
{
	return ike_message_kind(message.octets, message.size);
}

static struct message changed(struct message message, size_t at, uint8_t value)
{
	message.octets[at] = value;
	return message;
}

static void what_peers_send(void **state)
{
	(void)state;
	assert_int_equal(kind_of(beginning()), IKE_MESSAGE_BEGINS_SA);
	assert_int_equal(kind_of(changed(beginning(), IKE_FLAGS_OFFSET, IKE_FLAG_RESPONSE)),
	                 IKE_MESSAGE_ANSWERS_SA);
	for (uint8_t exchange = 35; exchange <= INFORMATIONAL; exchange++) {
		assert_int_equal(kind_of(message_of(exchange, ENCRYPTED, 40)),
		                 IKE_MESSAGE_IS_PROTECTED);
		assert_int_equal(kind_of(message_of(exchange, FRAGMENT, 60)),
		                 IKE_MESSAGE_IS_PROTECTED);
	}
}

static void what_no_peer_sends(void **state)
{
	const struct message protected = message_of(INFORMATIONAL, ENCRYPTED, 40);
	const struct message fragment = message_of(INFORMATIONAL, FRAGMENT, 40);
	struct message without_payload = message_of(INFORMATIONAL, 0, 0);
	const struct message malformed[] = {
		without_payload,
		changed(protected, IKE_NEXT_PAYLOAD_OFFSET, 41), /* a notify in clear */
		changed(protected, IKE_NEXT_PAYLOAD_OFFSET, 0),
		changed(protected, 31, 39), /* the payload does not reach to the end */
		changed(protected, 31, 41), /* and beyond it */
		changed(protected, 30, 0xff),
		changed(protected, IKE_LENGTH_OFFSET, 1),
		changed(protected, 27, 67),
		changed(protected, IKE_EXCHANGE_TYPE_OFFSET, 38),
		changed(protected, IKE_EXCHANGE_TYPE_OFFSET, 33),
		changed(fragment, 33, 0), /* fragment 0 of 2 */
		changed(fragment, 33, 3), /* 3 of 2 */
		message_of(INFORMATIONAL, FRAGMENT, 7),
		changed(beginning(), 23, 2),                       /* not the first message */
		changed(beginning(), IKE_RESPONDER_SPI_OFFSET, 1), /* of an IKE_SA that exists */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(malformed) / sizeof(*malformed); i++)
		if (kind_of(malformed[i]) != IKE_MESSAGE_MALFORMED)
			fail_msg("number %zu", i);
	memset(without_payload.octets + IKE_RESPONDER_SPI_OFFSET, 0, IKE_SPI_SIZE);
	assert_int_equal(kind_of(without_payload), IKE_MESSAGE_MALFORMED);
}

/** Whatever is cut off or hung on. */
static void of_any_length(void **state)
{
	struct message message = message_of(INFORMATIONAL, FRAGMENT, 60);

	(void)state;
	for (size_t size = 0; size <= sizeof(message.octets); size++)
		assert_int_equal(ike_message_kind(message.octets, size),
		                 size == message.size ? IKE_MESSAGE_IS_PROTECTED
		                                      : IKE_MESSAGE_MALFORMED);
}

static void description(void **state)
{
	const struct message message = message_of(INFORMATIONAL, ENCRYPTED, 40);
	char text[IKE_MESSAGE_TEXT_SIZE];

	(void)state;
	ike_message_describe(message.octets, message.size, text);
	assert_string_equal(text, "INFORMATIONAL request 2, 68 octets");
	ike_message_describe(message.octets, 3, text);
	assert_string_equal(text, "not IKE, 3 octets");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_peers_send),
		cmocka_unit_test(what_no_peer_sends),
		cmocka_unit_test(of_any_length),
		cmocka_unit_test(description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
