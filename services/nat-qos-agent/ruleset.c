/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "ruleset.h"

#include <string.h>

#include "services/common/address.h"

static const char *const counters[] = {
	"session-in",       /* translated, to the tunnel source */
	"session-out",      /* translated, from the tunnel source */
	"untranslated-in",  /* to a session port without a session */
	"untranslated-out", /* from the tunnel source without a session */
	"wrong-peer-in",    /* to a session port from somebody else than its peer */
	"direct-in",        /* to or from the tunnel source itself, from outside */
	"forward-in",       /* forwarded from an exclusive WAN */
	"forward-out",      /* forwarded into an exclusive WAN */
};

/*
 * Raw comes before connection tracking and after the reassembly of fragments, which the kernel does while somebody
 * uses connection tracking: the chain `reassemble` does.
 * The mark is the session: set here from destination address and port, by tunnel-agent on what it sends.
 * A checksum of zero (RFC 3948 section 2.1) is put back, for the kernel takes it for one to be adjusted. Packets that leave in one
 * message (UDP_SEGMENT) have a real one: the kernel adjusts it, or leaves it to the network card, and it must not be touched here.
 */
static const char inbound[] =
	"	chain inbound {\n"
	"		type filter hook prerouting priority raw; policy accept;\n"
	"		iifname != \"lo\" ip daddr %1$s counter name direct-in drop\n"
	"		iifname != \"lo\" ip saddr %1$s counter name direct-in drop\n"
	"		iifname @wans udp dport %2$u-%3$u fib daddr type local goto session_in\n"
	"	}\n"
	"	chain session_in {\n"
	"		meta mark set 0\n"
	"		meta mark set ip daddr . udp dport map @session_mark\n"
	"		meta mark 0 counter name untranslated-in drop\n"
	"		meta mark . ip saddr . udp sport @remote_exact goto translate_in\n"
	"		meta mark . ip saddr @remote_address goto translate_in\n"
	"		meta mark @remote_any goto translate_in\n"
	"		counter name wrong-peer-in drop\n"
	"	}\n"
	"	chain translate_in {\n"
	"		notrack\n"
	"		udp dport set 4500 ip daddr set %1$s udp checksum set 0 counter name "
	"session-in accept\n"
	"	}\n"
	"	chain reassemble {\n"
	"		type filter hook prerouting priority mangle; policy accept;\n"
	"		ct state invalid accept\n"
	"	}\n";

static const char outbound[] =
	"	chain untracked {\n"
	"		type filter hook output priority raw; policy accept;\n"
	"		ip saddr %1$s notrack\n"
	"	}\n"
	"	chain outbound {\n"
	"		type filter hook postrouting priority srcnat; policy accept;\n"
	"		oifname != \"lo\" ip saddr %1$s goto session_out\n"
	"	}\n"
	"	chain session_out {\n"
	"		oifname @wans udp sport 4500 udp checksum 0"
	" udp sport set meta mark map @source_port"
	" ip saddr set meta mark map @source_address udp checksum set 0 counter name session-out "
	"accept\n"
	"		oifname @wans udp sport 4500 udp sport set meta mark map @source_port"
	" ip saddr set meta mark map @source_address counter name session-out accept\n"
	"		counter name untranslated-out drop\n"
	"	}\n";

static const char guard_and_marking[] =
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy accept;\n"
	"		iifname @exclusive_wans counter name forward-in drop\n"
	"		oifname @exclusive_wans counter name forward-out drop\n"
	"	}\n"
	"	chain tunnel {\n"
	"		type filter hook postrouting priority mangle; policy accept;\n"
	"		oifname @tunnels ip dscp set cs4\n"
	"		oifname @tunnels tcp flags syn / syn,rst tcp option maxseg size set rt "
	"mtu\n"
	"	}\n";

static const char guard_ipv6[] =
	"	chain forward {\n"
	"		type filter hook forward priority filter; policy accept;\n"
	"		iifname @exclusive_wans counter drop\n"
	"		oifname @exclusive_wans counter drop\n"
	"	}\n";

bool ruleset_is_plain_name(const char *name)
{
	return name[0] != '\0' && strpbrk(name, "\"\\*\n") == NULL;
}

/* The names of a set, each once: `next` gives the i-th, NULL to leave it out. */
static void print_name_set(FILE *stream, const char *set, const struct config *config, size_t count,
                           const char *(*next)(const struct config *config, size_t i))
{
	const char *separator = "";

	fprintf(stream, "	set %s {\n		type ifname\n", set);
	for (size_t i = 0; i < count; i++) {
		const char *name = next(config, i);
		bool is_repeated = false;

		for (size_t j = 0; name != NULL && j < i; j++) {
			const char *earlier = next(config, j);

			is_repeated |= earlier != NULL && strcmp(earlier, name) == 0;
		}
		if (name == NULL || is_repeated)
			continue;
		fprintf(stream, "%s\"%s\"",
		        separator[0] != '\0' ? separator : "		elements = { ", name);
		separator = ", ";
	}
	fprintf(stream, "%s	}\n", separator[0] != '\0' ? " }\n" : "");
}

static const char *tunnel_name(const struct config *config, size_t i)
{
	return config->peers[i].tunnel;
}

static const char *wan_name(const struct config *config, size_t i)
{
	return config->lines[i].wan_interface;
}

static const char *exclusive_wan_name(const struct config *config, size_t i)
{
	return config->lines[i].is_wan_exclusive ? config->lines[i].wan_interface : NULL;
}

static void print_maps(FILE *stream)
{
	static const struct {
		const char *kind, *name, *type;
	} maps[] = {
		{"map", "session_mark", "ipv4_addr . inet_service : mark"},
		{"set", "remote_exact", "mark . ipv4_addr . inet_service"},
		{"set", "remote_address", "mark . ipv4_addr"},
		{"set", "remote_any", "mark"},
		{"map", "source_port", "mark : inet_service"},
		{"map", "source_address", "mark : ipv4_addr"},
	};

	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		fprintf(stream, "	%s %s {\n		type %s\n	}\n", maps[i].kind,
		        maps[i].name, maps[i].type);
	for (size_t i = 0; i < sizeof(counters) / sizeof(*counters); i++)
		fprintf(stream, "	counter %s {\n	}\n", counters[i]);
	ruleset_print_guard_counters(stream);
}

void ruleset_print_table(FILE *stream, const struct config *config,
                         const struct translation_core *core, const struct sip_admission *lines,
                         bool has_ipv6)
{
	char source[ADDRESS_TEXT_SIZE];

	address_format(&config->tunnel_source, source);
	ruleset_print_purge(stream, has_ipv6);
	fprintf(stream, "table " RULESET_TABLE " {\n");
	print_name_set(stream, "tunnels", config, config->peer_count, tunnel_name);
	print_name_set(stream, "wans", config, config->line_count, wan_name);
	print_name_set(stream, "exclusive_wans", config, config->line_count, exclusive_wan_name);
	print_maps(stream);
	fprintf(stream, inbound, source, (unsigned)config->first_session_port,
	        (unsigned)config->last_session_port);
	fprintf(stream, outbound, source);
	fputs(guard_and_marking, stream);
	ruleset_print_guard(stream, lines, config->line_count);
	fprintf(stream, "}\n");
	ruleset_print_lines(stream, lines, config->line_count);
	for (size_t i = 0; i < core->tunnel_count; i++)
		ruleset_print_add(stream, &core->tunnels[i].translation);
	if (!has_ipv6)
		return;
	fprintf(stream, "table " RULESET_TABLE_IPV6 " {\n");
	print_name_set(stream, "exclusive_wans", config, config->line_count, exclusive_wan_name);
	fputs(guard_ipv6, stream);
	fprintf(stream, "}\n");
}

static void print_remote(FILE *stream, const char *verb, const struct translation *translation)
{
	char remote[ADDRESS_TEXT_SIZE];

	address_format(&translation->remote, remote);
	switch (translation->match) {
	case REMOTE_EXACT:
		fprintf(stream, "%s element " RULESET_TABLE " remote_exact { %u . %s . %u }\n",
		        verb, translation->if_id, remote, address_port(&translation->remote));
		break;
	case REMOTE_ADDRESS:
		fprintf(stream, "%s element " RULESET_TABLE " remote_address { %u . %s }\n", verb,
		        translation->if_id, remote);
		break;
	case REMOTE_ANY:
		fprintf(stream, "%s element " RULESET_TABLE " remote_any { %u }\n", verb,
		        translation->if_id);
		break;
	}
}

void ruleset_print_add(FILE *stream, const struct translation *translation)
{
	char wan[ADDRESS_TEXT_SIZE];
	unsigned port = address_port(&translation->wan);

	if (translation->attempt == 0)
		return;
	address_format(&translation->wan, wan);
	fprintf(stream, "add element " RULESET_TABLE " source_port { %u : %u }\n",
	        translation->if_id, port);
	fprintf(stream, "add element " RULESET_TABLE " source_address { %u : %s }\n",
	        translation->if_id, wan);
	print_remote(stream, "add", translation);
	fprintf(stream,
	        "add element " RULESET_TABLE " session_mark { %s . %u comment \"%llu\" : %u }\n",
	        wan, port, (unsigned long long)translation->attempt, translation->if_id);
}

void ruleset_print_delete(FILE *stream, const struct translation *translation)
{
	char wan[ADDRESS_TEXT_SIZE];

	if (translation->attempt == 0)
		return;
	fprintf(stream, "delete element " RULESET_TABLE " session_mark { %s . %u }\n",
	        address_format(&translation->wan, wan), address_port(&translation->wan));
	print_remote(stream, "delete", translation);
	fprintf(stream, "delete element " RULESET_TABLE " source_address { %u }\n",
	        translation->if_id);
	fprintf(stream, "delete element " RULESET_TABLE " source_port { %u }\n",
	        translation->if_id);
}

void ruleset_print_purge(FILE *stream, bool has_ipv6)
{
	fprintf(stream, "table " RULESET_TABLE "\ndelete table " RULESET_TABLE "\n");
	if (has_ipv6)
		fprintf(stream,
		        "table " RULESET_TABLE_IPV6 "\ndelete table " RULESET_TABLE_IPV6 "\n");
}
