/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "track_feed.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "services/common/address.h"

static struct probe *find_probe(struct track_core *core, unsigned number)
{
	for (size_t i = 0; i < core->probe_count; i++)
		if (core->probes[i].sla->number == number)
			return &core->probes[i];
	return NULL;
}

static struct track *find_track(struct track_core *core, unsigned number)
{
	for (size_t i = 0; i < core->track_count; i++)
		if (core->tracks[i].config->number == number)
			return &core->tracks[i];
	return NULL;
}

static void tell_state(const struct track_core *core, char output[TRACK_OUTPUT_SIZE])
{
	size_t used = 0;

	output[0] = '\0';
	for (size_t i = 0; i < core->track_count && used < TRACK_OUTPUT_SIZE; i++) {
		const struct track *track = &core->tracks[i];

		used += (size_t)snprintf(output + used, TRACK_OUTPUT_SIZE - used,
		                         "track %u %s %s, %u changes, latest %s %u us; ",
		                         track->config->number, track_state_names[track->state],
		                         track_allows_route(track) ? "routes" : "no routes",
		                         track->changes, track->probe->return_code,
		                         track->probe->rtt_usec);
	}
	if (used < TRACK_OUTPUT_SIZE)
		snprintf(output + used, TRACK_OUTPUT_SIZE - used, "next at %" PRIu64,
		         track_core_deadline(core));
}

static bool begin(struct track_core **core, const struct config *config, uint64_t now_usec)
{
	struct track_core *begun = track_core_new(config, now_usec);

	if (begun == NULL)
		return false;
	track_core_free(*core);
	*core = begun;
	return true;
}

static bool take(struct track_core *core, const char *input)
{
	struct sockaddr_storage source;
	char address[ADDRESS_TEXT_SIZE];
	unsigned number, value;
	uint64_t now_usec;
	struct probe *probe;

	if (sscanf(input, "expire %" SCNu64, &now_usec) == 1) {
		track_core_expire(core, now_usec);
	} else if (sscanf(input, "sent %u %u %" SCNu64, &number, &value, &now_usec) == 3 &&
	           (probe = find_probe(core, number)) != NULL) {
		track_core_sent(core, probe, (uint16_t)value, now_usec);
	} else if (sscanf(input, "failed %u %u %" SCNu64, &number, &value, &now_usec) == 3 &&
	           (probe = find_probe(core, number)) != NULL) {
		const char *description = strerrordesc_np((int)value);

		track_core_send_failed(core, probe, description ? description : "Unknown error",
		                       now_usec);
	} else if (sscanf(input, "answered %u %63s %" SCNu64, &number, address, &now_usec) == 3 &&
	           address_parse(address, &source)) {
		track_core_answered(core, (uint16_t)number, &source, now_usec);
	} else if (sscanf(input, "hold %u", &number) == 1 && find_track(core, number) != NULL) {
		track_hold_route(find_track(core, number));
	} else {
		return false;
	}
	return true;
}

bool track_feed(struct track_core **core, const struct config *config, const char *input,
                char output[TRACK_OUTPUT_SIZE])
{
	uint64_t now_usec;
	bool is_taken;

	if (sscanf(input, "begin %" SCNu64, &now_usec) == 1)
		is_taken = begin(core, config, now_usec);
	else
		is_taken = *core != NULL && take(*core, input);
	if (is_taken)
		tell_state(*core, output);
	return is_taken;
}
