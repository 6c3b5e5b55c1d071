/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Links and addresses of this network namespace, over rtnetlink. Synchronous, but the kernel answers at once. */
#ifndef VPNSIP_RTNL_H
#define VPNSIP_RTNL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct rtnl;

/* Interfaces of this group are ours: the kernel deletes a group at once, but 300 single ones in 6 s. */
#define RTNL_LINK_GROUP 564956

struct rtnl_interface {
	unsigned index;
	unsigned mtu;
	bool is_up; /* administratively */
};

struct rtnl_address {
	struct in_addr address;
	unsigned prefix_length;
	bool is_secondary;
};

/** `changed(context)` is called from the loop when any link or IPv4 address changed. NULL: errno-like text in `why`. */
struct rtnl *rtnl_open(struct event_base *base, void (*changed)(void *context), void *context,
                       const char **why);
void rtnl_close(struct rtnl *rtnl);

/** Reads all links and addresses, unless nothing changed since; the questions below are answered from what was read last. -1 on failure. */
int rtnl_refresh(struct rtnl *rtnl);

/** False when there is no interface of that name. */
bool rtnl_find_interface(const struct rtnl *rtnl, const char *name,
                         struct rtnl_interface *interface);

/** IPv4 addresses of an interface, primary ones first as the kernel has them. Returns how many were written. */
size_t rtnl_list_addresses(const struct rtnl *rtnl, unsigned index, struct rtnl_address *list,
                           size_t capacity);

/* Each returns 0, or -1 with `*why` set to a constant text. */

/** Sets a link up, without IPv6, and marks it as ours. */
int rtnl_set_link(struct rtnl *rtnl, unsigned index, unsigned mtu, const char **why);

/** How many segments a TCP packet of this host may have that is sent into a link before it is cut. */
int rtnl_limit_segments(struct rtnl *rtnl, unsigned index, unsigned segments, const char **why);

/** Deletes all links that are marked as ours, at once. */
int rtnl_delete_links(struct rtnl *rtnl, const char **why);

int rtnl_add_address(struct rtnl *rtnl, unsigned index, const struct rtnl_address *address,
                     bool is_host_scope, const char **why);
int rtnl_remove_address(struct rtnl *rtnl, unsigned index, const struct rtnl_address *address,
                        const char **why);

#endif
