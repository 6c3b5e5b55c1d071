/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The user-space back end: one TUN device a tunnel, ESP in this process (data_path.c). All of it vanishes with the process. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "services/tunnel-agent/agent.h"

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
	(void)agent;
	return 0;
}

static void close_descriptor(struct agent_tunnel *tunnel)
{
	data_path_detach(tunnel);
	if (tunnel->descriptor >= 0)
		close(tunnel->descriptor);
	tunnel->descriptor = -1;
}

static void stop(struct agent *agent)
{
	for (size_t i = 0; i < agent->tunnel_count; i++)
		close_descriptor(&agent->tunnels[i]);
	tun_pool_close(&agent->pool);
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
	if (data_path_attach(tunnel) != 0) {
		snprintf(why, why_size, "out of memory");
		return -1;
	}
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
			data_path_take_early(tunnel, orders[i].spi);
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
	.send_held = data_path_send,
	.take_esp = data_path_take_esp,
};
