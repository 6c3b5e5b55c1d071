/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which way packets take: what fetches by itself must not place a call that somebody pays for. */
#ifndef VPNSIP_CLI_PKI_ROUTE_H
#define VPNSIP_CLI_PKI_ROUTE_H

#include <stdbool.h>
#include <sys/socket.h>

struct config;

/**
 * Whether packets to this address would leave by one of our tunnels now. `tunnel` then has its name. An address without
 * a route, or a kernel that does not answer, is none.
 */
bool pki_leaves_by_tunnel(const struct config *config, const struct sockaddr_storage *address,
                          char tunnel[16]);

/** The same of any name server of the resolver. */
bool pki_asks_names_by_tunnel(const struct config *config, char tunnel[16]);

#endif
