/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The one place that knows what a secret is: every field of type Secret. */
#ifndef VPNSIP_BUS_REDACT_H
#define VPNSIP_BUS_REDACT_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#define REDACTED_TEXT "(secret)"

/** Is this field a Secret? */
bool redact_is_secret(const ProtobufCFieldDescriptor *field);

/** Replaces the octets of every Secret within an unpacked message by "(secret)". 0, or -1 when out of memory. */
int redact_message(ProtobufCMessage *message);

/** Overwrites the octets of every Secret within an unpacked message, before it is freed. */
void redact_wipe(const ProtobufCMessage *message);

#endif
