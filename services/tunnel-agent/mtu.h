/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How large a packet may be to leave the WAN in one piece after ESP-in-UDP encapsulation. Pure. */
#ifndef VPNSIP_MTU_H
#define VPNSIP_MTU_H

#include "services/common/proposals.h"

/** Any link that carries IPv6 takes so much (RFC 8200 section 5). */
#define IPV6_MTU_MINIMUM 1280

/** The ESP parameters of one algorithm suite. */
struct mtu_suite {
	unsigned block_size; /* padding aligns to it */
	unsigned iv_size;
	unsigned icv_size;
};

/** Plain-text MTU of one suite over a path: outer IPv4 20, UDP 8, ESP header 8, IV, ICV, padding, trailer 2. */
unsigned mtu_of_suite(unsigned path_mtu, const struct mtu_suite *suite);

/** The smallest over all suites that may be agreed on. */
unsigned mtu_of_proposals(unsigned path_mtu, const struct proposal_list *proposals);

#endif
