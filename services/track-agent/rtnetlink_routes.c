/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "rtnetlink_routes.h"

#include <errno.h>
#include <event2/event.h>
#include <linux/fib_rules.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <netlink/route/rule.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"

/* Long enough to see the events of one cause together, short beside a probe's timeout. */
static const struct timeval settle_time = {.tv_usec = 5000};

struct rtnetlink {
	struct nl_sock *orders; /* blocking: requests and dumps */
	struct nl_sock *watch;  /* events */
	struct event *readable, *settled;
	void (*changed)(void *context);
	void *context;
};

static bool concerns_us(struct nl_msg *message)
{
	struct nlmsghdr *header = nlmsg_hdr(message);

	if (header->nlmsg_type != RTM_NEWROUTE && header->nlmsg_type != RTM_DELROUTE)
		return true;
	const struct rtmsg *route = nlmsg_data(header);

	return (route->rtm_family == AF_INET || route->rtm_family == AF_INET6) &&
	       (route->rtm_protocol == ROUTE_PROTOCOL_VPNSIP || route->rtm_dst_len == 0);
}

static int event_arrived(struct nl_msg *message, void *context)
{
	struct rtnetlink *rtnetlink = context;

	if (concerns_us(message) && !evtimer_pending(rtnetlink->settled, NULL))
		evtimer_add(rtnetlink->settled, &settle_time);
	return NL_OK;
}

static void watch_readable(evutil_socket_t fd, short what, void *context)
{
	struct rtnetlink *rtnetlink = context;
	int error;

	(void)fd;
	(void)what;
	error = nl_recvmsgs_default(rtnetlink->watch);
	/* Events were lost (ENOBUFS): what they said is read again. */
	if (error < 0 && error != -NLE_AGAIN && !evtimer_pending(rtnetlink->settled, NULL))
		evtimer_add(rtnetlink->settled, &settle_time);
}

static void events_settled(evutil_socket_t fd, short what, void *context)
{
	struct rtnetlink *rtnetlink = context;

	(void)fd;
	(void)what;
	rtnetlink->changed(rtnetlink->context);
}

static int open_watch(struct rtnetlink *rtnetlink)
{
	int error;

	nl_socket_disable_seq_check(rtnetlink->watch);
	nl_socket_modify_cb(rtnetlink->watch, NL_CB_VALID, NL_CB_CUSTOM, event_arrived, rtnetlink);
	error = nl_connect(rtnetlink->watch, NETLINK_ROUTE);
	if (error < 0)
		return error;
	nl_socket_set_buffer_size(rtnetlink->watch, 1 << 20, 0);
	error = nl_socket_set_nonblocking(rtnetlink->watch);
	if (error < 0)
		return error;
	return nl_socket_add_memberships(rtnetlink->watch, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR,
	                                 RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_ROUTE,
	                                 0);
}

struct rtnetlink *rtnetlink_open(struct event_base *base, void (*changed)(void *context),
                                 void *context, char *why, size_t why_size)
{
	struct rtnetlink *rtnetlink = calloc(1, sizeof(*rtnetlink));
	int error = -NLE_NOMEM;

	if (rtnetlink == NULL)
		goto out;
	rtnetlink->changed = changed;
	rtnetlink->context = context;
	rtnetlink->orders = nl_socket_alloc();
	rtnetlink->watch = nl_socket_alloc();
	if (rtnetlink->orders == NULL || rtnetlink->watch == NULL)
		goto out;
	error = nl_connect(rtnetlink->orders, NETLINK_ROUTE);
	if (error == 0)
		error = open_watch(rtnetlink);
	if (error < 0)
		goto out;
	error = -NLE_NOMEM;
	rtnetlink->settled = evtimer_new(base, events_settled, rtnetlink);
	rtnetlink->readable = event_new(base, nl_socket_get_fd(rtnetlink->watch),
	                                EV_READ | EV_PERSIST, watch_readable, rtnetlink);
	if (rtnetlink->settled == NULL || rtnetlink->readable == NULL ||
	    event_add(rtnetlink->readable, NULL) != 0)
		goto out;
	return rtnetlink;
out:
	snprintf(why, why_size, "rtnetlink: %s", nl_geterror(error));
	rtnetlink_close(rtnetlink);
	return NULL;
}

void rtnetlink_close(struct rtnetlink *rtnetlink)
{
	if (rtnetlink == NULL)
		return;
	if (rtnetlink->readable != NULL)
		event_free(rtnetlink->readable);
	if (rtnetlink->settled != NULL)
		event_free(rtnetlink->settled);
	nl_socket_free(rtnetlink->watch);
	nl_socket_free(rtnetlink->orders);
	free(rtnetlink);
}

/* From libnl's address; none for NULL, `any` for one without octets. */
static struct sockaddr_storage from_nl(const struct nl_addr *address)
{
	struct sockaddr_storage result = {0};

	if (address == NULL)
		return result;
	if (nl_addr_get_len(address) == 0)
		result.ss_family = nl_addr_get_family(address) == AF_INET6 ? AF_INET6 : AF_INET;
	else
		address_from_octets(nl_addr_get_binary_addr(address), nl_addr_get_len(address), 0,
		                    &result);
	return result;
}

/* NULL for none. `length` is the prefix's. */
static struct nl_addr *to_nl(const struct sockaddr_storage *address, unsigned length)
{
	size_t size;
	const uint8_t *octets = address_octets(address, &size);
	struct nl_addr *result;

	if (octets == NULL)
		return NULL;
	result = nl_addr_build(address->ss_family, octets, size);
	if (result != NULL)
		nl_addr_set_prefixlen(result, length);
	return result;
}

static void read_links(struct nl_cache *cache, struct netfacts *facts)
{
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL;
	     object = nl_cache_get_next(object)) {
		struct rtnl_link *link = (struct rtnl_link *)object;
		struct netfacts_link *fact = &facts->links[facts->link_count++];
		const char *name = rtnl_link_get_name(link);

		fact->index = rtnl_link_get_ifindex(link);
		snprintf(fact->name, sizeof(fact->name), "%s", name != NULL ? name : "");
		fact->is_up = rtnl_link_get_flags(link) & IFF_UP;
		fact->mtu = rtnl_link_get_mtu(link);
	}
}

static void read_addresses(struct nl_cache *cache, struct netfacts *facts)
{
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL;
	     object = nl_cache_get_next(object)) {
		struct rtnl_addr *address = (struct rtnl_addr *)object;
		struct netfacts_address *fact = &facts->addresses[facts->address_count];

		if (rtnl_addr_get_family(address) != AF_INET)
			continue;
		fact->link_index = rtnl_addr_get_ifindex(address);
		fact->address = from_nl(rtnl_addr_get_local(address));
		fact->prefix_length = rtnl_addr_get_prefixlen(address);
		facts->address_count++;
	}
}

static enum route_kind route_kind(const struct rtnl_route *route)
{
	int type = rtnl_route_get_type((struct rtnl_route *)route);

	if (type == RTN_UNREACHABLE)
		return ROUTE_UNREACHABLE;
	if (type == RTN_UNICAST && rtnl_route_get_nnexthops((struct rtnl_route *)route) == 1)
		return ROUTE_UNICAST;
	return ROUTE_OTHER;
}

static void read_routes(struct nl_cache *cache, struct netfacts *facts)
{
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL;
	     object = nl_cache_get_next(object)) {
		struct rtnl_route *route = (struct rtnl_route *)object;
		struct netfacts_route *fact = &facts->routes[facts->route_count];
		struct nl_addr *destination = rtnl_route_get_dst(route);

		if (rtnl_route_get_table(route) == RT_TABLE_LOCAL)
			continue;
		fact->kind = route_kind(route);
		fact->destination = from_nl(destination);
		fact->prefix_length = nl_addr_get_prefixlen(destination);
		fact->table = rtnl_route_get_table(route);
		fact->metric = rtnl_route_get_priority(route);
		fact->protocol = rtnl_route_get_protocol(route);
		fact->source = from_nl(rtnl_route_get_pref_src(route));
		if (fact->kind == ROUTE_UNICAST) {
			struct rtnl_nexthop *hop = rtnl_route_nexthop_n(route, 0);

			fact->link_index = rtnl_route_nh_get_ifindex(hop);
			fact->gateway = from_nl(rtnl_route_nh_get_gateway(hop));
		}
		facts->route_count++;
	}
}

static void read_rules(struct nl_cache *cache, struct netfacts *facts)
{
	for (struct nl_object *object = nl_cache_get_first(cache); object != NULL;
	     object = nl_cache_get_next(object)) {
		struct rtnl_rule *rule = (struct rtnl_rule *)object;
		struct netfacts_rule *fact = &facts->rules[facts->rule_count];
		uint8_t protocol = 0;
		const char *oif = rtnl_rule_get_oif(rule);

		if (rtnl_rule_get_protocol(rule, &protocol) < 0 ||
		    protocol != ROUTE_PROTOCOL_VPNSIP)
			continue;
		fact->priority = rtnl_rule_get_prio(rule);
		fact->protocol = protocol;
		fact->is_unreachable = rtnl_rule_get_action(rule) == FR_ACT_UNREACHABLE;
		fact->table = fact->is_unreachable ? 0 : rtnl_rule_get_table(rule);
		fact->from = from_nl(rtnl_rule_get_src(rule));
		fact->to = from_nl(rtnl_rule_get_dst(rule));
		snprintf(fact->oif, sizeof(fact->oif), "%s", oif != NULL ? oif : "");
		facts->rule_count++;
	}
}

static size_t count(struct nl_cache *cache)
{
	return cache != NULL ? nl_cache_nitems(cache) : 0;
}

/* Room for all elements, and one, so that it is never NULL for lack of elements. */
static void *room_for(size_t elements, size_t size)
{
	return calloc(elements + 1, size);
}

bool rtnetlink_read(struct rtnetlink *rtnetlink, struct netfacts *facts)
{
	struct nl_cache *links = NULL, *addresses = NULL, *routes = NULL, *rules = NULL;
	struct nl_cache *ipv6_routes = NULL;
	struct nl_sock *socket = rtnetlink->orders;
	bool is_read = false;
	int error;

	memset(facts, 0, sizeof(*facts));
	if ((error = rtnl_link_alloc_cache(socket, AF_UNSPEC, &links)) < 0 ||
	    (error = rtnl_addr_alloc_cache(socket, &addresses)) < 0 ||
	    (error = rtnl_route_alloc_cache(socket, AF_INET, 0, &routes)) < 0 ||
	    (error = rtnl_rule_alloc_cache(socket, AF_INET, &rules)) < 0)
		goto out;
	/* A kernel without IPv6 has none. */
	if (rtnl_route_alloc_cache(socket, AF_INET6, 0, &ipv6_routes) < 0)
		ipv6_routes = NULL;
	error = -NLE_NOMEM;
	facts->links = room_for(count(links), sizeof(*facts->links));
	facts->addresses = room_for(count(addresses), sizeof(*facts->addresses));
	facts->routes = room_for(count(routes) + count(ipv6_routes), sizeof(*facts->routes));
	facts->rules = room_for(count(rules), sizeof(*facts->rules));
	if (facts->links == NULL || facts->addresses == NULL || facts->routes == NULL ||
	    facts->rules == NULL)
		goto out;
	read_links(links, facts);
	read_addresses(addresses, facts);
	read_routes(routes, facts);
	if (ipv6_routes != NULL)
		read_routes(ipv6_routes, facts);
	read_rules(rules, facts);
	is_read = true;
out:
	if (!is_read) {
		log_line(LOG_ERR, "cannot read the kernel's routing: %s", nl_geterror(error));
		netfacts_free(facts);
	}
	nl_cache_free(links);
	nl_cache_free(addresses);
	nl_cache_free(routes);
	nl_cache_free(ipv6_routes);
	nl_cache_free(rules);
	return is_read;
}

static int set_next_hop(struct rtnl_route *route, const struct netfacts_route *wanted)
{
	struct rtnl_nexthop *hop = rtnl_route_nh_alloc();
	struct nl_addr *gateway = to_nl(&wanted->gateway, address_bits(&wanted->gateway));

	if (hop == NULL)
		return -NLE_NOMEM;
	rtnl_route_nh_set_ifindex(hop, wanted->link_index);
	if (gateway != NULL) {
		rtnl_route_nh_set_gateway(hop, gateway);
		/* The underlay's gateways are told, not guessed: they need no covering network (a /32 by DHCP). */
		if (wanted->table != ROUTE_TABLE_MAIN)
			rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
		nl_addr_put(gateway);
	}
	rtnl_route_add_nexthop(route, hop);
	return 0;
}

static struct rtnl_route *make_route(const struct netfacts_route *wanted)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct nl_addr *destination = to_nl(&wanted->destination, wanted->prefix_length);
	struct nl_addr *source = to_nl(&wanted->source, address_bits(&wanted->source));
	bool is_on_link = wanted->kind == ROUTE_UNICAST && wanted->gateway.ss_family == 0;
	int error = -NLE_NOMEM;

	if (route == NULL || destination == NULL)
		goto out;
	rtnl_route_set_family(route, wanted->destination.ss_family);
	rtnl_route_set_table(route, wanted->table);
	rtnl_route_set_protocol(route, wanted->protocol);
	rtnl_route_set_priority(route, wanted->metric);
	rtnl_route_set_type(route,
	                    wanted->kind == ROUTE_UNREACHABLE ? RTN_UNREACHABLE : RTN_UNICAST);
	rtnl_route_set_scope(route, is_on_link ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE);
	error = rtnl_route_set_dst(route, destination);
	if (error == 0 && source != NULL)
		error = rtnl_route_set_pref_src(route, source);
	if (error == 0 && wanted->kind == ROUTE_UNICAST)
		error = set_next_hop(route, wanted);
out:
	nl_addr_put(destination);
	nl_addr_put(source);
	if (error < 0 && route != NULL) {
		rtnl_route_put(route);
		route = NULL;
	}
	return route;
}

static struct rtnl_rule *make_rule(const struct netfacts_rule *wanted)
{
	struct rtnl_rule *rule = rtnl_rule_alloc();
	struct nl_addr *from = to_nl(&wanted->from, address_bits(&wanted->from));
	struct nl_addr *to = to_nl(&wanted->to, address_bits(&wanted->to));

	if (rule == NULL)
		goto out;
	rtnl_rule_set_family(rule, AF_INET);
	rtnl_rule_set_prio(rule, wanted->priority);
	rtnl_rule_set_protocol(rule, wanted->protocol);
	rtnl_rule_set_action(rule, wanted->is_unreachable ? FR_ACT_UNREACHABLE : FR_ACT_TO_TBL);
	if (!wanted->is_unreachable)
		rtnl_rule_set_table(rule, wanted->table);
	if (from != NULL)
		rtnl_rule_set_src(rule, from);
	if (to != NULL)
		rtnl_rule_set_dst(rule, to);
	if (wanted->oif[0] != '\0')
		rtnl_rule_set_oif(rule, wanted->oif);
out:
	nl_addr_put(from);
	nl_addr_put(to);
	return rule;
}

static int change_route(struct nl_sock *socket, const struct route_change *change)
{
	struct rtnl_route *route = make_route(change->route);
	int error = -NLE_NOMEM;

	if (route == NULL)
		return error;
	if (change->kind == ROUTE_CHANGE_ADD)
		error = rtnl_route_add(socket, route, NLM_F_CREATE | NLM_F_REPLACE);
	else
		error = rtnl_route_delete(socket, route, 0);
	rtnl_route_put(route);
	return error;
}

static int change_rule(struct nl_sock *socket, const struct route_change *change)
{
	struct rtnl_rule *rule = make_rule(change->rule);
	int error = -NLE_NOMEM;

	if (rule == NULL)
		return error;
	if (change->kind == RULE_CHANGE_ADD)
		error = rtnl_rule_add(socket, rule, NLM_F_CREATE | NLM_F_EXCL);
	else
		error = rtnl_rule_delete(socket, rule, 0);
	rtnl_rule_put(rule);
	return error;
}

static void log_failure(const struct route_change *change, int error)
{
	char text[ADDRESS_TEXT_SIZE];

	if (change->route != NULL)
		log_line(LOG_ERR, "cannot %s the route %s metric %u in table %u: %s",
		         change->kind == ROUTE_CHANGE_ADD ? "install" : "remove",
		         address_format_prefix(&change->route->destination,
		                               change->route->prefix_length, text),
		         change->route->metric, change->route->table, nl_geterror(error));
	else if (change->rule != NULL)
		log_line(LOG_ERR, "cannot %s the rule of priority %u: %s",
		         change->kind == RULE_CHANGE_ADD ? "install" : "remove",
		         change->rule->priority, nl_geterror(error));
}

bool rtnetlink_change(void *context, const struct route_change *change)
{
	struct rtnetlink *rtnetlink = context;
	bool is_removal = change->kind == ROUTE_CHANGE_REMOVE || change->kind == RULE_CHANGE_REMOVE;
	int error = change->route != NULL ? change_route(rtnetlink->orders, change)
	                                  : change_rule(rtnetlink->orders, change);

	if (is_removal && (error == -NLE_OBJ_NOTFOUND || error == -NLE_NODEV))
		error = 0; /* it went by itself, with its interface */
	if (!is_removal && change->rule != NULL && error == -NLE_EXIST)
		error = 0;
	if (error < 0)
		log_failure(change, error);
	return error == 0;
}
