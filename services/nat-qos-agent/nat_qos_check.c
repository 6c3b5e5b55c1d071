/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What is in the kernel compared with what was ordered, and mended: as soon as the kernel tells of a change, and from time to
 * time, for a notification can be lost.
 */
#include <event2/event.h>
#include <stdio.h>
#include <string.h>

#include "nat_qos_agent.h"
#include "ruleset.h"
#include "services/common/log.h"
#include "sip_alg.h"

#define WHY_SIZE 256

/*
 * Also how long after the start a shaper without a translation may still be claimed: the coordinator compares at once when it sees
 * a new start of ours, and takes 15 s at the most for its own.
 */
static const struct timeval check_time = {.tv_sec = 20};
static const struct timeval retry_time = {.tv_sec = 1};
static const struct timeval settle_time = {.tv_usec = 20000};
static const struct timeval at_once = {0};

#define SWEEP_SLICE 32 /* tunnels looked at without a pause: about a millisecond */

void nat_qos_rebuild_or_retry(struct nat_qos_agent *agent)
{
	char why[WHY_SIZE];

	if (nat_qos_rebuild(agent, why, sizeof(why)))
		return;
	agent->counters.failures++;
	log_line(LOG_ERR, "cannot make table " RULESET_TABLE ": %s", why);
	evtimer_add(agent->retry_timer, &retry_time);
}

static void retry(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	nat_qos_rebuild_or_retry(context);
}

static void remake_table(struct nat_qos_agent *agent, const char *what)
{
	agent->counters.table_repairs++;
	log_line(LOG_WARNING, "table " RULESET_TABLE_NAME ": %s: it is made anew", what);
	bus_trace(agent->service->bus, NULL, 0, VPNSIP__TRACE_KIND__TRACE_KERNEL, NULL, false,
	          "table " RULESET_TABLE_NAME " made anew: %s", what);
	nat_qos_rebuild_or_retry(agent);
}

void nat_qos_look_for_alg(struct nat_qos_agent *agent, bool looks_at_rules)
{
	unsigned signs = sip_alg_look("/proc/modules",
	                              "/proc/sys/net/netfilter/nf_conntrack_helper");

	if (looks_at_rules ? nft_table_has_sip_helper(agent->nft)
	                   : (agent->sip_alg_signs & SIP_ALG_RULE) != 0)
		signs |= SIP_ALG_RULE;
	for (unsigned i = 0; i < SIP_ALG_SIGNS; i++)
		if (signs & ~agent->sip_alg_signs & 1u << i)
			log_line(LOG_WARNING, "SIP ALG: %s", sip_alg_text(1u << i));
	agent->sip_alg_signs = signs;
}

void nat_qos_table_changed(void *context, const struct nft_change *change)
{
	struct nat_qos_agent *agent = context;

	if (change->is_ours && !agent->is_purged)
		remake_table(agent, change->what);
	if (change->is_helpers)
		nat_qos_look_for_alg(agent, true);
}

static void restore_shaper(struct nat_qos_agent *agent, const struct tunnel_orders *orders)
{
	const char *tunnel = orders->peer->tunnel, *number = orders->peer->number;
	char why[WHY_SIZE];

	if (!qdisc_install(agent->qdisc, tunnel, orders->shaper.rate_kbit,
	                   orders->shaper.overhead_byte, why, sizeof(why))) {
		agent->counters.failures++;
		log_session(LOG_ERR, tunnel, number, "%s", why);
		return;
	}
	agent->counters.shaper_repairs++;
	log_session(LOG_WARNING, tunnel, number,
	            "the shaper of %u kbit/s was gone: installed again", orders->shaper.rate_kbit);
	bus_trace(agent->service->bus, tunnel, orders->shaper.attempt,
	          VPNSIP__TRACE_KIND__TRACE_KERNEL, NULL, false,
	          "shaper of %u kbit/s was gone, installed again", orders->shaper.rate_kbit);
}

static void check_shaper(struct nat_qos_agent *agent, struct tunnel_orders *orders)
{
	const char *tunnel = orders->peer->tunnel, *number = orders->peer->number;
	struct qdisc_statistics statistics;
	char text[64];
	enum qdisc_state state;

	if (qdisc_read(agent->qdisc, tunnel, &statistics) &&
	    statistics.rate_kbit == orders->shaper.rate_kbit) {
		orders->is_displaced = false;
		return;
	}
	state = qdisc_look(agent->qdisc, tunnel, text, sizeof(text));
	if (state == QDISC_NONE || state == QDISC_OURS)
		restore_shaper(agent, orders);
	else if (state == QDISC_FOREIGN && !orders->is_displaced)
		log_session(LOG_ERR, tunnel, number,
		            "the foreign qdisc %s took the place of the shaper: tc qdisc del dev "
		            "%s root",
		            text, tunnel);
	orders->is_displaced = state == QDISC_FOREIGN;
}

bool nat_qos_is_without_session(const struct tunnel_orders *orders)
{
	return orders && orders->reserved_attempt == 0 && orders->translation.attempt == 0 &&
	       orders->shaper.attempt == 0;
}

static void remove_leftover(struct nat_qos_agent *agent, const struct tunnel_orders *orders)
{
	const char *tunnel = orders->peer->tunnel, *number = orders->peer->number;
	char text[64], why[WHY_SIZE];

	if (qdisc_look(agent->qdisc, tunnel, text, sizeof(text)) != QDISC_OURS)
		return;
	if (!qdisc_remove(agent->qdisc, tunnel, why, sizeof(why))) {
		agent->counters.failures++;
		log_session(LOG_WARNING, tunnel, number, "%s", why);
		return;
	}
	agent->counters.leftovers_removed++;
	log_session(LOG_NOTICE, tunnel, number, "a shaper that no session owns is removed");
}

/* All tunnels, in slices, so that no order waits for them. */
static void start_sweep(struct nat_qos_agent *agent)
{
	agent->sweep_next = 0;
	evtimer_add(agent->sweep_timer, &at_once);
}

static void sweep(evutil_socket_t fd, short what, void *context)
{
	struct nat_qos_agent *agent = context;
	size_t end = agent->sweep_next + SWEEP_SLICE;

	(void)fd;
	(void)what;
	if (agent->is_purged)
		return;
	if (end > agent->core->tunnel_count)
		end = agent->core->tunnel_count;
	for (; agent->sweep_next < end; agent->sweep_next++) {
		struct tunnel_orders *orders = &agent->core->tunnels[agent->sweep_next];

		if (orders->shaper.attempt != 0)
			check_shaper(agent, orders);
		else if (nat_qos_is_without_session(orders))
			remove_leftover(agent, orders);
	}
	if (agent->sweep_next < agent->core->tunnel_count)
		evtimer_add(agent->sweep_timer, &at_once);
}

/* A shaper goes with its interface; it comes back with it. Changes come in bursts: they are looked at when they have settled. */
void nat_qos_interface_changed(void *context, const char *interface)
{
	struct nat_qos_agent *agent = context;
	struct tunnel_orders *changed = NULL;

	if (interface == NULL) {
		start_sweep(agent);
		return;
	}
	changed = translation_core_find(agent->core, interface);
	if (changed == NULL || changed->shaper.attempt == 0)
		return;
	changed->is_suspect = true;
	if (!evtimer_pending(agent->settled_timer, NULL))
		evtimer_add(agent->settled_timer, &settle_time);
}

static void changes_settled(evutil_socket_t fd, short what, void *context)
{
	struct nat_qos_agent *agent = context;

	(void)fd;
	(void)what;
	for (size_t i = 0; i < agent->core->tunnel_count; i++) {
		struct tunnel_orders *orders = &agent->core->tunnels[i];

		if (orders->is_suspect && orders->shaper.attempt != 0 && !agent->is_purged)
			check_shaper(agent, orders);
		orders->is_suspect = false;
	}
}

/* What the SIP guard has dropped since the last look, a line for each class: as sip-agent tells of its own. */
static void tell_guard_drops(struct nat_qos_agent *agent)
{
	static const char prefix[] = "guard-";
	struct nft_counter counters[NFT_COUNTERS_MAXIMUM];
	size_t count = nft_table_read_counters(agent->nft, counters, NFT_COUNTERS_MAXIMUM);

	for (size_t i = 0; i < count; i++) {
		const char *class = counters[i].name + strlen(prefix);
		uint64_t before = agent->guard_drops[i];

		if (strncmp(counters[i].name, prefix, strlen(prefix)) != 0 ||
		    strcmp(class, "accepted") == 0)
			continue;
		/* A table that was made anew counts from zero. */
		if (counters[i].packets < before)
			before = 0;
		if (counters[i].packets > before)
			log_line(LOG_NOTICE, "sip.guard.drop class=%s packets=%llu", class,
			         (unsigned long long)(counters[i].packets - before));
		agent->guard_drops[i] = counters[i].packets;
	}
}

static void check(evutil_socket_t fd, short what, void *context)
{
	struct nat_qos_agent *agent = context;

	(void)fd;
	(void)what;
	if (agent->is_purged)
		return;
	agent->counters.checks++;
	tell_guard_drops(agent);
	nat_qos_look_for_alg(agent, false);
	if (!nft_table_is_watched(agent->nft))
		remake_table(agent, "changes may have been missed");
	start_sweep(agent);
}

bool nat_qos_make_timers(struct nat_qos_agent *agent)
{
	struct event_base *base = agent->service->base;

	agent->retry_timer = evtimer_new(base, retry, agent);
	agent->settled_timer = evtimer_new(base, changes_settled, agent);
	agent->sweep_timer = evtimer_new(base, sweep, agent);
	agent->check_timer = event_new(base, -1, EV_PERSIST, check, agent);
	return agent->retry_timer != NULL && agent->settled_timer != NULL &&
	       agent->sweep_timer != NULL && agent->check_timer != NULL;
}

void nat_qos_free_timers(struct nat_qos_agent *agent)
{
	struct event *const timers[] = {agent->retry_timer, agent->settled_timer,
	                                agent->sweep_timer, agent->check_timer};

	for (size_t i = 0; i < sizeof(timers) / sizeof(*timers); i++)
		if (timers[i] != NULL)
			event_free(timers[i]);
}

bool nat_qos_start_checks(struct nat_qos_agent *agent)
{
	return event_add(agent->check_timer, &check_time) == 0;
}

static void describe_tunnel(struct bus_description *description, const struct tunnel_orders *orders)
{
	const struct translation *translation = &orders->translation;

	bus_describe(description,
	             "%s %s: reserved port %u of attempt %llu, translation of attempt %llu, "
	             "shaper of attempt %llu at %u kbit/s, highest attempt %llu, ended %llu%s",
	             orders->peer->tunnel, orders->peer->number, orders->reserved_port,
	             (unsigned long long)orders->reserved_attempt,
	             (unsigned long long)translation->attempt,
	             (unsigned long long)orders->shaper.attempt, orders->shaper.rate_kbit,
	             (unsigned long long)orders->highest_attempt,
	             (unsigned long long)orders->ended_attempt,
	             orders->is_displaced ? ", a foreign qdisc stands there" : "");
}

void nat_qos_describe(void *context, struct bus_description *description)
{
	struct nat_qos_agent *agent = ((struct service_context *)context)->state;
	const struct nat_qos_counters *counters = &agent->counters;
	size_t translations = 0, shapers = 0;

	for (size_t i = 0; i < agent->core->tunnel_count; i++) {
		const struct tunnel_orders *orders = &agent->core->tunnels[i];

		describe_tunnel(description, orders);
		translations += orders->translation.attempt != 0;
		shapers += orders->shaper.attempt != 0;
	}
	if (agent->is_purged)
		bus_describe(description, "purged by order: nothing is installed until a restart");
	bus_describe_counter(description, "translations", translations);
	bus_describe_counter(description, "shapers", shapers);
	bus_describe_counter(description, "translations.adopted", counters->adopted);
	bus_describe_counter(description, "orders.stale", counters->stale_orders);
	bus_describe_counter(description, "orders.repeated", counters->repeated_orders);
	bus_describe_counter(description, "checks", counters->checks);
	bus_describe_counter(description, "repairs.table", counters->table_repairs);
	bus_describe_counter(description, "repairs.shaper", counters->shaper_repairs);
	bus_describe_counter(description, "leftovers.removed", counters->leftovers_removed);
	bus_describe_counter(description, "failures", counters->failures);
}
