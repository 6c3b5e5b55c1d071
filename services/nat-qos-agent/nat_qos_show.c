/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is published and shown: orders in force, with the counters of the kernel. */
#include <stdlib.h>

#include "nat_qos_agent.h"
#include "services/common/address.h"
#include "services/common/config.h"
#include "sip_alg.h"

#define TUNNEL_SOURCE_PORT 4500

/* Messages of translations and shapers, and the pointers to them that protobuf-c wants. They point into the state. */
struct shown {
	Vpnsip__TranslationStatus *translations, **translation_pointers;
	Vpnsip__SocketAddress *addresses; /* wan, inside, remote of each */
	Vpnsip__ShaperStatus *shapers, **shaper_pointers;
	struct sockaddr_storage inside;
	size_t translation_count, shaper_count;
};

static void free_shown(struct shown *shown)
{
	free(shown->translations);
	free(shown->translation_pointers);
	free(shown->addresses);
	free(shown->shapers);
	free(shown->shaper_pointers);
}

static bool make_room(struct shown *shown, size_t tunnels)
{
	size_t room = tunnels + 1;

	shown->translations = calloc(room, sizeof(*shown->translations));
	shown->translation_pointers = calloc(room, sizeof(*shown->translation_pointers));
	shown->addresses = calloc(3 * room, sizeof(*shown->addresses));
	shown->shapers = calloc(room, sizeof(*shown->shapers));
	shown->shaper_pointers = calloc(room, sizeof(*shown->shaper_pointers));
	return shown->translations != NULL && shown->translation_pointers != NULL &&
	       shown->addresses != NULL && shown->shapers != NULL && shown->shaper_pointers != NULL;
}

static Vpnsip__PeerSource peer_source(const struct translation *translation)
{
	switch (translation->match) {
	case REMOTE_EXACT:
		return VPNSIP__PEER_SOURCE__SOURCE_EXACT;
	case REMOTE_ADDRESS:
		return VPNSIP__PEER_SOURCE__SOURCE_ADDRESS;
	case REMOTE_ANY:
		return VPNSIP__PEER_SOURCE__SOURCE_ANY;
	}
	return VPNSIP__PEER_SOURCE__PEER_SOURCE_UNSPECIFIED;
}

/* Installed, or reserved only: then there is a port and no remote yet. */
static void show_translation(struct shown *shown, const struct tunnel_orders *orders)
{
	size_t i = shown->translation_count;
	const struct translation *translation = &orders->translation;
	Vpnsip__TranslationStatus *message = &shown->translations[i];
	Vpnsip__SocketAddress *addresses = &shown->addresses[3 * i];

	if (translation->attempt == 0 && orders->reserved_attempt == 0)
		return;
	vpnsip__translation_status__init(message);
	for (size_t j = 0; j < 3; j++)
		vpnsip__socket_address__init(&addresses[j]);
	message->tunnel = orders->peer->tunnel;
	message->if_id = orders->peer->if_id;
	message->is_installed = translation->attempt != 0;
	message->attempt = message->is_installed ? translation->attempt : orders->reserved_attempt;
	message->peer_source = peer_source(translation);
	message->wan = &addresses[0];
	message->inside = &addresses[1];
	message->remote = &addresses[2];
	if (message->is_installed)
		address_to_proto(&translation->wan, message->wan);
	else
		message->wan->port = orders->reserved_port;
	address_to_proto(&shown->inside, message->inside);
	address_to_proto(&translation->remote, message->remote);
	shown->translation_pointers[shown->translation_count++] = message;
}

static void show_shaper(struct shown *shown, const struct tunnel_orders *orders)
{
	Vpnsip__ShaperStatus *message = &shown->shapers[shown->shaper_count];

	if (orders->shaper.attempt == 0)
		return;
	vpnsip__shaper_status__init(message);
	message->tunnel = orders->peer->tunnel;
	message->attempt = orders->shaper.attempt;
	message->rate_kbit = orders->shaper.rate_kbit;
	shown->shaper_pointers[shown->shaper_count++] = message;
}

static bool show(const struct nat_qos_agent *agent, const struct tunnel_orders *tunnels,
                 size_t count, struct shown *shown)
{
	*shown = (struct shown){.inside = agent->service->config->tunnel_source};
	address_set_port(&shown->inside, TUNNEL_SOURCE_PORT);
	if (!make_room(shown, count))
		return false;
	for (size_t i = 0; i < count; i++) {
		show_translation(shown, &tunnels[i]);
		show_shaper(shown, &tunnels[i]);
	}
	return true;
}

static void add_statistics(struct shown *shown, struct qdisc *qdisc)
{
	struct qdisc_statistics statistics;

	for (size_t i = 0; i < shown->shaper_count; i++) {
		Vpnsip__ShaperStatus *message = &shown->shapers[i];

		qdisc_read(qdisc, message->tunnel, &statistics);
		message->packets = statistics.packets;
		message->bytes = statistics.bytes;
		message->drops = statistics.drops;
		message->queued_packets = statistics.queued_packets;
	}
}

void nat_qos_publish(struct nat_qos_agent *agent, const char *tunnel)
{
	const struct tunnel_orders *orders = translation_core_find(agent->core, tunnel);
	Vpnsip__NatQosChanged message = VPNSIP__NAT_QOS_CHANGED__INIT;
	struct shown shown;

	if (orders == NULL)
		return;
	bus_touch_state(agent->service->bus);
	if (show(agent, orders, 1, &shown)) {
		message.tunnel = orders->peer->tunnel;
		message.n_translations = shown.translation_count;
		message.translations = shown.translation_pointers;
		message.n_shapers = shown.shaper_count;
		message.shapers = shown.shaper_pointers;
		bus_publish(agent->service->bus, NULL, &message.base);
	}
	free_shown(&shown);
}

static size_t show_counters(struct nat_qos_agent *agent, struct nft_counter *counters,
                            Vpnsip__FirewallCounter *messages, Vpnsip__FirewallCounter **pointers)
{
	size_t count = nft_table_read_counters(agent->nft, counters, NFT_COUNTERS_MAXIMUM);

	for (size_t i = 0; i < count; i++) {
		vpnsip__firewall_counter__init(&messages[i]);
		messages[i].name = counters[i].name;
		messages[i].packets = counters[i].packets;
		messages[i].bytes = counters[i].bytes;
		pointers[i] = &messages[i];
	}
	return count;
}

/* The servers of each line; the lists are one allocation each, owned by the caller. */
struct shown_servers {
	Vpnsip__AdmitSipServers *lines, **pointers;
	ProtobufCBinaryData *addresses;
};

static void free_servers(struct shown_servers *shown)
{
	free(shown->lines);
	free(shown->pointers);
	free(shown->addresses);
}

static bool show_servers(const struct nat_qos_agent *agent, struct shown_servers *shown)
{
	const size_t count = agent->service->config->line_count;

	shown->lines = calloc(count + 1, sizeof(*shown->lines));
	shown->pointers = calloc(count + 1, sizeof(*shown->pointers));
	shown->addresses = calloc(count * SIP_ADMISSION_MAXIMUM + 1, sizeof(*shown->addresses));
	if (shown->lines == NULL || shown->pointers == NULL || shown->addresses == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		struct sip_admission *admission = &agent->sip_lines[i];
		ProtobufCBinaryData *addresses = &shown->addresses[i * SIP_ADMISSION_MAXIMUM];

		vpnsip__admit_sip_servers__init(&shown->lines[i]);
		for (size_t j = 0; j < admission->server_count; j++)
			addresses[j] = (ProtobufCBinaryData){
				.len = sizeof(admission->servers[j]),
				.data = (uint8_t *)&admission->servers[j],
			};
		shown->lines[i].local_number = admission->line->number;
		shown->lines[i].n_addresses = admission->server_count;
		shown->lines[i].addresses = addresses;
		shown->pointers[i] = &shown->lines[i];
	}
	return true;
}

static size_t show_warnings(const struct nat_qos_agent *agent, char *warnings[SIP_ALG_SIGNS])
{
	size_t count = 0;

	for (unsigned i = 0; i < SIP_ALG_SIGNS; i++)
		if (agent->sip_alg_signs & 1u << i)
			warnings[count++] = (char *)sip_alg_text(1u << i);
	return count;
}

void nat_qos_snapshot(void *context, struct bus_request *request)
{
	struct service_context *service = context;
	struct nat_qos_agent *agent = service->state;
	struct nft_counter counters[NFT_COUNTERS_MAXIMUM];
	Vpnsip__FirewallCounter messages[NFT_COUNTERS_MAXIMUM], *pointers[NFT_COUNTERS_MAXIMUM];
	Vpnsip__NatQosSnapshot snapshot = VPNSIP__NAT_QOS_SNAPSHOT__INIT;
	struct shown_servers servers = {0};
	struct shown shown = {0};
	char *warnings[SIP_ALG_SIGNS];

	if (!show(agent, agent->core->tunnels, agent->core->tunnel_count, &shown) ||
	    !show_servers(agent, &servers)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	add_statistics(&shown, agent->qdisc);
	snapshot.n_translations = shown.translation_count;
	snapshot.translations = shown.translation_pointers;
	snapshot.n_shapers = shown.shaper_count;
	snapshot.shapers = shown.shaper_pointers;
	snapshot.n_counters = show_counters(agent, counters, messages, pointers);
	snapshot.counters = pointers;
	snapshot.reserved_ports = (uint32_t)port_pool_used(agent->core->ports);
	snapshot.first_port = service->config->first_session_port;
	snapshot.last_port = service->config->last_session_port;
	snapshot.n_warnings = show_warnings(agent, warnings);
	snapshot.warnings = warnings;
	snapshot.n_sip_servers = service->config->line_count;
	snapshot.sip_servers = servers.pointers;
	bus_reply(request, &snapshot.base);
out:
	free_servers(&servers);
	free_shown(&shown);
}
