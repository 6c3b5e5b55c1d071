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

#define RULESET_TABLE      "ip vpnsip"
#define RULESET_TABLE_IPV6 "ip6 vpnsip"

/** The whole table with all translations and servers in force, taking the place of one that stands: one transaction. `lines` has one entry for each line. */
void ruleset_print_table(FILE *stream, const struct config *config,
                         const struct translation_core *core, const struct sip_admission *lines,
                         bool has_ipv6);

/** The elements of a translation, the attempt as a comment, for the time after a restart; nothing when its attempt is 0. To be used together in one transaction. */
void ruleset_print_add(FILE *stream, const struct translation *translation);
void ruleset_print_delete(FILE *stream, const struct translation *translation);

/** The servers of one line as they are now, in place of those in the table: one transaction. */
void ruleset_print_admission(FILE *stream, const struct sip_admission *admission);

/* ruleset_guard.c, for ruleset_print_table(): sets, counters and chains within the table; the rules of the chains that change. */
void ruleset_print_guard_counters(FILE *stream);
void ruleset_print_guard(FILE *stream, const struct sip_admission *lines, size_t line_count);
void ruleset_print_guard_rates(FILE *stream, const struct sip_admission *admission);

/** Removes it all, also when there is nothing. */
void ruleset_print_purge(FILE *stream, bool has_ipv6);

/**
 * The translations in a JSON listing of the table, each with the attempt that its comment tells; whatever is not complete is
 * left out. For a remote of REMOTE_ANY the address is none. Returns how many, at most `room`.
 */
size_t ruleset_parse(const char *json, struct translation *translations, size_t room);

/** The servers of a line in a JSON listing of the table. Returns how many, at most `room`. */
size_t ruleset_parse_servers(const char *json, const char *number, struct in_addr *servers,
                             size_t room);

/** Whether a JSON listing of a rule set has a connection tracking helper for SIP. */
bool ruleset_has_sip_helper(const char *json);

/** Names of interfaces are written between quotes: false for one that could end them. */
bool ruleset_is_plain_name(const char *name);

#endif
