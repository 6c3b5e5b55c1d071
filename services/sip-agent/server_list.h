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
	unsigned failures;          /* in a row: each doubles the bar */
};

/** All zero: an empty one. */
struct server_list {
	struct sip_server *servers; /* `count` of them, the list's own */
	size_t count;
	size_t current; /* index; valid while count > 0 */
};

/**
 * Replaces the servers. A server that stays keeps its bar, and stays the current one if it was. Servers beyond the maximum are
 * left out. True when the current server is another one now (or there is none any more, or the first). Without memory everything
 * stays as it is.
 */
bool server_list_set(struct server_list *list, const struct sip_server *servers, size_t count);

/** Empties it. */
void server_list_free(struct server_list *list);

/** The server in use; NULL when there is none. */
const struct sip_server *server_list_current(const struct server_list *list);

/**
 * The server that is to be asked next: the first in order that is not barred; when all are, the one whose bar ends first. NULL
 * when there is none.
 */
const struct sip_server *server_list_choose(const struct server_list *list, uint64_t now_usec);

/**
 * A server did not answer, or said 503: it is barred for 30 s, doubling with each failure in a row to 300 s, a half of it by
 * `random`, and not for less than `minimum_sec`. If it was the current one, the one to be asked next becomes that. True when
 * another server is not barred and may be asked at once. A server that is not of the list changes nothing.
 */
bool server_list_fail(struct server_list *list, const struct sip_server *server, uint64_t now_usec,
                      uint32_t random, unsigned minimum_sec);

/** A server did what it was asked for: it is the current one from now on, and not barred. True when another one was. */
bool server_list_use(struct server_list *list, const struct sip_server *server);

/** When a server that is before the current one in order may be asked again; 0 = there is none before it. */
uint64_t server_list_return_usec(const struct server_list *list);

/** Whether the address, whatever its port, belongs to a server of the list. */
bool server_list_has_address(const struct server_list *list,
                             const struct sockaddr_storage *address);

/** Writes "sip:ADDRESS:PORT" of a server, with ";transport=tcp" or "tls" unless it is UDP; returns `text`. */
const char *sip_server_print_uri(const struct sip_server *server, char *text, size_t size);

/** "UDP", "TCP" or "TLS". */
const char *sip_transport_name(enum config_transport transport);

#endif
