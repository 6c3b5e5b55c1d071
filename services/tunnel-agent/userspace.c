/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user-space back end: one TUN device a tunnel, ESP in this process (esp_path.c). All of it vanishes with the process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"
#include "services/tunnel-agent/esp_path.h"

/* For interfaces that somebody renamed or moved away; a deleted one is made again with its own descriptor. */
#define SPARE_DESCRIPTORS 8

static int prepare(struct agent *agent, char *why, size_t why_size)
{
	if (tun_pool_open(&agent->pool, agent->service->config->peer_count + SPARE_DESCRIPTORS) ==
	    0)
		return 0;
	snprintf(why, why_size, "cannot open /dev/net/tun: %s", strerror(errno));
	return -1;
}

static int start(struct agent *agent)
{
	if (esp_path_start(agent) == 0)
		return 0;
	log_line(LOG_ERR, "out of memory");
	return -1;
}

static void close_descriptor(struct agent_tunnel *tunnel)
{
	esp_path_detach(tunnel);
	if (tunnel->descriptor >= 0)
		close(tunnel->descriptor);
	tunnel->descriptor = -1;
}

static void stop(struct agent *agent)
{
	for (size_t i = 0; i < agent->tunnel_count; i++)
		close_descriptor(&agent->tunnels[i]);
	tun_pool_close(&agent->pool);
	esp_path_stop(agent);
}

static bool has_interface(struct agent_tunnel *tunnel)
{
	struct rtnl_interface interface;
	char name[IF_NAMESIZE];

	/* A descriptor whose interface was deleted can make it again. */
	if (tunnel->descriptor < 0 || !tun_get_name(tunnel->descriptor, name))
		return false;
	if (strcmp(name, tunnel->peer->tunnel) == 0 &&
	    rtnl_find_interface(tunnel->agent->rtnl, name, &interface))
		return true;
	/* It was renamed or moved away and the descriptor still holds it: closing removes it. */
	close_descriptor(tunnel);
	return false;
}

/* A large packet passes the shaper as one: on a slow line it would be seconds of it. */
static void limit_bursts(struct agent_tunnel *tunnel)
{
	const char *why;

	if (esp_path_takes_large(tunnel->peer) ||
	    rtnl_limit_segments(tunnel->agent->rtnl, if_nametoindex(tunnel->peer->tunnel), 1,
	                        &why) == 0)
		return;
	log_session(LOG_WARNING, tunnel->peer->tunnel, tunnel->peer->number,
	            "TCP of this router leaves in bursts: %s", why);
}

static int make_interface(struct agent_tunnel *tunnel, char *why, size_t why_size)
{
	const char *name = tunnel->peer->tunnel;

	if (tunnel->descriptor < 0)
		tunnel->descriptor = tun_pool_take(&tunnel->agent->pool);
	if (tunnel->descriptor < 0) {
		snprintf(why, why_size, "cannot open /dev/net/tun: %s", strerror(errno));
		return -1;
	}
	if (tun_create(tunnel->descriptor, name) != 0) {
		snprintf(why, why_size, "cannot make the interface %s: %s%s", name, strerror(errno),
		         errno == EBUSY || errno == EINVAL
		                 ? " (another program has an interface of this name)"
		                 : "");
		return -1;
	}
	if (esp_path_attach(tunnel) != 0) {
		snprintf(why, why_size, "out of memory");
		return -1;
	}
	limit_bursts(tunnel);
	return 0;
}

static int install_sas(struct agent_tunnel *tunnel, const struct sa_order *orders, size_t count,
                       const char **why)
{
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);

	for (size_t i = 0; i < count; i++) {
		const struct sa_order *order = &orders[i];

		if (tunnel_install_sa(&tunnel->core, order->spi, &order->options, &order->terms,
		                      now_usec, why) == 0)
			continue;
		while (i-- > 0)
			tunnel_remove_sa(&tunnel->core, orders[i].options.is_inbound, orders[i].spi,
			                 now_usec);
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		if (orders[i].options.is_inbound)
			esp_path_take_early(tunnel, orders[i].spi);
	return 0;
}

const struct backend backend_userspace = {
	.name = "userspace",
	.prepare = prepare,
	.start = start,
	.stop = stop,
	.has_interface = has_interface,
	.make_interface = make_interface,
	.purge = close_descriptor,
	.install_sas = install_sas,
	.settle = esp_path_settle,
	.send_held = esp_path_send,
	.take_esp = esp_path_take_esp,
};
