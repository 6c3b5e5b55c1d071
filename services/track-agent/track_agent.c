/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "track_agent.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/log.h"

static const struct timeval retry_time = {.tv_sec = 1};

static void log_track(const struct track *track)
{
	char target[ADDRESS_TEXT_SIZE];
	enum track_state status = track_status(track);
	const char *text = "up";

	if (status == TRACK_STATE_UNKNOWN)
		return;
	if (status == TRACK_STATE_DOWN)
		text = "down";
	else if (!track_allows_route(track))
		text = "up, its routes return after the failback time";
	log_line(LOG_NOTICE, "track %u (icmp-echo %s): %s (%s)", track->config->number,
	         address_format(&track->probe->sla->target, target), text,
	         track->probe->return_code);
}

static void publish_wans(struct track_agent *agent, const struct netfacts *facts)
{
	const struct config *config = agent->service->config;

	for (size_t i = 0; i < config->line_count; i++) {
		struct wan_state state = wan_evaluate(&config->lines[i], facts);

		if (wan_state_is_equal(&state, &agent->wans[i]))
			continue;
		agent->wans[i] = state;
		if (!state.is_up)
			log_line(LOG_WARNING, "%s: %s", config->lines[i].wan_interface,
			         state.cause);
		track_publish_wan(agent, i);
	}
}

static const struct shown_route *find_shown(const struct shown_route *routes, size_t count,
                                            const struct planned_route *planned)
{
	for (size_t i = 0; i < count; i++)
		if (netfacts_route_is_same(&routes[i].planned.route, &planned->route) &&
		    strcmp(routes[i].planned.interface, planned->interface) == 0)
			return &routes[i];
	return NULL;
}

static bool is_shown_as(const struct shown_route *before, const struct shown_route *now)
{
	return before != NULL && before->is_installed == now->is_installed &&
	       address_is_equal(&before->planned.route.gateway, &now->planned.route.gateway) &&
	       strcmp(before->planned.cause, now->planned.cause) == 0;
}

/* Publishes what differs from the last time, and what is gone. */
static void show_routes(struct track_agent *agent, const struct route_plan *plan,
                        const struct netfacts *facts)
{
	struct shown_route *shown = calloc(plan->route_count + 1, sizeof(*shown));
	char prefix[ADDRESS_TEXT_SIZE];

	if (shown == NULL)
		return;
	for (size_t i = 0; i < plan->route_count; i++) {
		shown[i].planned = plan->routes[i];
		shown[i].is_installed = plan->routes[i].is_wanted &&
		                        route_plan_is_installed(&plan->routes[i], facts);
		if (is_shown_as(find_shown(agent->shown, agent->shown_count, &plan->routes[i]),
		                &shown[i]))
			continue;
		log_line(
			LOG_INFO, "route %s %s metric %u table %u: %s%s%s",
			address_format_prefix(&shown[i].planned.route.destination,
		                              shown[i].planned.route.prefix_length, prefix),
			shown[i].planned.interface[0] != '\0' ? shown[i].planned.interface : "unreachable",
			shown[i].planned.route.metric, shown[i].planned.route.table,
			shown[i].is_installed ? "installed" : "not installed",
			shown[i].planned.cause[0] != '\0' ? ": " : "", shown[i].planned.cause);
		track_publish_route(agent, &shown[i]);
	}
	for (size_t i = 0; i < agent->shown_count; i++) {
		struct shown_route gone = agent->shown[i];

		if (find_shown(shown, plan->route_count, &gone.planned) != NULL)
			continue;
		gone.is_installed = false;
		snprintf(gone.planned.cause, sizeof(gone.planned.cause), "removed");
		track_publish_route(agent, &gone);
	}
	free(agent->shown);
	agent->shown = shown;
	agent->shown_count = plan->route_count;
}

/* Reads the kernel, makes it as planned, reads it back, and tells what changed. */
static void reconcile(struct track_agent *agent)
{
	struct netfacts facts;
	struct route_plan plan;
	size_t failures = 0;

	if (agent->is_purged || !rtnetlink_read(agent->rtnetlink, &facts))
		return;
	plan = route_plan_build(agent->service->config, &facts, agent->tracks);
	if (plan.is_complete)
		failures = route_plan_apply(&plan, &facts, rtnetlink_change, agent->rtnetlink);
	publish_wans(agent, &facts);
	netfacts_free(&facts);
	if (plan.is_complete && rtnetlink_read(agent->rtnetlink, &facts)) {
		show_routes(agent, &plan, &facts);
		netfacts_free(&facts);
	}
	if (failures > 0 || !plan.is_complete)
		evtimer_add(agent->retry_timer, &retry_time);
	route_plan_free(&plan);
	bus_touch_state(agent->service->bus);
}

static void kernel_changed(void *context)
{
	reconcile(context);
}

static void retry(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	reconcile(context);
}

static void publish_tracks(struct track_agent *agent)
{
	bool has_changed = false;

	for (size_t i = 0; i < agent->tracks->track_count; i++) {
		struct track *track = &agent->tracks->tracks[i];

		if (!track_take_change(track))
			continue;
		has_changed = true;
		log_track(track);
		track_publish_track(agent, track);
	}
	if (has_changed)
		reconcile(agent);
}

static void arm_probe_timer(struct track_agent *agent)
{
	uint64_t now_usec = bus_mono_usec(agent->service->bus);
	uint64_t deadline_usec = track_core_deadline(agent->tracks);
	uint64_t wait_usec = deadline_usec > now_usec ? deadline_usec - now_usec : 0;
	struct timeval wait = {.tv_sec = wait_usec / 1000000, .tv_usec = wait_usec % 1000000};

	if (deadline_usec != UINT64_MAX)
		evtimer_add(agent->probe_timer, &wait);
}

static void answer_arrived(void *context, uint16_t sequence, const struct sockaddr_storage *source)
{
	struct track_agent *agent = context;

	track_core_answered(agent->tracks, sequence, source, bus_mono_usec(agent->service->bus));
	publish_tracks(agent);
	arm_probe_timer(agent);
}

static void send_probe(struct track_agent *agent, struct probe *probe)
{
	uint16_t sequence = track_core_next_sequence(agent->tracks);
	uint64_t now_usec = bus_mono_usec(agent->service->bus);
	int error = icmp_probe_send(agent->icmp, &probe->sla->target, probe->sla->interface,
	                            sequence);

	if (error == 0)
		track_core_sent(agent->tracks, probe, sequence, now_usec);
	else
		track_core_send_failed(agent->tracks, probe, strerrordesc_np(-error), now_usec);
}

static void probe_timer_fired(evutil_socket_t fd, short what, void *context)
{
	struct track_agent *agent = context;
	struct probe *probe;

	(void)fd;
	(void)what;
	icmp_probe_receive(agent->icmp);
	track_core_expire(agent->tracks, bus_mono_usec(agent->service->bus));
	while ((probe = track_core_due(agent->tracks, bus_mono_usec(agent->service->bus))) != NULL)
		send_probe(agent, probe);
	publish_tracks(agent);
	arm_probe_timer(agent);
}

/*
 * After a restart the kernel remembers what the tracks said: our routes are there, but not those of a track
 * that was down. Such a route waits for its track instead of coming back for the time of a first probe.
 */
static void hold_absent_routes(struct track_agent *agent, const struct netfacts *facts)
{
	struct route_plan plan = route_plan_build(agent->service->config, facts, agent->tracks);
	bool is_restart = false;

	for (size_t i = 0; i < facts->route_count; i++)
		is_restart |= facts->routes[i].protocol == ROUTE_PROTOCOL_VPNSIP;
	for (size_t i = 0; is_restart && i < plan.route_count; i++) {
		const struct planned_route *planned = &plan.routes[i];

		if (planned->is_wanted && planned->track != NULL &&
		    !route_plan_is_installed(planned, facts))
			track_hold_route(track_core_find(agent->tracks, planned->track));
	}
	route_plan_free(&plan);
}

static int read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	int number = -1;

	if (file == NULL)
		return -1;
	if (fscanf(file, "%d", &number) != 1)
		number = -1;
	fclose(file);
	return number;
}

static void check_reverse_path(const char *interface)
{
	char path[96];

	snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", interface);
	if (read_number(path) == 1)
		log_line(
			LOG_WARNING,
			"%s: rp_filter is strict: while the two sites use different paths, packets "
			"that arrive here are dropped; set net.ipv4.conf.%s.rp_filter=2",
			interface, interface);
}

/* The WAN may be strict: the rules "from" its address and the tunnel source lead back through it. */
static void check_sysctls(const struct config *config)
{
	if (read_number("/proc/sys/net/ipv4/ip_forward") == 0)
		log_line(LOG_WARNING, "nothing is forwarded: set net.ipv4.ip_forward=1");
	check_reverse_path("all");
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];

		if (route->peer == NULL && route->interface != NULL)
			check_reverse_path(route->interface);
	}
	for (size_t i = 0; i < config->peer_count; i++)
		check_reverse_path(config->peers[i].tunnel);
}

static struct icmp_identity new_identity(const struct bus *bus)
{
	struct icmp_identity identity;

	bus_random(bus, &identity, sizeof(identity));
	return identity;
}

static bool make_parts(struct track_agent *agent, char *why, size_t why_size)
{
	struct service_context *service = agent->service;
	struct icmp_identity identity = new_identity(service->bus);

	snprintf(why, why_size, "out of memory");
	agent->wans = calloc(service->config->line_count + 1, sizeof(*agent->wans));
	agent->tracks = track_core_new(service->config, bus_mono_usec(service->bus));
	agent->icmp = icmp_probe_open(service->base, &identity, answer_arrived, agent);
	agent->probe_timer = evtimer_new(service->base, probe_timer_fired, agent);
	agent->retry_timer = evtimer_new(service->base, retry, agent);
	if (agent->wans == NULL || agent->tracks == NULL || agent->icmp == NULL ||
	    agent->probe_timer == NULL || agent->retry_timer == NULL)
		return false;
	for (size_t i = 0; i < service->config->line_count; i++)
		agent->wans[i].cause = "not looked at";
	agent->rtnetlink = rtnetlink_open(service->base, kernel_changed, agent, why, why_size);
	return agent->rtnetlink != NULL;
}

int track_agent_start(struct service_context *service)
{
	struct track_agent *agent = calloc(1, sizeof(*agent));
	struct netfacts facts;
	char why[128];

	if (agent == NULL)
		return -1;
	agent->service = service;
	service->state = agent;
	if (!make_parts(agent, why, sizeof(why))) {
		log_line(LOG_ERR, "%s", why);
		goto out;
	}
	if (!rtnetlink_read(agent->rtnetlink, &facts))
		goto out;
	hold_absent_routes(agent, &facts);
	netfacts_free(&facts);
	check_sysctls(service->config);
	reconcile(agent);
	publish_tracks(agent);
	arm_probe_timer(agent);
	return 0;
out:
	track_agent_stop(service);
	return -1;
}

void track_agent_stop(struct service_context *service)
{
	struct track_agent *agent = service->state;

	if (agent == NULL)
		return;
	if (agent->probe_timer != NULL)
		event_free(agent->probe_timer);
	if (agent->retry_timer != NULL)
		event_free(agent->retry_timer);
	rtnetlink_close(agent->rtnetlink);
	icmp_probe_close(agent->icmp);
	track_core_free(agent->tracks);
	free(agent->wans);
	free(agent->shown);
	free(agent);
	service->state = NULL;
}

static void purge(struct track_agent *agent, struct bus_request *request)
{
	static const struct route_plan nothing = {.is_complete = true};
	struct netfacts facts;
	size_t failures;

	if (!rtnetlink_read(agent->rtnetlink, &facts)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "cannot read the kernel's routing");
		return;
	}
	agent->is_purged = true;
	evtimer_del(agent->retry_timer);
	failures = route_plan_purge(&facts, rtnetlink_change, agent->rtnetlink);
	show_routes(agent, &nothing, &facts);
	netfacts_free(&facts);
	bus_touch_state(agent->service->bus);
	log_line(LOG_NOTICE, "all routes and rules of ours are removed, by order");
	if (failures == 0)
		bus_done(request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__SYSTEM, "%zu routes or rules remain",
		         failures);
}

void track_agent_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct service_context *service = context;

	if (order->body_case == VPNSIP__ENVELOPE__BODY_PURGE_ROUTES)
		purge(service->state, request);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "track-agent does not know %s",
		         bus_body_name(order));
}

void track_agent_snapshot(void *context, struct bus_request *request)
{
	struct service_context *service = context;

	track_reply_snapshot(service->state, request);
}
