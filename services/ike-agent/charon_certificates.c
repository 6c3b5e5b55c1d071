/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Certificates in libcharon: ours for signing, and the peer's for verifying. A peer's certificate is offered as trusted only when
 * certificate_verify() finds it good, so that nothing can authenticate with another one; libcharon's own view of trust decides nothing.
 */
#include "services/ike-agent/charon_internal.h"

#include <collections/linked_list.h>
#include <credentials/certificates/x509.h>
#include <encoding/payloads/auth_payload.h>
#include <processing/jobs/callback_job.h>

#include "services/ike-agent/certificate_anchor.h"
#include "services/ike-agent/certificate_verify.h"

#define DISOWNED_MAX 64

static bool uses_certificates(const struct charon_session *session)
{
	return session->certificates != NULL;
}

/* --- between OpenSSL and libcharon --- */

static certificate_t *to_charon(X509 *certificate)
{
	uint8_t *octets = NULL;
	int size = i2d_X509(certificate, &octets);
	certificate_t *converted = NULL;

	if (size > 0)
		converted = lib->creds->create(lib->creds, CRED_CERTIFICATE, CERT_X509,
		                               BUILD_BLOB_ASN1_DER, chunk_create(octets, size),
		                               BUILD_END);
	OPENSSL_free(octets);
	return converted;
}

static X509 *from_charon(certificate_t *certificate)
{
	X509 *converted = NULL;
	const unsigned char *octets;
	chunk_t encoding;

	if (!certificate || !certificate->get_encoding(certificate, CERT_ASN1_DER, &encoding))
		return NULL;
	octets = encoding.ptr;
	converted = d2i_X509(NULL, &octets, (long)encoding.len);
	chunk_free(&encoding);
	return converted;
}

static private_key_t *key_to_charon(EVP_PKEY *key)
{
	const key_type_t type = EVP_PKEY_get_base_id(key) == EVP_PKEY_RSA ? KEY_RSA : KEY_ECDSA;
	uint8_t *octets = NULL;
	int size = i2d_PrivateKey(key, &octets);
	private_key_t *converted = NULL;

	if (size > 0)
		converted = lib->creds->create(lib->creds, CRED_PRIVATE_KEY, type,
		                               BUILD_BLOB_ASN1_DER, chunk_create(octets, size),
		                               BUILD_END);
	OPENSSL_clear_free(octets, size > 0 ? (size_t)size : 0);
	return converted;
}

/* --- ours --- */

static certificate_t *make_anchor(void)
{
	X509 *anchor = certificate_make_anchor();
	certificate_t *converted = anchor ? to_charon(anchor) : NULL;

	X509_free(anchor);
	return converted;
}

bool charon_own_certificate_load(struct charon_session *session, char *why, size_t why_size)
{
	char obstacle[CERTIFICATE_CAUSE_SIZE];

	if (!uses_certificates(session))
		return true;
	session->store = certificate_source_hold(session->certificates);
	if (!session->store || !session->store->own) {
		snprintf(why, why_size, "our certificate is not loaded");
		return false;
	}
	if (certificate_store_obstacle(session->store, time(NULL), obstacle)) {
		snprintf(why, why_size, "%s", obstacle);
		return false;
	}
	session->certificate = to_charon(session->store->own);
	session->private_key = key_to_charon(session->store->key);
	if (session->peer->ike_profile->authentication == AUTHENTICATION_SELF_SIGNED)
		session->anchor = make_anchor();
	if (session->certificate && session->private_key)
		return true;
	snprintf(why, why_size, "libcharon does not take our certificate or key: RSA or ECDSA?");
	return false;
}

void charon_own_certificate_release(struct charon_session *session)
{
	DESTROY_IF(session->certificate);
	DESTROY_IF(session->anchor);
	DESTROY_IF(session->private_key);
	certificate_store_release(session->store);
}

void charon_own_certificate_add(const struct charon_session *session, auth_cfg_t *local)
{
	local->add(local, AUTH_RULE_SUBJECT_CERT,
	           session->certificate->get_ref(session->certificate));
	for (int i = 0; i < sk_X509_num(session->store->chain); i++) {
		certificate_t *next = to_charon(sk_X509_value(session->store->chain, i));

		if (next)
			local->add(local, AUTH_RULE_IM_CERT, next);
	}
}

static void destroy_key(void *key)
{
	((private_key_t *)key)->destroy(key);
}

enumerator_t *charon_private_keys_enumerate(const struct charon_session *session,
                                            identification_t *key_id)
{
	private_key_t *key = session->private_key;

	if (!key || (key_id && !key->has_fingerprint(key, key_id->get_encoding(key_id))))
		return NULL;
	return enumerator_create_single(key->get_ref(key), destroy_key);
}

/* --- the peer's --- */

/** A peer's certificate and what came beside it, of one round of authentication. */
struct shown {
	X509 *certificate;
	STACK_OF(X509) * others;
};

static void free_shown(struct shown *shown)
{
	X509_free(shown->certificate);
	sk_X509_pop_free(shown->others, X509_free);
}

static bool read_round(auth_cfg_t *round, bool is_verified, struct shown *shown)
{
	certificate_t *certificate = NULL;
	enumerator_t *rules;
	auth_rule_t rule;
	void *value;

	if (!is_verified)
		certificate = round->get(round, AUTH_HELPER_SUBJECT_CERT);
	if (!certificate)
		certificate = round->get(round, AUTH_RULE_SUBJECT_CERT);
	shown->certificate = from_charon(certificate);
	if (!shown->certificate)
		return false;
	shown->others = sk_X509_new_null();
	rules = round->create_enumerator(round);
	while (shown->others && rules->enumerate(rules, &rule, &value)) {
		X509 *other = NULL;

		if (rule == AUTH_HELPER_IM_CERT || rule == AUTH_RULE_IM_CERT)
			other = from_charon(value);
		if (other && !sk_X509_push(shown->others, other))
			X509_free(other);
	}
	rules->destroy(rules);
	return true;
}

/**
 * What the peer has shown: in the round that is going on, else in the one that is done (after IKE_AUTH it is judged again, when a
 * reauthentication replaces the IKE_SA). `is_verified`: only the certificate whose key has signed.
 */
static bool read_shown(ike_sa_t *ike_sa, bool is_verified, struct shown *shown)
{
	enumerator_t *rounds;
	auth_cfg_t *round;
	bool is_found;

	*shown = (struct shown){};
	is_found = read_round(ike_sa->get_auth_cfg(ike_sa, FALSE), is_verified, shown);
	if (is_found)
		return true;
	rounds = ike_sa->create_auth_cfg_enumerator(ike_sa, FALSE);
	while (!is_found && rounds->enumerate(rounds, &round))
		is_found = read_round(round, is_verified, shown);
	rounds->destroy(rounds);
	return is_found;
}

static struct certificate_expectation expectation_of(const struct charon_session *session)
{
	return (struct certificate_expectation){
		.peer = session->peer, .pins = session->pins, .pin_count = session->pin_count};
}

static struct certificate_verdict judge(const struct charon_session *session,
                                        const struct shown *shown)
{
	const struct certificate_expectation expected = expectation_of(session);
	struct certificate_store *store = certificate_source_hold(session->certificates);
	struct certificate_verdict verdict =
		certificate_verify(store, &expected, shown->certificate, shown->others, time(NULL));

	certificate_store_release(store);
	return verdict;
}

static enum ike_guard_class class_of(const struct certificate_verdict *verdict)
{
	switch (verdict->fault) {
	case CERTIFICATE_GOOD:
		return IKE_GUARD_NONE;
	case CERTIFICATE_FINGERPRINT:
		return IKE_GUARD_FINGERPRINT;
	case CERTIFICATE_NOT_YET_VALID:
	case CERTIFICATE_EXPIRED:
		return IKE_GUARD_EXPIRED;
	case CERTIFICATE_REVOKED:
		return IKE_GUARD_REVOKED;
	default:
		return IKE_GUARD_UNTRUSTED;
	}
}

bool charon_certificate_is_good(const struct charon_session *session, ike_sa_t *ike_sa)
{
	struct certificate_verdict verdict;
	struct shown shown;

	if (!uses_certificates(session))
		return true;
	if (!read_shown(ike_sa, true, &shown))
		return false;
	verdict = judge(session, &shown);
	if (verdict.fault != CERTIFICATE_GOOD)
		charon_report_verdict(class_of(&verdict), "%s", verdict.cause);
	free_shown(&shown);
	return verdict.fault == CERTIFICATE_GOOD;
}

static void destroy_certificate(void *certificate)
{
	((certificate_t *)certificate)->destroy(certificate);
}

static void destroy_list(void *list)
{
	((linked_list_t *)list)->destroy_offset(list, offsetof(certificate_t, destroy));
}

/** The roots that a CERTREQ names: those of the trustpoint, or one of nobody for a self-signed certificate. */
static enumerator_t *enumerate_anchors(const struct charon_session *session)
{
	linked_list_t *list = linked_list_create();
	certificate_t *anchor;

	for (int i = 0; i < sk_X509_num(session->store->authorities); i++)
		if ((anchor = to_charon(sk_X509_value(session->store->authorities, i))))
			list->insert_last(list, anchor);
	if (session->anchor)
		list->insert_last(list, session->anchor->get_ref(session->anchor));
	return enumerator_create_cleaner(list->create_enumerator(list), destroy_list, list);
}

enumerator_t *charon_certificates_enumerate(const struct charon_session *session,
                                            identification_t *identity, bool is_trusted)
{
	ike_sa_t *ike_sa = charon->bus->get_sa(charon->bus);
	struct certificate_verdict verdict;
	enumerator_t *enumerator = NULL;
	struct shown shown;

	if (!uses_certificates(session) || !is_trusted)
		return NULL;
	if (!identity)
		return enumerate_anchors(session);
	if (!read_shown(ike_sa, false, &shown))
		return NULL;
	verdict = judge(session, &shown);
	if (verdict.fault == CERTIFICATE_GOOD)
		enumerator = enumerator_create_single(to_charon(shown.certificate),
		                                      destroy_certificate);
	else
		charon_report_verdict(class_of(&verdict), "%s", verdict.cause);
	free_shown(&shown);
	return enumerator;
}

void charon_check_method(ike_sa_t *ike_sa, message_t *message)
{
	struct charon_session *session = charon_session_of(ike_sa);
	auth_payload_t *proof = (auth_payload_t *)message->get_payload(message, PLV2_AUTH);
	bool has_key;

	if (!session)
		return;
	has_key = proof && proof->get_auth_method(proof) == AUTH_PSK;
	if (!proof && message->get_request(message))
		charon_report_verdict(
			IKE_GUARD_METHOD,
			"peer wants to authenticate with EAP, which is not used here");
	else if (proof && has_key && uses_certificates(session))
		charon_report_verdict(
			IKE_GUARD_METHOD,
			"peer authenticates with a pre-shared key, and a certificate is "
			"configured for it");
	else if (proof && !has_key && !uses_certificates(session))
		charon_report_verdict(
			IKE_GUARD_METHOD,
			"peer authenticates with a certificate, and a pre-shared key is "
			"configured for it");
	else if (proof && !has_key && !message->get_payload(message, PLV2_CERTIFICATE))
		charon_report_verdict(IKE_GUARD_METHOD, "peer sent no certificate");
	charon_session_release(session);
}

/* --- until when --- */

static time_t earlier(time_t a, time_t b)
{
	return !a || (b && b < a) ? b : a;
}

/** The first certificate of the peer's that expires; 0 = it has none. */
static time_t end_of(const struct shown *shown)
{
	time_t end = certificate_time(X509_get0_notAfter(shown->certificate));

	for (int i = 0; shown->others && i < sk_X509_num(shown->others); i++)
		end = earlier(
			end, certificate_time(X509_get0_notAfter(sk_X509_value(shown->others, i))));
	return end;
}

static time_t valid_until(const struct charon_session *session, ike_sa_t *ike_sa)
{
	time_t end = session->store ? session->store->not_after : 0;
	struct shown shown;

	if (uses_certificates(session) && read_shown(ike_sa, true, &shown)) {
		end = earlier(end, end_of(&shown));
		free_shown(&shown);
	}
	return end;
}

uint64_t charon_limit_by_certificates(ike_sa_t *ike_sa, uint64_t limit)
{
	struct charon_session *session = charon_session_of(ike_sa);
	const time_t now = time(NULL), end = session ? valid_until(session, ike_sa) : 0;
	const uint64_t left = end > now ? (uint64_t)(end - now) : 1;

	charon_session_release(session);
	return end && (!limit || left < limit) ? left : limit;
}

/** Ends an IKE_SA, telling the peer, for a reason that is ours to know. */
static void end_sa(uint32_t sa, enum ike_guard_class guard_class, const char *cause)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout(sa);

	if (!ike_sa)
		return;
	charon_report_verdict(guard_class, "%s", cause);
	ike_sa->delete (ike_sa, TRUE);
	manager->checkin_and_destroy(manager, ike_sa);
}

static void meet_end(uint64_t sa, bool is_hard)
{
	ike_sa_manager_t *manager = charon->ike_sa_manager;
	ike_sa_t *ike_sa = charon_checkout((uint32_t)sa);
	struct charon_session *session = charon_session_of(ike_sa);
	char cause[ENGINE_CAUSE_SIZE], text[32];
	bool is_ours;
	time_t end;

	if (!ike_sa)
		return;
	end = session ? valid_until(session, ike_sa) : 0;
	if (end && time(NULL) < end) {
		/* The clock was set back since. */
		charon_watch_certificates(ike_sa, (uint32_t)sa);
		manager->checkin(manager, ike_sa);
		charon_session_release(session);
		return;
	}
	manager->checkin(manager, ike_sa);
	certificate_print_time(end, text);
	is_ours = session && session->store && session->store->not_after == end;
	snprintf(cause, sizeof(cause), "%s certificate expired at %s", is_ours ? "our" : "peer's",
	         text);
	charon_session_release(session);
	end_sa((uint32_t)sa, is_ours ? IKE_GUARD_NONE : IKE_GUARD_EXPIRED, cause);
}

void charon_watch_certificates(ike_sa_t *ike_sa, uint32_t sa)
{
	charon_set_deadline(meet_end, sa, true, charon_limit_by_certificates(ike_sa, 0));
}

void charon_unwatch_certificates(uint32_t sa)
{
	charon_drop_deadlines(meet_end, sa);
}

/* --- a changed list, or a root that was taken away --- */

struct disowned_sa {
	uint32_t sa;
	struct certificate_verdict verdict;
};

/** True if the IKE_SA's peer is not believed any more, by what is in these files now. */
static bool is_disowned(ike_sa_t *ike_sa, const struct certificate_source *certificates,
                        struct certificate_verdict *verdict)
{
	struct charon_session *session = charon_session_of(ike_sa);
	bool is_found = false;
	struct shown shown;

	if (session && session->certificates == certificates &&
	    ike_sa->get_state(ike_sa) == IKE_ESTABLISHED && read_shown(ike_sa, true, &shown)) {
		*verdict = judge(session, &shown);
		is_found = verdict->fault == CERTIFICATE_REVOKED ||
		           verdict->fault == CERTIFICATE_UNTRUSTED;
		free_shown(&shown);
	}
	charon_session_release(session);
	return is_found;
}

static job_requeue_t judge_peers(void *certificates)
{
	struct disowned_sa disowned[DISOWNED_MAX];
	enumerator_t *ike_sas = charon->controller->create_ike_sa_enumerator(charon->controller,
	                                                                     TRUE);
	size_t count = 0;
	ike_sa_t *ike_sa;

	while (count < DISOWNED_MAX && ike_sas->enumerate(ike_sas, &ike_sa)) {
		if (!is_disowned(ike_sa, certificates, &disowned[count].verdict))
			continue;
		disowned[count++].sa = ike_sa->get_unique_id(ike_sa);
	}
	ike_sas->destroy(ike_sas);
	for (size_t i = 0; i < count; i++)
		end_sa(disowned[i].sa, class_of(&disowned[i].verdict), disowned[i].verdict.cause);
	return count == DISOWNED_MAX ? JOB_REQUEUE_FAIR : JOB_REQUEUE_NONE;
}

void engine_judge_peers(struct certificate_source *certificates)
{
	lib->processor->queue_job(lib->processor, (job_t *)callback_job_create(
							  judge_peers, certificates, NULL, NULL));
}

/* --- for people --- */

void charon_describe_authentication(const struct charon_session *session, ike_sa_t *ike_sa,
                                    struct engine_authentication *authentication)
{
	const struct certificate_expectation expected = expectation_of(session);
	struct certificate_facts facts;
	struct shown shown;

	*authentication = (struct engine_authentication){.local = "PSK", .remote = "PSK"};
	if (!uses_certificates(session) || !read_shown(ike_sa, true, &shown))
		return;
	certificate_facts_read(session->store->own, &facts);
	snprintf(authentication->local, sizeof(authentication->local), "%s", facts.key_kind);
	certificate_facts_read(shown.certificate, &facts);
	snprintf(authentication->remote, sizeof(authentication->remote), "%s", facts.key_kind);
	memcpy(authentication->subject, facts.subject, sizeof(facts.subject));
	memcpy(authentication->issuer, facts.issuer, sizeof(facts.issuer));
	memcpy(authentication->serial, facts.serial, sizeof(facts.serial));
	certificate_print_fingerprint(
		shown.certificate, certificate_known_by(&expected, shown.certificate),
		authentication->fingerprint, sizeof(authentication->fingerprint));
	authentication->not_after = facts.not_after;
	authentication->valid_until = earlier(session->store->not_after, end_of(&shown));
	free_shown(&shown);
}
