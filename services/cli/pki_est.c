/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Enrolment over Secure Transport (RFC 7030): /cacerts, /simpleenroll, /simplereenroll. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/pki_enroll.h"

#define WELL_KNOWN "/.well-known/est"

/* The address of an operation; the configured one may end with the well-known path, or with a CA's label behind it. */
static const char *address_of_operation(const char *url, const char *operation, char text[1024])
{
	size_t length = strlen(url);

	while (length && url[length - 1] == '/')
		length--;
	snprintf(text, 1024, "%.*s%s/%s", (int)length, url,
	         strstr(url, WELL_KNOWN) ? "" : WELL_KNOWN, operation);
	return text;
}

/* Bodies are base64, with or without line ends. Free it. */
static char *decode(const char *text, size_t size, size_t *decoded_size)
{
	EVP_ENCODE_CTX *context = EVP_ENCODE_CTX_new();
	unsigned char *octets = malloc(size + 1);
	int first = 0, last = 0;
	bool is_good = context && octets;

	if (is_good) {
		EVP_DecodeInit(context);
		is_good = EVP_DecodeUpdate(context, octets, &first, (const unsigned char *)text,
		                           (int)size) >= 0 &&
		          EVP_DecodeFinal(context, octets + first, &last) >= 0;
	}
	EVP_ENCODE_CTX_free(context);
	*decoded_size = is_good ? (size_t)(first + last) : 0;
	if (!is_good) {
		free(octets);
		octets = NULL;
	}
	return (char *)octets;
}

static STACK_OF(X509) * take_certificates(const struct pki_http_answer *answer)
{
	size_t size;
	char *octets = decode(answer->octets, answer->size, &size);
	STACK_OF(X509) *certificates = octets ? pki_parse_bag(octets, size) : NULL;

	free(octets);
	return certificates;
}

STACK_OF(X509) * pki_est_authorities(const struct config *config, const char *url,
                                     char cause[PKI_CAUSE_SIZE])
{
	char address[1024];
	/* As RFC 7030 section 4.1.1 says: what comes is looked at by its fingerprint, or checked by a root that is believed. */
	const struct pki_http_request request = {
		.config = config,
		.url = address_of_operation(url, "cacerts", address),
		.is_unverified = true,
	};
	struct pki_http_answer answer;
	STACK_OF(X509) *authorities = NULL;

	if (!pki_http(&request, &answer))
		snprintf(cause, PKI_CAUSE_SIZE, "%s", answer.cause);
	else if (answer.status != 200)
		pki_judge_status(address, &answer, cause);
	else if (!(authorities = take_certificates(&answer)))
		snprintf(cause, PKI_CAUSE_SIZE, "%.200s: no CA's certificate came", address);
	pki_http_forget(&answer);
	return authorities;
}

/* Base64 of the request; free it. */
static char *encode(const unsigned char *octets, size_t size)
{
	unsigned char *text = malloc(4 * ((size + 2) / 3) + 1);

	if (text)
		EVP_EncodeBlock(text, octets, (int)size);
	return (char *)text;
}

enum pki_answer pki_est_ask(const struct pki_enrolment *enrolment, struct pki_reply *reply)
{
	const struct pki_store *store = enrolment->store;
	bool is_renewal = enrolment->previous != NULL;
	char address[1024];
	struct pki_http_request request = {
		.config = enrolment->config,
		.url = address_of_operation(store->trustpoint->enrollment_url,
	                                    is_renewal ? "simplereenroll" : "simpleenroll",
	                                    address),
		.content_type = "application/pkcs10",
		.ca_file = store->ca_file,
		/* Who renews shows what he has; the challenge is for whom the CA does not know yet. */
		.certificate_file = is_renewal ? store->certificate_file : NULL,
		.key_file = store->key_file,
		.user_password = is_renewal ? NULL : enrolment->challenge,
	};
	enum pki_answer verdict = PKI_REFUSED;
	struct pki_http_answer answer = {0};
	size_t size;
	unsigned char *made = pki_enrolment_request(enrolment, &size);
	char *body = made ? encode(made, size) : NULL;

	snprintf(reply->cause, sizeof(reply->cause), "the request cannot be made");
	if (!body)
		goto out;
	request.body = body;
	request.body_size = strlen(body);
	if (!pki_http(&request, &answer)) {
		snprintf(reply->cause, sizeof(reply->cause), "%s", answer.cause);
		verdict = PKI_UNREACHABLE;
	} else if (answer.status == 202) {
		snprintf(reply->cause, sizeof(reply->cause), "the CA has not decided yet");
		reply->retry_after_sec = answer.retry_after_sec;
		verdict = PKI_PENDING;
	} else if (answer.status != 200) {
		verdict = pki_judge_status(address, &answer, reply->cause);
	} else if ((reply->issued = take_certificates(&answer))) {
		verdict = PKI_ISSUED;
	} else {
		snprintf(reply->cause, sizeof(reply->cause), "what came is no certificate");
	}
out:
	pki_http_forget(&answer);
	OPENSSL_free(made);
	free(body);
	return verdict;
}
