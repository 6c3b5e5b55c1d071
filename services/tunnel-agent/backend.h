/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Who carries a tunnel's packets: this process (userspace.c: a TUN device and OpenSSL) or the kernel (xfrm_backend.c: an XFRM
 * interface, states and policies). Both serve the same core: it decides what is held, released, idle, dead and too old; a back
 * end makes the kernel follow. IKE and keepalives go through the UDP 4500 socket with either.
 *
 * What of an IPsec profile a back end cannot do is a table of its own, for the configuration is checked without one: see
 * services/common/data_plane.h. All functions are called on the loop's thread.
 */
#ifndef VPNSIP_BACKEND_H
#define VPNSIP_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "services/tunnel-agent/sa_table.h"

struct agent;
struct agent_tunnel;
struct udp_packet;

/** One SA to be installed. The keys are borrowed for the call. */
struct sa_order {
	uint32_t spi;
	struct esp_options options;
	struct sa_terms terms;
};

struct backend {
	const char *name; /* "userspace", "kernel" */

	/*
	 * Interfaces and SAs stay when this process ends, however it does: leaving removes nothing, and start() adopts what it
	 * finds. Else they are gone, and SAs are never made again with the same keys.
	 */
	bool outlives_process;

	/** Before privileges are dropped, with agent->service set. 0, or -1 and a sentence in `why`. */
	int (*prepare)(struct agent *agent, char *why, size_t why_size);

	/** After the tunnels' cores are made, before their interfaces are. 0, or -1 after logging why. */
	int (*start)(struct agent *agent);

	/** Closes what prepare() and start() opened; works after either failed. */
	void (*stop)(struct agent *agent);

	/** Whether the tunnel has its interface, by its name; one that was renamed or moved away is given up. */
	bool (*has_interface)(struct agent_tunnel *tunnel);

	/** Makes the tunnel's interface. 0, or -1 and a sentence in `why`. Its MTU, address and state are interfaces.c's. */
	int (*make_interface)(struct agent_tunnel *tunnel, char *why, size_t why_size);

	/** Removes everything that there is of a tunnel in the kernel, by order (purge). */
	void (*purge)(struct agent_tunnel *tunnel);

	/**
	 * Installs all of these SAs, entered in the tunnel's core, or none. One that is there already is left as it is: starting
	 * anew would repeat nonces. 0, or -1 and a constant text in `why`.
	 */
	int (*install_sas)(struct agent_tunnel *tunnel, const struct sa_order *orders, size_t count,
	                   const char **why);

	/**
	 * After anything happened to the core: makes the kernel follow (peer, SAs that are gone, whether packets are held). Does
	 * nothing when nothing is to be done. NULL = nothing ever is.
	 */
	void (*settle)(struct agent_tunnel *tunnel);

	/** Once a second: brings the counters and times of all cores up to date. NULL = they are. */
	void (*measure)(struct agent *agent, uint64_t now_usec);

	/** Sends a packet that was held; it stands in the next slot of agent->outbound, which the caller flushes. */
	void (*send_held)(struct agent_tunnel *tunnel, uint8_t *packet, size_t size,
	                  uint64_t now_usec);

	/** An ESP packet arrived on the UDP socket. */
	void (*take_esp)(struct agent_tunnel *tunnel, const struct udp_packet *packet,
	                 uint64_t now_usec);
};

extern const struct backend backend_userspace, backend_kernel;

/**
 * The back end that the configuration asks for; with `auto` the kernel where it can do all that the profiles want, which is
 * tried out, else the user-space one, and `why` says in a sentence why. NULL: the kernel was asked for and cannot. Needs root.
 */
const struct backend *backend_choose(struct agent *agent, char *why, size_t why_size);

#endif
