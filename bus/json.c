/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/json.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "bus/json_internal.h"
#include "bus/redact.h"

static const char *const address_names[] = {"address",         "wan_address", "gateway",
                                            "contact_address", "destination", "lease_address"};

bool json_is_address(const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < sizeof(address_names) / sizeof(address_names[0]); i++)
		if (strcmp(field->name, address_names[i]) == 0)
			return true;
	return false;
}

size_t json_value_size(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	default:
		return sizeof(uint32_t);
	}
}

static json_t *octets_to_json(const ProtobufCFieldDescriptor *field,
                              const ProtobufCBinaryData *octets)
{
	static const char digits[] = "0123456789abcdef";
	char text[INET6_ADDRSTRLEN], *hexadecimal;
	json_t *json;

	if (json_is_address(field) && (octets->len == 4 || octets->len == 16)) {
		inet_ntop(octets->len == 4 ? AF_INET : AF_INET6, octets->data, text, sizeof(text));
		return json_string(text);
	}
	hexadecimal = malloc(2 * octets->len + 1);
	if (hexadecimal == NULL)
		return NULL;
	for (size_t i = 0; i < octets->len; i++) {
		hexadecimal[2 * i] = digits[octets->data[i] >> 4];
		hexadecimal[2 * i + 1] = digits[octets->data[i] & 15];
	}
	json = json_stringn(hexadecimal, 2 * octets->len);
	free(hexadecimal);
	return json;
}

static json_t *text_to_json(const char *text)
{
	/* A string that is not UTF-8 came from outside; it must not make the rest unreadable. */
	json_t *json = json_string(text != NULL ? text : "");

	return json != NULL ? json : json_string("(not UTF-8)");
}

static json_t *enum_to_json(const ProtobufCEnumDescriptor *type, int value)
{
	const ProtobufCEnumValue *name = protobuf_c_enum_descriptor_get_value(type, value);

	return name != NULL ? json_string(name->name) : json_integer(value);
}

static json_t *value_to_json(const ProtobufCFieldDescriptor *field, const void *value)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)value);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)value);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer(*(const int64_t *)value);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)value);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)value);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)value);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_to_json(field->descriptor, *(const int *)value);
	case PROTOBUF_C_TYPE_STRING:
		return text_to_json(*(const char *const *)value);
	case PROTOBUF_C_TYPE_BYTES:
		return octets_to_json(field, value);
	case PROTOBUF_C_TYPE_MESSAGE:
		break;
	}
	if (*(ProtobufCMessage *const *)value == NULL)
		return json_null();
	if (redact_is_secret(field))
		return json_string(REDACTED_TEXT);
	return bus_json_from_message(*(ProtobufCMessage *const *)value);
}

static json_t *list_to_json(const ProtobufCFieldDescriptor *field, const uint8_t *values,
                            size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list != NULL && i < count; i++) {
		if (json_array_append_new(
			    list, value_to_json(field, values + i * json_value_size(field))) != 0) {
			json_decref(list);
			list = NULL;
		}
	}
	return list;
}

json_t *bus_json_from_message(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *type = message->descriptor;
	json_t *object = json_object();

	for (unsigned i = 0; object != NULL && i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		const uint8_t *member = (const uint8_t *)message + field->offset;
		const void *quantifier = (const uint8_t *)message + field->quantifier_offset;
		json_t *value;

		/* Of a oneof only the member that is there. */
		if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
		    *(const uint32_t *)quantifier != field->id)
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			value = list_to_json(field, *(const uint8_t *const *)member,
			                     *(const size_t *)quantifier);
		else
			value = value_to_json(field, member);
		if (json_object_set_new(object, field->name, value) != 0) {
			json_decref(object);
			object = NULL;
		}
	}
	return object;
}
