/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef VPNSIP_PORT_OWNER_H
#define VPNSIP_PORT_OWNER_H

#include <sys/socket.h>

/**
 * For the error after a bind(2) that failed with EADDRINUSE: which process has the port of `address`, in this network
 * namespace. `protocol` is IPPROTO_UDP or IPPROTO_TCP. A sentence such as "UDP port 4500 is in use by charon (process 812)";
 * the name is left out when /proc does not show it to us. Never NULL except without memory; free it.
 */
char *who_has_port(int protocol, const struct sockaddr_storage *address);

#endif
