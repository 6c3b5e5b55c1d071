/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The trigger rule as a table, and the MTU formula against known values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "services/tunnel-agent/classify.h"
#include "services/tunnel-agent/mtu.h"

#define ICMP 1
#define TCP  6
#define UDP  17
#define OSPF 89

struct packet {
	const char *source, *destination;
	uint8_t protocol;
	uint8_t icmp_type;
	int verdict;
};

/* The tunnel is 10.254.0.1/24, 192.0.2.20 is probed. */
static const struct packet packets[] = {
	{"10.1.0.5", "10.2.0.9", TCP, 0, CLASSIFY_PAYLOAD},
	{"10.1.0.5", "10.2.0.9", UDP, 0, CLASSIFY_PAYLOAD},
	{"10.1.0.5", "10.2.0.9", ICMP, 8, CLASSIFY_PAYLOAD},
	{"10.1.0.5", "10.2.0.9", ICMP, 0, CLASSIFY_PAYLOAD},
	{"10.254.0.1", "10.2.0.9", ICMP, 8, CLASSIFY_PAYLOAD},
	{"10.1.0.5", "10.2.0.9", ICMP, 3, DROP_ICMP_ERROR},
	{"10.1.0.5", "10.2.0.9", ICMP, 4, DROP_ICMP_ERROR},
	{"10.1.0.5", "10.2.0.9", ICMP, 5, DROP_ICMP_ERROR},
	{"10.1.0.5", "10.2.0.9", ICMP, 11, DROP_ICMP_ERROR},
	{"10.1.0.5", "10.2.0.9", ICMP, 12, DROP_ICMP_ERROR},
	{"10.254.0.1", "224.0.0.5", OSPF, 0, DROP_MULTICAST},
	{"0.0.0.0", "224.0.0.22", 2, 0, DROP_MULTICAST},
	{"10.1.0.5", "239.255.255.250", UDP, 0, DROP_MULTICAST},
	{"10.1.0.5", "255.255.255.255", UDP, 0, DROP_BROADCAST},
	{"0.0.0.0", "255.255.255.255", UDP, 0, DROP_BROADCAST},
	{"10.1.0.5", "10.254.0.255", UDP, 0, DROP_BROADCAST},
	{"10.1.0.5", "10.253.0.255", UDP, 0, CLASSIFY_PAYLOAD},
	{"169.254.3.4", "10.2.0.9", UDP, 0, DROP_LINK_LOCAL},
	{"10.1.0.5", "169.254.3.4", UDP, 0, DROP_LINK_LOCAL},
	{"0.0.0.0", "10.2.0.9", UDP, 0, DROP_BAD_SOURCE},
	{"127.0.0.1", "10.2.0.9", UDP, 0, DROP_BAD_SOURCE},
	{"224.0.0.1", "10.2.0.9", UDP, 0, DROP_BAD_SOURCE},
	{"255.255.255.255", "10.2.0.9", UDP, 0, DROP_BAD_SOURCE},
	{"10.254.0.1", "192.0.2.20", ICMP, 8, DROP_OWN_PROBE},
	{"10.1.0.5", "192.0.2.20", ICMP, 8, CLASSIFY_PAYLOAD}, /* somebody else's ping */
	{"10.254.0.1", "192.0.2.20", TCP, 8, CLASSIFY_PAYLOAD},
};

static uint32_t probed;
static struct classify_context context = {
	.prefix_length = 24, .probe_targets = &probed, .probe_target_count = 1};

static size_t build(const struct packet *packet, uint8_t octets[28])
{
	memset(octets, 0, 28);
	octets[0] = 0x45;
	octets[3] = 28;
	octets[9] = packet->protocol;
	inet_pton(AF_INET, packet->source, octets + 12);
	inet_pton(AF_INET, packet->destination, octets + 16);
	octets[20] = packet->icmp_type;
	return 28;
}

static void classifies(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(packets) / sizeof(*packets); i++) {
		uint8_t octets[28];
		size_t size = build(&packets[i], octets);
		int verdict = classify_packet(&context, octets, size);

		if (verdict != packets[i].verdict)
			fail_msg("%s to %s protocol %d type %d: %d instead of %d",
			         packets[i].source, packets[i].destination, packets[i].protocol,
			         packets[i].icmp_type, verdict, packets[i].verdict);
	}
}

static void drops_what_is_not_ipv4(void **state)
{
	static const uint8_t router_solicitation[48] = {0x60, 0, 0, 0, 0, 8, 58, 255};
	uint8_t octets[28];

	(void)state;
	assert_int_equal(classify_packet(&context, router_solicitation, 48), DROP_IPV6);
	assert_int_equal(classify_packet(&context, octets, 0), DROP_MALFORMED);
	for (size_t size = 1; size < 28; size++) {
		build(&packets[0], octets);
		assert_int_equal(classify_packet(&context, octets, size), DROP_MALFORMED);
	}
	build(&packets[0], octets);
	octets[0] = 0x44; /* header of 16 octets */
	assert_int_equal(classify_packet(&context, octets, 28), DROP_MALFORMED);
	octets[0] = 0x4f; /* header of 60 octets */
	assert_int_equal(classify_packet(&context, octets, 28), DROP_MALFORMED);
	octets[0] = 0x55;
	assert_int_equal(classify_packet(&context, octets, 28), DROP_MALFORMED);
}

/* What stands where the ICMP type would be means nothing in a later fragment. */
static void ignores_icmp_type_of_fragments(void **state)
{
	const struct packet error = {"10.1.0.5", "10.2.0.9", ICMP, 3, 0};
	uint8_t octets[28];

	(void)state;
	build(&error, octets);
	octets[7] = 100;
	assert_int_equal(classify_packet(&context, octets, 28), CLASSIFY_PAYLOAD);
	octets[7] = 0;
	octets[6] = 0x20; /* first fragment: it does */
	assert_int_equal(classify_packet(&context, octets, 28), DROP_ICMP_ERROR);
}

static unsigned mtu_by(unsigned path_mtu, const char *notation)
{
	const struct config config = {0};
	const struct config_ipsec_profile profile = {.proposals = (char *)notation};
	struct proposal_list proposals;
	char why[128];

	assert_true(proposals_of_ipsec_profile(&config, &profile, &proposals, why, sizeof(why)));
	return mtu_of_proposals(path_mtu, &proposals);
}

static void computes_mtu(void **state)
{
	(void)state;
	assert_int_equal(mtu_by(1500, "aes128gcm16"), 1438);
	assert_int_equal(mtu_by(1500, "aes256gcm16-ecp256"), 1438);
	assert_int_equal(mtu_by(1500, "aes128-sha256"), 1422);
	assert_int_equal(mtu_by(1454, "aes128gcm16"), 1390);
	assert_int_equal(mtu_by(1454, "aes128-sha256-modp2048"), 1374);
	assert_int_equal(mtu_by(1500, "aes256-sha512"), 1406);
	/* The smallest of all that may be agreed on. */
	assert_int_equal(mtu_by(1500, "aes128gcm16-ecp256,aes128-sha256-ecp256"), 1422);
	assert_int_equal(mtu_by(1500, "aes128-sha256, aes128gcm16"), 1422);
	assert_int_equal(mtu_by(1500, "chacha20poly1305"), 1438);
	assert_int_equal(mtu_by(1500, "aes128-sha256-sha512"), 1406);
	assert_int_equal(mtu_by(100, "aes128gcm16"), 68);
}

static int set_up(void **state)
{
	(void)state;
	inet_pton(AF_INET, "10.254.0.1", &context.own_address);
	inet_pton(AF_INET, "192.0.2.20", &probed);
	return 0;
}

/* IPv6: the same rule; what a kernel says by itself on a new interface must not place a call. */
static void classifies_ipv6_with_dual_overlay(void **state)
{
	static const struct packet ipv6[] = {
		{"fd00:1::5", "fd00:2::9", TCP, 0, CLASSIFY_PAYLOAD},
		{"fd00:1::5", "fd00:2::9", 58, 128, CLASSIFY_PAYLOAD},
		{"fd00:1::5", "fd00:2::9", 58, 1, DROP_ICMP_ERROR},
		{"fd00:1::5", "fd00:2::9", 58, 3, DROP_ICMP_ERROR},
		{"fe80::1", "ff02::2", 58, 133, DROP_MULTICAST}, /* router solicitation */
		{"::", "ff02::1:ff00:1", 58, 135, DROP_MULTICAST},
		{"::", "ff02::16", 0, 143, DROP_MULTICAST}, /* listener report */
		{"fe80::1", "fd00:2::9", UDP, 0, DROP_LINK_LOCAL},
		{"fd00:1::5", "fe80::2", UDP, 0, DROP_LINK_LOCAL},
		{"::", "fd00:2::9", UDP, 0, DROP_BAD_SOURCE},
		{"::1", "fd00:2::9", UDP, 0, DROP_BAD_SOURCE},
		{"ff02::1", "fd00:2::9", UDP, 0, DROP_BAD_SOURCE},
	};
	struct classify_context dual = {.is_dual_overlay = true};

	(void)state;
	for (size_t i = 0; i < sizeof(ipv6) / sizeof(*ipv6); i++) {
		uint8_t octets[48] = {0x60, 0, 0, 0, 0, 8, ipv6[i].protocol, 64};

		inet_pton(AF_INET6, ipv6[i].source, octets + 8);
		inet_pton(AF_INET6, ipv6[i].destination, octets + 24);
		octets[40] = ipv6[i].icmp_type;
		assert_int_equal(classify_packet(&dual, octets, 48), ipv6[i].verdict);
		assert_int_equal(classify_packet(&context, octets, 48), DROP_IPV6);
		assert_int_equal(classify_packet(&dual, octets, 47), DROP_MALFORMED);
		assert_int_equal(classify_packet(&dual, octets, 39), DROP_MALFORMED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classifies_ipv6_with_dual_overlay),
		cmocka_unit_test(classifies),
		cmocka_unit_test(drops_what_is_not_ipv4),
		cmocka_unit_test(ignores_icmp_type_of_fragments),
		cmocka_unit_test(computes_mtu),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
