/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the outer header takes from the inner one and gives back, and what tells a sender that its packet is too big. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "services/tunnel-agent/checksum.h"
#include "services/tunnel-agent/icmp_error.h"
#include "services/tunnel-agent/outer_header.h"

#define NOT_ECT   0
#define ECT_1     1
#define ECT_0     2
#define CE        3
#define EXPEDITED 0xb8
#define DROPPED   (-1)

static void build_ipv4(uint8_t packet[20], uint8_t tos, bool has_df)
{
	memset(packet, 0, 20);
	packet[0] = 0x45;
	packet[1] = tos;
	packet[3] = 20;
	packet[6] = has_df ? 0x40 : 0;
	packet[12] = packet[16] = 10;
	packet[19] = 9;
	checksum_write_ipv4(packet);
}

static void build_ipv6(uint8_t packet[40], uint8_t tos)
{
	memset(packet, 0, 40);
	packet[0] = (uint8_t)(0x60 | tos >> 4);
	packet[1] = (uint8_t)(tos << 4 | 0x0a); /* flow label */
	packet[8] = packet[24] = 0xfd;
	packet[23] = 1;
	packet[39] = 2;
}

static void df_follows_the_policy(void **state)
{
	static const struct {
		enum config_df_bit df_bit;
		bool without, with, ipv6;
	} expected[] = {{DF_CLEAR, false, false, false},
	                {DF_COPY, false, true, true},
	                {DF_SET, true, true, true}};
	uint8_t plain[20], marked[20], ipv6[40];

	(void)state;
	build_ipv4(plain, 0, false);
	build_ipv4(marked, 0, true);
	build_ipv6(ipv6, 0);
	for (size_t i = 0; i < 3; i++) {
		const struct outer_policy policy = {expected[i].df_bit, ECN_PROPAGATE, true};

		assert_int_equal(outer_header_of(&policy, plain).has_df, expected[i].without);
		assert_int_equal(outer_header_of(&policy, marked).has_df, expected[i].with);
		assert_int_equal(outer_header_of(&policy, ipv6).has_df, expected[i].ipv6);
	}
}

static void service_field_follows_the_policy(void **state)
{
	uint8_t ipv4[20], ipv6[40];

	(void)state;
	build_ipv4(ipv4, EXPEDITED | ECT_0, false);
	build_ipv6(ipv6, EXPEDITED | ECT_0);
	for (unsigned i = 0; i < 4; i++) {
		const struct outer_policy policy = {DF_COPY, i & 1 ? ECN_PROPAGATE : ECN_DISCARD,
		                                    i & 2};
		unsigned expected = (i & 1 ? ECT_0 : 0) | (i & 2 ? EXPEDITED : 0);

		assert_int_equal(outer_header_of(&policy, ipv4).tos, expected);
		assert_int_equal(outer_header_of(&policy, ipv6).tos, expected);
	}
}

/* RFC 6040 figure 4: rows are the inner header, columns the outer one, each NOT_ECT, ECT(1), ECT(0), CE. */
static void marks_come_in_as_rfc_6040_says(void **state)
{
	static const int expected[4][4] = {
		[NOT_ECT] = {NOT_ECT, NOT_ECT, NOT_ECT, DROPPED},
		[ECT_1] = {ECT_1, ECT_1, ECT_1, CE},
		[ECT_0] = {ECT_0, ECT_1, ECT_0, CE},
		[CE] = {CE, CE, CE, CE},
	};
	const struct outer_policy propagate = {DF_COPY, ECN_PROPAGATE, true};
	const struct outer_policy discard = {DF_COPY, ECN_DISCARD, true};

	(void)state;
	for (uint8_t inner = 0; inner < 4; inner++) {
		for (uint8_t outer = 0; outer < 4; outer++) {
			uint8_t ipv4[20], ipv6[40], other[40];
			int wanted = expected[inner][outer];
			enum ecn_result result;

			build_ipv4(ipv4, EXPEDITED | inner, true);
			build_ipv6(ipv6, EXPEDITED | inner);
			result = outer_header_take_ecn(&propagate, outer, ipv4);
			assert_int_equal(outer_header_take_ecn(&propagate, outer, ipv6), result);
			assert_int_equal(result == ECN_LOST, wanted == DROPPED);
			assert_int_equal(result == ECN_CHANGED,
			                 wanted != DROPPED && wanted != inner);
			if (wanted != DROPPED) {
				assert_int_equal(ipv4[1], EXPEDITED | wanted);
				build_ipv6(other, (uint8_t)(EXPEDITED | wanted));
				assert_memory_equal(ipv6, other, 40);
			}
			assert_int_equal(checksum_fold(checksum_add(0, ipv4, 20)), UINT16_MAX);
			build_ipv4(ipv4, inner, true);
			assert_int_equal(outer_header_take_ecn(&discard, outer, ipv4),
			                 ECN_UNCHANGED);
			assert_int_equal(ipv4[1], inner);
		}
	}
}

static void too_big_is_told_to_the_sender(void **state)
{
	uint8_t packet[1600] = {0}, message[ICMP_ERROR_MAXIMUM];
	size_t size;

	(void)state;
	build_ipv4(packet, 0, true);
	size = icmp_write_too_big(message, packet, sizeof(packet), 1422);
	assert_int_equal(size, 576);
	assert_memory_equal(message + 12, packet + 16, 4); /* from the destination */
	assert_memory_equal(message + 16, packet + 12, 4); /* to the source */
	assert_int_equal(message[20], 3);
	assert_int_equal(message[21], 4);
	assert_int_equal(message[26] << 8 | message[27], 1422);
	assert_memory_equal(message + 28, packet, 548);
	assert_int_equal(checksum_fold(checksum_add(0, message, 20)), UINT16_MAX);
	assert_int_equal(checksum_fold(checksum_add(0, message + 20, size - 20)), UINT16_MAX);

	build_ipv6(packet, 0);
	size = icmp_write_too_big(message, packet, sizeof(packet), 1400);
	assert_int_equal(size, 1280);
	assert_memory_equal(message + 8, packet + 24, 16);
	assert_memory_equal(message + 24, packet + 8, 16);
	assert_int_equal(message[40], 2);
	assert_int_equal(message[46] << 8 | message[47], 1400);
	assert_int_equal(
		checksum_fold(checksum_add(checksum_add_pseudo(message, IPPROTO_ICMPV6, size - 40),
	                                   message + 40, size - 40)),
		UINT16_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(df_follows_the_policy),
		cmocka_unit_test(service_field_follows_the_policy),
		cmocka_unit_test(marks_come_in_as_rfc_6040_says),
		cmocka_unit_test(too_big_is_told_to_the_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
