/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SCEP's exchange with a CA's server (RFC 8894 section 4). */
#include <openssl/x509v3.h>
#include <string.h>

#include "services/cli/pki_enroll.h"
#include "services/cli/pki_scep.h"

#define SIGNER_DAYS 7 /* of the certificate that only signs the first request */

/* The payload protects itself, and who the CA is was checked by fingerprint: a server's TLS certificate adds nothing. */
static bool get(const struct config *config, const char *url, const char *operation,
                struct pki_http_answer *answer)
{
	char whole[1024];
	const struct pki_http_request request = {
		.config = config, .url = whole, .is_unverified = true};

	snprintf(whole, sizeof(whole), "%s%coperation=%s", url, strchr(url, '?') ? '&' : '?',
	         operation);
	return pki_http(&request, answer);
}

STACK_OF(X509) * pki_scep_authorities(const struct config *config, const char *url,
                                      char cause[PKI_CAUSE_SIZE])
{
	struct pki_http_answer answer;
	STACK_OF(X509) *authorities = NULL;

	if (!get(config, url, "GetCACert", &answer))
		snprintf(cause, PKI_CAUSE_SIZE, "%s", answer.cause);
	else if (answer.status != 200)
		pki_judge_status(url, &answer, cause);
	else if (!(authorities = pki_parse_bag(answer.octets, answer.size)))
		snprintf(cause, PKI_CAUSE_SIZE, "%.200s: no CA's certificate came", url);
	pki_http_forget(&answer);
	return authorities;
}

static bool encrypts(X509 *certificate)
{
	return EVP_PKEY_is_a(X509_get0_pubkey(certificate), "RSA") &&
	       (X509_get_key_usage(certificate) & KU_KEY_ENCIPHERMENT);
}

/* An RA that reads requests, else the CA. */
static X509 *recipient_of(STACK_OF(X509) * authorities)
{
	X509 *authority = NULL;

	for (int i = 0; i < sk_X509_num(authorities); i++) {
		X509 *certificate = sk_X509_value(authorities, i);

		if (!X509_check_ca(certificate) && encrypts(certificate))
			return certificate;
		if (!authority && EVP_PKEY_is_a(X509_get0_pubkey(certificate), "RSA"))
			authority = certificate;
	}
	return authority;
}

static X509 *issuer_of(STACK_OF(X509) * authorities)
{
	for (int i = 0; i < sk_X509_num(authorities); i++)
		if (X509_check_ca(sk_X509_value(authorities, i)))
			return sk_X509_value(authorities, i);
	return sk_X509_value(authorities, 0);
}

static enum pki_answer refuse(struct pki_reply *reply, const char *cause)
{
	snprintf(reply->cause, sizeof(reply->cause), "%s", cause);
	return PKI_REFUSED;
}

/* AES and SHA-256, by POST: what RFC 8894 makes mandatory. An older server would have our request by DES or SHA-1. */
static enum pki_answer check_abilities(const struct pki_enrolment *enrolment,
                                       struct pki_reply *reply)
{
	const char *url = enrolment->store->trustpoint->enrollment_url;
	struct pki_scep_abilities abilities = {0};
	struct pki_http_answer answer;
	enum pki_answer verdict = PKI_ISSUED;

	if (!get(enrolment->config, url, "GetCACaps", &answer)) {
		snprintf(reply->cause, sizeof(reply->cause), "%s", answer.cause);
		return PKI_UNREACHABLE;
	}
	if (answer.status == 200)
		abilities = pki_scep_read_abilities(answer.octets);
	else
		verdict = pki_judge_status(url, &answer, reply->cause);
	pki_http_forget(&answer);
	if (verdict != PKI_ISSUED)
		return verdict;
	if (!abilities.has_aes || !abilities.has_sha256 || !abilities.has_post)
		return refuse(reply, "the CA's server lacks AES, SHA-256 or POST");
	if (enrolment->previous && !abilities.has_renewal)
		return refuse(reply, "the CA's server does not renew");
	return PKI_ISSUED;
}

static enum pki_answer exchange(const struct pki_enrolment *enrolment,
                                const struct pki_scep_transaction *transaction,
                                const unsigned char *message, size_t size, struct pki_reply *reply)
{
	char url[1024];
	const struct pki_http_request request = {
		.config = enrolment->config,
		.url = url,
		.body = message,
		.body_size = size,
		.content_type = "application/x-pki-message",
		.is_unverified = true,
	};
	const char *base = enrolment->store->trustpoint->enrollment_url, *cause = "";
	enum pki_answer verdict = PKI_UNREACHABLE;
	struct pki_http_answer answer;

	snprintf(url, sizeof(url), "%s%coperation=PKIOperation", base,
	         strchr(base, '?') ? '&' : '?');
	if (!pki_http(&request, &answer)) {
		snprintf(reply->cause, sizeof(reply->cause), "%s", answer.cause);
		return PKI_UNREACHABLE;
	}
	if (answer.status != 200) {
		verdict = pki_judge_status(base, &answer, reply->cause);
		goto out;
	}
	switch (pki_scep_open(transaction, answer.octets, answer.size, &reply->issued, &cause)) {
	case SCEP_SUCCESS:
		verdict = PKI_ISSUED;
		break;
	case SCEP_PENDING:
		verdict = PKI_PENDING;
		break;
	default:
		verdict = PKI_REFUSED;
		break;
	}
	snprintf(reply->cause, sizeof(reply->cause), "%s", cause);
out:
	pki_http_forget(&answer);
	return verdict;
}

/* The request, or the question what became of it. */
static unsigned char *make_content(const struct pki_enrolment *enrolment, X509_NAME *subject,
                                   enum pki_scep_message *message, size_t *size)
{
	*message = enrolment->is_asked_before ? SCEP_CERT_POLL
	           : enrolment->previous      ? SCEP_RENEWAL_REQ
	                                      : SCEP_PKCS_REQ;
	return enrolment->is_asked_before
	               ? pki_scep_poll(issuer_of(enrolment->authorities), subject, size)
	               : pki_enrolment_request(enrolment, size);
}

enum pki_answer pki_scep_ask(const struct pki_enrolment *enrolment, struct pki_reply *reply)
{
	struct pki_scep_transaction transaction = {
		.signer = enrolment->previous,
		.signer_key = enrolment->previous ? enrolment->previous_key : enrolment->key,
		.recipient = recipient_of(enrolment->authorities),
		.responders = enrolment->authorities,
	};
	enum pki_scep_message kind;
	unsigned char *content = NULL, *message = NULL;
	X509 *temporary = NULL;
	size_t content_size, size = 0;
	enum pki_answer verdict;

	if (!EVP_PKEY_is_a(enrolment->key, "RSA"))
		return refuse(
			reply,
			"SCEP needs a key that also decrypts: vpnsip pki key --type rsa:2048");
	if (!transaction.recipient)
		return refuse(reply, "the CA has no RSA key that a request could be sealed for");
	verdict = check_abilities(enrolment, reply);
	if (verdict != PKI_ISSUED)
		return verdict;
	verdict = refuse(reply, "the request cannot be made");
	if (!transaction.signer &&
	    !pki_self_sign(enrolment->cli, enrolment->key, enrolment->store->subject, SIGNER_DAYS,
	                   &temporary))
		return verdict;
	if (temporary)
		transaction.signer = temporary;
	content = make_content(enrolment, X509_get_subject_name(transaction.signer), &kind,
	                       &content_size);
	if (content && pki_scep_name_transaction(&transaction, enrolment->key))
		message = pki_scep_seal(&transaction, kind, content, content_size, &size);
	if (message)
		verdict = exchange(enrolment, &transaction, message, size, reply);
	OPENSSL_free(message);
	OPENSSL_clear_free(content, content ? content_size : 0); /* it has the challenge */
	X509_free(temporary);
	return verdict;
}
