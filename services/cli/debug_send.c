/* SPDX-License-Identifier: GPL-3.0-or-later */
/* debug SERVICE send MESSAGE [JSON...]: any order, in the name of who may send it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bus/json.h"
#include "bus/permissions.h"
#include "bus/redact.h"
#include "services/cli/debug.h"
#include "services/common/suggest.h"

#define MOST_NAMES 128

static const ProtobufCFieldDescriptor *body_field(const ProtobufCMessageDescriptor *type)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;

	for (unsigned i = 0; i < envelope->n_fields; i++)
		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    envelope->fields[i].descriptor == type)
			return &envelope->fields[i];
	return NULL;
}

static const struct permission *permission_to_send(const ProtobufCMessageDescriptor *type)
{
	const ProtobufCFieldDescriptor *field = body_field(type);

	return field ? permission_of((Vpnsip__Envelope__BodyCase)field->id) : NULL;
}

static bool is_order(const ProtobufCMessageDescriptor *type)
{
	const struct permission *permission = permission_to_send(type);

	return permission && permission->kind == VPNSIP__ENVELOPE_KIND__REQUEST;
}

static void add_suggestion(const char *unknown, const char *const *names, size_t count, char *why,
                           size_t why_size)
{
	const char *near = suggest_word(unknown, names, count);
	size_t used = strlen(why);

	if (near && used < why_size)
		snprintf(why + used, why_size - used, "; did you mean '%s'?", near);
}

static const ProtobufCMessageDescriptor *order_type(const char *name, char *why, size_t why_size)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;
	const ProtobufCMessageDescriptor *type = bus_body_type(name);
	const char *names[MOST_NAMES];
	size_t count = 0;

	if (type && is_order(type))
		return type;
	snprintf(why, why_size, type ? "%s is no order" : "there is no message '%s'", name);
	for (unsigned i = 0; i < envelope->n_fields && count < MOST_NAMES; i++) {
		const ProtobufCMessageDescriptor *one = envelope->fields[i].descriptor;

		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && is_order(one))
			names[count++] = one->short_name;
	}
	if (!type)
		add_suggestion(name, names, count, why, why_size);
	return NULL;
}

static bool fields_are_known(const ProtobufCMessageDescriptor *type, const json_t *json, char *why,
                             size_t why_size);

static bool enum_is_known(const ProtobufCFieldDescriptor *field, const char *word, char *why,
                          size_t why_size)
{
	const ProtobufCEnumDescriptor *type = field->descriptor;
	const char *names[MOST_NAMES];
	size_t count = 0;

	if (protobuf_c_enum_descriptor_get_value_by_name(type, word))
		return true;
	for (unsigned i = 0; i < type->n_values && count < MOST_NAMES; i++)
		if (type->values[i].value != 0)
			names[count++] = type->values[i].name;
	snprintf(why, why_size, "field \"%s\": there is no '%s'", field->name, word);
	add_suggestion(word, names, count, why, why_size);
	return false;
}

static bool value_is_known(const ProtobufCFieldDescriptor *field, const json_t *value, char *why,
                           size_t why_size)
{
	const json_t *one;
	size_t index;

	json_array_foreach (value, index, one)
		if (!value_is_known(field, one, why, why_size))
			return false;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE && json_is_object(value) &&
	    !redact_is_secret(field))
		return fields_are_known(field->descriptor, value, why, why_size);
	if (field->type == PROTOBUF_C_TYPE_ENUM && json_is_string(value))
		return enum_is_known(field, json_string_value(value), why, why_size);
	return true;
}

/* What bus_message_from_json() would refuse, with what was probably meant. */
static bool fields_are_known(const ProtobufCMessageDescriptor *type, const json_t *json, char *why,
                             size_t why_size)
{
	const char *names[MOST_NAMES], *name;
	size_t count = 0;
	json_t *value;

	json_object_foreach ((json_t *)json, name, value) {
		const ProtobufCFieldDescriptor *field =
			protobuf_c_message_descriptor_get_field_by_name(type, name);

		if (field && !value_is_known(field, value, why, why_size))
			return false;
		if (field)
			continue;
		for (unsigned i = 0; i < type->n_fields && count < MOST_NAMES; i++)
			names[count++] = type->fields[i].name;
		snprintf(why, why_size, "%s has no field '%s'", type->short_name, name);
		add_suggestion(name, names, count, why, why_size);
		return false;
	}
	return true;
}

ProtobufCMessage *send_build(const char *name, const char *text, char *why, size_t why_size)
{
	const ProtobufCMessageDescriptor *type = order_type(name, why, why_size);
	ProtobufCMessage *order = NULL;
	json_error_t error;
	json_t *json;

	if (!type)
		return NULL;
	json = json_loads(*text ? text : "{}", JSON_REJECT_DUPLICATES, &error);
	if (!json)
		snprintf(why, why_size, "no JSON: %s (character %d)", error.text, error.position);
	else if (fields_are_known(type, json, why, why_size))
		order = bus_message_from_json(type, json, why, why_size);
	json_decref(json);
	return order;
}

static void list_services(unsigned set, char *text, size_t size)
{
	size_t used = 0;

	for (int i = VPNSIP__SERVICE__COORDINATOR; i <= VPNSIP__SERVICE__CLI && used < size; i++)
		if (set & BUS_SERVICE(i))
			used += (size_t)snprintf(text + used, size - used, "%s%s",
			                         used ? " or " : "",
			                         bus_service_name((Vpnsip__Service)i));
}

Vpnsip__Service send_source(const ProtobufCMessage *order, Vpnsip__Service to,
                            Vpnsip__Service wanted, char *why, size_t why_size)
{
	const struct permission *permission = permission_to_send(order->descriptor);
	char services[160] = "";

	if (!(permission->receivers & BUS_SERVICE(to))) {
		list_services(permission->receivers, services, sizeof(services));
		snprintf(why, why_size, "%s goes to %s, not to %s", order->descriptor->short_name,
		         services, bus_service_name(to));
		return VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
	}
	if (wanted && !(permission->senders & BUS_SERVICE(wanted))) {
		list_services(permission->senders, services, sizeof(services));
		snprintf(why, why_size, "%s is sent by %s, not by %s",
		         order->descriptor->short_name, services, bus_service_name(wanted));
		return VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
	}
	if (wanted)
		return wanted;
	if (permission->senders & BUS_SERVICE(VPNSIP__SERVICE__CLI))
		return VPNSIP__SERVICE__CLI;
	for (int i = VPNSIP__SERVICE__COORDINATOR; i < VPNSIP__SERVICE__CLI; i++)
		if (permission->senders & BUS_SERVICE(i))
			return (Vpnsip__Service)i;
	return VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
}

/* The words of a line that the shell has split. */
static char *join(const struct words *words, const char *name)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return NULL;
	for (size_t i = 0; i < words->count; i++)
		if (strcmp(words->arguments[i].name, name) == 0)
			fprintf(stream, "%s ", words->arguments[i].value);
	fclose(stream);
	return text;
}

/* Services find the session of an order by its envelope: an order that names a tunnel belongs to it. */
static const char *session_of(const ProtobufCMessage *order)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(order->descriptor, "tunnel");

	if (!field || field->type != PROTOBUF_C_TYPE_STRING)
		return NULL;
	return *(char *const *)((const char *)order + field->offset);
}

static void print_reply(const struct ordered *ordered)
{
	const ProtobufCMessage *body = bus_body(ordered->reply);
	json_t *model = json_pack("{s:s, s:s, s:o}", "from", bus_service_name(ordered->to), "reply",
	                          bus_body_name(ordered->reply), "fields",
	                          bus_json_from_message(body));

	json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(model);
}

static int send_order(const struct cli *cli, ProtobufCMessage *order, Vpnsip__Service to,
                      Vpnsip__Service as)
{
	struct ordered ordered = {.to = to, .order = order, .session = session_of(order)};
	struct cli sender = *cli;
	int status;

	/* Services refuse another's name from anybody but root and its owner; a lab's user is all of them. */
	if (geteuid() != 0 && !cli->bus.uid_map) {
		command_complain("only root may send");
		return CLI_FAILED;
	}
	sender.bus.as = as;
	status = debug_order(&sender, &ordered, ORDER_TIMEOUT_MSEC);
	if (ordered.reply)
		print_reply(&ordered);
	gather_forget(&ordered, 1);
	return status;
}

int command_debug_send(const struct cli *cli, const struct words *words)
{
	const char *sender = options_get(cli, "as");
	Vpnsip__Service to, as = VPNSIP__SERVICE__SERVICE_UNSPECIFIED;
	ProtobufCMessage *order;
	char why[512] = "", *text;
	int status = CLI_FAILED;

	if (!command_service(words_get(words, "SERVICE"), &to))
		return CLI_FAILED;
	if (sender && strcmp(sender, "cli") == 0)
		as = VPNSIP__SERVICE__CLI;
	else if (sender && !command_service(sender, &as))
		return CLI_FAILED;
	text = join(words, "JSON");
	order = send_build(words_get(words, "MESSAGE"), text ? text : "", why, sizeof(why));
	if (order)
		as = send_source(order, to, as, why, sizeof(why));
	if (order && as)
		status = send_order(cli, order, to, as);
	else
		command_complain("%s", why);
	if (order)
		protobuf_c_message_free_unpacked(order, NULL);
	free(text);
	return status;
}
