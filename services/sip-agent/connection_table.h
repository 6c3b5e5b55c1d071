/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The transport connections of the user agent, as `show sip-ua connections` tells of them. An entry has two halves, as in the
 * guide: the socket ("the process") and the place in the table from which the next message to the same remote takes its connection
 * ("the reusable table"). Each may be taken away alone. A remote with which UDP is spoken has an entry too; its socket is the
 * line's. Pure: sockets are opaque, time comes in.
 */
#ifndef VPNSIP_SIP_CONNECTION_TABLE_H
#define VPNSIP_SIP_CONNECTION_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "services/common/config.h"

#define CONNECTION_AGENTS_MAXIMUM 32
#define CONNECTION_SUBJECT_SIZE   128

enum connection_state { CONNECTION_CONNECTING, CONNECTION_ESTABLISHED, CONNECTION_CLOSING };

/** Why a connection ends. */
enum connection_end {
	CONNECTION_END_LOCAL,       /* we closed it, for no reason that is counted */
	CONNECTION_END_PURGED,      /* by `clear`: its place in the table stays */
	CONNECTION_END_REMOTE,      /* the other side closed it */
	CONNECTION_END_UNREACHABLE, /* it never came up */
	CONNECTION_END_HANDSHAKE,   /* TLS said no */
	CONNECTION_END_SEND,        /* an error on a connection that was up */
	CONNECTION_END_AGED,
	CONNECTION_END_COUNT
};

struct connection {
	uint32_t id;
	enum config_transport transport;
	struct sockaddr_storage remote; /* with its port */
	const void *socket;             /* opaque; NULL with UDP */
	bool has_socket;
	bool is_reusable; /* has its place in the table */
	bool is_incoming;
	enum connection_state state;
	uint64_t opened_usec, active_usec; /* monotonic; the latter: last message */
	uint64_t messages_sent, messages_received;
	uint32_t queue;                        /* messages not yet written */
	char subject[CONNECTION_SUBJECT_SIZE]; /* TLS: whom the certificate names */
	char protocol[16], cipher[48];         /* TLS */
};

struct connection_counters {
	uint64_t ends[CONNECTION_END_COUNT];
	uint32_t queue_maximum;
	struct sockaddr_storage queue_remote; /* family 0 = none */
};

/** A remote that was spoken with. It stays listed when its connections are gone. */
struct connection_agent {
	enum config_transport transport;
	struct sockaddr_storage address; /* port 0 */
};

struct connection_table {
	struct connection **entries; /* in the order in which they came */
	size_t count, capacity;
	uint32_t last_id[TRANSPORT_TLS + 1];
	struct connection_counters counters[TRANSPORT_TLS + 1];
	struct connection_agent agents[CONNECTION_AGENTS_MAXIMUM]; /* ring */
	size_t agents_seen;
};

/** What `clear` is to do, and did. */
struct connection_purge {
	bool from_process, from_table;
	const void *socket; /* to be closed by the caller, with CONNECTION_END_PURGED; NULL = none */
	const char *problem; /* NULL = none */
};

/** Frees the entries; the table may be used again. */
void connection_table_free(struct connection_table *table);

/**
 * A connection begins. An entry of the same remote without a socket gets it. NULL only when memory is short: it is not listed
 * then.
 */
struct connection *connection_open(struct connection_table *table, enum config_transport transport,
                                   const struct sockaddr_storage *remote, const void *socket,
                                   bool is_incoming, uint64_t now_usec);

struct connection *connection_by_socket(struct connection_table *table, const void *socket);

/** Ends the connection with this socket, if it is known, and counts why. */
void connection_close(struct connection_table *table, const void *socket, enum connection_end end);

/** A message passed on the connection. */
void connection_note_message(struct connection *connection, bool is_received, uint64_t now_usec);

/** A datagram passed; its remote gets an entry. */
void connection_note_datagram(struct connection_table *table, const struct sockaddr_storage *remote,
                              bool is_received, uint64_t now_usec);

/** So many messages to the remote waited, the one that is being written included. */
void connection_note_queue(struct connection_table *table, enum config_transport transport,
                           const struct sockaddr_storage *remote, uint32_t messages);

/** A datagram could not be sent. */
void connection_note_failure(struct connection_table *table, enum config_transport transport,
                             enum connection_end end);

/** Removes what has no socket of its own (UDP, purged ones) and was idle for this long; UDP entries count as aged out. */
void connection_table_age(struct connection_table *table, uint64_t now_usec, uint64_t aging_usec);

/**
 * The three meanings of `clear`: `id` alone takes away the socket, `target` alone the place in the table, both together both; then
 * they must name the same connection. `id` 0 and `target` NULL = not given.
 */
struct connection_purge connection_purge(struct connection_table *table,
                                         enum config_transport transport, uint32_t id,
                                         const struct sockaddr_storage *target);

const char *connection_state_name(enum connection_state state);

#endif
