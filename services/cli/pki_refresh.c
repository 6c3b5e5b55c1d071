/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pki refresh: fetches revocation lists. One that is believed takes the place of its issuer's older one; whatever else comes,
 * the file stays as it is. Services read the file again by themselves.
 */
#include <errno.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/pki.h"
#include "services/cli/pki_http.h"
#include "services/cli/pki_revocation.h"

#define SHORTEST_INTERVAL_SEC 1800 /* between two fetches of an issuer's list, successful or not */
#define MOST_ADDRESSES        8
#define MOST_SOURCES          16

/** Where the list of one issuer is fetched. */
struct source {
	char *name;                      /* the issuer's, or the address that is configured */
	char *addresses[MOST_ADDRESSES]; /* alternatives */
	size_t address_count;
};

/** One trustpoint while its lists are fetched. */
struct refresh {
	const struct config *config;
	const struct pki_store *store;
	STACK_OF(X509) *
		authorities; /* who may sign a list: the roots, and those of our chain that are CAs */
	STACK_OF(X509_CRL) * lists; /* of the file */
	json_t *fetched;            /* when each source was asked last: {"CN=...": 1767225600} */
	struct source sources[MOST_SOURCES];
	size_t source_count;
	time_t now;
};

static void add_source(struct refresh *refresh, const X509 *certificate)
{
	struct source *source = &refresh->sources[refresh->source_count];
	char *name = pki_name_text(X509_get_issuer_name(certificate));

	for (size_t i = 0; i < refresh->source_count; i++)
		if (!strcmp(refresh->sources[i].name, name)) {
			OPENSSL_free(name);
			return;
		}
	if (refresh->source_count < MOST_SOURCES)
		source->address_count = pki_list_addresses(certificate, source->addresses,
		                                           MOST_ADDRESSES);
	else
		source = NULL;
	if (source && source->address_count) {
		source->name = name;
		refresh->source_count++;
	} else {
		OPENSSL_free(name);
	}
}

/* As configured; else where our certificates and those of the CAs say that their issuer's list is. */
static void find_sources(struct refresh *refresh, STACK_OF(X509) * chain)
{
	const char *url = refresh->store->trustpoint->crl_url;

	if (url) {
		refresh->sources[0] = (struct source){
			.name = OPENSSL_strdup(url),
			.addresses = {OPENSSL_strdup(url)},
			.address_count = 1,
		};
		refresh->source_count = 1;
		return;
	}
	for (int i = 0; chain && i < sk_X509_num(chain); i++)
		add_source(refresh, sk_X509_value(chain, i));
	for (int i = 0; i < sk_X509_num(refresh->authorities); i++)
		add_source(refresh, sk_X509_value(refresh->authorities, i));
}

static void take_authorities(struct refresh *refresh, STACK_OF(X509) * from)
{
	for (int i = 0; from && i < sk_X509_num(from); i++) {
		X509 *certificate = sk_X509_value(from, i);

		if (X509_check_ca(certificate) && X509_up_ref(certificate))
			sk_X509_push(refresh->authorities, certificate);
	}
}

static const char *memory_file(const struct pki_store *store, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s.fetched", store->crl_file);
	return path;
}

static bool open_refresh(struct refresh *refresh)
{
	const struct pki_store *store = refresh->store;
	STACK_OF(X509) *chain = pki_read_certificates(store->certificate_file);
	STACK_OF(X509) *believed = pki_read_certificates(store->ca_file);
	char path[PATH_MAX];
	size_t size;
	char *content = pki_read(store->crl_file, &size);

	refresh->authorities = sk_X509_new_null();
	refresh->lists = pki_parse_lists(content ? content : "", size);
	refresh->fetched = json_load_file(memory_file(store, path), 0, NULL);
	if (!json_is_object(refresh->fetched)) {
		json_decref(refresh->fetched);
		refresh->fetched = json_object();
	}
	if (refresh->authorities) {
		take_authorities(refresh, believed);
		take_authorities(refresh, chain);
		find_sources(refresh, chain);
	}
	free(content);
	sk_X509_pop_free(chain, X509_free);
	sk_X509_pop_free(believed, X509_free);
	return refresh->authorities && refresh->lists && refresh->fetched;
}

static void close_refresh(struct refresh *refresh)
{
	for (size_t i = 0; i < refresh->source_count; i++) {
		for (size_t j = 0; j < refresh->sources[i].address_count; j++)
			OPENSSL_free(refresh->sources[i].addresses[j]);
		OPENSSL_free(refresh->sources[i].name);
	}
	sk_X509_pop_free(refresh->authorities, X509_free);
	sk_X509_CRL_pop_free(refresh->lists, X509_CRL_free);
	json_decref(refresh->fetched);
}

static bool write_lists(const struct refresh *refresh)
{
	BIO *bio = BIO_new(BIO_s_mem());
	bool is_good = bio != NULL;

	for (int i = 0; is_good && i < sk_X509_CRL_num(refresh->lists); i++)
		is_good = PEM_write_bio_X509_CRL(bio, sk_X509_CRL_value(refresh->lists, i));
	is_good = is_good && pki_write(refresh->store, refresh->store->crl_file, false, bio);
	BIO_free(bio);
	return is_good;
}

/* Takes the place of `previous`. The list is the file's from then on. */
static bool exchange_list(struct refresh *refresh, X509_CRL *previous, X509_CRL *list)
{
	if (previous) {
		sk_X509_CRL_delete_ptr(refresh->lists, previous);
		X509_CRL_free(previous);
	}
	return X509_CRL_up_ref(list) && sk_X509_CRL_push(refresh->lists, list) &&
	       write_lists(refresh);
}

static bool judge_list(struct refresh *refresh, const char *address, X509_CRL *list)
{
	X509 *issuer = pki_list_issuer(list, refresh->authorities);
	X509_CRL *previous = pki_list_of_issuer(refresh->lists, X509_CRL_get_issuer(list));
	STACK_OF(X509_REVOKED) *revoked = X509_CRL_get_REVOKED(list);
	bool is_unchanged = previous && X509_CRL_match(previous, list) == 0;
	const char *objection = issuer ? pki_list_objection(list, issuer, previous, refresh->now)
	                               : "none of our CAs signed it";
	char *name = pki_name_text(X509_CRL_get_issuer(list)), until[32];

	if (objection)
		command_complain("trustpoint \"%s\": the list of %s at %s is not taken: %s; %s",
		                 refresh->store->name, name, address, objection,
		                 previous ? "the one that is there stays" : "there is none");
	else if (!is_unchanged && !exchange_list(refresh, previous, list))
		objection = "written";
	else
		printf("%s: %s: %s, %d revoked, next update %s\n", refresh->store->name, name,
		       is_unchanged ? "unchanged" : "a new list",
		       revoked ? sk_X509_REVOKED_num(revoked) : 0,
		       pki_time_text(X509_CRL_get0_nextUpdate(list), until));
	OPENSSL_free(name);
	return !objection;
}

static bool fetch_from(struct refresh *refresh, const char *address)
{
	const struct pki_http_request request = {.config = refresh->config, .url = address};
	struct pki_http_answer answer;
	STACK_OF(X509_CRL) *lists = NULL;
	bool is_good = pki_http(&request, &answer);

	if (!is_good)
		command_complain("trustpoint \"%s\": %s", refresh->store->name, answer.cause);
	else if (answer.status != 200)
		command_complain("trustpoint \"%s\": %s: HTTP status %ld", refresh->store->name,
		                 address, answer.status);
	else if ((lists = pki_parse_lists(answer.octets, answer.size)) &&
	         sk_X509_CRL_num(lists) == 0)
		command_complain("trustpoint \"%s\": %s: what came is no revocation list",
		                 refresh->store->name, address);
	is_good = lists && sk_X509_CRL_num(lists) > 0;
	for (int i = 0; lists && i < sk_X509_CRL_num(lists); i++)
		is_good = judge_list(refresh, address, sk_X509_CRL_value(lists, i)) && is_good;
	sk_X509_CRL_pop_free(lists, X509_CRL_free);
	pki_http_forget(&answer);
	return is_good;
}

/* Kept on disk, so that neither a timer nor an operator asks a CA more often. */
static void remember(struct refresh *refresh, const struct source *source)
{
	char path[PATH_MAX], *text;
	BIO *bio = BIO_new(BIO_s_mem());

	json_object_set_new(refresh->fetched, source->name, json_integer(refresh->now));
	text = json_dumps(refresh->fetched, JSON_INDENT(2));
	if (bio && text && BIO_puts(bio, text) > 0)
		pki_write(refresh->store, memory_file(refresh->store, path), false, bio);
	free(text);
	BIO_free(bio);
}

static bool refresh_source(const struct cli *cli, struct refresh *refresh,
                           const struct source *source)
{
	time_t last = (time_t)number_of(refresh->fetched, source->name);
	bool is_good = false;

	if (!options_get(cli, "force") && last <= refresh->now &&
	    refresh->now - last < SHORTEST_INTERVAL_SEC) {
		printf("%s: %s: asked %ld min ago, again in %ld min\n", refresh->store->name,
		       source->name, (long)(refresh->now - last) / 60,
		       (long)(SHORTEST_INTERVAL_SEC - (refresh->now - last) + 59) / 60);
		return true;
	}
	for (size_t i = 0; i < source->address_count && !is_good; i++)
		is_good = fetch_from(refresh, source->addresses[i]);
	remember(refresh, source);
	return is_good;
}

static bool refresh_store(const struct cli *cli, const struct config *config,
                          const struct pki_store *store)
{
	struct refresh refresh = {.config = config, .store = store, .now = time(NULL)};
	bool is_good = open_refresh(&refresh);

	if (!is_good)
		command_complain("out of memory");
	else if (refresh.source_count == 0)
		printf("%s: neither crl-url nor a certificate says where its lists are\n",
		       store->name);
	for (size_t i = 0; i < refresh.source_count; i++)
		is_good = refresh_source(cli, &refresh, &refresh.sources[i]) && is_good;
	close_refresh(&refresh);
	return is_good;
}

int command_pki_refresh(const struct cli *cli, const struct words *words)
{
	const char *name = words_get(words, "TRUSTPOINT");
	struct config *config = pki_config(cli);
	int status = config ? CLI_DONE : CLI_FAILED;
	bool is_found = false;
	struct pki_store store;

	for (size_t i = 0; config && i < config->trustpoint_count; i++) {
		const struct config_trustpoint *trustpoint = &config->trustpoints[i];

		if (name ? strcmp(trustpoint->name, name) != 0 : !trustpoint->crl_file)
			continue;
		is_found = true;
		if (!trustpoint->crl_file) {
			command_complain("trustpoint \"%s\" has no crl-file", name);
			status = CLI_FAILED;
		} else if (pki_store_at(config, pki_purpose_of(config, trustpoint), i, &store) &&
		           !refresh_store(cli, config, &store)) {
			status = CLI_FAILED;
		}
	}
	if (config && name && !is_found) {
		command_complain("%s has no trustpoint \"%s\"", config->file, name);
		status = CLI_FAILED;
	}
	config_free(config);
	return status;
}
