/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One line for each message on the bus. Pure functions. */
#ifndef VPNSIP_CLI_MONITOR_H
#define VPNSIP_CLI_MONITOR_H

#include <jansson.h>

#include "bus/bus.h"

/**
 * A message as JSON: time_usec (since 1970), mono_usec, kind, from, to ("" for events), body, session, fields (what is not at
 * its default). `to` is 0 for events; `wall_offset_usec` is what wall-clock time is ahead of the monotonic.
 */
json_t *monitor_model(const Vpnsip__Envelope *envelope, Vpnsip__Service to,
                      uint64_t wall_offset_usec);

/**
 * The same on one line in local time, ended by a newline: "09:12:01.345678 sip-agent -> all event CallChanged vsip2
 * status=CALL_TRYING ...". Points in time and the octets of packets are left out.
 */
void monitor_text(FILE *stream, const json_t *model);

/**
 * Whether a tapped message is to be shown. Both ends of a request tell of it when both are watched: the sender's word counts,
 * because it also tells of what never arrived.
 */
bool monitor_is_shown(const Vpnsip__Tapped *tapped, unsigned watched);

#endif
