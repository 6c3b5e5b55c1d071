/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Netlink messages of the kernel back end: what is built is read back, and stands where the kernel looks for it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <linux/xfrm.h>
#include <string.h>

#include "services/tunnel-agent/xfrm_algorithms.h"
#include "services/tunnel-agent/xfrm_message.h"

static const uint8_t key[64] = "0123456789abcdef0123456789abcdef";

static const struct xfrm_ends ends = {
	.if_id = 7,
	.local = {.sin_family = AF_INET, .sin_port = 0x9411, .sin_addr.s_addr = 0x0100ff0a},
	.remote = {.sin_family = AF_INET, .sin_port = 0x52c3, .sin_addr.s_addr = 0x146433c6},
};

static const struct config_ipsec_profile plain_profile = {
	.df_bit = DF_COPY, .ecn = ECN_PROPAGATE, .copies_dscp = true};

static struct sa_order gcm_order(bool is_inbound)
{
	return (struct sa_order){
		.spi = 0xc0ffee01,
		.options = {.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
	                    .encryption_key = key,
	                    .encryption_key_size = 20,
	                    .is_inbound = is_inbound},
		.terms = {.replay_window = 64, .limits = {.lifetime_usec = 60000000}},
	};
}

static const struct nlattr *find(const struct nlmsghdr *message, size_t head, uint16_t type)
{
	const struct nlattr *attribute;

	mnl_attr_for_each(attribute, message,
	                  head) if (mnl_attr_get_type(attribute) == type) return attribute;
	return NULL;
}

static const struct nlattr *find_in_state(const struct nlmsghdr *message, uint16_t type)
{
	return find(message, sizeof(struct xfrm_usersa_info), type);
}

static void test_state_is_read_back(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	struct sa_order order = gcm_order(true);
	struct xfrm_state read;

	(void)state;
	order.options.has_extended_sequence = true;
	order.terms.limits.hard_bytes = 1000;
	assert_true(xfrm_read_state(xfrm_put_state(buffer, &ends, &order, &plain_profile), &read));
	assert_int_equal(read.if_id, 7);
	assert_int_equal(read.spi, 0xc0ffee01);
	assert_int_equal(read.source.sin_addr.s_addr, ends.remote.sin_addr.s_addr);
	assert_int_equal(read.source.sin_port, ends.remote.sin_port);
	assert_int_equal(read.destination.sin_port, ends.local.sin_port);
	assert_string_equal(read.algorithms, "AES-GCM-16 128 ESN");
	assert_int_equal(read.replay_window, 64);
	assert_int_equal(read.hard_bytes, 1000);
	assert_int_equal(read.soft_bytes, 0);
}

static void test_marks_follow_the_direction(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	struct sa_order order = gcm_order(true);
	const struct nlmsghdr *message = xfrm_put_state(buffer, &ends, &order, &plain_profile);
	const struct xfrm_mark *mark = mnl_attr_get_payload(find_in_state(message, XFRMA_MARK));

	(void)state;
	assert_int_equal(mark->v, 7);
	assert_int_equal(mark->m, UINT32_MAX);
	assert_int_equal(mnl_attr_get_u32(find_in_state(message, XFRMA_SET_MARK)), 0);
	order = gcm_order(false);
	message = xfrm_put_state(buffer, &ends, &order, &plain_profile);
	assert_null(find_in_state(message, XFRMA_MARK));
	assert_int_equal(mnl_attr_get_u32(find_in_state(message, XFRMA_SET_MARK)), 7);
}

static void test_profile_becomes_flags(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	const struct config_ipsec_profile profile = {.df_bit = DF_CLEAR, .ecn = ECN_DISCARD};
	struct sa_order order = gcm_order(false);
	const struct nlmsghdr *message = xfrm_put_state(buffer, &ends, &order, &plain_profile);
	const struct xfrm_usersa_info *info = mnl_nlmsg_get_payload(message);

	(void)state;
	assert_int_equal(info->flags & (XFRM_STATE_NOPMTUDISC | XFRM_STATE_NOECN), 0);
	assert_null(find_in_state(message, XFRMA_SA_EXTRA_FLAGS));
	message = xfrm_put_state(buffer, &ends, &order, &profile);
	assert_true(info->flags & XFRM_STATE_NOPMTUDISC);
	assert_true(info->flags & XFRM_STATE_NOECN);
	assert_int_equal(mnl_attr_get_u32(find_in_state(message, XFRMA_SA_EXTRA_FLAGS)),
	                 XFRM_SA_XFLAG_DONT_ENCAP_DSCP);
}

/* What no IPv6 sender may make smaller is fragmented on the way. */
static void test_ipv6_inside_clears_df(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	struct xfrm_ends dual = ends;
	struct sa_order order = gcm_order(false);
	const struct xfrm_usersa_info *info;

	(void)state;
	dual.has_ipv6 = true;
	info = mnl_nlmsg_get_payload(xfrm_put_state(buffer, &dual, &order, &plain_profile));
	assert_true(info->flags & XFRM_STATE_NOPMTUDISC);
}

/* A 32-bit number must never come round: the kernel tells in time, and ends the SA. */
static void test_sequence_numbers_are_a_limit(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	struct sa_order order = gcm_order(false);
	const struct xfrm_usersa_info *info =
		mnl_nlmsg_get_payload(xfrm_put_state(buffer, &ends, &order, &plain_profile));

	(void)state;
	assert_int_equal(info->lft.hard_packet_limit, UINT32_MAX);
	assert_true(info->lft.soft_packet_limit < UINT32_MAX - 1000000);
	order.options.has_extended_sequence = true;
	xfrm_put_state(buffer, &ends, &order, &plain_profile);
	assert_true(info->lft.hard_packet_limit == XFRM_INF);
}

static void test_replay_windows(void **state)
{
	static const struct {
		unsigned window;
		bool is_extended, is_inbound;
		int words; /* of the bitmap; -1 = no attribute */
	} cases[] = {
		{0, false, true, -1},   {64, false, true, 2}, {1024, false, true, 32},
		{1024, true, true, 32}, {64, true, false, 1}, {64, false, false, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
		struct sa_order order = gcm_order(cases[i].is_inbound);
		const struct nlattr *attribute;

		order.terms.replay_window = cases[i].window;
		order.options.has_extended_sequence = cases[i].is_extended;
		attribute = find_in_state(xfrm_put_state(buffer, &ends, &order, &plain_profile),
		                          XFRMA_REPLAY_ESN_VAL);
		if (cases[i].words < 0) {
			assert_null(attribute);
			continue;
		}
		assert_non_null(attribute);
		assert_int_equal(mnl_attr_get_payload_len(attribute),
		                 sizeof(struct xfrm_replay_state_esn) + 4 * cases[i].words);
	}
}

static void test_policies_are_of_the_interface(void **state)
{
	uint8_t buffer[XFRM_MESSAGE_MAXIMUM];
	struct xfrm_ends both = ends;

	(void)state;
	both.has_ipv6 = true;
	assert_int_equal(xfrm_policy_count(&ends), 3);
	assert_int_equal(xfrm_policy_count(&both), 6);
	for (unsigned i = 0; i < xfrm_policy_count(&both); i++) {
		struct nlmsghdr *message = xfrm_put_policy(buffer, &both, i);
		const struct xfrm_userpolicy_info *info = mnl_nlmsg_get_payload(message);

		assert_int_equal(info->sel.family, i < 3 ? AF_INET : AF_INET6);
		message->nlmsg_type = XFRM_MSG_NEWPOLICY; /* as the kernel reports it */
		assert_int_equal(xfrm_read_policy(message), 7);
	}
}

static void test_algorithms_are_checked(void **state)
{
	struct sa_order order = gcm_order(true);
	const char *why = NULL;

	(void)state;
	assert_true(xfrm_check_options(&order.options, &why));
	order.options.encryption_key_size = 16;
	assert_false(xfrm_check_options(&order.options, &why));
	assert_non_null(strstr(why, "key"));
	order.options.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC;
	assert_false(xfrm_check_options(&order.options, &why));
	assert_non_null(strstr(why, "integrity"));
	order.options.integrity = VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_256_128;
	order.options.integrity_key = key;
	order.options.integrity_key_size = 32;
	assert_true(xfrm_check_options(&order.options, &why));
}

/* The operator sees the same words whoever carries the packets. */
static void test_names_are_those_of_user_space(void **state)
{
	static const struct esp_options list[] = {
		{VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16, key, 36, 0, NULL, 0, true, false},
		{VPNSIP__ENCRYPTION_ALGORITHM__CHACHA20_POLY1305, key, 36, 0, NULL, 0, false,
	         false},
		{VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC, key, 32,
	         VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA2_512_256, key, 64, false, false},
		{VPNSIP__ENCRYPTION_ALGORITHM__AES_CBC, key, 16,
	         VPNSIP__INTEGRITY_ALGORITHM__HMAC_SHA1_96, key, 20, true, false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		char text[SA_ALGORITHMS_SIZE];
		const char *why;
		struct esp *esp = esp_new(&list[i], &why);

		assert_non_null(esp);
		xfrm_print_algorithms(xfrm_find_cipher(list[i].encryption),
		                      xfrm_find_digest(list[i].integrity),
		                      list[i].encryption_key_size, list[i].has_extended_sequence,
		                      text, sizeof(text));
		assert_string_equal(text, esp_algorithms(esp));
		esp_free(esp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state_is_read_back),
		cmocka_unit_test(test_marks_follow_the_direction),
		cmocka_unit_test(test_profile_becomes_flags),
		cmocka_unit_test(test_ipv6_inside_clears_df),
		cmocka_unit_test(test_sequence_numbers_are_a_limit),
		cmocka_unit_test(test_replay_windows),
		cmocka_unit_test(test_policies_are_of_the_interface),
		cmocka_unit_test(test_algorithms_are_checked),
		cmocka_unit_test(test_names_are_those_of_user_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
