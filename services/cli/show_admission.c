/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show call admission: what may be called, how often and how long, and what was refused. */
#include "services/cli/show_admission.h"

#include "services/cli/commands.h"

static json_t *limit_model(const Vpnsip__AdmissionLimit *limit)
{
	return json_pack("{s:o, s:o, s:i, s:i, s:I, s:o, s:o, s:I}", "name",
	                 model_text(limit->name), "scope", model_text(limit->scope), "limit",
	                 (int)limit->limit, "used", (int)limit->used, "refused",
	                 (json_int_t)limit->refused, "last_cause", model_text(limit->last_cause),
	                 "last_refused_at", model_moment(limit->last_refused_at_usec),
	                 "last_refused_at_usec", (json_int_t)limit->last_refused_at_usec);
}

static json_t *hold_model(const Vpnsip__AdmissionHold *hold, uint64_t now_usec)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:i, s:o}", "tunnel", model_text(hold->tunnel),
	                 "remote_number", model_text(hold->remote_number), "remaining_sec",
	                 model_seconds(now_usec, hold->until_mono_usec), "pause_sec",
	                 (json_int_t)(hold->pause_msec / 1000), "failures", (int)hold->failures,
	                 "cause", model_text(hold->cause));
}

json_t *admission_model(const Vpnsip__CallAdmission *admission, uint64_t now_usec)
{
	json_t *limits = json_array(), *holds = json_array();

	for (size_t i = 0; i < admission->n_limits; i++)
		json_array_append_new(limits, limit_model(admission->limits[i]));
	for (size_t i = 0; i < admission->n_holds; i++)
		json_array_append_new(holds, hold_model(admission->holds[i], now_usec));
	return json_pack("{s:o, s:o}", "limits", limits, "holds", holds);
}

void show_admission_text(FILE *stream, const json_t *model)
{
	const json_t *entry;
	char standing[48];
	size_t index;

	fprintf(stream, "%-17s%-14s%-14s%-9s%s\n", "Limit", "Of", "Used/Limit", "Refused",
	        "Last refused");
	json_array_foreach (json_object_get(model, "limits"), index, entry) {
		bool was_refused = number_of(entry, "refused") != 0;

		snprintf(standing, sizeof(standing), "%lld/%lld",
		         (long long)number_of(entry, "used"), (long long)number_of(entry, "limit"));
		fprintf(stream, "%-16s %-13s %-13s %-8lld %s%s%s\n", text_of(entry, "name"),
		        *text_of(entry, "scope") ? text_of(entry, "scope") : "all", standing,
		        (long long)number_of(entry, "refused"), text_of(entry, "last_refused_at"),
		        was_refused ? "  " : "--", text_of(entry, "last_cause"));
	}
	json_array_foreach (json_object_get(model, "holds"), index, entry)
		fprintf(stream,
		        "Hold-down of %s (%s): %lld of %lld s remaining, failures %lld: %s\n",
		        text_of(entry, "tunnel"), text_of(entry, "remote_number"),
		        (long long)number_of(entry, "remaining_sec"),
		        (long long)number_of(entry, "pause_sec"),
		        (long long)number_of(entry, "failures"), text_of(entry, "cause"));
}

int command_show_admission(const struct cli *cli, const struct words *words)
{
	const Vpnsip__GetCallAdmission query = VPNSIP__GET_CALL_ADMISSION__INIT;
	struct ordered ordered = {.to = VPNSIP__SERVICE__COORDINATOR, .order = &query.base};
	uint64_t now_usec = bus_system_environment.mono_usec(bus_system_environment.context);
	int status = CLI_DONE;
	json_t *model;
	char why[512];

	(void)words;
	if (!gather_order(&cli->bus, &ordered, 1, GATHER_TIMEOUT_MSEC, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	if (ordered.outcome == BUS_DONE && ordered.reply &&
	    ordered.reply->body_case == VPNSIP__ENVELOPE__BODY_CALL_ADMISSION) {
		model = admission_model(ordered.reply->call_admission, now_usec);
		command_print(cli, model, show_admission_text);
		json_decref(model);
	} else {
		gather_explain_order(&cli->bus, &ordered, GATHER_TIMEOUT_MSEC, why, sizeof(why));
		command_complain("%s", why);
		status = ordered.outcome == BUS_FAILED ? CLI_FAILED : CLI_PARTIAL;
	}
	gather_forget(&ordered, 1);
	return status;
}
