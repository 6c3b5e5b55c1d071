/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What a router of the path says of an ESP packet of ours that it could not forward in one piece (ICMP type 3 code 4, RFC 792 and
 * 1191). Anybody can write one: it is worth something only if it quotes what we have just sent (see tunnel_take_path_report()). Pure.
 */
#ifndef VPNSIP_PATH_REPORT_H
#define VPNSIP_PATH_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/** Every IPv4 host takes so much (RFC 791), and no believed report makes the path narrower: ESP carries packets over it still. */
#define PATH_MTU_MINIMUM 576

struct path_report {
	struct sockaddr_storage router; /* who says so */
	struct sockaddr_storage remote; /* to whom the packet went */
	uint32_t spi, sequence;         /* of the packet; the low half of its number */
	unsigned packet_size;           /* its own */
	unsigned mtu;                   /* at least PATH_MTU_MINIMUM */
};

/**
 * Reads a received IPv4 packet. False when it is no such report, is damaged, or quotes nothing that may be an ESP-in-UDP packet of its
 * receiver that must not be fragmented.
 */
bool path_report_parse(const uint8_t *packet, size_t size, struct path_report *report);

#endif
