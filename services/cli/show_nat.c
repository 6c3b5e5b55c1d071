/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show ip nat translations: global is the address the carrier's network sees, local is ours. */
#include "services/cli/show.h"

static json_t *translation_model(const Vpnsip__TranslationStatus *translation)
{
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:b, s:I, s:i, s:o}", "protocol", "udp",
	                 "interface", model_text(translation->tunnel), "inside_global",
	                 model_address(translation->wan), "inside_local",
	                 model_address(translation->inside), "outside",
	                 model_address(translation->remote), "is_installed",
	                 translation->is_installed, "attempt", (json_int_t)translation->attempt,
	                 "mark", (int)translation->if_id, "peer_source",
	                 model_enum(&vpnsip__peer_source__descriptor, (int)translation->peer_source,
	                            "SOURCE_"));
}

json_t *show_nat_model(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__NAT_QOS_AGENT].snapshot;
	json_t *translations = json_array();
	const Vpnsip__NatQosSnapshot *snapshot;

	if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_NAT_QOS_SNAPSHOT) {
		snapshot = reply->nat_qos_snapshot;
		for (size_t i = 0; i < snapshot->n_translations; i++)
			if (snapshot->translations[i]->is_installed)
				json_array_append_new(translations,
				                      translation_model(snapshot->translations[i]));
	}
	return json_pack("{s:o}", "translations", translations);
}

void show_nat_text(FILE *stream, const json_t *model)
{
	const json_t *translation;
	char global[64], local[64], outside[64];
	size_t index;

	fprintf(stream, "%-4s%-23s%-23s%-23s%s\n", "Pro", "Inside global", "Inside local",
	        "Outside local", "Outside global");
	json_array_foreach (json_object_get(model, "translations"), index, translation) {
		address_of(translation, "outside", outside);
		fprintf(stream, "%-4s%-22s %-22s %-22s %s\n", text_of(translation, "protocol"),
		        address_of(translation, "inside_global", global),
		        address_of(translation, "inside_local", local), outside, outside);
	}
}
