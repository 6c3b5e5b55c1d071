/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "track_agent.h"

#include <event2/event.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/config.h"
#include "services/common/log.h"
#include "track_feed.h"

#define CORE_NAME        "track-core"
#define TRACK_INPUT_SIZE 128

/* A notification of the kernel can be lost. */
static const struct timeval check_time = {.tv_sec = 30};
/* The coordinator orders the routes of a lease again soon after our start, if there is still one. */
static const struct timeval claim_time = {.tv_sec = 20};

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

static void kernel_changed(void *context)
{
	track_reconcile(context);
}

static void retry(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	track_reconcile(context);
}

static void check(evutil_socket_t fd, short what, void *context)
{
	struct track_agent *agent = context;

	(void)fd;
	(void)what;
	agent->counters.checks++;
	track_reconcile(agent);
}

static void disown(evutil_socket_t fd, short what, void *context)
{
	struct track_agent *agent = context;

	(void)fd;
	(void)what;
	if (wan_routes_disown(agent->leases))
		track_reconcile(agent);
}

static void publish_tracks(struct track_agent *agent)
{
	bool has_changed = false;

	for (size_t i = 0; i < agent->tracks->track_count; i++) {
		struct track *track = &agent->tracks->tracks[i];

		if (!track_take_change(track))
			continue;
		has_changed = true;
		agent->counters.track_changes++;
		log_track(track);
		log_debug(LOG_TRACK, NULL, NULL, "track %u: %s, latest probe %s in %u us",
		          track->config->number, track_state_names[track->state],
		          track->probe->return_code, track->probe->rtt_usec);
		track_publish_track(agent, track);
	}
	if (has_changed)
		track_reconcile(agent);
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

void track_agent_core_input(void *context, const char *core, const void *octets, size_t size)
{
	struct track_agent *agent = ((struct service_context *)context)->state;
	struct bus *bus = agent->service->bus;
	char input[TRACK_INPUT_SIZE], output[TRACK_OUTPUT_SIZE];

	if (strcmp(core, CORE_NAME) != 0)
		return;
	snprintf(input, sizeof(input), "%.*s", (int)size, (const char *)octets);
	if (!track_feed(&agent->tracks, agent->service->config, input, output))
		snprintf(output, sizeof(output), "not understood: %s", input);
	bus_record_core(bus, CORE_NAME, true, output, strlen(output));
}

/* The only way to tell the core anything: a replay goes the same. */
static void feed(struct track_agent *agent, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void feed(struct track_agent *agent, const char *format, ...)
{
	char input[TRACK_INPUT_SIZE];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(input, sizeof(input), format, arguments);
	va_end(arguments);
	bus_record_core(agent->service->bus, CORE_NAME, false, input, strlen(input));
	track_agent_core_input(agent->service, CORE_NAME, input, strlen(input));
}

static void answer_arrived(void *context, uint16_t sequence, const struct sockaddr_storage *source)
{
	struct track_agent *agent = context;
	char address[ADDRESS_TEXT_SIZE];

	feed(agent, "answered %u %s %" PRIu64, sequence, address_format(source, address),
	     bus_mono_usec(agent->service->bus));
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
		feed(agent, "sent %u %u %" PRIu64, probe->sla->number, sequence, now_usec);
	else
		feed(agent, "failed %u %d %" PRIu64, probe->sla->number, -error, now_usec);
}

static void probe_timer_fired(evutil_socket_t fd, short what, void *context)
{
	struct track_agent *agent = context;
	struct probe *probe;

	(void)fd;
	(void)what;
	icmp_probe_receive(agent->icmp);
	feed(agent, "expire %" PRIu64, bus_mono_usec(agent->service->bus));
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
	struct route_plan plan = route_plan_build(agent->service->config, facts, agent->tracks,
	                                          agent->leases);
	bool is_restart = false;

	for (size_t i = 0; i < facts->route_count; i++)
		is_restart |= facts->routes[i].protocol == ROUTE_PROTOCOL_VPNSIP;
	is_restart &= route_plan_compare(&plan, facts);
	for (size_t i = 0; is_restart && i < plan.route_count; i++) {
		const struct planned_route *planned = &plan.routes[i];

		if (planned->is_wanted && planned->track != NULL && !planned->is_installed)
			feed(agent, "hold %u", planned->track->number);
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
	agent->leases = wan_routes_new(service->config);
	agent->wans = calloc(service->config->line_count + 1, sizeof(*agent->wans));
	feed(agent, "begin %" PRIu64, bus_mono_usec(service->bus));
	agent->icmp = icmp_probe_open(service->base, &identity, answer_arrived, agent);
	agent->probe_timer = evtimer_new(service->base, probe_timer_fired, agent);
	agent->retry_timer = evtimer_new(service->base, retry, agent);
	agent->claim_timer = evtimer_new(service->base, disown, agent);
	agent->check_timer = event_new(service->base, -1, EV_PERSIST, check, agent);
	if (agent->leases == NULL || agent->claim_timer == NULL || agent->wans == NULL ||
	    agent->tracks == NULL || agent->icmp == NULL || agent->probe_timer == NULL ||
	    agent->retry_timer == NULL || agent->check_timer == NULL)
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
	/* A replay plays the core alone. */
	if (bus_is_replaying(service->bus))
		return 0;
	if (!make_parts(agent, why, sizeof(why))) {
		log_line(LOG_ERR, "%s", why);
		goto out;
	}
	if (!rtnetlink_read(agent->rtnetlink, &facts))
		goto out;
	wan_routes_adopt(agent->leases, service->config, &facts);
	hold_absent_routes(agent, &facts);
	netfacts_free(&facts);
	check_sysctls(service->config);
	track_reconcile(agent);
	publish_tracks(agent);
	arm_probe_timer(agent);
	event_add(agent->check_timer, &check_time);
	evtimer_add(agent->claim_timer, &claim_time);
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
	if (agent->check_timer != NULL)
		event_free(agent->check_timer);
	if (agent->claim_timer != NULL)
		event_free(agent->claim_timer);
	rtnetlink_close(agent->rtnetlink);
	icmp_probe_close(agent->icmp);
	track_core_free(agent->tracks);
	wan_routes_free(agent->leases);
	free(agent->wans);
	track_free_shown(&agent->shown);
	free(agent->rules);
	free(agent);
	service->state = NULL;
}

static void set_wan_routes(struct track_agent *agent, struct bus_request *request,
                           const Vpnsip__SetWanRoutes *order)
{
	struct wan_route routes[WAN_ROUTES_MAXIMUM];

	if (order->n_routes > WAN_ROUTES_MAXIMUM) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "more than %d routes of a lease",
		         WAN_ROUTES_MAXIMUM);
		return;
	}
	for (size_t i = 0; i < order->n_routes; i++) {
		const Vpnsip__WanRoute *from = order->routes[i];

		routes[i] = (struct wan_route){.prefix_length = from->prefix_length};
		if (!address_from_bytes(from->destination, &routes[i].destination) ||
		    routes[i].destination.ss_family != AF_INET || from->prefix_length > 32 ||
		    (from->gateway.len != 0 &&
		     (!address_from_bytes(from->gateway, &routes[i].gateway) ||
		      routes[i].gateway.ss_family != AF_INET))) {
			bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "a route that is not IPv4");
			return;
		}
	}
	if (!wan_routes_set(agent->leases, order->interface, routes, order->n_routes)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "%s is no line's WAN",
		         order->interface);
		return;
	}
	track_reconcile(agent);
	bus_done(request);
}

void track_agent_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct service_context *service = context;

	if (order->body_case == VPNSIP__ENVELOPE__BODY_PURGE_ROUTES)
		track_purge(service->state, request);
	else if (order->body_case == VPNSIP__ENVELOPE__BODY_SET_WAN_ROUTES)
		set_wan_routes(service->state, request, order->set_wan_routes);
	else
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "track-agent does not know %s",
		         bus_body_name(order));
}

void track_agent_snapshot(void *context, struct bus_request *request)
{
	struct service_context *service = context;

	track_reply_snapshot(service->state, request);
}
