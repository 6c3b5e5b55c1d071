/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The connections of sofia-sip's transports: which there are, why they ended, and their limits. sofia-sip tells nobody of its
 * connections; the functions below bear the names of those that it calls on their way, and pass on (the dynamic linker prefers the
 * program's).
 */
#include <dlfcn.h>
#include <errno.h>
#include <event2/event.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/su_wait.h>
#include <sofia-sip/tport.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/sip-agent/sofia_internal.h"
#include "services/sip-agent/tls_interpose.h"

#define USEC_PER_SEC         1000000ULL
/* A connection that is not up after this, its handshake included, is given up: what waits for it fails then. */
#define SETUP_LIMIT_USEC     (5 * USEC_PER_SEC)
/* One that has brought no whole message for this long is of no use, however much it sends. */
#define SILENCE_MINIMUM_USEC (64 * USEC_PER_SEC)
#define INCOMING_MAXIMUM     64 /* of one remote address */
#define SWEEP_SEC            1

/* In place of the library's; no public header has them. */
struct sigcomp_compartment;
typedef struct tport_primary_s tport_primary_t;
tport_t *tport_alloc_secondary(tport_primary_t *primary, int socket, int is_accepted,
                               char const **reason);
int tport_register_secondary(tport_t *self, su_wakeup_f wakeup, int events);
void tport_close(tport_t *self);
void tport_zap_secondary(tport_t *self);
void tport_error_report(tport_t *self, int error, su_sockaddr_t const *address);
void tport_base_timer(tport_t *self, su_time_t now);
int tport_prepare_and_send(tport_t *self, msg_t *message, tp_name_t const *name,
                           struct sigcomp_compartment *compartment, unsigned mtu);
int tls_connect(su_root_magic_t *magic, su_wait_t *wait, tport_t *self);

#define NEXT(name)                                \
	static __typeof__(&(name)) next_function; \
	if (!next_function)                       \
		*(void **)&next_function = dlsym(RTLD_NEXT, #name);

static struct sofia *owner;
/* The connection that is being closed for a reason which is known beforehand, and that reason. */
static const tport_t *ending;
static enum connection_end ending_reason;
static const tport_t *shaking_hands; /* the connection whose handshake takes a step */
static bool is_sending;
static const tport_t *accepted; /* the latest that somebody else began */

static uint64_t now_usec(void)
{
	return bus_mono_usec(owner->bus);
}

static enum config_transport transport_of(const tport_t *transport)
{
	const char *protocol = tport_name(transport)->tpn_proto;

	return strcasecmp(protocol, "tls") == 0   ? TRANSPORT_TLS
	       : strcasecmp(protocol, "tcp") == 0 ? TRANSPORT_TCP
	                                          : TRANSPORT_UDP;
}

static bool remote_of(const tport_t *transport, struct sockaddr_storage *remote)
{
	const tp_name_t *name = tport_name(transport);

	*remote = (struct sockaddr_storage){0};
	return name->tpn_host && name->tpn_port && address_parse(name->tpn_host, remote) &&
	       (address_set_port(remote, (uint16_t)strtoul(name->tpn_port, NULL, 10)), true);
}

static bool is_any_server(const struct sockaddr_storage *remote)
{
	for (size_t i = 0; i < owner->line_count; i++)
		if (server_list_has_address(&owner->lines[i].servers, remote))
			return true;
	return false;
}

/* Why whoever connected is not let in; NULL = he is. */
static const char *find_refusal(const struct connection *connection)
{
	const struct connection_table *table = &owner->connections;
	size_t count = 0;

	for (size_t i = 0; i < table->count; i++)
		count += table->entries[i]->is_incoming && table->entries[i]->socket &&
		         address_is_equal(&table->entries[i]->remote, &connection->remote);
	return !is_any_server(&connection->remote) ? "it is no SIP server of ours"
	       : count > INCOMING_MAXIMUM          ? "it has too many connections"
	                                           : NULL;
}

/* Whether the sweep is to close it, and why. */
static bool is_to_end(const struct connection *connection, uint64_t aging_usec, uint64_t now,
                      enum connection_end *end)
{
	const uint64_t silence = aging_usec > SILENCE_MINIMUM_USEC ? aging_usec
	                                                           : SILENCE_MINIMUM_USEC;

	if (connection->is_incoming && connection->state == CONNECTION_CLOSING)
		*end = connection->transport == TRANSPORT_TLS ? CONNECTION_END_HANDSHAKE
		                                              : CONNECTION_END_LOCAL;
	else if (connection->state == CONNECTION_CONNECTING &&
	         now - connection->opened_usec >= SETUP_LIMIT_USEC)
		*end = connection->transport == TRANSPORT_TLS ? CONNECTION_END_HANDSHAKE
		                                              : CONNECTION_END_UNREACHABLE;
	else if (now - connection->active_usec > silence)
		*end = CONNECTION_END_AGED;
	else
		return false;
	return true;
}

static void close_for(const struct connection *connection, enum connection_end end)
{
	tport_t *transport = (tport_t *)(uintptr_t)connection->socket;

	ending = transport;
	ending_reason = end;
	tport_shutdown(transport, 2);
	ending = NULL;
	sofia_loop_wake(owner->loop);
}

unsigned sofia_connection_aging_sec(const struct sofia *sofia)
{
	unsigned aging = 0;

	for (size_t i = 0; i < sofia->line_count; i++)
		if (sofia->lines[i].config->connection_aging_sec > aging)
			aging = sofia->lines[i].config->connection_aging_sec;
	return aging;
}

static void arm(struct sofia *sofia, unsigned seconds)
{
	const struct timeval delay = {seconds, 0};

	if (!event_pending(sofia->sweep, EV_TIMEOUT, NULL) || seconds == 0)
		event_add(sofia->sweep, &delay);
}

void sofia_connection_refresh(struct sofia *sofia)
{
	for (size_t i = 0; i < sofia->connections.count; i++) {
		struct connection *connection = sofia->connections.entries[i];
		const tport_t *transport = connection->socket;

		if (!transport)
			continue;
		connection->queue = (uint32_t)tport_queuelen(transport);
		if (connection->state == CONNECTION_CONNECTING && tport_is_connected(transport))
			connection->state = CONNECTION_ESTABLISHED;
	}
}

/* Once a second while there are connections; closing one takes it out of the table, so the search begins anew. */
static void sweep(evutil_socket_t fd, short what, void *context)
{
	struct sofia *sofia = context;
	const uint64_t now = now_usec(), aging = sofia_connection_aging_sec(sofia) * USEC_PER_SEC;
	size_t i = 0;

	(void)fd;
	(void)what;
	sofia_connection_refresh(sofia);
	while (i < sofia->connections.count) {
		const struct connection *connection = sofia->connections.entries[i];
		const size_t count = sofia->connections.count;
		enum connection_end end;

		if (connection->socket && is_to_end(connection, aging, now, &end))
			close_for(connection, end);
		i = sofia->connections.count < count ? 0 : i + 1;
	}
	connection_table_age(&sofia->connections, now, aging);
	if (sofia->connections.count)
		arm(sofia, SWEEP_SEC);
}

bool sofia_connections_open(struct sofia *sofia)
{
	sofia->sweep = event_new(sofia->base, -1, 0, sweep, sofia);
	owner = sofia->sweep ? sofia : NULL;
	return owner != NULL;
}

void sofia_connections_close(struct sofia *sofia)
{
	owner = NULL;
	if (sofia->sweep)
		event_free(sofia->sweep);
	connection_table_free(&sofia->connections);
}

void sofia_connection_note(const tport_t *transport, const msg_t *message, bool is_received)
{
	struct sockaddr_storage remote = {0};
	const su_sockaddr_t *address = msg_addr((msg_t *)message);

	if (!owner)
		return;
	if (transport_of(transport) != TRANSPORT_UDP) {
		struct connection *connection = connection_by_socket(&owner->connections,
		                                                     transport);

		if (connection)
			connection_note_message(connection, is_received, now_usec());
		return;
	}
	memcpy(&remote, &address->su_sin, sizeof(address->su_sin));
	if (!is_any_server(&remote))
		return;
	connection_note_datagram(&owner->connections, &remote, is_received, now_usec());
	if (!is_received)
		connection_note_queue(&owner->connections, TRANSPORT_UDP, &remote, 1);
	arm(owner, SWEEP_SEC);
}

void sofia_connection_note_tls(const struct tls_summary *summary, const char *failure)
{
	struct connection *connection =
		owner ? connection_by_socket(&owner->connections, shaking_hands) : NULL;

	if (failure) {
		ending = shaking_hands;
		ending_reason = CONNECTION_END_HANDSHAKE;
	} else if (connection) {
		snprintf(connection->subject, sizeof(connection->subject), "%s", summary->subject);
		snprintf(connection->protocol, sizeof(connection->protocol), "%s",
		         summary->protocol);
		snprintf(connection->cipher, sizeof(connection->cipher), "%s", summary->cipher);
	}
}

struct connection_purge sofia_connection_purge(struct sofia *sofia, enum config_transport transport,
                                               uint32_t id, const struct sockaddr_storage *target)
{
	struct connection_purge purge = connection_purge(&sofia->connections, transport, id,
	                                                 target);
	const struct connection *connection = connection_by_socket(&sofia->connections,
	                                                           purge.socket);

	if (connection)
		close_for(connection, CONNECTION_END_PURGED);
	/* Without its place in the table, what is sent next to this remote takes a connection of its own. */
	for (size_t i = 0; i < sofia->connections.count; i++) {
		connection = sofia->connections.entries[i];
		if (connection->socket && !connection->is_reusable)
			tport_set_params((tport_t *)(uintptr_t)connection->socket, TPTAG_REUSE(0),
			                 TAG_END());
	}
	return purge;
}

tport_t *tport_alloc_secondary(tport_primary_t *primary, int socket, int is_accepted,
                               char const **reason)
{
	NEXT(tport_alloc_secondary)
	tport_t *self = next_function(primary, socket, is_accepted, reason);

	accepted = is_accepted ? self : NULL;
	return self;
}

int tport_register_secondary(tport_t *self, su_wakeup_f wakeup, int events)
{
	NEXT(tport_register_secondary)
	const int result = next_function(self, wakeup, events);
	struct sockaddr_storage remote;

	if (!owner || result < 0 || !remote_of(self, &remote))
		return result;
	const bool is_incoming = accepted == self;
	struct connection *connection = connection_open(&owner->connections, transport_of(self),
	                                                &remote, self, is_incoming, now_usec());
	const char *refusal = connection && is_incoming ? find_refusal(connection) : NULL;
	if (refusal) {
		connection->state = CONNECTION_CLOSING;
		sofia_transport_note_refused(owner, &remote, true, refusal);
	}
	arm(owner, refusal ? 0 : SWEEP_SEC);
	return result;
}

/*
 * What waits for a connection that never came up fails at once: the library would let a request whose TLS handshake failed run
 * into its 32 seconds.
 */
void tport_close(tport_t *self)
{
	NEXT(tport_close)
	struct connection *connection = owner ? connection_by_socket(&owner->connections, self)
	                                      : NULL;

	if (connection) {
		const bool is_up = tport_is_connected(self);
		const enum connection_end end = ending == self ? ending_reason
		                                : is_up        ? CONNECTION_END_REMOTE
		                                : connection->transport == TRANSPORT_TLS
		                                        ? CONNECTION_END_HANDSHAKE
		                                        : CONNECTION_END_UNREACHABLE;

		ending = NULL;
		connection_close(&owner->connections, self, end);
		if (!is_up)
			tport_error_report(self, ECONNABORTED, NULL);
	}
	next_function(self);
}

void tport_zap_secondary(tport_t *self)
{
	NEXT(tport_zap_secondary)
	if (owner && self)
		connection_close(&owner->connections, self, CONNECTION_END_LOCAL);
	next_function(self);
}

void tport_error_report(tport_t *self, int error, su_sockaddr_t const *address)
{
	NEXT(tport_error_report)
	const bool is_known = owner && connection_by_socket(&owner->connections, self);

	if (is_known && error > 0 && ending != self) {
		ending = self;
		ending_reason = !tport_is_connected(self)      ? CONNECTION_END_UNREACHABLE
		                : is_sending || error == EPIPE ? CONNECTION_END_SEND
		                                               : CONNECTION_END_REMOTE;
	} else if (owner && self && error > 0 && address && tport_is_udp(self)) {
		connection_note_failure(&owner->connections, TRANSPORT_UDP, CONNECTION_END_SEND);
	}
	next_function(self, error, address);
	if (ending == self)
		ending = NULL;
}

/* The library's own ageing closes what has no transaction left. */
void tport_base_timer(tport_t *self, su_time_t now)
{
	NEXT(tport_base_timer)
	ending = self;
	ending_reason = CONNECTION_END_AGED;
	next_function(self, now);
	ending = NULL;
}

int tport_prepare_and_send(tport_t *self, msg_t *message, tp_name_t const *name,
                           struct sigcomp_compartment *compartment, unsigned mtu)
{
	NEXT(tport_prepare_and_send)
	struct sockaddr_storage remote;
	const bool is_connection = owner && connection_by_socket(&owner->connections, self) &&
	                           remote_of(self, &remote);
	const enum config_transport transport = is_connection ? transport_of(self) : TRANSPORT_UDP;
	const uint32_t waiting = is_connection ? (uint32_t)tport_queuelen(self) : 0;
	is_sending = true;
	const int result = next_function(self, message, name, compartment, mtu);
	is_sending = false;

	if (is_connection && owner)
		connection_note_queue(&owner->connections, transport, &remote, waiting + 1);
	return result;
}

int tls_connect(su_root_magic_t *magic, su_wait_t *wait, tport_t *self)
{
	NEXT(tls_connect)
	shaking_hands = self;
	const int result = next_function(magic, wait, self);
	struct connection *connection = owner ? connection_by_socket(&owner->connections, self)
	                                      : NULL;

	shaking_hands = NULL;
	if (connection && tport_is_connected(self))
		connection->state = CONNECTION_ESTABLISHED;
	return result;
}

const char *sofia_connections_check(void)
{
	static char problem[128];
	const struct {
		const char *name;
		void *own;
	} functions[] = {
		{"tport_register_secondary", (void *)tport_register_secondary},
		{"tport_close", (void *)tport_close},
		{"tls_connect", (void *)tls_connect},
	};

	for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
		if (dlsym(RTLD_DEFAULT, functions[i].name) != functions[i].own) {
			snprintf(problem, sizeof(problem),
			         "this sofia-sip calls %s past our own: TLS is not used",
			         functions[i].name);
			return problem;
		}
	return NULL;
}
