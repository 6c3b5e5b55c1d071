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
#include <stdlib.h>

#define EVENT_BUFFER_SIZE (1 << 20)

struct rtnl {
	struct nl_sock *requests;
	struct nl_sock *events;
	struct nl_cache *links;
	struct nl_cache *addresses;
	struct event *readable;
	bool is_current; /* the caches: no event came since they were read */
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
	nl_cache_free(rtnl->links);
	nl_cache_free(rtnl->addresses);
	nl_socket_free(rtnl->events);
	nl_socket_free(rtnl->requests);
	free(rtnl);
}

int rtnl_refresh(struct rtnl *rtnl)
{
	/* The kernel tells of a change before the call that makes it returns: also of our own. */
	take_events(rtnl);
	if (rtnl->is_current)
		return 0;
	if (!rtnl->links)
		rtnl->is_current = rtnl_link_alloc_cache(rtnl->requests, AF_UNSPEC, &rtnl->links) ==
		                           0 &&
		                   rtnl_addr_alloc_cache(rtnl->requests, &rtnl->addresses) == 0;
	else
		rtnl->is_current = nl_cache_refill(rtnl->requests, rtnl->links) >= 0 &&
		                   nl_cache_refill(rtnl->requests, rtnl->addresses) >= 0;
	return rtnl->is_current ? 0 : -1;
}

bool rtnl_find_interface(const struct rtnl *rtnl, const char *name,
                         struct rtnl_interface *interface)
{
	struct rtnl_link *link = rtnl_link_get_by_name(rtnl->links, name);

	if (!link)
		return false;
	interface->index = (unsigned)rtnl_link_get_ifindex(link);
	interface->mtu = rtnl_link_get_mtu(link);
	interface->is_up = rtnl_link_get_flags(link) & IFF_UP;
	rtnl_link_put(link);
	return true;
}

size_t rtnl_list_addresses(const struct rtnl *rtnl, unsigned index, struct rtnl_address *list,
                           size_t capacity)
{
	size_t count = 0;

	for (struct nl_object *object = nl_cache_get_first(rtnl->addresses);
	     object && count < capacity; object = nl_cache_get_next(object)) {
		struct rtnl_addr *entry = (struct rtnl_addr *)object;
		struct nl_addr *local = rtnl_addr_get_local(entry);

		if ((unsigned)rtnl_addr_get_ifindex(entry) != index || !local ||
		    nl_addr_get_family(local) != AF_INET)
			continue;
		list[count++] = (struct rtnl_address){
			.address = *(struct in_addr *)nl_addr_get_binary_addr(local),
			.prefix_length = (unsigned)rtnl_addr_get_prefixlen(entry),
			.is_secondary = rtnl_addr_get_flags(entry) & IFA_F_SECONDARY,
		};
	}
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
