/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/nft_hold.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <net/if.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/nat-qos-agent/nft_watch.h"

#define TABLE NFT_HOLD_TABLE

/* For so long it is known when payload passed; before that, the core knows. */
#define PAYLOAD_MEMORY_SEC 3600

struct nft_hold {
	struct nft_ctx *nft;
	struct nft_watch *watch; /* NULL = none yet */
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

void nft_hold_watch(struct nft_hold *hold, struct nft_watch *watch)
{
	hold->watch = watch;
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

static bool change(struct nft_hold *hold, const char *text, char *why, size_t why_size)
{
	bool is_done;

	if (!hold->watch)
		return run(hold, text, why, why_size);
	nft_watch_begin_own(hold->watch);
	is_done = run(hold, text, why, why_size);
	nft_watch_end_own(hold->watch, is_done);
	return is_done;
}

/* Removing what may not be there: made first, which changes nothing when it is. */
static void print_removal(FILE *text, const char *table)
{
	fprintf(text, "add table inet %s\ndelete table inet %s\n", table, table);
	fprintf(text, "add table netdev %s\ndelete table netdev %s\n", table, table);
}

/* What classify_packet() does not take for payload returns before the time is noted. */
static const char no_payload[] =
	"		ip daddr { 224.0.0.0/4, 255.255.255.255, 169.254.0.0/16 } return\n"
	"		ip saddr { 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 } return\n"
	"		ip6 daddr { ff00::/8, fe80::/10 } return\n"
	"		ip6 saddr { ::/127, fe80::/10 } return\n"
	"		fib daddr type { broadcast, multicast } return\n"
	"		icmp type { destination-unreachable, source-quench, redirect, "
	"time-exceeded, "
	"parameter-problem } return\n"
	"		icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, "
	"parameter-problem } return\n";

static void print_probes(FILE *text, const uint32_t *targets, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char address[INET_ADDRSTRLEN];

		inet_ntop(AF_INET, &targets[i], address, sizeof(address));
		fprintf(text,
		        "		fib saddr type local ip daddr %s icmp type echo-request "
		        "return\n",
		        address);
	}
}

/* Holding comes behind all that may change a packet (source translation is 100), before connection tracking confirms it. */
static void print_tables(FILE *text, const char *table, const uint32_t *targets, size_t count)
{
	fprintf(text,
	        "table inet %s {\n"
	        "	set tunnels {\n		type ifname\n	}\n"
	        "	set held {\n		type ifname\n	}\n"
	        "	set payload_in {\n		type ifname\n		flags "
	        "dynamic,timeout\n"
	        "		timeout %us\n	}\n"
	        "	set payload_out {\n		type ifname\n		flags "
	        "dynamic,timeout\n"
	        "		timeout %us\n	}\n"
	        "	chain show {\n"
	        "		type filter hook postrouting priority 300; policy accept;\n"
	        "		oifname @held queue flags bypass to %d\n"
	        "	}\n",
	        table, PAYLOAD_MEMORY_SEC, PAYLOAD_MEMORY_SEC, NFT_HOLD_QUEUE);
	fprintf(text, "	chain note_in {\n%s		update @payload_in { iifname }\n	}\n",
	        no_payload);
	fprintf(text, "	chain note_out {\n%s", no_payload);
	print_probes(text, targets, count);
	fprintf(text,
	        "		update @payload_out { oifname }\n	}\n"
	        "	chain arriving {\n"
	        "		type filter hook prerouting priority -310; policy accept;\n"
	        "		iifname @tunnels goto note_in\n"
	        "	}\n"
	        "	chain leaving {\n"
	        "		type filter hook postrouting priority 301; policy accept;\n"
	        "		oifname @tunnels goto note_out\n"
	        "	}\n"
	        "}\n"
	        "table netdev %s {\n"
	        "}\n",
	        table);
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
		is_done = change(hold, *text, why, why_size);
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
		print_tables(stream, TABLE "_probe", NULL, 0);
		print_stop(stream, TABLE "_probe", "lo");
		print_removal(stream, TABLE "_probe");
	}
	return run_stream(hold, stream, &text, why, why_size);
}

bool nft_hold_reset(struct nft_hold *hold, const struct nft_hold_tunnel *tunnels, size_t count,
                    const uint32_t *targets, size_t target_count, char *why, size_t why_size)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);

	if (stream) {
		print_removal(stream, TABLE);
		print_tables(stream, TABLE, targets, target_count);
		for (size_t i = 0; i < count; i++) {
			const char *name = tunnels[i].name;

			fprintf(stream, "add element inet " TABLE " tunnels { \"%s\" }\n", name);
			if (!tunnels[i].is_held)
				continue;
			fprintf(stream, "add element inet " TABLE " held { \"%s\" }\n", name);
			if (if_nametoindex(name) != 0)
				print_stop(stream, TABLE, name);
		}
	}
	return run_stream(hold, stream, &text, why, why_size);
}

bool nft_hold_read_payload(struct nft_hold *hold, bool is_inbound,
                           void (*found)(void *context, const char *name, bool is_inbound,
                                         uint64_t age_sec),
                           void *context)
{
	json_t *listing = NULL, *objects, *object, *element;
	unsigned before = nft_ctx_output_get_flags(hold->nft);
	size_t i, j;
	char why[64];
	bool is_read;

	nft_ctx_output_set_flags(hold->nft, NFT_CTX_OUTPUT_JSON);
	is_read = run(hold,
	              is_inbound ? "list set inet " TABLE " payload_in"
	                         : "list set inet " TABLE " payload_out",
	              why, sizeof(why));
	if (is_read)
		listing = json_loads(nft_ctx_get_output_buffer(hold->nft), 0, NULL);
	nft_ctx_output_set_flags(hold->nft, before);
	objects = json_object_get(listing, "nftables");
	json_array_foreach (objects, i, object)
		json_array_foreach (json_object_get(json_object_get(object, "set"), "elem"), j,
		                    element) {
			json_t *entry = json_object_get(element, "elem");
			const char *name = json_string_value(json_object_get(entry, "val"));
			json_int_t left = json_integer_value(json_object_get(entry, "expires"));
			/* The rest of its life is told in whole seconds, rounded down. */
			uint64_t age_sec = (uint64_t)(PAYLOAD_MEMORY_SEC - left);

			if (name && left <= PAYLOAD_MEMORY_SEC)
				found(context, name, is_inbound, age_sec ? age_sec - 1 : 0);
		}
	json_decref(listing);
	return is_read;
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
	/* The chain stays: with a hook that goes the kernel drops all that waits in any queue of this network namespace. */
	if (!is_held)
		fprintf(stream,
		        "flush chain netdev " TABLE " %s\n"
		        "delete element inet " TABLE " held { \"%s\" }\n",
		        name, name);
	fclose(stream);
	return change(hold, text, why, why_size);
}

bool nft_hold_purge(struct nft_hold *hold, char *why, size_t why_size)
{
	return change(hold,
	              "add table inet " TABLE "\ndelete table inet " TABLE "\n"
	              "add table netdev " TABLE "\ndelete table netdev " TABLE "\n",
	              why, why_size);
}
