/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pki show: what the files of a trustpoint hold, and whether it fits together. */
#include <ctype.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/pki.h"
#include "services/cli/pki_revocation.h"

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

static json_t *octets_model(const ASN1_OCTET_STRING *octets)
{
	char text[3 * 64] = "";

	for (int i = 0; octets && i < ASN1_STRING_length(octets) && i < 64; i++)
		snprintf(text + 2 * i, 3, "%02X", ASN1_STRING_get0_data(octets)[i]);
	return json_string(text);
}

static json_t *serial_model(const X509 *certificate)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), NULL);
	char *text = number ? BN_bn2hex(number) : NULL;
	json_t *model = json_string(text ? text : "");

	OPENSSL_free(text);
	BN_free(number);
	return model;
}

/* "cn=branch1", "o=Bank": the parts of a name, the most specific first. */
static json_t *parts_model(const X509_NAME *name)
{
	json_t *parts = json_array();

	for (int i = X509_NAME_entry_count(name); i-- > 0;) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
		unsigned char *value = NULL;
		char part[320] = "";

		OBJ_obj2txt(part, 64, X509_NAME_ENTRY_get_object(entry), 0);
		if (OBJ_txt2nid(part) != NID_undef)
			snprintf(part, sizeof(part), "%s", OBJ_nid2sn(OBJ_txt2nid(part)));
		for (char *at = part; *at; at++)
			*at = (char)tolower((unsigned char)*at);
		if (ASN1_STRING_to_UTF8(&value, X509_NAME_ENTRY_get_data(entry)) >= 0)
			snprintf(part + strlen(part), sizeof(part) - strlen(part), "=%s", value);
		OPENSSL_free(value);
		json_array_append_new(parts, model_text(part));
	}
	return parts;
}

static json_t *usages_model(X509 *certificate)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} usages[] = {
		{KU_DIGITAL_SIGNATURE, "Digital Signature"},
		{KU_NON_REPUDIATION, "Non Repudiation"},
		{KU_KEY_ENCIPHERMENT, "Key Encipherment"},
		{KU_DATA_ENCIPHERMENT, "Data Encipherment"},
		{KU_KEY_AGREEMENT, "Key Agreement"},
		{KU_KEY_CERT_SIGN, "Key Cert Sign"},
		{KU_CRL_SIGN, "CRL Signature"},
	};
	uint32_t used = X509_get_key_usage(certificate);
	json_t *models = json_array();

	for (size_t i = 0; used != UINT32_MAX && i < sizeof(usages) / sizeof(usages[0]); i++)
		if (used & usages[i].flag)
			json_array_append_new(models, json_string(usages[i].name));
	return models;
}

static json_t *addresses_model(const X509 *certificate)
{
	char *addresses[8];
	size_t count = pki_list_addresses(certificate, addresses, 8);
	json_t *models = json_array();

	for (size_t i = 0; i < count; i++) {
		json_array_append_new(models, model_text(addresses[i]));
		OPENSSL_free(addresses[i]);
	}
	return models;
}

static void add_details(json_t *model, X509 *certificate)
{
	char key[32], fingerprint[PKI_FINGERPRINT_SIZE];

	json_object_set_new(model, "serial", serial_model(certificate));
	json_object_set_new(model, "version", json_integer(X509_get_version(certificate) + 1));
	json_object_set_new(model, "subject_parts",
	                    parts_model(X509_get_subject_name(certificate)));
	json_object_set_new(model, "issuer_parts", parts_model(X509_get_issuer_name(certificate)));
	json_object_set_new(model, "key",
	                    json_string(pki_key_name(X509_get0_pubkey(certificate), key)));
	json_object_set_new(model, "signature_algorithm",
	                    json_string(OBJ_nid2ln(X509_get_signature_nid(certificate))));
	json_object_set_new(model, "sha384",
	                    json_string(pki_fingerprint(certificate, EVP_sha384(), fingerprint)));
	json_object_set_new(model, "sha512",
	                    json_string(pki_fingerprint(certificate, EVP_sha512(), fingerprint)));
	json_object_set_new(model, "usages", usages_model(certificate));
	json_object_set_new(model, "is_authority", json_boolean(X509_check_ca(certificate) != 0));
	json_object_set_new(model, "crl_addresses", addresses_model(certificate));
	json_object_set_new(model, "subject_key_id",
	                    octets_model(X509_get0_subject_key_id(certificate)));
	json_object_set_new(model, "authority_key_id",
	                    octets_model(X509_get0_authority_key_id(certificate)));
}

json_t *pki_certificate_model(X509 *certificate)
{
	char sha256[PKI_FINGERPRINT_SIZE], sha1[PKI_FINGERPRINT_SIZE], from[32], until[32];
	json_t *model = json_pack(
		"{s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o}", "subject",
		name_model(X509_get_subject_name(certificate)), "issuer",
		name_model(X509_get_issuer_name(certificate)), "not_before",
		pki_time_text(X509_get0_notBefore(certificate), from), "not_after",
		pki_time_text(X509_get0_notAfter(certificate), until), "validity",
		validity_of(certificate), "sha256",
		pki_fingerprint(certificate, EVP_sha256(), sha256), "sha1",
		pki_fingerprint(certificate, EVP_sha1(), sha1), "names", names_model(certificate));

	add_details(model, certificate);
	return model;
}

static json_t *certificates_model(const STACK_OF(X509) * certificates)
{
	json_t *models = json_array();

	for (int i = 0; certificates && i < sk_X509_num(certificates); i++)
		json_array_append_new(models,
		                      pki_certificate_model(sk_X509_value(certificates, i)));
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

json_t *pki_lists_model(const struct pki_store *store)
{
	size_t size;
	char *content = store->crl_file ? pki_read(store->crl_file, &size) : NULL;
	STACK_OF(X509_CRL) *lists = content ? pki_parse_lists(content, size) : NULL;
	json_t *models = json_array();
	char since[32], until[32];

	for (int i = 0; lists && i < sk_X509_CRL_num(lists); i++) {
		X509_CRL *list = sk_X509_CRL_value(lists, i);
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(list);
		STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(list);

		json_array_append_new(
			models, json_pack("{s:o, s:s, s:s, s:i, s:b}", "issuer",
		                          name_model(X509_CRL_get_issuer(list)), "last_update",
		                          pki_time_text(X509_CRL_get0_lastUpdate(list), since),
		                          "next_update", next ? pki_time_text(next, until) : "",
		                          "revoked", revoked ? sk_X509_REVOKED_num(revoked) : 0,
		                          "is_expired", next && X509_cmp_current_time(next) < 0));
	}
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	free(content);
	return models;
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
		"crl_file", store->crl_file ? store->crl_file : "", "crls", pki_lists_model(store));

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
