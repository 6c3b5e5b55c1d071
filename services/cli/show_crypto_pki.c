/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto pki certificates [TRUSTPOINT] [verbose]: what the trustpoints' files hold, as the routers of the manual show it. */
#include <string.h>

#include "services/cli/pki.h"

/* The entry of a certificate that is there already: one that several trustpoints have is shown once. */
static json_t *find_shown(json_t *certificates, const json_t *certificate)
{
	json_t *shown;
	size_t index;

	json_array_foreach (certificates, index, shown)
		if (!strcmp(text_of(shown, "sha256"), text_of(certificate, "sha256")))
			return shown;
	return NULL;
}

static void add_certificate(json_t *certificates, const struct pki_store *store, X509 *certificate,
                            bool is_own)
{
	json_t *model = pki_certificate_model(certificate),
	       *shown = find_shown(certificates, model);
	unsigned percent = store->trustpoint->renewal_percent;
	ASN1_TIME *due;
	char text[32];

	if (!shown) {
		json_object_set_new(model, "is_own", json_boolean(is_own));
		json_object_set_new(model, "trustpoints", json_array());
		json_object_set_new(model, "key_label",
		                    json_string(is_own && store->key_file ? store->key_file : ""));
		if (is_own && store->trustpoint->enrollment != ENROLLMENT_NONE &&
		    (due = ASN1_TIME_set(NULL, pki_renewal_time(certificate, percent)))) {
			json_object_set_new(model, "renewal",
			                    json_string(pki_time_text(due, text)));
			ASN1_TIME_free(due);
		}
		json_array_append(certificates, model);
		shown = model;
	}
	json_array_append_new(json_object_get(shown, "trustpoints"), model_text(store->name));
	json_decref(model);
}

static void add_store(json_t *certificates, json_t *lists, const struct pki_store *store)
{
	STACK_OF(X509) *chain = pki_read_certificates(store->certificate_file);
	STACK_OF(X509) *believed = pki_read_certificates(store->ca_file);
	json_t *own_lists = pki_lists_model(store), *list;
	size_t index;

	for (int i = 0; chain && i < sk_X509_num(chain); i++)
		add_certificate(certificates, store, sk_X509_value(chain, i), i == 0);
	for (int i = 0; believed && i < sk_X509_num(believed); i++)
		add_certificate(certificates, store, sk_X509_value(believed, i), false);
	json_array_foreach (own_lists, index, list) {
		json_object_set_new(list, "trustpoint", model_text(store->name));
		json_array_append(lists, list);
	}
	json_decref(own_lists);
	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(believed, X509_free);
}

static void print_parts(FILE *stream, const char *title, const json_t *parts)
{
	const json_t *part;
	size_t index;

	fprintf(stream, "  %s:\n", title);
	json_array_foreach (parts, index, part)
		fprintf(stream, "    %s\n", json_string_value(part));
}

static const char *status_of(const json_t *certificate)
{
	const char *validity = text_of(certificate, "validity");

	return strcmp(validity, "valid") == 0     ? "Available"
	       : strcmp(validity, "expired") == 0 ? "Expired"
	                                          : "Not yet valid";
}

static void print_extensions(FILE *stream, const json_t *certificate)
{
	const json_t *text;
	size_t index;

	fprintf(stream, "  X509v3 extensions:\n    X509v3 Key Usage:\n");
	json_array_foreach (json_object_get(certificate, "usages"), index, text)
		fprintf(stream, "      %s\n", json_string_value(text));
	fprintf(stream, "    X509v3 Basic Constraints:\n        CA: %s\n",
	        flag_of(certificate, "is_authority") ? "TRUE" : "FALSE");
	if (json_array_size(json_object_get(certificate, "names")))
		fprintf(stream, "    X509v3 Subject Alternative Name:\n");
	json_array_foreach (json_object_get(certificate, "names"), index, text)
		fprintf(stream, "        %s\n", json_string_value(text));
	if (*text_of(certificate, "subject_key_id"))
		fprintf(stream, "    X509v3 Subject Key ID: %s\n",
		        text_of(certificate, "subject_key_id"));
	if (*text_of(certificate, "authority_key_id"))
		fprintf(stream, "    X509v3 Authority Key ID: %s\n",
		        text_of(certificate, "authority_key_id"));
}

static void print_verbose(FILE *stream, const json_t *certificate)
{
	fprintf(stream, "  Subject Key Info:\n    Public Key: %s bit\n",
	        text_of(certificate, "key"));
	fprintf(stream, "  Signature Algorithm: %s\n", text_of(certificate, "signature_algorithm"));
	fprintf(stream, "  Fingerprint SHA256: %s\n", text_of(certificate, "sha256"));
	fprintf(stream, "  Fingerprint SHA384: %s\n", text_of(certificate, "sha384"));
	fprintf(stream, "  Fingerprint SHA512: %s\n", text_of(certificate, "sha512"));
	fprintf(stream, "  Fingerprint SHA1: %s\n", text_of(certificate, "sha1"));
	print_extensions(stream, certificate);
}

static void print_certificate(FILE *stream, const json_t *certificate, bool is_verbose)
{
	const json_t *text;
	size_t index;

	fprintf(stream, "%s\n  Status: %s\n",
	        flag_of(certificate, "is_own") ? "Certificate" : "CA Certificate",
	        status_of(certificate));
	if (is_verbose)
		fprintf(stream, "  Version: %lld\n", (long long)number_of(certificate, "version"));
	fprintf(stream, "  Certificate Serial Number (hex): %s\n", text_of(certificate, "serial"));
	fprintf(stream, "  Certificate Usage: %s\n",
	        flag_of(certificate, "is_authority") ? "Signature" : "General Purpose");
	print_parts(stream, "Issuer", json_object_get(certificate, "issuer_parts"));
	print_parts(stream, "Subject", json_object_get(certificate, "subject_parts"));
	if (json_array_size(json_object_get(certificate, "crl_addresses")))
		fprintf(stream, "  CRL Distribution Points:\n");
	json_array_foreach (json_object_get(certificate, "crl_addresses"), index, text)
		fprintf(stream, "    %s\n", json_string_value(text));
	fprintf(stream, "  Validity Date:\n    start date: %s\n    end   date: %s\n",
	        text_of(certificate, "not_before"), text_of(certificate, "not_after"));
	if (*text_of(certificate, "renewal"))
		fprintf(stream, "    renew date: %s\n", text_of(certificate, "renewal"));
	if (is_verbose)
		print_verbose(stream, certificate);
	fprintf(stream, "  Associated Trustpoints:");
	json_array_foreach (json_object_get(certificate, "trustpoints"), index, text)
		fprintf(stream, " %s", json_string_value(text));
	fputc('\n', stream);
	if (is_verbose && *text_of(certificate, "key_label"))
		fprintf(stream, "  Key Label: %s\n", text_of(certificate, "key_label"));
	fputc('\n', stream);
}

static void print_certificates(FILE *stream, const json_t *model)
{
	bool is_verbose = flag_of(model, "is_verbose");
	const json_t *entry;
	size_t index;

	json_array_foreach (json_object_get(model, "certificates"), index, entry)
		print_certificate(stream, entry, is_verbose);
	if (!is_verbose)
		return;
	json_array_foreach (json_object_get(model, "crls"), index, entry)
		fprintf(stream,
		        "CRL\n  Status: %s\n  Issuer: %s\n  Update: last %s, next %s\n"
		        "  Revoked certificates: %lld\n  Associated Trustpoints: %s\n\n",
		        flag_of(entry, "is_expired") ? "Expired" : "Available",
		        text_of(entry, "issuer"), text_of(entry, "last_update"),
		        text_of(entry, "next_update"), (long long)number_of(entry, "revoked"),
		        text_of(entry, "trustpoint"));
}

int command_show_crypto_pki(const struct cli *cli, const struct words *words)
{
	const char *name = words_get(words, "TRUSTPOINT");
	struct config *config = pki_config(cli);
	json_t *certificates = json_array(), *lists = json_array(), *model;
	struct pki_store store;
	bool is_found = !name;

	for (size_t i = 0; config && i < config->trustpoint_count; i++) {
		const struct config_trustpoint *trustpoint = &config->trustpoints[i];

		if (name && strcmp(trustpoint->name, name) != 0)
			continue;
		is_found = true;
		if (pki_store_at(config, pki_purpose_of(config, trustpoint), i, &store))
			add_store(certificates, lists, &store);
	}
	model = json_pack("{s:b, s:o, s:o}", "is_verbose", words_has(words, "verbose"),
	                  "certificates", certificates, "crls", lists);
	if (config && is_found)
		command_print(cli, model, print_certificates);
	else if (config)
		command_complain("%s has no trustpoint \"%s\"", config->file, name);
	json_decref(model);
	is_found = is_found && config;
	config_free(config);
	return is_found ? CLI_DONE : CLI_FAILED;
}
