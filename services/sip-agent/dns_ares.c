/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/dns_ares.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Three tries, 1, 2 and 4 s. */
#define FIRST_TRY_MSEC  1000
#define TRIES           3
/* Sockets at the same time: UDP and TCP to each server. */
#define SOCKETS_MAXIMUM 16

struct dns_socket {
	ares_socket_t descriptor;
	struct event *event; /* NULL = free */
};

struct dns {
	struct event_base *base;
	ares_channel channel;
	struct event *timer; /* c-ares wants to be called by then */
	struct dns_socket sockets[SOCKETS_MAXIMUM];
	bool is_closing;
};

/* One question under way. */
struct dns_call {
	struct dns *dns;
	enum dns_type type;
	dns_answer_fn *answered;
	void *context;
};

static void arm(struct dns *dns)
{
	struct timeval limit;

	if (ares_timeout(dns->channel, NULL, &limit))
		evtimer_add(dns->timer, &limit);
	else
		evtimer_del(dns->timer);
}

static void on_timer(evutil_socket_t fd, short what, void *context)
{
	struct dns *dns = context;

	(void)fd;
	(void)what;
	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	arm(dns);
}

static void on_socket(evutil_socket_t fd, short what, void *context)
{
	struct dns *dns = context;

	ares_process_fd(dns->channel, what & EV_READ ? fd : ARES_SOCKET_BAD,
	                what & EV_WRITE ? fd : ARES_SOCKET_BAD);
	arm(dns);
}

/* c-ares tells what it waits for on a socket; nothing = it is about to close it. */
static void on_wish(void *context, ares_socket_t descriptor, int reads, int writes)
{
	struct dns *dns = context;
	struct dns_socket *found = NULL, *unused = NULL;
	const short what = (short)((reads ? EV_READ : 0) | (writes ? EV_WRITE : 0));

	for (size_t i = 0; i < SOCKETS_MAXIMUM; i++)
		if (dns->sockets[i].event && dns->sockets[i].descriptor == descriptor)
			found = &dns->sockets[i];
		else if (!dns->sockets[i].event)
			unused = &dns->sockets[i];
	if (found) {
		event_free(found->event);
		found->event = NULL;
		unused = found;
	}
	if (!what || !unused)
		return;
	unused->descriptor = descriptor;
	unused->event = event_new(dns->base, descriptor, (short)(what | EV_PERSIST), on_socket,
	                          dns);
	if (unused->event)
		event_add(unused->event, NULL);
}

struct dns *dns_open(const struct dns_options *options, char *why, size_t why_size)
{
	struct dns *dns = calloc(1, sizeof(*dns));
	struct ares_options ares = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
		.timeout = FIRST_TRY_MSEC,
		.tries = TRIES,
		.servers = (struct in_addr *)options->servers,
		.nservers = (int)options->server_count,
		.sock_state_cb = on_wish,
		.sock_state_cb_data = dns,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB;

	snprintf(why, why_size, "out of memory");
	if (!dns)
		return NULL;
	dns->base = options->base;
	dns->timer = evtimer_new(options->base, on_timer, dns);
	if (options->server_count)
		mask |= ARES_OPT_SERVERS;
	int status = dns->timer ? ares_init_options(&dns->channel, &ares, mask) : ARES_ENOMEM;

	if (status != ARES_SUCCESS) {
		snprintf(why, why_size, "no DNS: %s", ares_strerror(status));
		if (dns->timer)
			event_free(dns->timer);
		free(dns);
		return NULL;
	}
	if (options->local.s_addr != INADDR_ANY)
		ares_set_local_ip4(dns->channel, ntohl(options->local.s_addr));
	if (options->interface)
		ares_set_local_dev(dns->channel, options->interface);
	return dns;
}

static void keep_name(struct dns_record *record, const char *name)
{
	/* A name that does not fit is none. */
	if (strlen(name) < sizeof(record->name))
		snprintf(record->name, sizeof(record->name), "%s", name);
}

static int read_addresses(const uint8_t *message, int size, struct dns_answer *answer)
{
	struct ares_addrttl addresses[DNS_RECORDS_MAXIMUM];
	int count = DNS_RECORDS_MAXIMUM;
	const int status = ares_parse_a_reply(message, size, NULL, addresses, &count);

	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		answer->records[answer->count++].address = addresses[i].ipaddr;
	return status;
}

static int read_srv(const uint8_t *message, int size, struct dns_answer *answer)
{
	struct ares_srv_reply *list = NULL;
	const int status = ares_parse_srv_reply(message, size, &list);

	for (const struct ares_srv_reply *from = status == ARES_SUCCESS ? list : NULL;
	     from && answer->count < DNS_RECORDS_MAXIMUM; from = from->next) {
		struct dns_record *record = &answer->records[answer->count++];

		record->priority = from->priority;
		record->weight = from->weight;
		record->port = from->port;
		keep_name(record, from->host);
	}
	ares_free_data(list);
	return status;
}

static int read_naptr(const uint8_t *message, int size, struct dns_answer *answer)
{
	struct ares_naptr_reply *list = NULL;
	const int status = ares_parse_naptr_reply(message, size, &list);

	for (const struct ares_naptr_reply *from = status == ARES_SUCCESS ? list : NULL;
	     from && answer->count < DNS_RECORDS_MAXIMUM; from = from->next) {
		struct dns_record *record = &answer->records[answer->count++];

		record->priority = from->order;
		record->weight = from->preference;
		snprintf(record->flags, sizeof(record->flags), "%s", (char *)from->flags);
		snprintf(record->service, sizeof(record->service), "%s", (char *)from->service);
		keep_name(record, from->replacement);
	}
	ares_free_data(list);
	return status;
}

/* The smallest of the answer's records, aliases included: c-ares tells it for addresses alone. */
static uint32_t smallest_ttl(const uint8_t *message, int size)
{
	uint32_t smallest = UINT32_MAX;
	ns_msg parsed;
	ns_rr record;

	if (ns_initparse(message, size, &parsed) != 0)
		return 0;
	for (int i = 0; i < ns_msg_count(parsed, ns_s_an); i++)
		if (ns_parserr(&parsed, ns_s_an, i, &record) == 0 && ns_rr_ttl(record) < smallest)
			smallest = ns_rr_ttl(record);
	return smallest;
}

static void on_answer(void *context, int status, int timeouts, unsigned char *message, int size)
{
	struct dns_call *call = context;
	struct dns_answer *answer = call->dns->is_closing ? NULL : calloc(1, sizeof(*answer));

	(void)timeouts;
	if (!answer)
		goto out;
	if (status == ARES_SUCCESS)
		status = call->type == DNS_A     ? read_addresses(message, size, answer)
		         : call->type == DNS_SRV ? read_srv(message, size, answer)
		                                 : read_naptr(message, size, answer);
	if (status == ARES_SUCCESS && answer->count) {
		answer->outcome = DNS_FOUND;
		answer->ttl_sec = smallest_ttl(message, size);
	} else if (status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND) {
		answer->outcome = DNS_ABSENT;
	} else {
		answer->outcome = DNS_FAILED;
	}
	call->answered(call->context, answer);
	free(answer);
out:
	free(call);
}

void dns_ask(struct dns *dns, const struct dns_question *question, dns_answer_fn *answered,
             void *context)
{
	static const struct dns_answer failed = {.outcome = DNS_FAILED};
	struct dns_call *call = malloc(sizeof(*call));

	if (!call) {
		answered(context, &failed);
		return;
	}
	*call = (struct dns_call){dns, question->type, answered, context};
	ares_query(dns->channel, question->name, ns_c_in, (int)question->type, on_answer, call);
	arm(dns);
}

void dns_close(struct dns *dns)
{
	if (!dns)
		return;
	dns->is_closing = true;
	ares_destroy(dns->channel);
	for (size_t i = 0; i < SOCKETS_MAXIMUM; i++)
		if (dns->sockets[i].event)
			event_free(dns->sockets[i].event);
	event_free(dns->timer);
	free(dns);
}
