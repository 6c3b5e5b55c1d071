/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * TUN devices (/dev/net/tun). The device file may be root's alone, so enough descriptors are opened before privileges are
 * dropped; a descriptor whose interface somebody deleted can make it again.
 *
 * Interfaces are not persistent: when this process dies they vanish with the routes through them, and the guard routes
 * and the firewall stop what would have gone there.
 */
#ifndef VPNSIP_TUN_DEVICE_H
#define VPNSIP_TUN_DEVICE_H

#include <linux/virtio_net.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/** Descriptors of /dev/net/tun that have no interface yet. */
struct tun_pool {
	int *descriptors;
	size_t count;
};

/** Opens `count` descriptors. -1 and errno when even the first fails. */
int tun_pool_open(struct tun_pool *pool, size_t count);
void tun_pool_close(struct tun_pool *pool);

/** A descriptor from the pool, or newly opened; -1 and errno when there is none. Non-blocking. */
int tun_pool_take(struct tun_pool *pool);

/**
 * Makes the interface `name` (layer 3, packets behind a struct virtio_net_hdr) on this descriptor. -1 and errno: EEXIST when the
 * descriptor still has one, EBUSY or EINVAL when another program has an interface of that name.
 */
int tun_create(int descriptor, const char *name);

/**
 * Whether TCP packets of up to 64 KB may be read, to be cut by the reader (segmenter.h). Writing large ones is always allowed.
 */
void tun_take_large(int descriptor, bool takes_large);

/** Reads one packet into `packet`. Its size, or -1 and errno. */
ssize_t tun_read(int descriptor, struct virtio_net_hdr *header, uint8_t *packet, size_t capacity);

/** Writes one packet whole, without offloads. -1 and errno. */
int tun_write(int descriptor, const uint8_t *packet, size_t size);

/** The name that the descriptor's interface has now; false when somebody deleted it. */
bool tun_get_name(int descriptor, char name[IF_NAMESIZE]);

#endif
