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
#include <unistd.h>

#include "services/common/address.h"
#include "services/nat-qos-agent/reserved_ports.h"
#include "services/nat-qos-agent/ruleset.h"
#include "services/nat-qos-agent/sip_alg.h"
#include "services/nat-qos-agent/translation_core.h"

#define SECOND 1000000ull

static struct config_line lines[] = {
	{.number = "0388881001",
         .wan_interface = "wan0",
         .is_wan_exclusive = true,
         .transports = 1u << TRANSPORT_UDP | 1u << TRANSPORT_TCP,
         .sip_port = 5060,
         .tls_port = 5061,
         .guard_rate = 100,
         .guard_burst = 200},
	{.number = "0388881002", .wan_interface = "wan0", .is_wan_exclusive = true},
	{.number = "0388881003",
         .wan_interface = "wan1",
         .is_wan_exclusive = false,
         .transports = 1u << TRANSPORT_UDP | 1u << TRANSPORT_TLS,
         .sip_port = 5070,
         .tls_port = 5071},
};
static struct config_peer peers[] = {
	{.number = "0388882001", .tunnel = "vsip2", .if_id = 2},
	{.number = "0388883001", .tunnel = "vsip3", .if_id = 3},
};
static struct config config = {
	.first_session_port = 50000,
	.last_session_port = 50002,
	.lines = lines,
	.line_count = 3,
	.peers = peers,
	.peer_count = 2,
};
static struct translation_core *core;
static struct sip_admission *sip_lines;
static struct translation old;

static int open_core(void **context)
{
	(void)context;
	config.timer_msec[TIMER_PORT_REUSE] = 30000;
	assert_true(address_parse("10.255.0.1", &config.tunnel_source));
	core = translation_core_new(&config, 0);
	lines[0].registrar.kind = SERVER_ADDRESS;
	assert_true(address_parse("198.51.100.5", &lines[0].registrar.address));
	lines[0].secondary_registrar.kind = SERVER_ADDRESS;
	assert_true(address_parse("198.51.100.6", &lines[0].secondary_registrar.address));
	lines[1].registrar.kind = SERVER_DHCP;
	sip_lines = sip_admission_new(&config);
	return core == NULL || sip_lines == NULL;
}

static int close_core(void **context)
{
	(void)context;
	translation_core_free(core);
	free(sip_lines);
	return 0;
}

static struct translation translation(uint64_t attempt, uint32_t if_id, uint16_t port)
{
	struct translation result = {.attempt = attempt, .if_id = if_id, .match = REMOTE_EXACT};

	assert_true(address_parse("198.51.100.10", &result.wan));
	address_set_port(&result.wan, port);
	assert_true(address_parse_port("198.51.100.20:50007", 0, &result.remote));
	return result;
}

static uint16_t reserve(const char *tunnel, uint64_t attempt, uint64_t now)
{
	uint16_t port = 0;

	assert_int_equal(translation_core_reserve(core, tunnel, attempt, now, &port),
	                 ORDER_ACCEPTED);
	return port;
}

static void the_same_attempt_has_the_same_port(void **context)
{
	uint16_t port = reserve("vsip2", 1, 0);

	(void)context;
	assert_in_range(port, 50000, 50002);
	assert_int_equal(reserve("vsip2", 1, SECOND), port);
	assert_int_not_equal(reserve("vsip3", 1, SECOND), port);
	assert_int_not_equal(reserve("vsip2", 2, SECOND), port);
	assert_int_equal(port_pool_used(core->ports), 3);
}

static void ports_run_out_and_rest(void **context)
{
	uint16_t first = reserve("vsip2", 1, 0), port = 0;

	(void)context;
	reserve("vsip2", 2, 0);
	reserve("vsip2", 3, 0);
	assert_int_equal(translation_core_reserve(core, "vsip3", 1, 0, &port), ORDER_NO_PORT);
	translation_core_remove(core, "vsip2", 1, SECOND, &old);
	assert_int_equal(translation_core_reserve(core, "vsip3", 1, 30 * SECOND, &port),
	                 ORDER_NO_PORT);
	assert_int_equal(translation_core_reserve(core, "vsip3", 1, 31 * SECOND, &port),
	                 ORDER_ACCEPTED);
	assert_int_equal(port, first);
}

static void lower_attempts_are_stale(void **context)
{
	struct translation wanted = translation(4, 2, 50000);
	struct shaper shaper = {.attempt = 4, .rate_kbit = 64};
	uint16_t port = reserve("vsip2", 5, 0);

	(void)context;
	assert_int_equal(translation_core_reserve(core, "vsip2", 4, 0, &port), ORDER_STALE);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_STALE);
	assert_int_equal(translation_core_shape(core, "vsip2", &shaper), ORDER_STALE);
	assert_int_equal(translation_core_reserve(core, "vsip2", 0, 0, &port), ORDER_STALE);
	assert_int_equal(translation_core_reserve(core, "vsip9", 5, 0, &port),
	                 ORDER_UNKNOWN_TUNNEL);
}

static void what_overtakes_its_removal_is_stale(void **context)
{
	struct translation wanted = translation(7, 2, 50000);
	struct shaper shaper = {.attempt = 8, .rate_kbit = 64};
	uint16_t port;

	(void)context;
	translation_core_remove(core, "vsip2", 7, 0, &old);
	assert_int_equal(translation_core_reserve(core, "vsip2", 7, 0, &port), ORDER_STALE);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_STALE);
	assert_false(translation_core_unshape(core, "vsip2", 8));
	assert_int_equal(translation_core_shape(core, "vsip2", &shaper), ORDER_STALE);
	assert_int_equal(translation_core_reserve(core, "vsip2", 9, 0, &port), ORDER_ACCEPTED);
}

static void install_and_remove_are_idempotent(void **context)
{
	struct translation wanted = translation(1, 2, reserve("vsip2", 1, 0));

	(void)context;
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_ACCEPTED);
	assert_int_equal(old.attempt, 0);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_UNCHANGED);
	translation_core_remove(core, "vsip2", 1, 0, &old);
	assert_int_equal(old.attempt, 1);
	translation_core_remove(core, "vsip2", 1, 0, &old);
	assert_int_equal(old.attempt, 0);
	translation_core_remove(core, "vsip9", 1, 0, &old);
	assert_int_equal(old.attempt, 0);
	assert_int_equal(port_pool_used(core->ports), 0);
}

static void a_port_of_another_attempt_is_refused(void **context)
{
	uint16_t mine = reserve("vsip2", 1, 0), other = reserve("vsip3", 1, 0);
	struct translation wanted = translation(1, 2, other);

	(void)context;
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_PORT_TAKEN);
	wanted = translation(2, 2, other);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_PORT_TAKEN);
	wanted = translation(2, 2, 40000);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_PORT_TAKEN);
	wanted = translation(2, 3, mine);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_WRONG_IF_ID);
}

static void a_port_from_before_a_restart_is_claimed(void **context)
{
	struct translation wanted = translation(7, 2, 50001);
	uint16_t port;

	(void)context;
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_ACCEPTED);
	assert_int_equal(reserve("vsip2", 7, 0), 50001);
	port = reserve("vsip3", 1, 0);
	assert_int_not_equal(port, 50001);
	assert_int_not_equal(reserve("vsip3", 2, 0), 50001);
}

static void a_later_attempt_takes_the_place(void **context)
{
	uint16_t first = reserve("vsip2", 1, 0), second;
	struct translation wanted = translation(1, 2, first);

	(void)context;
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_ACCEPTED);
	second = reserve("vsip2", 2, 0);
	wanted = translation(2, 2, second);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_ACCEPTED);
	assert_int_equal(old.attempt, 1);
	assert_int_equal(address_port(&old.wan), first);
	/* The first attempt's removal arrives late: it must not take the second's translation. */
	translation_core_remove(core, "vsip2", 1, 0, &old);
	assert_int_equal(old.attempt, 0);
	assert_int_equal(translation_core_find(core, "vsip2")->translation.attempt, 2);
}

static void shapers_follow_their_attempt(void **context)
{
	struct shaper shaper = {.attempt = 3, .rate_kbit = 1000, .overhead_byte = 73};

	(void)context;
	assert_int_equal(translation_core_shape(core, "vsip2", &shaper), ORDER_ACCEPTED);
	assert_int_equal(translation_core_shape(core, "vsip2", &shaper), ORDER_UNCHANGED);
	shaper.rate_kbit = 64;
	assert_int_equal(translation_core_shape(core, "vsip2", &shaper), ORDER_ACCEPTED);
	assert_false(translation_core_unshape(core, "vsip2", 2));
	assert_true(translation_core_unshape(core, "vsip2", 3));
	assert_false(translation_core_unshape(core, "vsip2", 3));
	assert_false(translation_core_unshape(core, "vsip9", 3));
}

static char *print(void (*printer)(FILE *stream))
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	printer(stream);
	fclose(stream);
	return text;
}

static struct translation printed;

static void print_add(FILE *stream)
{
	ruleset_print_add(stream, &printed);
}

static void print_delete(FILE *stream)
{
	ruleset_print_delete(stream, &printed);
}

static void print_table(FILE *stream)
{
	ruleset_print_table(stream, &config, core, sip_lines, true);
}

static void assert_contains(void (*printer)(FILE *stream), const char *part, bool is_wanted)
{
	char *text = print(printer);

	if ((strstr(text, part) != NULL) != is_wanted)
		fail_msg("%s \"%s\" in:\n%s", is_wanted ? "no" : "unwanted", part, text);
	free(text);
}

static void each_peer_source_has_its_element(void **context)
{
	(void)context;
	printed = translation(1, 2, 50001);
	assert_contains(print_add, "remote_exact { 2 . 198.51.100.20 . 50007 }", true);
	assert_contains(print_add, "session_mark { 198.51.100.10 . 50001 comment \"1\" : 2 }",
	                true);
	assert_contains(print_add, "source_port { 2 : 50001 }", true);
	assert_contains(print_add, "source_address { 2 : 198.51.100.10 }", true);
	assert_contains(print_add, "remote_any", false);
	assert_contains(print_delete, "delete element ip vpnsip source_port { 2 }", true);
	printed.match = REMOTE_ADDRESS;
	assert_contains(print_add, "remote_address { 2 . 198.51.100.20 }", true);
	assert_contains(print_add, "remote_exact", false);
	printed.match = REMOTE_ANY;
	assert_contains(print_add, "remote_any { 2 }", true);
	assert_contains(print_add, "remote_address", false);
	printed.attempt = 0;
	assert_contains(print_add, "element", false);
	assert_contains(print_delete, "element", false);
}

static void the_table_holds_what_is_in_force(void **context)
{
	struct translation wanted = translation(1, 2, reserve("vsip2", 1, 0));

	(void)context;
	assert_contains(print_table, "add element ip vpnsip session_mark", false);
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old), ORDER_ACCEPTED);
	assert_contains(print_table, "add element ip vpnsip session_mark", true);
	assert_contains(print_table, "elements = { \"vsip2\", \"vsip3\" }", true);
	assert_contains(
		print_table,
		"set wans {\n		type ifname\n		elements = { \"wan0\", \"wan1\" }",
		true);
	assert_contains(
		print_table,
		"set exclusive_wans {\n		type ifname\n		elements = { \"wan0\" }",
		true);
	assert_contains(print_table, "udp dport 50000-50002", true);
	assert_contains(print_table, "table ip6 vpnsip {\n	set exclusive_wans", true);
	assert_contains(print_table, "table ip vpnsip\ndelete table ip vpnsip\n", true);
}

static void names_that_end_the_quotes_are_refused(void **context)
{
	(void)context;
	assert_true(ruleset_is_plain_name("vsip2"));
	assert_false(ruleset_is_plain_name(""));
	assert_false(ruleset_is_plain_name("a\" }"));
	assert_false(ruleset_is_plain_name("wan*"));
}

static void a_listing_is_adopted(void **context)
{
	static const char listing[] =
		"{\"nftables\": [{\"map\": {\"name\": \"session_mark\", \"elem\": ["
		"[{\"elem\": {\"val\": {\"concat\": [\"198.51.100.10\", 50001]}, \"comment\": "
		"\"12\"}}, 2],"
		"[{\"elem\": {\"val\": {\"concat\": [\"198.51.100.10\", 50002]}, \"comment\": "
		"\"13\"}}, 3],"
		"[{\"elem\": {\"val\": {\"concat\": [\"198.51.100.10\", 50000]}, \"comment\": "
		"\"9\"}}, 4],"
		"[{\"concat\": [\"198.51.100.10\", 50003]}, 5], null, 7]}},"
		"{\"set\": {\"name\": \"remote_exact\", \"elem\": [{\"concat\": [2, "
		"\"198.51.100.20\", 50007]}]}},"
		"{\"set\": {\"name\": \"remote_address\"}},"
		"{\"set\": {\"name\": \"remote_any\", \"elem\": [3, 5]}}]}";
	struct translation found[8], wanted = translation(12, 2, 50001);

	(void)context;
	assert_int_equal(ruleset_parse("", found, 8), 0);
	assert_int_equal(ruleset_parse("[1]", found, 8), 0);
	/* The third has no remote, the fourth no attempt. */
	assert_int_equal(ruleset_parse(listing, found, 8), 2);
	assert_int_equal(found[1].match, REMOTE_ANY);
	assert_int_equal(found[1].attempt, 13);
	assert_true(translation_core_adopt(core, &found[0]));
	assert_false(translation_core_adopt(core, &found[0]));
	found[1].if_id = 77;
	assert_false(translation_core_adopt(core, &found[1]));
	assert_int_equal(translation_core_install(core, "vsip2", &wanted, 0, &old),
	                 ORDER_UNCHANGED);
	assert_int_not_equal(reserve("vsip3", 1, 0), 50001);
	translation_core_remove(core, "vsip2", 12, 0, &old);
	assert_int_equal(old.attempt, 12);
}

static struct in_addr server(const char *text)
{
	struct in_addr address;

	assert_int_equal(inet_pton(AF_INET, text, &address), 1);
	return address;
}

static enum sip_admission_outcome admit(const char *number, const struct in_addr *servers,
                                        size_t count)
{
	struct sip_admission *line = sip_admission_find(sip_lines, config.line_count, number);

	assert_non_null(line);
	return sip_admission_set(line, servers, count);
}

static void configured_servers_are_always_admitted(void **context)
{
	struct in_addr ordered[SIP_ADMISSION_MAXIMUM] = {server("203.0.113.1"),
	                                                 server("198.51.100.5")};

	(void)context;
	assert_int_equal(sip_lines[0].server_count, 2);
	assert_int_equal(sip_lines[1].server_count, 0);
	assert_null(sip_admission_find(sip_lines, config.line_count, "0388889999"));
	assert_int_equal(admit("0388881001", ordered, 2), SIP_ADMISSION_CHANGED);
	assert_int_equal(sip_lines[0].server_count, 3);
	assert_int_equal(admit("0388881001", ordered, 2), SIP_ADMISSION_UNCHANGED);
	assert_int_equal(admit("0388881001", ordered + 1, 1), SIP_ADMISSION_CHANGED);
	assert_int_equal(sip_lines[0].server_count, 2);
	for (size_t i = 0; i < SIP_ADMISSION_MAXIMUM; i++)
		ordered[i].s_addr = htonl(0x0a000000 + (uint32_t)i);
	assert_int_equal(admit("0388881001", ordered, SIP_ADMISSION_MAXIMUM),
	                 SIP_ADMISSION_TOO_MANY);
	assert_int_equal(sip_lines[0].server_count, 2);
	assert_int_equal(admit("0388881002", ordered, SIP_ADMISSION_MAXIMUM),
	                 SIP_ADMISSION_CHANGED);
}

static void print_servers(FILE *stream)
{
	struct sip_admission before = sip_lines[0];

	before.servers[0].s_addr = htonl(0xcb007101); /* 203.0.113.1 */
	ruleset_print_admission(stream, &before, &sip_lines[0]);
}

static void each_line_has_its_guard(void **context)
{
	(void)context;
	assert_contains(print_table, "elements = { 5060, 5070, 5071 }", true);
	assert_contains(print_table, "add element ip vpnsip sip_lines { \"wan0\" . 5060 }", true);
	assert_contains(print_table, ". 5071 }", true);
	assert_contains(print_table, ". 5061 }", false);
	for (size_t i = 0; i < 2; i++)
		assert_contains(print_table,
		                i == 0 ? "add element ip vpnsip sip_servers { \"wan0\" . 5060 . "
		                         "198.51.100.5 }"
		                       : "add element ip vpnsip sip_servers { \"wan0\" . 5060 . "
		                         "198.51.100.6 }",
		                true);
	assert_contains(print_table,
	                "sip_rate_udp { \"wan0\" . 5060 . 198.51.100.6 limit rate over "
	                "100/second burst 200 packets }",
	                true);
	/* Of a changed line only what changed: another server's bucket stays as full as it is. */
	assert_contains(print_servers,
	                "delete element ip vpnsip sip_servers { \"wan0\" . 5060 . 203.0.113.1 }",
	                true);
	assert_contains(print_servers,
	                "add element ip vpnsip sip_servers { \"wan0\" . 5060 . 198.51.100.5 }",
	                true);
	assert_contains(print_servers, "198.51.100.6", false);
}

static void servers_are_found_in_a_listing(void **context)
{
	static const char listing[] =
		"{\"nftables\": [{\"set\": {\"name\": \"sip_servers\", \"elem\": ["
		"{\"concat\": [\"wan0\", 5060, \"198.51.100.7\"]}, 3,"
		"{\"concat\": [\"wan0\", 5060, \"no address\"]},"
		"{\"concat\": [\"wan9\", 5060, \"198.51.100.8\"]},"
		"{\"concat\": [\"wan0\", 5059, \"198.51.100.8\"]},"
		"{\"concat\": [\"wan0\", 5060, \"198.51.100.5\"]}]}}]}";

	(void)context;
	ruleset_parse_servers("", sip_lines, config.line_count);
	assert_int_equal(sip_lines[0].server_count, 2);
	ruleset_parse_servers(listing, sip_lines, config.line_count);
	assert_int_equal(sip_lines[0].server_count, 3);
	assert_int_equal(sip_lines[0].servers[2].s_addr, server("198.51.100.7").s_addr);
	/* It is not taken for a configured one. */
	assert_int_equal(admit("0388881001", NULL, 0), SIP_ADMISSION_CHANGED);
	assert_int_equal(sip_lines[0].server_count, 2);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void an_alg_is_noticed(void **context)
{
	char modules[] = "/tmp/vpnsip-modules-XXXXXX", helper[] = "/tmp/vpnsip-helper-XXXXXX";

	(void)context;
	close(mkstemp(modules));
	close(mkstemp(helper));
	assert_int_equal(sip_alg_look("/nonexistent", "/nonexistent"), 0);
	write_file(modules, "nf_conntrack 1 2 - Live 0x0\nnf_conntrack_sip_other 1 0 - Live 0x0\n");
	write_file(helper, "0\n");
	assert_int_equal(sip_alg_look(modules, helper), 0);
	write_file(modules,
	           "nf_nat_sip 16384 0 - Live 0x0\nnf_conntrack_sip 1 1 nf_nat_sip, Live 0\n");
	write_file(helper, "1\n");
	assert_int_equal(sip_alg_look(modules, helper),
	                 SIP_ALG_CONNTRACK_LOADED | SIP_ALG_NAT_LOADED | SIP_ALG_AUTOMATIC);
	for (unsigned i = 0; i < SIP_ALG_SIGNS; i++)
		assert_string_not_equal(sip_alg_text(1u << i), "");
	unlink(modules);
	unlink(helper);
}

static void reserved_ports_are_edited(void **context)
{
	static const struct {
		const char *list;
		bool is_reserved;
		const char *wanted; /* NULL = refused */
	} cases[] = {
		{"\n", true, "50000-50999"},
		{"", true, "50000-50999"},
		{"8080,9148\n", true, "8080,9148,50000-50999"},
		{"50500\n", true, "50000-50999"},
		{"49999,51000-51001\n", true, "49999-51001"},
		{"8080,50000-50999\n", false, "8080"},
		{"50000-50999\n", false, ""},
		{"49990-51010\n", false, "49990-49999,51000-51010"},
		{"0-65535\n", true, "0-65535"},
		{"x\n", true, NULL},
		{"1-\n", true, NULL},
		{"70000\n", true, NULL},
		{"9-5\n", true, NULL},
		{"1;2\n", true, NULL},
	};
	char result[256];

	(void)context;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		bool is_done = reserved_ports_edit(cases[i].list, 50000, 50999,
		                                   cases[i].is_reserved, result, sizeof(result));

		assert_int_equal(is_done, cases[i].wanted != NULL);
		if (is_done)
			assert_string_equal(result, cases[i].wanted);
	}
	assert_false(reserved_ports_edit("1,3,5", 50000, 50999, true, result, 8));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_core, close_core)
	const struct CMUnitTest tests[] = {
		TEST(the_same_attempt_has_the_same_port),
		TEST(ports_run_out_and_rest),
		TEST(lower_attempts_are_stale),
		TEST(what_overtakes_its_removal_is_stale),
		TEST(install_and_remove_are_idempotent),
		TEST(a_port_of_another_attempt_is_refused),
		TEST(a_port_from_before_a_restart_is_claimed),
		TEST(a_later_attempt_takes_the_place),
		TEST(shapers_follow_their_attempt),
		TEST(each_peer_source_has_its_element),
		TEST(the_table_holds_what_is_in_force),
		TEST(a_listing_is_adopted),
		TEST(configured_servers_are_always_admitted),
		TEST(each_line_has_its_guard),
		cmocka_unit_test_setup_teardown(servers_are_found_in_a_listing, open_core,
	                                        close_core),
		cmocka_unit_test(an_alg_is_noticed),
		cmocka_unit_test(names_that_end_the_quotes_are_refused),
		cmocka_unit_test(reserved_ports_are_edited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
