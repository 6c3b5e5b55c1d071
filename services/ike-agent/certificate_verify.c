/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/certificate_verify.h"

#include <openssl/objects.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "services/common/certificate_map.h"
#include "services/ike-agent/fingerprint.h"

#define ALTERNATIVE_NAMES_MAX 16

static struct certificate_verdict fail(enum certificate_fault fault, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static struct certificate_verdict fail(enum certificate_fault fault, const char *format, ...)
{
	struct certificate_verdict verdict = {.fault = fault};
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(verdict.cause, sizeof(verdict.cause), format, arguments);
	va_end(arguments);
	return verdict;
}

static struct certificate_verdict good(void)
{
	return (struct certificate_verdict){.fault = CERTIFICATE_GOOD};
}

size_t certificate_fingerprint(X509 *certificate, const char *hash, uint8_t fingerprint[64])
{
	uint8_t *octets = NULL;
	int size = i2d_X509(certificate, &octets);
	size_t length = 0;

	if (size > 0)
		length = fingerprint_compute(hash, octets, (size_t)size, fingerprint);
	OPENSSL_free(octets);
	return length;
}

void certificate_print_fingerprint(X509 *certificate, const char *hash, char *text, size_t size)
{
	uint8_t value[FINGERPRINT_MAX];
	size_t length = certificate_fingerprint(certificate, hash, value);
	size_t used = length ? (size_t)snprintf(text, size, "%s ", hash) : 0;

	text[used] = '\0';
	for (size_t i = 0; i < length && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, i ? ":%02X" : "%02X", value[i]);
}

const char *certificate_signature_hash(const X509 *certificate)
{
	static const struct {
		int nid;
		const char *name;
	} names[] = {{NID_sha1, "SHA-1"},
	             {NID_sha224, "SHA-224"},
	             {NID_sha256, "SHA-256"},
	             {NID_sha384, "SHA-384"},
	             {NID_sha512, "SHA-512"}};
	int hash = NID_undef;

	/* The flags tell of faults in the rest of the certificate too; the hash is there when it could be read. */
	X509_get_signature_info((X509 *)certificate, &hash, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i].nid == hash)
			return names[i].name;
	return NULL;
}

/* --- fingerprints --- */

static bool has_fingerprint(X509 *certificate, const char *hash, const uint8_t *value, size_t size)
{
	uint8_t *octets = NULL;
	int length = i2d_X509(certificate, &octets);
	bool fits = length > 0 && fingerprint_fits(octets, (size_t)length, hash, value, size);

	OPENSSL_free(octets);
	return fits;
}

/** SDP's fingerprint, one of several, and the pin: each must fit that is there, and one must be there if nothing else is believed. */
static struct certificate_verdict check_fingerprints(const struct certificate_expectation *expected,
                                                     X509 *certificate)
{
	const struct config_peer *peer = expected->peer;
	bool is_announced = false;

	for (size_t i = 0; i < expected->pin_count; i++) {
		const struct engine_pin *pin = &expected->pins[i];

		is_announced |= !pin->is_pre_shared_key &&
		                has_fingerprint(certificate, pin->hash, pin->value, pin->size);
	}
	if (expected->pin_count > 0 && !is_announced)
		return fail(CERTIFICATE_FINGERPRINT,
		            "peer's certificate does not match the fingerprint of the call");
	if (peer->has_fingerprint && !has_fingerprint(certificate, peer->fingerprint_hash,
	                                              peer->fingerprint, peer->fingerprint_size))
		return fail(CERTIFICATE_FINGERPRINT,
		            "peer's certificate does not match the pinned fingerprint");
	if (expected->pin_count == 0 && !peer->has_fingerprint &&
	    peer->ike_profile->authentication == AUTHENTICATION_SELF_SIGNED)
		return fail(CERTIFICATE_FINGERPRINT,
		            "peer's certificate is self-signed, and neither the call nor the "
		            "configuration names a fingerprint");
	return good();
}

const char *certificate_known_by(const struct certificate_expectation *expected, X509 *certificate)
{
	for (size_t i = 0; i < expected->pin_count; i++) {
		const struct engine_pin *pin = &expected->pins[i];

		if (!pin->is_pre_shared_key &&
		    has_fingerprint(certificate, pin->hash, pin->value, pin->size))
			return pin->hash;
	}
	return expected->peer->has_fingerprint ? expected->peer->fingerprint_hash : "SHA-256";
}

/* --- the chain --- */

static struct certificate_verdict fail_time(enum certificate_fault fault, const char *whose,
                                            const X509 *certificate, time_t now)
{
	char limit[32], today[32];

	certificate_print_time(now, today);
	if (fault == CERTIFICATE_EXPIRED) {
		certificate_print_time(certificate_time(X509_get0_notAfter(certificate)), limit);
		return fail(fault, "%s expired at %s", whose, limit);
	}
	certificate_print_time(certificate_time(X509_get0_notBefore(certificate)), limit);
	return fail(fault, "%s begins at %s, not yet valid: our clock says %s", whose, limit,
	            today);
}

static struct certificate_verdict judge_self_signed(X509 *certificate, time_t now)
{
	static const char whose[] = "peer's certificate";
	EVP_PKEY *key = X509_get0_pubkey(certificate);

	if (now < certificate_time(X509_get0_notBefore(certificate)))
		return fail_time(CERTIFICATE_NOT_YET_VALID, whose, certificate, now);
	if (now >= certificate_time(X509_get0_notAfter(certificate)))
		return fail_time(CERTIFICATE_EXPIRED, whose, certificate, now);
	if (!key || X509_NAME_cmp(X509_get_subject_name(certificate),
	                          X509_get_issuer_name(certificate)) != 0)
		return fail(CERTIFICATE_NOT_SELF_SIGNED, "peer's certificate is not self-signed");
	if (X509_verify(certificate, key) != 1)
		return fail(CERTIFICATE_NOT_SELF_SIGNED,
		            "peer's certificate is not signed by its own key");
	return good();
}

/** OpenSSL asks about each fault: a list that is wanting, or out of date, counts only when it is required. */
static int forgive_lists(int is_good, X509_STORE_CTX *context)
{
	switch (is_good ? X509_V_OK : X509_STORE_CTX_get_error(context)) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
		X509_STORE_CTX_set_error(context, X509_V_OK);
		return 1;
	default:
		return is_good;
	}
}

/** The sentence of what OpenSSL found, about the certificate of the chain in which it found it. */
static struct certificate_verdict explain_chain(X509_STORE_CTX *context, time_t now)
{
	const int error = X509_STORE_CTX_get_error(context);
	const X509 *faulty = X509_STORE_CTX_get_current_cert(context);
	const char *whose = X509_STORE_CTX_get_error_depth(context) > 0
	                            ? "the certificate of the peer's issuer"
	                            : "peer's certificate";
	struct certificate_facts facts = {.serial = "?"};

	if (!faulty)
		return fail(CERTIFICATE_UNTRUSTED, "%s is not trusted: %s", whose,
		            X509_verify_cert_error_string(error));
	certificate_facts_read(faulty, &facts);
	switch (error) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return fail_time(CERTIFICATE_EXPIRED, whose, faulty, now);
	case X509_V_ERR_CERT_NOT_YET_VALID:
		return fail_time(CERTIFICATE_NOT_YET_VALID, whose, faulty, now);
	case X509_V_ERR_CERT_REVOKED:
		return fail(CERTIFICATE_REVOKED, "%s is revoked: serial %s of %.90s", whose,
		            facts.serial, facts.issuer);
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_CRL_NOT_YET_VALID:
		return fail(CERTIFICATE_NO_LIST, "there is no valid revocation list of %.90s: %s",
		            facts.issuer, X509_verify_cert_error_string(error));
	default:
		return fail(CERTIFICATE_UNTRUSTED, "%s is not trusted, issuer %.90s: %s", whose,
		            facts.issuer, X509_verify_cert_error_string(error));
	}
}

static void set_up(X509_STORE_CTX *context, enum config_revocation revocation, time_t now)
{
	X509_VERIFY_PARAM *parameters = X509_STORE_CTX_get0_param(context);

	X509_VERIFY_PARAM_set_time(parameters, now);
	if (revocation == REVOCATION_NONE)
		return;
	X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	if (revocation == REVOCATION_CACHED)
		X509_STORE_CTX_set_verify_cb(context, forgive_lists);
}

/** On success *chain is the whole of it, the caller's. */
static struct certificate_verdict judge_chain(const struct certificate_store *store,
                                              enum config_revocation revocation, X509 *certificate,
                                              STACK_OF(X509) * others, time_t now,
                                              STACK_OF(X509) * *chain)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	struct certificate_verdict verdict = fail(CERTIFICATE_DAMAGED, "out of memory");

	if (context && X509_STORE_CTX_init(context, store->roots, certificate, others) == 1) {
		set_up(context, revocation, now);
		if (X509_verify_cert(context) == 1) {
			*chain = X509_STORE_CTX_get1_chain(context);
			verdict = *chain ? good() : verdict;
		} else {
			verdict = explain_chain(context, now);
		}
	}
	X509_STORE_CTX_free(context);
	return verdict;
}

/* --- what must hold of each, and of the peer's alone --- */

static struct certificate_verdict judge_strength(const X509 *certificate, bool is_signed,
                                                 const struct config_ike_profile *profile)
{
	const char *hash = certificate_signature_hash(certificate);
	struct certificate_facts facts;

	if (profile->allows_weak)
		return good();
	certificate_facts_read(certificate, &facts);
	if (!certificate_has_strong_key(certificate))
		return fail(CERTIFICATE_WEAK, "the key of %.90s is weak: %s, %u bits",
		            facts.subject, facts.key_kind, facts.key_bits);
	/* Nobody verifies the signature of a root. */
	if (is_signed && (!hash || (strcmp(hash, "SHA-1") == 0 && !profile->allows_sha1)))
		return fail(CERTIFICATE_WEAK,
		            "the certificate of %.90s is signed with a weak hash: %s",
		            facts.subject, hash ? hash : "neither SHA-1 nor SHA-2");
	return good();
}

static bool may_sign(X509 *certificate)
{
	return X509_get_key_usage(certificate) & (KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION);
}

/** The rule on the alternative names, which are listed as DNS name, address, mail address or URI. */
static bool alternative_rule_holds(const char *rule, X509 *certificate)
{
	GENERAL_NAMES *list = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	const int count = list ? sk_GENERAL_NAME_num(list) : 0;
	char texts[ALTERNATIVE_NAMES_MAX][128];
	const char *names[ALTERNATIVE_NAMES_MAX];
	size_t used = 0;

	for (int i = 0; i < count && used < ALTERNATIVE_NAMES_MAX; i++) {
		GENERAL_NAME *name = sk_GENERAL_NAME_value(list, i);
		BIO *memory = BIO_new(BIO_s_mem());
		int size = 0;

		if (memory && GENERAL_NAME_print(memory, name) == 1)
			size = BIO_read(memory, texts[used], sizeof(texts[used]) - 1);
		BIO_free(memory);
		if (size <= 0)
			continue;
		texts[used][size] = '\0';
		/* "DNS:branch1.example": the kind is not part of the name. */
		names[used] = strchr(texts[used], ':') ? strchr(texts[used], ':') + 1 : texts[used];
		used++;
	}
	GENERAL_NAMES_free(list);
	return count <= ALTERNATIVE_NAMES_MAX && certificate_rule_holds(rule, names, used);
}

static struct certificate_verdict judge_map(const struct config_certificate_map *map,
                                            X509 *certificate)
{
	struct certificate_facts facts;
	const char *issuer = facts.issuer, *subject = facts.subject;

	certificate_facts_read(certificate, &facts);
	if (map->issuer_name && !certificate_rule_holds(map->issuer_name, &issuer, 1))
		return fail(CERTIFICATE_MAP,
		            "peer's certificate does not fit certificate-map %.32s: issuer %.90s",
		            map->name, facts.issuer);
	if (map->subject_name && !certificate_rule_holds(map->subject_name, &subject, 1))
		return fail(CERTIFICATE_MAP,
		            "peer's certificate does not fit certificate-map %.32s: subject %.90s",
		            map->name, facts.subject);
	if (map->alternative_name && !alternative_rule_holds(map->alternative_name, certificate))
		return fail(CERTIFICATE_MAP,
		            "peer's certificate does not fit certificate-map %.32s: alternative "
		            "names",
		            map->name);
	return good();
}

static struct certificate_verdict judge_each(STACK_OF(X509) * chain,
                                             const struct config_ike_profile *profile)
{
	struct certificate_verdict verdict = good();

	for (int i = 0; verdict.fault == CERTIFICATE_GOOD && i < sk_X509_num(chain); i++)
		verdict = judge_strength(sk_X509_value(chain, i),
		                         i == 0 || i + 1 < sk_X509_num(chain), profile);
	return verdict;
}

struct certificate_verdict certificate_verify(const struct certificate_store *store,
                                              const struct certificate_expectation *expected,
                                              X509 *certificate, STACK_OF(X509) * others,
                                              time_t now)
{
	const struct config_ike_profile *profile = expected->peer->ike_profile;
	const bool is_self_signed = profile->authentication == AUTHENTICATION_SELF_SIGNED;
	STACK_OF(X509) *chain = NULL;
	struct certificate_verdict verdict = check_fingerprints(expected, certificate);

	if (verdict.fault != CERTIFICATE_GOOD)
		return verdict;
	if (is_self_signed) {
		verdict = judge_self_signed(certificate, now);
		chain = sk_X509_new_null();
		if (!chain || X509_add_cert(chain, certificate, X509_ADD_FLAG_UP_REF) != 1)
			verdict = fail(CERTIFICATE_DAMAGED, "out of memory");
	} else {
		verdict = judge_chain(store, profile->trustpoint->revocation, certificate, others,
		                      now, &chain);
	}
	if (verdict.fault == CERTIFICATE_GOOD)
		verdict = judge_each(chain, profile);
	if (verdict.fault == CERTIFICATE_GOOD && !may_sign(certificate))
		verdict = fail(CERTIFICATE_NOT_FOR_SIGNING,
		               "peer's certificate may not be used for signatures (keyUsage)");
	if (verdict.fault == CERTIFICATE_GOOD && profile->certificate_map)
		verdict = judge_map(profile->certificate_map, certificate);
	sk_X509_pop_free(chain, X509_free);
	return verdict;
}
