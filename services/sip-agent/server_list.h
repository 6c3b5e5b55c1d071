/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The SIP servers of one line, in the order in which they are to be used, and which of them is in use: the configured ones, those
 * that DNS gave (RFC 3263), or those of the DHCP lease. Pure: time comes in.
 */
#ifndef VPNSIP_SIP_SERVER_LIST_H
#define VPNSIP_SIP_SERVER_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "services/common/config.h"

#define SERVER_LIST_MAXIMUM 16
#define SERVER_NAME_SIZE    254

enum server_origin { SERVER_CONFIGURED = 1, SERVER_BY_DNS, SERVER_BY_DHCP };

struct sip_server {
	struct sockaddr_storage address; /* with its port */
	enum config_transport transport; /* never SYSTEM */
	char name[SERVER_NAME_SIZE];     /* what a certificate must name; "" = the address */
	enum server_origin origin;
	bool is_secondary;
	uint64_t barred_until_usec; /* monotonic; not used before, because it did not answer */
};

struct server_list {
	struct sip_server servers[SERVER_LIST_MAXIMUM];
	size_t count;
	size_t current; /* index; valid while count > 0 */
};

/**
 * Replaces the servers. A server that stays keeps its bar, and stays the current one if it was. Servers beyond the maximum are
 * left out. True when the current server is another one now (or there is none any more, or the first).
 */
bool server_list_set(struct server_list *list, const struct sip_server *servers, size_t count);

/** The server in use; NULL when there is none. */
const struct sip_server *server_list_current(const struct server_list *list);

/**
 * The current server did not answer, or said 503: it is barred for `bar_usec` and the next one that is not barred becomes the
 * current one. False when every server is barred: the current one is then the one whose bar ends first.
 */
bool server_list_fail(struct server_list *list, uint64_t now_usec, uint64_t bar_usec);

/** Goes back to the first server that is not barred. True when that is another one than the current. */
bool server_list_return(struct server_list *list, uint64_t now_usec);

/** Whether the address, whatever its port, belongs to a server of the list. */
bool server_list_has_address(const struct server_list *list,
                             const struct sockaddr_storage *address);

/** Writes "sip:ADDRESS:PORT" of a server, with ";transport=tcp" or "tls" unless it is UDP; returns `text`. */
const char *sip_server_print_uri(const struct sip_server *server, char *text, size_t size);

/** "UDP", "TCP" or "TLS". */
const char *sip_transport_name(enum config_transport transport);

#endif
