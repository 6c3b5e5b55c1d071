/* SPDX-License-Identifier: GPL-3.0-or-later */
/* debug SERVICE fault POINT ACTION [MESSAGE] | fault clear | faults */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bus/json.h"
#include "services/cli/debug.h"
#include "services/common/suggest.h"

#define MOST_NAMES 128
#define NAME_SIZE  32

/* FAULT_DROP as it is typed: "drop"; SEND_EVENT: "send-event"; NAMED_POINT: "named-point". */
static void typed_name(const ProtobufCEnumValue *value, char name[NAME_SIZE])
{
	const char *from = strncmp(value->name, "FAULT_", 6) == 0 ? value->name + 6 : value->name;

	snprintf(name, NAME_SIZE, "%s", from);
	for (char *c = name; *c; c++)
		*c = *c == '_' ? '-' : (char)tolower((unsigned char)*c);
}

/* "send-event, receive-event or ..." */
static void list_names(char names[][NAME_SIZE], size_t count, char *text, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < count && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s",
		                         i == 0           ? ""
		                         : i + 1 == count ? " or "
		                                          : ", ",
		                         names[i]);
}

/* The value of that name, 0 after a complaint. `what`: "point". */
static int read_enum(const ProtobufCEnumDescriptor *type, const char *what, const char *word)
{
	char names[MOST_NAMES][NAME_SIZE], expected[256] = "";
	const char *list[MOST_NAMES] = {NULL}, *near;
	size_t count = 0;

	for (unsigned i = 0; i < type->n_values && count < MOST_NAMES; i++) {
		if (type->values[i].value == 0)
			continue;
		typed_name(&type->values[i], names[count]);
		if (strcmp(names[count], word) == 0)
			return type->values[i].value;
		list[count] = names[count];
		count++;
	}
	near = suggest_word(word, list, count);
	list_names(names, count, expected, sizeof(expected));
	command_complain("there is no %s '%s': expected %s%s%s%s", what, word, expected,
	                 near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
	return 0;
}

bool debug_is_message(const char *name)
{
	const ProtobufCMessageDescriptor *envelope = &vpnsip__envelope__descriptor;
	const char *names[MOST_NAMES] = {NULL}, *near;
	size_t count = 0;

	if (bus_body_type(name))
		return true;
	for (unsigned i = 0; i < envelope->n_fields && count < MOST_NAMES; i++)
		if (envelope->fields[i].type == PROTOBUF_C_TYPE_MESSAGE)
			names[count++] =
				((const ProtobufCMessageDescriptor *)envelope->fields[i].descriptor)
					->short_name;
	near = suggest_word(name, names, count);
	command_complain("there is no message '%s'%s%s%s", name, near ? "; did you mean '" : "",
	                 near ? near : "", near ? "'?" : "");
	return false;
}

static bool read_probability(const struct cli *cli, uint32_t *permille)
{
	const char *text = options_get(cli, "probability");
	double probability;
	char *end;

	if (!text)
		return true;
	probability = strtod(text, &end);
	*permille = (uint32_t)(probability * 1000 + 0.5);
	if (*text && *end == '\0' && probability <= 1 && *permille > 0)
		return true;
	command_complain("--probability: '%s' is no number from 0.001 to 1", text);
	return false;
}

static bool read_numbers(const struct cli *cli, Vpnsip__SetFault *fault)
{
	unsigned long long skip, count, delay, seed;

	if (!options_number(cli, "skip", 0, UINT32_MAX, 0, &skip) ||
	    !options_number(cli, "count", 1, UINT32_MAX, 0, &count) ||
	    !options_number(cli, "delay", 1, 60000, 0, &delay) ||
	    !options_number(cli, "seed", 1, INT64_MAX, 0, &seed) ||
	    !read_probability(cli, &fault->probability_permille))
		return false;
	fault->skip = (uint32_t)skip;
	fault->count = (uint32_t)count;
	fault->delay_msec = (uint32_t)delay;
	fault->seed = seed;
	if ((delay == 0) == (fault->action == VPNSIP__FAULT_ACTION__FAULT_DELAY)) {
		command_complain(delay == 0 ? "delay needs --delay MS"
		                            : "only the action delay takes --delay");
		return false;
	}
	return true;
}

bool fault_read(const struct cli *cli, const struct words *words, Vpnsip__SetFault *fault)
{
	const char *message = words_get(words, "MESSAGE"), *peer = options_get(cli, "peer");
	const char *session = options_get(cli, "session");

	vpnsip__set_fault__init(fault);
	fault->point = (Vpnsip__FaultPoint)read_enum(&vpnsip__fault_point__descriptor, "point",
	                                             words_get(words, "POINT"));
	if (!fault->point)
		return false;
	fault->action = (Vpnsip__FaultAction)read_enum(&vpnsip__fault_action__descriptor, "action",
	                                               words_get(words, "ACTION"));
	if (!fault->action)
		return false;
	if (message && fault->point != VPNSIP__FAULT_POINT__NAMED_POINT &&
	    !debug_is_message(message))
		return false;
	if (peer && !command_service(peer, &fault->peer))
		return false;
	/* Both are only packed. */
	if (message)
		fault->message = (char *)message;
	if (session)
		fault->session = (char *)session;
	return read_numbers(cli, fault);
}

int command_debug_fault(const struct cli *cli, const struct words *words)
{
	Vpnsip__SetFault order;
	struct ordered ordered;
	int status;

	if (!fault_read(cli, words, &order))
		return CLI_FAILED;
	status = debug_order_named(cli, words, &order.base, &ordered);
	gather_forget(&ordered, 1);
	return status;
}

int command_debug_fault_clear(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__ClearFaults order = VPNSIP__CLEAR_FAULTS__INIT;
	struct ordered ordered;
	int status = debug_order_named(cli, words, &order.base, &ordered);

	gather_forget(&ordered, 1);
	return status;
}

static json_t *typed_enum(const ProtobufCEnumDescriptor *type, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(type, number);
	char name[NAME_SIZE] = "";

	if (value)
		typed_name(value, name);
	return json_string(name);
}

static json_t *fault_model(const Vpnsip__FaultStatus *status)
{
	const Vpnsip__SetFault *fault = status->fault;
	char seed[24];

	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)fault->seed);
	return json_pack("{s:o, s:o, s:o, s:s, s:o, s:i, s:i, s:f, s:i, s:s, s:I, s:I}", "point",
	                 typed_enum(&vpnsip__fault_point__descriptor, fault->point), "action",
	                 typed_enum(&vpnsip__fault_action__descriptor, fault->action), "message",
	                 model_text(fault->message), "peer",
	                 fault->peer ? bus_service_name(fault->peer) : "", "session",
	                 model_text(fault->session), "skip", (int)fault->skip, "count",
	                 (int)fault->count, "probability",
	                 fault->probability_permille ? fault->probability_permille / 1000.0 : 1.0,
	                 "delay_msec", (int)fault->delay_msec, "seed", seed, "matched",
	                 (json_int_t)status->matched, "injected", (json_int_t)status->injected);
}

static const char *or_any(const char *text)
{
	return *text ? text : "any";
}

void debug_faults_text(FILE *stream, const json_t *model)
{
	const json_t *faults = json_object_get(model, "faults"), *fault;
	size_t index;

	if (!flag_of(model, "is_allowed"))
		fprintf(stream, "%s refuses faults: it was not started with --allow-faults\n",
		        text_of(model, "service"));
	else if (json_array_size(faults) == 0)
		fprintf(stream, "%s has no faults\n", text_of(model, "service"));
	if (json_array_size(faults) == 0)
		return;
	fputs("Point           Action     Message             Peer                Session  Skip  "
	      "Count  P      Matched  Injected  Seed\n",
	      stream);
	json_array_foreach (faults, index, fault) {
		char action[48];

		snprintf(action, sizeof(action), "%s", text_of(fault, "action"));
		if (number_of(fault, "delay_msec"))
			snprintf(action, sizeof(action), "%lld ms",
			         (long long)number_of(fault, "delay_msec"));
		fprintf(stream, "%-16s%-11s%-20s%-20s%-9s%-6lld%-7lld%-7.3g%-9lld%-10lld%s\n",
		        text_of(fault, "point"), action, or_any(text_of(fault, "message")),
		        or_any(text_of(fault, "peer")), or_any(text_of(fault, "session")),
		        (long long)number_of(fault, "skip"), (long long)number_of(fault, "count"),
		        json_number_value(json_object_get(fault, "probability")),
		        (long long)number_of(fault, "matched"),
		        (long long)number_of(fault, "injected"), text_of(fault, "seed"));
	}
}

int command_debug_faults(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetFaults order = VPNSIP__GET_FAULTS__INIT;
	struct ordered ordered;
	int status = debug_order_named(cli, words, &order.base, &ordered);
	json_t *model, *faults = json_array();

	if (ordered.reply) {
		const Vpnsip__FaultList *list = ordered.reply->fault_list;

		for (size_t i = 0; i < list->n_faults; i++)
			if (list->faults[i]->fault)
				json_array_append_new(faults, fault_model(list->faults[i]));
		model = json_pack("{s:s, s:b, s:O}", "service", bus_service_name(ordered.to),
		                  "is_allowed", (int)list->is_allowed, "faults", faults);
		command_print(cli, model, debug_faults_text);
		json_decref(model);
	}
	json_decref(faults);
	gather_forget(&ordered, 1);
	return status;
}
