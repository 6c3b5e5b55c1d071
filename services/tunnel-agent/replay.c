/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/replay.h"

#include <string.h>

/* With the check off the high half must still be guessed: take packets at most this much behind the newest one. */
#define UNCHECKED_REORDERING 64

void replay_init(struct replay_window *window, unsigned window_size, bool is_extended)
{
	memset(window, 0, sizeof(*window));
	window->window_size = window_size < REPLAY_WINDOW_MAXIMUM ? window_size
	                                                          : REPLAY_WINDOW_MAXIMUM;
	window->is_extended = is_extended;
}

uint64_t replay_infer(const struct replay_window *window, uint32_t low)
{
	unsigned width = window->window_size ? window->window_size : UNCHECKED_REORDERING;
	uint32_t top_low = (uint32_t)window->top;
	uint32_t high = (uint32_t)(window->top >> 32);
	uint32_t bottom_low = top_low - width + 1;

	if (!window->is_extended)
		return low;
	if (top_low >= width - 1) {
		/* The window lies in one subspace: a number below it belongs to the next. */
		if (low < bottom_low)
			high++;
	} else if (low >= bottom_low) {
		/* The window reaches back into the subspace before. */
		if (high == 0)
			return 0;
		high--;
	}
	return (uint64_t)high << 32 | low;
}

static uint64_t *word_of(struct replay_window *window, uint64_t sequence)
{
	return &window->seen[sequence / 64 % REPLAY_WORDS];
}

bool replay_is_fresh(const struct replay_window *window, uint64_t sequence)
{
	if (sequence == 0)
		return false;
	if (window->window_size == 0 || sequence > window->top)
		return true;
	if (window->top - sequence >= window->window_size)
		return false;
	return !(window->seen[sequence / 64 % REPLAY_WORDS] >> (sequence % 64) & 1);
}

void replay_accept(struct replay_window *window, uint64_t sequence)
{
	if (sequence > window->top) {
		uint64_t first = window->top / 64 + 1, last = sequence / 64;

		if (last >= first + REPLAY_WORDS)
			first = last - REPLAY_WORDS + 1;
		for (uint64_t word = first; word <= last; word++)
			window->seen[word % REPLAY_WORDS] = 0;
		window->top = sequence;
	}
	*word_of(window, sequence) |= UINT64_C(1) << (sequence % 64);
}
