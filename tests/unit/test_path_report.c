/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What routers say of the path's MTU: which messages are read, which are believed, and what becomes of packets then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <netinet/ip_icmp.h>
#include <stdlib.h>

#include "services/tunnel-agent/checksum.h"
#include "services/tunnel-agent/path_report.h"
#include "tests/unit/tunnel_fixture.h"

#define OUTER_SIZE   20
#define ICMP_SIZE    8
#define QUOTED       (OUTER_SIZE + ICMP_SIZE)
#define QUOTED_UDP   (QUOTED + 20)
#define QUOTED_ESP   (QUOTED_UDP + 8)
#define MESSAGE_SIZE (QUOTED_ESP + 8)
#define SENT_SIZE    1500
#define IPV6_MINIMUM 1280
#define OVERHEAD     62 /* of AES-GCM */
#define NARROW       1400

static uint8_t message[MESSAGE_SIZE];
static struct path_report report;
static struct tunnel tunnel;

static void put16(size_t at, unsigned value)
{
	message[at] = (uint8_t)(value >> 8);
	message[at + 1] = (uint8_t)value;
}

static void finish(void)
{
	uint16_t sum;

	put16(OUTER_SIZE + 2, 0);
	sum = (uint16_t)~checksum_fold(
		checksum_add(0, message + OUTER_SIZE, MESSAGE_SIZE - OUTER_SIZE));
	memcpy(message + OUTER_SIZE + 2, &sum, sizeof(sum));
}

/* A router tells 192.0.2.1 of a packet from its port 50000 to the peer: SPI OUT_SPI, number 1. */
static void write_message(unsigned mtu)
{
	memset(message, 0, sizeof(message));
	message[0] = message[QUOTED] = 0x45;
	put16(2, MESSAGE_SIZE);
	message[9] = IPPROTO_ICMP;
	inet_pton(AF_INET, "203.0.113.9", message + 12);
	inet_pton(AF_INET, "192.0.2.1", message + 16);
	message[OUTER_SIZE] = ICMP_DEST_UNREACH;
	message[OUTER_SIZE + 1] = ICMP_FRAG_NEEDED;
	put16(OUTER_SIZE + 6, mtu);
	put16(QUOTED + 2, SENT_SIZE);
	put16(QUOTED + 6, 0x4000);
	message[QUOTED + 9] = IPPROTO_UDP;
	inet_pton(AF_INET, "192.0.2.1", message + QUOTED + 12);
	inet_pton(AF_INET, "198.51.100.2", message + QUOTED + 16);
	put16(QUOTED_UDP, 50000);
	put16(QUOTED_UDP + 2, 50002);
	put16(QUOTED_ESP + 2, OUT_SPI);
	put16(QUOTED_ESP + 6, 1);
	finish();
}

static bool parse(void)
{
	return path_report_parse(message, sizeof(message), &report);
}

static void a_report_is_read(void **state)
{
	(void)state;
	write_message(NARROW);
	assert_true(parse());
	assert_int_equal(report.mtu, NARROW);
	assert_int_equal(report.packet_size, SENT_SIZE);
	assert_int_equal(report.spi, OUT_SPI);
	assert_int_equal(report.sequence, 1);
	assert_memory_equal(&((struct sockaddr_in *)&report.router)->sin_addr, message + 12, 4);
	assert_memory_equal(&((struct sockaddr_in *)&report.remote)->sin_addr,
	                    message + QUOTED + 16, 4);
	assert_int_equal(ntohs(((struct sockaddr_in *)&report.remote)->sin_port), 50002);
}

static void no_report_goes_below_the_minimum(void **state)
{
	static const unsigned told[] = {0, 1, 68, 575, 576};

	(void)state;
	for (size_t i = 0; i < sizeof(told) / sizeof(*told); i++) {
		write_message(told[i]);
		assert_true(parse());
		assert_int_equal(report.mtu, PATH_MTU_MINIMUM);
	}
}

/* Each octet that matters, changed alone; the checksum is right but where it is what was changed. */
static void others_are_not_read(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
		const char *what;
	} changes[] = {
		{0, 0x65, "not IPv4"},
		{0, 0x44, "header too short"},
		{0, 0x4f, "header too long"},
		{9, IPPROTO_UDP, "not ICMP"},
		{16, 10, "quotes a packet of somebody else"},
		{OUTER_SIZE, ICMP_ECHO, "other type"},
		{OUTER_SIZE + 1, ICMP_PORT_UNREACH, "other code"},
		{QUOTED, 0x60, "quotes no IPv4"},
		{QUOTED, 0x4f, "quoted header too long"},
		{QUOTED + 6, 0, "may be fragmented"},
		{QUOTED + 7, 1, "a later fragment"},
		{QUOTED + 9, IPPROTO_TCP, "quotes no UDP"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		write_message(SENT_SIZE - 1);
		message[changes[i].at] = changes[i].value;
		finish();
		if (parse())
			fail_msg("read: %s", changes[i].what);
	}
	write_message(NARROW);
	message[OUTER_SIZE + 2] ^= 1;
	assert_false(parse());
}

/* Exactly as much memory as is told: a sanitizer sees what is read beyond. */
static void short_ones_are_not_read(void **state)
{
	(void)state;
	for (size_t size = 0; size < MESSAGE_SIZE; size++) {
		uint8_t *room = malloc(size ? size : 1);

		write_message(NARROW);
		memcpy(room, message, size);
		if (size >= QUOTED) {
			uint16_t sum;

			memset(room + OUTER_SIZE + 2, 0, sizeof(sum));
			sum = (uint16_t)~checksum_fold(
				checksum_add(0, room + OUTER_SIZE, size - OUTER_SIZE));
			memcpy(room + OUTER_SIZE + 2, &sum, sizeof(sum));
		}
		assert_false(path_report_parse(room, size, &report));
		free(room);
	}
}

static int setup(void **state)
{
	(void)state;
	fixture_init(&tunnel);
	tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START);
	install_sas(&tunnel, START);
	tunnel_open(&tunnel, ATTEMPT, 0, START);
	write_message(NARROW);
	assert_true(parse());
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	tunnel_destroy(&tunnel);
	return 0;
}

static void send_packets(unsigned count)
{
	uint8_t room[ESP_HEADROOM + PACKET_SIZE + ESP_TAILROOM], *packet;
	size_t size;

	while (count-- > 0) {
		build_packet(room + ESP_HEADROOM, 60, "10.2.0.9", 1);
		assert_true(tunnel_seal(&tunnel, room + ESP_HEADROOM, 60, START, &packet, &size));
	}
}

static enum drop_reason why;

static enum path_report_result tell(uint64_t now)
{
	return tunnel_take_path_report(&tunnel, &report, now, &why);
}

static void expect_refused(enum drop_reason reason)
{
	assert_int_equal(tell(START), PATH_REPORT_REFUSED);
	assert_string_equal(drop_reason_names[why], drop_reason_names[reason]);
}

static void only_what_was_just_sent_is_believed(void **state)
{
	(void)state;
	expect_refused(DROP_REPORT_SEQUENCE); /* nothing was sent */
	send_packets(2);
	report.sequence = 3;
	expect_refused(DROP_REPORT_SEQUENCE);
	report.sequence = 0;
	expect_refused(DROP_REPORT_SEQUENCE);
	report.sequence = UINT32_MAX;
	expect_refused(DROP_REPORT_SEQUENCE);
	report.sequence = 1;
	report.spi++;
	expect_refused(DROP_REPORT_SPI);
	report.spi = IN_SPI;
	expect_refused(DROP_REPORT_SPI);
	report.spi = OUT_SPI;
	((struct sockaddr_in *)&report.remote)->sin_port++;
	expect_refused(DROP_REPORT_PEER);
	report.remote = peer_address;
	report.packet_size = NARROW; /* a packet that fits was not in the way */
	expect_refused(DROP_REPORT_SIZE);
	report.packet_size = SENT_SIZE;
	assert_int_equal(tunnel.path_mtu, 0);
	assert_int_equal(tell(START), PATH_REPORT_NARROWS);
	assert_int_equal(tunnel.path_mtu, NARROW);
	report.mtu = NARROW - 100;
	send_packets(TUNNEL_PATH_REPORT_WINDOW);
	expect_refused(DROP_REPORT_SEQUENCE); /* too long ago */
	report.sequence = 2;
	assert_int_equal(tell(START), PATH_REPORT_NARROWS);
}

static void the_kernels_count_may_be_a_second_late(void **state)
{
	const struct sa_terms terms = {0};
	const char *cause;

	(void)state;
	report.spi = OUT_SPI + 1;
	report.sequence = 30000;
	assert_int_equal(tunnel_enter_sa(&tunnel, report.spi, false, "AES", &terms, START, &cause),
	                 0);
	assert_int_equal(tell(START), PATH_REPORT_NARROWS);
	report.sequence = TUNNEL_PATH_REPORT_WINDOW + 1;
	expect_refused(DROP_REPORT_SEQUENCE);
}

static void a_path_gets_narrower_and_is_tried_again(void **state)
{
	(void)state;
	send_packets(1);
	assert_int_equal(tell(START), PATH_REPORT_NARROWS);
	assert_int_equal(tell(START + SECOND), PATH_REPORT_KNOWN);
	report.mtu = NARROW + 50;
	assert_int_equal(tell(START + SECOND), PATH_REPORT_KNOWN);
	assert_int_equal(tunnel.path_mtu, NARROW);
	report.mtu = NARROW - 50;
	assert_int_equal(tell(START + SECOND), PATH_REPORT_NARROWS);
	tunnel_advance(&tunnel, START + SECOND + TUNNEL_PATH_MTU_USEC - 1);
	assert_int_equal(tunnel.path_mtu, NARROW - 50);
	tunnel_advance(&tunnel, START + SECOND + TUNNEL_PATH_MTU_USEC);
	assert_int_equal(tunnel.path_mtu, 0);
	assert_int_equal(tell(START + SECOND + TUNNEL_PATH_MTU_USEC), PATH_REPORT_NARROWS);
}

static void another_session_has_another_path(void **state)
{
	(void)state;
	send_packets(1);
	assert_int_equal(tell(START), PATH_REPORT_NARROWS);
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_int_equal(tunnel.path_mtu, 0);
	expect_refused(DROP_REPORT_PEER);
}

/* No IPv6 sender goes below 1280: on a narrower path those packets are fragmented. */
static void ipv6_gets_its_minimum(void **state)
{
	uint8_t packet[SENT_SIZE] = {6 << 4};

	(void)state;
	tunnel.options.outer = (struct outer_policy){DF_COPY, ECN_PROPAGATE, true};
	tunnel.plain_mtu = NARROW - OVERHEAD;
	assert_int_equal(tunnel_fitting_size(&tunnel, packet), NARROW - OVERHEAD);
	assert_true(tunnel_outer_of(&tunnel, packet, IPV6_MINIMUM).has_df);
	tunnel.plain_mtu = PATH_MTU_MINIMUM - OVERHEAD;
	assert_int_equal(tunnel_fitting_size(&tunnel, packet), IPV6_MINIMUM);
	assert_true(tunnel_outer_of(&tunnel, packet, tunnel.plain_mtu).has_df);
	assert_false(tunnel_outer_of(&tunnel, packet, tunnel.plain_mtu + 1).has_df);
	assert_false(tunnel_outer_of(&tunnel, packet, IPV6_MINIMUM).has_df);
	assert_true(tunnel_outer_of(&tunnel, packet, IPV6_MINIMUM + 1).has_df);
	packet[0] = 0x45;
	packet[6] = 0x40;
	assert_int_equal(tunnel_fitting_size(&tunnel, packet), tunnel.plain_mtu);
	assert_true(tunnel_outer_of(&tunnel, packet, IPV6_MINIMUM).has_df);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_report_is_read),
		cmocka_unit_test(no_report_goes_below_the_minimum),
		cmocka_unit_test(others_are_not_read),
		cmocka_unit_test(short_ones_are_not_read),
		cmocka_unit_test_setup_teardown(only_what_was_just_sent_is_believed, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(the_kernels_count_may_be_a_second_late, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(a_path_gets_narrower_and_is_tried_again, setup,
	                                        teardown),
		cmocka_unit_test_setup_teardown(another_session_has_another_path, setup, teardown),
		cmocka_unit_test_setup_teardown(ipv6_gets_its_minimum, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
