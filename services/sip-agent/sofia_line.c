/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A line's transports, and the admission of what arrives outside any dialog. */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <limits.h>
#include <sofia-sip/msg_addr.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/sip-agent/port_obstacle.h"
#include "services/sip-agent/sofia_internal.h"
#include "services/sip-agent/sofia_log.h"

#define UDP_MTU_MAXIMUM    65535
#define CONTACT_TOKEN_SIZE 13    /* 12 digits */
#define MESSAGE_MAXIMUM    65535 /* octets of a message over TCP or TLS; a datagram is no longer */

void sofia_random_token(struct sofia *sofia, char *token, size_t size)
{
	uint8_t octets[SOFIA_TOKEN_SIZE];

	bus_random(sofia->bus, octets, sizeof(octets));
	for (size_t i = 0; i + 1 < size; i++)
		token[i] = "0123456789abcdef"[octets[i] & 15];
	token[size - 1] = '\0';
}

const char *sofia_local_failure(const sip_t *sip)
{
	if (sip && !nta_sip_is_internal(sip))
		return NULL;
	return sip && sip->sip_status->st_status == 408 ? "does not answer" : "cannot be reached";
}

const char *sofia_line_print_failure(const struct sofia_line *line, const char *failure,
                                     char text[SOFIA_CAUSE_SIZE])
{
	snprintf(text, SOFIA_CAUSE_SIZE, "%s%s%.200s", failure,
	         line->tls_failure[0] ? ": TLS: " : "", line->tls_failure);
	return text;
}

/* The server that the configuration names by its address. */
static size_t configured_server(const struct config_line *config,
                                const struct config_server *configured, bool is_secondary,
                                struct sip_server *server)
{
	if (configured->kind != SERVER_ADDRESS)
		return 0;
	*server = (struct sip_server){
		.address = configured->address,
		.transport = config->registrar_transport ? config->registrar_transport
	                                                 : config->session_transport,
		.origin = SERVER_CONFIGURED,
		.is_secondary = is_secondary,
	};
	if (!configured->port)
		address_set_port(&server->address,
		                 server->transport == TRANSPORT_TLS ? 5061 : 5060);
	return 1;
}

void sofia_line_note_server(struct sofia_line *line)
{
	const struct sip_server *server = server_list_current(&line->servers);

	if (server)
		sip_server_print_uri(server, line->registrar, sizeof(line->registrar));
	else
		snprintf(line->registrar, sizeof(line->registrar), "sip:");
}

static void name_identity_file(const struct sofia_line *line, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/contact-%s", line->sofia->state_directory,
	         line->config->number);
}

static const char *domain_of(const struct sofia_line *line)
{
	return line->config->domain ? line->config->domain : "";
}

void sofia_line_keep_identity(const struct sofia_line *line)
{
	char path[PATH_MAX];

	name_identity_file(line, path);
	FILE *file = fopen(path, "we");
	if (!file ||
	    fprintf(file, "%s\n%s\n%s\n", line->contact_user, line->realm, domain_of(line)) < 0)
		log_line(LOG_WARNING, "cannot write %s: %m", path);
	if (file)
		fclose(file);
}

static bool read_line(FILE *file, char *text, size_t size)
{
	if (!fgets(text, (int)size, file))
		return false;
	text[strcspn(text, "\n")] = '\0';
	return true;
}

/*
 * What must be the same after a restart. The user part of our Contact: a random one, so that the registrar never holds two
 * bindings of this line; carriers expect a token of 12 digits and not the number, unless it is configured. The registrar's
 * realm: the only one that our password answers, also in a call that was taken up before the line is registered again; under
 * another domain in the configuration it is learnt anew.
 */
static bool is_contact_user(const struct sofia_line *line)
{
	if (line->config->contact_user == CONTACT_NUMBER)
		return strcmp(line->contact_user, line->config->number) == 0;
	return strlen(line->contact_user) == CONTACT_TOKEN_SIZE - 1 &&
	       strspn(line->contact_user, "0123456789abcdef") == CONTACT_TOKEN_SIZE - 1;
}

static void read_identity(struct sofia_line *line)
{
	char path[PATH_MAX], domain[SOFIA_URI_SIZE];

	name_identity_file(line, path);
	FILE *file = fopen(path, "re");
	bool is_known = file && read_line(file, line->contact_user, sizeof(line->contact_user)) &&
	                is_contact_user(line);
	if (is_known &&
	    (!read_line(file, line->realm, sizeof(line->realm)) ||
	     !read_line(file, domain, sizeof(domain)) || strcmp(domain, domain_of(line)) != 0))
		line->realm[0] = '\0';
	if (file)
		fclose(file);
	if (is_known)
		return;
	if (line->config->contact_user == CONTACT_NUMBER)
		snprintf(line->contact_user, sizeof(line->contact_user), "%s",
		         line->config->number);
	else
		sofia_random_token(line->sofia, line->contact_user, CONTACT_TOKEN_SIZE);
	sofia_line_keep_identity(line);
}

bool sofia_line_init(struct sofia_line *line, struct sofia *sofia, const struct config_line *config)
{
	struct sip_server servers[2];
	size_t count = configured_server(config, &config->registrar, false, servers);

	line->sofia = sofia;
	line->config = config;
	HASH_ADD_KEYPTR(hh, sofia->lines_by_number, config->number, strlen(config->number), line);
	read_identity(line);
	snprintf(line->identity, sizeof(line->identity), "<sip:%s@%s>", config->number,
	         config->domain ? config->domain : "invalid");
	count += configured_server(config, &config->secondary_registrar, true, servers + count);
	server_list_set(&line->servers, servers, count);
	sofia_line_note_server(line);
	const struct registration_limits limits = {
		.answer_msec = sofia->config->timer_msec[TIMER_REGISTER],
		.retry_msec = sofia->config->timer_msec[TIMER_REGISTER_RETRY],
		.retry_maximum_msec = 300000,
	};
	registration_core_init(&line->core, config->expires_sec, &limits);
	return true;
}

struct sofia_line *sofia_line_by_number(struct sofia *sofia, const char *number)
{
	struct sofia_line *line;

	HASH_FIND_STR(sofia->lines_by_number, number, line);
	return line;
}

static int receive(struct sofia_line *line, nta_agent_t *agent, msg_t *message, sip_t *sip);

/* The sentence for transports that cannot be opened. */
static void explain_open(struct sofia_line *line, const char *host)
{
	struct sockaddr_storage address = {0};

	if (line->known_obstacle) {
		snprintf(line->cause, sizeof(line->cause), "%s", line->known_obstacle);
		return;
	}
	address_parse_port(host, line->config->sip_port, &address);
	char *obstacle = sip_port_obstacle(line->config, &address);

	/* Otherwise it says already which transport it was. */
	if (obstacle)
		snprintf(line->cause, sizeof(line->cause), "%s", obstacle);
	else if (!line->agent)
		snprintf(line->cause, sizeof(line->cause), "the SIP transports cannot be set up");
	free(obstacle);
}

bool sofia_line_open(struct sofia_line *line)
{
	char host[INET_ADDRSTRLEN];

	if (line->agent)
		return true;
	if (!sofia_transport_is_safe(line))
		return false;
	inet_ntop(AF_INET, &line->address, host, sizeof(host));
	sofia_transport_print_contact(line, sofia_transport_of_registrations(line),
	                              line->config->scheme == URL_SIPS, line->contact,
	                              sizeof(line->contact));
	line->agent = nta_agent_create(
		sofia_loop_root(line->sofia->loop), (url_string_t *)-1, receive, line,
		/* a 2xx and its ACK belong to us, not to a proxy */
		NTATAG_UA(1),
		/* the carrier speaks UDP however long a request is */
		NTATAG_UDP_MTU(UDP_MTU_MAXIMUM), NTATAG_MAX_FORWARDS(70),
		NTATAG_CLIENT_RPORT(line->config->uses_rport == CHOICE_YES), NTATAG_USE_NAPTR(0),
		NTATAG_USE_SRV(0), NTATAG_MERGE_482(1), NTATAG_MAXSIZE(MESSAGE_MAXIMUM), TAG_END());
	if (!line->agent || !sofia_transport_open_all(line)) {
		explain_open(line, host);
		sofia_line_close(line);
		return false;
	}
	if (!sofia_guard_is_in_force()) {
		snprintf(line->cause, sizeof(line->cause),
		         "this sofia-sip does not let the SIP guard in");
		log_line(LOG_ERR, "%s: its transports stay closed", line->cause);
		sofia_line_close(line);
		return false;
	}
	line->known_obstacle = NULL; /* it is gone */
	sofia_transport_tell(line, host);
	return true;
}

void sofia_line_move(struct sofia_line *line, struct in_addr address)
{
	nta_agent_t *old = line->agent;

	/* The registrar is to forget the binding that nobody can be reached at any more. */
	const bool was_bound = registration_core_is_registered(&line->core);

	sofia_register_drop(line);
	registration_core_reset(&line->core);
	sofia_register_forget(line);
	if (was_bound)
		snprintf(line->stale_contact, sizeof(line->stale_contact), "%s", line->contact);
	line->agent = NULL;
	line->address = address;
	sofia_line_open(line);
	sofia_dialog_end_on_line(line, "the WAN address changed");
	if (old)
		nta_agent_destroy(old);
}

void sofia_line_close(struct sofia_line *line)
{
	if (line->agent)
		nta_agent_destroy(line->agent);
	line->agent = NULL;
}

void sofia_line_free(struct sofia_line *line)
{
	sofia_register_drop(line);
	sofia_line_close(line);
	sofia_auth_reset(&line->auth);
	server_list_free(&line->servers);
	sofia_register_drop_route(line);
	free(line->associated_numbers);
	if (line->timer)
		event_free(line->timer);
	if (line->retransmission)
		event_free(line->retransmission);
	if (line->leave_limit)
		event_free(line->leave_limit);
}

bool sofia_line_is_registrar(const struct sofia_line *line, const su_sockaddr_t *source)
{
	struct sockaddr_storage address = {0};

	if (!source || source->su_family != AF_INET)
		return false;
	memcpy(&address, &source->su_sin, sizeof(source->su_sin));
	return server_list_has_address(&line->servers, &address);
}

/* Answers a request without keeping a transaction. */
static void refuse_stateless(struct sofia_line *line, nta_agent_t *agent, msg_t *message,
                             int status, const char *phrase)
{
	line->sofia->counters.requests_refused++;
	nta_msg_treply(agent, message, status, phrase, SIPTAG_ALLOW_STR(SOFIA_ALLOW), TAG_END());
}

static void receive_response(struct sofia_line *line, nta_agent_t *agent, msg_t *message,
                             const sip_t *sip)
{
	line->sofia->counters.stray_responses++;
	if (sip->sip_cseq && sip->sip_cseq->cs_method == sip_method_invite)
		sofia_attempt_response(line, agent, message, sip);
	else
		nta_msg_discard(agent, message);
}

/* RFC 3261 section 8.2.2.1. */
static bool is_uri_understood(const sip_t *sip)
{
	const url_t *uri = sip->sip_request->rq_url;

	return uri->url_type == url_sip || uri->url_type == url_sips || uri->url_type == url_tel;
}

/* Whatever belongs to no dialog and no transaction; it has passed the guard (sofia_guard.c). */
static int receive(struct sofia_line *line, nta_agent_t *agent, msg_t *message, sip_t *sip)
{
	if (!sip->sip_request) {
		receive_response(line, agent, message, sip);
		return 0;
	}
	if (sip->sip_request->rq_method != sip_method_ack && !is_uri_understood(sip)) {
		refuse_stateless(line, agent, message, SIP_416_UNSUPPORTED_URI);
		return 0;
	}
	switch (sip->sip_request->rq_method) {
	case sip_method_ack:
		nta_msg_discard(agent, message);
		break;
	case sip_method_invite:
		if (sip->sip_to->a_tag)
			refuse_stateless(line, agent, message, SIP_481_NO_CALL);
		else
			sofia_call_invited(line, message, sip);
		break;
	case sip_method_options:
		nta_msg_treply(agent, message, SIP_200_OK, SIPTAG_ALLOW_STR(SOFIA_ALLOW),
		               SIPTAG_ACCEPT_STR("application/sdp"),
		               SIPTAG_SUPPORTED_STR(sofia_reliable_supported(line)), TAG_END());
		break;
	case sip_method_bye:
	case sip_method_cancel:
	case sip_method_update:
	case sip_method_prack:
		refuse_stateless(line, agent, message, SIP_481_NO_CALL);
		break;
	default:
		refuse_stateless(line, agent, message, SIP_405_METHOD_NOT_ALLOWED);
		break;
	}
	return 0;
}
