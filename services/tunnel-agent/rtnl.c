/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/rtnl.h"

#include <event2/event.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/inet6.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_BUFFER_SIZE (1 << 20)

/** A link as it was read. */
struct known_link {
	char name[IFNAMSIZ];
	struct rtnl_interface interface;
};

struct known_address {
	unsigned index; /* of its interface */
	unsigned order; /* among all, as the kernel has them */
	struct rtnl_address address;
};

struct rtnl {
	struct nl_sock *requests;
	struct nl_sock *events;
	struct known_link *links; /* by name */
	size_t link_count;
	struct known_address *addresses; /* by interface */
	size_t address_count;
	struct event *readable;
	bool is_current; /* what is known: no event came since it was read */
	void (*changed)(void *context);
	void *context;
};

/* What changed does not matter: the owner looks at everything again. A lost event is one, too. */
static void take_events(struct rtnl *rtnl)
{
	bool has_come = false;
	int error;

	while ((error = nl_recvmsgs_default(rtnl->events)) == 0)
		has_come = true;
	if (!has_come && error == -NLE_AGAIN)
		return;
	rtnl->is_current = false;
	rtnl->changed(rtnl->context);
}

static void events_readable(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	take_events(context);
}

static int open_events(struct rtnl *rtnl, struct event_base *base)
{
	int error;

	rtnl->events = nl_socket_alloc();
	if (!rtnl->events)
		return -NLE_NOMEM;
	nl_socket_disable_seq_check(rtnl->events);
	error = nl_connect(rtnl->events, NETLINK_ROUTE);
	if (error < 0)
		return error;
	nl_socket_set_buffer_size(rtnl->events, EVENT_BUFFER_SIZE, 0);
	nl_socket_set_nonblocking(rtnl->events);
	error = nl_socket_add_memberships(rtnl->events, RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, 0);
	if (error < 0)
		return error;
	rtnl->readable = event_new(base, nl_socket_get_fd(rtnl->events), EV_READ | EV_PERSIST,
	                           events_readable, rtnl);
	return rtnl->readable && event_add(rtnl->readable, NULL) == 0 ? 0 : -NLE_NOMEM;
}

struct rtnl *rtnl_open(struct event_base *base, void (*changed)(void *context), void *context,
                       const char **why)
{
	struct rtnl *rtnl = calloc(1, sizeof(*rtnl));
	int error = -NLE_NOMEM;

	if (!rtnl)
		goto fail;
	rtnl->changed = changed;
	rtnl->context = context;
	rtnl->requests = nl_socket_alloc();
	if (!rtnl->requests)
		goto fail;
	error = nl_connect(rtnl->requests, NETLINK_ROUTE);
	if (error < 0)
		goto fail;
	error = open_events(rtnl, base);
	if (error < 0)
		goto fail;
	return rtnl;
fail:
	*why = nl_geterror(error);
	rtnl_close(rtnl);
	return NULL;
}

void rtnl_close(struct rtnl *rtnl)
{
	if (!rtnl)
		return;
	if (rtnl->readable)
		event_free(rtnl->readable);
	free(rtnl->links);
	free(rtnl->addresses);
	nl_socket_free(rtnl->events);
	nl_socket_free(rtnl->requests);
	free(rtnl);
}

static int compare_links(const void *a, const void *b)
{
	return strcmp(((const struct known_link *)a)->name, ((const struct known_link *)b)->name);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct known_address *one = a, *other = b;

	if (one->index != other->index)
		return one->index < other->index ? -1 : 1;
	return (one->order > other->order) - (one->order < other->order);
}

/* Makes room for all elements of a cache, and one, so that it is never NULL for lack of elements. */
static void *room_for(struct nl_cache *cache, size_t size)
{
	return calloc((size_t)nl_cache_nitems(cache) + 1, size);
}

static bool keep_links(struct rtnl *rtnl, struct nl_cache *cache)
{
	struct known_link *links = room_for(cache, sizeof(*links));
	size_t count = 0;

	if (!links)
		return false;
	for (struct nl_object *object = nl_cache_get_first(cache); object;
	     object = nl_cache_get_next(object)) {
		struct rtnl_link *link = (struct rtnl_link *)object;
		const char *name = rtnl_link_get_name(link);

		if (!name)
			continue;
		snprintf(links[count].name, sizeof(links[count].name), "%s", name);
		links[count++].interface = (struct rtnl_interface){
			.index = (unsigned)rtnl_link_get_ifindex(link),
			.mtu = rtnl_link_get_mtu(link),
			.is_up = rtnl_link_get_flags(link) & IFF_UP,
		};
	}
	qsort(links, count, sizeof(*links), compare_links);
	free(rtnl->links);
	rtnl->links = links;
	rtnl->link_count = count;
	return true;
}

static bool keep_addresses(struct rtnl *rtnl, struct nl_cache *cache)
{
	struct known_address *addresses = room_for(cache, sizeof(*addresses));
	unsigned count = 0;

	if (!addresses)
		return false;
	for (struct nl_object *object = nl_cache_get_first(cache); object;
	     object = nl_cache_get_next(object)) {
		struct rtnl_addr *entry = (struct rtnl_addr *)object;
		struct nl_addr *local = rtnl_addr_get_local(entry);

		if (!local || nl_addr_get_family(local) != AF_INET)
			continue;
		addresses[count].index = (unsigned)rtnl_addr_get_ifindex(entry);
		addresses[count].order = count;
		addresses[count++].address = (struct rtnl_address){
			.address = *(struct in_addr *)nl_addr_get_binary_addr(local),
			.prefix_length = (unsigned)rtnl_addr_get_prefixlen(entry),
			.is_secondary = rtnl_addr_get_flags(entry) & IFA_F_SECONDARY,
		};
	}
	qsort(addresses, count, sizeof(*addresses), compare_addresses);
	free(rtnl->addresses);
	rtnl->addresses = addresses;
	rtnl->address_count = count;
	return true;
}

int rtnl_refresh(struct rtnl *rtnl)
{
	struct nl_cache *links = NULL, *addresses = NULL;

	/* The kernel tells of a change before the call that makes it returns: also of our own. */
	take_events(rtnl);
	if (rtnl->is_current)
		return 0;
	rtnl->is_current = rtnl_link_alloc_cache(rtnl->requests, AF_UNSPEC, &links) == 0 &&
	                   rtnl_addr_alloc_cache(rtnl->requests, &addresses) == 0 &&
	                   keep_links(rtnl, links) && keep_addresses(rtnl, addresses);
	nl_cache_free(links);
	nl_cache_free(addresses);
	return rtnl->is_current ? 0 : -1;
}

bool rtnl_find_interface(const struct rtnl *rtnl, const char *name,
                         struct rtnl_interface *interface)
{
	const struct known_link *link = NULL;
	struct known_link wanted;

	snprintf(wanted.name, sizeof(wanted.name), "%s", name);
	if (rtnl->links)
		link = bsearch(&wanted, rtnl->links, rtnl->link_count, sizeof(wanted),
		               compare_links);
	if (link)
		*interface = link->interface;
	return link != NULL;
}

/* Where the addresses of this interface begin. */
static size_t first_address(const struct rtnl *rtnl, unsigned index)
{
	size_t first = 0, end = rtnl->address_count;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (rtnl->addresses[middle].index < index)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

size_t rtnl_list_addresses(const struct rtnl *rtnl, unsigned index, struct rtnl_address *list,
                           size_t capacity)
{
	size_t count = 0;

	for (size_t i = first_address(rtnl, index);
	     i < rtnl->address_count && rtnl->addresses[i].index == index && count < capacity; i++)
		list[count++] = rtnl->addresses[i].address;
	return count;
}

static int change_link(struct rtnl *rtnl, unsigned index, unsigned mtu, bool sets_ipv6)
{
	struct rtnl_link *original = rtnl_link_alloc(), *changes = rtnl_link_alloc();
	int error = -NLE_NOMEM;

	if (!original || !changes)
		goto out;
	rtnl_link_set_ifindex(original, (int)index);
	rtnl_link_set_mtu(changes, mtu);
	rtnl_link_set_flags(changes, IFF_UP);
	rtnl_link_set_group(changes, RTNL_LINK_GROUP);
	/* Without a link-local address the kernel sends no router solicitations. */
	if (sets_ipv6)
		rtnl_link_inet6_set_addr_gen_mode(changes, IN6_ADDR_GEN_MODE_NONE);
	error = rtnl_link_change(rtnl->requests, original, changes, 0);
out:
	rtnl_link_put(original);
	rtnl_link_put(changes);
	return error;
}

int rtnl_set_link(struct rtnl *rtnl, unsigned index, unsigned mtu, const char **why)
{
	int error = change_link(rtnl, index, mtu, true);

	/* A kernel without IPv6 refuses the whole message. */
	if (error < 0)
		error = change_link(rtnl, index, mtu, false);
	if (error < 0)
		*why = nl_geterror(error);
	return error < 0 ? -1 : 0;
}

int rtnl_limit_segments(struct rtnl *rtnl, unsigned index, unsigned segments, const char **why)
{
	const struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)index};
	struct nl_msg *message = nlmsg_alloc_simple(RTM_NEWLINK, 0);
	int error = -NLE_NOMEM;

	if (message && nlmsg_append(message, (void *)&link, sizeof(link), NLMSG_ALIGNTO) == 0 &&
	    nla_put_u32(message, IFLA_GSO_MAX_SEGS, segments) == 0) {
		error = nl_send_sync(rtnl->requests, message); /* frees the message */
		message = NULL;
	}
	nlmsg_free(message);
	if (error < 0)
		*why = nl_geterror(error);
	return error < 0 ? -1 : 0;
}

int rtnl_delete_links(struct rtnl *rtnl, const char **why)
{
	const struct ifinfomsg none = {.ifi_family = AF_UNSPEC};
	struct nl_msg *message = nlmsg_alloc_simple(RTM_DELLINK, 0);
	int error = -NLE_NOMEM;

	if (message && nlmsg_append(message, (void *)&none, sizeof(none), NLMSG_ALIGNTO) == 0 &&
	    nla_put_u32(message, IFLA_GROUP, RTNL_LINK_GROUP) == 0) {
		error = nl_send_sync(rtnl->requests, message); /* frees the message */
		message = NULL;
	}
	nlmsg_free(message);
	if (error < 0)
		*why = nl_geterror(error);
	return error < 0 ? -1 : 0;
}

static struct rtnl_addr *build_address(unsigned index, const struct rtnl_address *address)
{
	struct nl_addr *local = nl_addr_build(AF_INET, &address->address, sizeof(struct in_addr));
	struct rtnl_addr *entry = rtnl_addr_alloc();

	if (!local || !entry) {
		nl_addr_put(local);
		rtnl_addr_put(entry);
		return NULL;
	}
	nl_addr_set_prefixlen(local, (int)address->prefix_length);
	rtnl_addr_set_ifindex(entry, (int)index);
	rtnl_addr_set_local(entry, local);
	nl_addr_put(local);
	return entry;
}

int rtnl_add_address(struct rtnl *rtnl, unsigned index, const struct rtnl_address *address,
                     bool is_host_scope, const char **why)
{
	struct rtnl_addr *entry = build_address(index, address);
	int error = -NLE_NOMEM;

	if (entry) {
		rtnl_addr_set_scope(entry, is_host_scope ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE);
		error = rtnl_addr_add(rtnl->requests, entry, 0);
		rtnl_addr_put(entry);
	}
	if (error < 0 && error != -NLE_EXIST) {
		*why = nl_geterror(error);
		return -1;
	}
	return 0;
}

int rtnl_remove_address(struct rtnl *rtnl, unsigned index, const struct rtnl_address *address,
                        const char **why)
{
	struct rtnl_addr *entry = build_address(index, address);
	int error = -NLE_NOMEM;

	if (entry) {
		error = rtnl_addr_delete(rtnl->requests, entry, 0);
		rtnl_addr_put(entry);
	}
	if (error < 0 && error != -NLE_NOADDR && error != -NLE_OBJ_NOTFOUND) {
		*why = nl_geterror(error);
		return -1;
	}
	return 0;
}
