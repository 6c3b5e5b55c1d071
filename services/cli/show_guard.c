/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show vpn-sip guard: what was turned away, by the kernel (nat-qos-agent) and behind it by sip-agent. */
#include "services/cli/show_guard.h"

#include <string.h>

#include "services/cli/commands.h"

#define GUARD_PREFIX "guard-"

static json_t *class_model(const Vpnsip__GuardClass *class)
{
	return json_pack("{s:o, s:I, s:o, s:I, s:o}", "class", model_text(class->name), "count",
	                 (json_int_t) class->count, "last_at", model_moment(class->last_usec),
	                 "last_usec", (json_int_t) class->last_usec, "last_source",
	                 model_text(class->last_source));
}

json_t *guard_classes_model(Vpnsip__GuardClass *const *classes, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, class_model(classes[i]));
	return array;
}

void guard_classes_text(FILE *stream, const char *heading, const json_t *classes)
{
	const json_t *entry;
	size_t index;

	fprintf(stream, "%-18s%-12s%-22s%s\n", heading, "Messages", "Last", "From");
	json_array_foreach (classes, index, entry)
		fprintf(stream, "%-17s %-11lld %-21s %s\n", text_of(entry, "class"),
		        (long long)number_of(entry, "count"),
		        number_of(entry, "count") ? text_of(entry, "last_at") : "--",
		        text_of(entry, "last_source"));
}

static json_t *kernel_model(const Vpnsip__NatQosSnapshot *kernel)
{
	json_t *counters = json_array();

	for (size_t i = 0; kernel && i < kernel->n_counters; i++) {
		const Vpnsip__FirewallCounter *counter = kernel->counters[i];

		if (strncmp(counter->name, GUARD_PREFIX, strlen(GUARD_PREFIX)) == 0)
			json_array_append_new(
				counters,
				json_pack("{s:o, s:I, s:I}", "class",
			                  model_text(counter->name + strlen(GUARD_PREFIX)),
			                  "packets", (json_int_t)counter->packets, "bytes",
			                  (json_int_t)counter->bytes));
	}
	return counters;
}

json_t *guard_servers_model(const Vpnsip__NatQosSnapshot *kernel)
{
	json_t *lines = json_array();

	for (size_t i = 0; kernel && i < kernel->n_sip_servers; i++) {
		const Vpnsip__AdmitSipServers *line = kernel->sip_servers[i];
		json_t *addresses = json_array();

		for (size_t j = 0; j < line->n_addresses; j++)
			json_array_append_new(addresses, model_bytes_address(line->addresses[j]));
		json_array_append_new(lines, json_pack("{s:o, s:o}", "line",
		                                       model_text(line->local_number), "addresses",
		                                       addresses));
	}
	return lines;
}

json_t *guard_model(const Vpnsip__SipGuard *guard, const Vpnsip__NatQosSnapshot *kernel)
{
	json_t *classes = guard_classes_model(guard ? guard->classes : NULL,
	                                      guard ? guard->n_classes : 0);
	json_t *protections = json_array(), *warnings = json_array();

	for (size_t i = 0; guard && i < guard->n_protections; i++)
		json_array_append_new(protections, model_text(guard->protections[i]));
	for (size_t i = 0; kernel && i < kernel->n_warnings; i++)
		json_array_append_new(warnings, model_text(kernel->warnings[i]));
	return json_pack("{s:o, s:o, s:o, s:i, s:i, s:o, s:o}", "kernel", kernel_model(kernel),
	                 "servers", guard_servers_model(kernel), "classes", classes, "half_open",
	                 guard ? (int)guard->half_open : 0, "half_open_maximum",
	                 guard ? (int)guard->half_open_maximum : 0, "protections", protections,
	                 "warnings", warnings);
}

void show_guard_text(FILE *stream, const json_t *model)
{
	const json_t *entry, *address;
	size_t index, inner;

	json_array_foreach (json_object_get(model, "servers"), index, entry) {
		fprintf(stream, "Line %s takes SIP from:", text_of(entry, "line"));
		json_array_foreach (json_object_get(entry, "addresses"), inner, address)
			fprintf(stream, " %s", json_string_value(address));
		fprintf(stream, "\n");
	}
	fprintf(stream, "%-18s%-12s%s\n", "In the kernel", "Packets", "Bytes");
	json_array_foreach (json_object_get(model, "kernel"), index, entry)
		fprintf(stream, "%-17s %-11lld %lld\n", text_of(entry, "class"),
		        (long long)number_of(entry, "packets"),
		        (long long)number_of(entry, "bytes"));
	guard_classes_text(stream, "In sip-agent", json_object_get(model, "classes"));
	fprintf(stream, "Half-open calls: %lld of %lld\n", (long long)number_of(model, "half_open"),
	        (long long)number_of(model, "half_open_maximum"));
	json_array_foreach (json_object_get(model, "warnings"), index, entry)
		fprintf(stream, "Warning: %s\n", json_string_value(entry));
}

/* The reply's body if it is of this kind; else a complaint. */
static bool has_answer(const struct cli *cli, const struct ordered *ordered,
                       Vpnsip__Envelope__BodyCase body)
{
	char why[512];

	if (ordered->outcome == BUS_DONE && ordered->reply && ordered->reply->body_case == body)
		return true;
	gather_explain_order(&cli->bus, ordered, GATHER_TIMEOUT_MSEC, why, sizeof(why));
	command_complain("%s", why);
	return false;
}

int command_show_guard(const struct cli *cli, const struct words *words)
{
	const Vpnsip__GetSipGuard query = VPNSIP__GET_SIP_GUARD__INIT;
	const Vpnsip__GetSnapshot snapshot = VPNSIP__GET_SNAPSHOT__INIT;
	struct ordered orders[] = {
		{.to = VPNSIP__SERVICE__SIP_AGENT, .order = &query.base},
		{.to = VPNSIP__SERVICE__NAT_QOS_AGENT, .order = &snapshot.base},
	};
	char why[512];

	(void)words;
	if (!gather_order(&cli->bus, orders, 2, GATHER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	const bool has_guard = has_answer(cli, &orders[0], VPNSIP__ENVELOPE__BODY_SIP_GUARD);
	const bool has_kernel = has_answer(cli, &orders[1],
	                                   VPNSIP__ENVELOPE__BODY_NAT_QOS_SNAPSHOT);
	json_t *model = guard_model(has_guard ? orders[0].reply->sip_guard : NULL,
	                            has_kernel ? orders[1].reply->nat_qos_snapshot : NULL);

	command_print(cli, model, show_guard_text);
	json_decref(model);
	gather_forget(orders, 2);
	return has_guard && has_kernel ? CLI_DONE : CLI_PARTIAL;
}
