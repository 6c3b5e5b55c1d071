/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Conditional debug of IKE and IPsec (the guide's "Crypto Conditional Debug Support"): with at least one condition, only lines
 * about a session that meets one of them are written. Any thread.
 */
#ifndef VPNSIP_LOG_CONDITION_H
#define VPNSIP_LOG_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/**
 * Adds a condition, or takes it away: "peer ADDRESS[/LENGTH]", "remote-number NUMBER", "spi NUMBER" (0x is understood),
 * "session TUNNEL", "unmatched" (lines about no session at all are written too), "reset" (no conditions any more). 0, or -1 if
 * it is not understood or there are too many.
 */
int log_condition_change(const char *text, bool is_on);

/** True if a line about this session may be written; both may be NULL. */
bool log_condition_holds(const char *tunnel, const char *number);

/** Calls `told` for each condition: "peer 192.0.2.0/24". */
void log_condition_describe(void (*told)(void *context, const char *text), void *context);

/**
 * What conditions need to know of a session: where its peer is (NULL = nobody knows) and the SPIs of its SAs, both directions.
 * Replaces what was said before.
 */
void log_condition_know(const char *tunnel, const struct sockaddr_storage *peer,
                        const uint32_t *spis, size_t spi_count);

#endif
