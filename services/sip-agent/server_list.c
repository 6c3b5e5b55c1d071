/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/server_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"

#define BAR_MINIMUM_SEC   30
#define BAR_MAXIMUM_SEC   300
#define DOUBLINGS_MAXIMUM 4
#define USEC_PER_SEC      1000000ULL

static bool is_same(const struct sip_server *a, const struct sip_server *b)
{
	return a->transport == b->transport && address_is_equal(&a->address, &b->address) &&
	       address_port(&a->address) == address_port(&b->address) &&
	       strcmp(a->name, b->name) == 0;
}

static struct sip_server *find(const struct server_list *list, const struct sip_server *server)
{
	for (size_t i = 0; i < list->count; i++)
		if (is_same(&list->servers[i], server))
			return &list->servers[i];
	return NULL;
}

bool server_list_set(struct server_list *list, const struct sip_server *servers, size_t count)
{
	const struct sip_server *was = server_list_current(list);
	struct server_list next = {.count = count < SERVER_LIST_MAXIMUM ? count
	                                                                : SERVER_LIST_MAXIMUM};
	bool is_kept = false;

	next.servers = calloc(next.count + 1, sizeof(*next.servers));
	if (!next.servers)
		return false;
	for (size_t i = 0; i < next.count; i++) {
		const struct sip_server *known = find(list, &servers[i]);

		next.servers[i] = servers[i];
		next.servers[i].barred_until_usec = known ? known->barred_until_usec : 0;
		next.servers[i].failures = known ? known->failures : 0;
		if (known && known == was) {
			next.current = i;
			is_kept = true;
		}
	}
	free(list->servers);
	*list = next;
	return !is_kept;
}

void server_list_free(struct server_list *list)
{
	free(list->servers);
	*list = (struct server_list){0};
}

const struct sip_server *server_list_current(const struct server_list *list)
{
	return list->count ? &list->servers[list->current] : NULL;
}

static size_t choose(const struct server_list *list, uint64_t now_usec)
{
	size_t soonest = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (list->servers[i].barred_until_usec <= now_usec)
			return i;
		if (list->servers[i].barred_until_usec < list->servers[soonest].barred_until_usec)
			soonest = i;
	}
	return soonest;
}

const struct sip_server *server_list_choose(const struct server_list *list, uint64_t now_usec)
{
	return list->count ? &list->servers[choose(list, now_usec)] : NULL;
}

bool server_list_fail(struct server_list *list, const struct sip_server *server, uint64_t now_usec,
                      uint32_t random, unsigned minimum_sec)
{
	struct sip_server *failed = find(list, server);

	if (!failed)
		return false;
	uint64_t usec = (BAR_MINIMUM_SEC * USEC_PER_SEC)
	                << (failed->failures < DOUBLINGS_MAXIMUM ? failed->failures
	                                                         : DOUBLINGS_MAXIMUM);

	if (usec > BAR_MAXIMUM_SEC * USEC_PER_SEC)
		usec = BAR_MAXIMUM_SEC * USEC_PER_SEC;
	usec = usec / 2 + (usec / 2 * random >> 32);
	if (usec < minimum_sec * USEC_PER_SEC)
		usec = minimum_sec * USEC_PER_SEC;
	failed->failures++;
	failed->barred_until_usec = now_usec + usec;
	const size_t next = choose(list, now_usec);
	if (failed == &list->servers[list->current])
		list->current = next;
	return list->servers[next].barred_until_usec <= now_usec;
}

bool server_list_use(struct server_list *list, const struct sip_server *server)
{
	struct sip_server *used = find(list, server);

	if (!used)
		return false;
	const size_t index = (size_t)(used - list->servers);
	const bool is_other = index != list->current;
	used->failures = 0;
	used->barred_until_usec = 0;
	list->current = index;
	return is_other;
}

uint64_t server_list_return_usec(const struct server_list *list)
{
	uint64_t soonest = 0;

	for (size_t i = 0; i < list->current && i < list->count; i++)
		if (!soonest || list->servers[i].barred_until_usec < soonest)
			soonest = list->servers[i].barred_until_usec
			                  ? list->servers[i].barred_until_usec
			                  : 1;
	return soonest;
}

bool server_list_has_address(const struct server_list *list, const struct sockaddr_storage *address)
{
	for (size_t i = 0; i < list->count; i++)
		if (address_is_equal(&list->servers[i].address, address))
			return true;
	return false;
}

const char *sip_server_print_uri(const struct sip_server *server, char *text, size_t size)
{
	char address[ADDRESS_TEXT_SIZE];

	snprintf(text, size, "sip:%s%s", address_format_port(&server->address, address),
	         server->transport == TRANSPORT_TLS   ? ";transport=tls"
	         : server->transport == TRANSPORT_TCP ? ";transport=tcp"
	                                              : "");
	return text;
}

const char *sip_transport_name(enum config_transport transport)
{
	return transport == TRANSPORT_TLS ? "TLS" : transport == TRANSPORT_TCP ? "TCP" : "UDP";
}
