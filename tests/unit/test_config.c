/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The configuration library: what is accepted, what is refused and with which words, and that its print is its own input. */
#include "config_fixture.h"
#include "services/common/address.h"
#include "services/common/config_internal.h"

/* A small configuration without a finding. Tests change one place of it. */
static const char good[] = "tunnel-source = \"10.255.0.1\"\n"              /* 1 */
			   "keyring-file = \"/nonexistent/ike.keyring\"\n" /* 2 */
			   "line \"0388881001\" {\n"                       /* 3 */
			   " wan-interface = \"wan0\"\n"
			   " registrar = \"198.51.100.5\"\n"
			   "}\n"
			   "ike-profile \"default\" { }\n"    /* 7 */
			   "ipsec-profile \"default\" {\n"    /* 8 */
			   " idle-time = 120\n"               /* 9 */
			   "}\n"                              /* 10 */
			   "peer \"0388882001\" {\n"          /* 11 */
			   " tunnel = \"vsip2\"\n"            /* 12 */
			   " address = \"10.254.0.1/32\"\n"   /* 13 */
			   " bandwidth = 512\n"               /* 14 */
			   "}\n"                              /* 15 */
			   "route {\n"                        /* 16 */
			   " destination = \"10.2.0.0/24\"\n" /* 17 */
			   " tunnel = \"vsip2\"\n"            /* 18 */
			   "}\n";                             /* 19 */

/* `good` with the first `old` replaced. */
static struct config *load_changed(const char *old, const char *new, struct findings *findings)
{
	const char *place = strstr(good, old);
	struct config *config;
	char *text;

	assert_non_null(place);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(place - good), good, new,
	                     place + strlen(old)) > 0);
	config = load(text, findings);
	free(text);
	return config;
}

static void test_good(void **state)
{
	struct findings findings;
	struct config *config = load(good, &findings);
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_string_equal(findings.text, "");
	assert_non_null(config);
	assert_true(config->is_enabled);
	assert_int_equal(config->peer_count, 1);
	assert_int_equal(config->peers[0].if_id, 2);
	assert_ptr_equal(config->peers[0].line, &config->lines[0]);
	assert_ptr_equal(config->peers[0].ike_profile, &config->ike_profiles[0]);
	assert_ptr_equal(config->routes[0].peer, &config->peers[0]);
	assert_int_equal(config->peers[0].line_number, 11);
	assert_int_equal(config->peers[0].minimum_bandwidth_kbit, 64);
	assert_int_equal(config->peers[0].peer_source, PEER_SOURCE_CONFIG_ADDRESS);
	assert_int_equal(config->ipsec_profiles[0].idle_msec, 120000);
	assert_int_equal(config->ipsec_profiles[0].lifetime_byte, 4608000ull * 1024);
	assert_int_equal(config->first_session_port, 50000);
	assert_int_equal(config->last_session_port, 50999);
	assert_int_equal(config->timer_msec[TIMER_HOLDDOWN], 30000);
	assert_int_equal(config->lines[0].registrar.kind, SERVER_ADDRESS);
	assert_string_equal(address_format(&config->lines[0].registrar.address, text),
	                    "198.51.100.5");
	assert_string_equal(config->lines[0].domain, "198.51.100.5");
	assert_string_equal(config->lines[0].user, "0388881001");
	assert_int_equal(strlen(config->digest), 64);
	assert_ptr_equal(config_peer_by_number(config, "0388882001"), &config->peers[0]);
	assert_null(config_peer_by_number(config, "0388881001"));
	assert_ptr_equal(config_peer_by_if_id(config, 2), &config->peers[0]);
	assert_ptr_equal(config_peer_by_tunnel(config, "vsip2"), &config->peers[0]);
	assert_ptr_equal(config_line_by_number(config, "0388881001"), &config->lines[0]);
	config_free(config);
}

static const struct {
	const char *old, *new;
	const char *finding; /* of level error unless it begins with "warning: " */
} changes[] = {
	{"bandwidth", "bandwith", "14 error: unknown option 'bandwith'; did you mean 'bandwidth'?"},
	{"route {", "ruote {",
         "16 error: unknown option or section 'ruote'; did you mean 'route'?"},
	{"bandwidth = 512", "bandwidth = 65",
         "11 error: bandwidth = 65: expected 64, 128, 256, 512"},
	{"bandwidth = 512", "bandwidth = many", "14 error: bandwidth = \"many\": expected a whole"},
	{"bandwidth = 512", "bandwidth = 512 bandwidth = 64",
         "14 error: 'bandwidth' is given twice"},
	{" bandwidth = 512\n", "", "11 error: bandwidth is missing: kbit/s"},
	{"512\n", "512\n minimum-bandwidth = 1000\n",
         "11 error: minimum-bandwidth = 1000 is above"},
	{"bandwidth = 512", "bandwidth 512", "14 error: expected '=' after 'bandwidth'"},
	{" idle-time = 120\n", "", "8 error: idle-time is missing: without it a call never ends"},
	{" idle-time = 120\n", "", "120 (seconds) is recommended"},
	{"idle-time = 120", "idle-time = 0", "9 error: idle-time = \"0\": expected a number of"},
	{"\"vsip2\"", "\"vsip\"", "11 error: tunnel = \"vsip\": expected a name that ends with a"},
	{"\"vsip2\"", "\"vsip0\"", "11 error: tunnel = \"vsip0\": expected a name that ends with"},
	{"\"vsip2\"", "\"vsip222222222222\"",
         "12 error: tunnel = \"vsip222222222222\": expected an"},
	{" tunnel = \"vsip2\"\n}", " tunnel = \"vsip3\"\n}",
         "there is no such tunnel; did you mean"},
	{"10.254.0.1/32", "10.254.0.1/33", "13 error: address = \"10.254.0.1/33\": expected an"},
	{" address = \"10.254.0.1/32\"\n", "", "11 error: address is missing"},
	{"/32\"", "/32\" unnumbered = \"lan0\"", "11 error: address and unnumbered exclude each"},
	{"10.2.0.0/24", "10.2.0.7/24",
         "16 error: destination is an address inside a network: the "
         "network is 10.2.0.0/24"},
	{" tunnel = \"vsip2\"\n}", "}", "16 error: where the route leads is missing"},
	{"\"vsip2\"\n}", "\"vsip2\" gateway = \"1.2.3.4\"\n}",
         "16 error: a route through a tunnel"},
	{"route {", "route { destination = \"10.2.0.0/24\" tunnel = \"vsip2\" }\nroute {",
         "17 error: route to 10.2.0.0/24 has the same metric"},
	{"198.51.100.5", "sip..example", "5 error: registrar = \"sip..example\": expected address"},
	{"198.51.100.5", "198.51.100", "5 error: registrar = \"198.51.100\": expected address"},
	{"198.51.100.5", "198.51.100.5:99999", "5 error: registrar = \"198.51.100.5:99999\""},
	{"\"198.51.100.5\"", "\"198.51.100.5\" transport = sctp", "expected udp, tcp or tls"},
	{"\"198.51.100.5\"", "\"198.51.100.5\" transport = { udp, tls }",
         "3 error: TLS needs a crypto-signaling"},
	{"\"198.51.100.5\"", "\"198.51.100.5\" transport = udp session-transport = tcp",
         "3 error: session-transport = tcp is not among transport"},
	{"\"198.51.100.5\"", "\"198.51.100.5\" url = sips", "3 error: url = sips needs"},
	{"line \"0388881001\"", "line \"03-8888\"",
         "3 error: line = \"03-8888\": expected a number"},
	{"peer \"0388882001\"", "peer \"0388881001\"", "11 error: peer \"0388881001\" is our own"},
	{"ike-profile \"default\" { }", "", "11 error: there is no ike-profile"},
	{"ike-profile \"default\" { }", "ike-profile \"a\" { } ike-profile \"b\" { }",
         "11 error: ike-profile is missing: there are several and none is named \"default\""},
	{"ike-profile \"default\" {", "ike-profile \"default\" { authentication = rsa-sig",
         "7 error: authentication = \"rsa-sig\": expected pre-share"},
	{"ike-profile \"default\" {", "ike-profile \"default\" { authentication = self-signed",
         "7 error: authentication by certificate needs a trustpoint"},
	{"ike-profile \"default\" {",
         "trustpoint \"t\" { ca-file = \"/ca\" }\nike-profile \"default\" { trustpoint = \"t\"",
         "8 error: authentication = pre-share uses no trustpoint"},
	{"ike-profile \"default\" {",
         "trustpoint \"t\" { certificate-file = \"/c\" key-file = \"/k\" }\n"
         "ike-profile \"default\" { authentication = certificate trustpoint = \"t\"",
         "8 error: authentication = certificate: trustpoint \"t\" has no ca-file"},
	{"ike-profile \"default\" {", "ike-profile \"default\" { match-identity = certificate-map",
         "7 error: match-identity = certificate-map and certificate-map = \"NAME\" belong"},
	{"ike-profile \"default\" {",
         "certificate-map \"m\" { subject-name = \"cn=a\" }\nike-profile \"default\" {",
         "7 error: subject-name = \"cn=a\": expected an operator and a text"},
	{"ike-profile \"default\" {", "certificate-map \"m\" { }\nike-profile \"default\" {",
         "7 error: certificate-map \"m\" has no rule"},
	{"ike-profile \"default\" {", "trustpoint \"t\" { }\nike-profile \"default\" {",
         "7 error: certificate-file (ours) or ca-file"},
	{"ike-profile \"default\" {",
         "trustpoint \"t\" { ca-file = \"/ca\" enrollment = scep }\nike-profile \"default\" {",
         "7 error: enrollment: enrollment-url is missing"},
	{"ike-profile \"default\" { }", "ike-profile \"default\" { } ike-profile \"default\" { }",
         "error: \"default\" is already configured further up"},
	{"512\n}", "512\n", "11 error: section 'peer' is not closed"},
	{"\"vsip2\"\n}\n", "\"vsip2\n}\n",
         "18 error: tunnel: a text does not go over the end of a line"},
	{"tunnel-source = \"10.255.0.1\"\n", "", "0 error: tunnel-source is missing"},
	{"idle-time = 120", "idle-time = 120 replay-window = 32", "8 error: replay-window = 32:"},
	{"512\n", "512 fingerprint = \"SHA-256 AA:BB\"\n", "14 error: fingerprint = "},
	{"512\n", "512 fingerprint = \"MD5 AA:BB\"\n", "14 error: fingerprint = "},
	{"512\n", "512 mtu = 100\n", "11 error: mtu = 100"},
	{"route {", "track 1 { sla = 4 }\nroute {", "16 error: sla = \"4\": there is no such sla"},
	{"route {", "sla 0 { icmp-echo = \"1.1.1.1\" }\nroute {",
         "16 error: sla = \"0\": expected"},
	{"route {", "sla 1 { icmp-echo = \"1.1.1.1\" } sla 01 { icmp-echo = \"1.1.1.2\" }\nroute {",
         "16 error: sla 1 is already configured in line 16"},
	{"route {", "session-ports = { 50000 }\nroute {", "16 error: session-ports: expected two"},
	{"route {", "session-ports = { 5, 50000 }\nroute {", "16 error: session-ports = \"5\""},
	{"route {", "session-ports = { 50009, 50000 }\nroute {",
         "the first port is above the last"},
	{"route {", "maximum-setups = 1001\nroute {",
         "16 error: maximum-setups = \"1001\": expected a whole number from 1 to 1000"},
	{"route {", "call-records-days = 0\nroute {",
         "16 error: call-records-days = \"0\": expected a whole number from 1"},
	{"route {", "timers { answer = -1 }\nroute {",
         "16 error: answer = \"-1\": expected a number"},
	{"route {", "timers { anwser = 1 }\nroute {",
         "unknown option 'anwser'; did you mean 'answer'"},
	{"route {", "timers { holddown = 600 }\nroute {",
         "timer holddown is above holddown-maximum"},
	{"route {",
         "peer \"7\" { tunnel = \"vsip2\" address = \"10.0.0.1\" bandwidth = 64 }\nroute {",
         "16 error: tunnel \"vsip2\" already belongs to peer \"0388882001\" (line 11)"},
	{"route {",
         "peer \"7\" { tunnel = \"x02\" address = \"10.0.0.1\" bandwidth = 64 }\nroute {",
         "16 error: tunnel \"x02\" ends with the same number as \"vsip2\" (line 11)"},
	{"route {", "line \"7\" { wan-interface = \"w\" registrar = \"1.1.1.1\" }\nroute {",
         "11 error: line is missing: there are 2 lines"},
};

static void test_errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(changes); i++) {
		struct findings findings;
		struct config *config = load_changed(changes[i].old, changes[i].new, &findings);

		if (config || !strstr(findings.text, changes[i].finding))
			fail_msg("change to <%s> gave <%s>, expected <%s>", changes[i].new,
			         findings.text, changes[i].finding);
	}
}

static const struct {
	const char *old, *new, *warning;
} unwise[] = {
	{"ike-profile \"default\" {",
         "trustpoint \"t\" { certificate-file = \"/c\" key-file = \"/k\" }\n"
         "ike-profile \"default\" { authentication = self-signed trustpoint = \"t\"",
         "peer \"0388882001\" trusts the carrier"},
	{"route {", "timers { failback = 2 }\nroute {",
         "16 other: timer failback = 2: recommended are 10 to 3600 seconds"},
	{"keyring-file = \"/nonexistent/ike.keyring\"", "", "keyring-file is missing"},
	{"route {",
         "peer \"7\" { tunnel = \"vsip7\" address = \"10.0.0.1\" bandwidth = 64 }\nroute {",
         "16 other: peer \"7\" has no route: no packet will ever call it"},
	{"route {",
         "peer \"7\" { tunnel = \"vsip7\" address = \"10.0.0.1\" bandwidth = 64 }\n"
         "route { destination = \"10.0.0.0/8\" tunnel = \"vsip7\" }\nroute {",
         "18 other: routes overlap: 10.2.0.0/24 (tunnel \"vsip2\") and 10.0.0.0/8 (tunnel "
         "\"vsip7\""},
	{"route {", "route { destination = \"10.2.0.0/24\" interface = \"p\" metric = 5 }\nroute {",
         "17 other: route to 10.2.0.0/24 through tunnel \"vsip2\" has a better metric"},
	{"idle-time = 120", "idle-time = 120 replay-window = 0", "8 other: replay-window = 0"},
};

static void test_warnings(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(unwise); i++) {
		struct findings findings;
		struct config *config = load_changed(unwise[i].old, unwise[i].new, &findings);

		if (!config || findings.warnings != 1 || !strstr(findings.text, unwise[i].warning))
			fail_msg("change to <%s> gave <%s>, expected <%s>", unwise[i].new,
			         findings.text, unwise[i].warning);
		config_free(config);
	}
}

/* Errors do not hide each other. */
static void test_several_errors(void **state)
{
	struct findings findings;

	(void)state;
	assert_null(load("tunnel-source = \"x\"\n"
	                 "line \"1\" { registrar = \"y..\" wan-interface = \"wan0\" }\n"
	                 "sla 1 { }\n",
	                 &findings));
	assert_int_equal(findings.errors, 3);
}

static void test_more_values(void **state)
{
	static const char pin[] =
		"512\n fingerprint = \"sha-256 "
		"000102030405060708090a0b0c0d0e0f:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:"
		"1F\"\n"
		" any-bandwidth = yes minimum-bandwidth = 32 enabled = off peer-source = any\n";
	struct findings findings;
	struct config *config = load_changed("512\n", pin, &findings);
	struct config_peer *peer;

	(void)state;
	assert_non_null(config);
	peer = &config->peers[0];
	assert_true(peer->has_fingerprint);
	assert_string_equal(peer->fingerprint_hash, "SHA-256");
	assert_int_equal(peer->fingerprint_size, 32);
	for (size_t i = 0; i < 32; i++)
		assert_int_equal(peer->fingerprint[i], i);
	assert_true(peer->allows_any_bandwidth);
	assert_int_equal(peer->minimum_bandwidth_kbit, 32);
	assert_false(peer->is_enabled);
	assert_int_equal(peer->peer_source, PEER_SOURCE_CONFIG_ANY);
	config_free(config);
	config = load_changed("idle-time = 120", "idle-time = 1.25", &findings);
	assert_non_null(config);
	assert_int_equal(config->ipsec_profiles[0].idle_msec, 1250);
	config_free(config);
	config = load("line \"1\" { wan-interface = \"w\" registrar = \"[2001:db8::5]:5070\" }",
	              &findings);
	assert_non_null(config);
	assert_int_equal(config->lines[0].registrar.address.ss_family, AF_INET6);
	assert_int_equal(address_port(&config->lines[0].registrar.address), 5070);
	config_free(config);
}

static void test_print_is_input(void **state)
{
	struct findings findings;

	(void)state;
	expect_round_trip(load(good, &findings));
	expect_round_trip(load_changed(
		"512\n", "512 description = \"a \\\"quoted\\\" it's \\\\ \\$\" mtu = 1300\n",
		&findings));
	expect_round_trip(load_changed(
		"idle-time = 120", "idle-time = 0.75 lifetime-kilobytes = 7 lifetime-packets = 9",
		&findings));
	expect_round_trip(load_changed("route {",
	                               "sla 1 { icmp-echo = \"192.0.2.11\" interface = \"p\" "
	                               "frequency = 0.5 timeout = 400 threshold = 400 }\n"
	                               "track 3 { sla = 1 delay-up = 0.2 down-count = 2 }\n"
	                               "timers { failback = 2.5 } session-ports = { 51000, 51010 } "
	                               "enabled = false log-level = debug\n"
	                               "route { destination = \"10.2.0.0/24\" gateway = "
	                               "\"192.0.2.1\" track = 3 metric = 0 }\nroute {",
	                               &findings));
	expect_round_trip(load_changed(
		"512\n", "512 fingerprint = \"SHA-1 000102030405060708090a0b0c0d0e0f10111213\"\n",
		&findings));
}

static void test_print_keeps_values(void **state)
{
	struct findings findings;
	struct config *config =
		load_changed("512\n", "512 description = \"a \\\"b\\\" '\\\\' $\"\n", &findings);
	struct config *again;
	char *text;

	(void)state;
	assert_non_null(config);
	assert_string_equal(config->peers[0].description, "a \"b\" '\\' $");
	text = print(config);
	again = load(text, &findings);
	assert_non_null(again);
	assert_string_equal(again->peers[0].description, config->peers[0].description);
	free(text);
	config_free(config);
	config_free(again);
}

/* Every text of the check that reads the secrets. */
static void test_reality(void **state)
{
	struct findings findings;
	char keyring[64], change[128];
	struct config *config;

	(void)state;
	write_temporary(keyring, "peer a { identity-key-id = 1 pre-shared-key = secret }\n");
	snprintf(change, sizeof(change), "\"%s\"", keyring);
	config = load_changed("\"/nonexistent/ike.keyring\"", change, &findings);
	assert_non_null(config);
	assert_int_equal(config_check_reality(config, collect, &findings), 0);
	assert_non_null(strstr(findings.text, "no identity-key-id = \"0388882001\" in "));
	config_free(config);
	unlink(keyring);

	write_temporary(keyring,
	                "peer a { identity-key-id = 0388882001 pre-shared-key = secret }\n");
	snprintf(change, sizeof(change), "\"%s\"", keyring);
	config = load_changed("\"/nonexistent/ike.keyring\"", change, &findings);
	assert_non_null(config);
	assert_int_equal(config_check_reality(config, collect, &findings), 0);
	assert_non_null(strstr(findings.text, "the key of \"0388882001\" is weak"));
	assert_null(strstr(findings.text, "secret"));
	config_free(config);
	unlink(keyring);

	config = load_changed("wan0", "lo", &findings);
	assert_non_null(config);
	config->peers[0].mtu = 65536;
	assert_int_equal(config_check_reality(config, collect, &findings), 1);
	assert_non_null(strstr(findings.text, "11 other: mtu = 65536 is not below 65536"));
	assert_non_null(strstr(findings.text, "error: /nonexistent/ike.keyring cannot be read"));
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_warnings),
		cmocka_unit_test(test_several_errors),
		cmocka_unit_test(test_more_values),
		cmocka_unit_test(test_print_is_input),
		cmocka_unit_test(test_print_keeps_values),
		cmocka_unit_test(test_reality),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
