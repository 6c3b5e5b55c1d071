/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The nft table `ip vpnsip` as text: docs/architecture.md, "Packet path". Where the kernel knows IPv6, a table `ip6 vpnsip` forbids
 * forwarding over an exclusive WAN there too. Pure.
 */
#ifndef VPNSIP_RULESET_H
#define VPNSIP_RULESET_H

#include <stdio.h>

#include "sip_admission.h"
#include "translation_core.h"

#define RULESET_TABLE_NAME "vpnsip"
#define RULESET_TABLE      "ip " RULESET_TABLE_NAME
#define RULESET_TABLE_IPV6 "ip6 " RULESET_TABLE_NAME

/** The whole table with all translations and servers in force, taking the place of one that stands: one transaction. `lines` has one entry for each line. */
void ruleset_print_table(FILE *stream, const struct config *config,
                         const struct translation_core *core, const struct sip_admission *lines,
                         bool has_ipv6);

/** The elements of a translation, the attempt as a comment, for the time after a restart; nothing when its attempt is 0. To be used together in one transaction. */
void ruleset_print_add(FILE *stream, const struct translation *translation);
void ruleset_print_delete(FILE *stream, const struct translation *translation);

/** What changes the table from the servers that one line had to those that it has now: one transaction. */
void ruleset_print_admission(FILE *stream, const struct sip_admission *before,
                             const struct sip_admission *now);

/* ruleset_guard.c, for ruleset_print_table(): sets, counters and chains within the table; the elements of all lines. */
void ruleset_print_guard_counters(FILE *stream);
void ruleset_print_guard(FILE *stream, const struct sip_admission *lines, size_t line_count);
void ruleset_print_lines(FILE *stream, const struct sip_admission *lines, size_t line_count);

/** Whether the line listens there. */
bool ruleset_is_of_line(const struct config_line *line, const char *interface, uint16_t port);

/** Removes it all, also when there is nothing. */
void ruleset_print_purge(FILE *stream, bool has_ipv6);

/**
 * The translations in a JSON listing of the table, each with the attempt that its comment tells; whatever is not complete is
 * left out. For a remote of REMOTE_ANY the address is none. Returns how many, at most `room`.
 */
size_t ruleset_parse(const char *json, struct translation *translations, size_t room);

/** Admits to the lines what a JSON listing of the table has of theirs. */
void ruleset_parse_servers(const char *json, struct sip_admission *lines, size_t line_count);

/** Names of interfaces are written between quotes: false for one that could end them. */
bool ruleset_is_plain_name(const char *name);

#endif
