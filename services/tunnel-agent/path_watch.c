/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Routers of the path that say how narrow it is. Their messages quote what left the WAN after the translation of ports, which no
 * UDP socket of this machine has sent: the kernel cannot give them to ours, a raw socket hears them.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"

#define MESSAGE_SIZE 1500 /* routers quote up to 576 octets, Linux some more */

#ifndef ICMP_FILTER
#define ICMP_FILTER 1 /* linux/icmp.h, which cannot stand beside the C library's */
#endif

/* Whoever floods us with them is heard at this pace: looking for the tunnel costs, and a router repeats itself. */
#define BURST            32
#define BURST_PAUSE_USEC 100000

int path_watch_open(void)
{
	const uint32_t unheard_types = ~(1u << ICMP_DEST_UNREACH);
	int descriptor = socket(AF_INET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);

	if (descriptor >= 0 && setsockopt(descriptor, SOL_RAW, ICMP_FILTER, &unheard_types,
	                                  sizeof(unheard_types)) == 0)
		return descriptor;
	log_line(LOG_WARNING,
	         "a path narrower than the WAN goes unnoticed: no raw socket (CAP_NET_RAW while "
	         "starting): %s",
	         strerror(errno));
	if (descriptor >= 0)
		close(descriptor);
	return -1;
}

static void note_report(struct agent_tunnel *tunnel, const struct path_report *report)
{
	char router[ADDRESS_TEXT_SIZE];

	agent_note(tunnel, "%s says that the path takes %u octets",
	           address_format(&report->router, router), report->mtu);
}

/* `tunnel`: about whose packets it pretends to be; NULL = nobody's. */
static void count_refused(struct agent *agent, struct agent_tunnel *tunnel,
                          const struct path_report *report, enum drop_reason reason)
{
	char router[ADDRESS_TEXT_SIZE];
	uint64_t *drops = tunnel ? tunnel->core.drops : agent->drops, count;

	drops[reason]++;
	address_format(&report->router, router);
	if (event_class_count(&agent->refused_path_reports, router, bus_mono_usec(agent->bus),
	                      bus_wall_usec(agent->bus), &count))
		log_line(LOG_NOTICE,
		         "tunnel.guard.reject class=path-report src=%s tunnel=%s cause=%s mtu=%u "
		         "count=%llu",
		         router, tunnel ? tunnel->peer->tunnel : "-", drop_reason_names[reason],
		         report->mtu, (unsigned long long)count);
}

static void take_report(struct agent *agent, const struct path_report *report)
{
	uint64_t now_usec = bus_mono_usec(agent->bus);
	enum drop_reason why, reason = DROP_REPORT_PEER;
	struct agent_tunnel *named = NULL;

	for (size_t i = 0; i < agent->tunnel_count; i++) {
		struct agent_tunnel *tunnel = &agent->tunnels[i];

		switch (tunnel_take_path_report(&tunnel->core, report, now_usec, &why)) {
		case PATH_REPORT_REFUSED:
			if (why != DROP_REPORT_PEER) {
				named = tunnel;
				reason = why;
			}
			continue;
		case PATH_REPORT_NARROWS:
			note_report(tunnel, report);
			agent_settle(tunnel);
			return;
		case PATH_REPORT_KNOWN:
			return;
		}
	}
	count_refused(agent, named, report, reason);
}

static void take_messages(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint8_t message[MESSAGE_SIZE];
	struct path_report report;

	(void)what;
	for (unsigned i = 0; i < BURST; i++) {
		ssize_t size = recv(descriptor, message, sizeof(message), 0);

		if (size < 0)
			return;
		if (path_report_parse(message, (size_t)size, &report))
			take_report(agent, &report);
	}
	event_del(agent->path_readable);
	event_add(agent->path_pause, &(const struct timeval){.tv_usec = BURST_PAUSE_USEC});
}

static void listen_again(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;

	(void)descriptor;
	(void)what;
	event_add(agent->path_readable, NULL);
}

int path_watch_start(struct agent *agent)
{
	struct event_base *base = agent->service->base;

	if (agent->path_socket < 0)
		return 0;
	agent->path_readable = event_new(base, agent->path_socket, EV_READ | EV_PERSIST,
	                                 take_messages, agent);
	agent->path_pause = event_new(base, -1, 0, listen_again, agent);
	if (!agent->path_readable || !agent->path_pause)
		return -1;
	return event_add(agent->path_readable, NULL);
}

void path_watch_stop(struct agent *agent)
{
	if (agent->path_readable)
		event_free(agent->path_readable);
	if (agent->path_pause)
		event_free(agent->path_pause);
	if (agent->path_socket >= 0)
		close(agent->path_socket);
}
