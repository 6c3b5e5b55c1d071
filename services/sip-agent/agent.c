/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/sip-agent/agent.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/config.h"
#include "services/common/log.h"
#include "services/sip-agent/dhcp_files.h"
#include "services/sip-agent/discovery_message.h"
#include "services/sip-agent/guard_report.h"
#include "services/sip-agent/leaderless.h"
#include "services/sip-agent/messages.h"
#include "services/sip-agent/port_obstacle.h"
#include "services/sip-agent/transport_report.h"

#define USEC_PER_SEC 1000000ULL
/* A silent peer is told of when so many seconds have passed without a heartbeat. */
#define SILENCE_SEC  3
/* What is begun at SIGTERM gets its answer within this time: a service leaves within a second. */
#define FINISH_MSEC  600

struct agent {
	struct service_context *service;
	struct sofia *sofia;
	struct discoveries *discoveries;
	char *lease_directory;          /* where the hooks of the DHCP clients write */
	struct event *leaderless;       /* pending unless the coordinator is heard */
	uint64_t leaderless_since_usec; /* wall clock; 0 = it is heard */
	uint64_t orders_refused;
	char **port_obstacles; /* per line; NULL = none at the start */
};

static void publish_registration(void *context, const struct registration_report *report)
{
	struct agent *agent = context;
	struct registration_message message;

	message_from_registration(&message, report);
	bus_touch_state(agent->service->bus);
	bus_publish(agent->service->bus, NULL, &message.changed.base);
}

static void publish_call(void *context, const struct call *call)
{
	struct agent *agent = context;
	struct call_message message;

	message_from_call(&message, call);
	bus_touch_state(agent->service->bus);
	bus_publish(agent->service->bus, call->tunnel[0] ? call->tunnel : NULL,
	            &message.changed.base);
}

static const struct sofia_events events = {publish_registration, publish_call};

static void use_servers(void *context, const struct discovery_report *report)
{
	struct agent *agent = context;

	sofia_set_servers(agent->sofia, report->line->number, report->servers, report->server_count,
	                  report->domain);
}

static void publish_discovery(void *context, const struct discovery_report *report)
{
	struct agent *agent = context;
	struct discovery_message message;

	bus_touch_state(agent->service->bus);
	if (message_from_discovery(&message, report,
	                           sofia_servers(agent->sofia, report->line->number)))
		bus_publish(agent->service->bus, NULL, &message.changed.base);
	discovery_message_release(&message);
}

static const struct discovery_events discovery_events = {use_servers, publish_discovery};

static bool open_discoveries(struct agent *agent)
{
	const struct discoveries_options options = {
		.base = agent->service->base,
		.bus = agent->service->bus,
		.config = agent->service->config,
		.lease_directory = agent->lease_directory,
		.networkd_directory = DHCP_FILES_NETWORKD,
		.events = &discovery_events,
		.context = agent,
	};

	agent->discoveries = discoveries_open(&options);
	return agent->discoveries != NULL;
}

/* Starts the wait, or lets the one go on that another process began. */
static int await_leader(struct agent *agent, uint64_t since_usec)
{
	const uint64_t now = bus_wall_usec(agent->service->bus);
	const uint64_t wait = leaderless_wait_usec(since_usec, now);
	const struct timeval delay = {(time_t)(wait / USEC_PER_SEC),
	                              (suseconds_t)(wait % USEC_PER_SEC)};

	agent->leaderless_since_usec = since_usec ? since_usec : now;
	return event_add(agent->leaderless, &delay);
}

static void on_leaderless(evutil_socket_t fd, short what, void *context)
{
	struct agent *agent = context;

	(void)fd;
	(void)what;
	await_leader(agent, 0);
	if (sofia_hang_up_all(agent->sofia, "no coordinator"))
		log_line(LOG_ERR, "no coordinator for %d s: every call is hung up",
		         LEADERLESS_LIMIT_SEC);
}

int agent_prepare(struct service_context *service)
{
	const struct config *config = service->config;
	struct agent *agent = calloc(1, sizeof(*agent));

	service->state = agent;
	if (!agent)
		return -1;
	agent->service = service;
	if (asprintf(&agent->lease_directory, "%s/dhcp", service->run_directory) < 0)
		return -1;
	/* The hooks make it too, when a lease comes before our first start. Root's: what stands in it is believed. */
	if (geteuid() == 0 && mkdir(agent->lease_directory, 0755) == 0)
		chmod(agent->lease_directory, 0755);
	agent->port_obstacles = calloc(config->line_count + 1, sizeof(char *));
	for (size_t i = 0; agent->port_obstacles && i < config->line_count; i++)
		agent->port_obstacles[i] = sip_port_obstacle_of_line(&config->lines[i]);
	return agent->port_obstacles ? 0 : -1;
}

int agent_start(struct service_context *service)
{
	struct agent *agent = service->state;

	agent->leaderless = event_new(service->base, -1, 0, on_leaderless, agent);
	const struct sofia_options options = {
		.base = service->base,
		.bus = service->bus,
		.config = service->config,
		.state_directory = service->state_directory,
		.port_obstacles = agent->port_obstacles,
		.events = &events,
		.context = agent,
		.is_guard_off = service->allows_faults && getenv("VPNSIP_TEST_NO_SIP_GUARD"),
	};

	if (options.is_guard_off)
		log_line(LOG_WARNING, "the SIP guard is off, for a test");
	agent->sofia = agent->leaderless ? sofia_open(&options) : NULL;
	if (!agent->sofia || !open_discoveries(agent) ||
	    await_leader(agent, leaderless_read(service->state_directory)) != 0) {
		agent_stop(service);
		return -1;
	}
	return 0;
}

void agent_stop(struct service_context *service)
{
	struct agent *agent = service->state;

	if (!agent)
		return;
	discoveries_close(agent->discoveries);
	if (agent->sofia) {
		sofia_finish(agent->sofia, FINISH_MSEC);
		sofia_close(agent->sofia);
	}
	if (agent->leaderless)
		event_free(agent->leaderless);
	for (size_t i = 0; i < service->config->line_count; i++)
		free(agent->port_obstacles[i]);
	free(agent->port_obstacles);
	free(agent->lease_directory);
	free(agent);
	service->state = NULL;
}

static void reply_outcome(struct agent *agent, struct bus_request *request,
                          enum sofia_outcome outcome)
{
	static const struct {
		Vpnsip__FailureKind kind;
		const char *cause;
	} failures[] = {
		[SOFIA_STALE] = {VPNSIP__FAILURE_KIND__BUG, "a later attempt is in force"},
		[SOFIA_UNKNOWN] = {VPNSIP__FAILURE_KIND__CONFIG, "no such line or call"},
		[SOFIA_UNREADY] = {VPNSIP__FAILURE_KIND__REALITY,
	                           "the line has no open SIP transport"},
		[SOFIA_GONE] = {VPNSIP__FAILURE_KIND__PEER,
	                        "the call is not waiting for an answer any more"},
		[SOFIA_UNSTORED] = {VPNSIP__FAILURE_KIND__SYSTEM, NULL},
		[SOFIA_FAILED] = {VPNSIP__FAILURE_KIND__RESOURCE, "the message cannot be built"},
	};

	if (outcome == SOFIA_DONE) {
		log_debug(LOG_SIP_INFO, NULL, NULL, "order carried out");
		bus_done(request);
		return;
	}
	const char *cause = failures[outcome].cause ? failures[outcome].cause
	                                            : sofia_store_failure(agent->sofia);
	agent->orders_refused++;
	log_debug(LOG_SIP_INFO, NULL, NULL, "order refused: %s", cause);
	bus_fail(request, failures[outcome].kind, "%s", cause);
}

static void register_line(struct agent *agent, struct bus_request *request,
                          const Vpnsip__RegisterLine *order)
{
	struct in_addr address;

	if (order->wan_address.len != sizeof(address)) {
		bus_fail(request, VPNSIP__FAILURE_KIND__CONFIG, "the WAN address is not IPv4");
		return;
	}
	memcpy(&address, order->wan_address.data, sizeof(address));
	enum sofia_outcome outcome = sofia_register_line(agent->sofia, order->local_number,
	                                                 address);
	discoveries_set_address(agent->discoveries, order->local_number, address);
	reply_outcome(agent, request, outcome); /* the order is gone with its reply */
}

static void place_call(struct agent *agent, struct bus_request *request,
                       const Vpnsip__PlaceCall *order)
{
	struct sofia_call_order call = {
		.attempt = order->attempt,
		.tunnel = order->tunnel,
		.local_number = order->local_number,
		.remote_number = order->remote_number,
	};
	char digits[NUMBER_SIZE];
	const char *why;

	if (!message_to_tunnel(order->offer, &call.offer, &why))
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s", why);
	else if (order->attempt == 0 || strlen(order->tunnel) >= CALL_TUNNEL_SIZE ||
	         !number_normalise(order->remote_number, "", "", digits))
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG,
		         "attempt, tunnel or number is not usable");
	else
		reply_outcome(agent, request, sofia_place_call(agent->sofia, &call));
}

static void answer_call(struct agent *agent, struct bus_request *request,
                        const Vpnsip__AnswerCall *order)
{
	struct sdp_tunnel answer;
	const char *why;

	if (!message_to_tunnel(order->answer, &answer, &why))
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "%s", why);
	else if (strlen(order->tunnel) >= CALL_TUNNEL_SIZE)
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "the tunnel's name is too long");
	else
		reply_outcome(agent, request,
		              sofia_answer_call(agent->sofia, order->call_id, order->attempt,
		                                order->tunnel, &answer));
}

static void reject_call(struct agent *agent, struct bus_request *request,
                        const Vpnsip__RejectCall *order)
{
	const struct sofia_refusal refusal = {
		.sip_status = order->sip_status,
		.reason = order->reason,
		.warning_code = order->warning_code,
		.warning_text = order->warning_text,
	};

	reply_outcome(agent, request, sofia_reject_call(agent->sofia, order->call_id, &refusal));
}

void agent_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct agent *agent = ((struct service_context *)context)->state;

	log_debug(LOG_SIP_INFO, order->session, NULL, "order %s from %s", bus_body_name(order),
	          bus_service_name(bus_request_source(request)));
	switch (order->body_case) {
	case VPNSIP__ENVELOPE__BODY_REGISTER_LINE:
		register_line(agent, request, order->register_line);
		break;
	case VPNSIP__ENVELOPE__BODY_DEREGISTER_LINE:
		reply_outcome(
			agent, request,
			sofia_deregister_line(agent->sofia, order->deregister_line->local_number));
		break;
	case VPNSIP__ENVELOPE__BODY_PLACE_CALL:
		place_call(agent, request, order->place_call);
		break;
	case VPNSIP__ENVELOPE__BODY_ANSWER_CALL:
		answer_call(agent, request, order->answer_call);
		break;
	case VPNSIP__ENVELOPE__BODY_REJECT_CALL:
		reject_call(agent, request, order->reject_call);
		break;
	case VPNSIP__ENVELOPE__BODY_HANG_UP:
		reply_outcome(agent, request,
		              sofia_hang_up(agent->sofia, order->hang_up->call_id,
		                            order->hang_up->attempt, order->hang_up->cause));
		break;
	case VPNSIP__ENVELOPE__BODY_GET_SIP_CONNECTIONS:
		agent_tell_connections(agent->service, agent->sofia, request,
		                       order->get_sip_connections);
		break;
	case VPNSIP__ENVELOPE__BODY_CLEAR_SIP_CONNECTION:
		agent_clear_connection(agent->sofia, request, order->clear_sip_connection);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_SIP_STATUS:
		agent_tell_sip_status(agent->service, agent->sofia, request);
		break;
	case VPNSIP__ENVELOPE__BODY_GET_SIP_GUARD:
		agent_tell_guard(agent->service, agent->sofia, request);
		break;
	default:
		bus_fail(request, VPNSIP__FAILURE_KIND__BUG, "not an order for sip-agent");
		break;
	}
}

/* The snapshot while it is collected: first counted, then filled. */
struct collection {
	size_t registration_count, call_count, discovery_count;
	struct registration_report *reports;
	struct registration_message *registrations;
	Vpnsip__RegistrationChanged **registration_list;
	struct call_message *calls;
	Vpnsip__CallChanged **call_list;
	struct agent *agent;
	struct discovery_message *discoveries;
	Vpnsip__DiscoveryChanged **discovery_list;
	bool is_short; /* of memory */
};

static void count_registration(void *context, const struct registration_report *report)
{
	(void)report;
	((struct collection *)context)->registration_count++;
}

static void count_call(void *context, const struct call *call)
{
	(void)call;
	((struct collection *)context)->call_count++;
}

static void collect_registration(void *context, const struct registration_report *report)
{
	struct collection *all = context;
	size_t i = all->registration_count++;

	all->reports[i] = *report;
	all->registration_list[i] = &all->registrations[i].changed;
	message_from_registration(&all->registrations[i], &all->reports[i]);
}

static void collect_call(void *context, const struct call *call)
{
	struct collection *all = context;
	size_t i = all->call_count++;

	all->call_list[i] = &all->calls[i].changed;
	message_from_call(&all->calls[i], call);
}

static void collect_discovery(void *context, const struct discovery_report *report)
{
	struct collection *all = context;
	size_t i = all->discovery_count++;

	all->discovery_list[i] = &all->discoveries[i].changed;
	if (!message_from_discovery(&all->discoveries[i], report,
	                            sofia_servers(all->agent->sofia, report->line->number)))
		all->is_short = true;
}

static bool allocate(struct collection *all)
{
	/* One more each: calloc(0) may be NULL. */
	all->reports = calloc(all->registration_count + 1, sizeof(*all->reports));
	all->registrations = calloc(all->registration_count + 1, sizeof(*all->registrations));
	all->registration_list = calloc(all->registration_count + 1,
	                                sizeof(*all->registration_list));
	all->calls = calloc(all->call_count + 1, sizeof(*all->calls));
	all->call_list = calloc(all->call_count + 1, sizeof(*all->call_list));
	all->discoveries = calloc(all->registration_count + 1, sizeof(*all->discoveries));
	all->discovery_list = calloc(all->registration_count + 1, sizeof(*all->discovery_list));
	all->registration_count = 0;
	all->call_count = 0;
	return all->discoveries && all->discovery_list && all->reports && all->registrations &&
	       all->registration_list && all->calls && all->call_list;
}

/* False without memory. */
static bool collect(struct agent *agent, struct collection *all)
{
	static const struct sofia_events counters = {count_registration, count_call};
	static const struct sofia_events collectors = {collect_registration, collect_call};
	static const struct discovery_events discovery_collectors = {NULL, collect_discovery};

	sofia_tell_all(agent->sofia, &counters, all);
	if (!allocate(all))
		return false;
	sofia_tell_all(agent->sofia, &collectors, all);
	discoveries_tell_all(agent->discoveries, &discovery_collectors, all);
	return !all->is_short;
}

static void free_collection(struct collection *all)
{
	for (size_t i = 0; i < all->discovery_count; i++)
		discovery_message_release(&all->discoveries[i]);
	free(all->reports);
	free(all->registrations);
	free(all->registration_list);
	free(all->calls);
	free(all->call_list);
	free(all->discoveries);
	free(all->discovery_list);
}

void agent_snapshot(void *context, struct bus_request *request)
{
	struct agent *agent = ((struct service_context *)context)->state;
	struct collection all = {.agent = agent};
	Vpnsip__SipSnapshot snapshot = VPNSIP__SIP_SNAPSHOT__INIT;

	if (collect(agent, &all)) {
		snapshot.n_registrations = all.registration_count;
		snapshot.registrations = all.registration_list;
		snapshot.n_calls = all.call_count;
		snapshot.calls = all.call_list;
		snapshot.n_discoveries = all.discovery_count;
		snapshot.discoveries = all.discovery_list;
		bus_reply(request, &snapshot.base);
	} else {
		bus_fail(request, VPNSIP__FAILURE_KIND__RESOURCE, "no memory for the snapshot");
	}
	free_collection(&all);
}

void agent_describe(void *context, struct bus_description *description)
{
	struct agent *agent = ((struct service_context *)context)->state;

	if (!agent)
		return;
	if (agent->leaderless_since_usec)
		bus_describe(description,
		             "coordinator not heard for %llu s: every call ends after %d s",
		             (unsigned long long)((bus_wall_usec(agent->service->bus) -
		                                   agent->leaderless_since_usec) /
		                                  USEC_PER_SEC),
		             LEADERLESS_LIMIT_SEC);
	bus_describe_counter(description, "sip.orders-refused", agent->orders_refused);
	sofia_describe(agent->sofia, description);
}

void agent_peer(void *context, Vpnsip__Service peer, Vpnsip__PeerHealth health)
{
	struct agent *agent = ((struct service_context *)context)->state;

	if (!agent || peer != VPNSIP__SERVICE__COORDINATOR)
		return;
	if (health == VPNSIP__PEER_HEALTH__PEER_UP) {
		event_del(agent->leaderless);
		agent->leaderless_since_usec = 0;
		leaderless_write(agent->service->state_directory, 0);
	} else if (agent->leaderless_since_usec == 0) {
		uint64_t since = bus_wall_usec(agent->service->bus);

		if (health == VPNSIP__PEER_HEALTH__PEER_SILENT)
			since -= SILENCE_SEC * USEC_PER_SEC;
		await_leader(agent, since);
		leaderless_write(agent->service->state_directory, since);
	}
}
