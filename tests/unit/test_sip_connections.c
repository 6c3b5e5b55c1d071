/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The table of connections: its two halves, ageing, counters, and the three meanings of `clear`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "services/common/address.h"
#include "services/sip-agent/connection_table.h"

#define SEC 1000000ULL

static const char sockets[4]; /* their addresses are opaque sockets */
static struct connection_table table;

static struct sockaddr_storage remote(const char *text)
{
	struct sockaddr_storage address;

	assert_true(address_parse_port(text, 0, &address));
	return address;
}

static struct connection *open_tls(const char *text, int number)
{
	const struct sockaddr_storage address = remote(text);

	return connection_open(&table, TRANSPORT_TLS, &address, &sockets[number], false, 10 * SEC);
}

static int forget(void **state)
{
	(void)state;
	connection_table_free(&table);
	return 0;
}

static void test_ids_and_agents(void **state)
{
	(void)state;
	assert_int_equal(open_tls("198.51.100.5:5061", 0)->id, 1);
	assert_int_equal(open_tls("198.51.100.5:5061", 1)->id, 2);
	const struct sockaddr_storage udp = remote("198.51.100.5:5060");
	connection_note_datagram(&table, &udp, false, 11 * SEC);
	connection_note_datagram(&table, &udp, true, 12 * SEC);
	assert_int_equal(table.count, 3);
	assert_int_equal(table.entries[2]->id, 1);
	assert_int_equal(table.entries[2]->messages_sent, 1);
	assert_int_equal(table.entries[2]->messages_received, 1);
	assert_int_equal(table.agents_seen, 2); /* one address, two transports */
	assert_int_equal(address_port(&table.agents[0].address), 0);
}

static void test_each_end_is_counted_once(void **state)
{
	(void)state;
	for (int end = 0; end < CONNECTION_END_COUNT; end++) {
		open_tls("198.51.100.5:5061", 0)->is_reusable = false;
		connection_close(&table, &sockets[0], (enum connection_end)end);
		connection_close(&table, &sockets[0], (enum connection_end)end);
		assert_int_equal(table.counters[TRANSPORT_TLS].ends[end], 1);
	}
	assert_int_equal(table.count, 0);
	assert_null(connection_by_socket(&table, NULL));
}

static void test_clear_by_id(void **state)
{
	(void)state;
	open_tls("198.51.100.5:5061", 0);
	const struct connection_purge purge = connection_purge(&table, TRANSPORT_TLS, 1, NULL);

	assert_true(purge.from_process && !purge.from_table && !purge.problem);
	assert_ptr_equal(purge.socket, &sockets[0]);
	connection_close(&table, purge.socket, CONNECTION_END_PURGED);
	assert_int_equal(table.count, 1);
	assert_true(!table.entries[0]->has_socket && table.entries[0]->is_reusable);
	/* A new connection to the same remote takes the place. */
	open_tls("198.51.100.5:5061", 1);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.entries[0]->id, 2);
}

static void test_clear_by_target(void **state)
{
	const struct sockaddr_storage target = remote("198.51.100.5:5061");

	(void)state;
	open_tls("198.51.100.5:5061", 0);
	struct connection_purge purge = connection_purge(&table, TRANSPORT_TLS, 0, &target);
	assert_true(!purge.from_process && purge.from_table && !purge.socket);
	assert_true(table.entries[0]->has_socket && !table.entries[0]->is_reusable);
	purge = connection_purge(&table, TRANSPORT_TLS, 0, &target);
	assert_string_equal(purge.problem, "no such connection");
	/* Nor a purged tuple that was left without socket. */
	purge = connection_purge(&table, TRANSPORT_TLS, 1, &target);
	assert_true(purge.from_process && !purge.from_table);
	connection_close(&table, purge.socket, CONNECTION_END_PURGED);
	assert_int_equal(table.count, 0);
}

static void test_clear_by_both(void **state)
{
	const struct sockaddr_storage target = remote("198.51.100.5:5061");
	const struct sockaddr_storage other = remote("198.51.100.6:5061");

	(void)state;
	open_tls("198.51.100.5:5061", 0);
	struct connection_purge purge = connection_purge(&table, TRANSPORT_TLS, 1, &other);
	assert_string_equal(purge.problem, "the connection of this id has another target");
	purge = connection_purge(&table, TRANSPORT_TCP, 1, &target);
	assert_string_equal(purge.problem, "no such connection");
	purge = connection_purge(&table, TRANSPORT_TLS, 1, &target);
	assert_true(purge.from_process && purge.from_table);
	connection_close(&table, purge.socket, CONNECTION_END_PURGED);
	assert_int_equal(table.count, 0);
}

static void test_clear_of_datagrams(void **state)
{
	const struct sockaddr_storage target = remote("198.51.100.5:5060");

	(void)state;
	connection_note_datagram(&table, &target, true, SEC);
	struct connection_purge purge = connection_purge(&table, TRANSPORT_UDP, 1, NULL);
	assert_true(purge.from_process && !purge.socket);
	assert_false(table.entries[0]->has_socket);
	connection_note_datagram(&table, &target, true, 2 * SEC);
	assert_true(table.entries[0]->has_socket);
	assert_int_equal(table.entries[0]->id, 2);
	purge = connection_purge(&table, TRANSPORT_UDP, 2, &target);
	assert_true(purge.from_process && purge.from_table);
	assert_int_equal(table.count, 0);
}

static void test_ageing(void **state)
{
	const struct sockaddr_storage target = remote("198.51.100.5:5060");

	(void)state;
	connection_note_datagram(&table, &target, true, 10 * SEC);
	open_tls("198.51.100.5:5061", 0); /* has a socket: others close it */
	connection_table_age(&table, 14 * SEC, 5 * SEC);
	assert_int_equal(table.count, 2);
	connection_table_age(&table, 15 * SEC, 5 * SEC);
	assert_int_equal(table.count, 1);
	assert_int_equal(table.counters[TRANSPORT_UDP].ends[CONNECTION_END_AGED], 1);
	assert_int_equal(table.counters[TRANSPORT_TLS].ends[CONNECTION_END_AGED], 0);
}

static void test_longest_queue(void **state)
{
	const struct sockaddr_storage first = remote("198.51.100.5:5061");
	const struct sockaddr_storage second = remote("198.51.100.6:5061");

	(void)state;
	connection_note_queue(&table, TRANSPORT_TLS, &first, 3);
	connection_note_queue(&table, TRANSPORT_TLS, &second, 3);
	connection_note_queue(&table, TRANSPORT_TLS, &second, 1);
	assert_int_equal(table.counters[TRANSPORT_TLS].queue_maximum, 3);
	assert_true(address_is_equal(&table.counters[TRANSPORT_TLS].queue_remote, &first));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_ids_and_agents, forget),
		cmocka_unit_test_teardown(test_each_end_is_counted_once, forget),
		cmocka_unit_test_teardown(test_clear_by_id, forget),
		cmocka_unit_test_teardown(test_clear_by_target, forget),
		cmocka_unit_test_teardown(test_clear_by_both, forget),
		cmocka_unit_test_teardown(test_clear_of_datagrams, forget),
		cmocka_unit_test_teardown(test_ageing, forget),
		cmocka_unit_test_teardown(test_longest_queue, forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
