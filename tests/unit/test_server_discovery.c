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

#include "services/common/address.h"
#include "services/sip-agent/server_discovery.h"

static struct discovery discovery;
static uint32_t drawn; /* what the randomness gives */

static const struct discovery_rules any = {
	.transports = 1 << TRANSPORT_UDP | 1 << TRANSPORT_TCP | 1 << TRANSPORT_TLS,
	.usual = TRANSPORT_UDP,
};

static void give_drawn(void *context, void *octets, size_t size)
{
	(void)context;
	assert_int_equal(size, sizeof(drawn));
	memcpy(octets, &drawn, size);
}

static void begin(const struct discovery_rules *rules, const char *name, uint16_t port)
{
	struct discovery_target target = {.port = port, .origin = SERVER_BY_DNS};

	snprintf(target.name, sizeof(target.name), "%s", name);
	discovery_begin(&discovery, rules, &target, 1);
}

static void assert_asks(enum dns_type type, const char *name)
{
	struct dns_question question;

	assert_true(discovery_question(&discovery, &question));
	assert_int_equal(question.type, type);
	assert_string_equal(question.name, name);
}

static void give(enum dns_outcome outcome, const struct dns_record *records, size_t count)
{
	struct dns_answer answer = {.outcome = outcome, .ttl_sec = 60, .count = count};

	if (count)
		memcpy(answer.records, records, count * sizeof(*records));
	discovery_answer(&discovery, &answer, give_drawn, NULL);
}

static void give_absent(void)
{
	give(DNS_ABSENT, NULL, 0);
}

static void give_address(const char *text)
{
	struct dns_record record = {0};

	assert_int_equal(inet_pton(AF_INET, text, &record.address), 1);
	give(DNS_FOUND, &record, 1);
}

static void assert_servers(const char *expected)
{
	char text[512] = "", address[ADDRESS_TEXT_SIZE];
	struct dns_question question;

	assert_false(discovery_question(&discovery, &question));
	for (size_t i = 0; i < discovery.server_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s %s", i ? ", " : "",
		         address_format_port(&discovery.servers[i].address, address),
		         sip_transport_name(discovery.servers[i].transport));
	assert_string_equal(text, expected);
}

static void test_a_number_needs_no_question(void **context)
{
	struct discovery_target targets[2] = {{.origin = SERVER_CONFIGURED},
	                                      {.is_secondary = true, .port = 5070}};

	(void)context;
	assert_true(address_parse("192.0.2.5", &targets[0].address));
	assert_true(address_parse("192.0.2.6", &targets[1].address));
	discovery_begin(&discovery, &any, targets, 2);
	assert_servers("192.0.2.5:5060 UDP, 192.0.2.6:5070 UDP");
	assert_true(discovery.servers[1].is_secondary);
	assert_int_equal(discovery.ttl_sec, UINT32_MAX);
	/* the port follows the transport */
	struct discovery_rules tls = any;

	tls.wanted = TRANSPORT_TLS;
	discovery_begin(&discovery, &tls, targets, 1);
	assert_servers("192.0.2.5:5061 TLS");
}

static void test_a_port_means_addresses_alone(void **context)
{
	(void)context;
	begin(&any, "sip.example", 5080);
	assert_asks(DNS_A, "sip.example");
	give_address("192.0.2.5");
	assert_servers("192.0.2.5:5080 UDP");
	assert_string_equal(discovery.servers[0].name, "sip.example");
	assert_int_equal(discovery.ttl_sec, 60);
}

static void test_naptr_chooses_the_transport(void **context)
{
	const struct dns_record naptr[] = {
		{.priority = 20,
	         .weight = 1,
	         .flags = "s",
	         .service = "SIP+D2U",
	         .name = "u.example"},
		{.priority = 10,
	         .weight = 9,
	         .flags = "S",
	         .service = "sip+d2t",
	         .name = "t.example"},
		{.priority = 10,
	         .weight = 5,
	         .flags = "s",
	         .service = "E2U+sip",
	         .name = "x.example"},
		{.priority = 1,
	         .weight = 1,
	         .flags = "u",
	         .service = "SIP+D2U",
	         .name = "y.example"},
	};
	const struct dns_record tcp = {.port = 5062, .name = "h1.example"};
	const struct dns_record udp = {.port = 5064, .name = "h2.example"};

	(void)context;
	begin(&any, "example", 0);
	assert_asks(DNS_NAPTR, "example");
	give(DNS_FOUND, naptr, 4);
	assert_asks(DNS_SRV, "t.example");
	give(DNS_FOUND, &tcp, 1);
	assert_asks(DNS_SRV, "u.example");
	give(DNS_FOUND, &udp, 1);
	assert_asks(DNS_A, "h1.example");
	give_address("192.0.2.1");
	assert_asks(DNS_A, "h2.example");
	give_address("192.0.2.2");
	assert_servers("192.0.2.1:5062 TCP, 192.0.2.2:5064 UDP");
	assert_string_equal(discovery.servers[0].name, "example");
}

static void test_naptr_is_limited_to_what_the_line_speaks(void **context)
{
	const struct dns_record naptr[] = {
		{.priority = 1, .flags = "s", .service = "SIPS+D2T", .name = "s.example"},
		{.priority = 2, .flags = "s", .service = "SIP+D2U", .name = "u.example"},
	};
	struct discovery_rules rules = {.transports = 1 << TRANSPORT_UDP, .usual = TRANSPORT_UDP};

	(void)context;
	begin(&rules, "example", 0);
	give(DNS_FOUND, naptr, 2);
	assert_asks(DNS_SRV, "u.example");
	assert_int_equal(discovery.service_count, 1);
	/* and the configured transport is the only one */
	rules = any;
	rules.wanted = TRANSPORT_TLS;
	begin(&rules, "example", 0);
	give(DNS_FOUND, naptr, 2);
	assert_asks(DNS_SRV, "s.example");
	assert_int_equal(discovery.service_count, 1);
}

static void test_without_naptr_every_service_is_asked_for(void **context)
{
	const struct dns_record record = {.port = 5066, .name = "h.example"};

	(void)context;
	begin(&any, "example", 0);
	give_absent();
	assert_asks(DNS_SRV, "_sip._udp.example");
	give_absent();
	assert_asks(DNS_SRV, "_sips._tcp.example");
	give_absent();
	assert_asks(DNS_SRV, "_sip._tcp.example");
	give(DNS_FOUND, &record, 1);
	assert_asks(DNS_A, "h.example");
	give_address("192.0.2.5");
	assert_servers("192.0.2.5:5066 TCP");
}

static void test_nothing_but_an_address(void **context)
{
	struct discovery_rules rules = {.transports = 1 << TRANSPORT_UDP, .usual = TRANSPORT_UDP};

	(void)context;
	begin(&rules, "example", 0);
	give(DNS_FAILED, NULL, 0); /* some resolvers know no NAPTR */
	assert_asks(DNS_SRV, "_sip._udp.example");
	give_absent();
	assert_asks(DNS_A, "example");
	give_address("192.0.2.5");
	assert_servers("192.0.2.5:5060 UDP");
	assert_int_equal(discovery.failures, 1);
	assert_int_equal(discovery.absences, 0);
}

static void test_a_root_target_means_no_service(void **context)
{
	const struct dns_record root = {.port = 5060};
	struct discovery_rules rules = {.transports = 1 << TRANSPORT_UDP, .usual = TRANSPORT_UDP};

	(void)context;
	begin(&rules, "example", 0);
	give_absent();
	give(DNS_FOUND, &root, 1);
	assert_asks(DNS_A, "example");
}

static void test_the_next_target_is_tried_too(void **context)
{
	struct discovery_target targets[3] = {{.name = "gone.example", .port = 5060},
	                                      {.port = 5060},
	                                      {.name = "b.example", .port = 5060}};

	(void)context;
	assert_true(address_parse("192.0.2.7", &targets[1].address));
	discovery_begin(&discovery, &any, targets, 3);
	assert_asks(DNS_A, "gone.example");
	give_absent();
	assert_asks(DNS_A, "b.example");
	give_address("192.0.2.8");
	assert_servers("192.0.2.7:5060 UDP, 192.0.2.8:5060 UDP");
	assert_int_equal(discovery.absences, 1);
}

static void test_a_server_stands_once_and_is_a_host(void **context)
{
	struct dns_record twice[5] = {0};

	(void)context;
	for (int i = 0; i < 2; i++)
		inet_pton(AF_INET, "192.0.2.5", &twice[i].address);
	begin(&any, "example", 5060);
	inet_pton(AF_INET, "127.0.0.1", &twice[3].address);
	inet_pton(AF_INET, "224.0.1.75", &twice[4].address);
	give(DNS_FOUND, twice, 5); /* the others are 0.0.0.0 and no hosts */
	assert_servers("192.0.2.5:5060 UDP");
}

static void test_priority_then_weight(void **context)
{
	const struct dns_record given[] = {
		{.priority = 20, .weight = 0, .name = "last"},
		{.priority = 10, .weight = 60, .name = "a"},
		{.priority = 10, .weight = 30, .name = "b"},
		{.priority = 10, .weight = 0, .name = "zero"},
	};
	static const struct {
		uint32_t drawn;
		const char *order;
	} cases[] = {{0, "zero"}, {1, "a"}, {60, "a"}, {61, "b"}, {90, "b"}, {91, "zero"}};
	struct dns_record records[4];

	(void)context;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		memcpy(records, given, sizeof(given));
		drawn = cases[i].drawn;
		discovery_order_srv(records, 4, give_drawn, NULL);
		assert_string_equal(records[0].name, cases[i].order);
		assert_string_equal(records[3].name, "last");
	}
}

static uint32_t counter;

static void give_next(void *context, void *octets, size_t size)
{
	(void)context;
	assert_int_equal(size, sizeof(counter));
	counter = counter * 1664525u + 1013904223u;
	const uint32_t value = counter >> 8;

	memcpy(octets, &value, size);
}

static void test_weights_are_shares(void **context)
{
	const struct dns_record given[] = {{.weight = 75, .name = "a"},
	                                   {.weight = 25, .name = "b"}};
	unsigned first = 0;

	(void)context;
	for (int i = 0; i < 10000; i++) {
		struct dns_record records[2] = {given[0], given[1]};

		discovery_order_srv(records, 2, give_next, NULL);
		first += records[0].name[0] == 'a';
	}
	assert_in_range(first, 7200, 7800);
}

/* Nobody's answers make it ask for ever, or write beyond its room. */
static void test_any_answers_end(void **context)
{
	unsigned seed = 11;

	(void)context;
	for (int round = 0; round < 300; round++) {
		struct discovery_target targets[DISCOVERY_TARGET_MAXIMUM] = {0};
		struct dns_question question;
		unsigned questions = 0;

		for (size_t i = 0; i < DISCOVERY_TARGET_MAXIMUM; i++)
			snprintf(targets[i].name, sizeof(targets[i].name), "%zu.example", i);
		discovery_begin(&discovery, &any, targets, DISCOVERY_TARGET_MAXIMUM);
		while (discovery_question(&discovery, &question)) {
			struct dns_answer answer = {
				.outcome = (enum dns_outcome)(rand_r(&seed) % 3 + 1),
				.count = (size_t)rand_r(&seed) % (DNS_RECORDS_MAXIMUM + 1)};

			for (size_t i = 0; i < answer.count; i++) {
				struct dns_record *record = &answer.records[i];

				record->address.s_addr = (in_addr_t)rand_r(&seed);
				record->port = (uint16_t)rand_r(&seed);
				record->weight = (uint16_t)rand_r(&seed);
				snprintf(record->flags, sizeof(record->flags), "s");
				snprintf(record->service, sizeof(record->service), "SIP+D2%c",
				         rand_r(&seed) % 2 ? 'U' : 'T');
				snprintf(record->name, sizeof(record->name), "%d.example",
				         rand_r(&seed) % 9);
			}
			discovery_answer(&discovery, &answer, give_next, NULL);
			assert_in_range(++questions, 1,
			                DISCOVERY_TARGET_MAXIMUM * (1 + 2 * DNS_RECORDS_MAXIMUM));
		}
		assert_in_range(discovery.server_count, 0, SERVER_LIST_MAXIMUM);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_number_needs_no_question),
		cmocka_unit_test(test_a_port_means_addresses_alone),
		cmocka_unit_test(test_naptr_chooses_the_transport),
		cmocka_unit_test(test_naptr_is_limited_to_what_the_line_speaks),
		cmocka_unit_test(test_without_naptr_every_service_is_asked_for),
		cmocka_unit_test(test_nothing_but_an_address),
		cmocka_unit_test(test_a_root_target_means_no_service),
		cmocka_unit_test(test_the_next_target_is_tried_too),
		cmocka_unit_test(test_a_server_stands_once_and_is_a_host),
		cmocka_unit_test(test_priority_then_weight),
		cmocka_unit_test(test_weights_are_shares),
		cmocka_unit_test(test_any_answers_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
