/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto call admission statistics, show crypto ikev2 proposal: what ike-agent lets in, and by which algorithms. */
#include <string.h>

#include "services/cli/show_crypto.h"
#include "services/cli/show_guard.h"

static const Vpnsip__IkeSnapshot *ike_agent(const struct show_input *input)
{
	const Vpnsip__Envelope *reply =
		input->gathered->services[VPNSIP__SERVICE__IKE_AGENT].snapshot;

	return reply && reply->body_case == VPNSIP__ENVELOPE__BODY_IKE_SNAPSHOT
	               ? reply->ike_snapshot
	               : NULL;
}

json_t *show_crypto_admission_model(const struct show_input *input)
{
	static const Vpnsip__IkeAdmission none = VPNSIP__IKE_ADMISSION__INIT;
	const Vpnsip__IkeSnapshot *snapshot = ike_agent(input);
	const Vpnsip__IkeAdmission *admission = snapshot && snapshot->admission
	                                                ? snapshot->admission
	                                                : &none;
	const struct {
		const char *key;
		uint64_t value;
	} counters[] = {
		{"ike_sas", admission->ike_sas},
		{"established", admission->established},
		{"half_open", admission->half_open},
		{"child_sas", admission->child_sas},
		{"maximum_half_open", admission->maximum_half_open},
		{"cookie_threshold", admission->cookie_threshold},
		{"incoming_accepted", admission->incoming_accepted},
		{"incoming_rejected", admission->incoming_rejected},
		{"outgoing_accepted", admission->outgoing_accepted},
		{"outgoing_rejected", admission->outgoing_rejected},
		{"rejected_by_half_open", admission->rejected_by_half_open},
		{"rejected_by_session", admission->rejected_by_session},
		{"rejected_by_proposal", admission->rejected_by_proposal},
		{"cookies_demanded", admission->cookies_demanded},
		{"cookies_proven", admission->cookies_proven},
		{"packets_dropped", admission->packets_dropped},
		{"messages_repeated", admission->messages_repeated},
		{"messages_of_no_sa", admission->messages_of_no_sa},
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		json_object_set_new(object, counters[i].key,
		                    json_integer((json_int_t)counters[i].value));
	json_object_set_new(object, "classes",
	                    guard_classes_model(admission->classes, admission->n_classes));
	return object;
}

/* "System Resource Limit:        0 Max IKE SAs:     0" and the like: a label, a number, and two more of each. */
static void print_line(FILE *stream, const char *label, long long total, const char *first,
                       long long first_count, const char *second, long long second_count)
{
	fprintf(stream, "%-22s%9lld %-10s%9lld %-13s%6lld\n", label, total, first, first_count,
	        second, second_count);
}

void show_crypto_admission_text(FILE *stream, const json_t *model)
{
	static const char rule[] =
		"---------------------------------------------------------------------";
	long long accepted_in = (long long)number_of(model, "incoming_accepted");
	long long rejected_in = (long long)number_of(model, "incoming_rejected");
	long long accepted_out = (long long)number_of(model, "outgoing_accepted");
	long long rejected_out = (long long)number_of(model, "outgoing_rejected");

	fprintf(stream, "%s\n               Crypto Call Admission Control Statistics\n%s\n", rule,
	        rule);
	/* There is no limit but that on those at the door; each IKE_SA belongs to a call, and those have theirs. */
	print_line(stream, "System Resource Limit:", 0, "Max IKE SAs:", 0,
	           "Half-open:", (long long)number_of(model, "maximum_half_open"));
	print_line(stream, "Total IKE SA Count:", (long long)number_of(model, "ike_sas"),
	           "active:", (long long)number_of(model, "established"),
	           "negotiating:", (long long)number_of(model, "half_open"));
	print_line(stream, "Incoming IKE Requests:", accepted_in + rejected_in,
	           "accepted:", accepted_in, "rejected:", rejected_in);
	print_line(stream, "Outgoing IKE Requests:", accepted_out + rejected_out,
	           "accepted:", accepted_out, "rejected:", rejected_out);
	print_line(stream, "Rejected IKE Requests:", rejected_in + rejected_out,
	           "no call:", (long long)number_of(model, "rejected_by_session"),
	           "SA limit:", (long long)number_of(model, "rejected_by_half_open"));
	print_line(stream,
	           "Rejected proposals:", (long long)number_of(model, "rejected_by_proposal"),
	           "cookies:", (long long)number_of(model, "cookies_demanded"),
	           "proven:", (long long)number_of(model, "cookies_proven"));
	print_line(stream, "IPsec SA pairs:", (long long)number_of(model, "child_sas"),
	           "cookies at:", (long long)number_of(model, "cookie_threshold"),
	           "dropped:", (long long)number_of(model, "packets_dropped"));
	print_line(stream, "Messages out of place:",
	           (long long)(number_of(model, "messages_repeated") +
	                       number_of(model, "messages_of_no_sa")),
	           "repeated:", (long long)number_of(model, "messages_repeated"),
	           "of no SA:", (long long)number_of(model, "messages_of_no_sa"));
	guard_classes_text(stream, "Turned away", json_object_get(model, "classes"));
}

static json_t *texts_model(char *const *texts, size_t count)
{
	json_t *array = json_array();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, model_text(texts[i]));
	return array;
}

static json_t *proposal_model(const Vpnsip__IkeProposalStatus *proposal)
{
	json_t *groups = json_array();

	for (size_t i = 0; i < proposal->n_groups; i++)
		json_array_append_new(groups, json_integer(proposal->groups[i]));
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "name", model_text(proposal->name),
	                 "encryptions", texts_model(proposal->encryptions, proposal->n_encryptions),
	                 "integrities", texts_model(proposal->integrities, proposal->n_integrities),
	                 "prfs", texts_model(proposal->prfs, proposal->n_prfs), "groups", groups,
	                 "profiles", texts_model(proposal->profiles, proposal->n_profiles),
	                 "is_weak", proposal->is_weak);
}

json_t *show_crypto_ikev2_proposal_model(const struct show_input *input)
{
	const Vpnsip__IkeSnapshot *snapshot = ike_agent(input);
	json_t *proposals = json_array();

	for (size_t i = 0; snapshot && i < snapshot->n_proposals; i++)
		json_array_append_new(proposals, proposal_model(snapshot->proposals[i]));
	return json_pack("{s:o}", "proposals", proposals);
}

/* As the guide's routers name them. */
static void print_group(FILE *stream, int number)
{
	static const struct {
		int number;
		const char *name;
	} groups[] = {
		{1, "DH_GROUP_768_MODP"},    {2, "DH_GROUP_1024_MODP"},
		{5, "DH_GROUP_1536_MODP"},   {14, "DH_GROUP_2048_MODP"},
		{15, "DH_GROUP_3072_MODP"},  {16, "DH_GROUP_4096_MODP"},
		{19, "DH_GROUP_256_ECP"},    {20, "DH_GROUP_384_ECP"},
		{21, "DH_GROUP_521_ECP"},    {24, "DH_GROUP_2048_256_MODP"},
		{31, "DH_GROUP_CURVE25519"},
	};

	const char *name = NULL;

	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (groups[i].number == number)
			name = groups[i].name;
	fprintf(stream, " %s%sGroup %d", name ? name : "", name ? "/" : "", number);
}

static void print_texts(FILE *stream, const char *label, const json_t *texts)
{
	const json_t *text;
	size_t index;

	fprintf(stream, "     %-10s :", label);
	json_array_foreach (texts, index, text)
		fprintf(stream, " %s", json_string_value(text));
	fputs(json_array_size(texts) ? "\n" : " none\n", stream);
}

void show_crypto_ikev2_proposal_text(FILE *stream, const json_t *model)
{
	const json_t *proposal, *group;
	size_t index, at;

	json_array_foreach (json_object_get(model, "proposals"), index, proposal) {
		fprintf(stream, " IKEv2 proposal: %s%s\n", text_of(proposal, "name"),
		        flag_of(proposal, "is_weak") ? " (weak)" : "");
		print_texts(stream, "Encryption", json_object_get(proposal, "encryptions"));
		print_texts(stream, "Integrity", json_object_get(proposal, "integrities"));
		print_texts(stream, "PRF", json_object_get(proposal, "prfs"));
		fprintf(stream, "     %-10s :", "DH Group");
		json_array_foreach (json_object_get(proposal, "groups"), at, group)
			print_group(stream, (int)json_integer_value(group));
		fputc('\n', stream);
		print_texts(stream, "Profiles", json_object_get(proposal, "profiles"));
	}
}
