/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What travels: a packed envelope and its CRC-32 behind it, least octet first. Many a changed octet would still be read as a message,
 * and be carried out. It keeps out accidents; peers are told by their uid. Any thread.
 */
#ifndef VPNSIP_BUS_FRAME_H
#define VPNSIP_BUS_FRAME_H

#include "bus/bus.h"

/** Malloc'ed; NULL when out of memory. */
uint8_t *frame_pack(const Vpnsip__Envelope *envelope, size_t *size);

/** An order in its frame, malloc'ed; NULL when out of memory. */
uint8_t *frame_pack_order(struct bus *bus, uint64_t request_id, uint64_t trace_id,
                          const char *session, const ProtobufCMessage *order, unsigned timeout_msec,
                          size_t *size);

/** NULL for what was changed on its way, and for what is no envelope of a known kind with a body. */
Vpnsip__Envelope *frame_unpack(const uint8_t *octets, size_t size);

#endif
