/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the files of the kernel back end share. */
#ifndef VPNSIP_XFRM_BACKEND_H
#define VPNSIP_XFRM_BACKEND_H

#include "services/nat-qos-agent/nft_watch.h"
#include "services/tunnel-agent/agent.h"
#include "services/tunnel-agent/nfqueue_hold.h"
#include "services/tunnel-agent/nft_hold.h"
#include "services/tunnel-agent/xfrm_link.h"
#include "services/tunnel-agent/xfrm_socket.h"

#define XFRM_TUNNEL_SAS (2 * SA_MAXIMUM)

/** A state that the kernel has for us, and what was counted of it before. */
struct xfrm_sa {
	uint32_t spi;
	bool is_inbound;
	struct sockaddr_in remote;
	uint64_t packets, bytes;
};

/** What the kernel has of one tunnel. */
struct xfrm_tunnel {
	struct xfrm_sa sas[XFRM_TUNNEL_SAS];
	unsigned sa_count;
	unsigned interface_index; /* of our kind; 0 = not known */
	bool has_policies;
	struct sockaddr_in policy_remote;
	bool is_hold_known, is_held; /* in the nft tables */
	bool is_spi_taken;           /* by another SA: an outbound one of ours was refused */
	uint64_t spi_asked_usec;     /* when IKE was asked for another child since */
	bool is_adopted; /* SAs of a former start carry packets; nobody has said yet whose session it is */
};

struct xfrm_backend {
	struct xfrm_socket *socket;
	struct xfrm_links *links;
	struct nft_hold *hold;
	struct nft_watch *watch;
	struct nfqueue_hold *packets;
	struct xfrm_tunnel *tunnels; /* as agent->tunnels */
	const struct agent_tunnel
		*releasing; /* what waits in the queue is taken before its hold ends; NULL = none */
	struct xfrm_batch batch;
};

struct xfrm_tunnel *xfrm_tunnel_of(const struct agent_tunnel *tunnel);

/** The ends of a tunnel's states, with this remote one. */
struct xfrm_ends xfrm_ends_of(const struct agent_tunnel *tunnel, const struct sockaddr_in *remote);

/** Whether a state is an inbound one of ours, or an outbound one; false for both: it is not ours. */
bool xfrm_is_inbound(const struct agent *agent, const struct xfrm_state *state);
bool xfrm_is_outbound(const struct agent *agent, const struct xfrm_state *state);

/** NULL when the kernel has no such state for us. */
struct xfrm_sa *xfrm_find_sa(struct xfrm_tunnel *known, bool is_inbound, uint32_t spi);

/* xfrm_adopt.c */

/** Enters the states of a former start in the cores, and removes what belongs to no tunnel of the configuration. -1 and errno. */
int xfrm_adopt(struct agent *agent);

/** Removes what a former start on the kernel back end left, before the user-space one is used. */
void xfrm_clear(struct agent *agent);

/* xfrm_count.c */

/** Adds what a state counted since it was last looked at. True = packets passed. */
bool xfrm_count(struct agent *agent, const struct xfrm_state *state, uint64_t now_usec);

/** Brings the counters and times of all cores up to date: struct backend's measure. */
void xfrm_measure(struct agent *agent, uint64_t now_usec);

/* xfrm_probe.c */

/** Whether this kernel has ESP, XFRM interfaces and what holds packets; false with a sentence in `why`. Leaves nothing. */
bool xfrm_probe(char *why, size_t why_size);

#endif
