/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show track [NUMBER]: the track objects and the routes that follow them. */
#include <stdlib.h>

#include "services/cli/show.h"

static json_t *route_model(const Vpnsip__RouteChanged *route)
{
	json_t *destination = model_bytes_address(route->destination);
	char prefix[80];

	snprintf(prefix, sizeof(prefix), "%s/%u", json_string_value(destination),
	         route->prefix_length);
	json_decref(destination);
	return json_pack("{s:s, s:o, s:o, s:I, s:I, s:b, s:b, s:o}", "destination", prefix,
	                 "interface", model_text(route->interface), "gateway",
	                 model_bytes_address(route->gateway), "metric", (json_int_t)route->metric,
	                 "table", (json_int_t)route->table, "is_installed", route->is_installed,
	                 "is_guard", route->is_guard, "cause", model_text(route->cause));
}

static json_t *track_model(const Vpnsip__TrackSnapshot *snapshot, const Vpnsip__TrackChanged *track,
                           uint64_t now)
{
	json_t *routes = json_array();

	for (size_t i = 0; i < snapshot->n_routes; i++)
		if (snapshot->routes[i]->track == track->track)
			json_array_append_new(routes, route_model(snapshot->routes[i]));
	return json_pack(
		"{s:i, s:i, s:o, s:o, s:I, s:i, s:o, s:i, s:I, s:I, s:o}", "track",
		(int)track->track, "sla", (int)track->sla, "target", model_text(track->target),
		"status",
		model_enum(&vpnsip__track_status__descriptor, (int)track->status, "TRACK_"),
		"since_sec", model_seconds(track->since_mono_usec, now), "changes",
		(int)track->changes, "latest_return_code", model_text(track->latest_return_code),
		"latest_rtt_usec", (int)track->latest_rtt_usec, "probes_sent",
		(json_int_t)track->probes_sent, "probes_answered",
		(json_int_t)track->probes_answered, "routes", routes);
}

json_t *show_track_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__TRACK_AGENT].snapshot;
	const char *number = words_get(input->words, "NUMBER");
	json_t *tracks = json_array();

	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_TRACK_SNAPSHOT) {
		const Vpnsip__TrackSnapshot *snapshot = reply->track_snapshot;

		for (size_t i = 0; i < snapshot->n_tracks; i++)
			if (!number || strtoul(number, NULL, 10) == snapshot->tracks[i]->track)
				json_array_append_new(tracks,
				                      track_model(snapshot, snapshot->tracks[i],
				                                  input->gathered->now_mono_usec));
	}
	return json_pack("{s:o}", "tracks", tracks);
}

static void print_route(FILE *stream, const json_t *route)
{
	fprintf(stream, "    route %s", text_of(route, "destination"));
	if (*text_of(route, "gateway"))
		fprintf(stream, " via %s", text_of(route, "gateway"));
	if (*text_of(route, "interface"))
		fprintf(stream, ", %s", text_of(route, "interface"));
	fprintf(stream, ", metric %lld: %s%s%s\n", (long long)number_of(route, "metric"),
	        flag_of(route, "is_installed") ? "installed" : "not installed",
	        *text_of(route, "cause") ? ", " : "", text_of(route, "cause"));
}

void show_track_text(FILE *stream, const json_t *model)
{
	const json_t *track, *route;
	size_t index, route_index;
	char duration[32];

	json_array_foreach (json_object_get(model, "tracks"), index, track) {
		json_int_t rtt_usec = number_of(track, "latest_rtt_usec");

		fprintf(stream, "%sTrack %lld\n", index ? "\n" : "",
		        (long long)number_of(track, "track"));
		fprintf(stream, "  IP SLA %lld reachability, %s\n",
		        (long long)number_of(track, "sla"), text_of(track, "target"));
		fprintf(stream, "  Reachability is %s\n", text_of(track, "status"));
		fprintf(stream, "    %lld change%s, last change %s ago\n",
		        (long long)number_of(track, "changes"),
		        number_of(track, "changes") == 1 ? "" : "s",
		        duration_text(number_of(track, "since_sec"), duration));
		fprintf(stream, "  Latest operation return code: %s\n",
		        text_of(track, "latest_return_code"));
		if (rtt_usec)
			fprintf(stream, "  Latest RTT (millisecs) %.3f\n", (double)rtt_usec / 1000);
		fprintf(stream, "  Probes: %lld sent, %lld answered\n",
		        (long long)number_of(track, "probes_sent"),
		        (long long)number_of(track, "probes_answered"));
		if (json_array_size(json_object_get(track, "routes")))
			fprintf(stream, "  Tracked by:\n");
		json_array_foreach (json_object_get(track, "routes"), route_index, route)
			print_route(stream, route);
	}
}
