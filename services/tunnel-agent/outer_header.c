/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/outer_header.h"

#include "services/tunnel-agent/checksum.h"

#define DSCP_MASK          0xfc
#define IPV4_DONT_FRAGMENT 0x40

enum ecn { NOT_ECT = 0, ECT_1 = 1, ECT_0 = 2, CE = 3 };

static bool is_ipv4(const uint8_t *inner)
{
	return inner[0] >> 4 == 4;
}

/* IPv6 has its traffic class across two octets. */
static uint8_t get_tos(const uint8_t *inner)
{
	return is_ipv4(inner) ? inner[1] : (uint8_t)(inner[0] << 4 | inner[1] >> 4);
}

static void set_ecn(uint8_t *inner, enum ecn ecn)
{
	if (is_ipv4(inner)) {
		inner[1] = (uint8_t)((inner[1] & DSCP_MASK) | ecn);
		checksum_write_ipv4(inner);
	} else {
		inner[1] = (uint8_t)((inner[1] & 0xcf) | ecn << 4);
	}
}

struct outer_fields outer_header_of(const struct outer_policy *policy, const uint8_t *inner)
{
	struct outer_fields fields = {0};
	uint8_t tos = get_tos(inner);

	if (policy->copies_dscp)
		fields.tos = tos & DSCP_MASK;
	if (policy->ecn == ECN_PROPAGATE)
		fields.tos |= tos & ECN_MASK;
	fields.has_df = policy->df_bit == DF_SET ||
	                (policy->df_bit == DF_COPY &&
	                 (!is_ipv4(inner) || (inner[6] & IPV4_DONT_FRAGMENT)));
	return fields;
}

/* RFC 6040 figure 4. */
enum ecn_result outer_header_take_ecn(const struct outer_policy *policy, uint8_t tos,
                                      uint8_t *inner)
{
	enum ecn outer = tos & ECN_MASK, own = get_tos(inner) & ECN_MASK;

	if (policy->ecn != ECN_PROPAGATE)
		return ECN_UNCHANGED;
	if (outer == CE && own == NOT_ECT)
		return ECN_LOST;
	if ((outer == CE && own != CE) || (outer == ECT_1 && own == ECT_0)) {
		set_ecn(inner, outer);
		return ECN_CHANGED;
	}
	return ECN_UNCHANGED;
}
