/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The UDP 4500 socket on the tunnel-source address: IKE and ESP of all sessions. Which session a packet belongs to is
 * its mark, read on receipt and set on sending; the firewall translates between marks and session ports.
 * Packets are sent and received in batches; nothing is allocated per packet.
 */
#ifndef VPNSIP_UDP_SOCKET_H
#define VPNSIP_UDP_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "services/tunnel-agent/outer_header.h"

#define UDP_IKE_PORT 4500
#define UDP_BATCH    64

struct udp_batch;

/** A packet of a received batch. */
struct udp_packet {
	uint8_t *octets;
	size_t size;
	size_t segment_size; /* see udp_join_received(); else that of the packet */
	bool is_truncated;   /* longer than a slot */
	uint8_t tos;         /* of the outer header */
	uint32_t mark;
	const struct sockaddr_storage *remote;
};

/** Where and how a packet is sent. */
struct udp_target {
	const struct sockaddr_storage *remote;
	uint32_t mark;
	struct outer_fields outer;
	size_t path_mtu; /* packets that fit into it may leave joined, to be cut apart by the network card; 0 = none may */
};

/** Told of packets that could not be sent: the mark they had, how many, errno, and `context`. */
typedef void udp_refused_fn(void *context, uint32_t mark, unsigned packets, int error);

/**
 * Opens and binds the socket; the address need not exist yet. Returns the descriptor (non-blocking), or -1 with a
 * sentence in `why`.
 */
int udp_open(const struct sockaddr_storage *local, char *why, size_t why_size);

/**
 * Memory for UDP_BATCH packets of at most `packet_size` octets, each with `headroom` octets before and `tailroom`
 * after it. NULL when there is none.
 */
struct udp_batch *udp_batch_new(size_t headroom, size_t packet_size, size_t tailroom);
void udp_batch_free(struct udp_batch *batch);

/**
 * From now on packets of one session and one size may be received joined, `segment_size` octets each but the last (UDP_GRO): the
 * batch's slots should have room for 64 KB. False when the kernel does not know that.
 */
bool udp_join_received(int descriptor);

/** Where the next packet to be sent may be built (behind the headroom). There is always a free one: see udp_add(). */
uint8_t *udp_next_slot(struct udp_batch *batch);

/**
 * Adds the packet built in the next slot (`octets` points into it). Returns true when the batch is full: udp_flush() it then.
 */
bool udp_add(struct udp_batch *batch, const uint8_t *octets, size_t size,
             const struct udp_target *target);

/** Sends the batch and empties it. */
void udp_flush(struct udp_batch *batch, int descriptor, udp_refused_fn *refused, void *context);

/** Receives up to UDP_BATCH packets; returns how many, 0 when none wait. */
unsigned udp_receive(struct udp_batch *batch, int descriptor);

/** The packet number `index` of the batch received last. */
struct udp_packet udp_packet(struct udp_batch *batch, unsigned index);

/** Sends one packet of two parts at once. -1 and errno. */
int udp_send(int descriptor, const struct sockaddr_storage *remote, uint32_t mark,
             const void *first, size_t first_size, const void *second, size_t second_size);

#endif
