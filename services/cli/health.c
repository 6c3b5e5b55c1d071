/* SPDX-License-Identifier: GPL-3.0-or-later */
/* health SERVICE: one line and an exit status, for the health checks of containers. */
#include "services/cli/debug.h"

/** With the connection and its end less than 2 s, whatever hangs. */
#define HEALTH_TIMEOUT_MSEC 1200

static void health_text(FILE *stream, const json_t *model)
{
	char uptime[32];

	if (flag_of(model, "is_healthy"))
		fprintf(stream, "%s is up (process %lld, for %s)\n", text_of(model, "service"),
		        (long long)number_of(model, "process_id"),
		        duration_text(number_of(model, "uptime_sec"), uptime));
	else
		fprintf(stream, "%s\n", text_of(model, "cause"));
}

int command_health(const struct cli *cli, const struct words *words)
{
	static const Vpnsip__GetServiceStatus order = VPNSIP__GET_SERVICE_STATUS__INIT;
	struct ordered ordered = {.order = &order.base};
	const Vpnsip__ServiceStatus *status;
	char text[512] = "";
	json_t *model;

	if (!command_service(words_get(words, "SERVICE"), &ordered.to))
		return CLI_FAILED;
	if (!gather_order(&cli->bus, &ordered, 1, HEALTH_TIMEOUT_MSEC, text, sizeof(text))) {
		command_complain("%s", text);
		return CLI_FAILED;
	}
	status = ordered.reply ? ordered.reply->service_status : NULL;
	if (!status)
		gather_explain_order(&cli->bus, &ordered, HEALTH_TIMEOUT_MSEC, text, sizeof(text));
	model = json_pack("{s:s, s:b, s:o, s:I, s:I}", "service", bus_service_name(ordered.to),
	                  "is_healthy", status != NULL, "cause", model_text(text), "process_id",
	                  (json_int_t)(status ? status->process_id : 0), "uptime_sec",
	                  (json_int_t)(status ? status->uptime_sec : 0));
	command_print(cli, model, health_text);
	json_decref(model);
	gather_forget(&ordered, 1);
	return status ? CLI_DONE : CLI_FAILED;
}
