/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "nft_watch.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "nft_query.h"

/* In every message about a table or something in one, the name of the table (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, ...). */
#define NFTA_ANY_TABLE NFTA_TABLE_NAME

static const struct timeval settle_time = {.tv_usec = 50000};
static const int buffer_size = 64 << 20;

struct nft_watch {
	const char *table;
	struct nl_sock *socket;
	struct nft_query *query;
	struct event *readable, *settled;
	void (*changed)(void *context, const struct nft_change *change);
	void *context;
	struct nft_change change;   /* to be told */
	struct nft_change underway; /* of the transaction whose end has not come yet */
	unsigned own_due;           /* transactions of ours that are still to come */
	uint32_t generation;        /* of the newest transaction seen */
	bool has_lost;              /* events */
};

static void arm(struct nft_watch *watch)
{
	if (!evtimer_pending(watch->settled, NULL))
		evtimer_add(watch->settled, &settle_time);
}

/* "element of session_mark deleted" */
static void describe(struct nlmsghdr *header, char *text, size_t size)
{
	static const struct {
		const char *kind, *verb;
		int name; /* attribute */
	} texts[NFT_MSG_MAX] = {
		[NFT_MSG_NEWTABLE] = {"table", "added", NFTA_TABLE_NAME},
		[NFT_MSG_DELTABLE] = {"table", "deleted", NFTA_TABLE_NAME},
		[NFT_MSG_NEWCHAIN] = {"chain", "added", NFTA_CHAIN_NAME},
		[NFT_MSG_DELCHAIN] = {"chain", "deleted", NFTA_CHAIN_NAME},
		[NFT_MSG_NEWRULE] = {"rule of", "added", NFTA_RULE_CHAIN},
		[NFT_MSG_DELRULE] = {"rule of", "deleted", NFTA_RULE_CHAIN},
		[NFT_MSG_NEWSET] = {"set", "added", NFTA_SET_NAME},
		[NFT_MSG_DELSET] = {"set", "deleted", NFTA_SET_NAME},
		[NFT_MSG_NEWSETELEM] = {"element of", "added", NFTA_SET_ELEM_LIST_SET},
		[NFT_MSG_DELSETELEM] = {"element of", "deleted", NFTA_SET_ELEM_LIST_SET},
		[NFT_MSG_NEWOBJ] = {"object", "added", NFTA_OBJ_NAME},
		[NFT_MSG_DELOBJ] = {"object", "deleted", NFTA_OBJ_NAME},
	};
	unsigned type = header->nlmsg_type & 0xff;
	struct nlattr *name = NULL;

	snprintf(text, size, "something else changed");
	if (type < NFT_MSG_MAX && texts[type].kind != NULL)
		name = nlmsg_find_attr(header, sizeof(struct nfgenmsg), texts[type].name);
	if (name != NULL)
		snprintf(text, size, "%s %s %s", texts[type].kind, nla_get_string(name),
		         texts[type].verb);
}

static void note_object(struct nft_watch *watch, struct nlmsghdr *header)
{
	struct nlattr *table = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_ANY_TABLE);
	unsigned type = header->nlmsg_type & 0xff;

	if (type == NFT_MSG_NEWOBJ || type == NFT_MSG_DELOBJ) {
		struct nlattr *kind = nlmsg_find_attr(header, sizeof(struct nfgenmsg),
		                                      NFTA_OBJ_TYPE);

		watch->underway.is_helpers |= kind != NULL &&
		                              ntohl(nla_get_u32(kind)) == NFT_OBJECT_CT_HELPER;
	}
	if (table == NULL || nla_strcmp(table, watch->table) != 0)
		return;
	watch->underway.is_ours = true;
	describe(header, watch->underway.what, sizeof(watch->underway.what));
}

/* NEWGEN ends a transaction. */
static void end_transaction(struct nft_watch *watch, struct nlmsghdr *header)
{
	struct nlattr *id = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_GEN_ID);
	struct nlattr *name = nlmsg_find_attr(header, sizeof(struct nfgenmsg), NFTA_GEN_PROC_NAME);
	struct nft_change transaction = watch->underway;

	memset(&watch->underway, 0, sizeof(watch->underway));
	if (id != NULL)
		watch->generation = ntohl(nla_get_u32(id));
	if (transaction.is_ours && watch->own_due > 0) {
		watch->own_due--;
		return;
	}
	watch->change.is_helpers |= transaction.is_helpers;
	if (transaction.is_ours) {
		watch->change.is_ours = true;
		snprintf(watch->change.what, sizeof(watch->change.what), "%.90s by %s",
		         transaction.what, name != NULL ? nla_get_string(name) : "somebody");
	}
	if (transaction.is_ours || transaction.is_helpers)
		arm(watch);
}

static int event_arrived(struct nl_msg *message, void *context)
{
	struct nlmsghdr *header = nlmsg_hdr(message);

	if (header->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN))
		end_transaction(context, header);
	else if (header->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES)
		note_object(context, header);
	return NL_OK;
}

/* All that waits. A loss (ENOBUFS) is told before what is still there. */
static void take_events(struct nft_watch *watch)
{
	unsigned failures = 0;
	int error;

	do {
		error = nl_recvmsgs_default(watch->socket);
		failures += error < 0 && error != -NLE_AGAIN;
	} while (error != -NLE_AGAIN && failures < 2);
	watch->has_lost |= failures > 0;
}

/* What was in the events that were lost is not known: it counts as a change of ours. */
static void tell_loss(struct nft_watch *watch)
{
	if (!watch->has_lost)
		return;
	watch->has_lost = false;
	memset(&watch->underway, 0, sizeof(watch->underway));
	watch->change = (struct nft_change){.is_ours = true, .is_helpers = true};
	snprintf(watch->change.what, sizeof(watch->change.what), "events were lost");
	nft_query_generation(watch->query, &watch->generation);
	arm(watch);
}

static void socket_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	take_events(context);
	tell_loss(context);
}

void nft_watch_begin_own(struct nft_watch *watch)
{
	take_events(watch);
	tell_loss(watch);
}

void nft_watch_end_own(struct nft_watch *watch, bool is_done)
{
	uint32_t before = watch->generation, now;

	/* The kernel tells of a transaction before it answers to it. */
	watch->own_due = is_done;
	take_events(watch);
	watch->own_due = 0;
	/* A table of thousands of lines may be more than the socket holds: ours was the only one if the generation says so. */
	if (watch->has_lost && nft_query_generation(watch->query, &now) &&
	    now == before + is_done) {
		watch->has_lost = false;
		watch->generation = now;
		memset(&watch->underway, 0, sizeof(watch->underway));
	}
	tell_loss(watch);
}

bool nft_watch_is_complete(struct nft_watch *watch)
{
	uint32_t generation;

	if (!nft_query_generation(watch->query, &generation))
		return false;
	take_events(watch);
	tell_loss(watch);
	/* What came after the question may be newer. */
	return (int32_t)(watch->generation - generation) >= 0;
}

static void events_settled(evutil_socket_t fd, short what, void *context)
{
	struct nft_watch *watch = context;
	struct nft_change change = watch->change;

	(void)fd;
	(void)what;
	memset(&watch->change, 0, sizeof(watch->change));
	watch->changed(watch->context, &change);
}

struct nft_watch *nft_watch_open(struct event_base *base, const char *table,
                                 void (*changed)(void *context, const struct nft_change *change),
                                 void *context, char *why, size_t why_size)
{
	struct nft_watch *watch = calloc(1, sizeof(*watch));
	int error = -NLE_NOMEM;

	if (watch == NULL)
		goto out;
	watch->table = table;
	watch->changed = changed;
	watch->context = context;
	watch->query = nft_query_open(&error);
	if (watch->query == NULL)
		goto out;
	error = -NLE_NOMEM;
	watch->socket = nl_socket_alloc();
	if (watch->socket == NULL)
		goto out;
	nl_socket_disable_seq_check(watch->socket);
	nl_socket_modify_cb(watch->socket, NL_CB_VALID, NL_CB_CUSTOM, event_arrived, watch);
	if ((error = nl_connect(watch->socket, NETLINK_NETFILTER)) < 0 ||
	    (error = nl_socket_set_nonblocking(watch->socket)) < 0 ||
	    (error = nl_socket_add_membership(watch->socket, NFNLGRP_NFTABLES)) < 0)
		goto out;
	/* All of our own transaction waits here, and a table of thousands of lines has megabytes of events. */
	setsockopt(nl_socket_get_fd(watch->socket), SOL_SOCKET, SO_RCVBUFFORCE, &buffer_size,
	           sizeof(buffer_size));
	error = -NLE_NOMEM;
	watch->settled = evtimer_new(base, events_settled, watch);
	watch->readable = event_new(base, nl_socket_get_fd(watch->socket), EV_READ | EV_PERSIST,
	                            socket_readable, watch);
	if (watch->settled == NULL || watch->readable == NULL ||
	    event_add(watch->readable, NULL) != 0)
		goto out;
	error = -NLE_FAILURE;
	if (nft_query_generation(watch->query, &watch->generation))
		return watch;
out:
	/* libnl has no word for the error of a socket that cannot be made. */
	snprintf(why, why_size, "nfnetlink: %s",
	         error == -NLE_FAILURE && errno ? strerror(errno) : nl_geterror(error));
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
	nft_query_close(watch->query);
	free(watch);
}
