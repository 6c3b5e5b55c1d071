/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the outer IPv4 header takes from the inner one (RFC 4301 section 5.1.2), and what the inner one takes from the outer
 * one at the other end (congestion marks, RFC 6040). Pure.
 */
#ifndef VPNSIP_OUTER_HEADER_H
#define VPNSIP_OUTER_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/common/config.h"

#define ECN_MASK 0x03

/** As an IPsec profile has it. */
struct outer_policy {
	enum config_df_bit df_bit;
	enum config_ecn ecn;
	bool copies_dscp;
};

/** Fields of an outer header. */
struct outer_fields {
	uint8_t tos; /* DSCP and ECN */
	bool has_df;
};

enum ecn_result {
	ECN_UNCHANGED = 0,
	ECN_CHANGED, /* the inner header carries the path's mark now */
	ECN_LOST, /* marked on a packet whose ends know no marks: to be dropped (RFC 6040 section 4.2) */
};

/** The outer header of an inner IPv4 or IPv6 packet. IPv6 forbids fragments on the way: it counts as don't-fragment. */
struct outer_fields outer_header_of(const struct outer_policy *policy, const uint8_t *inner);

/** Carries a congestion mark of the outer header's `tos` into the inner IPv4 or IPv6 header. */
enum ecn_result outer_header_take_ecn(const struct outer_policy *policy, uint8_t tos,
                                      uint8_t *inner);

#endif
