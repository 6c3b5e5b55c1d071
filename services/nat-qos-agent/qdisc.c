/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qdisc.h"

#include <event2/event.h>
#include <linux/pkt_sched.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/class.h>
#include <netlink/route/classifier.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/qdisc/fifo.h>
#include <netlink/route/qdisc/htb.h>
#include <netlink/route/tc.h>
#include <netlink/socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOT_HANDLE  TC_H_MAKE(0x56490000u, 0)
#define CLASS_HANDLE TC_H_MAKE(0x56490000u, 1)
#define LEAF_HANDLE  TC_H_MAKE(0x564a0000u, 0)
#define LEAF_PACKETS 64

/* The bucket: one full packet at slow rates, 10 ms worth at fast ones. */
#define FULL_PACKET_BYTE 1600u
#define BURST_MSEC       10u

#define BYTES_PER_SEC(kbit) ((kbit)*125u)

static const struct timeval settle_time = {.tv_usec = 20000};

struct qdisc {
	struct nl_sock *orders, *watch;
	struct event *readable, *settled;
	void (*changed)(void *context);
	void *context;
	struct nl_cache *survey; /* all qdiscs, while many interfaces are looked at; else NULL */
};

static void arm(struct qdisc *qdisc)
{
	if (!evtimer_pending(qdisc->settled, NULL))
		evtimer_add(qdisc->settled, &settle_time);
}

static int event_arrived(struct nl_msg *message, void *context)
{
	(void)message;
	arm(context);
	return NL_OK;
}

static void watch_readable(evutil_socket_t fd, short what, void *context)
{
	struct qdisc *qdisc = context;
	int error = nl_recvmsgs_default(qdisc->watch);

	(void)fd;
	(void)what;
	/* Events were lost (ENOBUFS): something has changed. */
	if (error < 0 && error != -NLE_AGAIN)
		arm(qdisc);
}

static void events_settled(evutil_socket_t fd, short what, void *context)
{
	struct qdisc *qdisc = context;

	(void)fd;
	(void)what;
	qdisc->changed(qdisc->context);
}

struct qdisc *qdisc_open(struct event_base *base, void (*changed)(void *context), void *context,
                         char *why, size_t why_size)
{
	struct qdisc *qdisc = calloc(1, sizeof(*qdisc));
	int error = -NLE_NOMEM;

	if (qdisc == NULL)
		goto out;
	qdisc->changed = changed;
	qdisc->context = context;
	qdisc->orders = nl_socket_alloc();
	qdisc->watch = nl_socket_alloc();
	if (qdisc->orders == NULL || qdisc->watch == NULL)
		goto out;
	nl_socket_disable_seq_check(qdisc->watch);
	nl_socket_modify_cb(qdisc->watch, NL_CB_VALID, NL_CB_CUSTOM, event_arrived, qdisc);
	if ((error = nl_connect(qdisc->orders, NETLINK_ROUTE)) < 0 ||
	    (error = nl_connect(qdisc->watch, NETLINK_ROUTE)) < 0 ||
	    (error = nl_socket_set_nonblocking(qdisc->watch)) < 0 ||
	    (error = nl_socket_add_memberships(qdisc->watch, RTNLGRP_LINK, RTNLGRP_TC, 0)) < 0)
		goto out;
	error = -NLE_NOMEM;
	qdisc->settled = evtimer_new(base, events_settled, qdisc);
	qdisc->readable = event_new(base, nl_socket_get_fd(qdisc->watch), EV_READ | EV_PERSIST,
	                            watch_readable, qdisc);
	if (qdisc->settled == NULL || qdisc->readable == NULL ||
	    event_add(qdisc->readable, NULL) != 0)
		goto out;
	return qdisc;
out:
	snprintf(why, why_size, "rtnetlink: %s", nl_geterror(error));
	qdisc_close(qdisc);
	return NULL;
}

void qdisc_close(struct qdisc *qdisc)
{
	if (qdisc == NULL)
		return;
	if (qdisc->readable != NULL)
		event_free(qdisc->readable);
	if (qdisc->settled != NULL)
		event_free(qdisc->settled);
	nl_socket_free(qdisc->orders);
	nl_socket_free(qdisc->watch);
	free(qdisc);
}

/* clsact at ingress is somebody's business; a filter at its egress would see our packets. */
static bool has_egress_filter(struct qdisc *qdisc, int index)
{
	struct nl_cache *filters = NULL;
	bool has_some = true;

	if (rtnl_cls_alloc_cache(qdisc->orders, index, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	                         &filters) == 0)
		has_some = nl_cache_nitems(filters) > 0;
	nl_cache_free(filters);
	return has_some;
}

static enum qdisc_state judge(struct qdisc *qdisc, struct rtnl_tc *tc)
{
	uint32_t parent = rtnl_tc_get_parent(tc), handle = rtnl_tc_get_handle(tc);

	if (parent == TC_H_ROOT && handle == ROOT_HANDLE)
		return QDISC_OURS;
	if (parent == TC_H_ROOT && TC_H_MAJ(handle) != 0)
		return QDISC_FOREIGN;
	if (parent == TC_H_CLSACT && strcmp(rtnl_tc_get_kind(tc), "clsact") == 0 &&
	    has_egress_filter(qdisc, rtnl_tc_get_ifindex(tc)))
		return QDISC_FOREIGN;
	return QDISC_NONE;
}

enum qdisc_state qdisc_look(struct qdisc *qdisc, const char *interface, char *text,
                            size_t text_size)
{
	struct nl_cache *all = qdisc->survey;
	enum qdisc_state state = QDISC_NONE;
	int index = (int)if_nametoindex(interface);

	if (index == 0)
		return QDISC_NO_INTERFACE;
	if (all == NULL && rtnl_qdisc_alloc_cache(qdisc->orders, &all) < 0)
		return QDISC_UNREADABLE;
	for (struct nl_object *object = nl_cache_get_first(all); object != NULL;
	     object = nl_cache_get_next(object)) {
		struct rtnl_tc *tc = TC_CAST(object);
		enum qdisc_state verdict;

		if (rtnl_tc_get_ifindex(tc) != index)
			continue;
		verdict = judge(qdisc, tc);
		if (verdict == QDISC_FOREIGN)
			snprintf(text, text_size, "%s %x:", rtnl_tc_get_kind(tc),
			         TC_H_MAJ(rtnl_tc_get_handle(tc)) >> 16);
		if (verdict > state)
			state = verdict;
	}
	if (all != qdisc->survey)
		nl_cache_free(all);
	return state;
}

void qdisc_begin_survey(struct qdisc *qdisc)
{
	if (rtnl_qdisc_alloc_cache(qdisc->orders, &qdisc->survey) < 0)
		qdisc->survey = NULL;
}

void qdisc_end_survey(struct qdisc *qdisc)
{
	nl_cache_free(qdisc->survey);
	qdisc->survey = NULL;
}

static int install_root(struct nl_sock *socket, int index)
{
	struct rtnl_qdisc *root = rtnl_qdisc_alloc();
	int error = -NLE_NOMEM;

	if (root == NULL)
		return error;
	rtnl_tc_set_ifindex(TC_CAST(root), index);
	rtnl_tc_set_parent(TC_CAST(root), TC_H_ROOT);
	rtnl_tc_set_handle(TC_CAST(root), ROOT_HANDLE);
	error = rtnl_tc_set_kind(TC_CAST(root), "htb");
	if (error == 0)
		error = rtnl_htb_set_defcls(root, TC_H_MIN(CLASS_HANDLE));
	if (error == 0)
		error = rtnl_qdisc_add(socket, root, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_qdisc_put(root);
	return error == -NLE_EXIST ? 0 : error;
}

static int install_class(struct nl_sock *socket, int index, uint32_t rate_kbit,
                         uint32_t overhead_byte)
{
	struct rtnl_class *class = rtnl_class_alloc();
	uint32_t rate = BYTES_PER_SEC(rate_kbit), burst = rate / 1000u * BURST_MSEC;
	int error = -NLE_NOMEM;

	if (class == NULL)
		return error;
	if (burst < FULL_PACKET_BYTE)
		burst = FULL_PACKET_BYTE;
	rtnl_tc_set_ifindex(TC_CAST(class), index);
	rtnl_tc_set_parent(TC_CAST(class), ROOT_HANDLE);
	rtnl_tc_set_handle(TC_CAST(class), CLASS_HANDLE);
	rtnl_tc_set_mtu(TC_CAST(class), FULL_PACKET_BYTE);
	rtnl_tc_set_overhead(TC_CAST(class), overhead_byte);
	error = rtnl_tc_set_kind(TC_CAST(class), "htb");
	if (error == 0 && (error = rtnl_htb_set_rate(class, rate)) == 0 &&
	    (error = rtnl_htb_set_ceil(class, rate)) == 0 &&
	    (error = rtnl_htb_set_rbuffer(class, burst)) == 0 &&
	    (error = rtnl_htb_set_cbuffer(class, burst)) == 0 &&
	    (error = rtnl_htb_set_quantum(class, FULL_PACKET_BYTE)) == 0)
		error = rtnl_class_add(socket, class, NLM_F_CREATE | NLM_F_REPLACE);
	rtnl_class_put(class);
	return error;
}

static int install_leaf(struct nl_sock *socket, int index)
{
	struct rtnl_qdisc *leaf = rtnl_qdisc_alloc();
	int error = -NLE_NOMEM;

	if (leaf == NULL)
		return error;
	rtnl_tc_set_ifindex(TC_CAST(leaf), index);
	rtnl_tc_set_parent(TC_CAST(leaf), CLASS_HANDLE);
	rtnl_tc_set_handle(TC_CAST(leaf), LEAF_HANDLE);
	error = rtnl_tc_set_kind(TC_CAST(leaf), "pfifo");
	if (error == 0)
		error = rtnl_qdisc_fifo_set_limit(leaf, LEAF_PACKETS);
	if (error == 0)
		error = rtnl_qdisc_add(socket, leaf, NLM_F_CREATE | NLM_F_EXCL);
	rtnl_qdisc_put(leaf);
	return error == -NLE_EXIST ? 0 : error;
}

bool qdisc_prepare(struct qdisc *qdisc, const char *interface, char *why, size_t why_size)
{
	int index = (int)if_nametoindex(interface);
	int error = index != 0 ? install_root(qdisc->orders, index) : -NLE_NODEV;

	if (error < 0)
		snprintf(why, why_size, "cannot install a qdisc on %s: %s", interface,
		         nl_geterror(error));
	return error == 0;
}

bool qdisc_install(struct qdisc *qdisc, const char *interface, uint32_t rate_kbit,
                   uint32_t overhead_byte, char *why, size_t why_size)
{
	int index = (int)if_nametoindex(interface);
	int error = -NLE_NODEV;

	if (index != 0)
		error = install_root(qdisc->orders, index);
	if (error == 0)
		error = install_class(qdisc->orders, index, rate_kbit, overhead_byte);
	if (error == 0)
		error = install_leaf(qdisc->orders, index);
	if (error < 0)
		snprintf(why, why_size, "cannot install the shaper on %s: %s", interface,
		         nl_geterror(error));
	return error == 0;
}

bool qdisc_remove(struct qdisc *qdisc, const char *interface, char *why, size_t why_size)
{
	char text[64];
	enum qdisc_state state = qdisc_look(qdisc, interface, text, sizeof(text));
	struct rtnl_qdisc *root;
	int error = -NLE_NOMEM;

	if (state != QDISC_OURS)
		return true;
	root = rtnl_qdisc_alloc();
	if (root != NULL) {
		rtnl_tc_set_ifindex(TC_CAST(root), (int)if_nametoindex(interface));
		rtnl_tc_set_parent(TC_CAST(root), TC_H_ROOT);
		rtnl_tc_set_handle(TC_CAST(root), ROOT_HANDLE);
		error = rtnl_qdisc_delete(qdisc->orders, root);
		rtnl_qdisc_put(root);
	}
	if (error == -NLE_OBJ_NOTFOUND || error == -NLE_NODEV)
		error = 0; /* it went with its interface */
	if (error < 0)
		snprintf(why, why_size, "cannot remove the shaper from %s: %s", interface,
		         nl_geterror(error));
	return error == 0;
}

bool qdisc_read(struct qdisc *qdisc, const char *interface, struct qdisc_statistics *statistics)
{
	struct nl_cache *classes = NULL;
	struct rtnl_class *class = NULL;
	int index = (int)if_nametoindex(interface);

	memset(statistics, 0, sizeof(*statistics));
	if (index != 0 && rtnl_class_alloc_cache(qdisc->orders, index, &classes) == 0)
		class = rtnl_class_get(classes, index, CLASS_HANDLE);
	if (class != NULL) {
		statistics->packets = rtnl_tc_get_stat(TC_CAST(class), RTNL_TC_PACKETS);
		statistics->bytes = rtnl_tc_get_stat(TC_CAST(class), RTNL_TC_BYTES);
		statistics->drops = rtnl_tc_get_stat(TC_CAST(class), RTNL_TC_DROPS);
		statistics->queued_packets = (uint32_t)rtnl_tc_get_stat(TC_CAST(class),
		                                                        RTNL_TC_QLEN);
		statistics->rate_kbit = rtnl_htb_get_rate(class) / BYTES_PER_SEC(1);
		statistics->overhead_byte = rtnl_tc_get_overhead(TC_CAST(class));
	}
	rtnl_class_put(class);
	nl_cache_free(classes);
	return class != NULL;
}
