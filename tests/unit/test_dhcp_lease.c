/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/config.h"
#include "services/sip-agent/discovery_message.h"

static struct dhcp_lease lease;

static const char *text_of(struct in_addr address)
{
	static char text[INET_ADDRSTRLEN];

	return inet_ntop(AF_INET, &address, text, sizeof(text));
}

static void test_raw_options(void **context)
{
	(void)context;
	dhcp_lease_read("client=dhclient\naddress=198.51.100.10\ndns=192.0.2.1 192.0.2.2\n"
	                "sip=192.0.2.99\noption120=01C0000205\noption121=080ac6336401\n"
	                "option125=000000d203ca0133\n",
	                &lease);
	assert_string_equal(lease.client, "dhclient");
	assert_string_equal(text_of(lease.address), "198.51.100.10");
	assert_int_equal(lease.dns_count, 2);
	/* the octets win over what a client made of them */
	assert_int_equal(lease.servers.address_count, 1);
	assert_string_equal(text_of(lease.servers.addresses[0]), "192.0.2.5");
	assert_int_equal(lease.routes.count, 1);
	assert_string_equal(text_of(lease.routes.routes[0].gateway), "198.51.100.1");
	assert_string_equal(lease.vendor.main_number, "3");
	assert_string_equal(lease.vendor_text, "000000d203ca0133");
	assert_int_equal(lease.malformed, 0);
}

static void test_options_that_the_client_decoded(void **context)
{
	(void)context;
	dhcp_lease_read("client=dhcpcd\nsip=a.example.com. b.example.com\n"
	                "routes=10.0.0.0/8 198.51.100.1 0.0.0.0/0 198.51.100.1",
	                &lease);
	assert_int_equal(lease.servers.name_count, 2);
	assert_string_equal(lease.servers.names[0], "a.example.com");
	assert_int_equal(lease.routes.count, 2);
	assert_int_equal(lease.routes.routes[1].prefix_length, 0);
}

static void test_networkd(void **context)
{
	(void)context;
	dhcp_lease_read_networkd(
		"# This is private data. Do not "
		"parse.\nADDRESS=198.51.100.10\nNETMASK=255.255.255.0\n"
		"ROUTER=198.51.100.1\nDNS=192.0.2.1\nSIP=192.0.2.5 192.0.2.6\n"
		"CLASSLESS_ROUTES=10.0.0.0/8,198.51.100.1 172.16.0.0/12,198.51.100.1\n"
		"OPTION_224=00\n",
		&lease);
	assert_string_equal(lease.client, "systemd-networkd");
	assert_string_equal(text_of(lease.address), "198.51.100.10");
	assert_int_equal(lease.servers.address_count, 2);
	assert_int_equal(lease.routes.count, 2);
	assert_int_equal(lease.routes.routes[1].prefix_length, 12);
	assert_int_equal(lease.malformed, 0);
}

static void test_malformed_lines_are_left_out(void **context)
{
	(void)context;
	dhcp_lease_read(
		"address=here\noption120=01c00\noption121=zz\noption125=\n=\nroutes=10/33 x\n"
		"sip=a b!c ../x\nclient=averylongnameofaclientthatnobodyhas\ndns=x",
		&lease);
	assert_int_equal(lease.address.s_addr, 0);
	assert_int_equal(lease.malformed, 4);
	assert_int_equal(lease.servers.name_count, 1);
	assert_int_equal(lease.routes.count, 0);
	assert_int_equal(lease.dns_count, 0);
	assert_int_equal(strlen(lease.client), DHCP_CLIENT_SIZE - 1);
}

static void test_any_difference_is_one(void **context)
{
	static const char *const texts[] = {"",
	                                    "client=a",
	                                    "address=192.0.2.1",
	                                    "dns=192.0.2.1",
	                                    "sip=a.example",
	                                    "routes=10.0.0.0/8 192.0.2.1",
	                                    "option125=000000d203ca0133",
	                                    "option125=00"};
	struct dhcp_lease other;

	(void)context;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		for (size_t j = 0; j < sizeof(texts) / sizeof(*texts); j++) {
			dhcp_lease_read(texts[i], &lease);
			dhcp_lease_read(texts[j], &other);
			assert_int_equal(dhcp_lease_is_same(&lease, &other), i == j);
			other.written_at_usec = 1;
			assert_false(dhcp_lease_is_same(&lease, &other));
		}
}

static void test_any_text(void **context)
{
	static const char *const pieces[] = {
		"client",   "=",  "\n", "option120=", "01",       "sip=", " ",   "routes=", "/",
		"10.0.0.0", "32", "c0", "option125=", "000000d2", "dns=", "a.b", ".",       ","};
	unsigned seed = 7;
	char text[512];

	(void)context;
	for (int round = 0; round < 20000; round++) {
		size_t length = 0;

		text[0] = '\0';
		for (int i = rand_r(&seed) % 24; i > 0; i--)
			length += (size_t)snprintf(
				text + length, sizeof(text) - length, "%s",
				pieces[(size_t)rand_r(&seed) % (sizeof(pieces) / sizeof(*pieces))]);
		dhcp_lease_read(text, &lease);
		dhcp_lease_read_networkd(text, &lease);
	}
}

static void test_message(void **context)
{
	struct config_line line = {.number = "0388881001", .wan_interface = "wan0"};
	struct sip_server server = {.transport = TRANSPORT_TCP, .name = "a.example"};
	struct discovery_message message;

	(void)context;
	assert_true(address_parse_port("192.0.2.5:5060", 0, &server.address));
	dhcp_lease_read("client=dhcpcd\nsip=example.com\nroutes=10.0.0.0/8 0.0.0.0\n"
	                "option125=000000d20cca0133cb0134c906020000000001\n",
	                &lease);
	struct discovery_report report = {.line = &line,
	                                  .origin = SERVER_BY_DHCP,
	                                  .lease = &lease,
	                                  .servers = &server,
	                                  .server_count = 1,
	                                  .cause = "none"};
	assert_true(message_from_discovery(&message, &report, NULL));
	const Vpnsip__DiscoveryChanged *changed = &message.changed;

	assert_int_equal(changed->source, VPNSIP__DISCOVERY_SOURCE__DISCOVERY_DHCP);
	assert_int_equal(changed->n_servers, 1);
	assert_string_equal(changed->servers[0]->transport, "TCP");
	assert_int_equal(changed->servers[0]->address->port, 5060);
	assert_string_equal(changed->lease_interface, "wan0");
	assert_string_equal(changed->server_option, "dns:example.com");
	assert_int_equal(changed->n_routes, 1);
	assert_int_equal(changed->routes[0]->gateway.len, 0);
	assert_string_equal(changed->main_number, "");
	discovery_message_release(&message);
	report.lease = NULL;
	assert_true(message_from_discovery(&message, &report, NULL));
	assert_string_equal(changed->lease_interface, "");
	assert_int_equal(changed->n_routes, 0);
	discovery_message_release(&message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raw_options),
		cmocka_unit_test(test_options_that_the_client_decoded),
		cmocka_unit_test(test_networkd),
		cmocka_unit_test(test_malformed_lines_are_left_out),
		cmocka_unit_test(test_any_difference_is_one),
		cmocka_unit_test(test_any_text),
		cmocka_unit_test(test_message),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
