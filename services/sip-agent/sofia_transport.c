/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A line's transports: which are opened, what is written into Contact, Route and Request-URI for each, and the terms of TLS. */
#include "services/sip-agent/sofia_transport.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"
#include "services/sip-agent/tls_interpose.h"
#include "services/sip-agent/tls_trustpoint.h"

#define USEC_PER_SEC             1000000ULL
#define PORT_UDP_TCP             5060
#define PORT_TLS                 5061
#define LOG_INTERVAL_SEC         1
#define TOS_EXPEDITED_FORWARDING 0xb8
#define QUEUE_MAXIMUM            64 /* messages that wait for a connection */

struct sofia_tls {
	struct trustpoint *trustpoints; /* as in the configuration */
	const char *self_check;         /* NULL = the protections are in force */
	uint64_t logged_usec, unlogged; /* connections that were refused or failed */
};

static time_t wall_sec(const struct sofia *sofia)
{
	return (time_t)(bus_wall_usec(sofia->bus) / USEC_PER_SEC);
}

static bool uses_tls(const struct config *config)
{
	for (size_t i = 0; i < config->line_count; i++)
		if (config->lines[i].transports & 1u << TRANSPORT_TLS)
			return true;
	return false;
}

/* The server of a line at this address; NULL = none. */
static const struct sip_server *find_server(const struct sofia *sofia,
                                            const struct sockaddr_storage *remote,
                                            const struct sofia_line **line)
{
	for (size_t i = 0; i < sofia->line_count; i++) {
		const struct server_list *list = &sofia->lines[i].servers;

		*line = &sofia->lines[i];
		for (size_t j = 0; j < list->count; j++)
			if (address_is_equal(&list->servers[j].address, remote))
				return &list->servers[j];
	}
	return NULL;
}

/* The server must be the one that was looked up; one of a fixed address may also be named by the line's domain. */
static void name_server(const struct sip_server *server, const struct sofia_line *line,
                        struct tls_terms *terms)
{
	const char *domain = line->config->domain;
	struct sockaddr_storage address;

	terms->takes_address = !server->name[0];
	if (server->name[0])
		snprintf(terms->names[0], TLS_NAME_SIZE, "%s", server->name);
	else if (domain && !address_parse(domain, &address))
		snprintf(terms->names[0], TLS_NAME_SIZE, "%s", domain);
}

static void set_terms(void *context, const struct sockaddr_storage *remote, bool is_incoming,
                      struct tls_terms *terms)
{
	const struct sofia *sofia = context;
	const struct config_crypto_signaling *signaling = config_crypto_signaling_for(sofia->config,
	                                                                              remote);
	const struct sofia_line *line;
	const struct sip_server *server = find_server(sofia, remote, &line);
	char why[TRUSTPOINT_CAUSE_SIZE];

	if (!server || !signaling) {
		snprintf(terms->refusal, sizeof(terms->refusal), "%s",
		         server ? "no crypto-signaling section is for it"
		                : "it is no SIP server of ours");
		return;
	}
	struct trustpoint *trustpoint =
		&sofia->tls->trustpoints[signaling->trustpoint - sofia->config->trustpoints];
	trustpoint_refresh(trustpoint, wall_sec(sofia));
	if (trustpoint_obstacle(trustpoint, wall_sec(sofia), why)) {
		snprintf(terms->refusal, sizeof(terms->refusal), "trustpoint %s: %s",
		         signaling->trustpoint->name, why);
		return;
	}
	terms->context = trustpoint->context;
	SSL_CTX_up_ref(terms->context);
	terms->is_strict_cipher = signaling->is_strict_cipher;
	terms->wants_certificate = !is_incoming || signaling->asks_client;
	terms->checks_subject = signaling->checks_subject;
	name_server(server, line, terms);
}

static void note_established(void *context, const struct sockaddr_storage *remote,
                             const struct tls_summary *summary)
{
	char address[ADDRESS_TEXT_SIZE];

	(void)context;
	sofia_connection_note_tls(summary, NULL);
	log_line(LOG_INFO, "TLS with %s: %s, %s, \"%s\"", address_format_port(remote, address),
	         summary->protocol, summary->cipher, summary->subject);
}

/* One line a second at most, however many knock. */
void sofia_transport_note_refused(struct sofia *sofia, const struct sockaddr_storage *remote,
                                  bool is_incoming, const char *cause)
{
	struct sofia_tls *tls = sofia->tls;
	const uint64_t now = bus_mono_usec(sofia->bus);
	char address[ADDRESS_TEXT_SIZE];

	if (tls->logged_usec && now - tls->logged_usec < LOG_INTERVAL_SEC * USEC_PER_SEC) {
		tls->unlogged++;
		return;
	}
	log_line(LOG_WARNING,
	         "security event=connection-refused source=%s direction=%s cause=\"%s\" more=%llu",
	         address_format_port(remote, address), is_incoming ? "incoming" : "outgoing", cause,
	         (unsigned long long)tls->unlogged);
	tls->logged_usec = now;
	tls->unlogged = 0;
}

static void note_failed(void *context, const struct sockaddr_storage *remote, bool is_incoming,
                        const char *cause)
{
	struct sofia *sofia = context;

	/* For the cause of what waits for this connection. */
	for (size_t i = 0; !is_incoming && i < sofia->line_count; i++)
		if (server_list_has_address(&sofia->lines[i].servers, remote))
			snprintf(sofia->lines[i].tls_failure, SOFIA_CAUSE_SIZE, "%s", cause);
	sofia_connection_note_tls(NULL, cause);
	sofia_transport_note_refused(sofia, remote, is_incoming, cause);
}

/** Whether SIP uses it; the files of the others are ike-agent's alone. */
static bool signals_by(const struct config *config, const struct config_trustpoint *trustpoint)
{
	for (size_t i = 0; i < config->crypto_signaling_count; i++)
		if (config->crypto_signalings[i].trustpoint == trustpoint)
			return true;
	return false;
}

bool sofia_transport_begin(struct sofia *sofia)
{
	static const struct tls_events events = {set_terms, note_established, note_failed};
	const struct config *config = sofia->config;

	sofia->tls = calloc(1, sizeof(*sofia->tls));
	if (!sofia->tls || !sofia_connections_open(sofia))
		return false;
	sofia->tls->trustpoints = calloc(config->trustpoint_count + 1, sizeof(struct trustpoint));
	if (!sofia->tls->trustpoints)
		return false;
	for (size_t i = 0; i < config->trustpoint_count; i++) {
		trustpoint_init(&sofia->tls->trustpoints[i], &config->trustpoints[i]);
		if (signals_by(config, &config->trustpoints[i]))
			trustpoint_refresh(&sofia->tls->trustpoints[i], wall_sec(sofia));
	}
	if (!uses_tls(config))
		return true;
	sofia->tls->self_check = tls_interpose_check();
	if (!sofia->tls->self_check)
		sofia->tls->self_check = sofia_connections_check();
	if (sofia->tls->self_check)
		log_line(LOG_ERR, "%s", sofia->tls->self_check);
	tls_interpose_open(&events, sofia);
	return true;
}

void sofia_transport_end(struct sofia *sofia)
{
	tls_interpose_open(NULL, NULL);
	sofia_connections_close(sofia);
	for (size_t i = 0;
	     sofia->tls && sofia->tls->trustpoints && i < sofia->config->trustpoint_count; i++)
		trustpoint_free(&sofia->tls->trustpoints[i]);
	if (sofia->tls)
		free(sofia->tls->trustpoints);
	free(sofia->tls);
	sofia->tls = NULL;
}

uint16_t sofia_transport_local_port(const struct config_line *config,
                                    enum config_transport transport)
{
	return transport == TRANSPORT_TLS ? config->tls_port : config->sip_port;
}

static const char *parameter_of(enum config_transport transport)
{
	return transport == TRANSPORT_TLS   ? ";transport=tls"
	       : transport == TRANSPORT_TCP ? ";transport=tcp"
	                                    : "";
}

static bool add_transport(struct sofia_line *line, const char *host,
                          enum config_transport transport)
{
	char url[SOFIA_URI_SIZE];

	/* sofia-sip listens on TLS only for a URI that says sips. */
	snprintf(url, sizeof(url), "%s:%s:%u;transport=%s",
	         transport == TRANSPORT_TLS ? "sips" : "sip", host,
	         sofia_transport_local_port(line->config, transport),
	         transport == TRANSPORT_TLS   ? "tls"
	         : transport == TRANSPORT_TCP ? "tcp"
	                                      : "udp");
	if (nta_agent_add_tport(line->agent, (url_string_t *)url, TPTAG_QUEUESIZE(QUEUE_MAXIMUM),
	                        TPTAG_STUN_SERVER(0), TPTAG_TOS(TOS_EXPEDITED_FORWARDING),
	                        TPTAG_LOG(1), /* each message passes sofia_tap.c */
	                        TPTAG_IDLE(line->config->connection_aging_sec * 1000u),
	                        TPTAG_TIMEOUT(line->config->connection_aging_sec * 1000u),
	                        TAG_END()) == 0)
		return true;
	snprintf(line->cause, sizeof(line->cause), "cannot open the SIP port %u (%s) on %s",
	         sofia_transport_local_port(line->config, transport), sip_transport_name(transport),
	         host);
	return false;
}

bool sofia_transport_is_safe(struct sofia_line *line)
{
	if (!(line->config->transports & 1u << TRANSPORT_TLS) || !line->sofia->tls->self_check)
		return true;
	snprintf(line->cause, sizeof(line->cause), "%s", line->sofia->tls->self_check);
	return false;
}

bool sofia_transport_open_all(struct sofia_line *line)
{
	char host[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	for (int i = TRANSPORT_UDP; i <= TRANSPORT_TLS; i++)
		if (line->config->transports & 1u << i &&
		    !add_transport(line, host, (enum config_transport)i))
			return false;
	return true;
}

void sofia_transport_tell(const struct sofia_line *line, const char *host)
{
	char ports[64] = "";

	for (int i = TRANSPORT_UDP; i <= TRANSPORT_TLS; i++) {
		const size_t length = strlen(ports);

		if (line->config->transports & 1u << i)
			snprintf(
				ports + length, sizeof(ports) - length, "%s%s %u",
				length ? ", " : "", sip_transport_name((enum config_transport)i),
				sofia_transport_local_port(line->config, (enum config_transport)i));
	}
	log_line(LOG_INFO, "line %s: SIP on %s, ports: %s", line->config->number, host, ports);
}

enum config_transport sofia_transport_of_registrations(const struct sofia_line *line)
{
	const struct sip_server *server = server_list_current(&line->servers);

	if (line->config->registrar_transport)
		return line->config->registrar_transport;
	return server ? server->transport : line->config->session_transport;
}

void sofia_transport_print_contact(const struct sofia_line *line, enum config_transport transport,
                                   bool is_secure, char *contact, size_t size)
{
	char host[INET_ADDRSTRLEN];

	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	snprintf(contact, size, "<%s:%s@%s:%u%s>", is_secure ? "sips" : "sip", line->contact_user,
	         host, sofia_transport_local_port(line->config, transport),
	         is_secure ? "" : parameter_of(transport));
}

static const struct config_peer *peer_of(const struct sofia_call *call)
{
	return config_peer_by_number(call->line->sofia->config, call->call.remote_number);
}

enum config_transport sofia_transport_of_call(const struct sofia_call *call)
{
	const struct config_peer *peer = peer_of(call);

	return peer && peer->session_transport ? peer->session_transport
	                                       : call->line->config->session_transport;
}

static enum config_url url_of(const struct sofia_call *call)
{
	const struct config_peer *peer = peer_of(call);

	return peer && peer->url ? peer->url : call->line->config->url;
}

void sofia_transport_print_call_contact(const struct sofia_call *call, char *contact, size_t size)
{
	sofia_transport_print_contact(call->line, sofia_transport_of_call(call),
	                              url_of(call) == URL_SIPS, contact, size);
}

/* The server's port is that of its own transport; UDP and TCP share theirs. */
void sofia_transport_print_line_route(const struct sofia_line *line,
                                      enum config_transport transport, char *route, size_t size)
{
	const struct sip_server *current = server_list_current(&line->servers);
	char uri[SOFIA_URI_SIZE];

	if (!current) {
		snprintf(route, size, "<sip:;lr>");
		return;
	}
	struct sip_server server = *current;
	server.transport = transport;
	if ((transport == TRANSPORT_TLS) != (current->transport == TRANSPORT_TLS))
		address_set_port(&server.address,
		                 transport == TRANSPORT_TLS ? PORT_TLS : PORT_UDP_TCP);
	snprintf(route, size, "<%s;lr>", sip_server_print_uri(&server, uri, sizeof(uri)));
}

void sofia_transport_print_route(const struct sofia_call *call, char *route, size_t size)
{
	sofia_transport_print_line_route(call->line, sofia_transport_of_call(call), route, size);
}

/* RFC 3966: a number is global, or tells in whose plan it is. */
static void print_telephone(const struct sofia_call *call, char *target, size_t size)
{
	const struct config_line *config = call->line->config;
	const char *number = call->call.remote_number, *domain = strchr(call->line->identity, '@');
	const size_t trunk = config->trunk_prefix ? strlen(config->trunk_prefix) : 0;

	if (config->country_code && config->country_code[0] &&
	    strncmp(number, config->trunk_prefix ? config->trunk_prefix : "", trunk) == 0)
		snprintf(target, size, "tel:+%s%s", config->country_code, number + trunk);
	else
		snprintf(target, size, "tel:%s;phone-context=%.*s", number,
		         domain ? (int)strcspn(domain + 1, ">") : 0, domain ? domain + 1 : "");
}

void sofia_transport_print_target(const struct sofia_call *call, char *target, size_t size)
{
	const char *address = call->remote_uri + strlen("<"); /* "sip:NUMBER@DOMAIN>" */
	const enum config_url url = url_of(call);

	if (url == URL_TEL) {
		print_telephone(call, target, size);
		return;
	}
	const bool is_raised = url == URL_SIPS && strncmp(address, "sip:", 4) == 0;
	if (is_raised)
		address += strlen("sip:");
	snprintf(target, size, "%s%.*s", is_raised ? "sips:" : "", (int)strcspn(address, ">"),
	         address);
}

const struct connection_table *sofia_connections(struct sofia *sofia)
{
	sofia_connection_refresh(sofia);
	return &sofia->connections;
}

bool sofia_transport_status(const struct sofia *sofia, size_t line, struct transport_status *status)
{
	if (line >= sofia->line_count)
		return false;
	const struct sofia_line *one = &sofia->lines[line];
	*status = (struct transport_status){
		.config = one->config,
		.address = one->address,
		.is_open = one->agent != NULL,
		.registrar_transport = sofia_transport_of_registrations(one),
		.cause = one->agent                 ? ""
	                 : one->address.s_addr == 0 ? "no WAN address"
	                 : one->cause[0]            ? one->cause
	                                            : "not opened yet",
	};
	return true;
}

const struct trustpoint *sofia_trustpoint(struct sofia *sofia, size_t index,
                                          char why[TRUSTPOINT_CAUSE_SIZE])
{
	struct trustpoint *trustpoint = &sofia->tls->trustpoints[index];

	if (!signals_by(sofia->config, trustpoint->config))
		return NULL;
	trustpoint_refresh(trustpoint, wall_sec(sofia));
	why[0] = '\0';
	if (!trustpoint_obstacle(trustpoint, wall_sec(sofia), why) && trustpoint->load_cause[0])
		snprintf(why, TRUSTPOINT_CAUSE_SIZE, "%s", trustpoint->load_cause);
	return trustpoint;
}

const char *sofia_tls_self_check(const struct sofia *sofia)
{
	return sofia->tls->self_check ? sofia->tls->self_check : "";
}
