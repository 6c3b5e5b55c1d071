/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "bus/transport_nng.h"

#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/transport/ipc/ipc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bus/bus.h"

/** How long nng's threads get to close everything; usually it is a few milliseconds. */
#define STOP_MSEC           250
/** nng's maximum. The default of 16 loses events already at 10 000 a second. */
#define QUEUE_LENGTH        8192
/** Between the attempts of a visitor's dialer. */
#define REDIAL_FIRST_MSEC   250
#define REDIAL_MAXIMUM_MSEC 2000
/* Where dialers are replaced (see redial.h) nng must not connect at a moment of its own. */
#define REDIAL_NEVER_MSEC   600000

struct event_item {
	struct inbox_item item;
	struct link *link;
	nng_msg *message;
};

/** What happened to a connection. */
struct pipe_item {
	struct inbox_item item;
	struct transport *transport;
	struct link *link;         /* dialled, or NULL */
	struct listener *listener; /* accepted, or NULL */
	enum { PIPE_UP, PIPE_DOWN, PIPE_REFUSED, PIPE_VISITED } what;
	int pipe;
	uid_t uid;
};

int transport_path(char *path, size_t size, const char *run_directory, Vpnsip__Service service,
                   int listener)
{
	static const char *const names[TRANSPORT_LISTENERS] = {
		[TRANSPORT_EVENTS] = "events.sock",
		[TRANSPORT_REQUESTS] = "requests.sock",
		[TRANSPORT_WITNESS] = "witness.sock",
	};
	int length = snprintf(path, size, "%s/%s/%s", run_directory, bus_service_name(service),
	                      names[listener]);

	return length >= 0 && (size_t)length < size ? 0 : -1;
}

nng_msg *transport_message(const uint8_t *octets, size_t size)
{
	nng_msg *message;

	if (nng_msg_alloc(&message, size) != 0)
		return NULL;
	memcpy(nng_msg_body(message), octets, size);
	return message;
}

struct transport *transport_open(const char *run_directory, struct inbox *inbox,
                                 const struct transport_handlers *handlers, void *context,
                                 char *why, size_t why_size)
{
	struct transport *transport = calloc(1, sizeof(*transport));

	if (transport == NULL || (transport->run_directory = strdup(run_directory)) == NULL) {
		snprintf(why, why_size, "out of memory");
		free(transport);
		return NULL;
	}
	transport->inbox = inbox;
	transport->handlers = *handlers;
	transport->context = context;
	return transport;
}

/** nng's threads are born with the first socket and must not take this process's signals. */
static int open_socket(nng_socket *socket, int (*open)(nng_socket *), size_t limit)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = open(socket);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error == 0)
		error = nng_socket_set_size(*socket, NNG_OPT_RECVMAXSZ, limit);
	return error;
}

static void take_pipe_item(struct inbox_item *item)
{
	struct pipe_item *change = (struct pipe_item *)item;
	struct transport *transport = change->transport;
	struct link *link = change->link;

	if (transport->is_stopped)
		goto out;
	if (change->what == PIPE_REFUSED) {
		transport->handlers.refused(transport->context, change->uid);
	} else if (change->what == PIPE_VISITED) {
		transport->handlers.visited(transport->context);
	} else if (link == NULL) {
		transport->handlers.self_link(transport->context, change->listener->number,
		                              change->what == PIPE_UP);
	} else if (change->what == PIPE_UP) {
		link->pipe = change->pipe;
		transport->handlers.link(transport->context, link->peer, link->channel, true);
	} else if (link->pipe == change->pipe) {
		link->pipe = 0;
		transport->handlers.link(transport->context, link->peer, link->channel, false);
	}
out:
	free(change);
}

static void put_pipe_item(struct transport *transport, struct link *link, struct listener *listener,
                          int what, nng_pipe pipe, uid_t uid)
{
	struct pipe_item *change = calloc(1, sizeof(*change));

	if (change == NULL)
		return;
	change->item.take = take_pipe_item;
	change->transport = transport;
	change->link = link;
	change->listener = listener;
	change->what = what;
	change->pipe = nng_pipe_id(pipe);
	change->uid = uid;
	inbox_put(transport->inbox, &change->item);
}

/** On an nng thread, before the connection may carry anything: refuses strangers. */
static void admit(struct transport *transport, Vpnsip__Service peer, nng_pipe pipe)
{
	uint64_t uid;

	if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_UID, &uid) != 0) {
		nng_pipe_close(pipe);
		return;
	}
	if (transport->handlers.admits(transport->context, peer, (uid_t)uid))
		return;
	nng_pipe_close(pipe);
	put_pipe_item(transport, NULL, NULL, PIPE_REFUSED, pipe, (uid_t)uid);
}

static void on_dialled_pipe(nng_pipe pipe, nng_pipe_ev what, void *context)
{
	struct link *link = context;

	switch (what) {
	case NNG_PIPE_EV_ADD_PRE:
		admit(link->transport, link->peer, pipe);
		break;
	case NNG_PIPE_EV_ADD_POST:
		put_pipe_item(link->transport, link, NULL, PIPE_UP, pipe, 0);
		break;
	default:
		put_pipe_item(link->transport, link, NULL, PIPE_DOWN, pipe, 0);
		break;
	}
}

static void on_accepted_pipe(nng_pipe pipe, nng_pipe_ev what, void *context)
{
	struct listener *listener = context;
	uint64_t pid;

	if (what == NNG_PIPE_EV_ADD_PRE)
		admit(listener->transport, VPNSIP__SERVICE__SERVICE_UNSPECIFIED, pipe);
	else if (nng_pipe_get_uint64(pipe, NNG_OPT_IPC_PEER_PID, &pid) == 0 &&
	         (pid_t)pid == getpid())
		put_pipe_item(listener->transport, NULL, listener,
		              what == NNG_PIPE_EV_ADD_POST ? PIPE_UP : PIPE_DOWN, pipe, 0);
	else
		put_pipe_item(listener->transport, NULL, listener, PIPE_VISITED, pipe, 0);
}

static int start_listener(struct listener *listener)
{
	char url[sizeof("ipc://") + sizeof(listener->path)];
	int error;

	snprintf(url, sizeof(url), "ipc://%s", listener->path);
	/*
	 * The instance lock is ours, so a file here is stale. nng itself would find out by a connection that it
	 * closes at once: fatal for a listener that lives (see transport_guard.c).
	 */
	unlink(listener->path);
	error = nng_listener_create(&listener->listener, listener->socket, url);
	if (error != 0)
		return error;
	error = nng_listener_set_int(listener->listener, NNG_OPT_IPC_PERMISSIONS,
	                             listener->number == TRANSPORT_WITNESS ? 0600 : 0660);
	if (error == 0)
		error = nng_listener_start(listener->listener, 0);
	if (error != 0)
		nng_listener_close(listener->listener);
	return error;
}

static int listen_on(struct transport *transport, Vpnsip__Service self, int number)
{
	struct listener *listener = &transport->listeners[number];
	int error;

	listener->transport = transport;
	listener->number = number;
	if (transport_path(listener->path, sizeof(listener->path), transport->run_directory, self,
	                   number) != 0)
		return NNG_EADDRINVAL;
	error = open_socket(&listener->socket,
	                    number == TRANSPORT_REQUESTS ? nng_rep0_open : nng_pub0_open,
	                    TRANSPORT_LIMIT);
	if (error != 0)
		return error;
	listener->is_open = true;
	if (number == TRANSPORT_EVENTS)
		error = nng_socket_set_int(listener->socket, NNG_OPT_SENDBUF, QUEUE_LENGTH);
	for (int what = NNG_PIPE_EV_ADD_PRE; error == 0 && what <= NNG_PIPE_EV_REM_POST; what++)
		error = nng_pipe_notify(listener->socket, what, on_accepted_pipe, listener);
	if (error == 0 && number == TRANSPORT_REQUESTS)
		error = transport_start_slots(transport);
	return error == 0 ? start_listener(listener) : error;
}

int transport_listen(struct transport *transport, Vpnsip__Service self, char *why, size_t why_size)
{
	for (int number = 0; number < TRANSPORT_LISTENERS; number++) {
		int error = listen_on(transport, self, number);

		if (error != 0) {
			snprintf(why, why_size, "cannot listen on %s: %s",
			         transport->listeners[number].path, nng_strerror(error));
			return -1;
		}
	}
	return 0;
}

int transport_listen_again(struct transport *transport, enum transport_channel channel)
{
	struct listener *listener = &transport->listeners[channel];

	nng_listener_close(listener->listener);
	/*
	 * nng keeps the sockets of such a listener open: the one that listens, with those that wait to be accepted, and those
	 * that were accepted and go nowhere, which to their other end look good. Shut down, all dial again at once; so
	 * do the good ones, which cannot be told from these.
	 */
	transport_shut_sockets(listener);
	return start_listener(listener) == 0 ? 0 : -1;
}

static void take_event(struct inbox_item *item)
{
	struct event_item *event = (struct event_item *)item;
	struct link *link = event->link;
	struct transport *transport = link->transport;

	atomic_fetch_sub(&link->queued_events, 1);
	if (!transport->is_stopped)
		transport->handlers.event(transport->context, link->peer,
		                          nng_msg_body(event->message),
		                          nng_msg_len(event->message));
	nng_msg_free(event->message);
	free(event);
}

/** On an nng thread. Receives again at once, so that the queue that overflows is the counted one. */
static void on_event_aio(void *context)
{
	struct link *link = context;
	struct event_item *event;
	nng_msg *message;
	int error = nng_aio_result(link->event_aio);

	if (error == NNG_ECLOSED || error == NNG_ECANCELED)
		return;
	if (error == 0) {
		message = nng_aio_get_msg(link->event_aio);
		event = atomic_load(&link->queued_events) < QUEUE_LENGTH ? calloc(1, sizeof(*event))
		                                                         : NULL;
		if (event == NULL) {
			nng_msg_free(message); /* the receiver sees the gap in the sequence */
			atomic_fetch_add(&link->transport->overflowed_events, 1);
		} else {
			event->item.take = take_event;
			event->link = link;
			event->message = message;
			atomic_fetch_add(&link->queued_events, 1);
			inbox_put(link->transport->inbox, &event->item);
		}
	}
	nng_recv_aio(link->socket, link->event_aio);
}

static int prepare_link(struct link *link)
{
	bool is_service = link->transport->listeners[TRANSPORT_REQUESTS].is_open;
	int error;

	error = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMINT,
	                          is_service ? REDIAL_NEVER_MSEC : REDIAL_FIRST_MSEC);
	if (error == 0)
		error = nng_socket_set_ms(link->socket, NNG_OPT_RECONNMAXT,
		                          is_service ? REDIAL_NEVER_MSEC : REDIAL_MAXIMUM_MSEC);
	for (int what = NNG_PIPE_EV_ADD_PRE; error == 0 && what <= NNG_PIPE_EV_REM_POST; what++)
		error = nng_pipe_notify(link->socket, what, on_dialled_pipe, link);
	if (error != 0)
		return error;
	/* nng would execute an order twice: it re-sends after a time and after every lost connection. */
	if (link->channel == TRANSPORT_REQUESTS)
		return nng_socket_set_ms(link->socket, NNG_OPT_REQ_RESENDTIME,
		                         NNG_DURATION_INFINITE);

	error = nng_socket_set_int(link->socket, NNG_OPT_RECVBUF, QUEUE_LENGTH);
	if (error == 0)
		error = nng_socket_set(link->socket, NNG_OPT_SUB_SUBSCRIBE, "", 0);
	if (error == 0)
		error = nng_aio_alloc(&link->event_aio, on_event_aio, link);
	if (error != 0)
		return error;
	/* No time limit: nng 1.5 may crash when one expires on this socket. */
	nng_aio_set_timeout(link->event_aio, NNG_DURATION_INFINITE);
	nng_recv_aio(link->socket, link->event_aio);
	return 0;
}

int transport_dial(struct transport *transport, Vpnsip__Service peer,
                   enum transport_channel channel, char *why, size_t why_size)
{
	struct link *link = &transport->links[peer][channel];
	char path[108];
	int error;

	link->transport = transport;
	link->peer = peer;
	link->channel = channel;
	error = transport_path(path, sizeof(path), transport->run_directory, peer, channel) == 0
	                ? 0
	                : NNG_EADDRINVAL;
	snprintf(link->url, sizeof(link->url), "ipc://%s", path);
	if (error == 0)
		error = open_socket(
			&link->socket, channel == TRANSPORT_EVENTS ? nng_sub0_open : nng_req0_open,
			channel == TRANSPORT_EVENTS ? TRANSPORT_LIMIT : TRANSPORT_REPLY_LIMIT);
	if (error == 0) {
		link->is_open = true;
		error = prepare_link(link);
	}
	if (error == 0)
		error = nng_dial(link->socket, link->url, &link->dialer, NNG_FLAG_NONBLOCK);
	if (error == 0)
		return 0;
	snprintf(why, why_size, "cannot dial %s: %s", path, nng_strerror(error));
	return -1;
}

int transport_redial(struct transport *transport, Vpnsip__Service peer,
                     enum transport_channel channel)
{
	struct link *link = &transport->links[peer][channel];

	if (link->pipe != 0)
		return 0;
	nng_dialer_close(link->dialer);
	return nng_dial(link->socket, link->url, &link->dialer, NNG_FLAG_NONBLOCK) == 0 ? 0 : -1;
}

void transport_publish(struct transport *transport, const uint8_t *octets, size_t size)
{
	struct listener *listener = &transport->listeners[TRANSPORT_EVENTS];
	nng_msg *message;

	if (!listener->is_open || (message = transport_message(octets, size)) == NULL)
		return;
	if (nng_sendmsg(listener->socket, message, NNG_FLAG_NONBLOCK) != 0)
		nng_msg_free(message);
}

uint64_t transport_overflowed(const struct transport *transport)
{
	return atomic_load(&transport->overflowed_events);
}

static void *close_all(void *context)
{
	struct transport *transport = context;

	transport_stop_slots(transport);
	for (int number = 0; number < TRANSPORT_LISTENERS; number++)
		if (transport->listeners[number].is_open)
			nng_listener_close(transport->listeners[number].listener);
	for (int peer = 0; peer < SERVICE_COUNT; peer++) {
		for (int channel = TRANSPORT_EVENTS; channel <= TRANSPORT_REQUESTS; channel++) {
			struct link *link = &transport->links[peer][channel];

			transport_stop_calls(link);
			if (link->event_aio != NULL)
				nng_aio_stop(link->event_aio);
			if (link->is_open)
				nng_close(link->socket);
		}
	}
	for (int number = 0; number < TRANSPORT_LISTENERS; number++)
		if (transport->listeners[number].is_open)
			nng_close(transport->listeners[number].socket);
	return NULL;
}

/** A thread that takes no signals, as nng's own. 0 or an error number. */
static int start_thread(pthread_t *thread, void *(*run)(void *), void *context)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(thread, NULL, run, context);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return error;
}

/*
 * nng_close() waits for each connection to be cleared away. It waits for ever when a connection was closed in the middle of a
 * message: nng then starts the read of the rest on an aio that is stopped already, which is silently not done, and the
 * aio of the protocol above never ends. (nng 1.5 to 1.10: ipc_pipe_recv_cb(), nni_aio_begin().) So it has a thread
 * of its own, and this one a limit.
 */
bool transport_stop(struct transport *transport)
{
	struct timespec limit;
	pthread_t closing;

	transport->is_stopped = true;
	if (start_thread(&closing, close_all, transport) != 0) {
		close_all(transport);
		return true;
	}
	clock_gettime(CLOCK_MONOTONIC, &limit);
	limit.tv_nsec += STOP_MSEC % 1000 * 1000000L;
	limit.tv_sec += STOP_MSEC / 1000 + limit.tv_nsec / 1000000000L;
	limit.tv_nsec %= 1000000000L;
	if (pthread_clockjoin_np(closing, NULL, CLOCK_MONOTONIC, &limit) == 0)
		return true;
	pthread_detach(closing);
	return false;
}

void transport_free(struct transport *transport)
{
	if (transport == NULL)
		return;
	for (int peer = 0; peer < SERVICE_COUNT; peer++) {
		transport_free_calls(&transport->links[peer][TRANSPORT_REQUESTS]);
		if (transport->links[peer][TRANSPORT_EVENTS].event_aio != NULL)
			nng_aio_free(transport->links[peer][TRANSPORT_EVENTS].event_aio);
	}
	transport_free_slots(transport);
	for (int number = 0; number < TRANSPORT_LISTENERS; number++)
		transport_forget_sockets(&transport->listeners[number]);
	free(transport->run_directory);
	free(transport);
}
