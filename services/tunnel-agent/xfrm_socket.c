/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/xfrm_socket.h"

#include <errno.h>
#include <event2/event.h>
#include <libmnl/libmnl.h>
#include <linux/xfrm.h>
#include <stdlib.h>
#include <string.h>

#define RECEIVE_SIZE (64 << 10)
#define EVENT_BUFFER (1 << 20)

struct xfrm_socket {
	struct mnl_socket *orders, *news;
	struct event *readable;
	uint32_t sequence;
	xfrm_expiry_fn *expired;
	void *context;
	uint8_t received[RECEIVE_SIZE];
};

static int take_news(const struct nlmsghdr *message, void *context)
{
	struct xfrm_socket *socket = context;
	struct xfrm_state state;
	bool is_hard;

	if (xfrm_read_expiry(message, &state, &is_hard))
		socket->expired(socket->context, &state, is_hard);
	return MNL_CB_OK;
}

static void read_news(evutil_socket_t descriptor, short what, void *context)
{
	struct xfrm_socket *socket = context;
	ssize_t size;

	(void)descriptor;
	(void)what;
	while ((size = mnl_socket_recvfrom(socket->news, socket->received, RECEIVE_SIZE)) > 0)
		mnl_cb_run(socket->received, (size_t)size, 0, 0, take_news, socket);
}

static int open_news(struct xfrm_socket *socket, struct event_base *base)
{
	const int size = EVENT_BUFFER;
	int group = XFRMNLGRP_EXPIRE;

	socket->news = mnl_socket_open2(NETLINK_XFRM, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (!socket->news || mnl_socket_bind(socket->news, 0, MNL_SOCKET_AUTOPID) != 0 ||
	    mnl_socket_setsockopt(socket->news, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) != 0)
		return -1;
	setsockopt(mnl_socket_get_fd(socket->news), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	socket->readable = event_new(base, mnl_socket_get_fd(socket->news), EV_READ | EV_PERSIST,
	                             read_news, socket);
	return socket->readable ? event_add(socket->readable, NULL) : -1;
}

struct xfrm_socket *xfrm_open(struct event_base *base, xfrm_expiry_fn *expired, void *context,
                              const char **why)
{
	struct xfrm_socket *socket = calloc(1, sizeof(*socket));

	if (!socket) {
		*why = "out of memory";
		return NULL;
	}
	socket->expired = expired;
	socket->context = context;
	socket->orders = mnl_socket_open2(NETLINK_XFRM, SOCK_CLOEXEC);
	if (socket->orders && mnl_socket_bind(socket->orders, 0, MNL_SOCKET_AUTOPID) == 0 &&
	    (!base || open_news(socket, base) == 0))
		return socket;
	*why = strerror(errno);
	xfrm_close(socket);
	return NULL;
}

void xfrm_close(struct xfrm_socket *socket)
{
	if (!socket)
		return;
	if (socket->readable)
		event_free(socket->readable);
	if (socket->news)
		mnl_socket_close(socket->news);
	if (socket->orders)
		mnl_socket_close(socket->orders);
	free(socket);
}

void *xfrm_next(struct xfrm_batch *batch)
{
	return batch->octets + batch->used;
}

void xfrm_add(struct xfrm_batch *batch, const struct nlmsghdr *message)
{
	batch->used += MNL_ALIGN(message->nlmsg_len);
	batch->count++;
}

/** What a batch's answers are put into. */
struct run {
	struct xfrm_batch *batch;
	uint32_t first_sequence;
	unsigned acknowledged;
	xfrm_state_fn *answered;
	void *context;
};

/* Every message of the batch asks for an acknowledgement, which names it by its sequence number. */
static void take_answer(struct run *run, const struct nlmsghdr *message)
{
	uint32_t index = message->nlmsg_seq - run->first_sequence;
	struct xfrm_state state;

	if (index >= run->batch->count)
		return; /* of an earlier batch that was given up */
	if (message->nlmsg_type == NLMSG_ERROR) {
		const struct nlmsgerr *error = mnl_nlmsg_get_payload(message);

		run->batch->errors[index] = -error->error;
		run->acknowledged++;
	} else if (run->answered && xfrm_read_state(message, &state)) {
		run->answered(run->context, &state);
	}
}

static int read_answers(struct xfrm_socket *socket, struct run *run)
{
	while (run->acknowledged < run->batch->count) {
		ssize_t size = mnl_socket_recvfrom(socket->orders, socket->received, RECEIVE_SIZE);
		const struct nlmsghdr *message = (const struct nlmsghdr *)socket->received;
		int left = (int)size;

		if (size < 0)
			return errno;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
			take_answer(run, message);
	}
	return 0;
}

int xfrm_run(struct xfrm_socket *socket, struct xfrm_batch *batch, int ignored,
             xfrm_state_fn *answered, void *context)
{
	struct run run = {.batch = batch, .answered = answered, .context = context};
	struct nlmsghdr *message = (struct nlmsghdr *)batch->octets;
	int left = (int)batch->used, error;

	if (batch->count == 0)
		return 0;
	run.first_sequence = socket->sequence + 1;
	for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
		message->nlmsg_seq = ++socket->sequence;
	memset(batch->errors, 0, sizeof(batch->errors));
	error = mnl_socket_sendto(socket->orders, batch->octets, batch->used) < 0
	                ? errno
	                : read_answers(socket, &run);
	explicit_bzero(batch->octets, batch->used);
	for (unsigned i = 0; error == 0 && i < batch->count; i++)
		if (batch->errors[i] != ignored)
			error = batch->errors[i];
	batch->count = 0;
	batch->used = 0;
	return error;
}

struct dump {
	xfrm_state_fn *found_state;
	void (*found_policy)(void *context, uint32_t if_id);
	void *context;
};

static int take_dumped(const struct nlmsghdr *message, void *context)
{
	struct dump *dump = context;
	struct xfrm_state state;
	uint32_t if_id;

	if (dump->found_state && xfrm_read_state(message, &state))
		dump->found_state(dump->context, &state);
	if (dump->found_policy && (if_id = xfrm_read_policy(message)) != 0)
		dump->found_policy(dump->context, if_id);
	return MNL_CB_OK;
}

/* A dump that a change interrupts is told as such and not repeated: counters are read again a second later. */
static int run_dump(struct xfrm_socket *socket, uint16_t type, struct dump *dump)
{
	uint8_t question[XFRM_MESSAGE_MAXIMUM];
	struct nlmsghdr *message = xfrm_put_dump(question, type);
	int result = MNL_CB_OK;

	message->nlmsg_seq = ++socket->sequence;
	if (mnl_socket_sendto(socket->orders, message, message->nlmsg_len) < 0)
		return -1;
	while (result > MNL_CB_STOP) {
		ssize_t size = mnl_socket_recvfrom(socket->orders, socket->received, RECEIVE_SIZE);

		if (size < 0)
			return -1;
		result = mnl_cb_run(socket->received, (size_t)size, message->nlmsg_seq, 0,
		                    take_dumped, dump);
		explicit_bzero(socket->received, (size_t)size); /* the keys are among it */
	}
	return result < 0 && errno != EINTR ? -1 : 0;
}

int xfrm_dump_states(struct xfrm_socket *socket, xfrm_state_fn *found, void *context)
{
	struct dump dump = {.found_state = found, .context = context};

	return run_dump(socket, XFRM_MSG_GETSA, &dump);
}

int xfrm_dump_policies(struct xfrm_socket *socket, void (*found)(void *context, uint32_t if_id),
                       void *context)
{
	struct dump dump = {.found_policy = found, .context = context};

	return run_dump(socket, XFRM_MSG_GETPOLICY, &dump);
}
