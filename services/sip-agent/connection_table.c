/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/connection_table.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"

static bool is_same_remote(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	return address_is_equal(a, b) && address_port(a) == address_port(b);
}

void connection_table_free(struct connection_table *table)
{
	for (size_t i = 0; i < table->count; i++)
		free(table->entries[i]);
	free(table->entries);
	memset(table, 0, sizeof(*table));
}

static void remove_at(struct connection_table *table, size_t index)
{
	free(table->entries[index]);
	table->count--;
	memmove(&table->entries[index], &table->entries[index + 1],
	        (table->count - index) * sizeof(*table->entries));
}

static struct connection *by_remote(struct connection_table *table, enum config_transport transport,
                                    const struct sockaddr_storage *remote)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->entries[i]->transport == transport &&
		    is_same_remote(&table->entries[i]->remote, remote))
			return table->entries[i];
	return NULL;
}

static struct connection *add(struct connection_table *table)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 16;
		struct connection **entries = realloc(table->entries, capacity * sizeof(*entries));

		if (!entries)
			return NULL;
		table->entries = entries;
		table->capacity = capacity;
	}
	struct connection *connection = calloc(1, sizeof(*connection));
	if (connection)
		table->entries[table->count++] = connection;
	return connection;
}

static void note_agent(struct connection_table *table, enum config_transport transport,
                       const struct sockaddr_storage *remote)
{
	for (size_t i = 0; i < table->agents_seen && i < CONNECTION_AGENTS_MAXIMUM; i++)
		if (table->agents[i].transport == transport &&
		    address_is_equal(&table->agents[i].address, remote))
			return;
	struct connection_agent *agent =
		&table->agents[table->agents_seen++ % CONNECTION_AGENTS_MAXIMUM];
	agent->transport = transport;
	agent->address = *remote;
	address_set_port(&agent->address, 0);
}

struct connection *connection_open(struct connection_table *table, enum config_transport transport,
                                   const struct sockaddr_storage *remote, const void *socket,
                                   bool is_incoming, uint64_t now_usec)
{
	struct connection *connection = by_remote(table, transport, remote);

	note_agent(table, transport, remote);
	if (!connection || connection->has_socket)
		connection = add(table);
	if (!connection)
		return NULL;
	*connection = (struct connection){
		.id = ++table->last_id[transport],
		.transport = transport,
		.remote = *remote,
		.socket = socket,
		.has_socket = true,
		.is_reusable = true,
		.is_incoming = is_incoming,
		.opened_usec = now_usec,
		.active_usec = now_usec,
	};
	return connection;
}

static size_t find_socket(const struct connection_table *table, const void *socket)
{
	size_t i = 0;

	while (i < table->count && (!socket || table->entries[i]->socket != socket))
		i++;
	return i;
}

struct connection *connection_by_socket(struct connection_table *table, const void *socket)
{
	size_t index = find_socket(table, socket);

	return index < table->count ? table->entries[index] : NULL;
}

void connection_close(struct connection_table *table, const void *socket, enum connection_end end)
{
	size_t index = find_socket(table, socket);

	if (index == table->count)
		return;
	struct connection *connection = table->entries[index];
	table->counters[connection->transport].ends[end]++;
	if (end == CONNECTION_END_PURGED && connection->is_reusable) {
		connection->socket = NULL;
		connection->has_socket = false;
	} else {
		remove_at(table, index);
	}
}

void connection_note_message(struct connection *connection, bool is_received, uint64_t now_usec)
{
	connection->active_usec = now_usec;
	if (is_received)
		connection->messages_received++;
	else
		connection->messages_sent++;
}

void connection_note_datagram(struct connection_table *table, const struct sockaddr_storage *remote,
                              bool is_received, uint64_t now_usec)
{
	struct connection *connection = by_remote(table, TRANSPORT_UDP, remote);

	if (!connection || !connection->has_socket)
		connection = connection_open(table, TRANSPORT_UDP, remote, NULL, is_received,
		                             now_usec);
	if (!connection)
		return;
	connection->state = CONNECTION_ESTABLISHED;
	connection->is_reusable = true;
	connection_note_message(connection, is_received, now_usec);
}

void connection_note_queue(struct connection_table *table, enum config_transport transport,
                           const struct sockaddr_storage *remote, uint32_t messages)
{
	struct connection_counters *counters = &table->counters[transport];

	if (messages <= counters->queue_maximum)
		return;
	counters->queue_maximum = messages;
	counters->queue_remote = *remote;
}

void connection_note_failure(struct connection_table *table, enum config_transport transport,
                             enum connection_end end)
{
	table->counters[transport].ends[end]++;
}

void connection_table_age(struct connection_table *table, uint64_t now_usec, uint64_t aging_usec)
{
	size_t i = 0;

	while (i < table->count) {
		const struct connection *connection = table->entries[i];

		if (connection->socket || now_usec - connection->active_usec < aging_usec) {
			i++;
			continue;
		}
		if (connection->has_socket)
			table->counters[connection->transport].ends[CONNECTION_END_AGED]++;
		remove_at(table, i);
	}
}

/* A connection that was named: by its id, by its target, or by both. */
static size_t find_named(const struct connection_table *table, enum config_transport transport,
                         uint32_t id, const struct sockaddr_storage *target)
{
	size_t i = 0;

	while (i < table->count &&
	       (table->entries[i]->transport != transport ||
	        (id &&
	         (table->entries[i]->id != id || (!target && !table->entries[i]->has_socket))) ||
	        (target && (!is_same_remote(&table->entries[i]->remote, target) ||
	                    (!id && !table->entries[i]->is_reusable)))))
		i++;
	return i;
}

struct connection_purge connection_purge(struct connection_table *table,
                                         enum config_transport transport, uint32_t id,
                                         const struct sockaddr_storage *target)
{
	struct connection_purge purge = {0};
	const size_t index = find_named(table, transport, id, target);

	if (index == table->count) {
		purge.problem =
			id && target && find_named(table, transport, id, NULL) < table->count
				? "the connection of this id has another target"
				: "no such connection";
		return purge;
	}
	struct connection *connection = table->entries[index];
	purge.from_process = id && connection->has_socket;
	purge.from_table = target && connection->is_reusable;
	if (purge.from_table)
		connection->is_reusable = false;
	if (purge.from_process)
		purge.socket = connection->socket;
	if (purge.from_process && !connection->socket)
		connection->has_socket = false;
	if (!connection->has_socket && !connection->is_reusable)
		remove_at(table, index);
	else if (!connection->is_reusable && connection->has_socket)
		connection->state = CONNECTION_CLOSING;
	return purge;
}

const char *connection_state_name(enum connection_state state)
{
	static const char *const names[] = {"Connecting", "Established", "Closing"};

	return names[state];
}
