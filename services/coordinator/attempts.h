/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Attempt numbers: each is given once in the life of the machine, so that no service ever mixes two sessions. */
#ifndef VPNSIP_COORDINATOR_ATTEMPTS_H
#define VPNSIP_COORDINATOR_ATTEMPTS_H

#include <stdint.h>

struct attempts {
	char file[512];
	uint64_t last;     /* given */
	uint64_t reserved; /* written down: all up to here are ours */
};

/** Reads the file "attempts" of the folder; a missing one begins at 1. 0, or -1 with errno. */
int attempts_open(struct attempts *attempts, const char *folder);

/** All up to this number have been given, whatever the file said. */
void attempts_skip(struct attempts *attempts, uint64_t given);

/** The next number; 0 with errno when a new block cannot be written durably. */
uint64_t attempts_next(struct attempts *attempts);

#endif
