/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Addresses, suggestions, the timer table, and who has a port. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <unistd.h>

#include "services/common/address.h"
#include "services/common/number.h"
#include "services/common/port_owner.h"
#include "services/common/suggest.h"
#include "services/common/timers.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_address_port(void **state)
{
	static const struct {
		const char *text, *expected; /* NULL = refused */
	} texts[] = {
		{"192.0.2.1", "192.0.2.1:5060"},
		{"192.0.2.1:5070", "192.0.2.1:5070"},
		{"2001:db8::1", "[2001:db8::1]:5060"},
		{"[2001:db8::1]:5070", "[2001:db8::1]:5070"},
		{"[2001:db8::1]", "[2001:db8::1]:5060"},
		{"192.0.2.1:0", NULL},
		{"192.0.2.1:65536", NULL},
		{"192.0.2.1:", NULL},
		{"192.0.2.1:+7", NULL},
		{"192.0.2.256", NULL},
		{"[2001:db8::1", NULL},
		{"[2001:db8::1]x", NULL},
		{"", NULL},
		{"example.com", NULL},
	};
	struct sockaddr_storage address;
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		bool is_read = address_parse_port(texts[i].text, 5060, &address);

		assert_int_equal(is_read, texts[i].expected != NULL);
		if (is_read)
			assert_string_equal(address_format_port(&address, text), texts[i].expected);
	}
}

static void test_address_prefix(void **state)
{
	struct sockaddr_storage network, address;
	unsigned length;
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_true(address_parse_prefix("10.2.3.255/23", &network, &length));
	address_mask(&network, length);
	assert_string_equal(address_format_prefix(&network, length, text), "10.2.2.0/23");
	assert_true(address_parse("10.2.3.7", &address));
	assert_true(address_is_in_prefix(&address, &network, length));
	assert_true(address_parse("10.2.4.7", &address));
	assert_false(address_is_in_prefix(&address, &network, length));
	assert_true(address_is_in_prefix(&address, &network, 0));
	assert_true(address_parse("2001:db8::1", &address));
	assert_false(address_is_in_prefix(&address, &network, 0));
	assert_true(address_parse_prefix("10.0.0.1", &network, &length));
	assert_int_equal(length, 32);
	assert_false(address_parse_prefix("10.0.0.0/33", &network, &length));
	assert_false(address_parse_prefix("10.0.0.0/", &network, &length));
	assert_false(address_parse_prefix("10.0.0.0/-1", &network, &length));
}

static void test_address_messages(void **state)
{
	Vpnsip__SocketAddress message = VPNSIP__SOCKET_ADDRESS__INIT;
	struct sockaddr_storage address, again;
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_true(address_parse_port("192.0.2.1:50001", 0, &address));
	address_to_proto(&address, &message);
	assert_true(address_from_proto(&message, &again));
	assert_true(address_is_equal(&address, &again));
	assert_int_equal(address_port(&again), 50001);
	message.address.len = 3;
	assert_false(address_from_proto(&message, &again));
	assert_string_equal(address_format(&again, text), "");
	message.address.len = 4;
	message.port = 65536;
	assert_false(address_from_proto(&message, &again));
	assert_false(address_from_proto(NULL, &again));
	assert_true(address_is_any(&again));
	assert_int_equal(address_socket_length(&again), 0);
}

static void test_suggestions(void **state)
{
	static const char *const known[] = {"bandwidth", "any-bandwidth", "address", "enabled",
	                                    "mtu"};

	(void)state;
	assert_string_equal(suggest_word("bandwith", known, COUNT(known)), "bandwidth");
	assert_string_equal(suggest_word("enabeld", known, COUNT(known)), "enabled");
	assert_string_equal(suggest_word("adress", known, COUNT(known)), "address");
	assert_string_equal(suggest_word("mut", known, COUNT(known)), "mtu");
	assert_null(suggest_word("frobnicate", known, COUNT(known)));
	assert_null(suggest_word("x", known, 0));
}

static void test_timers(void **state)
{
	(void)state;
	for (size_t i = 0; i < TIMER_COUNT; i++) {
		const struct timer_definition *timer = &timer_definitions[i];

		assert_non_null(timer->name);
		assert_non_null(timer->text);
		assert_true(timer->minimum_msec <= timer->default_msec);
		assert_true(timer->default_msec <= timer->maximum_msec);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(timer->name, timer_definitions[j].name);
	}
	assert_int_equal(timer_definitions[TIMER_ANSWER].default_msec, 32000);
	assert_int_equal(timer_definitions[TIMER_CALL_WARNING].default_msec, 3600000);
}

static void expect_owner(int type, int protocol, const char *text)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);
	int handle = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	char expected[128], *sentence;

	assert_true(address_parse_port("127.0.0.1", 0, &address));
	assert_int_equal(bind(handle, (struct sockaddr *)&address, address_socket_length(&address)),
	                 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(handle, 1), 0);
	assert_int_equal(getsockname(handle, (struct sockaddr *)&address, &length), 0);
	sentence = who_has_port(protocol, &address);
	snprintf(expected, sizeof(expected), "%s port %u is in use by test_config_hel (process %d)",
	         text, address_port(&address), (int)getpid());
	assert_string_equal(sentence, expected);
	free(sentence);
	close(handle);
	sentence = who_has_port(protocol, &address);
	snprintf(expected, sizeof(expected), "%s port %u is in use by another process", text,
	         address_port(&address));
	assert_string_equal(sentence, expected);
	free(sentence);
}

static void test_port_owner(void **state)
{
	(void)state;
	expect_owner(SOCK_DGRAM, IPPROTO_UDP, "UDP");
	expect_owner(SOCK_STREAM, IPPROTO_TCP, "TCP");
}

static void numbers_are_ordered(void **state)
{
	(void)state;
	assert_true(number_precedes("0388881001", "0388882001"));
	assert_false(number_precedes("0388882001", "0388881001"));
	assert_true(number_precedes("999", "0388881001"));
	assert_false(number_precedes("0388881001", "0388881001"));
	assert_true(number_precedes("9", "10"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_ordered), cmocka_unit_test(test_address_port),
		cmocka_unit_test(test_address_prefix), cmocka_unit_test(test_address_messages),
		cmocka_unit_test(test_suggestions),    cmocka_unit_test(test_timers),
		cmocka_unit_test(test_port_owner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
