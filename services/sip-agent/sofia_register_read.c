/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a 2xx to REGISTER says: the bindings of our number, where our calls are to pass, what we may call from. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/sip-agent/number.h"
#include "services/sip-agent/sofia_internal.h"

enum binding { BINDING_FOREIGN, BINDING_ALIKE, BINDING_OURS };

/*
 * Our user part says that it is ours, unless it is the number itself, which anybody may use. An SBC may have put its own address behind it, but beside a binding with our
 * address it is a former one, or somebody's who has read the token.
 */
static enum binding binding_of(const struct sofia_line *line, const url_t *ours, const url_t *url)
{
	if (!url->url_user || !url->url_host || !ours->url_user ||
	    strcmp(url->url_user, ours->url_user) != 0)
		return BINDING_FOREIGN;
	if (strcasecmp(url->url_host, ours->url_host) != 0 ||
	    strcmp(url_port(url), url_port(ours)) != 0)
		return line->config->contact_user == CONTACT_NUMBER ? BINDING_FOREIGN
		                                                    : BINDING_ALIKE;
	return BINDING_OURS;
}

/* The binding that is taken for ours; NULL = there is none. */
static const sip_contact_t *find_ours(const struct sofia_line *line, const url_t *ours,
                                      const sip_contact_t *contact)
{
	const sip_contact_t *found = NULL;

	for (; contact; contact = contact->m_next) {
		const enum binding binding = binding_of(line, ours, contact->m_url);

		if (binding == BINDING_OURS)
			return contact;
		if (binding == BINDING_ALIKE && !found)
			found = contact;
	}
	return found;
}

static void set_alarm(struct sofia_line *line, const char *binding)
{
	char alarm[sizeof(line->alarm)] = "";

	if (binding)
		snprintf(alarm, sizeof(alarm), "somebody else is registered as %s: %s",
		         line->config->number, binding);
	if (strcmp(alarm, line->alarm) == 0)
		return;
	memcpy(line->alarm, alarm, sizeof(alarm));
	if (binding)
		log_line(LOG_ERR, "line %s: %s", line->config->number, alarm);
	else
		log_line(LOG_NOTICE, "line %s: nobody else is registered as it any more",
		         line->config->number);
}

/* Bindings other than ours: former ones are to go, the rest is told. */
static void judge_others(struct sofia_line *line, su_home_t *home, const url_t *ours,
                         const sip_contact_t *found, const sip_contact_t *contact)
{
	const char *foreign = NULL;
	const bool was_clearing = line->is_clearing;

	line->stale_contact[0] = '\0';
	for (; contact; contact = contact->m_next) {
		const char *uri = url_as_string(home, contact->m_url);

		if (contact == found || !uri)
			continue;
		if (binding_of(line, ours, contact->m_url) != BINDING_FOREIGN && !was_clearing &&
		    strlen(uri) + sizeof("<>") <= sizeof(line->stale_contact))
			snprintf(line->stale_contact, sizeof(line->stale_contact), "<%s>", uri);
		else
			foreign = uri;
	}
	if (line->stale_contact[0])
		log_line(LOG_WARNING, "line %s: a binding of ours at another address goes: %s",
		         line->config->number, line->stale_contact);
	set_alarm(line, foreign);
}

/* What was granted: the parameter of our Contact, else the Expires header (RFC 3261 section 10.2.4). */
static unsigned granted_seconds(const struct sofia_line *line, const sip_t *sip,
                                const sip_contact_t *found)
{
	if (found && found->m_expires)
		return (unsigned)strtoul(found->m_expires, NULL, 10);
	return sip->sip_expires ? (unsigned)sip->sip_expires->ex_delta : line->core.asked_sec;
}

/* Says something to the server that is named: a user part, or another parameter than those that only lead there. */
static bool has_message(const url_t *url)
{
	const char *parameter = url->url_params;

	if (url->url_user)
		return true;
	while (parameter && *parameter) {
		const size_t length = strcspn(parameter, ";");

		if (strncasecmp(parameter, "lr", length > 2 ? length : 2) != 0 &&
		    strncasecmp(parameter, "transport=", strlen("transport=")) != 0)
			return true;
		parameter += length + (parameter[length] == ';');
	}
	return false;
}

/* Whether the URI is the server that answered and nothing else, which is the first hop anyhow. */
static bool is_answering_server(const struct sofia_line *line, const url_t *url)
{
	char host[ADDRESS_TEXT_SIZE];

	address_format(&line->asked.address, host);
	return url->url_host && !has_message(url) &&
	       (strcasecmp(url->url_host, host) == 0 ||
	        strcasecmp(url->url_host, line->asked.name) == 0) &&
	       strtoul(url_port(url), NULL, 10) == address_port(&line->asked.address);
}

/*
 * RFC 3608. A list that is too long for us is not used in part. The Path beside it (RFC 3327) leads from the registrar to us: it is
 * the registrar that follows it, and nothing of ours may.
 */
static void read_service_route(struct sofia_line *line, su_home_t *home, const sip_t *sip)
{
	const sip_service_route_t *route = sip->sip_service_route;
	char text[SOFIA_SERVICE_ROUTE_SIZE];
	size_t length = 0;

	sofia_register_drop_route(line);
	if (route && is_answering_server(line, route->r_url))
		route = route->r_next;
	for (; route; route = route->r_next) {
		const char *uri = url_as_string(home, route->r_url);

		if (!uri || length + strlen(uri) + sizeof("<>, ") > sizeof(text)) {
			log_line(LOG_WARNING, "line %s: its Service-Route is too long to be used",
			         line->config->number);
			return;
		}
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s<%s>",
		                           length ? ", " : "", uri);
	}
	if (length)
		line->service_route = strdup(text);
}

static void add_associated(struct sofia_line *line, const char *uri)
{
	char digits[NUMBER_SIZE], (*more)[NUMBER_SIZE];

	if (line->associated_count == REGISTRATION_ASSOCIATED_MAXIMUM ||
	    !number_normalise(uri, line->config->country_code, line->config->trunk_prefix, digits))
		return;
	for (size_t i = 0; i < line->associated_count; i++)
		if (strcmp(line->associated_numbers[i], digits) == 0)
			return;
	more = realloc(line->associated_numbers, (line->associated_count + 1) * sizeof(*more));
	if (!more)
		return;
	line->associated_numbers = more;
	snprintf(more[line->associated_count++], NUMBER_SIZE, "%s", digits);
}

/* P-Associated-URI (RFC 7315): a list of name-addr; sofia-sip does not know it. */
static void read_associated(struct sofia_line *line, const sip_t *sip)
{
	char uri[SOFIA_URI_SIZE];

	line->associated_count = 0;
	for (const msg_unknown_t *header = sip->sip_unknown; header; header = header->un_next) {
		if (strcasecmp(header->un_name, "P-Associated-URI") != 0)
			continue;
		for (const char *start = strchr(header->un_value, '<'); start;
		     start = strchr(start, '<')) {
			const int length = (int)strcspn(++start, ">");

			if (length < (int)sizeof(uri)) {
				snprintf(uri, sizeof(uri), "%.*s", length, start);
				add_associated(line, uri);
			}
		}
	}
}

void sofia_register_drop_route(struct sofia_line *line)
{
	free(line->service_route);
	line->service_route = NULL;
}

void sofia_register_forget(struct sofia_line *line)
{
	sofia_register_drop_route(line);
	line->associated_count = 0;
	line->stale_contact[0] = '\0';
	set_alarm(line, NULL);
}

bool sofia_register_read(struct sofia_line *line, const sip_t *sip, unsigned *granted_sec)
{
	su_home_t home[1] = {SU_HOME_INIT(home)};
	const sip_contact_t *ours = sip_contact_make(home, line->contact);
	const sip_contact_t *found = ours ? find_ours(line, ours->m_url, sip->sip_contact) : NULL;
	/* A registrar that lists no binding at all has to say at least for how long. */
	const bool is_bound = found || (!sip->sip_contact && sip->sip_expires);

	*granted_sec = granted_seconds(line, sip, found);
	if (ours && !line->is_leaving) {
		judge_others(line, home, ours->m_url, found, sip->sip_contact);
		read_service_route(line, home, sip);
		read_associated(line, sip);
	}
	su_home_deinit(home);
	return is_bound;
}
