/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which of a line's servers is asked, under a clock of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "services/common/address.h"
#include "services/sip-agent/server_list.h"

#define SEC     1000000ULL
#define LARGEST UINT32_MAX

static struct server_list list;
static struct sip_server servers[3];
static uint64_t now;

static int set_up(void **state)
{
	static const char *const addresses[] = {"192.0.2.1", "192.0.2.2", "192.0.2.3"};

	(void)state;
	now = 1000 * SEC;
	for (size_t i = 0; i < 3; i++) {
		servers[i] = (struct sip_server){.transport = TRANSPORT_UDP};
		assert_true(address_parse_port(addresses[i], 5060, &servers[i].address));
	}
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	server_list_free(&list);
	return 0;
}

static size_t chosen(void)
{
	return (size_t)(server_list_choose(&list, now) - list.servers);
}

static void the_next_one_is_asked_and_calls_follow(void **state)
{
	(void)state;
	server_list_set(&list, servers, 3);
	assert_true(server_list_fail(&list, &servers[0], now, LARGEST, 0));
	assert_int_equal(list.current, 1);
	assert_int_equal(chosen(), 1);
	/* one that is not in use fails: calls stay where they are */
	assert_true(server_list_fail(&list, &servers[2], now, LARGEST, 0));
	assert_int_equal(list.current, 1);
	/* the last one: nobody is left, and the one that comes back first is asked */
	assert_false(server_list_fail(&list, &servers[1], now, LARGEST, 120));
	assert_int_equal(chosen(), 0);
	now += 31 * SEC;
	assert_int_equal(chosen(), 0);
}

static void it_returns_to_the_first_when_that_works_again(void **state)
{
	(void)state;
	server_list_set(&list, servers, 2);
	assert_int_equal(server_list_return_usec(&list), 0);
	server_list_fail(&list, &servers[0], now, LARGEST, 0);
	assert_false(server_list_use(&list, &servers[1]));
	const uint64_t back = server_list_return_usec(&list);
	assert_in_range(back, now + 29 * SEC, now + 30 * SEC);
	assert_int_equal(chosen(), 1);
	now = back;
	assert_int_equal(chosen(), 0);
	/* only asked, not in use: */
	assert_int_equal(list.current, 1);
	assert_true(server_list_use(&list, &servers[0]));
	assert_int_equal(list.current, 0);
	assert_int_equal(server_list_return_usec(&list), 0);
}

static void a_bar_doubles_to_its_maximum_and_half_of_it_is_random(void **state)
{
	static const unsigned bars[] = {30, 60, 120, 240, 300, 300, 300};

	(void)state;
	server_list_set(&list, servers, 2);
	for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
		server_list_fail(&list, &servers[0], now, LARGEST, 0);
		assert_in_range(list.servers[0].barred_until_usec - now, bars[i] * SEC - 1000,
		                bars[i] * SEC);
	}
	server_list_fail(&list, &servers[1], now, 0, 0);
	assert_int_equal(list.servers[1].barred_until_usec, now + 15 * SEC);
	/* Retry-After is the least */
	server_list_fail(&list, &servers[1], now, 0, 500);
	assert_int_equal(list.servers[1].barred_until_usec, now + 500 * SEC);
	server_list_use(&list, &servers[1]);
	assert_int_equal(list.servers[1].failures, 0);
	assert_int_equal(list.servers[1].barred_until_usec, 0);
}

static void a_new_list_keeps_what_is_known_of_its_servers(void **state)
{
	(void)state;
	assert_true(server_list_set(&list, servers, 2));
	server_list_fail(&list, &servers[0], now, LARGEST, 0);
	const struct sip_server turned[] = {servers[1], servers[0], servers[2]};

	assert_false(server_list_set(&list, turned, 3));
	assert_int_equal(list.current, 0);
	assert_int_equal(list.servers[1].failures, 1);
	assert_true(list.servers[1].barred_until_usec > now);
	assert_int_equal(list.servers[2].failures, 0);
	/* the one in use is gone */
	assert_true(server_list_set(&list, &servers[2], 1));
	assert_int_equal(list.current, 0);
	/* and is neither barred nor used any more */
	assert_false(server_list_fail(&list, &servers[1], now, LARGEST, 0));
	assert_false(server_list_use(&list, &servers[1]));
	/* another transport is another server */
	servers[2].transport = TRANSPORT_TCP;
	assert_true(server_list_set(&list, &servers[2], 1));
}

static void without_servers_there_is_none(void **state)
{
	(void)state;
	assert_null(server_list_choose(&list, now));
	assert_null(server_list_current(&list));
	assert_false(server_list_fail(&list, &servers[0], now, LARGEST, 0));
	assert_false(server_list_use(&list, &servers[0]));
	assert_int_equal(server_list_return_usec(&list), 0);
	assert_true(server_list_set(&list, servers, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_next_one_is_asked_and_calls_follow, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(it_returns_to_the_first_when_that_works_again,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			a_bar_doubles_to_its_maximum_and_half_of_it_is_random, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_new_list_keeps_what_is_known_of_its_servers,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_servers_there_is_none, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
