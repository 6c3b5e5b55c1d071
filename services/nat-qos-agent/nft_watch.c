/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_watch.h"

#include <event2/event.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define TASK_NAME_SIZE 16             /* prctl(2), with its NUL */
#define HOLD_OWNER     "tunnel-agent" /* its transactions are all in its own table, vpnsip_hold */

static const struct timeval settle_time = {.tv_usec = 50000};
static const int buffer_size = 64 << 20;

struct nft_watch {
	char own_name[TASK_NAME_SIZE];
	struct nl_sock *socket;
	struct event *readable, *settled;
	void (*changed)(void *context);
	void *context;
};

static void arm(struct nft_watch *watch)
{
	if (!evtimer_pending(watch->settled, NULL))
		evtimer_add(watch->settled, &settle_time);
}

/*
 * Each transaction ends with one NEWGEN that names the process. Our own and tunnel-agent's are left out, by name: the process id in it
 * is that of the first PID namespace, which in a container is not ours, and there is one of each in a network namespace.
 */
static int event_arrived(struct nl_msg *message, void *context)
{
	struct nlmsghdr *header = nlmsg_hdr(message);
	struct nft_watch *watch = context;
	struct nlattr *name;

	if (header->nlmsg_type != (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
		return NL_OK;
	name = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_GEN_PROC_NAME);
	if (name == NULL ||
	    (nla_strcmp(name, watch->own_name) != 0 && nla_strcmp(name, HOLD_OWNER) != 0))
		arm(watch);
	return NL_OK;
}

static void take_events(struct nft_watch *watch)
{
	int error = nl_recvmsgs_default(watch->socket);

	/* Events were lost (ENOBUFS): something has changed. */
	if (error < 0 && error != -NLE_AGAIN)
		arm(watch);
}

static void socket_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	take_events(context);
}

bool nft_watch_has_news(struct nft_watch *watch)
{
	take_events(watch);
	return evtimer_pending(watch->settled, NULL);
}

static void events_settled(evutil_socket_t fd, short what, void *context)
{
	struct nft_watch *watch = context;

	(void)fd;
	(void)what;
	watch->changed(watch->context);
}

struct nft_watch *nft_watch_open(struct event_base *base, void (*changed)(void *context),
                                 void *context, char *why, size_t why_size)
{
	struct nft_watch *watch = calloc(1, sizeof(*watch));
	int error = -NLE_NOMEM;

	if (watch == NULL)
		goto out;
	prctl(PR_GET_NAME, watch->own_name, 0, 0, 0);
	watch->changed = changed;
	watch->context = context;
	watch->socket = nl_socket_alloc();
	if (watch->socket == NULL)
		goto out;
	nl_socket_disable_seq_check(watch->socket);
	nl_socket_modify_cb(watch->socket, NL_CB_VALID, NL_CB_CUSTOM, event_arrived, watch);
	if ((error = nl_connect(watch->socket, NETLINK_NETFILTER)) < 0 ||
	    (error = nl_socket_set_nonblocking(watch->socket)) < 0 ||
	    (error = nl_socket_add_membership(watch->socket, NFNLGRP_NFTABLES)) < 0)
		goto out;
	/* All of our own transaction waits here, and a table of thousands of lines has megabytes of events. Lost ones count as somebody's
	 * change, for which the table would be made anew, and again. */
	setsockopt(nl_socket_get_fd(watch->socket), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size,
	           sizeof(buffer_size));
	error = -NLE_NOMEM;
	watch->settled = evtimer_new(base, events_settled, watch);
	watch->readable = event_new(base, nl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST,
	                            socket_readable, watch);
	if (watch->settled == NULL || watch->readable == NULL ||
	    event_add(watch->readable, NULL) != 0)
		goto out;
	return watch;
out:
	snprintf(why, why_size, "nfnetlink: %s", nl_geterror(error));
	nft_watch_close(watch);
	return NULL;
}

void nft_watch_close(struct nft_watch *watch)
{
	if (watch == NULL)
		return;
	if (watch->readable != NULL)
		event_free(watch->readable);
	if (watch->settled != NULL)
		event_free(watch->settled);
	nl_socket_free(watch->socket);
	free(watch);
}
