/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qdisc_watch.h"

#include <event2/event.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdlib.h>

struct qdisc_watch {
	struct nl_sock *socket;
	struct event *readable;
	uint32_t own_port;
	void (*changed)(void *context, const char *interface);
	void *context;
};

/* The interface of an event of links or qdiscs; 0 for one that takes no shaper away. */
static unsigned index_of(struct nlmsghdr *header)
{
	switch (header->nlmsg_type) {
	case RTM_NEWLINK:
		return (unsigned)((struct ifinfomsg *)nlmsg_data(header))->ifi_index;
	case RTM_NEWQDISC:
	case RTM_DELQDISC:
	case RTM_NEWTCLASS:
	case RTM_DELTCLASS:
	case RTM_NEWTFILTER:
	case RTM_DELTFILTER:
		return (unsigned)((struct tcmsg *)nlmsg_data(header))->tcm_ifindex;
	default:
		return 0;
	}
}

static int event_arrived(struct nl_msg *message, void *context)
{
	struct nlmsghdr *header = nlmsg_hdr(message);
	struct qdisc_watch *watch = context;
	char name[IF_NAMESIZE];

	if (header->nlmsg_pid != watch->own_port && if_indextoname(index_of(header), name) != NULL)
		watch->changed(watch->context, name);
	return NL_OK;
}

static void socket_readable(evutil_socket_t fd, short what, void *context)
{
	struct qdisc_watch *watch = context;
	int error = nl_recvmsgs_default(watch->socket);

	(void)fd;
	(void)what;
	/* Events were lost (ENOBUFS): something has changed. */
	if (error < 0 && error != -NLE_AGAIN)
		watch->changed(watch->context, NULL);
}

struct qdisc_watch *qdisc_watch_open(struct event_base *base, uint32_t own_port,
                                     void (*changed)(void *context, const char *interface),
                                     void *context, int *error)
{
	struct qdisc_watch *watch = calloc(1, sizeof(*watch));

	*error = -NLE_NOMEM;
	if (watch == NULL)
		return NULL;
	watch->own_port = own_port;
	watch->changed = changed;
	watch->context = context;
	watch->socket = nl_socket_alloc();
	if (watch->socket == NULL)
		goto out;
	nl_socket_disable_seq_check(watch->socket);
	nl_socket_modify_cb(watch->socket, NL_CB_VALID, NL_CB_CUSTOM, event_arrived, watch);
	if ((*error = nl_connect(watch->socket, NETLINK_ROUTE)) < 0 ||
	    (*error = nl_socket_set_nonblocking(watch->socket)) < 0 ||
	    (*error = nl_socket_add_memberships(watch->socket, RTNLGRP_LINK, RTNLGRP_TC, 0)) < 0)
		goto out;
	*error = -NLE_NOMEM;
	watch->readable = event_new(base, nl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST,
	                            socket_readable, watch);
	if (watch->readable != NULL && event_add(watch->readable, NULL) == 0)
		return watch;
out:
	qdisc_watch_close(watch);
	return NULL;
}

void qdisc_watch_close(struct qdisc_watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->readable != NULL)
		event_free(watch->readable);
	nl_socket_free(watch->socket);
	free(watch);
}
