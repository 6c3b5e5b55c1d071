/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_table.h"

#include <event2/event.h>
#include <jansson.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nft_watch.h"
#include "ruleset.h"

struct nft_table {
	struct nft_ctx *nft;
	struct nft_watch *watch;
	bool has_ipv6;
	char *listing; /* the table as our last change left it; NULL = not known yet */
	struct event *remember;
};

/* A listing costs as much as all sessions together: it waits until no call waits for its change. */
static const struct timeval remember_after = {.tv_usec = 100000};

static void remember_listing(evutil_socket_t fd, short what, void *context);

struct nft_table *nft_table_open(struct event_base *base, bool has_ipv6,
                                 void (*changed)(void *context), void *context, char *why,
                                 size_t why_size)
{
	struct nft_table *table = calloc(1, sizeof(*table));

	snprintf(why, why_size, "out of memory");
	if (table == NULL)
		return NULL;
	table->has_ipv6 = has_ipv6;
	table->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (table->nft == NULL || nft_ctx_buffer_output(table->nft) != 0 ||
	    nft_ctx_buffer_error(table->nft) != 0) {
		snprintf(why, why_size, "libnftables cannot be initialised");
		goto out;
	}
	table->watch = nft_watch_open(base, changed, context, why, why_size);
	if (table->watch == NULL)
		goto out;
	table->remember = evtimer_new(base, remember_listing, table);
	if (table->remember == NULL)
		goto out;
	return table;
out:
	nft_table_close(table);
	return NULL;
}

void nft_table_close(struct nft_table *table)
{
	if (table == NULL)
		return;
	nft_watch_close(table->watch);
	if (table->remember != NULL)
		event_free(table->remember);
	if (table->nft != NULL)
		nft_ctx_free(table->nft);
	free(table->listing);
	free(table);
}

/* The output of a listing, owned by the caller; NULL when there is no table. */
static char *list(struct nft_table *table, const char *command, unsigned flags)
{
	char *output = NULL;

	nft_ctx_output_set_flags(table->nft, flags);
	if (nft_run_cmd_from_buffer(table->nft, command) == 0)
		output = strdup(nft_ctx_get_output_buffer(table->nft));
	else
		(void)nft_ctx_get_error_buffer(table->nft); /* empties it for the next command */
	return output;
}

/* What is to stay as it is; NULL when a part of it is missing. (nft 1.0.6 cannot list two families by one command.) */
static char *list_tables(struct nft_table *table)
{
	unsigned flags = NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL;
	char *ipv4 = list(table, "list table " RULESET_TABLE, flags);
	char *ipv6 = table->has_ipv6 ? list(table, "list table " RULESET_TABLE_IPV6, flags)
	                             : strdup("");
	char *both = NULL;

	if (ipv4 != NULL && ipv6 != NULL && asprintf(&both, "%s%s", ipv4, ipv6) < 0)
		both = NULL;
	free(ipv4);
	free(ipv6);
	return both;
}

static void remember_listing(evutil_socket_t fd, short what, void *context)
{
	struct nft_table *table = context;

	(void)fd;
	(void)what;
	/* What another process changed in between must not be taken for ours. */
	if (!nft_watch_has_news(table->watch))
		table->listing = list_tables(table);
}

bool nft_table_run(struct nft_table *table, const char *text, char *why, size_t why_size)
{
	bool is_done;

	nft_ctx_output_set_flags(table->nft, 0);
	is_done = nft_run_cmd_from_buffer(table->nft, text) == 0;
	(void)nft_ctx_get_output_buffer(table->nft);
	if (!is_done) {
		snprintf(why, why_size, "nft: %s", nft_ctx_get_error_buffer(table->nft));
		why[strcspn(why, "\n")] = '\0';
	}
	free(table->listing);
	table->listing = NULL;
	event_add(table->remember, &remember_after);
	return is_done;
}

/* The first line of `text` that `other` has not; false when there is none. */
static bool first_line_missing(const char *text, const char *other, char *line, size_t line_size)
{
	while (*text) {
		size_t length = strcspn(text, "\n"), blanks = strspn(text, " \t");

		snprintf(line, line_size, "%.*s",
		         (int)(length - (blanks < length ? blanks : length)), text + blanks);
		if (!strstr(other, line))
			return true;
		text += length + (text[length] == '\n');
	}
	return false;
}

static void tell_difference(const char *before, const char *now, char *what, size_t what_size)
{
	char line[128];

	if (now == NULL)
		snprintf(what, what_size, "it is missing");
	else if (first_line_missing(before, now, line, sizeof(line)))
		snprintf(what, what_size, "missing: %s", line);
	else if (first_line_missing(now, before, line, sizeof(line)))
		snprintf(what, what_size, "too much: %s", line);
	else
		snprintf(what, what_size, "not in its order");
}

bool nft_table_is_known(const struct nft_table *table)
{
	return table->listing != NULL;
}

bool nft_table_is_intact(struct nft_table *table, char *what, size_t what_size)
{
	char *now;
	bool is_intact;

	if (table->listing == NULL) {
		snprintf(what, what_size, "at the same time as we");
		return false;
	}
	now = list_tables(table);
	is_intact = now != NULL && strcmp(now, table->listing) == 0;
	if (!is_intact)
		tell_difference(table->listing, now, what, what_size);
	free(now);
	return is_intact;
}

char *nft_table_list_json(struct nft_table *table)
{
	return list(table, "list table " RULESET_TABLE, NFT_CTX_OUTPUT_JSON);
}

bool nft_table_has_sip_helper(struct nft_table *table)
{
	char *text = list(table, "list ruleset", NFT_CTX_OUTPUT_JSON | NFT_CTX_OUTPUT_TERSE);
	bool is_found = text != NULL && ruleset_has_sip_helper(text);

	free(text);
	return is_found;
}

size_t nft_table_read_counters(struct nft_table *table, struct nft_counter *counters, size_t room)
{
	char *text = list(table, "list counters table " RULESET_TABLE, NFT_CTX_OUTPUT_JSON);
	json_t *root = text != NULL ? json_loads(text, 0, NULL) : NULL;
	size_t count = 0, i;
	json_t *object;

	json_array_foreach (json_object_get(root, "nftables"), i, object) {
		json_t *counter = json_object_get(object, "counter");

		if (counter == NULL || count == room)
			continue;
		snprintf(counters[count].name, sizeof(counters[count].name), "%s",
		         json_string_value(json_object_get(counter, "name")));
		counters[count].packets =
			(uint64_t)json_integer_value(json_object_get(counter, "packets"));
		counters[count].bytes =
			(uint64_t)json_integer_value(json_object_get(counter, "bytes"));
		count++;
	}
	json_decref(root);
	free(text);
	return count;
}
