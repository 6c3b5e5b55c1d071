/* SPDX-License-Identifier: GPL-3.0-or-later */
/* libcharon's socket without a socket: packets come from engine_deliver() and leave through the host. */
#include "services/ike-agent/charon_internal.h"

#include <collections/blocking_queue.h>

#define QUEUE_MAX   256
#define MARKER_SIZE 4 /* non-ESP marker, RFC 3948 section 2.2: libcharon has it, the bus has not */

struct packet_socket {
	socket_t public;
	blocking_queue_t *queue;
	atomic_uint queued;
};

static struct packet_socket *the_socket;

METHOD(socket_t, receive, status_t, struct packet_socket *this, packet_t **packet)
{
	*packet = this->queue->dequeue(this->queue);
	atomic_fetch_sub(&this->queued, 1);
	return SUCCESS;
}

METHOD(socket_t, send_packet, status_t, struct packet_socket *this, packet_t *packet)
{
	host_t *source = packet->get_source(packet), *destination = packet->get_destination(packet);
	const sockaddr_t *address = destination->get_sockaddr(destination);
	struct charon_session *session = charon_session_by_port(source->get_port(source));
	chunk_t message = chunk_skip(packet->get_data(packet), MARKER_SIZE);
	struct sockaddr_storage remote = {};

	/* One octet is libcharon's NAT keepalive; tunnel-agent sends its own. */
	if (session && message.len > 0 && !charon_engine.is_leaving) {
		struct engine_fact *then = charon_take_fact_of(message);

		memcpy(&remote, address, *destination->get_sockaddr_len(destination));
		charon_engine.host->send_packet(charon_engine.host->context, session->if_id,
		                                session->attempt, &remote, message.ptr, message.len,
		                                then);
		free(then);
	}
	charon_session_release(session);
	return SUCCESS;
}

/* Never 500: with it libcharon would leave out the marker and float to another port. */
METHOD(socket_t, get_port, uint16_t, struct packet_socket *this, bool is_nat_port)
{
	return IKEV2_NATT_PORT;
}

METHOD(socket_t, supported_families, socket_family_t, struct packet_socket *this)
{
	return SOCKET_FAMILY_BOTH;
}

METHOD(socket_t, destroy, void, struct packet_socket *this)
{
	the_socket = NULL;
	this->queue->destroy_offset(this->queue, offsetof(packet_t, destroy));
	free(this);
}

socket_t *charon_socket_create(void)
{
	INIT(the_socket,
	     .public =
	             {
			     .receive = _receive,
			     .send = _send_packet,
			     .get_port = _get_port,
			     .supported_families = _supported_families,
			     .destroy = _destroy,
		     },
	     .queue = blocking_queue_create(), );
	return &the_socket->public;
}

bool engine_deliver(uint32_t if_id, const struct sockaddr_storage *remote, const uint8_t *packet,
                    size_t size)
{
	static const u_char marker[MARKER_SIZE];
	struct charon_session *session = charon_session_by_if_id(if_id);
	host_t *source, *destination;
	chunk_t data;

	if (!session || !the_socket || the_socket->queued >= QUEUE_MAX) {
		charon_session_release(session);
		return false;
	}
	source = host_create_from_sockaddr((sockaddr_t *)remote);
	destination = host_create_from_sockaddr((sockaddr_t *)&session->local);
	data = chunk_cat("cc", chunk_create((u_char *)marker, sizeof(marker)),
	                 chunk_create((u_char *)packet, size));
	charon_session_release(session);
	atomic_fetch_add(&the_socket->queued, 1);
	the_socket->queue->enqueue(the_socket->queue,
	                           packet_create_from_data(source, destination, data));
	return true;
}
