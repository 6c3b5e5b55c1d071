/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The anti-replay window of one inbound SA, with extended sequence numbers (RFC 4303 sections 3.4.3 and A2).
 * Pure: no clock, no allocation.
 */
#ifndef VPNSIP_REPLAY_H
#define VPNSIP_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#define REPLAY_WINDOW_MAXIMUM 1024
/* One word more than the window: the word of the newest number may be cleared without losing the oldest ones. */
#define REPLAY_WORDS          (REPLAY_WINDOW_MAXIMUM / 64 + 1)

struct replay_window {
	uint64_t top;         /* highest number accepted; 0 = none yet */
	unsigned window_size; /* packets; 0 = off: everything is fresh */
	bool is_extended;     /* 64-bit numbers of which the packet shows the low half */
	uint64_t seen[REPLAY_WORDS];
};

/** `window_size` above REPLAY_WINDOW_MAXIMUM is cut to it. */
void replay_init(struct replay_window *window, unsigned window_size, bool is_extended);

/**
 * The full sequence number of a packet that shows `low`. 0 if there is none: the packet lies before the first number
 * (no SA sends the number 0).
 */
uint64_t replay_infer(const struct replay_window *window, uint32_t low);

/** Whether this number was not seen and is not too old. Ask before the (costly) integrity check. */
bool replay_is_fresh(const struct replay_window *window, uint64_t sequence);

/** Records a number. Call it only after the integrity check passed. */
void replay_accept(struct replay_window *window, uint64_t sequence);

#endif
