/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is published and shown: the messages of track_agent.proto from the parts' state. */
#include <stdio.h>
#include <stdlib.h>

#include "services/common/address.h"
#include "services/common/config.h"
#include "track_agent.h"

/* The messages point into the state: they are packed before it changes. */
static Vpnsip__WanChanged wan_message(const struct track_agent *agent, size_t line)
{
	Vpnsip__WanChanged message = VPNSIP__WAN_CHANGED__INIT;
	const struct wan_state *state = &agent->wans[line];

	message.interface = agent->service->config->lines[line].wan_interface;
	message.is_up = state->is_up;
	message.address = address_to_bytes(&state->address);
	message.gateway = address_to_bytes(&state->gateway);
	message.mtu = state->mtu;
	message.cause = (char *)state->cause;
	return message;
}

static Vpnsip__TrackStatus status_of(const struct track *track)
{
	switch (track_status(track)) {
	case TRACK_STATE_UP:
		return VPNSIP__TRACK_STATUS__TRACK_UP;
	case TRACK_STATE_DOWN:
		return VPNSIP__TRACK_STATUS__TRACK_DOWN;
	default:
		return VPNSIP__TRACK_STATUS__TRACK_UNKNOWN;
	}
}

#define TARGET_SIZE (sizeof("icmp-echo ") + ADDRESS_TEXT_SIZE)

static Vpnsip__TrackChanged track_message(const struct track *track, char target[TARGET_SIZE])
{
	Vpnsip__TrackChanged message = VPNSIP__TRACK_CHANGED__INIT;
	char address[ADDRESS_TEXT_SIZE];

	snprintf(target, TARGET_SIZE, "icmp-echo %s",
	         address_format(&track->probe->sla->target, address));
	message.track = track->config->number;
	message.status = status_of(track);
	message.since_mono_usec = track->since_usec;
	message.changes = track->changes;
	message.sla = track->config->sla->number;
	message.target = target;
	message.latest_rtt_usec = track->probe->rtt_usec;
	message.latest_return_code = (char *)track->probe->return_code;
	message.probes_sent = track->probe->sent;
	message.probes_answered = track->probe->answered;
	return message;
}

static Vpnsip__RouteChanged route_message(const struct shown_route *shown)
{
	Vpnsip__RouteChanged message = VPNSIP__ROUTE_CHANGED__INIT;
	const struct netfacts_route *route = &shown->planned.route;

	message.destination = address_to_bytes(&route->destination);
	message.prefix_length = route->prefix_length;
	message.interface = (char *)shown->planned.interface;
	message.gateway = address_to_bytes(&route->gateway);
	message.metric = route->metric;
	message.table = route->table;
	message.track = shown->planned.track != NULL ? shown->planned.track->number : 0;
	message.is_installed = shown->is_installed;
	message.is_guard = shown->planned.is_guard;
	message.cause = (char *)shown->planned.cause;
	return message;
}

void track_publish_wan(const struct track_agent *agent, size_t line)
{
	Vpnsip__WanChanged message = wan_message(agent, line);

	bus_publish(agent->service->bus, NULL, &message.base);
}

void track_publish_track(const struct track_agent *agent, const struct track *track)
{
	char target[TARGET_SIZE];
	Vpnsip__TrackChanged message = track_message(track, target);

	bus_publish(agent->service->bus, NULL, &message.base);
}

void track_publish_route(const struct track_agent *agent, const struct shown_route *route)
{
	Vpnsip__RouteChanged message = route_message(route);

	bus_publish(agent->service->bus, NULL, &message.base);
}

/* The messages of a snapshot and the pointers to them that protobuf-c wants. */
struct snapshot_parts {
	Vpnsip__WanChanged *wans, **wan_pointers;
	Vpnsip__TrackChanged *tracks, **track_pointers;
	Vpnsip__RouteChanged *routes, **route_pointers;
	char (*targets)[TARGET_SIZE];
};

static void free_parts(struct snapshot_parts *parts)
{
	free(parts->wans);
	free(parts->wan_pointers);
	free(parts->tracks);
	free(parts->track_pointers);
	free(parts->routes);
	free(parts->route_pointers);
	free(parts->targets);
}

static bool make_parts(const struct track_agent *agent, struct snapshot_parts *parts)
{
	size_t wans = agent->service->config->line_count + 1;
	size_t tracks = agent->tracks->track_count + 1, routes = agent->shown.count + 1;

	parts->wans = calloc(wans, sizeof(*parts->wans));
	parts->wan_pointers = calloc(wans, sizeof(*parts->wan_pointers));
	parts->tracks = calloc(tracks, sizeof(*parts->tracks));
	parts->track_pointers = calloc(tracks, sizeof(*parts->track_pointers));
	parts->routes = calloc(routes, sizeof(*parts->routes));
	parts->route_pointers = calloc(routes, sizeof(*parts->route_pointers));
	parts->targets = calloc(tracks, sizeof(*parts->targets));
	return parts->wans != NULL && parts->wan_pointers != NULL && parts->tracks != NULL &&
	       parts->track_pointers != NULL && parts->routes != NULL &&
	       parts->route_pointers != NULL && parts->targets != NULL;
}

void track_reply_snapshot(const struct track_agent *agent, struct bus_request *request)
{
	Vpnsip__TrackSnapshot snapshot = VPNSIP__TRACK_SNAPSHOT__INIT;
	struct snapshot_parts parts = {0};

	if (!make_parts(agent, &parts)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "out of memory");
		goto out;
	}
	snapshot.n_wans = agent->service->config->line_count;
	snapshot.wans = parts.wan_pointers;
	for (size_t i = 0; i < snapshot.n_wans; i++) {
		parts.wans[i] = wan_message(agent, i);
		parts.wan_pointers[i] = &parts.wans[i];
	}
	snapshot.n_tracks = agent->tracks->track_count;
	snapshot.tracks = parts.track_pointers;
	for (size_t i = 0; i < snapshot.n_tracks; i++) {
		parts.tracks[i] = track_message(&agent->tracks->tracks[i], parts.targets[i]);
		parts.track_pointers[i] = &parts.tracks[i];
	}
	snapshot.n_routes = agent->shown.count;
	snapshot.routes = parts.route_pointers;
	for (size_t i = 0; i < snapshot.n_routes; i++) {
		parts.routes[i] = route_message(&agent->shown.routes[i]);
		parts.route_pointers[i] = &parts.routes[i];
	}
	bus_reply(request, &snapshot.base);
out:
	free_parts(&parts);
}
