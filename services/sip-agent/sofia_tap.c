/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Every SIP message that is sent or received, for `vpnsip trace`, the debug switches and the counters.
 *
 * sofia-sip has one place that all of them pass: tport_log_msg(), which prints them when TPTAG_LOG is set. The function below
 * takes its place: the dynamic linker prefers the program's. A sofia-sip that calls its own in any case would print the
 * messages as before, and nothing would be counted here; test_sip_survival.c notices.
 */
#include <arpa/inet.h>
#include <sofia-sip/msg.h>
#include <sofia-sip/msg_addr.h>
#include <sofia-sip/msg_header.h>
#include <sofia-sip/su_time.h>
#include <sofia-sip/tport.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bus/bus.h"
#include "services/common/address.h"
#include "services/common/log.h"
#include "services/sip-agent/sofia_internal.h"
#include "services/sip-agent/sofia_log.h"

#define LINE_SIZE 512

static struct sofia *tapped;

/* What follows from a received message, here and in the other services, is tied to it, also before the call has an attempt. */
static void begin_trace(struct bus *bus)
{
	uint64_t trace_id;

	bus_random(bus, &trace_id, sizeof(trace_id));
	bus_resume_trace(bus, (trace_id >> 1) | 1);
}

void tport_log_msg(tport_t *transport, msg_t *message, const char *what, const char *via,
                   su_time_t now);

void sofia_tap_open(struct sofia *sofia)
{
	tapped = sofia;
}

static bool is_credential(const char *line, size_t size)
{
	static const char *const headers[] = {"Authorization:", "Proxy-Authorization:"};

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		if (size >= strlen(headers[i]) &&
		    strncasecmp(line, headers[i], strlen(headers[i])) == 0)
			return true;
	return false;
}

void sofia_debug_text(enum log_category category, const struct call *call, const char *what,
                      const char *text, size_t size)
{
	const char *tunnel = call && call->tunnel[0] ? call->tunnel : NULL;
	const char *number = call && call->remote_number[0] ? call->remote_number : NULL;
	bool is_blanked = false;

	if (!log_is_on(category, tunnel))
		return;
	while (size) {
		const char *end = memchr(text, '\n', size);
		size_t length = end ? (size_t)(end - text) : size;
		size_t shown = length && text[length - 1] == '\r' ? length - 1 : length;

		/* A header may go on over the next lines. */
		is_blanked = is_credential(text, shown) ||
		             (is_blanked && shown && (text[0] == ' ' || text[0] == '\t'));
		if (is_blanked)
			log_debug(category, tunnel, number, "%s: %.*s: (blanked)", what,
			          (int)strcspn(text, ": \t"), text);
		else
			log_debug(category, tunnel, number, "%s: %.*s", what, (int)shown, text);
		text += end ? length + 1 : length;
		size -= end ? length + 1 : length;
	}
}

/* "INVITE sip:0388882001@carrier.example", "200 OK (INVITE)" */
static void print_first_line(const sip_t *sip, char text[LINE_SIZE])
{
	char target[SOFIA_URI_SIZE];

	if (sip->sip_request) {
		url_e(target, sizeof(target), sip->sip_request->rq_url);
		snprintf(text, LINE_SIZE, "%s %s", sip->sip_request->rq_method_name, target);
	} else {
		snprintf(text, LINE_SIZE, "%d %s (%s)", sip->sip_status->st_status,
		         sip->sip_status->st_phrase ? sip->sip_status->st_phrase : "",
		         sip->sip_cseq ? sip->sip_cseq->cs_method_name : "?");
	}
	for (char *c = text; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

static bool is_outside_calls(const sip_t *sip)
{
	return sip->sip_cseq && (sip->sip_cseq->cs_method == sip_method_register ||
	                         sip->sip_cseq->cs_method == sip_method_options);
}

static void print_peer(const msg_t *message, char text[ADDRESS_TEXT_SIZE])
{
	const su_sockaddr_t *address = msg_addr((msg_t *)message);
	char host[INET6_ADDRSTRLEN] = "?";

	inet_ntop(address->su_family, SU_ADDR(address), host, sizeof(host));
	snprintf(text, ADDRESS_TEXT_SIZE, "%s:%u", host, ntohs(address->su_port));
}

static void show_message(const struct call *call, msg_t *message, const sip_t *sip,
                         const char *peer, bool is_received)
{
	su_home_t home[1] = {SU_HOME_INIT(home)};
	char what[ADDRESS_TEXT_SIZE + 16];
	size_t size = 0;

	if (log_is_on(LOG_SIP_MESSAGES, call && call->tunnel[0] ? call->tunnel : NULL)) {
		const char *text = msg_as_string(home, message, (msg_pub_t *)sip, 0, &size);

		snprintf(what, sizeof(what), "%s %s", is_received ? "from" : "to", peer);
		if (text)
			sofia_debug_text(LOG_SIP_MESSAGES, call, what, text, size);
	}
	su_home_deinit(home);
}

void tport_log_msg(tport_t *transport, msg_t *message, const char *what, const char *via,
                   su_time_t now)
{
	const sip_t *sip = sip_object(message);
	const bool is_received = strcmp(what, "recv") == 0;
	char line[LINE_SIZE], peer[ADDRESS_TEXT_SIZE];

	(void)via;
	(void)now;
	sofia_log_adjust();
	if (!tapped || !sip || (!sip->sip_request && !sip->sip_status))
		return;
	sofia_connection_note(transport, message, is_received);
	struct sofia_call *found = sip->sip_call_id
	                                   ? sofia_call_by_id(tapped, sip->sip_call_id->i_id)
	                                   : NULL;
	const struct call *call = found ? &found->call : NULL;
	const char *tunnel = call && call->tunnel[0] ? call->tunnel : NULL;
	const char *number = call ? call->remote_number : NULL;
	if (is_received) {
		tapped->counters.messages_received++;
		begin_trace(tapped->bus);
	} else {
		tapped->counters.messages_sent++;
	}
	print_first_line(sip, line);
	print_peer(message, peer);
	bus_trace(tapped->bus, tunnel, call ? call->attempt : 0, VPNSIP__TRACE_KIND__TRACE_SIP,
	          peer, is_received, "%s", line);
	log_debug(LOG_SIP_TRANSPORT, tunnel, number, "%s %s %s: %s",
	          tport_name(transport)->tpn_proto, is_received ? "from" : "to", peer, line);
	if (is_outside_calls(sip))
		log_debug(LOG_SIP_NON_CALL, NULL, NULL, "%s %s: %s", is_received ? "from" : "to",
		          peer, line);
	show_message(call, message, sip, peer, is_received);
}
