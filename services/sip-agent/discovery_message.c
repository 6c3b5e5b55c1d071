/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/discovery_message.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/config.h"

/* Of print_server_option(). */
#define SERVER_OPTION_SIZE (DHCP_SERVERS_MAXIMUM * (DHCP_NAME_SIZE + 6))

static Vpnsip__DiscoverySource source_of(enum server_origin origin)
{
	static const Vpnsip__DiscoverySource sources[] = {
		[SERVER_CONFIGURED] = VPNSIP__DISCOVERY_SOURCE__DISCOVERY_STATIC,
		[SERVER_BY_DNS] = VPNSIP__DISCOVERY_SOURCE__DISCOVERY_DNS,
		[SERVER_BY_DHCP] = VPNSIP__DISCOVERY_SOURCE__DISCOVERY_DHCP,
	};

	return sources[origin];
}

static bool add_servers(struct discovery_message *message, const struct sip_server *servers,
                        size_t count)
{
	/* One more each: calloc(0) may be NULL. */
	message->servers = calloc(count + 1, sizeof(*message->servers));
	message->server_list = calloc(count + 1, sizeof(*message->server_list));
	message->addresses = calloc(count + 1, sizeof(*message->addresses));
	if (!message->servers || !message->server_list || !message->addresses)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct sip_server *from = &servers[i];
		Vpnsip__DiscoveredServer *to = &message->servers[i];

		vpnsip__discovered_server__init(to);
		vpnsip__socket_address__init(&message->addresses[i]);
		address_to_proto(&from->address, &message->addresses[i]);
		to->address = &message->addresses[i];
		to->name = (char *)from->name;
		to->transport = (char *)sip_transport_name(from->transport);
		to->is_secondary = from->is_secondary;
		to->barred_until_mono_usec = from->barred_until_usec;
		message->server_list[i] = to;
	}
	message->changed.n_servers = count;
	message->changed.servers = message->server_list;
	return true;
}

/* "dns:a.example dns:b.example" or "ipv4:192.0.2.5 ...". */
static void print_server_option(const struct dhcp_sip_servers *servers, char *text, size_t size)
{
	char address[INET_ADDRSTRLEN];
	size_t length = 0;

	text[0] = '\0';
	for (size_t i = 0; i < servers->name_count && length < size; i++)
		length += (size_t)snprintf(text + length, size - length, "%sdns:%s", i ? " " : "",
		                           servers->names[i]);
	for (size_t i = 0; i < servers->address_count && length < size; i++)
		length += (size_t)snprintf(
			text + length, size - length, "%sipv4:%s", i ? " " : "",
			inet_ntop(AF_INET, &servers->addresses[i], address, sizeof(address)));
}

static bool add_routes(struct discovery_message *message, const struct dhcp_routes *routes)
{
	message->routes = calloc(routes->count + 1, sizeof(*message->routes));
	message->route_list = calloc(routes->count + 1, sizeof(*message->route_list));
	if (!message->routes || !message->route_list)
		return false;
	for (size_t i = 0; i < routes->count; i++) {
		const struct dhcp_route *from = &routes->routes[i];
		Vpnsip__LeaseRoute *to = &message->routes[i];

		vpnsip__lease_route__init(to);
		to->destination.data = (uint8_t *)&from->destination;
		to->destination.len = sizeof(from->destination);
		to->prefix_length = from->prefix_length;
		if (from->gateway.s_addr != INADDR_ANY) {
			to->gateway.data = (uint8_t *)&from->gateway;
			to->gateway.len = sizeof(from->gateway);
		}
		message->route_list[i] = to;
	}
	message->changed.n_routes = routes->count;
	message->changed.routes = message->route_list;
	return true;
}

static bool add_lease(struct discovery_message *message, struct dhcp_lease *lease)
{
	Vpnsip__DiscoveryChanged *changed = &message->changed;

	message->server_option = malloc(SERVER_OPTION_SIZE);
	if (!message->server_option || !add_routes(message, &lease->routes))
		return false;
	changed->lease_client = lease->client;
	print_server_option(&lease->servers, message->server_option, SERVER_OPTION_SIZE);
	changed->server_option = message->server_option;
	changed->domain = lease->vendor.domain;
	changed->main_number = lease->vendor.main_number;
	for (size_t i = 0; i < lease->vendor.additional_count; i++)
		message->numbers[i] = lease->vendor.additional_numbers[i];
	changed->n_additional_numbers = lease->vendor.additional_count;
	changed->additional_numbers = message->numbers;
	changed->firmware_server = lease->vendor.firmware_server;
	if (lease->vendor.has_client_mac) {
		changed->client_mac.data = lease->vendor.client_mac;
		changed->client_mac.len = sizeof(lease->vendor.client_mac);
	}
	changed->lease_at_usec = lease->written_at_usec;
	if (lease->address.s_addr != INADDR_ANY) {
		changed->lease_address.data = (uint8_t *)&lease->address;
		changed->lease_address.len = sizeof(lease->address);
	}
	changed->vendor_option = lease->vendor_text;
	return true;
}

bool message_from_discovery(struct discovery_message *message,
                            const struct discovery_report *report, const struct server_list *list)
{
	Vpnsip__DiscoveryChanged *changed = &message->changed;

	memset(message, 0, sizeof(*message));
	vpnsip__discovery_changed__init(changed);
	changed->local_number = report->line->number;
	changed->source = source_of(report->origin);
	changed->cause = (char *)report->cause;
	if (!add_servers(message, list ? list->servers : report->servers,
	                 list ? list->count : report->server_count))
		return false;
	if (!report->lease)
		return true;
	changed->lease_interface = report->line->wan_interface;
	return add_lease(message, (struct dhcp_lease *)report->lease);
}

void discovery_message_release(struct discovery_message *message)
{
	free(message->servers);
	free(message->server_list);
	free(message->addresses);
	free(message->routes);
	free(message->route_list);
	free(message->server_option);
}
