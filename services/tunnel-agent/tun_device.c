/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/tun_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
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
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	return ioctl(descriptor, TUNSETIFF, &request);
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
