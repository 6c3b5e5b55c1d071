/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The kernel back end: one XFRM interface a tunnel, its states and policies over netlink. The core decides; xfrm_settle() compares
 * what it wants with what the kernel was told and orders the difference. Links, states and policies outlive this process, and so does
 * the hold: a tunnel that rested or waited then sends nothing, one that was open goes on.
 */
#include "services/tunnel-agent/xfrm_backend.h"

#include <errno.h>
#include <linux/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/log.h"
#include "services/tunnel-agent/xfrm_algorithms.h"

/* Between two questions for a child whose outbound SPI is free. */
#define SPI_PAUSE_USEC 3000000u

struct xfrm_tunnel *xfrm_tunnel_of(const struct agent_tunnel *tunnel)
{
	return &tunnel->agent->xfrm->tunnels[tunnel - tunnel->agent->tunnels];
}

struct xfrm_ends xfrm_ends_of(const struct agent_tunnel *tunnel, const struct sockaddr_in *remote)
{
	struct xfrm_ends ends = {
		.if_id = tunnel->core.options.if_id,
		.remote = *remote,
		.has_ipv6 = tunnel->peer->is_dual_overlay,
	};

	memcpy(&ends.local, &tunnel->agent->service->config->tunnel_source, sizeof(ends.local));
	ends.local.sin_port = htons(UDP_IKE_PORT);
	return ends;
}

struct xfrm_sa *xfrm_find_sa(struct xfrm_tunnel *known, bool is_inbound, uint32_t spi)
{
	for (unsigned i = 0; i < known->sa_count; i++)
		if (known->sas[i].spi == spi && known->sas[i].is_inbound == is_inbound)
			return &known->sas[i];
	return NULL;
}

static const struct sockaddr_in *remote_of(const struct agent_tunnel *tunnel)
{
	return (const struct sockaddr_in *)&tunnel->core.remote;
}

/*
 * Where new SAs go: to the peer. Before the coordinator has said who that is, IKE may replace what a former start left: to where
 * that goes. NULL = nobody knows.
 */
static const struct sockaddr_in *remote_of_new(const struct agent_tunnel *tunnel)
{
	const struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);

	if (tunnel->core.attempt)
		return remote_of(tunnel);
	return known->is_adopted ? &known->policy_remote : NULL;
}

static bool is_same_end(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
	return a->sin_addr.s_addr == b->sin_addr.s_addr && a->sin_port == b->sin_port;
}

static void complain(const struct agent_tunnel *tunnel, const char *what, const char *why)
{
	log_session(LOG_ERR, tunnel->peer->tunnel, tunnel->peer->number, "%s: %s", what, why);
}

/* The process: what it opens. */

static int prepare(struct agent *agent, char *why, size_t why_size)
{
	struct xfrm_backend *xfrm = calloc(1, sizeof(*xfrm));

	agent->xfrm = xfrm;
	if (!xfrm) {
		snprintf(why, why_size, "out of memory");
		return -1;
	}
	xfrm->packets = nfqueue_hold_open();
	if (xfrm->packets)
		return 0;
	snprintf(why, why_size, "cannot open a packet socket: %s", strerror(errno));
	return -1;
}

static void take_expiry(void *context, const struct xfrm_state *state, bool is_hard)
{
	struct agent *agent = context;
	struct agent_tunnel *tunnel = agent_find_mark(agent, state->if_id);

	if (!tunnel)
		return;
	tunnel_note_limit(&tunnel->core, xfrm_is_inbound(agent, state), state->spi, is_hard);
	agent_settle(tunnel);
}

static void send_held(struct agent_tunnel *tunnel, uint8_t *packet, size_t size, uint64_t now_usec)
{
	if (nfqueue_hold_send(tunnel->agent->xfrm->packets, tunnel->interface_index, packet,
	                      size) != 0)
		tunnel->core.drops[errno == EAGAIN || errno == ENOBUFS ? DROP_SEND_FULL
		                                                       : DROP_INTERFACE]++;
	tunnel_note_sent(&tunnel->core, now_usec);
}

/*
 * The original goes on and leaves its trace in connection tracking. While the hold stands it is dropped behind that: a copy is kept, or sent if
 * the session has just been opened.
 */
static bool take_packet(void *context, unsigned interface_index, uint8_t *packet, size_t size)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus);

	for (size_t i = 0; i < agent->tunnel_count; i++) {
		struct agent_tunnel *tunnel = &agent->tunnels[i];
		enum tunnel_verdict verdict;

		if (tunnel->interface_index != interface_index)
			continue;
		verdict = tunnel_take(&tunnel->core, packet, size, now_usec);
		if (verdict == TUNNEL_SEND && xfrm_tunnel_of(tunnel)->is_held)
			send_held(tunnel, packet, size, now_usec);
		agent_settle(tunnel);
		return verdict == TUNNEL_HELD || verdict == TUNNEL_SEND;
	}
	return true;
}

/* The tables as they should be, at once: there is no moment in which a tunnel that is held is not. */
static bool reset_hold(struct agent *agent, char *why, size_t why_size)
{
	struct nft_hold_tunnel *tunnels = calloc(agent->tunnel_count + 1, sizeof(*tunnels));
	struct xfrm_backend *xfrm = agent->xfrm;
	bool is_done;

	snprintf(why, why_size, "out of memory");
	if (!tunnels)
		return false;
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		xfrm->tunnels[i].is_hold_known = true;
		tunnels[i].name = agent->tunnels[i].peer->tunnel;
		tunnels[i].is_held = xfrm->tunnels[i].is_held;
	}
	is_done = nft_hold_reset(xfrm->hold, tunnels, agent->tunnel_count, agent->probe_targets,
	                         agent->probe_target_count, why, why_size);
	free(tunnels);
	return is_done;
}

/* Somebody changed our tables. */
static void check_hold(void *context, const struct nft_change *change)
{
	struct agent *agent = context;
	char why[256];

	if (!change->is_ours || agent->is_purged || nft_hold_is_there(agent->xfrm->hold))
		return;
	if (reset_hold(agent, why, sizeof(why)))
		log_line(LOG_NOTICE, "somebody removed the table vpnsip_hold: it is there again");
	else
		log_line(LOG_ERR, "somebody removed the table vpnsip_hold: %s", why);
}

static int refuse(const char *what, const char *why)
{
	log_line(LOG_ERR, "data-plane kernel: %s: %s", what, why);
	return -1;
}

static int start(struct agent *agent)
{
	const int encapsulation = UDP_ENCAP_ESPINUDP;
	struct event_base *base = agent->service->base;
	struct xfrm_backend *xfrm = agent->xfrm;
	const char *why;
	char text[256];

	xfrm->tunnels = calloc(agent->tunnel_count + 1, sizeof(*xfrm->tunnels));
	xfrm->hold = nft_hold_open();
	if (!xfrm->tunnels || !xfrm->hold)
		return refuse("start", "out of memory");
	xfrm->socket = xfrm_open(base, take_expiry, agent, &why);
	if (!xfrm->socket)
		return refuse("cannot speak to the kernel", why);
	xfrm->links = xfrm_links_open(&why);
	if (!xfrm->links)
		return refuse("cannot look at the interfaces", why);
	if (xfrm_adopt(agent) != 0)
		return refuse("cannot read the SAs of before", strerror(errno));
	/* From here on what peers send is decrypted again. */
	if (setsockopt(agent->udp, IPPROTO_UDP, UDP_ENCAP, &encapsulation, sizeof(encapsulation)) !=
	    0)
		return refuse("the UDP socket cannot take ESP", strerror(errno));
	/* Every tunnel without SAs is held from the first moment on. */
	for (size_t i = 0; i < agent->tunnel_count; i++)
		xfrm->tunnels[i].is_held = !xfrm->tunnels[i].is_adopted;
	if (!reset_hold(agent, text, sizeof(text)))
		return refuse("packets cannot be held", text);
	xfrm->watch = nft_watch_open(base, NFT_HOLD_TABLE, check_hold, agent, text, sizeof(text));
	if (!xfrm->watch)
		return refuse("cannot watch the rule set", text);
	nft_hold_watch(xfrm->hold, xfrm->watch);
	if (nfqueue_hold_listen(xfrm->packets, base, take_packet, agent) != 0)
		return refuse("cannot listen to held packets", strerror(errno));
	return 0;
}

static void stop(struct agent *agent)
{
	struct xfrm_backend *xfrm = agent->xfrm;

	if (!xfrm)
		return;
	nfqueue_hold_close(xfrm->packets);
	nft_watch_close(xfrm->watch);
	nft_hold_close(xfrm->hold);
	xfrm_links_close(xfrm->links);
	xfrm_close(xfrm->socket);
	free(xfrm->tunnels);
	free(xfrm);
	agent->xfrm = NULL;
}

/* Interfaces. */

static bool has_interface(struct agent_tunnel *tunnel)
{
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	const char *name = tunnel->peer->tunnel;
	struct rtnl_interface interface;

	if (!rtnl_find_interface(tunnel->agent->rtnl, name, &interface))
		return false;
	/* An interface does not change its type: one that was looked at once is good. */
	if (interface.index != known->interface_index &&
	    !xfrm_link_exists(tunnel->agent->xfrm->links, name, tunnel->core.options.if_id))
		return false;
	known->interface_index = interface.index;
	return true;
}

static void set_hold(struct agent_tunnel *tunnel, bool is_held)
{
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	char why[256];

	if (known->is_hold_known && known->is_held == is_held)
		return;
	known->is_held = is_held;
	known->is_hold_known = nft_hold_set(tunnel->agent->xfrm->hold, tunnel->peer->tunnel,
	                                    is_held, why, sizeof(why));
	if (!known->is_hold_known)
		complain(tunnel, is_held ? "packets cannot be held" : "packets stay held", why);
}

static bool is_no_stray(void *context, const char *name, uint32_t if_id)
{
	const struct agent_tunnel *tunnel = context;

	return if_id != tunnel->core.options.if_id || strcmp(name, tunnel->peer->tunnel) == 0;
}

static int make_interface(struct agent_tunnel *tunnel, char *why, size_t why_size)
{
	const char *name = tunnel->peer->tunnel, *cause;
	struct xfrm_links *links = tunnel->agent->xfrm->links;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);

	/* One that was renamed still has the number. */
	if (xfrm_link_make(links, name, tunnel->core.options.if_id, &cause) != 0 &&
	    (xfrm_link_sweep(links, is_no_stray, tunnel, &cause) != 0 ||
	     xfrm_link_make(links, name, tunnel->core.options.if_id, &cause) != 0)) {
		snprintf(why, why_size, "cannot make the interface %s: %s", name, cause);
		return -1;
	}
	/* Before it is up. The rule that stops what is held is the device's. */
	known->is_hold_known = false;
	set_hold(tunnel, known->is_held);
	return 0;
}

/* States and policies. */

static void put_policies(struct xfrm_batch *batch, const struct xfrm_ends *ends, bool is_deletion)
{
	for (unsigned i = 0; i < xfrm_policy_count(ends); i++) {
		void *next = xfrm_next(batch);

		xfrm_add(batch, is_deletion ? xfrm_put_policy_deletion(next, ends, i)
		                            : xfrm_put_policy(next, ends, i));
	}
}

static void set_policies(struct agent_tunnel *tunnel, const struct sockaddr_in *remote)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	struct xfrm_ends ends = xfrm_ends_of(tunnel, remote);
	int error;

	put_policies(&xfrm->batch, &ends, false);
	error = xfrm_run(xfrm->socket, &xfrm->batch, 0, NULL, NULL);
	if (error)
		complain(tunnel, "the tunnel's policies cannot be set", strerror(error));
	known->has_policies = true;
	known->policy_remote = *remote;
}

static void remove_policies(struct agent_tunnel *tunnel)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	struct xfrm_ends ends = xfrm_ends_of(tunnel, &known->policy_remote);
	int error;

	put_policies(&xfrm->batch, &ends, true);
	error = xfrm_run(xfrm->socket, &xfrm->batch, ENOENT, NULL, NULL);
	if (error)
		complain(tunnel, "the tunnel's policies remain", strerror(error));
	known->has_policies = false;
}

static void count_last(void *context, const struct xfrm_state *state)
{
	struct agent *agent = context;

	xfrm_count(agent, state, bus_mono_usec(agent->bus));
}

static bool is_wanted(const struct sa_table *table, const struct xfrm_sa *sa)
{
	struct sa *const *list = sa->is_inbound ? table->inbound : table->outbound;
	unsigned count = sa->is_inbound ? table->inbound_count : table->outbound_count;

	for (unsigned i = 0; i < count; i++)
		if (list[i]->spi == sa->spi)
			return true;
	return false;
}

/* Deletes the states that the core has given up; what they counted is asked for in the same breath. */
static void remove_states(struct agent_tunnel *tunnel)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	struct xfrm_batch *batch = &xfrm->batch;
	unsigned kept = 0;
	struct xfrm_sa sas[XFRM_TUNNEL_SAS];
	int error;

	for (unsigned i = 0; i < known->sa_count; i++) {
		const struct xfrm_sa *sa = &known->sas[i];
		struct xfrm_ends ends = xfrm_ends_of(tunnel, &sa->remote);

		if (is_wanted(&tunnel->core.sas, sa)) {
			sas[kept++] = *sa;
			continue;
		}
		xfrm_add(batch,
		         xfrm_put_state_question(xfrm_next(batch), &ends, sa->is_inbound, sa->spi));
		xfrm_add(batch,
		         xfrm_put_state_deletion(xfrm_next(batch), &ends, sa->is_inbound, sa->spi));
	}
	if (kept == known->sa_count)
		return;
	/* ESRCH: the kernel itself ended it. */
	error = xfrm_run(xfrm->socket, batch, ESRCH, count_last, tunnel->agent);
	if (error)
		complain(tunnel, "an SA remains in the kernel", strerror(error));
	memcpy(known->sas, sas, kept * sizeof(sas[0]));
	known->sa_count = kept;
}

/* A peer that moved: the outbound SAs to where it was are given up, packets wait until IKE has made one to where it is. */
static void give_up_moved(struct agent_tunnel *tunnel)
{
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);

	if (!tunnel->core.attempt)
		return;
	for (unsigned i = 0; i < known->sa_count; i++)
		if (!known->sas[i].is_inbound &&
		    !is_same_end(&known->sas[i].remote, remote_of(tunnel)))
			tunnel_remove_sa(&tunnel->core, false, known->sas[i].spi, now_usec);
}

/*
 * A peer that rekeys gives up the old child before libcharon orders our outbound SA of the new one: if that is refused for its SPI there is
 * none left, and IKE takes the child for whole. It is asked to replace it, for which the peer chooses another SPI.
 */
static void ask_for_another_spi(struct agent_tunnel *tunnel)
{
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	const struct sa_table *sas = &tunnel->core.sas;
	uint64_t now_usec = bus_mono_usec(tunnel->agent->bus);

	if (sas->inbound_count == 0 || sa_find_outbound(sas, now_usec))
		known->is_spi_taken = false;
	if (!known->is_spi_taken || now_usec < known->spi_asked_usec + SPI_PAUSE_USEC)
		return;
	known->spi_asked_usec = now_usec;
	ike_relay_report_limit(tunnel, sas->inbound[sas->inbound_count - 1]->spi, false);
}

/* A tunnel is held unless its session is open and it can send; one that is adopted, until it is known whose it is. */
static bool wants_hold(const struct agent_tunnel *tunnel, struct xfrm_tunnel *known)
{
	const struct tunnel *core = &tunnel->core;

	if (!sa_find_outbound(&core->sas, bus_mono_usec(tunnel->agent->bus))) {
		known->is_adopted = false;
		return true;
	}
	if (core->state == TUNNEL_OPEN)
		known->is_adopted = false;
	return !known->is_adopted && core->state != TUNNEL_OPEN;
}

/* What waits in the queue goes before what finds no hold any more; taking it settles the tunnel once more, from within. */
static void end_hold(struct agent_tunnel *tunnel)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);

	if (known->is_held && !xfrm->releasing) {
		xfrm->releasing = tunnel;
		nfqueue_hold_take(xfrm->packets);
		xfrm->releasing = NULL;
	}
	set_hold(tunnel, wants_hold(tunnel, known));
}

static void settle(struct agent_tunnel *tunnel)
{
	struct xfrm_tunnel *known;

	if (tunnel->agent->is_purged || !tunnel->agent->xfrm)
		return;
	known = xfrm_tunnel_of(tunnel);
	give_up_moved(tunnel);
	remove_states(tunnel);
	ask_for_another_spi(tunnel);
	if (known->sa_count == 0 && known->has_policies)
		remove_policies(tunnel);
	else if (known->sa_count > 0 && tunnel->core.attempt &&
	         (!known->has_policies || !is_same_end(&known->policy_remote, remote_of(tunnel))))
		set_policies(tunnel, remote_of(tunnel));
	if (wants_hold(tunnel, known))
		set_hold(tunnel, true);
	else if (tunnel != tunnel->agent->xfrm->releasing)
		end_hold(tunnel);
}

static const char *explain(int error)
{
	return error == EEXIST
	               ? "another SA to the peer's address has this SPI: it must choose another"
	               : strerror(error);
}

/* Enters one order in the core. */
static int enter(struct agent_tunnel *tunnel, const struct sa_order *order, const char **why)
{
	const struct esp_options *options = &order->options;
	char algorithms[SA_ALGORITHMS_SIZE];

	xfrm_print_algorithms(xfrm_find_cipher(options->encryption),
	                      xfrm_find_digest(options->integrity), options->encryption_key_size,
	                      options->has_extended_sequence, algorithms, sizeof(algorithms));
	return tunnel_enter_sa(&tunnel->core, order->spi, options->is_inbound, algorithms,
	                       &order->terms, bus_mono_usec(tunnel->agent->bus), why);
}

/* Orders these states of the kernel and notes those that it made. 0, or an errno. */
static int order_states(struct agent_tunnel *tunnel, const struct sockaddr_in *remote,
                        const struct sa_order *const *orders, size_t count)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	struct xfrm_ends ends = xfrm_ends_of(tunnel, remote);
	int error;

	for (size_t i = 0; i < count; i++)
		xfrm_add(&xfrm->batch, xfrm_put_state(xfrm_next(&xfrm->batch), &ends, orders[i],
		                                      tunnel->peer->ipsec_profile));
	error = xfrm_run(xfrm->socket, &xfrm->batch, 0, NULL, NULL);
	for (size_t i = 0; i < count; i++)
		/* A state of the same number as a refused one is another session's: it is never to be deleted with ours. */
		if (xfrm->batch.errors[i] == 0)
			known->sas[known->sa_count++] = (struct xfrm_sa){
				.spi = orders[i]->spi,
				.is_inbound = orders[i]->options.is_inbound,
				.remote = *remote,
			};
	return error;
}

static void forget_orders(struct agent_tunnel *tunnel, const struct sa_order *const *orders,
                          size_t count)
{
	for (size_t i = 0; i < count; i++)
		tunnel_remove_sa(&tunnel->core, orders[i]->options.is_inbound, orders[i]->spi,
		                 bus_mono_usec(tunnel->agent->bus));
	remove_states(tunnel);
}

static int install_sas(struct agent_tunnel *tunnel, const struct sa_order *orders, size_t count,
                       const char **why)
{
	const struct sockaddr_in *remote = remote_of_new(tunnel);
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	const struct sa_order *added[2];
	size_t added_count = 0;
	int error;

	if (!remote) {
		*why = "the tunnel has no peer";
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		if (!xfrm_check_options(&orders[i].options, why))
			return -1;
	for (size_t i = 0; i < count; i++) {
		const struct sa_order *order = &orders[i];

		if (xfrm_find_sa(known, order->options.is_inbound, order->spi))
			continue;
		/* Entered first: what the kernel then refuses is taken back by the same means as anything else. */
		if (enter(tunnel, order, why) != 0) {
			forget_orders(tunnel, added, added_count);
			return -1;
		}
		added[added_count++] = order;
	}
	error = order_states(tunnel, remote, added, added_count);
	if (error) {
		*why = explain(error);
		complain(tunnel, "an SA cannot be installed", *why);
		forget_orders(tunnel, added, added_count);
		known->is_spi_taken = error == EEXIST;
		return -1;
	}
	return 0;
}

static void purge(struct agent_tunnel *tunnel)
{
	struct xfrm_backend *xfrm = tunnel->agent->xfrm;
	struct xfrm_tunnel *known = xfrm_tunnel_of(tunnel);
	const char *cause;
	char why[256];

	sa_remove_all(&tunnel->core.sas);
	remove_states(tunnel);
	if (known->has_policies)
		remove_policies(tunnel);
	if (has_interface(tunnel) &&
	    xfrm_link_remove(xfrm->links, tunnel->peer->tunnel, &cause) != 0)
		complain(tunnel, "the interface remains", cause);
	if (!nft_hold_purge(xfrm->hold, why, sizeof(why)))
		complain(tunnel, "the table vpnsip_hold remains", why);
}

/* The kernel passes on what is too short for ESP. */
static void take_esp(struct agent_tunnel *tunnel, const struct udp_packet *packet,
                     uint64_t now_usec)
{
	(void)packet;
	(void)now_usec;
	tunnel->core.drops[DROP_TOO_SHORT]++;
}

const struct backend backend_kernel = {
	.name = "kernel",
	.outlives_process = true,
	.prepare = prepare,
	.start = start,
	.stop = stop,
	.has_interface = has_interface,
	.make_interface = make_interface,
	.purge = purge,
	.install_sas = install_sas,
	.settle = settle,
	.measure = xfrm_measure,
	.send_held = send_held,
	.take_esp = take_esp,
};
