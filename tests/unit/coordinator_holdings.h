/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the other services hold, told to a coordinator's core as their snapshots would. */
#ifndef VPNSIP_TEST_COORDINATOR_HOLDINGS_H
#define VPNSIP_TEST_COORDINATOR_HOLDINGS_H

#include "coordinator_world.h"

#define FOUND_ATTEMPT 41

enum found_peer { PEER_NONE, PEER_SET, PEER_SAS_UNOPENED, PEER_OPEN, PEER_WITH_SAS };
enum found_nat { NAT_NONE, NAT_PORT, NAT_TRANSLATION, NAT_SHAPER, NAT_ALL };

/** Of one tunnel; zeros are nothing. */
struct found {
	Vpnsip__Direction direction;
	Vpnsip__CallStatus call;
	bool is_restored;
	Vpnsip__IkeStatus ike;
	enum found_peer peer;
	enum found_nat nat;
	uint64_t attempt; /* 0 = FOUND_ATTEMPT */
};

static uint64_t found_attempt(const struct found *found, size_t index)
{
	return (found->attempt ? found->attempt : FOUND_ATTEMPT) + index;
}

static const char *found_tunnel(struct world *world, size_t index)
{
	return world->core->sessions[index].peer->tunnel;
}

static void tell_call(struct world *world, size_t index, const struct found *found)
{
	const bool is_outgoing = found->direction == VPNSIP__DIRECTION__OUTGOING;
	struct media local = {.bandwidth_kbit = 1000,
	                      .role = is_outgoing ? VPNSIP__SETUP_ROLE__ACTIVE
	                                          : VPNSIP__SETUP_ROLE__PASSIVE};
	struct media remote = offer_media(512, is_outgoing ? VPNSIP__SETUP_ROLE__PASSIVE
	                                                   : VPNSIP__SETUP_ROLE__ACTIVE);
	char call_id[32];
	const struct call_report report = {
		.call_id = call_id,
		.attempt = found_attempt(found, index),
		.tunnel = found_tunnel(world, index),
		.direction = found->direction,
		.local_number = world->line.number,
		.remote_number = world->core->sessions[index].peer->number,
		.status = found->call,
		.local = &local,
		.media = &remote,
		.is_restored = found->is_restored,
		.started_wall_usec = world->now_usec - 5000000,
	};

	if (!found->call)
		return;
	snprintf(call_id, sizeof(call_id), "found-%zu", index);
	address_parse_port("198.51.100.10:50007", 0, &local.address);
	core_call_changed(world->core, &report);
}

static void tell_tunnel(struct world *world, size_t index, const struct found *found)
{
	const struct tunnel_report report = {
		.tunnel = found_tunnel(world, index),
		.attempt = found->peer ? found_attempt(found, index) : 0,
		.is_open = found->peer == PEER_OPEN || found->peer == PEER_WITH_SAS,
		.has_sas = found->peer == PEER_SAS_UNOPENED || found->peer == PEER_WITH_SAS,
	};

	core_tunnel_changed(world->core, &report);
}

static void tell_nat(struct world *world, size_t index, const struct found *found)
{
	const char *tunnel = found_tunnel(world, index);
	uint64_t attempt = found_attempt(found, index);

	if (found->nat == NAT_PORT || found->nat == NAT_TRANSLATION || found->nat == NAT_ALL)
		core_translation_found(world->core, tunnel, attempt, found->nat != NAT_PORT);
	if (found->nat == NAT_SHAPER || found->nat == NAT_ALL)
		core_shaper_found(world->core, tunnel, attempt);
}

static void tell_entry(struct world *world, Vpnsip__Service service, size_t index,
                       const struct found *found)
{
	switch (service) {
	case VPNSIP__SERVICE__SIP_AGENT:
		tell_call(world, index, found);
		break;
	case VPNSIP__SERVICE__IKE_AGENT:
		if (found->ike)
			core_ike_changed(world->core, found_tunnel(world, index),
			                 found_attempt(found, index), found->ike, "");
		break;
	case VPNSIP__SERVICE__TUNNEL_AGENT:
		tell_tunnel(world, index, found);
		break;
	case VPNSIP__SERVICE__NAT_QOS_AGENT:
		tell_nat(world, index, found);
		break;
	default:
		break;
	}
}

/** One service's snapshot with this tunnel in it. */
static void survey_service(struct world *world, Vpnsip__Service service, size_t index,
                           const struct found *found)
{
	core_forget(world->core, service);
	tell_entry(world, service, index, found);
	core_surveyed(world->core, service);
}

/** All services' snapshots with this tunnel in them. */
static void survey(struct world *world, size_t index, const struct found *found)
{
	for (size_t i = 0; i < SURVEYED_COUNT; i++)
		survey_service(world, surveyed_services[i], index, found);
}

/** All services' snapshots, the same for each of `count` tunnels. */
static inline void survey_all(struct world *world, size_t count, const struct found *found)
{
	for (size_t i = 0; i < SURVEYED_COUNT; i++) {
		core_forget(world->core, surveyed_services[i]);
		for (size_t j = 0; j < count; j++)
			tell_entry(world, surveyed_services[i], j, found);
		core_surveyed(world->core, surveyed_services[i]);
	}
}

#endif
