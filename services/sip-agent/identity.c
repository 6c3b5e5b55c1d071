/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/identity.h"

#include <string.h>
#include <strings.h>

static bool is_anonymous(const char *uri)
{
	const char *user = strchr(uri, ':');

	user = user ? user + 1 : uri;
	return strncasecmp(user, "anonymous", 9) == 0 ||
	       strncasecmp(user, "unavailable", 11) == 0 ||
	       strcasestr(user, "@anonymous.invalid") != NULL;
}

static bool is_tel(const char *uri)
{
	return strncasecmp(uri, "tel:", 4) == 0;
}

static enum identity_verdict read_number(const struct config_line *line, const char *uri,
                                         char number[NUMBER_SIZE])
{
	if (is_anonymous(uri))
		return IDENTITY_WITHHELD;
	/* Without a user part what stands there is a host, also one of digits. */
	if (!is_tel(uri) && !strchr(uri, '@'))
		return IDENTITY_UNUSABLE;
	return number_normalise(uri, line->country_code, line->trunk_prefix, number)
	               ? IDENTITY_ACCEPTED
	               : IDENTITY_UNUSABLE;
}

/* One value, or one sip and one tel URI of the same number (RFC 3325 section 9.1). */
static enum identity_verdict read_asserted(const struct config_line *line,
                                           const struct identity_claim *claim,
                                           char number[NUMBER_SIZE])
{
	char other[NUMBER_SIZE];
	enum identity_verdict verdict = read_number(line, claim->asserted[0], number);

	if (verdict != IDENTITY_ACCEPTED || claim->asserted_count == 1)
		return verdict;
	if (claim->asserted_count > 2 || is_tel(claim->asserted[0]) == is_tel(claim->asserted[1]))
		return IDENTITY_UNUSABLE;
	verdict = read_number(line, claim->asserted[1], other);
	if (verdict == IDENTITY_ACCEPTED && strcmp(number, other) != 0)
		verdict = IDENTITY_UNUSABLE;
	return verdict;
}

static enum identity_verdict read_caller(const struct config_line *line,
                                         const struct identity_claim *claim,
                                         char number[NUMBER_SIZE])
{
	if (claim->asserted_count)
		return read_asserted(line, claim, number);
	if (line->caller_identity == CALLER_FROM && claim->from)
		return read_number(line, claim->from, number);
	return IDENTITY_WITHHELD;
}

/* What is no telephone number says nothing about which one was called. */
static bool is_for_line(const struct config_line *line, const struct identity_claim *claim)
{
	const char *called = claim->called_party ? claim->called_party : claim->to;
	char number[NUMBER_SIZE];

	return line->reads_called_party != CHOICE_YES || !called ||
	       read_number(line, called, number) != IDENTITY_ACCEPTED ||
	       strcmp(number, line->number) == 0;
}

enum identity_verdict identity_judge(const struct config *config, const struct config_line *line,
                                     const struct identity_claim *claim, char number[NUMBER_SIZE])
{
	enum identity_verdict verdict = read_caller(line, claim, number);
	const struct config_peer *peer;

	if (verdict != IDENTITY_ACCEPTED) {
		number[0] = '\0';
		return verdict;
	}
	peer = config_peer_by_number(config, number);
	if (!peer || peer->line != line)
		return IDENTITY_UNKNOWN;
	return is_for_line(line, claim) ? IDENTITY_ACCEPTED : IDENTITY_NOT_OURS;
}
