/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel says about links, addresses, routes and rules: plain data, read by rtnetlink.c, used by the pure parts. */
#ifndef VPNSIP_NETFACTS_H
#define VPNSIP_NETFACTS_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ROUTE_PROTOCOL_VPNSIP 56
#define ROUTE_TABLE_MAIN      254

struct netfacts_link {
	int index;
	char name[IFNAMSIZ];
	bool is_up;
	unsigned mtu;
};

struct netfacts_address {
	struct sockaddr_storage address;
	int link_index;
	unsigned prefix_length;
};

enum route_kind { ROUTE_UNICAST, ROUTE_UNREACHABLE, ROUTE_OTHER };

/** One route; several next hops count as ROUTE_OTHER. */
struct netfacts_route {
	struct sockaddr_storage destination; /* 0.0.0.0 for the default route */
	struct sockaddr_storage gateway;     /* family 0 = none */
	struct sockaddr_storage source;      /* preferred source; family 0 = none */
	enum route_kind kind;
	unsigned prefix_length;
	uint32_t table;
	uint32_t metric;
	int link_index; /* 0 = none */
	uint8_t protocol;
};

/** One policy rule. An empty selector matches everything. */
struct netfacts_rule {
	uint32_t priority;
	uint8_t protocol;
	bool is_unreachable; /* else: look up `table` */
	uint32_t table;
	struct sockaddr_storage from; /* whole address; family 0 = any */
	struct sockaddr_storage to;   /* whole address; family 0 = any */
	char oif[IFNAMSIZ];
};

/** All of it at one moment. */
struct netfacts {
	struct netfacts_link *links;
	size_t link_count;
	struct netfacts_address *addresses;
	size_t address_count;
	struct netfacts_route *routes;
	size_t route_count;
	struct netfacts_rule *rules;
	size_t rule_count;
};

void netfacts_free(struct netfacts *facts);

/** NULL when there is no interface of that name. */
const struct netfacts_link *netfacts_link(const struct netfacts *facts, const char *name);
const struct netfacts_link *netfacts_link_by_index(const struct netfacts *facts, int index);

/** The first IPv4 address of an interface, or NULL. */
const struct netfacts_address *netfacts_address(const struct netfacts *facts, int link_index);

/** Whether the interface has this address. */
bool netfacts_has_address(const struct netfacts *facts, int link_index,
                          const struct sockaddr_storage *address);

/** The interface on whose connected network the address is, or 0. */
int netfacts_link_towards(const struct netfacts *facts, const struct sockaddr_storage *address);

/** The gateway of the main table's best default route by an interface that is not one of ours, or NULL. */
const struct sockaddr_storage *netfacts_default_gateway(const struct netfacts *facts,
                                                        int link_index);

/** Same table, destination and metric: only one such route can be meant. */
bool netfacts_route_is_same(const struct netfacts_route *a, const struct netfacts_route *b);

/** The same, and with equal kind, next hop, source and protocol. */
bool netfacts_route_is_equal(const struct netfacts_route *a, const struct netfacts_route *b);

bool netfacts_rule_is_equal(const struct netfacts_rule *a, const struct netfacts_rule *b);

#endif
