/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/tunnel-agent/tunnel_agent.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/common/log_condition.h"
#include "services/tunnel-agent/agent.h"

#define HOLD_SECONDS 2
#define SECOND_USEC  1000000u

/* Not freed with the rest: calls to ike-agent that are in flight are failed after stop(), when the bus closes. */
static struct agent the_agent;

static size_t hash_mark(const struct agent *agent, uint32_t mark)
{
	return mark * UINT32_C(2654435761) & agent->mark_mask;
}

struct agent_tunnel *agent_find_mark(const struct agent *agent, uint32_t mark)
{
	struct agent_tunnel *tunnel;

	for (size_t i = hash_mark(agent, mark); (tunnel = agent->by_mark[i]) != NULL;
	     i = (i + 1) & agent->mark_mask)
		if (tunnel->core.options.if_id == mark)
			return tunnel;
	return NULL;
}

struct agent_tunnel *agent_find_name(const struct agent *agent, const char *name)
{
	const struct config_peer *peer = config_peer_by_tunnel(agent->service->config, name);

	return peer ? agent_find_mark(agent, peer->if_id) : NULL;
}

/** What the conditions of the debug log ask for. */
static void know_session(const struct agent_tunnel *tunnel)
{
	const struct sa_table *sas = &tunnel->core.sas;
	uint32_t spis[2 * SA_MAXIMUM];
	size_t count = 0;

	for (unsigned i = sas->inbound_count; i > 0; i--)
		spis[count++] = sas->inbound[i - 1]->spi;
	for (unsigned i = sas->outbound_count; i > 0; i--)
		spis[count++] = sas->outbound[i - 1]->spi;
	log_condition_know(tunnel->peer->tunnel, &tunnel->core.remote, spis, count);
}

/* Failures of the last second, if somebody wants to see them. */
static void note_failures(struct agent_tunnel *tunnel)
{
	static const enum drop_reason failures[] = {
		DROP_NO_SA,           DROP_SEAL_FAILED, DROP_SEND_REFUSED,    DROP_UNKNOWN_SPI,
		DROP_LIFETIME,        DROP_REPLAY,      DROP_INTEGRITY,       DROP_PADDING,
		DROP_IKE_QUEUE_FULL,  DROP_ECN,         DROP_IKE_UNDELIVERED, DROP_REPORT_SPI,
		DROP_REPORT_SEQUENCE, DROP_REPORT_SIZE,
	};
	const struct config_peer *peer = tunnel->peer;

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		uint64_t now = tunnel->core.drops[failures[i]];
		uint64_t *noted = &tunnel->noted_drops[failures[i]];

		if (now == *noted)
			continue;
		know_session(tunnel);
		log_debug(LOG_TUNNEL_ERROR, peer->tunnel, peer->number,
		          "%" PRIu64 " packets dropped: %s", now - *noted,
		          drop_reason_names[failures[i]]);
		*noted = now;
	}
}

void agent_note(struct agent_tunnel *tunnel, const char *format, ...)
{
	const struct config_peer *peer = tunnel->peer;
	char text[192];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	bus_trace(tunnel->agent->bus, peer->tunnel, tunnel->core.attempt,
	          VPNSIP__TRACE_KIND__TRACE_KERNEL, NULL, false, "%s", text);
	if (!log_is_on(LOG_TUNNEL, peer->tunnel))
		return;
	know_session(tunnel);
	log_debug(LOG_TUNNEL, peer->tunnel, peer->number, "%s", text);
}

void agent_note_move(struct agent_tunnel *tunnel)
{
	char text[ADDRESS_TEXT_SIZE];

	agent_note(tunnel, "peer moved to %s", address_format_port(&tunnel->core.remote, text));
	log_session(LOG_NOTICE, tunnel->peer->tunnel, tunnel->peer->number,
	            "the peer's packets come from %s now: ours go there", text);
}

static void note_changes(struct agent_tunnel *tunnel)
{
	const struct tunnel *core = &tunnel->core;

	if (core->state != tunnel->noted_state)
		agent_note(tunnel, "%s -> %s, %u held", tunnel_state_names[tunnel->noted_state],
		           tunnel_state_names[core->state], core->hold.count);
	tunnel->noted_state = core->state;
	if (core->orphans_removed != tunnel->noted_orphans)
		log_session(LOG_WARNING, tunnel->peer->tunnel, tunnel->peer->number,
		            "SAs removed: for %u s no IKE session answered for them",
		            TUNNEL_ORPHAN_SA_USEC / SECOND_USEC);
	tunnel->noted_orphans = core->orphans_removed;
}

void agent_settle(struct agent_tunnel *tunnel)
{
	const struct sa *sa;
	uint32_t spi;
	bool is_hard;

	note_changes(tunnel);
	interfaces_follow_path(tunnel);
	if (tunnel->agent->backend->settle)
		tunnel->agent->backend->settle(tunnel);
	while ((sa = tunnel_next_sa_report(&tunnel->core, &is_hard)) != NULL)
		ike_relay_report_limit(tunnel, sa->spi, is_hard);
	if (tunnel_next_unknown_spi(&tunnel->core, &spi))
		ike_relay_report_unknown_spi(tunnel, spi);
	if (tunnel->core.state == TUNNEL_DRAINING)
		data_path_schedule_drain(tunnel);
	if (tunnel->core.revision != tunnel->published_revision)
		status_publish(tunnel);
}

static bool has_condition(const struct tunnel *core, uint64_t now_usec)
{
	return core->state == TUNNEL_WANTING || core->is_idle || core->is_dead ||
	       core->is_one_way || tunnel_wants_sa(core, now_usec);
}

static void advance_tunnel(struct agent_tunnel *tunnel, uint64_t now_usec, bool is_new_second)
{
	struct tunnel *core = &tunnel->core;

	tunnel_advance(core, now_usec);
	if (tunnel_needs_keepalive(core, now_usec))
		data_path_send_keepalive(tunnel, now_usec);
	if (is_new_second) {
		bool has_moved = tunnel_sample(core, now_usec);

		if (log_is_on(LOG_TUNNEL_ERROR, tunnel->peer->tunnel))
			note_failures(tunnel);

		if (has_moved || has_condition(core, now_usec))
			core->revision++;
	}
	agent_settle(tunnel);
}

static void arm_tick(struct agent *agent, uint64_t now_usec)
{
	uint64_t next_usec = agent->next_second_usec;
	struct timeval delay;

	for (size_t i = 0; i < agent->tunnel_count; i++) {
		uint64_t deadline_usec = tunnel_next_deadline_usec(&agent->tunnels[i].core);

		if (deadline_usec < next_usec)
			next_usec = deadline_usec;
	}
	delay.tv_sec = 0;
	delay.tv_usec = next_usec > now_usec ? (suseconds_t)(next_usec - now_usec) : 0;
	if (delay.tv_usec >= (suseconds_t)SECOND_USEC)
		delay = (struct timeval){.tv_sec = 1};
	event_add(agent->tick, &delay);
}

static void tick(evutil_socket_t descriptor, short what, void *context)
{
	struct agent *agent = context;
	uint64_t now_usec = bus_mono_usec(agent->bus);
	bool is_new_second = now_usec >= agent->next_second_usec;
	bool has_fault = agent->fault[0];

	if (agent->backend->measure)
		agent->backend->measure(agent, now_usec);

	(void)descriptor;
	(void)what;
	for (size_t i = 0; i < agent->tunnel_count; i++) {
		has_fault |= agent->tunnels[i].fault[0] != '\0';
		advance_tunnel(&agent->tunnels[i], now_usec, is_new_second);
	}
	if (is_new_second) {
		agent->next_second_usec = now_usec + SECOND_USEC;
		if (has_fault)
			interfaces_repair(agent);
	}
	arm_tick(agent, now_usec);
}

static int collect_probe_targets(struct agent *agent, const struct config *config)
{
	agent->probe_targets = calloc(config->sla_count + 1, sizeof(*agent->probe_targets));
	if (!agent->probe_targets)
		return -1;
	for (size_t i = 0; i < config->sla_count; i++) {
		const struct sockaddr_in *target = (struct sockaddr_in *)&config->slas[i].target;

		if (target->sin_family == AF_INET)
			agent->probe_targets[agent->probe_target_count++] = target->sin_addr.s_addr;
	}
	return 0;
}

static void make_tunnel(struct agent *agent, const struct config *config,
                        const struct config_peer *peer)
{
	const struct config_ike_profile *ike = peer->ike_profile;
	const struct config_ipsec_profile *ipsec = peer->ipsec_profile;
	struct agent_tunnel *tunnel = &agent->tunnels[agent->tunnel_count];
	struct tunnel_options options = {
		.name = peer->tunnel,
		.if_id = peer->if_id,
		.idle_usec = (uint64_t)ipsec->idle_msec * 1000,
		.dead_usec = (uint64_t)config_dead_peer_sec(ike) * SECOND_USEC,
		.keepalive_usec = (uint64_t)ike->nat_keepalive_sec * SECOND_USEC,
		.hold_usec = (uint64_t)config->timer_msec[TIMER_HOLD] * 1000,
		.hold_bytes = (size_t)peer->bandwidth_kbit * 1000 / 8 * HOLD_SECONDS,
		.largest_packet = AGENT_PACKET_MAXIMUM,
		.load_interval_sec = peer->load_interval_sec,
		.probe_targets = agent->probe_targets,
		.probe_target_count = agent->probe_target_count,
		.outer = {ipsec->df_bit, ipsec->ecn, ipsec->copies_dscp},
		.is_dual_overlay = peer->is_dual_overlay,
		.dummy_rate = ipsec->dummy_rate,
		.dummy_usec = (uint64_t)ipsec->dummy_interval_sec * SECOND_USEC,
		.recovers_unknown_spi = ipsec->recovers_invalid_spi,
	};
	size_t slot;

	tunnel_init(&tunnel->core, &options);
	tunnel->agent = agent;
	tunnel->peer = peer;
	tunnel->descriptor = -1;
	agent->tunnel_count++;
	slot = hash_mark(agent, peer->if_id);
	while (agent->by_mark[slot])
		slot = (slot + 1) & agent->mark_mask;
	agent->by_mark[slot] = tunnel;
}

static int make_tunnels(struct agent *agent, const struct config *config)
{
	size_t slots = 2;

	while (slots < 2 * config->peer_count + 1)
		slots *= 2;
	agent->mark_mask = slots - 1;
	agent->by_mark = calloc(slots, sizeof(struct agent_tunnel *));
	agent->tunnels = calloc(config->peer_count + 1, sizeof(*agent->tunnels));
	if (!agent->by_mark || !agent->tunnels || collect_probe_targets(agent, config) != 0)
		return -1;
	for (size_t i = 0; config->is_enabled && i < config->peer_count; i++)
		if (config->peers[i].is_enabled)
			make_tunnel(agent, config, &config->peers[i]);
	return 0;
}

int tunnel_agent_prepare(struct service_context *service)
{
	const struct config *config = service->config;
	struct agent *agent = &the_agent;
	struct sockaddr_storage local = config->tunnel_source;
	char why[256];

	service->state = agent;
	agent->udp = -1;
	agent->path_socket = path_watch_open();
	agent->service = service;
	agent->backend = backend_choose(agent, why, sizeof(why));
	if (!agent->backend) {
		log_line(LOG_ERR, "data-plane = kernel: %s", why);
		return -1;
	}
	log_line(LOG_NOTICE, "data plane %s%s%s", agent->backend->name, why[0] ? ": " : "", why);
	if (agent->backend->prepare(agent, why, sizeof(why)) != 0) {
		log_line(LOG_ERR, "%s", why);
		return -1;
	}
	address_set_port(&local, UDP_IKE_PORT);
	agent->udp = udp_open(&local, why, sizeof(why));
	if (agent->udp < 0) {
		log_line(LOG_ERR, "%s", why);
		return -1;
	}
	return 0;
}

int tunnel_agent_start(struct service_context *service)
{
	struct agent *agent = service->state;

	agent->bus = service->bus;
	agent->tick = event_new(service->base, -1, 0, tick, agent);
	if (!agent->tick || make_tunnels(agent, service->config) != 0 ||
	    data_path_start(agent) != 0 || path_watch_start(agent) != 0) {
		log_line(LOG_ERR, "out of memory");
		return -1;
	}
	if (agent->backend->start(agent) != 0 || interfaces_start(agent) != 0)
		return -1;
	tick(-1, EV_TIMEOUT, agent);
	return 0;
}

void tunnel_agent_stop(struct service_context *service)
{
	struct agent *agent = service->state;

	path_watch_stop(agent);
	data_path_stop(agent);
	interfaces_stop(agent);
	agent->backend->stop(agent);
	for (size_t i = 0; i < agent->tunnel_count; i++)
		tunnel_destroy(&agent->tunnels[i].core);
	event_free(agent->tick);
	close(agent->udp);
	free(agent->probe_targets);
	free(agent->by_mark);
	service->state = NULL;
}
