/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The rules of a certificate-map section: "OPERATOR TEXT" on the names of a certificate. Pure. */
#ifndef VPNSIP_CERTIFICATE_MAP_H
#define VPNSIP_CERTIFICATE_MAP_H

#include <stdbool.h>
#include <stddef.h>

/** What is wrong with the rule, as a sentence; NULL = nothing. */
const char *certificate_rule_fault(const char *rule);

/**
 * Whether the rule holds for a certificate with these names. co (contains) and eq (equals) want one name that fits, nc and ne want none
 * that does. Letter case and blanks beside "=" and "," do not count. A rule with a fault never holds.
 */
bool certificate_rule_holds(const char *rule, const char *const *names, size_t count);

#endif
