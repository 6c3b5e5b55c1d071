/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP guard in the table: who may reach a line's SIP ports, from where, how often. It stands before connection tracking,
 * so a flood leaves nothing behind, and it stands when every service is dead.
 */
#include <arpa/inet.h>

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

static void print_server_set(FILE *stream, const struct sip_admission *admission)
{
	char text[INET_ADDRSTRLEN];

	fprintf(stream, "	set sip_servers_%s {\n		type ipv4_addr\n",
	        admission->line->number);
	for (size_t i = 0; i < admission->server_count; i++) {
		inet_ntop(AF_INET, &admission->servers[i], text, sizeof(text));
		fprintf(stream, "%s%s", i == 0 ? "		elements = { " : ", ", text);
	}
	fprintf(stream, "%s	}\n", admission->server_count > 0 ? " }\n" : "");
}

/*
 * A packet for an address that is not of the interface by which it came is not for a line, whoever claims to have sent it:
 * an attacker in the LAN or behind a tunnel cannot take a server's address. The first octet of a SIP message is a letter or,
 * of a keepalive, the end of a line; a STUN message begins with 0 or 1.
 */
static void print_line_chain(FILE *stream, const struct config_line *line)
{
	fprintf(stream,
	        "	chain sip_line_%1$s {\n"
	        "		fib daddr type { multicast, broadcast } counter name "
	        "guard-multicast drop\n"
	        "		fib daddr type != local accept\n"
	        "		fib daddr . iif type != local counter name guard-interface drop\n"
	        "		ip saddr != @sip_servers_%1$s counter name guard-foreign drop\n"
	        "		fib saddr . iif oif missing counter name guard-reverse-path drop\n"
	        "		udp length > 8 @th,64,8 != 10-126 counter name guard-not-sip drop\n"
	        "		jump sip_rate_%1$s\n"
	        "		counter name guard-accepted accept\n"
	        "	}\n",
	        line->number);
}

void ruleset_print_guard_rates(FILE *stream, const struct sip_admission *admission)
{
	static const char *const matches[] = {"meta l4proto udp", "tcp flags & (syn | ack) == syn"};
	const struct config_line *line = admission->line;
	char text[INET_ADDRSTRLEN];

	for (size_t i = 0; i < admission->server_count; i++)
		for (size_t j = 0; j < sizeof(matches) / sizeof(*matches); j++)
			fprintf(stream,
			        "add rule " RULESET_TABLE " sip_rate_%s ip saddr %s %s limit rate "
			        "over %u/second burst %u packets counter name guard-rate drop\n",
			        line->number,
			        inet_ntop(AF_INET, &admission->servers[i], text, sizeof(text)),
			        matches[j], line->guard_rate, line->guard_burst);
}

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

static void print_entrance(FILE *stream, const struct sip_admission *lines, size_t line_count)
{
	fprintf(stream, "	chain sip_guard {\n"
	                "		type filter hook prerouting priority raw; policy accept;\n"
	                "		iifname \"lo\" accept\n");
	for (size_t i = 0; i < line_count; i++) {
		uint16_t ports[2];
		size_t count = ports_of(lines[i].line, ports);

		for (size_t j = 0; j < count; j++)
			fprintf(stream,
			        "		iifname \"%s\" meta l4proto { tcp, udp } th dport "
			        "%u "
			        "goto sip_line_%s\n",
			        lines[i].line->wan_interface, ports[j], lines[i].line->number);
	}
	fprintf(stream,
	        "		meta l4proto { tcp, udp } th dport @sip_ports fib daddr type local "
	        "fib daddr . iif type != local counter name guard-interface drop\n"
	        "	}\n");
}

void ruleset_print_guard(FILE *stream, const struct sip_admission *lines, size_t line_count)
{
	for (size_t i = 0; i < line_count; i++)
		print_server_set(stream, &lines[i]);
	for (size_t i = 0; i < line_count; i++) {
		fprintf(stream, "	chain sip_rate_%s {\n	}\n", lines[i].line->number);
		print_line_chain(stream, lines[i].line);
	}
	print_port_set(stream, lines, line_count);
	print_entrance(stream, lines, line_count);
}

void ruleset_print_admission(FILE *stream, const struct sip_admission *admission)
{
	const char *number = admission->line->number;
	char text[INET_ADDRSTRLEN];

	fprintf(stream,
	        "flush chain " RULESET_TABLE " sip_rate_%s\nflush set " RULESET_TABLE
	        " sip_servers_%s\n",
	        number, number);
	for (size_t i = 0; i < admission->server_count; i++)
		fprintf(stream, "add element " RULESET_TABLE " sip_servers_%s { %s }\n", number,
		        inet_ntop(AF_INET, &admission->servers[i], text, sizeof(text)));
	ruleset_print_guard_rates(stream, admission);
}
