/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "qdisc.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
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

#include "qdisc_watch.h"

#define ROOT_HANDLE  TC_H_MAKE(0x56490000u, 0)
#define CLASS_HANDLE TC_H_MAKE(0x56490000u, 1)
#define LEAF_HANDLE  TC_H_MAKE(0x564a0000u, 0)
#define LEAF_PACKETS 64

/* The bucket: one full packet at slow rates, 10 ms worth at fast ones. */
#define FULL_PACKET_BYTE 1600u
#define BURST_MSEC       10u

#define BYTES_PER_SEC(kbit) ((kbit)*125u)

struct qdisc {
	struct nl_sock *socket;
	struct nl_object *
		answer; /* to the last question, owned; NULL when the kernel knows nothing of the kind */
	struct qdisc_watch *watch;
};

static void keep_answer(struct nl_object *object, void *context)
{
	struct qdisc *qdisc = context;

	nl_object_put(qdisc->answer);
	nl_object_get(object);
	qdisc->answer = object;
}

static int answer_arrived(struct nl_msg *message, void *context)
{
	nl_msg_parse(message, keep_answer, context);
	return NL_OK;
}

struct qdisc *qdisc_open(struct event_base *base,
                         void (*changed)(void *context, const char *interface), void *context,
                         char *why, size_t why_size)
{
	struct qdisc *qdisc = calloc(1, sizeof(*qdisc));
	int error = -NLE_NOMEM;

	if (qdisc == NULL)
		goto out;
	qdisc->socket = nl_socket_alloc();
	if (qdisc->socket == NULL)
		goto out;
	nl_socket_modify_cb(qdisc->socket, NL_CB_VALID, NL_CB_CUSTOM, answer_arrived, qdisc);
	if ((error = nl_connect(qdisc->socket, NETLINK_ROUTE)) < 0)
		goto out;
	qdisc->watch = qdisc_watch_open(base, nl_socket_get_local_port(qdisc->socket), changed,
	                                context, &error);
	if (qdisc->watch == NULL)
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
	qdisc_watch_close(qdisc->watch);
	nl_object_put(qdisc->answer);
	nl_socket_free(qdisc->socket);
	free(qdisc);
}

/*
 * Asks for one qdisc (RTM_GETQDISC, by parent) or class (RTM_GETTCLASS, by handle), for a list would be of all interfaces. The answer
 * stays until the next question; NULL = there is none (a built-in qdisc is refused with EINVAL), and `error` is 0 then, or of libnl.
 */
static struct rtnl_tc *ask(struct qdisc *qdisc, int type, int index, uint32_t parent,
                           uint32_t handle, int *error)
{
	struct tcmsg question = {.tcm_family = AF_UNSPEC,
	                         .tcm_ifindex = index,
	                         .tcm_parent = parent,
	                         .tcm_handle = handle};

	nl_object_put(qdisc->answer);
	qdisc->answer = NULL;
	*error = nl_send_simple(qdisc->socket, type, NLM_F_ECHO, &question, sizeof(question));
	if (*error >= 0)
		*error = nl_recvmsgs_default(qdisc->socket);
	if (qdisc->answer != NULL)
		*error = nl_wait_for_ack(qdisc->socket);
	if (*error == -NLE_OBJ_NOTFOUND || *error == -NLE_INVAL || *error > 0)
		*error = 0;
	return qdisc->answer != NULL ? TC_CAST(qdisc->answer) : NULL;
}

/* clsact at ingress is somebody's business; a filter at its egress would see our packets. */
static bool has_egress_filter(struct qdisc *qdisc, int index)
{
	struct nl_cache *filters = NULL;
	bool has_some = true;

	if (rtnl_cls_alloc_cache(qdisc->socket, index, TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS),
	                         &filters) == 0)
		has_some = nl_cache_nitems(filters) > 0;
	nl_cache_free(filters);
	return has_some;
}

static enum qdisc_state tell_foreign(struct rtnl_tc *tc, char *text, size_t text_size)
{
	snprintf(text, text_size, "%s %x:", rtnl_tc_get_kind(tc),
	         TC_H_MAJ(rtnl_tc_get_handle(tc)) >> 16);
	return QDISC_FOREIGN;
}

enum qdisc_state qdisc_look(struct qdisc *qdisc, const char *interface, char *text,
                            size_t text_size)
{
	enum qdisc_state state = QDISC_NONE;
	int index = (int)if_nametoindex(interface), error;
	struct rtnl_tc *tc;

	if (index == 0)
		return QDISC_NO_INTERFACE;
	tc = ask(qdisc, RTM_GETQDISC, index, TC_H_ROOT, 0, &error);
	if (error < 0)
		return QDISC_UNREADABLE;
	if (tc != NULL && rtnl_tc_get_handle(tc) == ROOT_HANDLE)
		state = QDISC_OURS;
	else if (tc != NULL && TC_H_MAJ(rtnl_tc_get_handle(tc)) != 0)
		return tell_foreign(tc, text, text_size);
	tc = ask(qdisc, RTM_GETQDISC, index, TC_H_CLSACT, 0, &error);
	if (error < 0)
		return QDISC_UNREADABLE;
	if (tc != NULL && strcmp(rtnl_tc_get_kind(tc), "clsact") == 0 &&
	    has_egress_filter(qdisc, index))
		return tell_foreign(tc, text, text_size);
	return state;
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
	int error = index != 0 ? install_root(qdisc->socket, index) : -NLE_NODEV;

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
		error = install_root(qdisc->socket, index);
	if (error == 0)
		error = install_class(qdisc->socket, index, rate_kbit, overhead_byte);
	if (error == 0)
		error = install_leaf(qdisc->socket, index);
	if (error < 0)
		snprintf(why, why_size, "cannot install the shaper on %s: %s", interface,
		         nl_geterror(error));
	return error == 0;
}

bool qdisc_remove(struct qdisc *qdisc, const char *interface, char *why, size_t why_size)
{
	int index = (int)if_nametoindex(interface), error;
	struct rtnl_tc *tc = ask(qdisc, RTM_GETQDISC, index, TC_H_ROOT, 0, &error);
	struct rtnl_qdisc *root;

	if (index == 0 || tc == NULL || rtnl_tc_get_handle(tc) != ROOT_HANDLE)
		return true;
	error = -NLE_NOMEM;
	root = rtnl_qdisc_alloc();
	if (root != NULL) {
		rtnl_tc_set_ifindex(TC_CAST(root), index);
		rtnl_tc_set_parent(TC_CAST(root), TC_H_ROOT);
		rtnl_tc_set_handle(TC_CAST(root), ROOT_HANDLE);
		error = rtnl_qdisc_delete(qdisc->socket, root);
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
	int index = (int)if_nametoindex(interface), error;
	struct rtnl_tc *class = NULL;

	memset(statistics, 0, sizeof(*statistics));
	if (index != 0)
		class = ask(qdisc, RTM_GETTCLASS, index, ROOT_HANDLE, CLASS_HANDLE, &error);
	if (class == NULL)
		return false;
	statistics->packets = rtnl_tc_get_stat(class, RTNL_TC_PACKETS);
	statistics->bytes = rtnl_tc_get_stat(class, RTNL_TC_BYTES);
	statistics->drops = rtnl_tc_get_stat(class, RTNL_TC_DROPS);
	statistics->queued_packets = (uint32_t)rtnl_tc_get_stat(class, RTNL_TC_QLEN);
	statistics->rate_kbit = rtnl_htb_get_rate((struct rtnl_class *)class) / BYTES_PER_SEC(1);
	statistics->overhead_byte = rtnl_tc_get_overhead(class);
	return true;
}
