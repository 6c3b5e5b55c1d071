/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Packets for one interface, in order. TCP segments that follow each other become one large packet, written at once and
 * without being copied together; the kernel takes it as if its own generic receive offload had made it. Pure.
 */
#ifndef VPNSIP_COALESCER_H
#define VPNSIP_COALESCER_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define COALESCE_PACKETS 64

struct coalescer {
	struct virtio_net_hdr header;
	struct iovec vectors[1 + COALESCE_PACKETS]; /* `header`, then the packet's pieces */
	unsigned packets;                           /* 0 = empty */
	size_t size;                                /* of all pieces */
	size_t transport,
		header_size; /* of the first packet: TCP's place, where the payload begins */
	size_t segment_size; /* payload of each segment but the last */
	uint32_t next_sequence;
	bool is_open; /* another segment may follow */
};

/**
 * Adds a packet, which must stay where it is until the next coalescer_clear(); its headers may be changed. False: it does not
 * follow from what is there, and nothing was done. An empty coalescer takes any packet.
 */
bool coalescer_add(struct coalescer *coalescer, uint8_t *packet, size_t size);

/** Completes the headers of what is there; then `vectors` (1 + packets of them) can be written. */
void coalescer_finish(struct coalescer *coalescer);

void coalescer_clear(struct coalescer *coalescer);

#endif
