/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line without services: the grammar of its words, and what monitor shows. */
#include "cli_answers.h"

#include "services/cli/monitor.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_words(void **state)
{
	static const struct {
		const char *line, *pattern;
	} lines[] = {
		{"show vpn-sip session", "show vpn-sip session [remote-number NUMBER] [detail]"},
		{"sh vpn-sip sess det", "show vpn-sip session [remote-number NUMBER] [detail]"},
		{"show vpn se det rem 0388",
	         "show vpn-sip session [remote-number NUMBER] [detail]"},
		{"sh vpn reg", "show vpn-sip registration-status"},
		{"sh vpn sip reg", "show vpn-sip sip registrar"},
		{"show ip nat tr", "show ip nat translations"},
		{"show tr", "show track [NUMBER]"},
		{"show track 1", "show track [NUMBER]"},
		{"show ti", "show timers"},
		{"show int brief", "show interface [NAME] [brief]"},
		{"show int vsip2 br", "show interface [NAME] [brief]"},
		{"cal 0388", "call NUMBER"},
		{"clear session all", "clear session NUMBER|all"},
		{"monitor", "monitor [SERVICE...]"},
		{"mon sip-agent ike-agent", "monitor [SERVICE...]"},
		{"check", "check [FILE]"},
	};
	struct words words;
	char why[512];

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++) {
		int found = match(lines[i].line, &words, why);

		if (found < 0 || strcmp(commands[found].pattern, lines[i].pattern) != 0)
			fail_msg("<%s> means <%s> (%s)", lines[i].line,
			         found < 0 ? "nothing" : commands[found].pattern, why);
	}
}

static void test_word_values(void **state)
{
	struct words words;
	char why[512];

	(void)state;
	assert_true(match("show vpn se det rem 0388", &words, why) >= 0);
	assert_string_equal(words_get(&words, "NUMBER"), "0388");
	assert_true(words_has(&words, "detail"));
	assert_true(match("show vpn se rem 0388", &words, why) >= 0);
	assert_false(words_has(&words, "detail"));
	assert_true(match("hangup all", &words, why) >= 0);
	assert_string_equal(words_get(&words, "NUMBER"), "all");
	assert_true(match("show int br", &words, why) >= 0);
	assert_null(words_get(&words, "NAME"));
	assert_true(words_has(&words, "brief"));
	assert_true(match("show int vsip2 br", &words, why) >= 0);
	assert_string_equal(words_get(&words, "NAME"), "vsip2");
	assert_true(match("mon sip-agent ike-agent", &words, why) >= 0);
	assert_int_equal(words.count, 2);
	assert_string_equal(words.arguments[1].value, "ike-agent");
}

static void test_words_refused(void **state)
{
	static const struct {
		const char *line, *why;
	} lines[] = {
		{"show vpn-sip sessoin", "did you mean 'session'?"},
		{"show vpn-sip",
	         "the command is not complete after 'show vpn-sip': expected session, "
	         "registration-status, sip or guard"},
		{"sh t", "ambiguous: it can be 'show track [NUMBER]' or 'show timers'"},
		{"c 1", "ambiguous: it can be 'call NUMBER' or 'check [FILE]'"},
		{"show track 1 2", "'2' is not understood after 'show track 1'"},
		{"call", "the command is not complete after 'call': expected NUMBER"},
		{"hangup", "expected NUMBER|all"},
		{"show vpn-sip session remote-number", "expected NUMBER"},
		{"show vpn-sip session detail detail", "'detail' is not understood"},
		{"frobnicate", "'frobnicate' is not understood: expected show, call"},
	};
	struct words words;
	char why[512];

	(void)state;
	for (size_t i = 0; i < COUNT(lines); i++)
		if (match(lines[i].line, &words, why) >= 0 || !strstr(why, lines[i].why))
			fail_msg("<%s> gave <%s>", lines[i].line, why);
}

static void test_monitor(void **state)
{
	Vpnsip__Envelope envelope = VPNSIP__ENVELOPE__INIT;
	Vpnsip__SetPeer order = VPNSIP__SET_PEER__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__InstallSa install = VPNSIP__INSTALL_SA__INIT;
	Vpnsip__Secret secret = VPNSIP__SECRET__INIT;
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	json_t *model;

	(void)state;
	setenv("TZ", "UTC", 1);
	remote.address = octets(remote_octets);
	remote.port = 50002;
	order.tunnel = (char *)"vsip2";
	order.attempt = 12;
	order.remote = &remote;
	envelope.kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope.source = VPNSIP__SERVICE__COORDINATOR;
	envelope.sent_mono_usec = 12345678;
	envelope.session = (char *)"vsip2";
	envelope.body_case = VPNSIP__ENVELOPE__BODY_SET_PEER;
	envelope.set_peer = &order;
	model = monitor_model(&envelope, VPNSIP__SERVICE__TUNNEL_AGENT, 3600 * SECOND);
	monitor_text(stream, model);
	json_decref(model);
	secret.octets = octets(remote_octets);
	install.encryption_key = &secret;
	envelope.body_case = VPNSIP__ENVELOPE__BODY_INSTALL_SA;
	envelope.install_sa = &install;
	envelope.session = (char *)"";
	model = monitor_model(&envelope, VPNSIP__SERVICE__TUNNEL_AGENT, 3600 * SECOND);
	monitor_text(stream, model);
	json_decref(model);
	fclose(stream);
	assert_string_equal(
		text, "01:00:12.345678 vpnsip-coordinator -> tunnel-agent request SetPeer vsip2 "
		      "attempt=12 remote=10.6.6.49:50002\n"
		      "01:00:12.345678 vpnsip-coordinator -> tunnel-agent request InstallSa "
		      "encryption_key=(secret)\n");
	free(text);
}

static void test_monitor_shows_each_once(void **state)
{
	Vpnsip__Tapped tapped = VPNSIP__TAPPED__INIT;
	unsigned all = ALL_SERVICES, alone = BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT);

	(void)state;
	tapped.peer = VPNSIP__SERVICE__IKE_AGENT;
	tapped.point = VPNSIP__TAP_POINT__REQUEST_SENT;
	assert_true(monitor_is_shown(&tapped, all));
	tapped.point = VPNSIP__TAP_POINT__REQUEST_RECEIVED;
	assert_false(monitor_is_shown(&tapped, all));
	assert_true(monitor_is_shown(&tapped, alone));
	tapped.peer = VPNSIP__SERVICE__CLI;
	assert_true(monitor_is_shown(&tapped, all));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_word_values),
		cmocka_unit_test(test_words_refused),
		cmocka_unit_test(test_monitor),
		cmocka_unit_test(test_monitor_shows_each_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
