/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/show.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "services/common/address.h"

json_t *model_address(const Vpnsip__SocketAddress *address)
{
	struct sockaddr_storage parsed;
	char text[ADDRESS_TEXT_SIZE] = "0.0.0.0";

	if (address_from_proto(address, &parsed))
		address_format(&parsed, text);
	return json_pack("{s:s, s:i}", "address", text, "port", (int)address_port(&parsed));
}

json_t *model_text(const char *text)
{
	json_t *string;
	char *copy;

	if (!text)
		return json_string("");
	string = json_string(text);
	if (string || !(copy = strdup(text)))
		return string;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c >= 0x80)
			*c = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

json_t *model_bytes_address(ProtobufCBinaryData bytes)
{
	struct sockaddr_storage address;
	char text[ADDRESS_TEXT_SIZE];

	address_from_bytes(bytes, &address);
	return json_string(address_format(&address, text));
}

json_t *model_enum(const ProtobufCEnumDescriptor *type, int value, const char *prefix)
{
	const ProtobufCEnumValue *entry = protobuf_c_enum_descriptor_get_value(type, value);
	const char *name = value && entry ? entry->name : "";

	return json_string(strncmp(name, prefix, strlen(prefix)) == 0 ? name + strlen(prefix)
	                                                              : name);
}

json_int_t model_seconds(uint64_t since_usec, uint64_t now_usec)
{
	return since_usec && since_usec < now_usec ? (json_int_t)((now_usec - since_usec) / 1000000)
	                                           : 0;
}

json_t *model_moment(uint64_t at_usec)
{
	time_t seconds = (time_t)(at_usec / 1000000);
	struct tm moment;
	char text[32] = "";

	if (at_usec && localtime_r(&seconds, &moment))
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &moment);
	return json_string(text);
}

json_t *model_handle(uint64_t handle)
{
	char text[32];

	snprintf(text, sizeof(text), handle ? "0x%08" PRIX64 : "0x%" PRIX64, handle);
	return json_string(text);
}

const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool flag_of(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *address_of(const json_t *object, const char *key, char text[64])
{
	const json_t *address = json_object_get(object, key);
	const char *host = text_of(address, "address");

	snprintf(text, 64, strchr(host, ':') ? "[%s]:%d" : "%s:%d", host,
	         (int)number_of(address, "port"));
	return text;
}

void print_counts(FILE *stream, const char *title, const json_t *counts)
{
	const char *reason, *separator = title;
	const json_t *count;

	json_object_foreach ((json_t *)counts, reason, count) {
		fprintf(stream, "%s%s %lld", separator, reason,
		        (long long)json_integer_value(count));
		separator = ", ";
	}
	if (json_object_size(counts) > 0)
		fputc('\n', stream);
}

const char *duration_text(json_int_t seconds, char text[32])
{
	snprintf(text, 32, "%02lld:%02d:%02d", (long long)(seconds / 3600),
	         (int)(seconds / 60 % 60), (int)(seconds % 60));
	return text;
}
