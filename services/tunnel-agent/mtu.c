/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/mtu.h"

#define OUTER_SIZE       (20 + 8 + 8) /* IPv4, UDP, SPI and sequence number */
#define TRAILER_SIZE     2
#define IPV4_MTU_MINIMUM 68

unsigned mtu_of_suite(unsigned path_mtu, const struct mtu_suite *suite)
{
	unsigned overhead = OUTER_SIZE + suite->iv_size + suite->icv_size;
	unsigned text_size;

	if (path_mtu < overhead + TRAILER_SIZE + IPV4_MTU_MINIMUM + suite->block_size)
		return IPV4_MTU_MINIMUM;
	text_size = path_mtu - overhead;
	return text_size - text_size % suite->block_size - TRAILER_SIZE;
}

unsigned mtu_of_proposals(unsigned path_mtu, const struct proposal_list *proposals)
{
	unsigned smallest = path_mtu;

	for (size_t i = 0; i < proposals->count; i++) {
		const struct proposal *proposal = &proposals->items[i];
		const struct transform *cipher = proposal_first(proposal, TRANSFORM_ENCRYPTION);
		const struct mtu_suite suite = {cipher->block_size, cipher->iv_size,
		                                proposal_icv_size(proposal)};
		unsigned mtu = mtu_of_suite(path_mtu, &suite);

		if (mtu < smallest)
			smallest = mtu;
	}
	return smallest;
}
