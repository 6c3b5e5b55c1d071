/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/digest.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HEX_SIZE (2 * EVP_MAX_MD_SIZE + 1)

/* Strongest first. */
static const struct {
	const char *name;
	const EVP_MD *(*hash)(void);
} algorithms[] = {
	{"SHA-512-256", EVP_sha512_256},
	{"SHA-256", EVP_sha256},
	{"MD5", EVP_md5},
};

#define ALGORITHM_MD5 2 /* the last, the weakest */

#define ALGORITHM_COUNT (sizeof(algorithms) / sizeof(algorithms[0]))

/* Index into algorithms[], or ALGORITHM_COUNT. */
static size_t algorithm_of(const struct digest_challenge *challenge)
{
	const char *name = challenge->algorithm ? challenge->algorithm : "MD5";
	size_t i;

	for (i = 0; i < ALGORITHM_COUNT; i++)
		if (strcasecmp(algorithms[i].name, name) == 0)
			break;
	return i;
}

/* The comma-separated list of `qop` offers `word`. */
static bool offers(const char *qop, const char *word)
{
	size_t size = strlen(word);

	while (qop && *qop) {
		qop += strspn(qop, " \t,");
		size_t length = strcspn(qop, " \t,");
		if (length == size && strncasecmp(qop, word, size) == 0)
			return true;
		qop += length;
	}
	return false;
}

static const char *protection_of(const struct digest_challenge *challenge)
{
	if (offers(challenge->qop, "auth"))
		return "auth";
	return offers(challenge->qop, "auth-int") ? "auth-int" : NULL;
}

int digest_choose(const struct digest_challenge *challenges, size_t count, bool allows_md5)
{
	size_t best = allows_md5 ? ALGORITHM_COUNT : ALGORITHM_MD5;
	int chosen = -1;

	for (size_t i = 0; i < count; i++) {
		const struct digest_challenge *challenge = &challenges[i];

		if (!challenge->scheme || strcasecmp(challenge->scheme, "Digest") != 0 ||
		    !challenge->realm || !challenge->nonce)
			continue;
		if (challenge->qop && !protection_of(challenge))
			continue;
		if (algorithm_of(challenge) < best) {
			best = algorithm_of(challenge);
			chosen = (int)i;
		}
	}
	return chosen;
}

bool digest_is_stale(const struct digest_challenge *challenge)
{
	return challenge->stale && strcasecmp(challenge->stale, "true") == 0;
}

/* Hash of the strings up to NULL joined by colons, as lower-case hexadecimal. */
static bool hash_joined(const EVP_MD *hash, char hex[HEX_SIZE], ...)
{
	unsigned char octets[EVP_MAX_MD_SIZE];
	unsigned size = 0;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool is_ok = context && EVP_DigestInit_ex(context, hash, NULL);
	const char *text;
	va_list strings;

	va_start(strings, hex);
	for (unsigned i = 0; is_ok && (text = va_arg(strings, const char *)); i++)
		is_ok = (i == 0 || EVP_DigestUpdate(context, ":", 1)) &&
		        EVP_DigestUpdate(context, text, strlen(text));
	va_end(strings);
	is_ok = is_ok && EVP_DigestFinal_ex(context, octets, &size);
	EVP_MD_CTX_free(context);
	for (unsigned i = 0; is_ok && i < size; i++)
		snprintf(hex + 2 * i, 3, "%02x", octets[i]);
	OPENSSL_cleanse(octets, sizeof(octets));
	return is_ok;
}

static bool hash_octets(const EVP_MD *hash, char hex[HEX_SIZE], const void *data, size_t data_size)
{
	unsigned char octets[EVP_MAX_MD_SIZE];
	unsigned size = 0;

	if (!EVP_Digest(data, data_size, octets, &size, hash, NULL))
		return false;
	for (unsigned i = 0; i < size; i++)
		snprintf(hex + 2 * i, 3, "%02x", octets[i]);
	return true;
}

/* The response of RFC 7616 section 3.4.1. */
static bool compute_response(const struct digest_challenge *challenge,
                             const struct digest_request *request, const char *protection,
                             const char *count, char response[HEX_SIZE])
{
	const EVP_MD *hash = algorithms[algorithm_of(challenge)].hash();
	char a1[HEX_SIZE], a2[HEX_SIZE], body[HEX_SIZE];
	bool is_ok = hash_joined(hash, a1, request->user, challenge->realm, request->password,
	                         NULL);

	if (protection && strcmp(protection, "auth-int") == 0)
		is_ok = is_ok && hash_octets(hash, body, request->body, request->body_size) &&
		        hash_joined(hash, a2, request->method, request->uri, body, NULL);
	else
		is_ok = is_ok && hash_joined(hash, a2, request->method, request->uri, NULL);
	if (protection)
		is_ok = is_ok && hash_joined(hash, response, a1, challenge->nonce, count,
		                             request->cnonce, protection, a2, NULL);
	else
		is_ok = is_ok && hash_joined(hash, response, a1, challenge->nonce, a2, NULL);
	OPENSSL_cleanse(a1, sizeof(a1));
	return is_ok;
}

/* Quoted strings are repeated as they came, so none may end early. */
static bool is_quotable(const char *text)
{
	return !text || !strpbrk(text, "\"\\\r\n");
}

bool digest_answer(const struct digest_challenge *challenge, const struct digest_request *request,
                   char answer[DIGEST_ANSWER_SIZE])
{
	const char *protection = protection_of(challenge);
	char count[9], response[HEX_SIZE];
	size_t length = 0;

	if (algorithm_of(challenge) == ALGORITHM_COUNT || !is_quotable(challenge->realm) ||
	    !is_quotable(challenge->nonce) || !is_quotable(challenge->opaque) ||
	    !is_quotable(request->user) || !is_quotable(request->uri))
		return false;
	snprintf(count, sizeof(count), "%08x", request->nonce_count);
	if (!compute_response(challenge, request, protection, count, response))
		return false;
	length +=
		(size_t)snprintf(answer, DIGEST_ANSWER_SIZE,
	                         "Digest username=\"%s\", realm=\"%s\", nonce=\"%s\", uri=\"%s\", "
	                         "response=\"%s\", algorithm=%s",
	                         request->user, challenge->realm, challenge->nonce, request->uri,
	                         response, algorithms[algorithm_of(challenge)].name);
	if (protection && length < DIGEST_ANSWER_SIZE)
		length += (size_t)snprintf(answer + length, DIGEST_ANSWER_SIZE - length,
		                           ", cnonce=\"%s\", qop=%s, nc=%s", request->cnonce,
		                           protection, count);
	if (challenge->opaque && length < DIGEST_ANSWER_SIZE)
		length += (size_t)snprintf(answer + length, DIGEST_ANSWER_SIZE - length,
		                           ", opaque=\"%s\"", challenge->opaque);
	return length < DIGEST_ANSWER_SIZE;
}
