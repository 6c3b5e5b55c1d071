/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_SIP_PORT_OBSTACLE_H
#define VPNSIP_SIP_PORT_OBSTACLE_H

#include <sys/socket.h>

struct config_line;

/**
 * What bind(2) says about the ports of the line's transports on its WAN address: sofia does not hand its reason on. A
 * sentence, with the process that has the port where /proc shows it to us; NULL = nothing is in the way. Free it.
 */
char *sip_port_obstacle(const struct config_line *line, const struct sockaddr_storage *wan);

/** The same for the (first) address that the line's WAN interface has now; NULL also when it has none. For root, who sees every process. */
char *sip_port_obstacle_of_line(const struct config_line *line);

#endif
