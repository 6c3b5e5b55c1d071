/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/port_obstacle.h"

#include <errno.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

char *sip_port_obstacle_of_line(const struct config_line *line)
{
	struct ifaddrs *interfaces = NULL;
	struct sockaddr_storage address = {0};
	char *sentence = NULL;

	if (getifaddrs(&interfaces) != 0)
		return NULL;
	for (struct ifaddrs *entry = interfaces; entry && !sentence; entry = entry->ifa_next) {
		if (!entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET ||
		    strcmp(entry->ifa_name, line->wan_interface) != 0)
			continue;
		memcpy(&address, entry->ifa_addr, sizeof(struct sockaddr_in));
		sentence = sip_port_obstacle(line, &address);
	}
	freeifaddrs(interfaces);
	return sentence;
}
