/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/coordinator/handover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"

#define RETRY_MSEC 1000

static const char *const receivers[] = {
	[HANDOVER_SERVERS] = "nat-qos-agent",
	[HANDOVER_ROUTES] = "track-agent",
};

static struct handover_item **items_of(struct handover *handover, enum handover_kind kind)
{
	return kind == HANDOVER_SERVERS ? &handover->servers : &handover->routes;
}

static struct handover_item *find(struct handover *handover, enum handover_kind kind,
                                  const char *key)
{
	struct handover_item *item;

	HASH_FIND_STR(*items_of(handover, kind), key, item);
	return item;
}

static void add_item(struct handover *handover, enum handover_kind kind, const char *key)
{
	struct handover_item *item;

	if (find(handover, kind, key))
		return;
	item = &handover->items[handover->item_count++];
	*item = (struct handover_item){.handover = handover, .kind = kind, .key = key};
	HASH_ADD_KEYPTR(hh, *items_of(handover, kind), key, strlen(key), item);
}

struct handover *handover_create(const struct config *config, const struct handover_port *port)
{
	struct handover *handover = calloc(1, sizeof(*handover));

	if (!handover)
		return NULL;
	handover->config = config;
	handover->port = *port;
	handover->items = calloc(2 * config->line_count + 1, sizeof(*handover->items));
	handover->leases = calloc(config->line_count + 1, sizeof(*handover->leases));
	handover->is_lease_known = calloc(config->line_count + 1,
	                                  sizeof(*handover->is_lease_known));
	if (!handover->items || !handover->leases || !handover->is_lease_known) {
		handover_destroy(handover);
		return NULL;
	}
	for (size_t i = 0; i < config->line_count; i++)
		add_item(handover, HANDOVER_SERVERS, config->lines[i].number);
	for (size_t i = 0; i < config->line_count; i++)
		add_item(handover, HANDOVER_ROUTES, config->lines[i].wan_interface);
	return handover;
}

void handover_destroy(struct handover *handover)
{
	if (!handover)
		return;
	HASH_CLEAR(hh, handover->servers);
	HASH_CLEAR(hh, handover->routes);
	free(handover->items);
	free(handover->leases);
	free(handover->is_lease_known);
	free(handover);
}

void handover_add(struct handover_set *set, const struct handover_entry *entry)
{
	size_t at = 0;
	int order = 1;

	while (at < set->count && (order = memcmp(&set->entries[at], entry, sizeof(*entry))) < 0)
		at++;
	if ((at < set->count && order == 0) || set->count == HANDOVER_ENTRIES)
		return;
	memmove(&set->entries[at + 1], &set->entries[at],
	        (set->count - at) * sizeof(set->entries[0]));
	set->entries[at] = *entry;
	set->count++;
}

static bool is_equal(const struct handover_set *a, const struct handover_set *b)
{
	return a->count == b->count &&
	       !memcmp(a->entries, b->entries, a->count * sizeof(a->entries[0]));
}

static void order(struct handover_item *item)
{
	struct handover *handover = item->handover;

	item->is_confirmed = false;
	item->is_refused = false;
	item->is_stale = item->is_in_flight;
	if (item->is_in_flight)
		return;
	item->is_in_flight = true;
	handover->orders++;
	handover->port.order(handover->port.context, item);
}

static void want(struct handover_item *item, const struct handover_set *wanted)
{
	if (item->is_known && is_equal(&item->wanted, wanted))
		return;
	item->is_known = true;
	item->wanted = *wanted;
	order(item);
}

void handover_servers_told(struct handover *handover, const char *local_number,
                           const struct handover_set *servers)
{
	struct handover_item *item = find(handover, HANDOVER_SERVERS, local_number);

	if (item && servers->count)
		want(item, servers);
}

/* All lines of a WAN have one lease; whichever of them sip-agent has told of counts. */
void handover_routes_told(struct handover *handover, const char *local_number,
                          const struct handover_set *routes)
{
	const struct handover_item *servers = find(handover, HANDOVER_SERVERS, local_number);
	struct handover_set all = {.count = 0};

	if (!servers)
		return;
	const size_t place = (size_t)(servers - handover->items); /* that of the line */
	const struct config_line *line = &handover->config->lines[place];
	if (handover->is_lease_known[place] && is_equal(&handover->leases[place], routes))
		return;
	handover->leases[place] = *routes;
	handover->is_lease_known[place] = true;
	for (size_t i = 0; i < handover->config->line_count; i++) {
		const struct config_line *other = &handover->config->lines[i];

		if (!handover->is_lease_known[i] ||
		    strcmp(other->wan_interface, line->wan_interface) != 0)
			continue;
		for (size_t route = 0; route < handover->leases[i].count; route++)
			handover_add(&all, &handover->leases[i].entries[route]);
	}
	want(find(handover, HANDOVER_ROUTES, line->wan_interface), &all);
}

void handover_servers_shown(struct handover *handover, const char *local_number,
                            const struct handover_set *servers)
{
	struct handover_item *item = find(handover, HANDOVER_SERVERS, local_number);

	if (!item || !item->is_known || item->is_in_flight)
		return;
	if (is_equal(&item->wanted, servers))
		item->is_confirmed = true;
	else
		order(item);
}

void handover_routes_shown(struct handover *handover)
{
	for (size_t i = 0; i < handover->item_count; i++) {
		struct handover_item *item = &handover->items[i];

		if (item->kind == HANDOVER_ROUTES && item->is_known && !item->is_in_flight)
			order(item);
	}
}

/* It comes again each second, or with each comparison: said once. */
static void tell_failure(struct handover_item *item, const char *cause)
{
	if (!strcmp(item->cause, cause))
		return;
	snprintf(item->cause, sizeof(item->cause), "%s", cause);
	log_line(LOG_WARNING, "%s of %s: %s does not take them over: %s",
	         item->kind == HANDOVER_SERVERS ? "SIP servers" : "routes", item->key,
	         receivers[item->kind], cause);
}

void handover_replied(struct handover_item *item, enum handover_outcome outcome, const char *cause)
{
	struct handover *handover = item->handover;

	item->is_in_flight = false;
	if (outcome == HANDOVER_DONE)
		item->cause[0] = '\0';
	else
		tell_failure(item, cause);
	if (item->is_stale) {
		order(item);
		return;
	}
	item->is_confirmed = outcome == HANDOVER_DONE;
	item->is_refused = outcome == HANDOVER_REFUSED;
	if (outcome == HANDOVER_UNANSWERED)
		handover->port.start_timer(handover->port.context, RETRY_MSEC);
}

void handover_retry(struct handover *handover)
{
	for (size_t i = 0; i < handover->item_count; i++) {
		struct handover_item *item = &handover->items[i];

		if (item->is_known && !item->is_confirmed && !item->is_refused &&
		    !item->is_in_flight)
			order(item);
	}
}
