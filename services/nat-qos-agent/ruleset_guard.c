/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP guard in the table: who may reach a line's SIP ports, from where, how often. It stands before connection tracking,
 * so a flood leaves nothing behind, and it stands when every service is dead.
 */
#include <arpa/inet.h>
#include <string.h>

#include "ruleset.h"

static const char *const guard_counters[] = {
	"guard-accepted",     /* SIP of a server, let through */
	"guard-foreign",      /* not from a server of the line */
	"guard-rate",         /* more than guard-rate from one server */
	"guard-reverse-path", /* we would answer the source through another interface */
	"guard-interface",    /* came in by another interface than the address's */
	"guard-multicast",    /* SIP to a group or to all */
	"guard-not-sip",      /* STUN and what else cannot begin a SIP message */
};

void ruleset_print_guard_counters(FILE *stream)
{
	for (size_t i = 0; i < sizeof(guard_counters) / sizeof(*guard_counters); i++)
		fprintf(stream, "	counter %s {\n	}\n", guard_counters[i]);
}

/*
 * A packet for an address that is not of the interface by which it came is not for a line, whoever claims to have sent it:
 * an attacker in the LAN or behind a tunnel cannot take a server's address. The first octet of a SIP message is a letter or,
 * of a keepalive, the end of a line; a STUN message begins with 0 or 1. Lines, servers and their rates are elements, so that
 * the rules are as many for one line as for thousands; the rate that a set has is that of no element.
 */
static const char guard[] =
	"	set sip_lines {\n		type ifname . inet_service\n	}\n"
	"	set sip_servers {\n		type ifname . inet_service . ipv4_addr\n	}\n"
	"	set sip_rate_udp {\n		type ifname . inet_service . ipv4_addr\n"
	"		limit rate over 1/second burst 1 packets\n	}\n"
	"	set sip_rate_tcp {\n		type ifname . inet_service . ipv4_addr\n"
	"		limit rate over 1/second burst 1 packets\n	}\n"
	"	chain sip_line {\n"
	"		fib daddr type { multicast, broadcast } counter name guard-multicast drop\n"
	"		fib daddr type != local accept\n"
	"		fib daddr . iif type != local counter name guard-interface drop\n"
	"		iifname . th dport . ip saddr != @sip_servers counter name guard-foreign "
	"drop\n"
	"		fib saddr . iif oif missing counter name guard-reverse-path drop\n"
	"		udp length > 8 @th,64,8 != 10-126 counter name guard-not-sip drop\n"
	"		meta l4proto udp iifname . th dport . ip saddr @sip_rate_udp "
	"counter name guard-rate drop\n"
	"		tcp flags & (syn | ack) == syn iifname . th dport . ip saddr @sip_rate_tcp "
	"counter name guard-rate drop\n"
	"		counter name guard-accepted accept\n"
	"	}\n"
	"	chain sip_guard {\n"
	"		type filter hook prerouting priority raw; policy accept;\n"
	"		iifname \"lo\" accept\n"
	"		meta l4proto { tcp, udp } iifname . th dport @sip_lines goto sip_line\n"
	"		meta l4proto { tcp, udp } th dport @sip_ports fib daddr type local "
	"fib daddr . iif type != local counter name guard-interface drop\n"
	"	}\n";

/* The ports on which the line listens; returns how many. */
static size_t ports_of(const struct config_line *line, uint16_t ports[2])
{
	size_t count = 0;

	if (line->transports & (1u << TRANSPORT_UDP | 1u << TRANSPORT_TCP))
		ports[count++] = line->sip_port;
	if (line->transports & 1u << TRANSPORT_TLS)
		ports[count++] = line->tls_port;
	return count;
}

/* All ports of all lines, each once. */
static void print_port_set(FILE *stream, const struct sip_admission *lines, size_t line_count)
{
	uint8_t is_printed[65536 / 8] = {0};
	const char *separator = "		elements = { ";

	fprintf(stream, "	set sip_ports {\n		type inet_service\n");
	for (size_t i = 0; i < line_count; i++) {
		uint16_t ports[2];
		size_t count = ports_of(lines[i].line, ports);

		for (size_t j = 0; j < count; j++) {
			if (is_printed[ports[j] / 8] & 1u << ports[j] % 8)
				continue;
			is_printed[ports[j] / 8] |= (uint8_t)(1u << ports[j] % 8);
			fprintf(stream, "%s%u", separator, ports[j]);
			separator = ", ";
		}
	}
	fprintf(stream, "%s	}\n", separator[0] == ',' ? " }\n" : "");
}

void ruleset_print_guard(FILE *stream, const struct sip_admission *lines, size_t line_count)
{
	print_port_set(stream, lines, line_count);
	fputs(guard, stream);
}

static void print_server(FILE *stream, const char *verb, const struct config_line *line,
                         struct in_addr server, bool has_rate)
{
	static const char *const rates[] = {"sip_rate_udp", "sip_rate_tcp"};
	char address[INET_ADDRSTRLEN], rate[80] = "";
	uint16_t ports[2];
	size_t count = ports_of(line, ports);

	inet_ntop(AF_INET, &server, address, sizeof(address));
	if (has_rate)
		snprintf(rate, sizeof(rate), " limit rate over %u/second burst %u packets",
		         line->guard_rate, line->guard_burst);
	for (size_t i = 0; i < count; i++) {
		fprintf(stream, "%s element " RULESET_TABLE " sip_servers { \"%s\" . %u . %s }\n",
		        verb, line->wan_interface, ports[i], address);
		for (size_t j = 0; j < sizeof(rates) / sizeof(*rates); j++)
			fprintf(stream, "%s element " RULESET_TABLE " %s { \"%s\" . %u . %s%s }\n",
			        verb, rates[j], line->wan_interface, ports[i], address, rate);
	}
}

void ruleset_print_lines(FILE *stream, const struct sip_admission *lines, size_t line_count)
{
	uint16_t ports[2];

	for (size_t i = 0; i < line_count; i++) {
		const struct config_line *line = lines[i].line;
		size_t count = ports_of(line, ports);

		for (size_t j = 0; j < count; j++)
			fprintf(stream, "add element " RULESET_TABLE " sip_lines { \"%s\" . %u }\n",
			        line->wan_interface, ports[j]);
		for (size_t j = 0; j < lines[i].server_count; j++)
			print_server(stream, "add", line, lines[i].servers[j], true);
	}
}

void ruleset_print_admission(FILE *stream, const struct sip_admission *before,
                             const struct sip_admission *now)
{
	for (size_t i = 0; i < before->server_count; i++)
		if (!sip_admission_has(now, before->servers[i]))
			print_server(stream, "delete", now->line, before->servers[i], false);
	for (size_t i = 0; i < now->server_count; i++)
		if (!sip_admission_has(before, now->servers[i]))
			print_server(stream, "add", now->line, now->servers[i], true);
}

bool ruleset_is_of_line(const struct config_line *line, const char *interface, uint16_t port)
{
	uint16_t ports[2];
	size_t count = ports_of(line, ports);

	for (size_t i = 0; i < count; i++)
		if (ports[i] == port)
			return strcmp(line->wan_interface, interface) == 0;
	return false;
}
