/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show sip-ua connections, show sip-ua status: as the guide prints them. */
#include <string.h>

#include "services/cli/commands.h"
#include "services/cli/sip_ua.h"

#define NO_REMOTE "0.0.0.0:0"

const char *sip_ua_transport_name(Vpnsip__SipTransport transport)
{
	return transport == VPNSIP__SIP_TRANSPORT__SIP_TLS   ? "tls"
	       : transport == VPNSIP__SIP_TRANSPORT__SIP_TCP ? "tcp"
	                                                     : "udp";
}

static json_t *connection_model(const Vpnsip__SipConnection *connection)
{
	return json_pack(
		"{s:i, s:o, s:o, s:i, s:b, s:b, s:b, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "id",
		(int)connection->id, "remote", model_address(connection->remote), "state",
		model_text(connection->state), "write_queue", (int)connection->write_queue,
		"has_no_socket", connection->has_no_socket, "is_mismatched",
		connection->is_mismatched, "is_incoming", connection->is_incoming, "age_sec",
		(json_int_t)connection->age_sec, "idle_sec", (json_int_t)connection->idle_sec,
		"messages_sent", (json_int_t)connection->messages_sent, "messages_received",
		(json_int_t)connection->messages_received, "peer_subject",
		model_text(connection->peer_subject), "protocol", model_text(connection->protocol),
		"cipher", model_text(connection->cipher));
}

json_t *sip_ua_connections_model(const Vpnsip__SipConnectionList *list)
{
	json_t *connections = json_array(), *agents = json_array();
	int active = 0;

	for (size_t i = 0; i < list->n_connections; i++) {
		active += !list->connections[i]->has_no_socket;
		json_array_append_new(connections, connection_model(list->connections[i]));
	}
	for (size_t i = 0; i < list->n_remote_agents; i++)
		json_array_append_new(agents, model_bytes_address(list->remote_agents[i]));
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:i, s:o, s:i, s:o, s:o}",
	                 "transport", sip_ua_transport_name(list->transport), "active", active,
	                 "send_failures", (json_int_t)list->send_failures, "remote_closures",
	                 (json_int_t)list->remote_closures, "connection_failures",
	                 (json_int_t)list->connection_failures, "inactive_ageouts",
	                 (json_int_t)list->inactive_ageouts, "handshake_errors",
	                 (json_int_t)list->handshake_errors, "queue_maximum",
	                 (int)list->queue_maximum, "queue_maximum_remote",
	                 model_address(list->queue_maximum_remote), "aging_sec",
	                 (int)list->aging_sec, "remote_agents", agents, "connections", connections);
}

void sip_ua_connections_brief(FILE *stream, const json_t *model)
{
	const char *transport = text_of(model, "transport");
	const long long queue = number_of(model, "queue_maximum");
	char remote[64];

	fprintf(stream, "Total active connections : %lld\n", (long long)number_of(model, "active"));
	fprintf(stream, "No. of send failures : %lld\n",
	        (long long)number_of(model, "send_failures"));
	fprintf(stream, "No. of remote closures : %lld\n",
	        (long long)number_of(model, "remote_closures"));
	fprintf(stream, "No. of conn. failures : %lld\n",
	        (long long)number_of(model, "connection_failures"));
	fprintf(stream, "No. of inactive conn. ageouts : %lld\n",
	        (long long)number_of(model, "inactive_ageouts"));
	if (strcmp(transport, "tls") == 0)
		fprintf(stream, "No. of handshake errors : %lld\n",
		        (long long)number_of(model, "handshake_errors"));
	if (queue || strcmp(transport, "udp") != 0)
		fprintf(stream, "Max. %s send msg queue size of %lld, recorded for %s\n", transport,
		        queue,
		        queue ? address_of(model, "queue_maximum_remote", remote) : NO_REMOTE);
}

static bool is_of_agent(const json_t *connection, const char *agent)
{
	return strcmp(text_of(json_object_get(connection, "remote"), "address"), agent) == 0;
}

static void print_agent(FILE *stream, const json_t *connections, const char *agent)
{
	const json_t *connection;
	size_t index, count = 0;

	json_array_foreach (connections, index, connection)
		count += is_of_agent(connection, agent);
	fprintf(stream, "\nRemote-Agent:%s, Connections-Count:%zu\n", agent, count);
	if (!count)
		return;
	fputs("  Remote-Port Conn-Id Conn-State  WriteQ-Size\n"
	      "  =========== ======= =========== ===========\n",
	      stream);
	json_array_foreach (connections, index, connection)
		if (is_of_agent(connection, agent))
			fprintf(stream, "%s%11lld %7lld %-11s %11lld\n",
			        flag_of(connection, "has_no_socket")   ? "**"
			        : flag_of(connection, "is_mismatched") ? "++"
			                                               : "  ",
			        (long long)number_of(json_object_get(connection, "remote"), "port"),
			        (long long)number_of(connection, "id"),
			        text_of(connection, "state"),
			        (long long)number_of(connection, "write_queue"));
}

void sip_ua_connections_detail(FILE *stream, const json_t *model)
{
	const json_t *agent;
	size_t index;

	sip_ua_connections_brief(stream, model);
	fputs("---------Printing Detailed Connection Report---------\n"
	      "Note:\n"
	      " ** Tuples with no matching socket entry\n"
	      "    - Do 'clear sip <tcp/udp> conn t ipv4:<addr>:<port>'\n"
	      "      to overcome this error condition\n"
	      " ++ Tuples with mismatched address/port entry\n"
	      "    - Do 'clear sip <tcp/udp> conn t ipv4:<addr>:<port> id <connid>'\n"
	      "      to overcome this error condition\n",
	      stream);
	json_array_foreach (json_object_get(model, "remote_agents"), index, agent)
		print_agent(stream, json_object_get(model, "connections"),
		            json_string_value(agent));
}

int sip_ua_ask(const struct cli *cli, const ProtobufCMessage *order,
               Vpnsip__Envelope__BodyCase expected, struct ordered *ordered)
{
	char why[256];

	*ordered = (struct ordered){.to = VPNSIP__SERVICE__SIP_AGENT, .order = order};
	if (!gather_order(&cli->bus, ordered, 1, ORDER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	if (ordered->reply && ordered->reply->body_case == expected)
		return CLI_DONE;
	gather_explain_order(&cli->bus, ordered, ORDER_TIMEOUT_MSEC, why, sizeof(why));
	command_complain("%s", why);
	gather_forget(ordered, 1);
	return ordered->outcome == BUS_FAILED ? CLI_FAILED : CLI_PARTIAL;
}

static int show_connections(const struct cli *cli, const struct words *words,
                            Vpnsip__SipTransport transport)
{
	Vpnsip__GetSipConnections order = VPNSIP__GET_SIP_CONNECTIONS__INIT;
	const bool is_detailed = words_has(words, "detail");
	struct ordered ordered;

	if (is_detailed == words_has(words, "brief")) {
		command_complain("say 'brief' or 'detail'");
		return CLI_FAILED;
	}
	order.transport = transport;
	int status = sip_ua_ask(cli, &order.base, VPNSIP__ENVELOPE__BODY_SIP_CONNECTION_LIST,
	                        &ordered);
	if (status != CLI_DONE)
		return status;
	json_t *model = sip_ua_connections_model(ordered.reply->sip_connection_list);
	command_print(cli, model,
	              is_detailed ? sip_ua_connections_detail : sip_ua_connections_brief);
	json_decref(model);
	gather_forget(&ordered, 1);
	return CLI_DONE;
}

int command_show_connections_udp(const struct cli *cli, const struct words *words)
{
	return show_connections(cli, words, VPNSIP__SIP_TRANSPORT__SIP_UDP);
}

int command_show_connections_tcp(const struct cli *cli, const struct words *words)
{
	return show_connections(cli, words, VPNSIP__SIP_TRANSPORT__SIP_TCP);
}

int command_show_connections_tls(const struct cli *cli, const struct words *words)
{
	return show_connections(cli, words, VPNSIP__SIP_TRANSPORT__SIP_TLS);
}

static json_t *line_model(const Vpnsip__SipLineStatus *line)
{
	return json_pack("{s:o, s:b, s:b, s:b, s:o, s:i, s:o, s:o, s:o, s:o}", "local_number",
	                 model_text(line->local_number), "listens_udp", line->listens_udp,
	                 "listens_tcp", line->listens_tcp, "listens_tls", line->listens_tls,
	                 "local", model_address(line->local), "tls_port", (int)line->tls_port,
	                 "session_transport", model_text(line->session_transport),
	                 "registrar_transport", model_text(line->registrar_transport), "url",
	                 model_text(line->url), "cause", model_text(line->cause));
}

static json_t *trustpoint_model(const Vpnsip__TrustpointStatus *trustpoint)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:o}", "name",
	                 model_text(trustpoint->name), "subject", model_text(trustpoint->subject),
	                 "issuer", model_text(trustpoint->issuer), "not_after",
	                 model_moment(trustpoint->not_after_usec), "authorities",
	                 (int)trustpoint->authorities, "crl_next_update",
	                 model_moment(trustpoint->crl_next_update_usec), "loaded_at",
	                 model_moment(trustpoint->loaded_at_usec), "cause",
	                 model_text(trustpoint->cause));
}

json_t *sip_ua_status_model(const Vpnsip__SipStatus *status)
{
	json_t *lines = json_array(), *trustpoints = json_array();

	for (size_t i = 0; i < status->n_lines; i++)
		json_array_append_new(lines, line_model(status->lines[i]));
	for (size_t i = 0; i < status->n_trustpoints; i++)
		json_array_append_new(trustpoints, trustpoint_model(status->trustpoints[i]));
	return json_pack("{s:o, s:o, s:o}", "lines", lines, "trustpoints", trustpoints,
	                 "tls_self_check", model_text(status->tls_self_check));
}

static const char *enabled(const json_t *line, const char *key)
{
	return flag_of(line, key) ? "ENABLED" : "DISABLED";
}

static void print_trustpoint(FILE *stream, const json_t *trustpoint)
{
	fprintf(stream, "Trustpoint %s: %s\n", text_of(trustpoint, "name"),
	        *text_of(trustpoint, "subject") ? text_of(trustpoint, "subject")
	                                        : "no certificate of ours");
	if (*text_of(trustpoint, "issuer"))
		fprintf(stream, "  issued by %s, until %s\n", text_of(trustpoint, "issuer"),
		        text_of(trustpoint, "not_after"));
	fprintf(stream, "  %lld roots", (long long)number_of(trustpoint, "authorities"));
	if (*text_of(trustpoint, "crl_next_update"))
		fprintf(stream, ", revocation list until %s",
		        text_of(trustpoint, "crl_next_update"));
	fprintf(stream, ", loaded at %s\n", text_of(trustpoint, "loaded_at"));
	if (*text_of(trustpoint, "cause"))
		fprintf(stream, "  Cause: %s\n", text_of(trustpoint, "cause"));
}

void sip_ua_status_text(FILE *stream, const json_t *model)
{
	const json_t *line, *trustpoint;
	char local[64];
	size_t index;

	fputs("SIP User Agent Status\n", stream);
	json_array_foreach (json_object_get(model, "lines"), index, line) {
		fprintf(stream, "Line %s, %s, TLS port %lld\n", text_of(line, "local_number"),
		        address_of(line, "local", local), (long long)number_of(line, "tls_port"));
		fprintf(stream, "SIP User Agent for UDP : %s\n", enabled(line, "listens_udp"));
		fprintf(stream, "SIP User Agent for TCP : %s\n", enabled(line, "listens_tcp"));
		fprintf(stream, "SIP User Agent for TLS over TCP : %s\n",
		        enabled(line, "listens_tls"));
		fprintf(stream, "Session transport : %s\n", text_of(line, "session_transport"));
		fprintf(stream, "Registrar transport : %s\n", text_of(line, "registrar_transport"));
		fprintf(stream, "URL of calls : %s\n", text_of(line, "url"));
		if (*text_of(line, "cause"))
			fprintf(stream, "Cause : %s\n", text_of(line, "cause"));
	}
	json_array_foreach (json_object_get(model, "trustpoints"), index, trustpoint)
		print_trustpoint(stream, trustpoint);
	if (*text_of(model, "tls_self_check"))
		fprintf(stream, "TLS is not used: %s\n", text_of(model, "tls_self_check"));
}

int command_show_sip_ua_status(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetSipStatus order = VPNSIP__GET_SIP_STATUS__INIT;
	struct ordered ordered;

	(void)words;
	int status = sip_ua_ask(cli, &order.base, VPNSIP__ENVELOPE__BODY_SIP_STATUS, &ordered);
	if (status != CLI_DONE)
		return status;
	json_t *model = sip_ua_status_model(ordered.reply->sip_status);
	command_print(cli, model, sip_ua_status_text);
	json_decref(model);
	gather_forget(&ordered, 1);
	return CLI_DONE;
}
