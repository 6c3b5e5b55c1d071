/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bus/json.h"
#include "bus/json_internal.h"
#include "bus/redact.h"
#include "shared.pb-c.h"

/** Where the sentence about a fault goes. */
struct complaint {
	char *why;
	size_t size;
};

static int complain(const struct complaint *complaint, const ProtobufCFieldDescriptor *field,
                    const char *expected)
{
	snprintf(complaint->why, complaint->size, "field \"%s\": expected %s", field->name,
	         expected);
	return -1;
}

static int hex_digit(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

static int parse_hexadecimal(const char *text, ProtobufCBinaryData *octets)
{
	size_t length = strlen(text);

	if (length % 2 != 0)
		return -1;
	octets->data = malloc(length / 2 + 1);
	if (octets->data == NULL)
		return -1;
	for (octets->len = 0; octets->len < length / 2; octets->len++) {
		int high = hex_digit(text[2 * octets->len]);
		int low = hex_digit(text[2 * octets->len + 1]);

		if (high < 0 || low < 0)
			return -1; /* freed with the message */
		octets->data[octets->len] = (uint8_t)(high << 4 | low);
	}
	return 0;
}

static int parse_octets(const ProtobufCFieldDescriptor *field, const json_t *json,
                        ProtobufCBinaryData *octets, const struct complaint *complaint)
{
	const char *text = json_string_value(json);
	uint8_t address[16];
	size_t size = 0;

	if (text == NULL)
		return complain(complaint, field, "octets in hexadecimal");
	if (json_is_address(field)) {
		if (inet_pton(AF_INET, text, address) == 1)
			size = 4;
		else if (inet_pton(AF_INET6, text, address) == 1)
			size = 16;
	}
	if (size > 0) {
		octets->data = malloc(size);
		if (octets->data == NULL)
			return complain(complaint, field, "memory");
		octets->len = size;
		memcpy(octets->data, address, size);
		return 0;
	}
	if (parse_hexadecimal(text, octets) != 0)
		return complain(complaint, field,
		                json_is_address(field) ? "an address" : "octets in hexadecimal");
	return 0;
}

static int parse_enum(const ProtobufCFieldDescriptor *field, const json_t *json, int *value,
                      const struct complaint *complaint)
{
	const ProtobufCEnumValue *found;

	if (json_is_integer(json)) {
		*value = (int)json_integer_value(json);
		return 0;
	}
	if (!json_is_string(json))
		return complain(complaint, field, "the name of an enumeration value");
	found = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor,
	                                                     json_string_value(json));
	if (found == NULL)
		return complain(complaint, field, "a name of its enumeration");
	*value = found->value;
	return 0;
}

static int parse_integer(const ProtobufCFieldDescriptor *field, const json_t *json, void *value,
                         const struct complaint *complaint)
{
	json_int_t integer = json_integer_value(json);

	if (!json_is_integer(json))
		return complain(complaint, field, "a number");
	if (json_value_size(field) == sizeof(uint64_t)) {
		*(int64_t *)value = integer;
		return 0;
	}
	if (integer < INT32_MIN || integer > UINT32_MAX)
		return complain(complaint, field, "a number of 32 bits");
	*(uint32_t *)value = (uint32_t)integer;
	return 0;
}

/** Secrets are written as plain hexadecimal, not as a message with one field. */
static int parse_secret(const ProtobufCFieldDescriptor *field, const json_t *json,
                        ProtobufCMessage **value, const struct complaint *complaint)
{
	Vpnsip__Secret *secret = malloc(sizeof(*secret));

	if (secret == NULL)
		return complain(complaint, field, "memory");
	vpnsip__secret__init(secret);
	*value = &secret->base;
	return parse_octets(field, json, &secret->octets, complaint);
}

static int parse_value(const ProtobufCFieldDescriptor *field, const json_t *json, void *value,
                       const struct complaint *complaint)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_DOUBLE:
		if (!json_is_number(json))
			return complain(complaint, field, "a number");
		if (field->type == PROTOBUF_C_TYPE_FLOAT)
			*(float *)value = (float)json_number_value(json);
		else
			*(double *)value = json_number_value(json);
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_is_boolean(json))
			return complain(complaint, field, "true or false");
		*(protobuf_c_boolean *)value = json_is_true(json);
		return 0;
	case PROTOBUF_C_TYPE_ENUM:
		return parse_enum(field, json, value, complaint);
	case PROTOBUF_C_TYPE_STRING:
		if (!json_is_string(json))
			return complain(complaint, field, "a string");
		*(char **)value = strdup(json_string_value(json));
		return *(char **)value != NULL ? 0 : complain(complaint, field, "memory");
	case PROTOBUF_C_TYPE_BYTES:
		return parse_octets(field, json, value, complaint);
	case PROTOBUF_C_TYPE_MESSAGE:
		if (json_is_null(json))
			return 0;
		if (redact_is_secret(field))
			return parse_secret(field, json, value, complaint);
		*(ProtobufCMessage **)value = bus_message_from_json(
			field->descriptor, json, complaint->why, complaint->size);
		return *(ProtobufCMessage **)value != NULL ? 0 : -1;
	default:
		return parse_integer(field, json, value, complaint);
	}
}

static int parse_list(const ProtobufCFieldDescriptor *field, const json_t *json, void **values,
                      size_t *count, const struct complaint *complaint)
{
	size_t size = json_value_size(field);

	if (!json_is_array(json))
		return complain(complaint, field, "a list");
	if (json_array_size(json) == 0)
		return 0;
	*values = calloc(json_array_size(json), size);
	if (*values == NULL)
		return complain(complaint, field, "memory");
	while (*count < json_array_size(json)) {
		const json_t *one = json_array_get(json, *count);
		void *value = (uint8_t *)*values + *count * size;

		/* Counted first: what a failed value has allocated is freed with the message. */
		(*count)++;
		if (json_is_null(one))
			return complain(complaint, field, "no null in the list");
		if (parse_value(field, one, value, complaint) != 0)
			return -1;
	}
	return 0;
}

static int parse_field(ProtobufCMessage *message, const char *name, const json_t *json,
                       const struct complaint *complaint)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
	void *member, *quantifier;

	if (field == NULL) {
		snprintf(complaint->why, complaint->size, "%s has no field \"%s\"",
		         message->descriptor->short_name, name);
		return -1;
	}
	member = (uint8_t *)message + field->offset;
	quantifier = (uint8_t *)message + field->quantifier_offset;
	if (field->label == PROTOBUF_C_LABEL_REPEATED)
		return parse_list(field, json, member, quantifier, complaint);
	if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
		if (*(uint32_t *)quantifier != 0)
			return complain(complaint, field, "no other member of its oneof");
		*(uint32_t *)quantifier = field->id;
	}
	return parse_value(field, json, member, complaint);
}

ProtobufCMessage *bus_message_from_json(const ProtobufCMessageDescriptor *descriptor,
                                        const json_t *json, char *why, size_t why_size)
{
	const struct complaint complaint = {why, why_size};
	ProtobufCMessage *message;
	const char *name;
	json_t *value;

	if (!json_is_object(json)) {
		snprintf(why, why_size, "%s: expected an object", descriptor->short_name);
		return NULL;
	}
	message = malloc(descriptor->sizeof_message);
	if (message == NULL) {
		snprintf(why, why_size, "out of memory");
		return NULL;
	}
	protobuf_c_message_init(descriptor, message);
	/* jansson's iterator takes no const object, and changes nothing. */
	json_object_foreach ((json_t *)json, name, value) {
		if (parse_field(message, name, value, &complaint) != 0) {
			protobuf_c_message_free_unpacked(message, NULL);
			return NULL;
		}
	}
	return message;
}
