/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The caller of an INVITE as its headers name it. */
#include <sofia-sip/sip_extra.h>
#include <sofia-sip/url.h>
#include <stdio.h>
#include <strings.h>

#include "services/common/log.h"
#include "services/sip-agent/identity.h"
#include "services/sip-agent/sofia_internal.h"

static void read_asserted(su_home_t *home, const char *value, struct identity_claim *claim)
{
	const sip_p_asserted_identity_t *identity = sip_p_asserted_identity_make(home, value);

	/* A value that cannot be read is one that is no number. */
	if (!identity && claim->asserted_count < IDENTITY_ASSERTED_MAXIMUM)
		claim->asserted[claim->asserted_count++] = "";
	for (; identity; identity = identity->paid_next)
		if (claim->asserted_count < IDENTITY_ASSERTED_MAXIMUM)
			claim->asserted[claim->asserted_count++] =
				url_as_string(home, identity->paid_url);
}

static void read_claim(su_home_t *home, const sip_t *sip, struct identity_claim *claim)
{
	*claim = (struct identity_claim){0};
	for (const sip_unknown_t *header = sip->sip_unknown; header; header = header->un_next) {
		if (strcasecmp(header->un_name, "P-Asserted-Identity") == 0) {
			read_asserted(home, header->un_value, claim);
		} else if (strcasecmp(header->un_name, "P-Called-Party-ID") == 0) {
			const sip_to_t *called = sip_to_make(home, header->un_value);

			claim->called_party = called ? url_as_string(home, called->a_url) : NULL;
		}
	}
	claim->from = url_as_string(home, sip->sip_from->a_url);
	claim->to = url_as_string(home, sip->sip_to->a_url);
}

bool sofia_guard_admits_caller(struct sofia_line *line, msg_t *message, const sip_t *sip,
                               char number[NUMBER_SIZE])
{
	static const struct {
		enum guard_class class;
		int status;
		const char *phrase, *text;
	} refusals[] = {
		[IDENTITY_WITHHELD] = {GUARD_ANONYMOUS, 433, "Anonymity Disallowed",
	                               "the caller's number is withheld"},
		[IDENTITY_UNUSABLE] = {GUARD_UNKNOWN_CALLER, SIP_403_FORBIDDEN,
	                               "the caller's identity is no telephone number"},
		[IDENTITY_UNKNOWN] = {GUARD_UNKNOWN_CALLER, SIP_403_FORBIDDEN,
	                              "the caller is no peer of this line"},
		[IDENTITY_NOT_OURS] = {GUARD_NOT_OUR_NUMBER, SIP_404_NOT_FOUND,
	                               "another number was called"},
	};
	struct identity_claim claim;
	su_home_t home[1] = {SU_HOME_INIT(home)};
	enum identity_verdict verdict;

	read_claim(home, sip, &claim);
	verdict = identity_judge(line->sofia->config, line->config, &claim, number);
	log_debug(LOG_SIP_TRANSLATE, NULL, NULL, "P-Asserted-Identity %s, From %s -> %s",
	          claim.asserted_count ? claim.asserted[0] : "-", claim.from ? claim.from : "-",
	          number[0] ? number : "no telephone number");
	su_home_deinit(home);
	if (verdict == IDENTITY_ACCEPTED)
		return true;
	sofia_guard_note(line, refusals[verdict].class, message);
	log_debug(LOG_SIP_ERROR, NULL, number, "INVITE on line %s refused: %d %s",
	          line->config->number, refusals[verdict].status, refusals[verdict].text);
	nta_msg_treply(line->agent, message, refusals[verdict].status, refusals[verdict].phrase,
	               TAG_END());
	return false;
}
