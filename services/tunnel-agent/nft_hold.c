/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/nft_hold.h"

#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TABLE "vpnsip_hold"

struct nft_hold {
	struct nft_ctx *nft;
};

struct nft_hold *nft_hold_open(void)
{
	struct nft_hold *hold = calloc(1, sizeof(*hold));

	if (!hold)
		return NULL;
	hold->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	if (hold->nft && nft_ctx_buffer_output(hold->nft) == 0 &&
	    nft_ctx_buffer_error(hold->nft) == 0)
		return hold;
	nft_hold_close(hold);
	return NULL;
}

void nft_hold_close(struct nft_hold *hold)
{
	if (!hold)
		return;
	if (hold->nft)
		nft_ctx_free(hold->nft);
	free(hold);
}

static bool run(struct nft_hold *hold, const char *text, char *why, size_t why_size)
{
	const char *words;

	if (nft_run_cmd_from_buffer(hold->nft, text) == 0)
		return true;
	words = nft_ctx_get_error_buffer(hold->nft);
	snprintf(why, why_size, "%.*s", (int)strcspn(words, "\n"), words);
	return false;
}

/* Removing what may not be there: made first, which changes nothing when it is. */
static void print_removal(FILE *text, const char *table)
{
	fprintf(text, "add table inet %s\ndelete table inet %s\n", table, table);
	fprintf(text, "add table netdev %s\ndelete table netdev %s\n", table, table);
}

/* Behind all that may change a packet (source translation is 100), before connection tracking confirms it. */
static void print_tables(FILE *text, const char *table)
{
	fprintf(text,
	        "table inet %s {\n"
	        "	set held {\n"
	        "		type ifname\n"
	        "	}\n"
	        "	chain show {\n"
	        "		type filter hook postrouting priority 300; policy accept;\n"
	        "		oifname @held queue flags bypass to %d\n"
	        "	}\n"
	        "}\n"
	        "table netdev %s {\n"
	        "}\n",
	        table, NFT_HOLD_QUEUE, table);
}

/* The kernel removes the chain with its device. */
static void print_stop(FILE *text, const char *table, const char *name)
{
	fprintf(text,
	        "add chain netdev %s %s { type filter hook egress device \"%s\" priority 0; }\n"
	        "flush chain netdev %s %s\n"
	        "add rule netdev %s %s meta mark != %u counter drop\n",
	        table, name, name, table, name, table, name, NFT_HOLD_RELEASE_MARK);
}

static bool run_stream(struct nft_hold *hold, FILE *stream, char **text, char *why, size_t why_size)
{
	bool is_done;

	if (!stream || fclose(stream) != 0) {
		snprintf(why, why_size, "out of memory");
		is_done = false;
	} else {
		is_done = run(hold, *text, why, why_size);
	}
	free(*text);
	return is_done;
}

bool nft_hold_probe(struct nft_hold *hold, char *why, size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream) {
		print_tables(stream, TABLE "_probe");
		print_stop(stream, TABLE "_probe", "lo");
		print_removal(stream, TABLE "_probe");
	}
	return run_stream(hold, stream, &text, why, why_size);
}

bool nft_hold_reset(struct nft_hold *hold, const char *const *names, size_t count, char *why,
                    size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream) {
		print_removal(stream, TABLE);
		print_tables(stream, TABLE);
		for (size_t i = 0; i < count; i++) {
			fprintf(stream, "add element inet " TABLE " held { \"%s\" }\n", names[i]);
			if (if_nametoindex(names[i]) != 0)
				print_stop(stream, TABLE, names[i]);
		}
	}
	return run_stream(hold, stream, &text, why, why_size);
}

bool nft_hold_is_there(struct nft_hold *hold)
{
	char why[64];
	bool is_there = run(hold, "list chain inet " TABLE " show", why, sizeof(why)) &&
	                run(hold, "list table netdev " TABLE, why, sizeof(why));

	(void)nft_ctx_get_output_buffer(hold->nft); /* empties it */
	return is_there;
}

bool nft_hold_set(struct nft_hold *hold, const char *name, bool is_held, char *why, size_t why_size)
{
	char text[768];
	FILE *stream = fmemopen(text, sizeof(text), "w");

	if (!stream) {
		snprintf(why, why_size, "out of memory");
		return false;
	}
	fprintf(stream, "add element inet " TABLE " held { \"%s\" }\n", name);
	print_stop(stream, TABLE, name);
	if (!is_held)
		fprintf(stream,
		        "flush chain netdev " TABLE " %s\ndelete chain netdev " TABLE " %s\n"
		        "delete element inet " TABLE " held { \"%s\" }\n",
		        name, name, name);
	fclose(stream);
	return run(hold, text, why, why_size);
}

bool nft_hold_purge(struct nft_hold *hold, char *why, size_t why_size)
{
	return run(hold,
	           "add table inet " TABLE "\ndelete table inet " TABLE "\n"
	           "add table netdev " TABLE "\ndelete table netdev " TABLE "\n",
	           why, why_size);
}
