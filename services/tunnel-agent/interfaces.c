/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The tunnel interfaces and the tunnel source are as configured: made at start, and restored whenever somebody deletes or
 * changes them. Nothing is removed on leaving: interfaces vanish with the process or outlive it, as their back end has it; the
 * tunnel source stays.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/tunnel-agent/agent.h"
#include "services/tunnel-agent/ethtool.h"
#include "services/tunnel-agent/mtu.h"

#define DEFAULT_WAN_MTU         1500
#define ADDRESSES_PER_INTERFACE 16
/* A repair follows a change at once, but somebody who undoes it all the time is not raced. */
#define REPAIR_DELAY_USEC       5000
#define REPAIR_PAUSE_USEC       200000
#define REPAIR_CALM_USEC        1000000

static void log_fault(struct agent_tunnel *tunnel, const char *text)
{
	if (tunnel)
		log_session(LOG_ERR, tunnel->peer->tunnel, tunnel->peer->number, "%s", text);
	else
		log_line(LOG_ERR, "%s", text);
}

/* Notes a fault of a tunnel, or of the tunnel source (`tunnel` NULL); a new one is logged. */
static void set_fault(struct agent *agent, struct agent_tunnel *tunnel, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void set_fault(struct agent *agent, struct agent_tunnel *tunnel, const char *format, ...)
{
	char *fault = tunnel ? tunnel->fault : agent->fault;
	size_t size = tunnel ? sizeof(tunnel->fault) : sizeof(agent->fault);
	char text[sizeof(agent->fault)];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	if (strcmp(fault, text) == 0)
		return;
	snprintf(fault, size, "%s", text);
	log_fault(tunnel, text);
}

/* Belt and braces beside the address generation mode; where /proc/sys is read-only the mode alone does it. */
static void switch_ipv6(const char *name, bool is_on)
{
	char path[64];
	int descriptor;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	descriptor = open(path, O_WRONLY | O_CLOEXEC);
	if (descriptor < 0)
		return;
	if (write(descriptor, is_on ? "0" : "1", 1) != 1)
		log_line(LOG_DEBUG, "%s: %s", path, strerror(errno));
	close(descriptor);
}

static bool create_interface(struct agent *agent, struct agent_tunnel *tunnel)
{
	const char *name = tunnel->peer->tunnel;
	char why[sizeof(tunnel->fault)];

	if (agent->backend->make_interface(tunnel, why, sizeof(why)) != 0) {
		set_fault(agent, tunnel, "%s", why);
		return false;
	}
	switch_ipv6(name, tunnel->peer->is_dual_overlay);
	log_session(LOG_NOTICE, name, tunnel->peer->number, "interface made");
	return true;
}

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* IPv6 inside counts on 1280 octets; the kernel's IPsec never fragments what is larger than its own link's MTU lets through. */
static void note_narrow_wan(struct agent_tunnel *tunnel, unsigned wan_mtu)
{
	bool is_narrow = tunnel->agent->xfrm && tunnel->peer->is_dual_overlay &&
	                 tunnel->core.plain_mtu < IPV6_MTU_MINIMUM;

	if (is_narrow && !tunnel->is_wan_narrow)
		log_session(LOG_WARNING, tunnel->peer->tunnel, tunnel->peer->number,
		            "%s takes %u octets: packets of more than %zu octets of IPv6 get lost "
		            "(data-plane = userspace fragments them)",
		            tunnel->peer->line->wan_interface, wan_mtu, tunnel->core.plain_mtu);
	tunnel->is_wan_narrow = is_narrow;
}

/*
 * What the interface takes: as configured, what fits after encapsulation, or, where ESP packets are fragmented, what the WAN takes. On a
 * path narrower than the WAN it is what fits: the routes do not know of it, so that the kernel could not fragment for it.
 */
static unsigned wanted_mtu(struct agent *agent, struct agent_tunnel *tunnel)
{
	const struct config_peer *peer = tunnel->peer;
	struct rtnl_interface wan = {.mtu = DEFAULT_WAN_MTU};
	struct proposal_list proposals;
	char why[128];
	unsigned path_mtu = tunnel->core.path_mtu, plain_mtu, mtu = peer->mtu;

	rtnl_find_interface(agent->rtnl, peer->line->wan_interface, &wan);
	/* The check of the configuration has read them before. */
	proposals_of_ipsec_profile(agent->service->config, peer->ipsec_profile, &proposals, why,
	                           sizeof(why));
	tunnel->path_mtu = path_mtu ? smaller(path_mtu, wan.mtu) : wan.mtu;
	/*
	 * Packets that leave in one message have checksums. The kernel carries the translation of their ports into them if
	 * the network card is to compute them, but not if it has computed them itself.
	 */
	tunnel->joins_packets = ethtool_has_checksums(peer->line->wan_interface);
	plain_mtu = mtu_of_proposals(tunnel->path_mtu, &proposals);
	tunnel->core.plain_mtu = plain_mtu;
	note_narrow_wan(tunnel, tunnel->path_mtu);
	if (!mtu)
		mtu = peer->ipsec_profile->fragmentation == FRAGMENT_AFTER ? wan.mtu : plain_mtu;
	if (tunnel->path_mtu < wan.mtu)
		mtu = smaller(mtu, plain_mtu);
	/* Of a narrower interface the kernel takes IPv6 away. */
	if (peer->is_dual_overlay && mtu < IPV6_MTU_MINIMUM)
		mtu = IPV6_MTU_MINIMUM;
	return smaller(mtu, AGENT_PACKET_MAXIMUM);
}

/* The tunnel's own address, or the first one of the interface it borrows from. */
static bool find_wanted_address(struct agent *agent, const struct config_peer *peer,
                                struct rtnl_address *wanted)
{
	struct rtnl_interface lender;
	struct rtnl_address list[ADDRESSES_PER_INTERFACE];

	if (!peer->unnumbered) {
		const struct sockaddr_in *own = (const struct sockaddr_in *)&peer->address.address;

		wanted->address = own->sin_addr;
		wanted->prefix_length = peer->address.length;
		return true;
	}
	if (!rtnl_find_interface(agent->rtnl, peer->unnumbered, &lender) ||
	    rtnl_list_addresses(agent->rtnl, lender.index, list, ADDRESSES_PER_INTERFACE) == 0)
		return false;
	wanted->address = list[0].address;
	wanted->prefix_length = 32;
	return true;
}

static bool is_same_address(const struct rtnl_address *a, const struct rtnl_address *b)
{
	return a->address.s_addr == b->address.s_addr && a->prefix_length == b->prefix_length;
}

/* The interface has the wanted address and no other; `wanted` NULL = none. Returns whether something was changed. */
static bool repair_address(struct agent *agent, struct agent_tunnel *tunnel, unsigned index,
                           const struct rtnl_address *wanted)
{
	struct rtnl_address list[ADDRESSES_PER_INTERFACE];
	size_t count = rtnl_list_addresses(agent->rtnl, index, list, ADDRESSES_PER_INTERFACE);
	bool has_changed = false, is_present = false;
	const char *why;

	for (size_t i = 0; i < count; i++) {
		if (wanted && is_same_address(&list[i], wanted)) {
			is_present = true;
			continue;
		}
		log_session(LOG_NOTICE, tunnel->peer->tunnel, tunnel->peer->number,
		            "removed the foreign address %s", inet_ntoa(list[i].address));
		if (rtnl_remove_address(agent->rtnl, index, &list[i], &why) == 0)
			has_changed = true;
	}
	if (!wanted || is_present)
		return has_changed;
	if (rtnl_add_address(agent->rtnl, index, wanted, false, &why) != 0)
		set_fault(agent, tunnel, "cannot put the address %s on %s: %s",
		          inet_ntoa(wanted->address), tunnel->peer->tunnel, why);
	return true;
}

static void note_interface(struct agent_tunnel *tunnel, unsigned index, bool is_up, unsigned mtu,
                           const struct rtnl_address *address)
{
	if (tunnel->interface_index == index && tunnel->is_up == is_up && tunnel->mtu == mtu &&
	    is_same_address(&tunnel->address, address))
		return;
	tunnel->interface_index = index;
	tunnel->is_up = is_up;
	tunnel->mtu = mtu;
	tunnel->address = *address;
	tunnel->core.classify.own_address = address->address.s_addr;
	tunnel->core.classify.prefix_length = address->prefix_length;
	tunnel->core.revision++;
}

/* Returns whether something had to be changed. */
static bool repair_tunnel(struct agent *agent, struct agent_tunnel *tunnel)
{
	const struct config_peer *peer = tunnel->peer;
	struct rtnl_interface interface = {0};
	struct rtnl_address wanted = {0};
	unsigned mtu = wanted_mtu(agent, tunnel);
	bool has_address, has_changed = false, is_up = true;
	const char *why;

	if (!rtnl_find_interface(agent->rtnl, peer->tunnel, &interface)) {
		note_interface(tunnel, 0, false, 0, &wanted);
		return false;
	}
	tunnel->fault[0] = '\0';
	if (interface.mtu != mtu || !interface.is_up) {
		is_up = rtnl_set_link(agent->rtnl, interface.index, mtu, &why) == 0;
		if (!is_up)
			set_fault(agent, tunnel, "cannot set %s up with MTU %u: %s", peer->tunnel,
			          mtu, why);
		has_changed = true;
	}
	has_address = find_wanted_address(agent, peer, &wanted);
	has_changed |= repair_address(agent, tunnel, interface.index, has_address ? &wanted : NULL);
	if (!has_address)
		set_fault(agent, tunnel, "%s has no address to lend to %s", peer->unnumbered,
		          peer->tunnel);
	note_interface(tunnel, interface.index, is_up, mtu, &wanted);
	return has_changed;
}

static bool repair_tunnel_source(struct agent *agent)
{
	const struct sockaddr_in *source =
		(const struct sockaddr_in *)&agent->service->config->tunnel_source;
	struct rtnl_address wanted = {.address = source->sin_addr, .prefix_length = 32};
	struct rtnl_address list[ADDRESSES_PER_INTERFACE];
	struct rtnl_interface loopback;
	const char *why;
	size_t count;

	if (!rtnl_find_interface(agent->rtnl, "lo", &loopback))
		return false;
	count = rtnl_list_addresses(agent->rtnl, loopback.index, list, ADDRESSES_PER_INTERFACE);
	for (size_t i = 0; i < count; i++) {
		if (!is_same_address(&list[i], &wanted))
			continue;
		agent->fault[0] = '\0';
		return false;
	}
	/* Host scope: the kernel must not choose it as a source for others' packets. */
	if (rtnl_add_address(agent->rtnl, loopback.index, &wanted, true, &why) != 0)
		set_fault(agent, NULL, "cannot put the tunnel source %s on lo: %s",
		          inet_ntoa(wanted.address), why);
	else
		agent->fault[0] = '\0';
	return true;
}

void interfaces_repair_tunnel(struct agent *agent, struct agent_tunnel *tunnel)
{
	bool has_changed;

	if (agent->is_purged)
		return;
	if (rtnl_refresh(agent->rtnl) != 0) {
		set_fault(agent, NULL, "cannot read the interfaces");
		return;
	}
	has_changed = !agent->backend->has_interface(tunnel) && create_interface(agent, tunnel);
	if (has_changed && rtnl_refresh(agent->rtnl) != 0)
		return;
	has_changed |= repair_tunnel_source(agent);
	has_changed |= repair_tunnel(agent, tunnel);
	agent_settle(tunnel);
	if (has_changed)
		agent->repaired_usec = bus_mono_usec(agent->bus);
}

void interfaces_follow_path(struct agent_tunnel *tunnel)
{
	if (tunnel->core.path_mtu == tunnel->followed_path_mtu)
		return;
	tunnel->followed_path_mtu = tunnel->core.path_mtu;
	interfaces_repair_tunnel(tunnel->agent, tunnel);
	log_session(LOG_NOTICE, tunnel->peer->tunnel, tunnel->peer->number,
	            "the path takes %u octets%s: MTU %u", tunnel->path_mtu,
	            tunnel->core.path_mtu ? "" : " as far as is known", tunnel->mtu);
}

void interfaces_repair(struct agent *agent)
{
	bool has_changed = false;

	if (agent->is_purged)
		return;
	if (rtnl_refresh(agent->rtnl) != 0) {
		set_fault(agent, NULL, "cannot read the interfaces");
		return;
	}
	for (size_t i = 0; i < agent->tunnel_count; i++)
		if (!agent->backend->has_interface(&agent->tunnels[i]))
			has_changed |= create_interface(agent, &agent->tunnels[i]);
	if (has_changed && rtnl_refresh(agent->rtnl) != 0)
		return;
	has_changed |= repair_tunnel_source(agent);
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		has_changed |= repair_tunnel(agent, &agent->tunnels[i]);
		agent_settle(&agent->tunnels[i]);
	}
	if (has_changed)
		agent->repaired_usec = bus_mono_usec(agent->bus);
}

int interfaces_purge(struct agent *agent, const char **why)
{
	const struct sockaddr_in *source =
		(const struct sockaddr_in *)&agent->service->config->tunnel_source;
	const struct rtnl_address address = {.address = source->sin_addr, .prefix_length = 32};
	const struct rtnl_address none = {0};
	struct rtnl_interface loopback;

	agent->is_purged = true;
	set_fault(agent, NULL, "the tunnels were purged: restart tunnel-agent");
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		struct agent_tunnel *tunnel = &agent->tunnels[i];

		agent->backend->purge(tunnel);
		note_interface(tunnel, 0, false, 0, &none);
		agent_settle(tunnel);
	}
	if (!rtnl_find_interface(agent->rtnl, "lo", &loopback))
		return 0;
	return rtnl_remove_address(agent->rtnl, loopback.index, &address, why);
}

static void repair_later(void *context)
{
	struct agent *agent = context;
	bool is_calm = bus_mono_usec(agent->bus) > agent->repaired_usec + REPAIR_CALM_USEC;
	struct timeval delay = {.tv_usec = is_calm ? REPAIR_DELAY_USEC : REPAIR_PAUSE_USEC};

	if (!event_pending(agent->repair, EV_TIMEOUT, NULL))
		event_add(agent->repair, &delay);
}

static void repair_now(evutil_socket_t descriptor, short what, void *context)
{
	(void)descriptor;
	(void)what;
	interfaces_repair(context);
}

int interfaces_start(struct agent *agent)
{
	const char *why = "out of memory";

	agent->repair = event_new(agent->service->base, -1, 0, repair_now, agent);
	if (agent->repair)
		agent->rtnl = rtnl_open(agent->service->base, repair_later, agent, &why);
	if (!agent->rtnl) {
		log_line(LOG_ERR, "cannot watch the interfaces: %s", why);
		return -1;
	}
	interfaces_repair(agent);
	return 0;
}

void interfaces_stop(struct agent *agent)
{
	const char *why;

	if (agent->rtnl && !agent->backend->outlives_process &&
	    rtnl_delete_links(agent->rtnl, &why) != 0)
		log_line(LOG_DEBUG, "the interfaces go one by one: %s", why);
	rtnl_close(agent->rtnl);
	if (agent->repair)
		event_free(agent->repair);
}
