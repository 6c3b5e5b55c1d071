/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/ethtool.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

bool ethtool_has_checksums(const char *interface)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GTXCSUM};
	struct ifreq request = {.ifr_data = (char *)&value};
	int descriptor = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_known;

	if (descriptor < 0)
		return false;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	is_known = ioctl(descriptor, SIOCETHTOOL, &request) == 0;
	close(descriptor);
	return is_known && value.data != 0;
}
