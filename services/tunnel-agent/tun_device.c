/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/tun_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

static int open_device(void)
{
	return open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int tun_pool_open(struct tun_pool *pool, size_t count)
{
	pool->count = 0;
	pool->descriptors = calloc(count ? count : 1, sizeof(*pool->descriptors));
	if (!pool->descriptors)
		return -1;
	while (pool->count < count) {
		int descriptor = open_device();

		if (descriptor < 0)
			break;
		pool->descriptors[pool->count++] = descriptor;
	}
	return pool->count > 0 || count == 0 ? 0 : -1;
}

void tun_pool_close(struct tun_pool *pool)
{
	while (pool->count > 0)
		close(pool->descriptors[--pool->count]);
	free(pool->descriptors);
	pool->descriptors = NULL;
}

int tun_pool_take(struct tun_pool *pool)
{
	if (pool->count > 0)
		return pool->descriptors[--pool->count];
	return open_device();
}

int tun_create(int descriptor, const char *name)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(descriptor, TUNSETIFF, &request);
}

void tun_take_large(int descriptor, bool takes_large)
{
	unsigned long offloads = takes_large ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
	                                     : 0;

	/* Who knows none of these hands over packets that are whole. */
	if (ioctl(descriptor, TUNSETOFFLOAD, offloads) != 0)
		ioctl(descriptor, TUNSETOFFLOAD, 0);
}

ssize_t tun_read(int descriptor, struct virtio_net_hdr *header, uint8_t *packet, size_t capacity)
{
	struct iovec vectors[] = {{header, sizeof(*header)}, {packet, capacity}};
	ssize_t size = readv(descriptor, vectors, 2);

	if (size < 0)
		return -1;
	return size > (ssize_t)sizeof(*header) ? size - (ssize_t)sizeof(*header) : 0;
}

int tun_write(int descriptor, const uint8_t *packet, size_t size)
{
	struct virtio_net_hdr header = {0};
	const struct iovec vectors[] = {{&header, sizeof(header)}, {(void *)packet, size}};

	return writev(descriptor, vectors, 2) < 0 ? -1 : 0;
}

bool tun_get_name(int descriptor, char name[IF_NAMESIZE])
{
	struct ifreq request;

	memset(&request, 0, sizeof(request));
	if (ioctl(descriptor, TUNGETIFF, &request) != 0)
		return false;
	snprintf(name, IF_NAMESIZE, "%s", request.ifr_name);
	return true;
}
