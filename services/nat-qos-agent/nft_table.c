/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_table.h"

#include <netlink/errno.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ruleset.h"

struct nft_table {
	struct nft_ctx *nft;
	struct nft_query *query;
	struct nft_watch *watch;
};

struct nft_table *nft_table_open(struct event_base *base,
                                 void (*changed)(void *context, const struct nft_change *change),
                                 void *context, char *why, size_t why_size)
{
	struct nft_table *table = calloc(1, sizeof(*table));
	int error;

	snprintf(why, why_size, "out of memory");
	if (table == NULL)
		return NULL;
	table->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (table->nft == NULL || nft_ctx_buffer_output(table->nft) != 0 ||
	    nft_ctx_buffer_error(table->nft) != 0) {
		snprintf(why, why_size, "libnftables cannot be initialised");
		goto out;
	}
	table->query = nft_query_open(&error);
	if (table->query == NULL) {
		snprintf(why, why_size, "nfnetlink: %s", nl_geterror(error));
		goto out;
	}
	table->watch = nft_watch_open(base, RULESET_TABLE_NAME, changed, context, why, why_size);
	if (table->watch != NULL)
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
	nft_query_close(table->query);
	if (table->nft != NULL)
		nft_ctx_free(table->nft);
	free(table);
}

bool nft_table_run(struct nft_table *table, const char *text, char *why, size_t why_size)
{
	bool is_done;

	nft_watch_begin_own(table->watch);
	nft_ctx_output_set_flags(table->nft, 0);
	is_done = nft_run_cmd_from_buffer(table->nft, text) == 0;
	nft_watch_end_own(table->watch, is_done);
	(void)nft_ctx_get_output_buffer(table->nft);
	if (!is_done) {
		snprintf(why, why_size, "nft: %s", nft_ctx_get_error_buffer(table->nft));
		why[strcspn(why, "\n")] = '\0';
	}
	return is_done;
}

char *nft_table_list_json(struct nft_table *table)
{
	char *output = NULL;

	nft_ctx_output_set_flags(table->nft, NFT_CTX_OUTPUT_JSON);
	if (nft_run_cmd_from_buffer(table->nft, "list table " RULESET_TABLE) == 0)
		output = strdup(nft_ctx_get_output_buffer(table->nft));
	else
		(void)nft_ctx_get_error_buffer(table->nft); /* empties it for the next command */
	return output;
}

bool nft_table_is_watched(struct nft_table *table)
{
	return nft_watch_is_complete(table->watch);
}

bool nft_table_has_sip_helper(struct nft_table *table)
{
	return nft_query_has_sip_helper(table->query);
}

size_t nft_table_read_counters(struct nft_table *table, struct nft_counter *counters, size_t room)
{
	return nft_query_counters(table->query, RULESET_TABLE_NAME, counters, room);
}
