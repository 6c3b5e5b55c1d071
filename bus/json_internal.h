/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared by the two directions of JSON. */
#ifndef VPNSIP_BUS_JSON_INTERNAL_H
#define VPNSIP_BUS_JSON_INTERNAL_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

/** Is this a field of octets that holds an address, by its name? */
bool json_is_address(const ProtobufCFieldDescriptor *field);

/** Size of one value of a field in memory. */
size_t json_value_size(const ProtobufCFieldDescriptor *field);

#endif
