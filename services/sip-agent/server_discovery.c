/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/server_discovery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/common/address.h"
#include "services/sip-agent/dhcp_options.h"

#define PORT_SIP  5060
#define PORT_SIPS 5061

/* RFC 3263 section 4.1: the services of NAPTR, and the prefix of SRV. */
static const struct service_kind {
	const char *naptr, *srv;
	enum config_transport transport;
} service_kinds[] = {
	{"SIPS+D2T", "_sips._tcp.", TRANSPORT_TLS},
	{"SIP+D2U", "_sip._udp.", TRANSPORT_UDP},
	{"SIP+D2T", "_sip._tcp.", TRANSPORT_TCP},
};
#define SERVICE_KIND_COUNT (sizeof(service_kinds) / sizeof(*service_kinds))

static bool is_allowed(const struct discovery_rules *rules, enum config_transport transport)
{
	return rules->wanted != TRANSPORT_SYSTEM ? transport == rules->wanted
	                                         : (rules->transports & 1u << transport) != 0;
}

/* Without NAPTR and SRV nobody says which transport. */
static enum config_transport default_transport(const struct discovery_rules *rules)
{
	return rules->wanted != TRANSPORT_SYSTEM ? rules->wanted : rules->usual;
}

static uint16_t default_port(enum config_transport transport)
{
	return transport == TRANSPORT_TLS ? PORT_SIPS : PORT_SIP;
}

static void add_server(struct discovery *discovery, const struct sockaddr_storage *address,
                       uint16_t port, enum config_transport transport)
{
	const struct discovery_target *target = &discovery->targets[discovery->target];
	struct sip_server server = {
		.address = *address,
		.transport = transport,
		.origin = target->origin,
		.is_secondary = target->is_secondary,
	};

	address_set_port(&server.address, port);
	/* A certificate must name what was asked for, not where that led (RFC 5922). */
	memcpy(server.name, target->name, sizeof(server.name));
	for (size_t i = 0; i < discovery->server_count; i++)
		if (discovery->servers[i].transport == transport &&
		    address_is_equal(&discovery->servers[i].address, &server.address) &&
		    address_port(&discovery->servers[i].address) == port)
			return;
	if (discovery->server_count < SERVER_LIST_MAXIMUM)
		discovery->servers[discovery->server_count++] = server;
}

static void add_host(struct discovery_host *hosts, size_t *count, const char *name, uint16_t port,
                     enum config_transport transport)
{
	if (*count == DNS_RECORDS_MAXIMUM)
		return;
	hosts[*count].port = port;
	hosts[*count].transport = transport;
	snprintf(hosts[*count].name, sizeof(hosts[*count].name), "%s", name);
	(*count)++;
}

/* The target's own name, when neither NAPTR nor SRV lead further. */
static void fall_back_to_address(struct discovery *discovery)
{
	const struct discovery_target *target = &discovery->targets[discovery->target];
	const enum config_transport transport = default_transport(&discovery->rules);

	discovery->step = DISCOVERY_ADDRESS;
	discovery->host = discovery->host_count = 0;
	add_host(discovery->hosts, &discovery->host_count, target->name,
	         target->port ? target->port : default_port(transport), transport);
}

/* Goes to the first target from here on that needs a question; those with an address are servers at once. */
static void enter_target(struct discovery *discovery)
{
	for (; discovery->target < discovery->target_count; discovery->target++) {
		const struct discovery_target *target = &discovery->targets[discovery->target];
		const enum config_transport transport = default_transport(&discovery->rules);

		discovery->service = discovery->service_count = 0;
		discovery->host = discovery->host_count = 0;
		discovery->step = DISCOVERY_NAPTR;
		if (target->address.ss_family == 0) {
			if (target->port)
				fall_back_to_address(discovery);
			return;
		}
		add_server(discovery, &target->address,
		           target->port ? target->port : default_port(transport), transport);
	}
}

void discovery_begin(struct discovery *discovery, const struct discovery_rules *rules,
                     const struct discovery_target *targets, size_t count)
{
	memset(discovery, 0, sizeof(*discovery));
	discovery->rules = *rules;
	discovery->ttl_sec = UINT32_MAX;
	discovery->target_count = count < DISCOVERY_TARGET_MAXIMUM ? count
	                                                           : DISCOVERY_TARGET_MAXIMUM;
	memcpy(discovery->targets, targets, discovery->target_count * sizeof(*targets));
	enter_target(discovery);
}

bool discovery_question(const struct discovery *discovery, struct dns_question *question)
{
	const struct discovery_target *target = &discovery->targets[discovery->target];

	if (discovery->target >= discovery->target_count)
		return false;
	switch (discovery->step) {
	case DISCOVERY_NAPTR:
		question->type = DNS_NAPTR;
		memcpy(question->name, target->name, sizeof(question->name));
		break;
	case DISCOVERY_SRV:
		question->type = DNS_SRV;
		memcpy(question->name, discovery->services[discovery->service].name,
		       sizeof(question->name));
		break;
	case DISCOVERY_ADDRESS:
		question->type = DNS_A;
		memcpy(question->name, discovery->hosts[discovery->host].name,
		       sizeof(question->name));
		break;
	}
	return true;
}

static int compare_priority(const void *a, const void *b)
{
	const struct dns_record *first = a, *second = b;

	if (first->priority != second->priority)
		return first->priority < second->priority ? -1 : 1;
	return 0;
}

static int compare_naptr(const void *a, const void *b)
{
	const struct dns_record *first = a, *second = b;
	const int order = compare_priority(a, b);

	if (order != 0 || first->weight == second->weight)
		return order;
	return first->weight < second->weight ? -1 : 1;
}

/* Draws one of `count` records of a priority, by weight (RFC 2782): those without weight last, but not never. */
static size_t draw(const struct dns_record *records, size_t count, discovery_random_fn *random,
                   void *context)
{
	uint32_t total = 0, drawn, sum = 0;

	for (size_t i = 0; i < count; i++)
		total += records[i].weight;
	random(context, &drawn, sizeof(drawn));
	drawn %= total + 1;
	/* Zero weights come first in the running sum: only a zero draws them. */
	for (size_t i = 0; i < count && drawn == 0; i++)
		if (records[i].weight == 0)
			return i;
	for (size_t i = 0; i < count; i++) {
		sum += records[i].weight;
		if (sum >= drawn)
			return i;
	}
	return 0;
}

void discovery_order_srv(struct dns_record *records, size_t count, discovery_random_fn *random,
                         void *context)
{
	qsort(records, count, sizeof(*records), compare_priority);
	for (size_t i = 0; i < count; i++) {
		size_t same = 1;

		while (i + same < count && records[i + same].priority == records[i].priority)
			same++;
		const size_t chosen = i + draw(records + i, same, random, context);
		const struct dns_record swap = records[chosen];

		memmove(&records[i + 1], &records[i], (chosen - i) * sizeof(*records));
		records[i] = swap;
	}
}

/* The SRV names of every transport that is allowed, the usual one first. */
static void guess_services(struct discovery *discovery)
{
	const char *domain = discovery->targets[discovery->target].name;
	const enum config_transport first = default_transport(&discovery->rules);
	char name[SERVER_NAME_SIZE + 16];

	for (int pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < SERVICE_KIND_COUNT; i++) {
			const struct service_kind *kind = &service_kinds[i];

			snprintf(name, sizeof(name), "%s%s", kind->srv, domain);
			if ((kind->transport == first) == (pass == 0) &&
			    is_allowed(&discovery->rules, kind->transport) &&
			    strlen(name) < SERVER_NAME_SIZE)
				add_host(discovery->services, &discovery->service_count, name, 0,
				         kind->transport);
		}
}

static const struct service_kind *kind_of(const struct dns_record *naptr)
{
	for (size_t i = 0; i < SERVICE_KIND_COUNT; i++)
		if (strcasecmp(service_kinds[i].naptr, naptr->service) == 0)
			return &service_kinds[i];
	return NULL;
}

static void take_naptr(struct discovery *discovery, const struct dns_answer *answer)
{
	struct dns_record records[DNS_RECORDS_MAXIMUM];

	memcpy(records, answer->records, answer->count * sizeof(*records));
	qsort(records, answer->count, sizeof(*records), compare_naptr);
	for (size_t i = 0; i < answer->count; i++) {
		const struct service_kind *kind = kind_of(&records[i]);

		if (kind && is_allowed(&discovery->rules, kind->transport) && records[i].name[0] &&
		    strcasecmp(records[i].flags, "s") == 0)
			add_host(discovery->services, &discovery->service_count, records[i].name, 0,
			         kind->transport);
	}
	if (!discovery->service_count)
		guess_services(discovery);
	discovery->step = DISCOVERY_SRV;
	if (!discovery->service_count)
		fall_back_to_address(discovery);
}

static void take_srv(struct discovery *discovery, const struct dns_answer *answer,
                     discovery_random_fn *random, void *context)
{
	struct dns_record records[DNS_RECORDS_MAXIMUM];
	const enum config_transport transport = discovery->services[discovery->service].transport;

	memcpy(records, answer->records, answer->count * sizeof(*records));
	discovery_order_srv(records, answer->count, random, context);
	for (size_t i = 0; i < answer->count; i++)
		if (records[i].name[0] && records[i].port)
			add_host(discovery->hosts, &discovery->host_count, records[i].name,
			         records[i].port, transport);
	if (++discovery->service < discovery->service_count)
		return;
	discovery->step = DISCOVERY_ADDRESS;
	if (!discovery->host_count)
		fall_back_to_address(discovery);
}

static bool has_server_of(const struct discovery *discovery, const struct discovery_target *target)
{
	for (size_t i = 0; i < discovery->server_count; i++)
		if (strcmp(discovery->servers[i].name, target->name) == 0)
			return true;
	return false;
}

static void leave_target(struct discovery *discovery)
{
	if (!has_server_of(discovery, &discovery->targets[discovery->target]))
		discovery->absences++;
	discovery->target++;
	enter_target(discovery);
}

static void take_addresses(struct discovery *discovery, const struct dns_answer *answer)
{
	const struct discovery_host *host = &discovery->hosts[discovery->host];

	for (size_t i = 0; i < answer->count; i++) {
		struct sockaddr_storage address;

		address_from_octets((const uint8_t *)&answer->records[i].address,
		                    sizeof(answer->records[i].address), 0, &address);
		if (dhcp_is_host(answer->records[i].address))
			add_server(discovery, &address, host->port, host->transport);
	}
	if (++discovery->host == discovery->host_count)
		leave_target(discovery);
}

void discovery_answer(struct discovery *discovery, const struct dns_answer *answer,
                      discovery_random_fn *random, void *context)
{
	static const struct dns_answer nothing = {.outcome = DNS_ABSENT};

	if (discovery->target >= discovery->target_count)
		return;
	discovery->failures += answer->outcome == DNS_FAILED;
	if (answer->outcome != DNS_FOUND)
		answer = &nothing;
	else if (answer->ttl_sec < discovery->ttl_sec)
		discovery->ttl_sec = answer->ttl_sec;
	switch (discovery->step) {
	case DISCOVERY_NAPTR:
		take_naptr(discovery, answer);
		break;
	case DISCOVERY_SRV:
		take_srv(discovery, answer, random, context);
		break;
	case DISCOVERY_ADDRESS:
		take_addresses(discovery, answer);
		break;
	}
}
