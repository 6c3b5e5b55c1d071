/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The Call-IDs that must not come again, kept over a restart: an INVITE that was overheard is as good after it as before. One
 * file of fixed size in the state directory, a slot for each place of the ring.
 */
#ifndef VPNSIP_SIP_GUARD_MEMORY_H
#define VPNSIP_SIP_GUARD_MEMORY_H

#include "services/sip-agent/guard_core.h"

/** Takes up what the last process remembered. What cannot be read counts as nothing. */
void guard_memory_read(const char *directory, struct guard *guard);

/**
 * Notes the Call-ID that was remembered last. It reaches the kernel, not the disk: a call is not worth a wait for that. False with
 * errno when it cannot be written.
 */
bool guard_memory_note(const char *directory, const struct guard *guard);

#endif
