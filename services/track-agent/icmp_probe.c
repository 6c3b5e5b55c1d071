/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "icmp_probe.h"

#include <errno.h>
#include <event2/event.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* After net/if.h: the kernel's headers give way to the library's, not the other way round. */
#include <linux/icmp.h>

#define PROBE_TTL 64

/* An echo request of 36 octets, as routers of this field send it (28 octets of data). */
struct echo {
	uint8_t type, code;
	uint16_t checksum;
	uint16_t identifier, sequence;
	uint8_t cookie[8];
	uint8_t padding[20];
};

struct icmp_socket {
	struct icmp_probe *icmp;
	struct icmp_socket *next;
	char interface[IFNAMSIZ]; /* "" = not bound to one */
	int fd;                   /* -1 = not open */
	struct event *readable;
};

struct icmp_probe {
	struct event_base *base;
	struct icmp_identity identity;
	icmp_answer_fn *answered;
	void *context;
	struct icmp_socket *sockets;
};

/* RFC 1071. */
static uint16_t checksum(const uint8_t *octets, size_t size)
{
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < size; i += 2)
		sum += (uint32_t)(octets[i] << 8 | octets[i + 1]);
	if (size % 2 != 0)
		sum += (uint32_t)octets[size - 1] << 8;
	while (sum >> 16 != 0)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void take_packet(struct icmp_probe *icmp, const uint8_t *packet, size_t size)
{
	struct sockaddr_storage source = {.ss_family = AF_INET};
	struct iphdr header;
	struct echo echo;
	size_t offset;

	if (size < sizeof(header))
		return;
	memcpy(&header, packet, sizeof(header));
	offset = header.ihl * 4u;
	if (size < offset + sizeof(echo) || checksum(packet + offset, size - offset) != 0)
		return;
	memcpy(&echo, packet + offset, sizeof(echo));
	if (echo.type != ICMP_ECHOREPLY || echo.code != 0 ||
	    echo.identifier != icmp->identity.identifier ||
	    memcmp(echo.cookie, icmp->identity.cookie, sizeof(echo.cookie)) != 0)
		return;
	((struct sockaddr_in *)&source)->sin_addr.s_addr = header.saddr;
	icmp->answered(icmp->context, ntohs(echo.sequence), &source);
}

static void receive(struct icmp_socket *socket)
{
	uint8_t packet[2048];
	ssize_t size;

	while (socket->fd >= 0 &&
	       (size = recv(socket->fd, packet, sizeof(packet), MSG_DONTWAIT)) > 0)
		take_packet(socket->icmp, packet, (size_t)size);
}

static void socket_readable(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	receive(context);
}

static void close_socket(struct icmp_socket *socket)
{
	if (socket->readable != NULL)
		event_free(socket->readable);
	if (socket->fd >= 0)
		close(socket->fd);
	socket->readable = NULL;
	socket->fd = -1;
}

/* Returns 0 or a negative errno. */
static int open_socket(struct icmp_socket *new)
{
	struct icmp_filter only_replies = {~(1u << ICMP_ECHOREPLY)};
	int ttl = PROBE_TTL;
	int error;

	new->fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	if (new->fd < 0)
		return -errno;
	if (setsockopt(new->fd, SOL_RAW, ICMP_FILTER, &only_replies, sizeof(only_replies)) != 0 ||
	    setsockopt(new->fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl)) != 0 ||
	    (new->interface[0] != '\0' &&
	     setsockopt(new->fd, SOL_SOCKET, SO_BINDTODEVICE, new->interface,
	                strlen(new->interface)) != 0)) {
		error = -errno;
		close_socket(new);
		return error;
	}
	new->readable = event_new(new->icmp->base, new->fd, EV_READ | EV_PERSIST, socket_readable,
	                          new);
	if (new->readable == NULL || event_add(new->readable, NULL) != 0) {
		close_socket(new);
		return -ENOMEM;
	}
	return 0;
}

static struct icmp_socket *find_socket(struct icmp_probe *icmp, const char *interface)
{
	struct icmp_socket *socket = icmp->sockets;

	while (socket != NULL && strcmp(socket->interface, interface) != 0)
		socket = socket->next;
	if (socket != NULL)
		return socket;
	socket = calloc(1, sizeof(*socket));
	if (socket == NULL)
		return NULL;
	socket->icmp = icmp;
	socket->fd = -1;
	snprintf(socket->interface, sizeof(socket->interface), "%s", interface);
	socket->next = icmp->sockets;
	icmp->sockets = socket;
	return socket;
}

struct icmp_probe *icmp_probe_open(struct event_base *base, const struct icmp_identity *identity,
                                   icmp_answer_fn *answered, void *context)
{
	struct icmp_probe *icmp = calloc(1, sizeof(*icmp));

	if (icmp == NULL)
		return NULL;
	icmp->base = base;
	icmp->identity = *identity;
	icmp->answered = answered;
	icmp->context = context;
	return icmp;
}

void icmp_probe_close(struct icmp_probe *icmp)
{
	if (icmp == NULL)
		return;
	while (icmp->sockets != NULL) {
		struct icmp_socket *socket = icmp->sockets;

		icmp->sockets = socket->next;
		close_socket(socket);
		free(socket);
	}
	free(icmp);
}

static int send_echo(struct icmp_socket *socket, const struct sockaddr_storage *target,
                     uint16_t sequence)
{
	struct echo echo = {.type = ICMP_ECHO, .identifier = socket->icmp->identity.identifier};
	int error = socket->fd < 0 ? open_socket(socket) : 0;

	if (error != 0)
		return error;
	echo.sequence = htons(sequence);
	memcpy(echo.cookie, socket->icmp->identity.cookie, sizeof(echo.cookie));
	echo.checksum = checksum((const uint8_t *)&echo, sizeof(echo));
	if (sendto(socket->fd, &echo, sizeof(echo), 0, (const struct sockaddr *)target,
	           sizeof(struct sockaddr_in)) < 0)
		return -errno;
	return 0;
}

int icmp_probe_send(struct icmp_probe *icmp, const struct sockaddr_storage *target,
                    const char *interface, uint16_t sequence)
{
	struct icmp_socket *socket = find_socket(icmp, interface != NULL ? interface : "");
	int error;

	if (socket == NULL)
		return -ENOMEM;
	if (target->ss_family != AF_INET)
		return -EAFNOSUPPORT;
	error = send_echo(socket, target, sequence);
	if (error == -ENODEV || error == -ENXIO) {
		/* The interface was made anew: the socket is bound to the old one. */
		close_socket(socket);
		error = send_echo(socket, target, sequence);
	}
	return error;
}

void icmp_probe_receive(struct icmp_probe *icmp)
{
	for (struct icmp_socket *socket = icmp->sockets; socket != NULL; socket = socket->next)
		receive(socket);
}
