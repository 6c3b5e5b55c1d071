/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attempt numbers: each is given once in the life of the machine, so that no service ever mixes two sessions. */
#ifndef VPNSIP_COORDINATOR_ATTEMPTS_H
#define VPNSIP_COORDINATOR_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>

struct attempts {
	char file[512];
	uint64_t last;         /* given */
	uint64_t reserved;     /* written down: all up to here are ours */
	uint64_t written_usec; /* monotonic; 0 = never */
};

/** Reads the file "attempts" of the folder; a missing one begins at 1. 0, or -1 with errno. */
int attempts_open(struct attempts *attempts, const char *folder);

/**
 * The next number, or 0 with errno. An own call must have shown within the last second that the folder can be written: who cannot
 * keep records shall not spend money. To answer a call the numbers that were written down earlier will do.
 */
uint64_t attempts_next(struct attempts *attempts, bool is_own_call, uint64_t now_usec);

/** All up to this number have been given, whatever the file said. */
void attempts_skip(struct attempts *attempts, uint64_t given);

#endif
