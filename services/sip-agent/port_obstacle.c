/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/port_obstacle.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/port_owner.h"

static int try_bind(const struct sockaddr_storage *address, int type)
{
	int fd = socket(address->ss_family, type | SOCK_CLOEXEC, 0);
	int error = 0;

	if (fd < 0 ||
	    bind(fd, (const struct sockaddr *)address, address_socket_length(address)) != 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	return error;
}

char *sip_port_obstacle(const struct config_line *line, const struct sockaddr_storage *wan)
{
	const struct {
		enum config_transport transport;
		int type, protocol;
		uint16_t port;
	} listeners[] = {
		{TRANSPORT_UDP, SOCK_DGRAM, IPPROTO_UDP, line->sip_port},
		{TRANSPORT_TCP, SOCK_STREAM, IPPROTO_TCP, line->sip_port},
		{TRANSPORT_TLS, SOCK_STREAM, IPPROTO_TCP, line->tls_port},
	};
	struct sockaddr_storage address = *wan;
	char text[ADDRESS_TEXT_SIZE], *sentence = NULL;

	for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
		if (!(line->transports & 1u << listeners[i].transport))
			continue;
		address_set_port(&address, listeners[i].port);
		int error = try_bind(&address, listeners[i].type);

		if (error == EADDRINUSE)
			return who_has_port(listeners[i].protocol, &address);
		if (error &&
		    asprintf(&sentence, "cannot open SIP port %u on %s: %s", listeners[i].port,
		             address_format(&address, text), strerror(error)) < 0)
			return NULL;
		if (error)
			return sentence;
	}
	return NULL;
}

/* By name: a list of all addresses has those of every tunnel, too, and there are as many of these as lines. */
static bool has_address(const char *interface, struct sockaddr_storage *address)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_found;

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	is_found = fd >= 0 && ioctl(fd, SIOCGIFADDR, &request) == 0;
	if (is_found)
		memcpy(address, &request.ifr_addr, sizeof(struct sockaddr_in));
	if (fd >= 0)
		close(fd);
	return is_found;
}

char *sip_port_obstacle_of_line(const struct config_line *line)
{
	struct sockaddr_storage address = {0};

	return has_address(line->wan_interface, &address) ? sip_port_obstacle(line, &address)
	                                                  : NULL;
}
