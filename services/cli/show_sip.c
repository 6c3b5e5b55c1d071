/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show vpn-sip registration-status, show vpn-sip sip registrar */
#include <string.h>

#include "services/cli/show.h"

static json_t *numbers_model(const Vpnsip__RegistrationChanged *registration)
{
	json_t *numbers = json_array();

	for (size_t i = 0; i < registration->n_associated_numbers; i++)
		json_array_append_new(numbers, model_text(registration->associated_numbers[i]));
	return numbers;
}

static json_t *registration_model(const Vpnsip__RegistrationChanged *registration, uint64_t now)
{
	uint64_t until = registration->expires_at_mono_usec;

	return json_pack(
		"{s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:I, s:i, s:o, s:b, s:o, s:o}", "local_number",
		model_text(registration->local_number), "status",
		model_enum(&vpnsip__registration_status__descriptor, (int)registration->status, ""),
		"is_registered", registration->status == VPNSIP__REGISTRATION_STATUS__REGISTERED,
		"contact", model_bytes_address(registration->contact_address), "destination",
		model_text(registration->registrar), "transport",
		model_text(registration->transport), "call_id", model_text(registration->call_id),
		"expires_sec", (json_int_t)(until > now ? (until - now) / 1000000 : 0),
		"sip_status", (int)registration->sip_status, "cause",
		model_text(registration->cause), "is_secondary", registration->is_secondary,
		"associated_numbers", numbers_model(registration), "alarm",
		model_text(registration->alarm));
}

json_t *show_registration_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__SIP_AGENT].snapshot;
	json_t *registrations = json_array();

	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_SIP_SNAPSHOT)
		for (size_t i = 0; i < reply->sip_snapshot->n_registrations; i++)
			json_array_append_new(
				registrations,
				registration_model(reply->sip_snapshot->registrations[i],
			                           input->gathered->now_mono_usec));
	return json_pack("{s:o}", "registrations", registrations);
}

void show_registration_text(FILE *stream, const json_t *model)
{
	const json_t *line;
	size_t index;

	json_array_foreach (json_object_get(model, "registrations"), index, line) {
		bool is_registered = flag_of(line, "is_registered");

		fprintf(stream, "SIP registration of local number %s : %s%s\n",
		        text_of(line, "local_number"),
		        is_registered ? "registered " : "not registered",
		        is_registered ? text_of(line, "contact") : "");
		if (!is_registered && *text_of(line, "cause"))
			fprintf(stream, "  Cause: %s\n", text_of(line, "cause"));
	}
}

/* What is out of the ordinary about a registration, below its row. */
static void print_remarks(FILE *stream, const json_t *line)
{
	const json_t *number;
	size_t index;

	if (flag_of(line, "is_secondary"))
		fprintf(stream, "  The first registrar does not answer.\n");
	json_array_foreach (json_object_get(line, "associated_numbers"), index, number)
		fprintf(stream, "%s%s",
		        index ? ", " : "  Associated numbers: ", json_string_value(number));
	if (json_array_size(json_object_get(line, "associated_numbers")))
		fputc('\n', stream);
	if (*text_of(line, "alarm"))
		fprintf(stream, "  Alarm: %s\n", text_of(line, "alarm"));
}

json_t *show_registrar_model(const struct show_input *input)
{
	return show_registration_model(input);
}

void show_registrar_text(FILE *stream, const json_t *model)
{
	static const char ruler[] = "===================================================="
				    "================================================";
	const json_t *line;
	size_t index;

	fprintf(stream, "%-12s%-22s%-14s%-17s%-11s%s\n%s\n", "Line", "destination", "expires(sec)",
	        "contact", "transport", "call-id", ruler);
	json_array_foreach (json_object_get(model, "registrations"), index, line) {
		if (flag_of(line, "is_registered"))
			fprintf(stream, "%-11s %-21s %-13lld %-16s %-10s %s\n",
			        text_of(line, "local_number"), text_of(line, "destination"),
			        (long long)number_of(line, "expires_sec"), text_of(line, "contact"),
			        text_of(line, "transport"), text_of(line, "call_id"));
		print_remarks(stream, line);
	}
}
