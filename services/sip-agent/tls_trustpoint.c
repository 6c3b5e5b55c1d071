/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/tls_trustpoint.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "services/common/log.h"
#include "services/sip-agent/tls_subject.h"

#define CHAIN_DEPTH_MAXIMUM 5

void trustpoint_init(struct trustpoint *trustpoint, const struct config_trustpoint *config)
{
	*trustpoint = (struct trustpoint){.config = config};
}

void trustpoint_free(struct trustpoint *trustpoint)
{
	SSL_CTX_free(trustpoint->context);
	trustpoint->context = NULL;
}

static time_t time_of(const ASN1_TIME *value)
{
	struct tm parts;

	return value && ASN1_TIME_to_tm(value, &parts) == 1 ? timegm(&parts) : 0;
}

/* The sentence of a file that OpenSSL did not take. */
static bool explain(char *cause, const char *what, const char *file)
{
	const unsigned long error = ERR_peek_error();
	const char *reason = ERR_SYSTEM_ERROR(error) ? strerror(ERR_GET_REASON(error))
	                                             : ERR_reason_error_string(error);

	snprintf(cause, TRUSTPOINT_CAUSE_SIZE, "%s %s: %s", what, file,
	         reason ? reason : "cannot be read");
	ERR_clear_error();
	return false;
}

static bool load_own(struct trustpoint *loaded, char *cause)
{
	const struct config_trustpoint *config = loaded->config;

	if (!config->certificate_file)
		return true;
	if (SSL_CTX_use_certificate_chain_file(loaded->context, config->certificate_file) != 1)
		return explain(cause, "certificate-file", config->certificate_file);
	if (SSL_CTX_use_PrivateKey_file(loaded->context, config->key_file, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(loaded->context) != 1)
		return explain(cause, "key-file", config->key_file);
	const X509 *certificate = SSL_CTX_get0_certificate(loaded->context);
	X509_NAME_oneline(X509_get_subject_name(certificate), loaded->subject,
	                  sizeof(loaded->subject));
	X509_NAME_oneline(X509_get_issuer_name(certificate), loaded->issuer,
	                  sizeof(loaded->issuer));
	loaded->not_before = time_of(X509_get0_notBefore(certificate));
	loaded->not_after = time_of(X509_get0_notAfter(certificate));
	return true;
}

static unsigned count_authorities(X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	unsigned count = 0;

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++)
		count += X509_OBJECT_get0_X509(sk_X509_OBJECT_value(objects, i)) != NULL;
	return count;
}

/* The soonest time at which a revocation list is out of date. */
static time_t next_crl_update(X509_STORE *store)
{
	STACK_OF(X509_OBJECT) *objects = X509_STORE_get0_objects(store);
	time_t soonest = 0;

	for (int i = 0; i < sk_X509_OBJECT_num(objects); i++) {
		const X509_CRL *list = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(objects, i));
		const time_t next = list ? time_of(X509_CRL_get0_nextUpdate(list)) : 0;

		if (next && (!soonest || next < soonest))
			soonest = next;
	}
	return soonest;
}

static bool load_roots(struct trustpoint *loaded, char *cause)
{
	const struct config_trustpoint *config = loaded->config;
	X509_STORE *store = SSL_CTX_get_cert_store(loaded->context);

	if (X509_STORE_load_file(store, config->ca_file) != 1)
		return explain(cause, "ca-file", config->ca_file);
	SSL_CTX_set_client_CA_list(loaded->context, SSL_load_client_CA_file(config->ca_file));
	loaded->authorities = count_authorities(store);
	if (config->crl_file && X509_STORE_load_file(store, config->crl_file) != 1)
		return explain(cause, "crl-file", config->crl_file);
	loaded->crl_next_update = next_crl_update(store);
	if (config->revocation == REVOCATION_STRICT ||
	    (config->revocation == REVOCATION_CACHED && loaded->crl_next_update > time(NULL)))
		X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	return true;
}

/* Sessions are not resumed: each connection is checked against what is in force now. */
static bool set_up(SSL_CTX *context)
{
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION |
	                                     SSL_OP_NO_COMPRESSION |
	                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_verify_depth(context, CHAIN_DEPTH_MAXIMUM);
	SSL_CTX_set_dh_auto(context, 1);
	return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1;
}

/* Into a new one: a half-written file must not cost what is in use. */
static bool load(struct trustpoint *trustpoint, time_t now, char *cause)
{
	struct trustpoint loaded = {.config = trustpoint->config, .loaded_at = now};

	memcpy(loaded.stamps, trustpoint->stamps, sizeof(loaded.stamps));
	ERR_clear_error();
	loaded.context = SSL_CTX_new(TLS_method());
	if (!loaded.context || !set_up(loaded.context)) {
		explain(cause, "trustpoint", trustpoint->config->name);
		goto failed;
	}
	if (!load_own(&loaded, cause) || !load_roots(&loaded, cause))
		goto failed;
	SSL_CTX_free(trustpoint->context);
	*trustpoint = loaded;
	return true;
failed:
	SSL_CTX_free(loaded.context);
	return false;
}

bool trustpoint_refresh(struct trustpoint *trustpoint, time_t now)
{
	const struct config_trustpoint *config = trustpoint->config;
	const char *const files[TRUSTPOINT_FILES] = {config->certificate_file, config->key_file,
	                                             config->ca_file, config->crl_file};
	char cause[TRUSTPOINT_CAUSE_SIZE] = "";

	if (!file_stamps_update(trustpoint->stamps, files, TRUSTPOINT_FILES) &&
	    trustpoint->is_tried)
		return false;
	const bool is_renewal = trustpoint->context != NULL;
	const bool is_loaded = load(trustpoint, now, cause);
	trustpoint->is_tried = true;
	snprintf(trustpoint->load_cause, sizeof(trustpoint->load_cause), "%s", cause);
	if (!is_loaded)
		log_line(LOG_ERR, "trustpoint %s: %s%s", trustpoint->config->name, cause,
		         is_renewal ? "; what was loaded before stays in use" : "");
	else
		log_line(LOG_INFO, "trustpoint %s: %s %s, %u root%s", trustpoint->config->name,
		         is_renewal ? "renewed," : "loaded,",
		         trustpoint->subject[0] ? trustpoint->subject : "no certificate of ours",
		         trustpoint->authorities, trustpoint->authorities == 1 ? "" : "s");
	return is_loaded;
}

static void print_time(time_t time, char text[32])
{
	struct tm parts;

	strftime(text, 32, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&time, &parts));
}

const char *trustpoint_clock_obstacle(time_t now)
{
	return now < (time_t)VPNSIP_BUILD_TIME
	               ? "the clock of this machine stands before the build of this program: no "
	                 "certificate can be judged until it is set (NTP)"
	               : NULL;
}

const char *trustpoint_obstacle(const struct trustpoint *trustpoint, time_t now,
                                char why[TRUSTPOINT_CAUSE_SIZE])
{
	const char *clock = trustpoint_clock_obstacle(now);
	char limit[32], today[32];

	print_time(now, today);
	if (clock) {
		snprintf(why, TRUSTPOINT_CAUSE_SIZE, "%s; it says %s", clock, today);
	} else if (!trustpoint->context) {
		snprintf(why, TRUSTPOINT_CAUSE_SIZE, "%s",
		         trustpoint->load_cause[0] ? trustpoint->load_cause : "not loaded yet");
	} else if (trustpoint->not_before && now < trustpoint->not_before) {
		print_time(trustpoint->not_before, limit);
		snprintf(why, TRUSTPOINT_CAUSE_SIZE,
		         "our certificate begins at %s and the clock says %s: is the clock right?",
		         limit, today);
	} else if (trustpoint->not_after && now > trustpoint->not_after) {
		print_time(trustpoint->not_after, limit);
		snprintf(why, TRUSTPOINT_CAUSE_SIZE, "our certificate expired at %s", limit);
	} else {
		return NULL;
	}
	return why;
}
