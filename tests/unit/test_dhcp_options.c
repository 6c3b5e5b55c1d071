/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/sip-agent/dhcp_options.h"

#define OCTETS(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static struct dhcp_sip_servers servers;
static struct dhcp_routes routes;
static struct dhcp_vendor vendor;

static const char *text_of(struct in_addr address)
{
	static char text[INET_ADDRSTRLEN];

	return inet_ntop(AF_INET, &address, text, sizeof(text));
}

static void test_addresses_come_in_order(void **context)
{
	(void)context;
	assert_true(dhcp_read_sip_servers(OCTETS(1, 0xc0, 0, 2, 5, 0xc0, 0, 2, 6), &servers));
	assert_int_equal(servers.address_count, 2);
	assert_int_equal(servers.name_count, 0);
	assert_string_equal(text_of(servers.addresses[0]), "192.0.2.5");
	assert_string_equal(text_of(servers.addresses[1]), "192.0.2.6");
}

static void test_addresses_that_are_no_hosts_are_left_out(void **context)
{
	(void)context;
	assert_true(dhcp_read_sip_servers(
		OCTETS(1, 0, 0, 0, 0, 127, 0, 0, 1, 224, 0, 0, 1, 255, 255, 255, 255, 192, 0, 2, 5),
		&servers));
	assert_int_equal(servers.address_count, 1);
	assert_false(dhcp_read_sip_servers(OCTETS(1, 127, 0, 0, 1), &servers));
}

static void test_a_name(void **context)
{
	(void)context;
	assert_true(dhcp_read_sip_servers(
		OCTETS(0, 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3, 'c', 'o', 'm', 0), &servers));
	assert_int_equal(servers.name_count, 1);
	assert_string_equal(servers.names[0], "example.com");
}

static void test_names_are_compressed(void **context)
{
	(void)context;
	/* RFC 3361 section 3.1 leaves the compression of RFC 1035 to the server: "b" and a pointer to "example.com". */
	assert_true(dhcp_read_sip_servers(OCTETS(0, 1, 'a', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 3,
	                                         'c', 'o', 'm', 0, 1, 'b', 0xc0, 2),
	                                  &servers));
	assert_int_equal(servers.name_count, 2);
	assert_string_equal(servers.names[0], "a.example.com");
	assert_string_equal(servers.names[1], "b.example.com");
}

static void test_malformed_servers(void **context)
{
	static const struct {
		uint8_t octets[24];
		size_t size;
	} values[] = {
		{{0}, 0},
		{{1}, 1},
		{{1, 192, 0, 2}, 4},           /* not a whole address */
		{{1, 192, 0, 2, 5, 1}, 6},     /* one and a bit */
		{{2, 192, 0, 2, 5}, 5},        /* no such encoding */
		{{0, 1, 'a'}, 3},              /* no end */
		{{0, 9, 'a', 0}, 4},           /* the label is longer than the value */
		{{0, 0xc0, 0}, 3},             /* a pointer to itself */
		{{0, 1, 'a', 0xc0, 0}, 5},     /* round and round */
		{{0, 1, 'a', 0xc0, 9}, 5},     /* forward */
		{{0, 1, 'a', 0xc0}, 4},        /* half a pointer */
		{{0, 0x41, 'a', 0}, 4},        /* a label of a kind that is not used */
		{{0, 0, 0}, 3},                /* the root is no server */
		{{0, 3, 'a', ' ', 'b', 0}, 6}, /* what SIP headers must not get */
		{{0, 3, 'a', '\r', '\n', 0}, 6},
		{{0, 3, 'a', '.', 'b', 0}, 6},
		{{0, 1, 'a', 0, 1}, 5}, /* good, then cut short */
	};

	(void)context;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		assert_false(dhcp_read_sip_servers(values[i].octets, values[i].size, &servers));
		assert_int_equal(servers.name_count + servers.address_count, 0);
	}
}

static void test_a_name_has_its_longest_length(void **context)
{
	uint8_t value[300];
	size_t size = 0;

	(void)context;
	value[size++] = 0;
	for (int label = 0; label < 4; label++) {
		value[size++] = 62;
		memset(value + size, 'a', 62);
		size += 62;
	}
	value[size++] = 0;
	assert_true(dhcp_read_sip_servers(value, size, &servers));
	assert_int_equal(strlen(servers.names[0]), 4 * 62 + 3);
	/* A fifth label of two letters: 254 characters are one too many. */
	size--;
	memcpy(value + size, (const uint8_t[]){2, 'a', 'a', 0}, 4);
	assert_false(dhcp_read_sip_servers(value, size + 4, &servers));
}

static void test_instances_are_concatenated(void **context)
{
	static const uint8_t field[] = {53, 1, 5, 120, 3, 1, 192, 0,   0,   6, 4, 192,
	                                0,  2, 1, 120, 2, 2, 5,   255, 120, 1, 9};
	uint8_t value[16];

	(void)context;
	assert_int_equal(dhcp_options_collect(field, sizeof(field), 120, value, sizeof(value)), 5);
	assert_memory_equal(value, ((const uint8_t[]){1, 192, 0, 2, 5}), 5);
	assert_int_equal(dhcp_options_collect(field, sizeof(field), 121, value, sizeof(value)), -1);
	assert_int_equal(dhcp_options_collect(field, sizeof(field), 120, value, 4), -1);
	/* cut short within the second instance, before its length, before it */
	assert_int_equal(dhcp_options_collect(field, 18, 120, value, sizeof(value)), -1);
	assert_int_equal(dhcp_options_collect(field, 16, 120, value, sizeof(value)), -1);
	assert_int_equal(dhcp_options_collect(field, 15, 120, value, sizeof(value)), 3);
}

static void test_routes(void **context)
{
	(void)context;
	assert_true(dhcp_read_routes(OCTETS(0, 198, 51, 100, 1, 8, 10, 198, 51, 100, 2, 20, 172, 16,
	                                    0xff, 0, 0, 0, 0, 32, 192, 0, 2, 7, 198, 51, 100, 3),
	                             &routes));
	assert_int_equal(routes.count, 4);
	assert_int_equal(routes.routes[0].prefix_length, 0);
	assert_string_equal(text_of(routes.routes[0].destination), "0.0.0.0");
	assert_string_equal(text_of(routes.routes[1].destination), "10.0.0.0");
	assert_string_equal(text_of(routes.routes[1].gateway), "198.51.100.2");
	assert_string_equal(text_of(routes.routes[2].destination), "172.16.240.0");
	assert_int_equal(routes.routes[2].gateway.s_addr, 0);
	assert_string_equal(text_of(routes.routes[3].destination), "192.0.2.7");
}

static void test_malformed_routes(void **context)
{
	(void)context;
	assert_false(dhcp_read_routes(OCTETS(33, 1, 2, 3, 4, 5, 6, 7, 8, 9), &routes));
	assert_false(dhcp_read_routes(OCTETS(8, 10, 198, 51, 100), &routes));
	assert_false(dhcp_read_routes(OCTETS(0, 198, 51, 100, 1, 24), &routes));
	assert_int_equal(routes.count, 0);
	assert_true(dhcp_read_routes(NULL, 0, &routes));
}

static void test_more_routes_than_there_is_room(void **context)
{
	uint8_t value[5 * (DHCP_ROUTES_MAXIMUM + 3)] = {0};

	(void)context;
	assert_true(dhcp_read_routes(value, sizeof(value), &routes));
	assert_int_equal(routes.count, DHCP_ROUTES_MAXIMUM);
}

/* Of the value in option 125 without tag and length. */
static const uint8_t carrier[] = {0x00, 0x00, 0x00, 0xd2, 0x25, 0xc9, 0x06, 0x00, 0x00, 0x5e, 0x00,
                                  0x53, 0x22, 0xca, 0x0a, 0x30, 0x33, 0x38, 0x38, 0x38, 0x38, 0x31,
                                  0x30, 0x30, 0x31, 0xcc, 0x0f, 0x07, 0x65, 0x78, 0x61, 0x6d, 0x70,
                                  0x6c, 0x65, 0x02, 0x6e, 0x65, 0x02, 0x6a, 0x70, 0x00};

static void test_vendor(void **context)
{
	(void)context;
	assert_true(dhcp_read_vendor(carrier, sizeof(carrier), &vendor));
	assert_true(vendor.is_present);
	assert_true(vendor.has_client_mac);
	assert_memory_equal(vendor.client_mac, "\x00\x00\x5e\x00\x53\x22", 6);
	assert_string_equal(vendor.main_number, "0388881001");
	assert_string_equal(vendor.domain, "example.ne.jp");
	assert_int_equal(vendor.additional_count, 0);
}

static void test_vendor_of_others_is_passed_over(void **context)
{
	uint8_t value[sizeof(carrier) + 8] = {0, 0, 0x13, 0x8b, 3, 1, 2, 3};

	(void)context;
	memcpy(value + 8, carrier, sizeof(carrier));
	assert_true(dhcp_read_vendor(value, sizeof(value), &vendor));
	assert_string_equal(vendor.main_number, "0388881001");
	assert_true(dhcp_read_vendor(value, 8, &vendor));
	assert_false(vendor.is_present);
	assert_true(dhcp_read_vendor(value, 0, &vendor));
	assert_false(vendor.is_present);
}

static void test_additional_numbers(void **context)
{
	(void)context;
	assert_true(dhcp_read_vendor(OCTETS(0, 0, 0, 210, 18, 203, 1, '1', 203, 1, '2', 203, 1, '3',
	                                    203, 1, '4', 203, 1, '5', 202, 1, '9'),
	                             &vendor));
	assert_int_equal(vendor.additional_count, DHCP_NUMBERS_MAXIMUM);
	assert_string_equal(vendor.additional_numbers[3], "4");
	assert_string_equal(vendor.main_number, "9");
}

static void test_malformed_vendor(void **context)
{
	uint8_t twice[2 * sizeof(carrier)];

	(void)context;
	for (size_t size = 1; size < sizeof(carrier); size++) {
		assert_false(dhcp_read_vendor(carrier, size, &vendor));
		assert_false(vendor.is_present);
	}
	memcpy(twice, carrier, sizeof(carrier));
	memcpy(twice + sizeof(carrier), carrier, sizeof(carrier));
	assert_false(dhcp_read_vendor(twice, sizeof(twice), &vendor));
	assert_false(dhcp_read_vendor(OCTETS(0, 0, 0, 210, 5, 202, 3, '1', '\n', '2'), &vendor));
	assert_false(dhcp_read_vendor(OCTETS(0, 0, 0, 210, 7, 201, 5, 1, 2, 3, 4, 5), &vendor));
	assert_false(dhcp_read_vendor(OCTETS(0, 0, 0, 210, 6, 204, 4, 1, 'a', 0, 0), &vendor));
	assert_false(dhcp_read_vendor(OCTETS(0, 0, 0, 210, 3, 202, 2, '1'), &vendor));
}

/* Whatever the octets: what is returned can be used, and the sanitizers find nothing. Each value lies at the end of its memory. */
static void test_any_octets(void **context)
{
	unsigned seed = 20260101;

	(void)context;
	for (int round = 0; round < 20000; round++) {
		const size_t size = (size_t)rand_r(&seed) % 64 + 1;
		uint8_t *value = malloc(size);
		uint8_t collected[32];

		assert_non_null(value);
		for (size_t i = 0; i < size; i++)
			value[i] = (uint8_t)(rand_r(&seed) % 3 ? rand_r(&seed) % 8 : rand_r(&seed));
		if (round % 2)
			memcpy(value, carrier, size < sizeof(carrier) ? size : sizeof(carrier));
		value[(size_t)rand_r(&seed) % size] = (uint8_t)rand_r(&seed);
		if (dhcp_read_sip_servers(value, size, &servers))
			for (size_t i = 0; i < servers.name_count; i++)
				assert_true(dhcp_is_name(servers.names[i]));
		if (dhcp_read_vendor(value, size, &vendor) && vendor.domain[0])
			assert_true(dhcp_is_name(vendor.domain));
		dhcp_read_routes(value, size, &routes);
		assert_true(dhcp_options_collect(value, size, 3, collected, sizeof(collected)) <=
		            (int)sizeof(collected));
		free(value);
	}
}

static void test_names(void **context)
{
	(void)context;
	assert_true(dhcp_is_name("example.com"));
	assert_true(dhcp_is_name("_sip._udp.a-1.example"));
	assert_false(dhcp_is_name(""));
	assert_false(dhcp_is_name("a..b"));
	assert_false(dhcp_is_name(".a"));
	assert_false(dhcp_is_name("a."));
	assert_false(dhcp_is_name("a b"));
	assert_false(dhcp_is_name("a\nb"));
	assert_false(dhcp_is_name(
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.b"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses_come_in_order),
		cmocka_unit_test(test_addresses_that_are_no_hosts_are_left_out),
		cmocka_unit_test(test_a_name),
		cmocka_unit_test(test_names_are_compressed),
		cmocka_unit_test(test_malformed_servers),
		cmocka_unit_test(test_a_name_has_its_longest_length),
		cmocka_unit_test(test_instances_are_concatenated),
		cmocka_unit_test(test_routes),
		cmocka_unit_test(test_malformed_routes),
		cmocka_unit_test(test_more_routes_than_there_is_room),
		cmocka_unit_test(test_vendor),
		cmocka_unit_test(test_vendor_of_others_is_passed_over),
		cmocka_unit_test(test_additional_numbers),
		cmocka_unit_test(test_malformed_vendor),
		cmocka_unit_test(test_any_octets),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
