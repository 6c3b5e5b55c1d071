/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/server_list.h"

#include <stdio.h>
#include <string.h>

#include "services/common/address.h"

static bool is_same(const struct sip_server *a, const struct sip_server *b)
{
	return a->transport == b->transport && address_is_equal(&a->address, &b->address) &&
	       address_port(&a->address) == address_port(&b->address) &&
	       strcmp(a->name, b->name) == 0;
}

static const struct sip_server *find(const struct server_list *list,
                                     const struct sip_server *server)
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

	for (size_t i = 0; i < next.count; i++) {
		const struct sip_server *known = find(list, &servers[i]);

		next.servers[i] = servers[i];
		next.servers[i].barred_until_usec = known ? known->barred_until_usec : 0;
		if (was && known == was) {
			next.current = i;
			is_kept = true;
		}
	}
	*list = next;
	return !is_kept;
}

const struct sip_server *server_list_current(const struct server_list *list)
{
	return list->count ? &list->servers[list->current] : NULL;
}

bool server_list_fail(struct server_list *list, uint64_t now_usec, uint64_t bar_usec)
{
	size_t soonest = list->current;

	if (!list->count)
		return false;
	list->servers[list->current].barred_until_usec = now_usec + bar_usec;
	for (size_t i = 1; i < list->count; i++) {
		size_t next = (list->current + i) % list->count;

		if (list->servers[next].barred_until_usec <= now_usec) {
			list->current = next;
			return true;
		}
		if (list->servers[next].barred_until_usec <
		    list->servers[soonest].barred_until_usec)
			soonest = next;
	}
	list->current = soonest;
	return false;
}

bool server_list_return(struct server_list *list, uint64_t now_usec)
{
	for (size_t i = 0; i < list->count && i != list->current; i++)
		if (list->servers[i].barred_until_usec <= now_usec) {
			list->current = i;
			return true;
		}
	return false;
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
