/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Probes and tracks, pure: the caller gives the time, sends the probes and reports what came of them.
 *
 * A probe (sla) is sent each `frequency`; without an answer within `timeout` it has failed. An answer slower than
 * `threshold` is reported as such, yet the target is reachable. A track turns the results of one probe into UP and
 * DOWN by counts and delays. One thread.
 */
#ifndef VPNSIP_TRACK_CORE_H
#define VPNSIP_TRACK_CORE_H

#include "services/common/config.h"

/** States of a track. FALLING and RISING are UP and DOWN with a delay running. */
enum track_state {
	TRACK_STATE_UNKNOWN,
	TRACK_STATE_UP,
	TRACK_STATE_FALLING,
	TRACK_STATE_DOWN,
	TRACK_STATE_RISING,
	TRACK_STATE_COUNT
};

/** What a track can be told. ..._ENOUGH: the count of the configuration is reached. */
enum track_event {
	TRACK_EVENT_ANSWER,
	TRACK_EVENT_ANSWERS_ENOUGH,
	TRACK_EVENT_LOSS,
	TRACK_EVENT_LOSSES_ENOUGH,
	TRACK_EVENT_DELAY_OVER,
	TRACK_EVENT_COUNT
};

/** For the operator. */
extern const char *const track_state_names[TRACK_STATE_COUNT];

extern const enum track_state track_table[TRACK_STATE_COUNT][TRACK_EVENT_COUNT];

/** One probe. `interface` and `gateway` are in its configuration. */
struct probe {
	const struct config_sla *sla;
	uint64_t next_send_usec;
	uint64_t sent_usec;
	uint16_t sequence;
	bool is_waiting; /* for the answer to `sequence` */
	uint64_t sent, answered;
	uint32_t rtt_usec;       /* of the latest probe; 0 = no answer */
	const char *return_code; /* of the latest probe: "OK", "Timeout", "Over threshold" ... */
};

struct track {
	const struct config_track *config;
	const struct probe *probe;
	enum track_state state;
	unsigned answers, losses; /* consecutive */
	uint64_t since_usec;      /* of the shown status */
	uint64_t delay_end_usec;  /* 0 = no delay runs */
	uint64_t hold_end_usec;   /* 0 = no failback runs */
	bool is_route_held;       /* its routes stay away until `hold_end_usec` */
	uint32_t changes;         /* of the shown status */
	bool has_changed;         /* anything worth publishing since track_take_change() */
};

struct track_core {
	struct probe *probes;
	size_t probe_count;
	struct track *tracks;
	size_t track_count;
	uint64_t failback_usec;
	uint16_t last_sequence;
};

/** All probes are due from `now_usec` on, 1 ms apart. NULL when out of memory. `config` must live as long. */
struct track_core *track_core_new(const struct config *config, uint64_t now_usec);

void track_core_free(struct track_core *core);

/** A probe that is to be sent now, or NULL. It stays due until track_core_sent() or track_core_send_failed(). */
struct probe *track_core_due(struct track_core *core, uint64_t now_usec);

/** The sequence number to send the probe with: never that of a probe still waiting. */
uint16_t track_core_next_sequence(struct track_core *core);

/** The probe left with `sequence`. A probe still waiting has timed out by this. */
void track_core_sent(struct track_core *core, struct probe *probe, uint16_t sequence,
                     uint64_t now_usec);

/** The probe could not be sent: that is a failure too. `return_code` must be a constant. */
void track_core_send_failed(struct track_core *core, struct probe *probe, const char *return_code,
                            uint64_t now_usec);

/** An echo reply. False when no probe waits for it: another sequence, another source, or too late. */
bool track_core_answered(struct track_core *core, uint16_t sequence,
                         const struct sockaddr_storage *source, uint64_t now_usec);

/** Ends timeouts, delays and failback times that are over. */
void track_core_expire(struct track_core *core, uint64_t now_usec);

/** When to call track_core_due() and track_core_expire() next; UINT64_MAX = never. */
uint64_t track_core_deadline(const struct track_core *core);

/** The track of a configured track; NULL for NULL. */
struct track *track_core_find(struct track_core *core, const struct config_track *config);

/** UNKNOWN, UP (also while falling) or DOWN (also while rising): what is shown. */
enum track_state track_status(const struct track *track);

/** Whether the routes of this track shall stand: until it goes DOWN, and again when it has been UP for the failback time. */
bool track_allows_route(const struct track *track);

/** After a restart with the route absent: the track had been DOWN, its routes wait for UP and the failback time. */
void track_hold_route(struct track *track);

/** True once after each change of status, or of track_allows_route(). */
bool track_take_change(struct track *track);

#endif
