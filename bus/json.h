/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of any protobuf message, by its descriptor: for --json, monitor, debug send, exchange tests. */
#ifndef VPNSIP_BUS_JSON_H
#define VPNSIP_BUS_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/**
 * The message as JSON: field names as in the .proto, enums by name, bytes as lower-case hexadecimal except fields named
 * "address", "wan_address", "gateway", "contact_address" or "destination" of 4 or 16 octets (dotted or colon form), 64-bit
 * numbers as JSON integers, absent sub-messages as null, fields of type Secret as "(secret)". Every field is present.
 * New reference; NULL when out of memory.
 */
json_t *bus_json_from_message(const ProtobufCMessage *message);

/**
 * The reverse, for tests and `debug send`: fields not named stay at their default. NULL and a sentence in `why` when a field is
 * unknown or has a wrong type. Free with protobuf_c_message_free_unpacked().
 */
ProtobufCMessage *bus_message_from_json(const ProtobufCMessageDescriptor *descriptor,
                                        const json_t *json, char *why, size_t why_size);

#endif
