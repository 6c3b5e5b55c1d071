/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Conditional debug: which lines a condition lets through, and the commands that set it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/cli/debug_crypto.h"
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/common/log_condition.h"

static int reset(void **state)
{
	(void)state;
	log_condition_change("reset", true);
	log_switch("all", NULL, false);
	log_condition_know("vsip2", NULL, NULL, 0);
	log_condition_know("vsip3", NULL, NULL, 0);
	return 0;
}

static void know(const char *tunnel, const char *address, uint32_t spi_in, uint32_t spi_out)
{
	const uint32_t spis[] = {spi_in, spi_out};
	struct sockaddr_storage peer;

	assert_true(address_parse(address, &peer));
	log_condition_know(tunnel, &peer, spis, 2);
}

static void test_without_condition(void **state)
{
	(void)state;
	assert_true(log_condition_holds("vsip2", "0388882001"));
	assert_true(log_condition_holds(NULL, NULL));
}

static void test_each_kind(void **state)
{
	static const char *const conditions[] = {
		"peer 192.0.2.7", "peer 192.0.2.0/28", "remote-number 0388882001",
		"spi 0xa97edee7", "spi 2843664103",    "spi 1198957419",
		"session vsip2",
	};

	(void)state;
	know("vsip2", "192.0.2.7", 0xa97edee7, 0x4776a36b);
	know("vsip3", "198.51.100.7", 1, 2);
	for (size_t i = 0; i < sizeof(conditions) / sizeof(conditions[0]); i++) {
		assert_int_equal(log_condition_change(conditions[i], true), 0);
		assert_true(log_condition_holds("vsip2", "0388882001"));
		assert_false(log_condition_holds("vsip3", "0388883001"));
		/* Nobody knows whom the line is about. */
		assert_false(log_condition_holds(NULL, NULL));
		assert_int_equal(log_condition_change("unmatched", true), 0);
		assert_true(log_condition_holds(NULL, NULL));
		assert_false(log_condition_holds("vsip3", "0388883001"));
		assert_int_equal(log_condition_change("unmatched", false), 0);
		assert_int_equal(log_condition_change(conditions[i], false), 0);
		assert_true(log_condition_holds("vsip3", "0388883001"));
	}
}

static void test_several(void **state)
{
	(void)state;
	know("vsip2", "192.0.2.7", 1, 2);
	log_condition_change("peer 203.0.113.1", true);
	assert_false(log_condition_holds("vsip2", "0388882001"));
	log_condition_change("session vsip2", true);
	assert_true(log_condition_holds("vsip2", "0388882001"));
	/* The peer has moved. */
	log_condition_change("session vsip2", false);
	know("vsip2", "203.0.113.1", 1, 2);
	assert_true(log_condition_holds("vsip2", "0388882001"));
	log_condition_change("reset", true);
	assert_true(log_condition_holds("vsip9", NULL));
}

static void test_nonsense(void **state)
{
	static const char *const refused[] = {
		"",
		"peer",
		"peer ",
		"peer somewhere",
		"peer 192.0.2.1/33",
		"spi 0",
		"spi 0x1ffffffff",
		"spi 12x",
		"connid 2000",
		"session ",
	};
	char text[32];

	(void)state;
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_int_equal(log_condition_change(refused[i], true), -1);
	for (int i = 0; i < 32; i++) {
		snprintf(text, sizeof(text), "session vsip%d", i);
		assert_int_equal(log_condition_change(text, true), 0);
	}
	assert_int_equal(log_condition_change("session vsip99", true), -1);
	assert_int_equal(log_condition_change("session vsip7", true), 0); /* is there already */
}

/** What log_debug() writes to stderr for a category and session. */
static const char *written(enum log_category category, const char *tunnel)
{
	static char text[256];
	int pipes[2], stderr_copy = dup(STDERR_FILENO);
	ssize_t size;

	assert_int_equal(pipe(pipes), 0);
	dup2(pipes[1], STDERR_FILENO);
	log_debug(category, tunnel, "0388882001", "a line");
	dup2(stderr_copy, STDERR_FILENO);
	close(stderr_copy);
	close(pipes[1]);
	size = read(pipes[0], text, sizeof(text) - 1);
	close(pipes[0]);
	text[size > 0 ? size : 0] = '\0';
	return text;
}

static void test_lines(void **state)
{
	(void)state;
	assert_string_equal(written(LOG_IKE, "vsip2"), "");
	log_switch("ike", NULL, true);
	assert_non_null(strstr(written(LOG_IKE, "vsip2"), "a line"));
	log_condition_change("session vsip3", true);
	assert_string_equal(written(LOG_IKE, "vsip2"), "");
	assert_non_null(strstr(written(LOG_IKE, "vsip3"), "a line"));
	/* Conditions are about crypto lines. */
	log_switch("track", NULL, true);
	assert_non_null(strstr(written(LOG_TRACK, "vsip2"), "a line"));
}

static void test_errors_alone(void **state)
{
	(void)state;
	log_switch("ike error", NULL, true);
	assert_string_equal(written(LOG_IKE, "vsip2"), "");
	assert_non_null(strstr(written(LOG_IKE_ERROR, "vsip2"), "a line"));
	log_switch("ike error", NULL, false);
	assert_string_equal(written(LOG_IKE_ERROR, "vsip2"), "");
	/* All of it has the errors too. */
	log_switch("ike", NULL, true);
	assert_non_null(strstr(written(LOG_IKE_ERROR, "vsip2"), "a line"));
	assert_string_equal(written(LOG_TUNNEL_ERROR, "vsip2"), "");
}

/* --- the command --- */

static struct crypto_order order;
static char why[256];

static bool read_words(const char *text)
{
	static char copy[128];
	struct words words = {0};

	snprintf(copy, sizeof(copy), "%s", text);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		snprintf(words.arguments[words.count].name, sizeof(words.arguments[0].name), "%s",
		         "WHAT");
		words.arguments[words.count++].value = word;
	}
	return crypto_read(&words, &order, why, sizeof(why));
}

#define IKE   BUS_SERVICE(VPNSIP__SERVICE__IKE_AGENT)
#define IPSEC BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)

static void test_words(void **state)
{
	static const struct {
		const char *words, *condition, *category;
		unsigned services;
	} cases[] = {
		{"ikev2", "", "ike", IKE},
		{"ikev2 error", "", "ike error", IKE},
		{"ipsec", "", "tunnel", IPSEC},
		{"ipsec error", "", "tunnel error", IPSEC},
		{"condition peer 10.1.1.1", "peer 10.1.1.1", NULL, IKE | IPSEC},
		{"condition peer ipv4 10.1.1.1", "peer 10.1.1.1", NULL, IKE | IPSEC},
		{"condition peer ipv6 2001:db8::1", "peer 2001:db8::1", NULL, IKE | IPSEC},
		{"condition peer subnet 10.1.1.0 255.255.255.0", "peer 10.1.1.0/24", NULL,
	         IKE | IPSEC},
		{"condition peer subnet 10.1.1.0/24", "peer 10.1.1.0/24", NULL, IKE | IPSEC},
		{"condition remote-number 0388882001", "remote-number 0388882001", NULL,
	         IKE | IPSEC},
		{"condition spi 0x1000", "spi 0x1000", NULL, IKE | IPSEC},
		{"condition session vsip2", "session vsip2", NULL, IKE | IPSEC},
		{"condition unmatched", "unmatched", NULL, IKE | IPSEC},
		{"condition unmatched ipsec", "unmatched", NULL, IPSEC},
		{"condition reset", "reset", NULL, IKE | IPSEC},
	};
	static const char *const refused[] = {
		"",
		"isakmp",
		"ikev2 mistakes",
		"ikev2 error vsip2",
		"condition",
		"condition connid 1",
		"condition peer",
		"condition peer subnet 10.1.1.0 255.0.255.0",
		"condition unmatched x",
		"condition spi",
		"condition reset all",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(read_words(cases[i].words));
		assert_string_equal(order.condition, cases[i].condition);
		assert_int_equal(order.services, cases[i].services);
		if (cases[i].category)
			assert_string_equal(order.category, cases[i].category);
		else
			assert_null(order.category);
	}
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		assert_false(read_words(refused[i]));
		assert_non_null(strstr(why, "expected"));
	}
}

static void test_show(void **state)
{
	json_t *model = json_pack("{s:{s:[s,s,s,s,s], s:[s,s,s,s]}}", "conditions", "ike-agent",
	                          "peer 10.1.1.1/32", "peer 10.1.1.2/32", "spi 0x00001000",
	                          "session vsip2", "unmatched", "tunnel-agent", "peer 10.1.1.1/32",
	                          "peer 10.1.1.2/32", "spi 0x00001000", "session vsip2");
	json_t *none = json_pack("{s:{s:[], s:[]}}", "conditions", "ike-agent", "tunnel-agent");
	char text[1024] = "";
	FILE *stream = fmemopen(text, sizeof(text), "w");

	(void)state;
	crypto_conditions_text(stream, model);
	fclose(stream);
	assert_string_equal(text, "Crypto conditional debug currently is turned ON\n"
	                          "IKE debug context unmatched flag:ON\n"
	                          "IPsec debug context unmatched flag:OFF\n"
	                          "IKE peer IP address filters:\n"
	                          " 10.1.1.1/32 10.1.1.2/32\n"
	                          "SPI filters:\n"
	                          " 0x00001000\n"
	                          "Session filters:\n"
	                          " vsip2\n");
	memset(text, 0, sizeof(text));
	stream = fmemopen(text, sizeof(text), "w");
	crypto_conditions_text(stream, none);
	fclose(stream);
	assert_string_equal(text, "Crypto conditional debug currently is turned OFF\n"
	                          "IKE debug context unmatched flag:OFF\n"
	                          "IPsec debug context unmatched flag:OFF\n");
	json_decref(model);
	json_decref(none);
}

#define CASE(function) cmocka_unit_test_setup(function, reset)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_without_condition),
		CASE(test_each_kind),
		CASE(test_several),
		CASE(test_nonsense),
		CASE(test_lines),
		CASE(test_errors_alone),
		CASE(test_words),
		CASE(test_show),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
