/* SPDX-License-Identifier: GPL-3.0-or-later */
#include <sofia-sip/msg_header.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/sip-agent/credentials.h"
#include "services/sip-agent/sofia_internal.h"

#define CHALLENGES_MAXIMUM 8
#define STALE_MAXIMUM      2

void sofia_auth_reset(struct sofia_auth *auth)
{
	free(auth->authorization);
	free(auth->proxy_authorization);
	*auth = (struct sofia_auth){0};
}

/* A parameter without its quotes, or NULL. */
static const char *parameter(su_home_t *home, const msg_auth_t *header, const char *name)
{
	const char *value = msg_params_find(header->au_params, name);
	size_t length;

	if (!value || value[0] != '"')
		return value;
	char *text = su_strdup(home, value + 1);
	length = text ? strlen(text) : 0;
	if (length && text[length - 1] == '"')
		text[length - 1] = '\0';
	return text;
}

/*
 * The realm that the registrar named first is kept, and our password answers that realm alone: whoever we call could send a
 * 401 of his own through the carrier, and whoever gets hold of the registrar's address one to our REGISTER, and try passwords
 * against the answer at leisure.
 */
static bool is_our_realm(const struct sofia_line *line, const char *realm)
{
	return !line->realm[0] || (realm && strcmp(realm, line->realm) == 0);
}

static size_t read_challenges(su_home_t *home, const struct sofia_line *line,
                              const msg_auth_t *header,
                              struct digest_challenge challenges[CHALLENGES_MAXIMUM])
{
	size_t count = 0;

	for (; header && count < CHALLENGES_MAXIMUM; header = header->au_next) {
		const struct digest_challenge challenge = {
			.scheme = header->au_scheme,
			.realm = parameter(home, header, "realm="),
			.nonce = parameter(home, header, "nonce="),
			.opaque = parameter(home, header, "opaque="),
			.algorithm = parameter(home, header, "algorithm="),
			.qop = parameter(home, header, "qop="),
			.stale = parameter(home, header, "stale="),
		};

		if (is_our_realm(line, challenge.realm))
			challenges[count++] = challenge;
	}
	return count;
}

/* The body of the request that was challenged, for qop=auth-int. */
static void find_body(const sip_t *request, const char **body, size_t *size)
{
	*body = request && request->sip_payload ? request->sip_payload->pl_data : "";
	*size = request && request->sip_payload ? request->sip_payload->pl_len : 0;
}

static bool sign(struct sofia_line *line, su_home_t *home, const nta_outgoing_t *request,
                 const struct digest_challenge *challenge, char **answer)
{
	char password[CREDENTIALS_SIZE], cnonce[SOFIA_TOKEN_SIZE], text[DIGEST_ANSWER_SIZE];
	msg_t *message = nta_outgoing_getrequest((nta_outgoing_t *)request);
	struct digest_request signature = {
		.user = line->config->user ? line->config->user : line->config->number,
		.password = password,
		.method = nta_outgoing_method_name(request),
		.uri = url_as_string(home, nta_outgoing_request_uri(request)),
		.cnonce = cnonce,
		.nonce_count = 1,
	};
	bool is_ok = credentials_read(line->config->credentials_file, password);

	sofia_random_token(line->sofia, cnonce, sizeof(cnonce));
	find_body(message ? sip_object(message) : NULL, &signature.body, &signature.body_size);
	is_ok = is_ok && signature.uri && digest_answer(challenge, &signature, text);
	credentials_wipe(password);
	if (message)
		msg_destroy(message);
	free(*answer);
	*answer = is_ok ? strdup(text) : NULL;
	return *answer != NULL;
}

static void keep_realm(struct sofia_line *line, const char *realm)
{
	if (strcmp(line->realm, realm) == 0)
		return;
	snprintf(line->realm, sizeof(line->realm), "%s", realm);
	sofia_line_keep_identity(line);
}

/* Why none of the challenges is answered; `count` of them are of our realm. */
static void explain_unusable(const struct sofia_line *line,
                             const struct digest_challenge *challenges, size_t count,
                             const msg_auth_t *header, char *why, size_t why_size)
{
	if (header && count == 0)
		snprintf(why, why_size,
		         "the password is asked for another realm than \"%s\", the registrar's",
		         line->realm);
	else if (digest_choose(challenges, count, true) >= 0)
		snprintf(why, why_size, "the carrier offers nothing but MD5, and allow-md5 is off");
	else
		snprintf(why, why_size, "the carrier offers no authentication that we can use");
}

/* One kind of challenge: `answer` is what we sent to the last one, or NULL. */
static bool respond(struct sofia_auth *auth, struct sofia_line *line, const nta_outgoing_t *request,
                    const msg_auth_t *header, char **answer, char *why, size_t why_size)
{
	struct digest_challenge challenges[CHALLENGES_MAXIMUM];
	su_home_t home[1] = {SU_HOME_INIT(home)};
	bool is_ok = false;

	size_t count = read_challenges(home, line, header, challenges);
	int chosen = digest_choose(challenges, count, line->config->allows_md5);
	bool is_repeated = *answer != NULL;
	log_debug(LOG_SIP_PREAUTH, NULL, NULL,
	          "line %s: %s challenged: %zu challenges, realm %s, algorithm %s",
	          line->config->number, nta_outgoing_method_name(request), count,
	          chosen >= 0 ? challenges[chosen].realm : "-",
	          chosen >= 0 && challenges[chosen].algorithm ? challenges[chosen].algorithm : "-");
	if (!line->config->credentials_file) {
		snprintf(why, why_size,
		         "the carrier asks for a password and no credentials-file is configured");
	} else if (chosen < 0) {
		explain_unusable(line, challenges, count, header, why, why_size);
	} else if (is_repeated &&
	           !(digest_is_stale(&challenges[chosen]) && auth->stale_count++ < STALE_MAXIMUM)) {
		snprintf(why, why_size, "the carrier refused the password of %s",
		         line->config->user ? line->config->user : line->config->number);
	} else if (!sign(line, home, request, &challenges[chosen], answer)) {
		snprintf(why, why_size, "the challenge of the carrier cannot be answered with %s",
		         line->config->credentials_file);
	} else {
		is_ok = true;
		if (nta_outgoing_method(request) == sip_method_register)
			keep_realm(line, challenges[chosen].realm);
	}
	if (!is_ok)
		log_debug(LOG_SIP_ERROR, NULL, NULL, "line %s: %s", line->config->number, why);
	su_home_deinit(home);
	return is_ok;
}

bool sofia_auth_challenged(struct sofia_auth *auth, struct sofia_line *line,
                           const nta_outgoing_t *request, const sip_t *response, char *why,
                           size_t why_size)
{
	if (response->sip_status->st_status == 401)
		return respond(auth, line, request, response->sip_www_authenticate,
		               &auth->authorization, why, why_size);
	return respond(auth, line, request, response->sip_proxy_authenticate,
	               &auth->proxy_authorization, why, why_size);
}
