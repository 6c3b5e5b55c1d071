/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * pki renew: a new key and a certificate of it, when the old one has lived for renewal-percent. The new key is kept beside the old
 * one (.next) until the CA has signed: a CA that takes its time is asked again for the same. Key and certificate are exchanged one
 * after the other; a run that ends in between is finished by the next.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "services/cli/pki_enroll.h"

static const char *next_of(const char *file, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s.next", file);
	return path;
}

/* A new certificate is only written when its key is there, and the key first. */
static bool finish_exchange(const struct pki_store *store)
{
	char key[PATH_MAX], certificate[PATH_MAX];

	if (access(next_of(store->certificate_file, certificate), F_OK) != 0)
		return true;
	if (access(next_of(store->key_file, key), F_OK) == 0 && rename(key, store->key_file) != 0) {
		command_complain("%s cannot be written: %s", store->key_file, strerror(errno));
		return false;
	}
	if (rename(certificate, store->certificate_file) == 0)
		return true;
	command_complain("%s cannot be written: %s", store->certificate_file, strerror(errno));
	return false;
}

time_t pki_renewal_time(const X509 *certificate, unsigned percent)
{
	struct tm from, until;
	time_t begins, ends;

	if (!ASN1_TIME_to_tm(X509_get0_notBefore(certificate), &from) ||
	    !ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &until))
		return 0;
	begins = timegm(&from);
	ends = timegm(&until);
	return begins + (time_t)((double)(ends - begins) * percent / 100);
}

/* The key of an earlier run that the CA has not signed yet, or a new one of the old one's kind. */
static EVP_PKEY *next_key(const struct pki_store *store, const EVP_PKEY *old)
{
	char path[PATH_MAX], type[32];
	EVP_PKEY *key = pki_read_key(next_of(store->key_file, path));
	int bits = EVP_PKEY_get_bits(old);

	if (key)
		return key;
	snprintf(type, sizeof(type), EVP_PKEY_is_a(old, "RSA") ? "rsa:%d" : "ec:p%d", bits);
	key = pki_new_key(type);
	if (key && !pki_write_key(store, path, key)) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static int obtain(const struct cli *cli, const struct config *config, const struct pki_store *store,
                  X509 *own)
{
	struct pki_enrolment enrolment = {
		.cli = cli,
		.config = config,
		.store = store,
		.previous = own,
		.previous_key = pki_own_key(store),
	};
	STACK_OF(X509) *chain = NULL;
	char path[PATH_MAX], until[32], *challenge = NULL;
	int status = CLI_FAILED;

	/* Not needed by RFC 8894, but some servers want it again. */
	if (enrolment.previous_key && pki_read_challenge(store, &challenge))
		enrolment.key = next_key(store, enrolment.previous_key);
	enrolment.challenge = challenge;
	if (enrolment.key)
		status = pki_enroll(&enrolment, &chain);
	if (status == CLI_DONE &&
	    (!pki_write_chain(store, next_of(store->certificate_file, path), chain) ||
	     !finish_exchange(store)))
		status = CLI_FAILED;
	if (status == CLI_DONE)
		printf("%s: renewed, until %s\n", store->name,
		       pki_time_text(X509_get0_notAfter(sk_X509_value(chain, 0)), until));
	pki_forget_challenge(challenge);
	sk_X509_pop_free(chain, X509_free);
	EVP_PKEY_free(enrolment.key);
	EVP_PKEY_free(enrolment.previous_key);
	return status;
}

static int renew_store(const struct cli *cli, const struct config *config,
                       const struct pki_store *store)
{
	STACK_OF(X509) * chain;
	X509 *own;
	ASN1_TIME *due;
	char text[32];
	int status = CLI_DONE;

	if (!pki_can_enroll(store) || !finish_exchange(store))
		return CLI_FAILED;
	chain = pki_read_certificates(store->certificate_file);
	if (!chain) {
		command_complain("trustpoint \"%s\" has no certificate yet: vpnsip pki enroll %s "
		                 "--for %s",
		                 store->name, store->name, store->purpose->name);
		return CLI_FAILED;
	}
	own = sk_X509_value(chain, 0);
	due = ASN1_TIME_set(NULL, pki_renewal_time(own, store->trustpoint->renewal_percent));
	if (!options_get(cli, "force") && due && X509_cmp_current_time(due) > 0)
		printf("%s: not due until %s\n", store->name, pki_time_text(due, text));
	else
		status = obtain(cli, config, store, own);
	ASN1_TIME_free(due);
	sk_X509_pop_free(chain, X509_free);
	return status;
}

int command_pki_renew(const struct cli *cli, const struct words *words)
{
	const char *name = words_get(words, "TRUSTPOINT");
	bool is_all = options_get(cli, "all") != NULL, is_found = is_all;
	struct config *config = NULL;
	struct pki_store store;
	int status = CLI_DONE, one;

	if (is_all ? name != NULL : name == NULL) {
		command_complain("say which trustpoint, or --all");
		return CLI_FAILED;
	}
	config = pki_config(cli);
	for (size_t i = 0; config && i < config->trustpoint_count; i++) {
		const struct config_trustpoint *trustpoint = &config->trustpoints[i];

		if (is_all ? trustpoint->enrollment == ENROLLMENT_NONE
		           : strcmp(trustpoint->name, name) != 0)
			continue;
		is_found = true;
		one = pki_store_at(config, pki_purpose_of(config, trustpoint), i, &store)
		              ? renew_store(cli, config, &store)
		              : CLI_FAILED;
		if (status != CLI_FAILED && one != CLI_DONE)
			status = one;
	}
	if (config && !is_found)
		command_complain("%s has no trustpoint \"%s\"", config->file, name);
	config_free(config);
	return config && is_found ? status : CLI_FAILED;
}
