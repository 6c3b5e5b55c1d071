/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "track_core.h"

#include <stdlib.h>

#include "services/common/address.h"

#define SPACING_USEC  1000
#define USEC_PER_MSEC 1000ull

const char *const track_state_names[TRACK_STATE_COUNT] = {
	[TRACK_STATE_UNKNOWN] = "UNKNOWN", [TRACK_STATE_UP] = "UP",
	[TRACK_STATE_FALLING] = "FALLING", [TRACK_STATE_DOWN] = "DOWN",
	[TRACK_STATE_RISING] = "RISING",
};

#define UNKNOWN TRACK_STATE_UNKNOWN
#define UP      TRACK_STATE_UP
#define FALLING TRACK_STATE_FALLING
#define DOWN    TRACK_STATE_DOWN
#define RISING  TRACK_STATE_RISING
/* Rows: states. Columns: ANSWER, ANSWERS_ENOUGH, LOSS, LOSSES_ENOUGH, DELAY_OVER. */
const enum track_state track_table[TRACK_STATE_COUNT][TRACK_EVENT_COUNT] = {
	[UNKNOWN] = {UNKNOWN, UP, UNKNOWN, DOWN, UNKNOWN},
	[UP] = {UP, UP, UP, FALLING, UP},
	[FALLING] = {UP, UP, FALLING, FALLING, DOWN},
	[DOWN] = {DOWN, RISING, DOWN, DOWN, DOWN},
	[RISING] = {RISING, RISING, DOWN, DOWN, UP},
};
#undef UNKNOWN
#undef UP
#undef FALLING
#undef DOWN
#undef RISING

struct track_core *track_core_new(const struct config *config, uint64_t now_usec)
{
	struct track_core *core = calloc(1, sizeof(*core));

	if (core == NULL)
		return NULL;
	core->probes = calloc(config->sla_count + 1, sizeof(*core->probes));
	core->tracks = calloc(config->track_count + 1, sizeof(*core->tracks));
	if (core->probes == NULL || core->tracks == NULL) {
		track_core_free(core);
		return NULL;
	}
	core->probe_count = config->sla_count;
	core->track_count = config->track_count;
	core->failback_usec = config->timer_msec[TIMER_FAILBACK] * USEC_PER_MSEC;
	for (size_t i = 0; i < core->probe_count; i++) {
		core->probes[i].sla = &config->slas[i];
		core->probes[i].next_send_usec = now_usec + i * SPACING_USEC;
		core->probes[i].return_code = "";
	}
	for (size_t i = 0; i < core->track_count; i++) {
		struct track *track = &core->tracks[i];

		track->config = &config->tracks[i];
		track->since_usec = now_usec;
		track->has_changed = true;
		for (size_t j = 0; j < core->probe_count; j++)
			if (core->probes[j].sla == track->config->sla)
				track->probe = &core->probes[j];
	}
	return core;
}

void track_core_free(struct track_core *core)
{
	if (core == NULL)
		return;
	free(core->probes);
	free(core->tracks);
	free(core);
}

enum track_state track_status(const struct track *track)
{
	switch (track->state) {
	case TRACK_STATE_FALLING:
		return TRACK_STATE_UP;
	case TRACK_STATE_RISING:
		return TRACK_STATE_DOWN;
	default:
		return track->state;
	}
}

static void change_status(struct track_core *core, struct track *track, enum track_state was,
                          uint64_t now_usec)
{
	enum track_state now = track_status(track);

	if (now == was)
		return;
	track->since_usec = now_usec;
	track->changes++;
	track->has_changed = true;
	track->hold_end_usec = 0;
	if (now == TRACK_STATE_DOWN)
		track->is_route_held = true;
	else if (track->is_route_held && core->failback_usec == 0)
		track->is_route_held = false;
	else if (track->is_route_held)
		track->hold_end_usec = now_usec + core->failback_usec;
}

/* Takes one step by the table, and a second one when it led into a delay of no length. */
static void step(struct track_core *core, struct track *track, enum track_event event,
                 uint64_t now_usec)
{
	enum track_state was = track_status(track);
	enum track_state next = track_table[track->state][event];

	if (next == track->state)
		return;
	track->state = next;
	track->delay_end_usec = 0;
	if (next == TRACK_STATE_FALLING || next == TRACK_STATE_RISING) {
		unsigned delay_msec = next == TRACK_STATE_FALLING ? track->config->delay_down_msec
		                                                  : track->config->delay_up_msec;

		if (delay_msec == 0)
			track->state = track_table[next][TRACK_EVENT_DELAY_OVER];
		else
			track->delay_end_usec = now_usec + delay_msec * USEC_PER_MSEC;
	}
	change_status(core, track, was, now_usec);
}

static void report(struct track_core *core, const struct probe *probe, bool is_answered,
                   uint64_t now_usec)
{
	for (size_t i = 0; i < core->track_count; i++) {
		struct track *track = &core->tracks[i];

		if (track->probe != probe)
			continue;
		if (is_answered) {
			track->losses = 0;
			track->answers += track->answers < track->config->up_count;
			step(core, track,
			     track->answers >= track->config->up_count ? TRACK_EVENT_ANSWERS_ENOUGH
			                                               : TRACK_EVENT_ANSWER,
			     now_usec);
		} else {
			track->answers = 0;
			track->losses += track->losses < track->config->down_count;
			step(core, track,
			     track->losses >= track->config->down_count ? TRACK_EVENT_LOSSES_ENOUGH
			                                                : TRACK_EVENT_LOSS,
			     now_usec);
		}
	}
}

static void fail(struct track_core *core, struct probe *probe, const char *return_code,
                 uint64_t now_usec)
{
	probe->is_waiting = false;
	probe->rtt_usec = 0;
	probe->return_code = return_code;
	report(core, probe, false, now_usec);
}

struct probe *track_core_due(struct track_core *core, uint64_t now_usec)
{
	for (size_t i = 0; i < core->probe_count; i++)
		if (core->probes[i].next_send_usec <= now_usec)
			return &core->probes[i];
	return NULL;
}

uint16_t track_core_next_sequence(struct track_core *core)
{
	bool is_taken;

	do {
		core->last_sequence++;
		is_taken = false;
		for (size_t i = 0; i < core->probe_count; i++)
			is_taken |= core->probes[i].is_waiting &&
			            core->probes[i].sequence == core->last_sequence;
	} while (is_taken);
	return core->last_sequence;
}

/* Probes keep their rhythm; after a pause of the process they do not catch up. */
static void schedule(struct probe *probe, uint64_t now_usec)
{
	uint64_t frequency_usec = probe->sla->frequency_msec * USEC_PER_MSEC;

	probe->next_send_usec += frequency_usec;
	if (probe->next_send_usec <= now_usec)
		probe->next_send_usec = now_usec + frequency_usec;
	probe->sent++;
}

void track_core_sent(struct track_core *core, struct probe *probe, uint16_t sequence,
                     uint64_t now_usec)
{
	if (probe->is_waiting)
		fail(core, probe, "Timeout", now_usec);
	schedule(probe, now_usec);
	probe->sequence = sequence;
	probe->sent_usec = now_usec;
	probe->is_waiting = true;
}

void track_core_send_failed(struct track_core *core, struct probe *probe, const char *return_code,
                            uint64_t now_usec)
{
	schedule(probe, now_usec);
	fail(core, probe, return_code, now_usec);
}

static uint64_t timeout_end(const struct probe *probe)
{
	return probe->sent_usec + probe->sla->timeout_msec * USEC_PER_MSEC;
}

bool track_core_answered(struct track_core *core, uint16_t sequence,
                         const struct sockaddr_storage *source, uint64_t now_usec)
{
	for (size_t i = 0; i < core->probe_count; i++) {
		struct probe *probe = &core->probes[i];

		if (!probe->is_waiting || probe->sequence != sequence ||
		    !address_is_equal(&probe->sla->target, source))
			continue;
		if (now_usec > timeout_end(probe))
			return false;
		uint64_t rtt_usec = now_usec - probe->sent_usec;

		probe->is_waiting = false;
		probe->answered++;
		probe->rtt_usec = rtt_usec > 0 ? (uint32_t)rtt_usec : 1;
		probe->return_code = rtt_usec > probe->sla->threshold_msec * USEC_PER_MSEC
		                             ? "Over threshold"
		                             : "OK";
		report(core, probe, true, now_usec);
		return true;
	}
	return false;
}

void track_core_expire(struct track_core *core, uint64_t now_usec)
{
	for (size_t i = 0; i < core->probe_count; i++)
		if (core->probes[i].is_waiting && now_usec >= timeout_end(&core->probes[i]))
			fail(core, &core->probes[i], "Timeout", now_usec);
	for (size_t i = 0; i < core->track_count; i++) {
		struct track *track = &core->tracks[i];

		if (track->delay_end_usec != 0 && now_usec >= track->delay_end_usec)
			step(core, track, TRACK_EVENT_DELAY_OVER, now_usec);
		if (track->hold_end_usec != 0 && now_usec >= track->hold_end_usec) {
			track->hold_end_usec = 0;
			track->is_route_held = false;
			track->has_changed = true;
		}
	}
}

static void earlier(uint64_t *deadline, uint64_t candidate)
{
	if (candidate < *deadline)
		*deadline = candidate;
}

uint64_t track_core_deadline(const struct track_core *core)
{
	uint64_t deadline = UINT64_MAX;

	for (size_t i = 0; i < core->probe_count; i++) {
		earlier(&deadline, core->probes[i].next_send_usec);
		if (core->probes[i].is_waiting)
			earlier(&deadline, timeout_end(&core->probes[i]));
	}
	for (size_t i = 0; i < core->track_count; i++) {
		if (core->tracks[i].delay_end_usec != 0)
			earlier(&deadline, core->tracks[i].delay_end_usec);
		if (core->tracks[i].hold_end_usec != 0)
			earlier(&deadline, core->tracks[i].hold_end_usec);
	}
	return deadline;
}

struct track *track_core_find(struct track_core *core, const struct config_track *config)
{
	for (size_t i = 0; config != NULL && i < core->track_count; i++)
		if (core->tracks[i].config == config)
			return &core->tracks[i];
	return NULL;
}

bool track_allows_route(const struct track *track)
{
	return !track->is_route_held;
}

void track_hold_route(struct track *track)
{
	track->is_route_held = true;
	track->has_changed = true;
}

bool track_take_change(struct track *track)
{
	bool has_changed = track->has_changed;

	track->has_changed = false;
	return has_changed;
}
