/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The orders of handover.h as bus messages, and sip-agent's facts as sets. */
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/coordinator/coordinator.h"

#define ORDER_TIMEOUT_MSEC 1500

static void replied(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	handover_replied(context,
	                 outcome == BUS_DONE     ? HANDOVER_DONE
	                 : outcome == BUS_FAILED ? HANDOVER_REFUSED
	                                         : HANDOVER_UNANSWERED,
	                 bus_cause(reply));
}

static ProtobufCBinaryData octets(const uint32_t *address)
{
	return (ProtobufCBinaryData){.len = sizeof(*address), .data = (uint8_t *)address};
}

static uint64_t send_servers(struct coordinator *coordinator, struct handover_item *item)
{
	Vpnsip__AdmitSipServers message = VPNSIP__ADMIT_SIP_SERVERS__INIT;
	ProtobufCBinaryData addresses[HANDOVER_ENTRIES];

	for (size_t i = 0; i < item->wanted.count; i++)
		addresses[i] = octets(&item->wanted.entries[i].address);
	message.local_number = (char *)item->key; /* only packed */
	message.addresses = addresses;
	message.n_addresses = item->wanted.count;
	return bus_call(coordinator->service->bus, VPNSIP__SERVICE__NAT_QOS_AGENT, NULL,
	                &message.base, ORDER_TIMEOUT_MSEC, replied, item);
}

static uint64_t send_routes(struct coordinator *coordinator, struct handover_item *item)
{
	Vpnsip__SetWanRoutes message = VPNSIP__SET_WAN_ROUTES__INIT;
	Vpnsip__WanRoute routes[HANDOVER_ENTRIES], *list[HANDOVER_ENTRIES];

	for (size_t i = 0; i < item->wanted.count; i++) {
		const struct handover_entry *entry = &item->wanted.entries[i];

		vpnsip__wan_route__init(&routes[i]);
		routes[i].destination = octets(&entry->address);
		routes[i].prefix_length = entry->prefix_length;
		if (entry->gateway)
			routes[i].gateway = octets(&entry->gateway);
		list[i] = &routes[i];
	}
	message.interface = (char *)item->key; /* only packed */
	message.routes = list;
	message.n_routes = item->wanted.count;
	return bus_call(coordinator->service->bus, VPNSIP__SERVICE__TRACK_AGENT, NULL,
	                &message.base, ORDER_TIMEOUT_MSEC, replied, item);
}

static void port_order(void *context, struct handover_item *item)
{
	item->request = item->kind == HANDOVER_SERVERS ? send_servers(context, item)
	                                               : send_routes(context, item);
}

static void port_start_timer(void *context, uint64_t msec)
{
	bus_timer_start(((struct coordinator *)context)->handover_timer, msec);
}

static void timer_fired(void *context)
{
	handover_retry(((struct coordinator *)context)->handover);
}

int handover_attach(struct coordinator *coordinator)
{
	const struct handover_port port = {
		.order = port_order, .start_timer = port_start_timer, .context = coordinator};

	coordinator->handover_timer = bus_timer_new(coordinator->service->bus, "handover",
	                                            timer_fired, coordinator);
	coordinator->handover = handover_create(coordinator->service->config, &port);
	return coordinator->handover_timer && coordinator->handover ? 0 : -1;
}

void handover_detach(struct coordinator *coordinator)
{
	struct handover *handover = coordinator->handover;

	for (size_t i = 0; handover && i < handover->item_count; i++)
		if (handover->items[i].is_in_flight)
			bus_cancel(coordinator->service->bus, handover->items[i].request);
	handover_destroy(handover);
	bus_timer_free(coordinator->handover_timer);
}

/* IPv4 alone: lines have no other addresses. */
static bool read_address(ProtobufCBinaryData bytes, uint32_t *address)
{
	*address = 0;
	if (bytes.len == sizeof(*address))
		memcpy(address, bytes.data, sizeof(*address));
	return bytes.len == sizeof(*address);
}

void handover_registration(struct coordinator *coordinator,
                           const Vpnsip__RegistrationChanged *registration)
{
	struct handover_set servers = {.count = 0};

	for (size_t i = 0; i < registration->n_servers; i++) {
		struct handover_entry entry = {.prefix_length = 32};

		if (read_address(registration->servers[i]->address, &entry.address))
			handover_add(&servers, &entry);
	}
	handover_servers_told(coordinator->handover, registration->local_number, &servers);
}

void handover_discovery(struct coordinator *coordinator, const Vpnsip__DiscoveryChanged *discovery)
{
	struct handover_set routes = {.count = 0};

	for (size_t i = 0; i < discovery->n_routes; i++) {
		const Vpnsip__LeaseRoute *route = discovery->routes[i];
		struct handover_entry entry = {.prefix_length = route->prefix_length};

		read_address(route->gateway, &entry.gateway);
		if (read_address(route->destination, &entry.address) && entry.prefix_length <= 32)
			handover_add(&routes, &entry);
	}
	handover_routes_told(coordinator->handover, discovery->local_number, &routes);
}

void handover_nat_qos(struct coordinator *coordinator, const Vpnsip__NatQosSnapshot *snapshot)
{
	for (size_t line = 0; line < snapshot->n_sip_servers; line++) {
		const Vpnsip__AdmitSipServers *shown = snapshot->sip_servers[line];
		struct handover_set servers = {.count = 0};

		for (size_t i = 0; i < shown->n_addresses; i++) {
			struct handover_entry entry = {.prefix_length = 32};

			if (read_address(shown->addresses[i], &entry.address))
				handover_add(&servers, &entry);
		}
		handover_servers_shown(coordinator->handover, shown->local_number, &servers);
	}
}
