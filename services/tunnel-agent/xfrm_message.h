/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The messages of the kernel's IPsec (NETLINK_XFRM): states (SAs) and policies of one tunnel, built into a buffer and read from
 * one. Pure: no sockets, no clock.
 *
 * A tunnel's states carry its if_id, as request id too. What leaves has the if_id as its mark (output-mark), from which the firewall knows
 * the session port; what arrives must have it, so that a packet to another session's port never meets this state, and loses it.
 */
#ifndef VPNSIP_XFRM_MESSAGE_H
#define VPNSIP_XFRM_MESSAGE_H

#include <libmnl/libmnl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "services/common/config.h"
#include "services/tunnel-agent/backend.h"

/* A message of the largest state. */
#define XFRM_MESSAGE_MAXIMUM 1024

/* IPv4 and, with dual-overlay, IPv6; in, out and forward. */
#define XFRM_POLICIES_MAXIMUM 6

/** What every message about a tunnel needs to know of it. */
struct xfrm_ends {
	uint32_t if_id;
	struct sockaddr_in local;  /* the tunnel source, UDP 4500 */
	struct sockaddr_in remote; /* the peer */
	bool has_ipv6;             /* inside the tunnel: dual-overlay */
};

/** A state as the kernel reports it. */
struct xfrm_state {
	uint32_t if_id;
	uint32_t spi;
	struct sockaddr_in source, destination;
	char algorithms[SA_ALGORITHMS_SIZE];
	unsigned replay_window;
	bool is_extended;
	uint64_t sequence_sent, sequence_received;
	uint64_t packets, bytes;
	uint64_t replay_drops, integrity_drops;
	uint64_t added_at_sec; /* wall clock */
	uint64_t hard_lifetime_sec, soft_bytes, hard_bytes, soft_packets,
		hard_packets; /* 0 = none */
};

/* Each writes one message at `buffer` (XFRM_MESSAGE_MAXIMUM octets) and returns it; sequence number and flags are the caller's. */

/** Adds a state. Its direction is in the order's options. */
struct nlmsghdr *xfrm_put_state(void *buffer, const struct xfrm_ends *ends,
                                const struct sa_order *order,
                                const struct config_ipsec_profile *profile);

/** Deletes, or asks for, the state with this SPI to this destination. */
struct nlmsghdr *xfrm_put_state_deletion(void *buffer, const struct xfrm_ends *ends,
                                         bool is_inbound, uint32_t spi);
struct nlmsghdr *xfrm_put_state_question(void *buffer, const struct xfrm_ends *ends,
                                         bool is_inbound, uint32_t spi);

/** Adds or replaces policy number `index` of a tunnel (up to xfrm_policy_count()), or deletes it. */
struct nlmsghdr *xfrm_put_policy(void *buffer, const struct xfrm_ends *ends, unsigned index);
struct nlmsghdr *xfrm_put_policy_deletion(void *buffer, const struct xfrm_ends *ends,
                                          unsigned index);
unsigned xfrm_policy_count(const struct xfrm_ends *ends);

/** Asks for all states (XFRM_MSG_GETSA) or all policies (XFRM_MSG_GETPOLICY). */
struct nlmsghdr *xfrm_put_dump(void *buffer, uint16_t type);

/** Reads a reported state. False when it is none of ESP with an if_id. */
bool xfrm_read_state(const struct nlmsghdr *message, struct xfrm_state *state);

/** Reads the report that a state reached a limit. False when it is something else. */
bool xfrm_read_expiry(const struct nlmsghdr *message, struct xfrm_state *state, bool *is_hard);

/** The if_id of a reported policy; 0 = it has none. */
uint32_t xfrm_read_policy(const struct nlmsghdr *message);

#endif
