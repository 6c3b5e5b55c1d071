/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON of messages, both ways, over every type that the bus carries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bus/json.h"
#include "bus/redact.h"
#include "envelope.pb-c.h"

static ProtobufCMessage *filled(const ProtobufCMessageDescriptor *type, unsigned seed);

static void fill_value(const ProtobufCFieldDescriptor *field, void *value, unsigned seed)
{
	const ProtobufCEnumDescriptor *enumeration = field->descriptor;
	ProtobufCBinaryData *octets = value;
	char text[32];

	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		*(uint32_t *)value = 0xfffffff0U + seed % 16;
		break;
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		*(uint64_t *)value = UINT64_C(0x7ffffffffffffff0) + seed % 16;
		break;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)value = 1;
		break;
	case PROTOBUF_C_TYPE_ENUM:
		*(int *)value = enumeration->values[seed % enumeration->n_values].value;
		break;
	case PROTOBUF_C_TYPE_STRING:
		snprintf(text, sizeof(text), "text \"%u\" \xc3\xa4", seed);
		*(char **)value = strdup(text);
		break;
	case PROTOBUF_C_TYPE_BYTES:
		octets->len = seed % 3 == 0 ? 4 : seed % 3 == 1 ? 16 : 5;
		octets->data = malloc(octets->len);
		memset(octets->data, (int)(0x20 + seed), octets->len);
		break;
	case PROTOBUF_C_TYPE_MESSAGE:
		*(ProtobufCMessage **)value = filled(field->descriptor, seed + 1);
		break;
	default:
		fail_msg("%s has a type that no message had when this was written", field->name);
	}
}

static size_t size_of(const ProtobufCFieldDescriptor *field)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return 8;
	default:
		return 4;
	}
}

/** A message with something in every field but secrets, two entries in every list. */
static ProtobufCMessage *filled(const ProtobufCMessageDescriptor *type, unsigned seed)
{
	ProtobufCMessage *message = malloc(type->sizeof_message);

	protobuf_c_message_init(type, message);
	for (unsigned i = 0; i < type->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &type->fields[i];
		uint8_t *member = (uint8_t *)message + field->offset;
		uint8_t *list;

		if (redact_is_secret(field))
			continue;
		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			fill_value(field, member, seed + i);
			continue;
		}
		list = calloc(2, size_of(field));
		fill_value(field, list, seed + i);
		fill_value(field, list + size_of(field), seed + i + 1);
		*(void **)member = list;
		*(size_t *)((uint8_t *)message + field->quantifier_offset) = 2;
	}
	return message;
}

static void assert_same(const ProtobufCMessage *one, const ProtobufCMessage *other)
{
	size_t size = protobuf_c_message_get_packed_size(one);
	uint8_t *first = malloc(size + 1), *second = malloc(size + 1);

	assert_int_equal(size, protobuf_c_message_get_packed_size(other));
	protobuf_c_message_pack(one, first);
	protobuf_c_message_pack(other, second);
	assert_memory_equal(first, second, size);
	free(first);
	free(second);
}

static void check_both_ways(ProtobufCMessage *message)
{
	json_t *json = bus_json_from_message(message);
	ProtobufCMessage *back;
	char why[128] = "";
	char *text;
	json_t *parsed;

	assert_non_null(json);
	assert_int_equal(json_object_size(json), message->descriptor->n_fields);
	text = json_dumps(json, 0);
	parsed = json_loads(text, 0, NULL);
	back = bus_message_from_json(message->descriptor, parsed, why, sizeof(why));
	if (back == NULL)
		fail_msg("%s: %s in %s", message->descriptor->short_name, why, text);
	assert_same(message, back);
	json_decref(parsed);
	json_decref(json);
	free(text);
	protobuf_c_message_free_unpacked(back, NULL);
}

static void every_message_survives_both_ways(void **state)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;
	unsigned checked = 0;

	(void)state;
	for (unsigned i = 0; i < envelope->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &envelope->fields[i];
		ProtobufCMessage *message, *empty;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		message = filled(field->descriptor, i);
		check_both_ways(message);
		protobuf_c_message_free_unpacked(message, NULL);

		empty = malloc(
			((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message);
		protobuf_c_message_init(field->descriptor, empty);
		check_both_ways(empty);
		protobuf_c_message_free_unpacked(empty, NULL);
		checked++;
	}
	assert_true(checked > 50);
}

static void values_look_as_promised(void **state)
{
	uint8_t address[] = {192, 0, 2, 1}, octets[] = {0xde, 0xad};
	Vpnsip__SocketAddress remote = VPNSIP__SOCKET_ADDRESS__INIT;
	Vpnsip__SendIkePacket order = VPNSIP__SEND_IKE_PACKET__INIT;
	Vpnsip__Envelope envelope = VPNSIP__ENVELOPE__INIT;
	json_t *json;

	(void)state;
	remote.address.data = address;
	remote.address.len = sizeof(address);
	remote.port = 50000;
	order.if_id = 7;
	order.remote = &remote;
	order.packet.data = octets;
	order.packet.len = sizeof(octets);
	envelope.kind = VPNSIP__ENVELOPE_KIND__REQUEST;
	envelope.source = VPNSIP__SERVICE__IKE_AGENT;
	envelope.body_case = VPNSIP__ENVELOPE__BODY_SEND_IKE_PACKET;
	envelope.send_ike_packet = &order;
	json = bus_json_from_message(&envelope.base);
	assert_string_equal(json_string_value(json_object_get(json, "source")), "IKE_AGENT");
	assert_null(json_object_get(json, "done"));
	json_t *body = json_object_get(json, "send_ike_packet");
	assert_string_equal(json_string_value(json_object_get(body, "packet")), "dead");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(body, "remote"), "address")),
		"192.0.2.1");
	json_decref(json);

	order.remote = NULL;
	json = bus_json_from_message(&order.base);
	assert_true(json_is_null(json_object_get(json, "remote")));
	json_decref(json);
}

static void secrets_are_not_shown(void **state)
{
	uint8_t key[] = "0123456789abcdef";
	Vpnsip__Secret secret = VPNSIP__SECRET__INIT;
	Vpnsip__InstallSa order = VPNSIP__INSTALL_SA__INIT;
	json_t *json;
	char *text;

	(void)state;
	secret.octets.data = key;
	secret.octets.len = 16;
	order.encryption_key = &secret;
	json = bus_json_from_message(&order.base);
	text = json_dumps(json, 0);
	assert_string_equal(json_string_value(json_object_get(json, "encryption_key")), "(secret)");
	assert_true(json_is_null(json_object_get(json, "integrity_key")));
	assert_null(strstr(text, "30313233"));
	free(text);
	json_decref(json);
}

static void a_secret_can_be_given(void **state)
{
	json_t *json = json_loads("{\"encryption_key\":\"0aff\"}", 0, NULL);
	char why[128];
	Vpnsip__InstallSa *order = (Vpnsip__InstallSa *)bus_message_from_json(
		&vpnsip__install_sa__descriptor, json, why, sizeof(why));

	(void)state;
	assert_non_null(order);
	assert_int_equal(order->encryption_key->octets.len, 2);
	assert_int_equal(order->encryption_key->octets.data[1], 0xff);
	vpnsip__install_sa__free_unpacked(order, NULL);
	json_decref(json);
}

static void faults_are_named(void **state)
{
	static const struct {
		const char *json, *why;
	} cases[] = {
		{"[]", "StartIke: expected an object"},
		{"{\"tunel\":\"x\"}", "StartIke has no field \"tunel\""},
		{"{\"tunnel\":7}", "field \"tunnel\": expected a string"},
		{"{\"attempt\":\"7\"}", "field \"attempt\": expected a number"},
		{"{\"if_id\":4294967296}", "field \"if_id\": expected a number of 32 bits"},
		{"{\"initiate\":1}", "field \"initiate\": expected true or false"},
		{"{\"local\":{\"address\":\"300.1.1.1\"}}",
	         "field \"address\": expected an address"},
		{"{\"local\":{\"port\":null}}", "field \"port\": expected a number"},
		{"{\"pinned\":{}}", "field \"pinned\": expected a list"},
		{"{\"pinned\":[null]}", "field \"pinned\": expected no null in the list"},
		{"{\"pinned\":[{\"value\":\"abc\"}]}",
	         "field \"value\": expected octets in hexadecimal"},
		{"{\"pinned\":[{\"subject\":\"KEY\"}]}",
	         "field \"subject\": expected a name of its enumeration"},
	};
	char why[128];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		json_t *json = json_loads(cases[i].json, 0, NULL);

		assert_non_null(json);
		assert_null(bus_message_from_json(&vpnsip__start_ike__descriptor, json, why,
		                                  sizeof(why)));
		assert_string_equal(why, cases[i].why);
		json_decref(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_message_survives_both_ways),
		cmocka_unit_test(values_look_as_promised),
		cmocka_unit_test(secrets_are_not_shown),
		cmocka_unit_test(a_secret_can_be_given),
		cmocka_unit_test(faults_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
