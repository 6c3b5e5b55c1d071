/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "translation_core.h"

#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"

const char *const order_outcome_texts[ORDER_OUTCOME_COUNT] = {
	[ORDER_ACCEPTED] = "accepted",
	[ORDER_UNCHANGED] = "already in force",
	[ORDER_STALE] = "the attempt is over, or a later attempt is in force",
	[ORDER_UNKNOWN_TUNNEL] = "no peer has this tunnel",
	[ORDER_NO_PORT] = "no session port is free",
	[ORDER_PORT_TAKEN] = "the session port is not the one reserved for this attempt",
	[ORDER_WRONG_IF_ID] = "the if_id is not the tunnel's",
};

static int compare_names(const void *a, const void *b)
{
	const struct tunnel_orders *const *one = a, *const *other = b;

	return strcmp((*one)->peer->tunnel, (*other)->peer->tunnel);
}

struct translation_core *translation_core_new(const struct config *config, uint32_t start)
{
	struct translation_core *core = calloc(1, sizeof(*core));

	if (core == NULL)
		return NULL;
	core->ports = port_pool_new(config->first_session_port, config->last_session_port,
	                            config->timer_msec[TIMER_PORT_REUSE], start);
	core->tunnels = calloc(config->peer_count + 1, sizeof(*core->tunnels));
	core->by_name = calloc(config->peer_count + 1, sizeof(*core->by_name));
	if (core->ports == NULL || core->tunnels == NULL || core->by_name == NULL) {
		translation_core_free(core);
		return NULL;
	}
	core->tunnel_count = config->peer_count;
	for (size_t i = 0; i < core->tunnel_count; i++) {
		core->tunnels[i].peer = &config->peers[i];
		core->by_name[i] = &core->tunnels[i];
	}
	qsort(core->by_name, core->tunnel_count, sizeof(*core->by_name), compare_names);
	return core;
}

void translation_core_free(struct translation_core *core)
{
	if (core == NULL)
		return;
	port_pool_free(core->ports);
	free(core->tunnels);
	free(core->by_name);
	free(core);
}

struct tunnel_orders *translation_core_find(struct translation_core *core, const char *tunnel)
{
	const struct config_peer peer = {.tunnel = (char *)tunnel};
	const struct tunnel_orders wanted = {.peer = &peer}, *key = &wanted;
	struct tunnel_orders **found = bsearch(&key, core->by_name, core->tunnel_count,
	                                       sizeof(*core->by_name), compare_names);

	return found != NULL ? *found : NULL;
}

bool translation_core_adopt(struct translation_core *core, const struct translation *found)
{
	uint16_t port = address_port(&found->wan);

	for (size_t i = 0; i < core->tunnel_count; i++) {
		struct tunnel_orders *orders = &core->tunnels[i];

		if (orders->peer->if_id != found->if_id)
			continue;
		if (orders->translation.attempt != 0 ||
		    !port_pool_claim(core->ports, port, orders->peer->tunnel, found->attempt))
			return false;
		orders->translation = *found;
		orders->highest_attempt = found->attempt;
		orders->reserved_attempt = found->attempt;
		orders->reserved_port = port;
		return true;
	}
	return false;
}

/* The tunnel, if an order of this attempt is to be carried out; NULL and the reason if not. */
static struct tunnel_orders *admit(struct translation_core *core, const char *tunnel,
                                   uint64_t attempt, enum order_outcome *outcome)
{
	struct tunnel_orders *orders = translation_core_find(core, tunnel);

	*outcome = orders == NULL ? ORDER_UNKNOWN_TUNNEL : ORDER_STALE;
	if (orders == NULL || attempt == 0 || attempt < orders->highest_attempt ||
	    attempt <= orders->ended_attempt)
		return NULL;
	orders->highest_attempt = attempt;
	*outcome = ORDER_ACCEPTED;
	return orders;
}

enum order_outcome translation_core_reserve(struct translation_core *core, const char *tunnel,
                                            uint64_t attempt, uint64_t now_usec, uint16_t *port)
{
	enum order_outcome outcome;
	struct tunnel_orders *orders = admit(core, tunnel, attempt, &outcome);

	if (orders == NULL)
		return outcome;
	*port = port_pool_reserve(core->ports, tunnel, attempt, now_usec);
	if (*port == 0)
		return ORDER_NO_PORT;
	orders->reserved_attempt = attempt;
	orders->reserved_port = *port;
	return ORDER_ACCEPTED;
}

static bool is_same_translation(const struct translation *a, const struct translation *b)
{
	return a->attempt == b->attempt && a->if_id == b->if_id && a->match == b->match &&
	       address_is_equal(&a->wan, &b->wan) &&
	       address_port(&a->wan) == address_port(&b->wan) &&
	       address_is_equal(&a->remote, &b->remote) &&
	       address_port(&a->remote) == address_port(&b->remote);
}

enum order_outcome translation_core_install(struct translation_core *core, const char *tunnel,
                                            const struct translation *wanted, uint64_t now_usec,
                                            struct translation *replaced)
{
	enum order_outcome outcome;
	struct tunnel_orders *orders = admit(core, tunnel, wanted->attempt, &outcome);
	uint16_t port = address_port(&wanted->wan);

	replaced->attempt = 0;
	if (orders == NULL)
		return outcome;
	if (orders->peer->if_id != wanted->if_id)
		return ORDER_WRONG_IF_ID;
	if (orders->reserved_attempt == wanted->attempt
	            ? orders->reserved_port != port
	            : !port_pool_claim(core->ports, port, tunnel, wanted->attempt))
		return ORDER_PORT_TAKEN;
	orders->reserved_attempt = wanted->attempt;
	orders->reserved_port = port;
	if (is_same_translation(&orders->translation, wanted))
		return ORDER_UNCHANGED;
	*replaced = orders->translation;
	if (replaced->attempt != 0 && replaced->attempt != wanted->attempt)
		port_pool_release(core->ports, tunnel, replaced->attempt, now_usec);
	orders->translation = *wanted;
	return ORDER_ACCEPTED;
}

static void end_attempt(struct tunnel_orders *orders, uint64_t attempt)
{
	if (attempt > orders->ended_attempt)
		orders->ended_attempt = attempt;
}

void translation_core_remove(struct translation_core *core, const char *tunnel, uint64_t attempt,
                             uint64_t now_usec, struct translation *removed)
{
	struct tunnel_orders *orders = translation_core_find(core, tunnel);

	removed->attempt = 0;
	if (orders == NULL || attempt == 0)
		return;
	end_attempt(orders, attempt);
	port_pool_release(core->ports, tunnel, attempt, now_usec);
	if (orders->reserved_attempt == attempt) {
		orders->reserved_attempt = 0;
		orders->reserved_port = 0;
	}
	if (orders->translation.attempt == attempt) {
		*removed = orders->translation;
		memset(&orders->translation, 0, sizeof(orders->translation));
	}
}

enum order_outcome translation_core_shape(struct translation_core *core, const char *tunnel,
                                          const struct shaper *wanted)
{
	enum order_outcome outcome;
	struct tunnel_orders *orders = admit(core, tunnel, wanted->attempt, &outcome);

	if (orders == NULL)
		return outcome;
	if (orders->shaper.attempt == wanted->attempt &&
	    orders->shaper.rate_kbit == wanted->rate_kbit &&
	    orders->shaper.overhead_byte == wanted->overhead_byte)
		return ORDER_UNCHANGED;
	orders->shaper = *wanted;
	return ORDER_ACCEPTED;
}

bool translation_core_unshape(struct translation_core *core, const char *tunnel, uint64_t attempt)
{
	struct tunnel_orders *orders = translation_core_find(core, tunnel);

	if (orders == NULL || attempt == 0)
		return false;
	end_attempt(orders, attempt);
	if (orders->shaper.attempt != attempt)
		return false;
	memset(&orders->shaper, 0, sizeof(orders->shaper));
	return true;
}
