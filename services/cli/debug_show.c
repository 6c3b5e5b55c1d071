/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show debugging: what is switched on, service by service. */
#include <string.h>

#include "services/cli/debug.h"
#include "services/common/log.h"

json_t *switch_model(const char *line)
{
	size_t longest = 0;
	char category[64];

	for (int i = 0; i < LOG_CATEGORY_COUNT; i++) {
		size_t length = strlen(log_category_names[i]);

		if (strncmp(line, log_category_names[i], length) == 0 && length > longest &&
		    (line[length] == '\0' || line[length] == ' '))
			longest = length;
	}
	if (!longest)
		longest = strlen(line);
	snprintf(category, sizeof(category), "%.*s", (int)longest, line);
	return json_pack("{s:o, s:o}", "category", model_text(category), "session",
	                 model_text(line + longest + (line[longest] == ' ')));
}

void debug_switches_text(FILE *stream, const json_t *model)
{
	const json_t *service, *one;
	size_t i, j;
	bool is_any = false;

	json_array_foreach (json_object_get(model, "services"), i, service) {
		const json_t *switches = json_object_get(service, "switches");

		if (json_array_size(switches) == 0)
			continue;
		is_any = true;
		fprintf(stream, "%s:\n", text_of(service, "name"));
		json_array_foreach (switches, j, one) {
			const char *session = text_of(one, "session");

			fprintf(stream, "  %s debugging is on%s%s\n", text_of(one, "category"),
			        *session ? " for " : "", session);
		}
	}
	if (!is_any)
		fputs("No debugging is on\n", stream);
}

static json_t *service_model(const struct ordered *ordered)
{
	const Vpnsip__Internals *internals = ordered->reply->internals;
	json_t *switches = json_array();

	for (size_t i = 0; i < internals->n_debug_switches; i++)
		json_array_append_new(switches, switch_model(internals->debug_switches[i]));
	return json_pack("{s:s, s:o}", "name", bus_service_name(ordered->to), "switches", switches);
}

int command_show_debugging(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetInternals order = VPNSIP__GET_INTERNALS__INIT;
	struct ordered orders[SERVICE_COUNT];
	json_t *model, *services = json_array();
	size_t count = 0;
	char why[256];

	(void)words;
	for (int i = VPNSIP__SERVICE__COORDINATOR; i < VPNSIP__SERVICE__CLI; i++)
		orders[count++] = (struct ordered){.to = i, .order = &order.base};
	if (!gather_order(&cli->bus, orders, count, GATHER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		json_decref(services);
		return CLI_FAILED;
	}
	for (size_t i = 0; i < count; i++)
		if (orders[i].reply)
			json_array_append_new(services, service_model(&orders[i]));
	model = json_pack("{s:o, s:o}", "services", services, "unanswered",
	                  debug_unanswered(cli, orders, count, GATHER_TIMEOUT_MSEC));
	command_print(cli, model, debug_switches_text);
	json_decref(model);
	gather_forget(orders, count);
	return debug_complain(cli, orders, count, GATHER_TIMEOUT_MSEC);
}
