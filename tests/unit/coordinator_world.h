/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A coordinator's core in a world of its own: one line, its peers, virtual time, and a port that writes down what is wanted. */
#ifndef VPNSIP_TEST_COORDINATOR_WORLD_H
#define VPNSIP_TEST_COORDINATOR_WORLD_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/core.h"

#define OWN_LOW  "0388881001"
#define OWN_HIGH "0388889001"
#define PEER     "0388882001"
#define TUNNEL   "vsip2"

/* What a release removes once IKE is stopped. */
#define STEPS_PATH_ENDS \
	(BIT(STEP_REMOVE_TRANSLATION) | BIT(STEP_REMOVE_SHAPER) | BIT(STEP_CLEAR_PEER))

struct world {
	struct config config;
	struct config_line line;
	struct config_peer peer;   /* the first */
	struct config_peer *peers; /* when there are several */
	struct config_ike_profile ike;
	struct config_ipsec_profile ipsec;
	struct coordinator_port port;
	struct core *core;
	struct session *session;
	uint64_t now_usec, next_attempt;
	unsigned ordered; /* since the last world_forget() */
	unsigned owed;
	uint32_t rejected; /* last SIP status sent for a call that no session took */
	unsigned rejections, strays, registrations, deregistrations;
	unsigned disowned; /* set of steps */
	uint64_t disowned_attempt;
	unsigned looks_again; /* set of services */
	uint64_t pace_timer_msec;
	const char *attempt_obstacle; /* why no number can be had */
	unsigned orders;              /* of all sessions */
	uint64_t state_timer_msec, probe_timer_msec, call_timer_msec, line_timer_msec;
};

static void fake_order(void *context, struct session *session, enum step step)
{
	struct world *world = context;

	world->orders++;
	if (session == world->session)
		world->ordered |= BIT(step);
}

static void fake_reject(void *context, const char *call_id, uint32_t status, const char *reason,
                        uint32_t warning_code, const char *warning)
{
	struct world *world = context;

	(void)call_id, (void)reason, (void)warning_code, (void)warning;
	world->rejected = status;
	world->rejections++;
}

static void fake_hang_up_stray(void *context, const char *call_id)
{
	(void)call_id;
	((struct world *)context)->strays++;
}

static void fake_owe(void *context, const struct session *session, enum step step)
{
	(void)session;
	((struct world *)context)->owed |= BIT(step);
}

static void fake_disown(void *context, const char *tunnel, uint64_t attempt, enum step step)
{
	struct world *world = context;

	(void)tunnel;
	world->disowned |= BIT(step);
	world->disowned_attempt = attempt;
}

static void fake_look_again(void *context, Vpnsip__Service service)
{
	((struct world *)context)->looks_again |= BIT(service);
}

static void fake_pace_timer(void *context, uint64_t msec)
{
	((struct world *)context)->pace_timer_msec = msec;
}

static void fake_trace(void *context, const struct session *session, Vpnsip__TraceKind kind,
                       const char *text)
{
	(void)context, (void)session, (void)kind, (void)text;
}

static void fake_register(void *context, const struct line *line, bool is_wanted)
{
	struct world *world = context;

	(void)line;
	world->registrations += is_wanted;
	world->deregistrations += !is_wanted;
}

static void fake_timer(void *context, struct session *session, bool is_probe, uint64_t msec)
{
	struct world *world = context;

	(void)session;
	if (is_probe)
		world->probe_timer_msec = msec;
	else
		world->state_timer_msec = msec;
}

static void fake_call_timer(void *context, struct session *session, uint64_t msec)
{
	(void)session;
	((struct world *)context)->call_timer_msec = msec;
}

static void fake_line_timer(void *context, struct line *line, uint64_t msec)
{
	(void)line;
	((struct world *)context)->line_timer_msec = msec;
}

static void fake_session_changed(void *context, const struct session *session)
{
	(void)context, (void)session;
}

static void fake_line_changed(void *context, const struct line *line)
{
	(void)context, (void)line;
}

static uint64_t fake_mono(void *context)
{
	return ((struct world *)context)->now_usec;
}

static uint32_t fake_random(void *context)
{
	(void)context;
	return 123;
}

static uint64_t fake_attempt(void *context, Vpnsip__Direction direction, char *why)
{
	struct world *world = context;

	(void)direction;
	if (!world->attempt_obstacle)
		return world->next_attempt++;
	snprintf(why, CAUSE_SIZE, "%s", world->attempt_obstacle);
	return 0;
}

static void world_fill_config(struct world *world, const char *own_number)
{
	world->line = (struct config_line){.number = (char *)own_number, .wan_interface = "wan0"};
	world->ike = (struct config_ike_profile){.name = "default"};
	world->ipsec = (struct config_ipsec_profile){.idle_msec = 120000,
	                                             .proposals = "aes128gcm16"};
	world->peer = (struct config_peer){
		.number = PEER,
		.tunnel = TUNNEL,
		.if_id = 2,
		.is_enabled = true,
		.bandwidth_kbit = 1000,
		.minimum_bandwidth_kbit = 64,
		.description = "",
		.peer_source = PEER_SOURCE_CONFIG_ADDRESS,
		.line = &world->line,
		.ike_profile = &world->ike,
		.ipsec_profile = &world->ipsec,
	};
	world->config = (struct config){
		.is_enabled = true,
		.lines = &world->line,
		.line_count = 1,
		.peers = &world->peer,
		.peer_count = 1,
		.maximum_sessions = 300,
		.maximum_setups = 50,
		.maximum_calls_per_hour = 60,
	};
	for (int i = 0; i < TIMER_COUNT; i++)
		world->config.timer_msec[i] = timer_definitions[i].default_msec;
}

/* Just started: nothing is known of the other services. With several peers their tunnels are vsip2, vsip3 ... */
static struct world *world_start(const char *own_number, size_t peer_count)
{
	struct world *world = calloc(1, sizeof(*world));

	log_set_level(-1);
	world_fill_config(world, own_number);
	if (peer_count > 1) {
		world->peers = calloc(peer_count, sizeof(*world->peers));
		for (size_t i = 0; i < peer_count; i++) {
			world->peers[i] = world->peer;
			world->peers[i].if_id = (uint32_t)i + 2;
			assert_true(asprintf(&world->peers[i].tunnel, "vsip%zu", i + 2) > 0);
			assert_true(asprintf(&world->peers[i].number, "03888%05zu", i) > 0);
		}
		world->config.peers = world->peers;
		world->config.peer_count = peer_count;
	}
	world->now_usec = 1000000000;
	world->next_attempt = 7;
	world->port = (struct coordinator_port){
		.order = fake_order,
		.reject = fake_reject,
		.hang_up_stray = fake_hang_up_stray,
		.owe = fake_owe,
		.disown = fake_disown,
		.look_again = fake_look_again,
		.register_line = fake_register,
		.start_timer = fake_timer,
		.start_call_timer = fake_call_timer,
		.start_pace_timer = fake_pace_timer,
		.start_line_timer = fake_line_timer,
		.session_changed = fake_session_changed,
		.line_changed = fake_line_changed,
		.mono_usec = fake_mono,
		.wall_usec = fake_mono,
		.random = fake_random,
		.next_attempt = fake_attempt,
		.trace = fake_trace,
		.context = world,
	};
	world->core = core_create(&world->config, &world->port);
	world->session = &world->core->sessions[0];
	return world;
}

static const Vpnsip__Service surveyed_services[] = {
	VPNSIP__SERVICE__SIP_AGENT, VPNSIP__SERVICE__IKE_AGENT, VPNSIP__SERVICE__TUNNEL_AGENT,
	VPNSIP__SERVICE__TRACK_AGENT, VPNSIP__SERVICE__NAT_QOS_AGENT};
#define SURVEYED_COUNT (sizeof(surveyed_services) / sizeof(*surveyed_services))

static void world_services_up(struct world *world)
{
	for (size_t i = 0; i < SURVEYED_COUNT; i++)
		core_service_changed(world->core, surveyed_services[i],
		                     VPNSIP__PEER_HEALTH__PEER_UP);
}

static void world_wan(struct world *world, const char *address)
{
	struct sockaddr_storage wan;

	address_parse(address, &wan);
	core_wan_changed(world->core, "wan0", true, &wan, "");
}

static void world_register(struct world *world, Vpnsip__RegistrationStatus status,
                           const char *cause)
{
	core_registration_changed(world->core, world->line.number, status,
	                          &world->core->lines[0].wan_address, cause);
}

/* At rest: all services are up and hold nothing, the line is registered. */
static inline struct world *world_create(const char *own_number)
{
	struct world *world = world_start(own_number, 1);

	world_services_up(world);
	for (size_t i = 0; i < SURVEYED_COUNT; i++)
		core_surveyed(world->core, surveyed_services[i]);
	world_wan(world, "198.51.100.10");
	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERED, "");
	return world;
}

static void world_destroy(struct world *world)
{
	core_destroy(world->core);
	for (size_t i = 0; world->peers && i < world->config.peer_count; i++) {
		free(world->peers[i].tunnel);
		free(world->peers[i].number);
	}
	free(world->peers);
	free(world);
}

static struct media offer_media(uint32_t bandwidth_kbit, Vpnsip__SetupRole role)
{
	struct media media = {.bandwidth_kbit = bandwidth_kbit, .role = role};

	address_parse_port("198.51.100.20:50002", 0, &media.address);
	return media;
}

static void report_call(struct world *world, Vpnsip__Direction direction, const char *call_id,
                        Vpnsip__CallStatus status, const struct media *media, uint32_t sip_status)
{
	const struct call_report report = {
		.call_id = call_id,
		.attempt = status == VPNSIP__CALL_STATUS__CALL_OFFERED ? 0
	                                                               : world->session->attempt,
		.direction = direction,
		.local_number = world->line.number,
		.remote_number = PEER,
		.status = status,
		.media = media,
		.sip_status = sip_status,
		.cause = sip_status ? "refused" : "",
	};

	core_call_changed(world->core, &report);
}

static void offer_call(struct world *world, const char *call_id)
{
	struct media media = offer_media(512, VPNSIP__SETUP_ROLE__ACTIVE);

	report_call(world, VPNSIP__DIRECTION__INCOMING, call_id, VPNSIP__CALL_STATUS__CALL_OFFERED,
	            &media, 0);
}

static void trigger(struct world *world)
{
	const struct tunnel_report report = {.tunnel = TUNNEL, .wants_peer = true};

	core_tunnel_changed(world->core, &report);
}

static void finish(struct world *world, enum step step, bool is_done)
{
	const struct step_result result = {.is_done = is_done,
	                                   .port = 50001,
	                                   .kind = VPNSIP__FAILURE_KIND__REALITY,
	                                   .cause = is_done ? "" : "it did not work"};

	core_step_finished(world->core, world->session, world->session->attempt, step, &result);
}

static void finish_ordered(struct world *world)
{
	unsigned ordered = world->ordered;

	world->ordered = 0;
	for (enum step step = 0; step < STEP_COUNT; step++)
		if (ordered & BIT(step))
			finish(world, step, true);
}

/* All replies of a release: to the end of the call, to that of IKE, then to the rest. */
static inline void finish_release(struct world *world)
{
	while (world->ordered & STEPS_RELEASING) {
		world->ordered &= STEPS_RELEASING;
		finish_ordered(world);
	}
}

static void ike(struct world *world, Vpnsip__IkeStatus status, const char *cause)
{
	core_ike_changed(world->core, TUNNEL, world->session->attempt, status, cause);
}

/* Walks an own call from rest to the wanted state. */
static void walk_outgoing(struct world *world, enum session_state wanted)
{
	struct media answer = offer_media(512, VPNSIP__SETUP_ROLE__PASSIVE);
	const Vpnsip__Direction out = VPNSIP__DIRECTION__OUTGOING;

	trigger(world);
	finish_ordered(world);
	finish_ordered(world);
	if (wanted == SESSION_CALLING)
		return;
	report_call(world, out, "own", VPNSIP__CALL_STATUS__CALL_RINGING, NULL, 0);
	if (wanted == SESSION_RINGING)
		return;
	report_call(world, out, "own", VPNSIP__CALL_STATUS__CALL_ANSWERED, &answer, 0);
	finish_ordered(world);
	if (wanted == SESSION_NEGOTIATING)
		return;
	finish_ordered(world);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	finish_ordered(world);
}

static void walk_incoming(struct world *world, enum session_state wanted)
{
	offer_call(world, "theirs");
	finish_ordered(world);
	if (wanted == SESSION_RINGING)
		return;
	finish_ordered(world);
	finish_ordered(world);
	if (wanted == SESSION_NEGOTIATING)
		return;
	report_call(world, VPNSIP__DIRECTION__INCOMING, "theirs",
	            VPNSIP__CALL_STATUS__CALL_CONFIRMED, NULL, 0);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	finish_ordered(world);
}

static inline void world_to_state(struct world *world, enum session_state state, bool is_incoming)
{
	if (state == SESSION_READY)
		return;
	if (state == SESSION_ADOPTING) {
		world->session->state = SESSION_ADOPTING;
		return;
	}
	if (STATES_RELEASING & BIT(state)) {
		(is_incoming ? walk_incoming : walk_outgoing)(world, SESSION_NEGOTIATING);
		core_operator_release(world->core, PEER, false, "test");
		if (state != SESSION_HANGING_UP)
			finish(world, STEP_HANG_UP, true);
		if (state == SESSION_RELEASING)
			finish(world, STEP_STOP_IKE, true);
	} else if (state == SESSION_HOLDDOWN) {
		walk_outgoing(world, SESSION_CALLING);
		core_session_timeout(world->core, world->session, false);
		finish_release(world);
	} else if (state == SESSION_PARTING) {
		(is_incoming ? walk_incoming : walk_outgoing)(world, SESSION_ESTABLISHED);
		ike(world, VPNSIP__IKE_STATUS__IKE_ENDED, "test");
	} else if (state == SESSION_MENDING) {
		(is_incoming ? walk_incoming : walk_outgoing)(world, SESSION_ESTABLISHED);
		session_mend(world->session, BIT(STEP_START_IKE), "test");
	} else {
		(is_incoming ? walk_incoming : walk_outgoing)(world, state);
	}
	world->session->wants_peer = false;
	world->ordered = 0;
	assert_int_equal(world->session->state, state);
}

#endif
