/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki show: what the files of a trustpoint hold, and whether it fits together. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/pki.h"

static json_t *name_model(const X509_NAME *name)
{
	char *text = pki_name_text(name);
	json_t *model = model_text(text);

	OPENSSL_free(text);
	return model;
}

static json_t *names_model(const X509 *certificate)
{
	json_t *models = json_array();
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	BIO *bio = BIO_new(BIO_s_mem());

	for (int i = 0; bio && names && i < sk_GENERAL_NAME_num(names); i++) {
		char text[300] = "";

		GENERAL_NAME_print(bio, sk_GENERAL_NAME_value(names, i));
		text[BIO_read(bio, text, sizeof(text) - 1)] = '\0';
		json_array_append_new(models, model_text(text));
	}
	GENERAL_NAMES_free(names);
	BIO_free(bio);
	return models;
}

static const char *validity_of(const X509 *certificate)
{
	if (X509_cmp_current_time(X509_get0_notBefore(certificate)) > 0)
		return "not yet valid";
	return X509_cmp_current_time(X509_get0_notAfter(certificate)) <= 0 ? "expired" : "valid";
}

static json_t *certificate_model(const X509 *certificate)
{
	char sha256[PKI_FINGERPRINT_SIZE], sha1[PKI_FINGERPRINT_SIZE], from[32], until[32];

	return json_pack("{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o}", "subject",
	                 name_model(X509_get_subject_name(certificate)), "issuer",
	                 name_model(X509_get_issuer_name(certificate)), "not_before",
	                 pki_time_text(X509_get0_notBefore(certificate), from), "not_after",
	                 pki_time_text(X509_get0_notAfter(certificate), until), "validity",
	                 validity_of(certificate), "sha256",
	                 pki_fingerprint(certificate, EVP_sha256(), sha256), "sha1",
	                 pki_fingerprint(certificate, EVP_sha1(), sha1), "names",
	                 names_model(certificate));
}

static json_t *certificates_model(const STACK_OF(X509) * certificates)
{
	json_t *models = json_array();

	for (int i = 0; certificates && i < sk_X509_num(certificates); i++)
		json_array_append_new(models, certificate_model(sk_X509_value(certificates, i)));
	return models;
}

static json_t *key_model(const struct pki_store *store, X509 *certificate)
{
	EVP_PKEY *key = store->key_file ? pki_read_key(store->key_file) : NULL;
	const char *why = key ? "" : store->key_file ? strerror(errno) : "none is configured";
	bool does_match = key && certificate && X509_check_private_key(certificate, key) == 1;
	char name[32] = "";
	json_t *model;

	if (key)
		pki_key_name(key, name);
	model = json_pack("{s:s, s:s, s:b, s:s}", "file", store->key_file ? store->key_file : "",
	                  "type", name, "matches", does_match, "cause", why);
	ERR_clear_error();
	EVP_PKEY_free(key);
	return model;
}

static json_t *crl_model(const struct pki_store *store)
{
	size_t size;
	char *content = store->crl_file ? pki_read(store->crl_file, &size) : NULL;
	BIO *bio = content ? BIO_new_mem_buf(content, (int)size) : NULL;
	json_t *lists = json_array();
	X509_CRL *list;
	char until[32];

	while (bio && (list = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL))) {
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);

		json_array_append_new(lists, json_pack("{s:o, s:s}", "issuer",
		                                       name_model(X509_CRL_get_issuer(list)),
		                                       "next_update",
		                                       next ? pki_time_text(next, until) : ""));
		X509_CRL_free(list);
	}
	ERR_clear_error();
	BIO_free(bio);
	free(content);
	return lists;
}

static json_t *store_model(const struct pki_store *store)
{
	STACK_OF(X509) *chain = pki_read_certificates(store->certificate_file);
	STACK_OF(X509) *believed = pki_read_certificates(store->ca_file);
	json_t *model = json_pack(
		"{s:s, s:s, s:o, s:o, s:s, s:o, s:s, s:o}", "name", store->name, "certificate_file",
		store->certificate_file ? store->certificate_file : "", "chain",
		certificates_model(chain), "key",
		key_model(store, chain ? sk_X509_value(chain, 0) : NULL), "ca_file",
		store->ca_file ? store->ca_file : "", "authorities", certificates_model(believed),
		"crl_file", store->crl_file ? store->crl_file : "", "crls", crl_model(store));

	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(believed, X509_free);
	return model;
}

static void print_certificate(FILE *stream, const json_t *certificate)
{
	const json_t *name;
	size_t index;

	fprintf(stream, "    Subject            : %s\n", text_of(certificate, "subject"));
	json_array_foreach (json_object_get(certificate, "names"), index, name)
		fprintf(stream, "    Name               : %s\n", json_string_value(name));
	fprintf(stream,
	        "    Issuer             : %s\n    Validity           : %s to %s (%s)\n"
	        "    Fingerprint SHA-256: %s\n    Fingerprint SHA-1  : %s\n",
	        text_of(certificate, "issuer"), text_of(certificate, "not_before"),
	        text_of(certificate, "not_after"), text_of(certificate, "validity"),
	        text_of(certificate, "sha256"), text_of(certificate, "sha1"));
}

static void print_key(FILE *stream, const json_t *key)
{
	fprintf(stream, "  Key         : %s%s%s\n", text_of(key, "type"), text_of(key, "cause"),
	        !*text_of(key, "type")    ? ""
	        : flag_of(key, "matches") ? ", of this certificate"
	                                  : ", NOT of this certificate");
}

static void print_store(FILE *stream, const json_t *store)
{
	const json_t *certificate, *list;
	size_t index;

	fprintf(stream, "Trustpoint %s\n", text_of(store, "name"));
	fprintf(stream, "  Certificate : %s\n",
	        json_array_size(json_object_get(store, "chain"))
	                ? text_of(store, "certificate_file")
	                : "none");
	json_array_foreach (json_object_get(store, "chain"), index, certificate) {
		if (index)
			fprintf(stream, "  Signed by\n");
		print_certificate(stream, certificate);
	}
	print_key(stream, json_object_get(store, "key"));
	fprintf(stream, "  Authorities : %zu in %s\n",
	        json_array_size(json_object_get(store, "authorities")), text_of(store, "ca_file"));
	json_array_foreach (json_object_get(store, "authorities"), index, certificate)
		print_certificate(stream, certificate);
	json_array_foreach (json_object_get(store, "crls"), index, list)
		fprintf(stream, "  Revocations : of %s, next %s\n", text_of(list, "issuer"),
		        text_of(list, "next_update"));
}

static void print_stores(FILE *stream, const json_t *model)
{
	const json_t *store;
	size_t index;

	json_array_foreach (json_object_get(model, "trustpoints"), index, store)
		print_store(stream, store);
}

int command_pki_show(const struct cli *cli, const struct words *words)
{
	const struct pki_purpose *purpose = pki_purpose(cli);
	const char *name = words_get(words, "TRUSTPOINT");
	struct config *config = purpose ? pki_config(cli) : NULL;
	json_t *stores = json_array(), *model;
	struct pki_store store;
	int status = CLI_FAILED;

	if (config && (!name || pki_find(cli, config, name, &store))) {
		for (size_t i = 0; i < config->trustpoint_count; i++)
			if (pki_store_at(config, purpose, i, &store) &&
			    (!name || !strcmp(store.name, name)))
				json_array_append_new(stores, store_model(&store));
		status = CLI_DONE;
	}
	model = json_pack("{s:o}", "trustpoints", stores);
	if (status == CLI_DONE)
		command_print(cli, model, print_stores);
	json_decref(model);
	config_free(config);
	return status;
}
