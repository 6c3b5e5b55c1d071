/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/transport_report.h"

#include <stdlib.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/service.h"
#include "services/sip-agent/server_list.h"
#include "services/sip-agent/sofia_transport.h"

#define USEC_PER_SEC 1000000ULL

/* A message and what it points to. */
struct told_connection {
	Vpnsip__SipConnection message;
	Vpnsip__SocketAddress remote;
};

static enum config_transport transport_of(Vpnsip__SipTransport transport)
{
	return transport == VPNSIP__SIP_TRANSPORT__SIP_TLS   ? TRANSPORT_TLS
	       : transport == VPNSIP__SIP_TRANSPORT__SIP_TCP ? TRANSPORT_TCP
	                                                     : TRANSPORT_UDP;
}

static void tell(struct told_connection *told, const struct connection *connection,
                 uint64_t now_usec)
{
	vpnsip__sip_connection__init(&told->message);
	vpnsip__socket_address__init(&told->remote);
	address_to_proto(&connection->remote, &told->remote);
	told->message.id = connection->id;
	told->message.remote = &told->remote;
	told->message.state = (char *)(connection->has_socket
	                                       ? connection_state_name(connection->state)
	                                       : "Closed");
	told->message.write_queue = connection->queue;
	told->message.has_no_socket = !connection->has_socket;
	told->message.is_mismatched = connection->has_socket && !connection->is_reusable;
	told->message.age_sec = (now_usec - connection->opened_usec) / USEC_PER_SEC;
	told->message.idle_sec = (now_usec - connection->active_usec) / USEC_PER_SEC;
	told->message.messages_sent = connection->messages_sent;
	told->message.messages_received = connection->messages_received;
	told->message.peer_subject = (char *)connection->subject;
	told->message.protocol = (char *)connection->protocol;
	told->message.cipher = (char *)connection->cipher;
	told->message.is_incoming = connection->is_incoming;
}

static void tell_counters(Vpnsip__SipConnectionList *list,
                          const struct connection_counters *counters, Vpnsip__SocketAddress *remote)
{
	list->send_failures = counters->ends[CONNECTION_END_SEND];
	list->remote_closures = counters->ends[CONNECTION_END_REMOTE];
	list->connection_failures = counters->ends[CONNECTION_END_UNREACHABLE];
	list->inactive_ageouts = counters->ends[CONNECTION_END_AGED];
	list->handshake_errors = counters->ends[CONNECTION_END_HANDSHAKE];
	list->queue_maximum = counters->queue_maximum;
	address_to_proto(&counters->queue_remote, remote);
	list->queue_maximum_remote = remote;
}

static size_t list_agents(const struct connection_table *table, enum config_transport transport,
                          ProtobufCBinaryData agents[CONNECTION_AGENTS_MAXIMUM])
{
	size_t count = 0;

	for (size_t i = 0; i < table->agents_seen && i < CONNECTION_AGENTS_MAXIMUM; i++)
		if (table->agents[i].transport == transport)
			agents[count++] = address_to_bytes(&table->agents[i].address);
	return count;
}

void agent_tell_connections(const struct service_context *service, struct sofia *sofia,
                            struct bus_request *request, const Vpnsip__GetSipConnections *order)
{
	const enum config_transport transport = transport_of(order->transport);
	const struct connection_table *table = sofia_connections(sofia);
	Vpnsip__SipConnectionList list = VPNSIP__SIP_CONNECTION_LIST__INIT;
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	ProtobufCBinaryData agents[CONNECTION_AGENTS_MAXIMUM];
	struct told_connection *told = calloc(table->count + 1, sizeof(*told));
	Vpnsip__SipConnection **pointers = calloc(table->count + 1, sizeof(*pointers));

	if (!told || !pointers) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	list.transport = order->transport;
	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i]->transport != transport)
			continue;
		tell(&told[i], table->entries[i], bus_mono_usec(service->bus));
		pointers[list.n_connections++] = &told[i].message;
	}
	list.connections = pointers;
	tell_counters(&list, &table->counters[transport], &remote);
	list.aging_sec = sofia_connection_aging_sec(sofia);
	list.n_remote_agents = list_agents(table, transport, agents);
	list.remote_agents = agents;
	bus_reply(request, &list.base);
out:
	free(told);
	free(pointers);
}

void agent_clear_connection(struct sofia *sofia, struct bus_request *request,
                            const Vpnsip__ClearSipConnection *order)
{
	Vpnsip__SipConnectionCleared cleared = VPNSIP__SIP_CONNECTION_CLEARED__INIT;
	struct sockaddr_storage target;

	if (order->target && !address_from_proto(order->target, &target)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "the target is no address");
		return;
	}
	if (!order->id && !order->target) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "neither id nor target is given");
		return;
	}
	const struct connection_purge purge = sofia_connection_purge(
		sofia, transport_of(order->transport), order->id, order->target ? &target : NULL);
	cleared.is_purged_from_process = purge.from_process;
	cleared.is_purged_from_table = purge.from_table;
	cleared.problem = (char *)(purge.problem ? purge.problem : "");
	bus_reply(request, &cleared.base);
}

static const char *url_name(enum config_url url)
{
	return url == URL_SIPS ? "sips" : url == URL_TEL ? "tel" : "sip";
}

/* `local` points into `address`. */
static void tell_line(Vpnsip__SipLineStatus *message, Vpnsip__SocketAddress *local,
                      struct sockaddr_storage *address, const struct transport_status *status)
{
	const struct config_line *config = status->config;
	const unsigned open = status->is_open ? config->transports : 0;

	vpnsip__sip_line_status__init(message);
	vpnsip__socket_address__init(local);
	address_from_octets((const uint8_t *)&status->address, sizeof(status->address),
	                    config->sip_port, address);
	address_to_proto(address, local);
	message->local_number = config->number;
	message->listens_udp = open & 1u << TRANSPORT_UDP;
	message->listens_tcp = open & 1u << TRANSPORT_TCP;
	message->listens_tls = open & 1u << TRANSPORT_TLS;
	message->local = local;
	message->tls_port = config->tls_port;
	message->session_transport = (char *)sip_transport_name(config->session_transport);
	message->registrar_transport = (char *)sip_transport_name(status->registrar_transport);
	message->url = (char *)url_name(config->url);
	message->cause = (char *)status->cause;
}

static void tell_trustpoint(Vpnsip__TrustpointStatus *message, const struct trustpoint *trustpoint,
                            const char *cause)
{
	vpnsip__trustpoint_status__init(message);
	message->name = trustpoint->config->name;
	message->subject = (char *)trustpoint->subject;
	message->issuer = (char *)trustpoint->issuer;
	message->not_after_usec = (uint64_t)trustpoint->not_after * USEC_PER_SEC;
	message->authorities = trustpoint->authorities;
	message->crl_next_update_usec = (uint64_t)trustpoint->crl_next_update * USEC_PER_SEC;
	message->loaded_at_usec = (uint64_t)trustpoint->loaded_at * USEC_PER_SEC;
	message->cause = (char *)cause;
}

void agent_tell_sip_status(const struct service_context *service, struct sofia *sofia,
                           struct bus_request *request)
{
	const size_t lines = service->config->line_count;
	const size_t trustpoints = service->config->trustpoint_count;
	Vpnsip__SipStatus message = VPNSIP__SIP_STATUS__INIT;
	Vpnsip__SipLineStatus *line = calloc(lines + 1, sizeof(*line));
	Vpnsip__SocketAddress *local = calloc(lines + 1, sizeof(*local));
	struct sockaddr_storage *address = calloc(lines + 1, sizeof(*address));
	Vpnsip__SipLineStatus **line_list = calloc(lines + 1, sizeof(*line_list));
	Vpnsip__TrustpointStatus *trustpoint = calloc(trustpoints + 1, sizeof(*trustpoint));
	Vpnsip__TrustpointStatus **trustpoint_list = calloc(trustpoints + 1,
	                                                    sizeof(*trustpoint_list));
	char(*causes)[TRUSTPOINT_CAUSE_SIZE] = calloc(trustpoints + 1, sizeof(*causes));
	struct transport_status status;

	if (!line || !local || !address || !line_list || !trustpoint || !trustpoint_list ||
	    !causes) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	for (size_t i = 0; sofia_transport_status(sofia, i, &status); i++) {
		tell_line(&line[i], &local[i], &address[i], &status);
		line_list[message.n_lines++] = &line[i];
	}
	for (size_t i = 0; i < trustpoints; i++) {
		const struct trustpoint *used = sofia_trustpoint(sofia, i, causes[i]);

		if (!used)
			continue;
		tell_trustpoint(&trustpoint[i], used, causes[i]);
		trustpoint_list[message.n_trustpoints++] = &trustpoint[i];
	}
	message.lines = line_list;
	message.trustpoints = trustpoint_list;
	message.tls_self_check = (char *)sofia_tls_self_check(sofia);
	bus_reply(request, &message.base);
out:
	free(line);
	free(local);
	free(address);
	free(line_list);
	free(trustpoint);
	free(trustpoint_list);
	free(causes);
}
