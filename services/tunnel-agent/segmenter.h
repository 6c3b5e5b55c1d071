/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What the kernel left to the interface: a TCP packet larger than the MTU is cut into segments, a partial checksum is
 * completed. ESP carries whole packets only. Pure.
 */
#ifndef VPNSIP_SEGMENTER_H
#define VPNSIP_SEGMENTER_H

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct segmenter {
	const uint8_t *packet; /* borrowed */
	size_t size;
	size_t transport;    /* offset of the TCP header, or of what a partial checksum covers */
	size_t checksum;     /* offset of the checksum field; 0 = it is complete */
	size_t header_size;  /* of IP and TCP together */
	size_t segment_size; /* payload of each segment but the last; 0 = the packet goes as it is */
	size_t done;         /* payload octets that were handed out */
	unsigned index;      /* of the next segment */
	bool is_finished;
};

/** Begins with a packet as it was read from the interface. False: header and packet contradict each other. */
bool segmenter_begin(struct segmenter *segmenter, const struct virtio_net_hdr *header,
                     const uint8_t *packet, size_t size);

/** Writes the next packet, whole and with its checksums. Its size; 0 when there is none, or it has no room. */
size_t segmenter_next(struct segmenter *segmenter, uint8_t *room, size_t capacity);

#endif
