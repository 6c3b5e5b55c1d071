/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The controls of what agent_admit_packet() keeps from libcharon: what messages do there that nobody has authenticated. The engine's door has no
 * guard in these tests. Should one fail, libcharon has learnt better.
 */
#include "ike_engine_pair.h"

enum {
	INITIATOR_FLAG = 0x08,
	RESPONSE_FLAG = 0x20,
	SA_INIT = 34,
	INFORMATIONAL = 37,
	ENCRYPTED = 46
};

/** The responder expects this request next; it has sent none. */
#define NEXT_OF_INITIATOR 2

static void write_spi(uint8_t *octets, uint64_t spi)
{
	for (int i = 0; i < 8; i++)
		octets[i] = (uint8_t)(spi >> (56 - 8 * i));
}

/** In the initiator's name, to the responder. */
static struct message forged(uint8_t exchange, uint8_t flags, uint8_t id, uint8_t payload,
                             uint8_t size)
{
	const struct ike_session *session = &sides[0].session;
	struct message message = {.kind = PACKET, .size = size};
	uint8_t *octets = message.packet;

	write_spi(octets, session->initiator_spi);
	write_spi(octets + 8, session->responder_spi);
	octets[16] = payload;
	octets[17] = 0x20;
	octets[18] = exchange;
	octets[19] = flags;
	octets[23] = id;
	octets[27] = size;
	return message;
}

static void bring_up(void)
{
	start_pair(&plain, &plain);
	assert_true(carry(both_up, 5000));
	carry(never, 50);
}

static bool has_second_ended(void)
{
	return is_final(&sides[1]);
}

static void broken_payload_ends_the_ike_sa(void **state)
{
	struct message message;

	(void)state;
	bring_up();
	message = forged(INFORMATIONAL, INITIATOR_FLAG, NEXT_OF_INITIATOR, ENCRYPTED, 100);
	message.packet[30] = 0xff; /* longer than the message */
	assert_int_equal(ike_message_kind(message.packet, message.size), IKE_MESSAGE_MALFORMED);
	order(&sides[1], &message);
	assert_true(carry(has_second_ended, 2000));
}

static void renew(int index)
{
	const struct message message = {.kind = RENEW_CHILDREN,
	                                .number = sides[index].session.sa_in_force};

	order(&sides[index], &message);
}

static void answer_to_a_beginning_ends_the_ike_sa(void **state)
{
	static const uint8_t sizes[] = {48, 72, 36}, types[] = {33, 34, 40}; /* SA, KE, nonce */
	static const uint8_t proposal[] = {0,    0,  0, 44,  1, 1, 0, 4, /* of IKE, 4 transforms */
	                                   3,    0,  0, 12,  1, 0, 0, 12,
	                                   0x80, 14, 0, 128,               /* AES-CBC-128 */
	                                   3,    0,  0, 8,   2, 0, 0, 5,   /* PRF SHA-256 */
	                                   3,    0,  0, 8,   3, 0, 0, 12,  /* SHA-256-128 */
	                                   0,    0,  0, 8,   4, 0, 0, 19}; /* ECP-256 */
	struct message message;
	size_t at = 28;

	(void)state;
	bring_up();
	sides[0].is_deaf = true; /* so that the second one waits for an answer, to its request 0 */
	renew(1);
	carry(never, 100);
	message = forged(SA_INIT, INITIATOR_FLAG | RESPONSE_FLAG, 0, types[0], 28 + 48 + 72 + 36);
	for (int i = 0; i < 3; i++) {
		message.packet[at] = i < 2 ? types[i + 1] : 0;
		message.packet[at + 3] = sizes[i];
		at += sizes[i];
	}
	memcpy(message.packet + 32, proposal, sizeof(proposal));
	message.packet[28 + 48 + 5] = 19; /* the public value's group */
	assert_int_equal(ike_message_kind(message.packet, message.size), IKE_MESSAGE_ANSWERS_SA);
	order(&sides[1], &message);
	assert_true(carry(has_second_ended, 700));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(broken_payload_ends_the_ike_sa, leave),
		cmocka_unit_test_teardown(answer_to_a_beginning_ends_the_ike_sa, leave),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
