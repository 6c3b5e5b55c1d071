/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The coordinator's state machines: every state x event pair against a table of expectations, and the stories of D5
 * told through the pure core with virtual time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/common/address.h"
#include "services/common/log.h"
#include "services/coordinator/core.h"

#define OWN_LOW  "0388881001"
#define OWN_HIGH "0388889001"
#define PEER     "0388882001"
#define TUNNEL   "vsip2"

struct world {
	struct config config;
	struct config_line line;
	struct config_peer peer;
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
	uint64_t state_timer_msec, probe_timer_msec, line_timer_msec;
};

static void fake_order(void *context, struct session *session, enum step step)
{
	(void)session;
	((struct world *)context)->ordered |= BIT(step);
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

static uint64_t fake_attempt(void *context)
{
	return ((struct world *)context)->next_attempt++;
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
		.maximum_calls_per_hour = 60,
	};
	for (int i = 0; i < TIMER_COUNT; i++)
		world->config.timer_msec[i] = timer_definitions[i].default_msec;
}

static struct world *world_create(const char *own_number)
{
	struct world *world = calloc(1, sizeof(*world));
	struct sockaddr_storage wan;

	log_set_level(-1);
	world_fill_config(world, own_number);
	world->now_usec = 1000000000;
	world->next_attempt = 7;
	world->port = (struct coordinator_port){
		.order = fake_order,
		.reject = fake_reject,
		.hang_up_stray = fake_hang_up_stray,
		.owe = fake_owe,
		.register_line = fake_register,
		.start_timer = fake_timer,
		.start_line_timer = fake_line_timer,
		.session_changed = fake_session_changed,
		.line_changed = fake_line_changed,
		.mono_usec = fake_mono,
		.wall_usec = fake_mono,
		.random = fake_random,
		.next_attempt = fake_attempt,
		.context = world,
	};
	world->core = core_create(&world->config, &world->port);
	world->session = &world->core->sessions[0];
	address_parse("198.51.100.10", &wan);
	core_wan_changed(world->core, "wan0", true, &wan, "");
	core_registration_changed(world->core, own_number, VPNSIP__REGISTRATION_STATUS__REGISTERED,
	                          "");
	return world;
}

static void world_destroy(struct world *world)
{
	core_destroy(world->core);
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
		.attempt = world->session->attempt,
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

static void world_to_state(struct world *world, enum session_state state, bool is_incoming)
{
	if (state == SESSION_READY)
		return;
	if (state == SESSION_RELEASING) {
		(is_incoming ? walk_incoming : walk_outgoing)(world, SESSION_NEGOTIATING);
		core_operator_release(world->core, PEER, false, "test");
	} else if (state == SESSION_HOLDDOWN) {
		walk_outgoing(world, SESSION_CALLING);
		core_session_timeout(world->core, world->session, false);
		finish_ordered(world);
	} else {
		(is_incoming ? walk_incoming : walk_outgoing)(world, state);
	}
	world->session->wants_peer = false;
	world->ordered = 0;
	assert_int_equal(world->session->state, state);
}

#define SAME    SESSION_STATE_COUNT
#define IGNORED (SESSION_STATE_COUNT + 1)
#define R       SESSION_RELEASING

/* The next state for each event, own call. Rows: states. EVENT_STEP_FAILED is of a step that matters. */
static const int expected_outgoing[SESSION_STATE_COUNT][SESSION_EVENT_COUNT] = {
	/*		 trig  opcall oprel stepok stepfail ring answ offered confirm fail  ended ikeup ikedown idle dead lost timeout probe */
	[SESSION_READY] = {SESSION_CALLING, SESSION_CALLING, IGNORED, IGNORED, IGNORED, IGNORED,
                           IGNORED, SESSION_RINGING, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED,
                           IGNORED, IGNORED, IGNORED, IGNORED, IGNORED},
	[SESSION_CALLING] = {IGNORED, IGNORED, R, SAME, R, SESSION_RINGING, SESSION_NEGOTIATING,
                             SAME, IGNORED, R, R, IGNORED, IGNORED, IGNORED, IGNORED, R, R,
                             IGNORED},
	[SESSION_RINGING] = {IGNORED, IGNORED, R, SAME, R, IGNORED, SESSION_NEGOTIATING, SAME, SAME,
                             R, R, SAME, R, IGNORED, IGNORED, R, R, IGNORED},
	[SESSION_NEGOTIATING] = {IGNORED, IGNORED, R, SAME, R, IGNORED, IGNORED, SAME, SAME, R, R,
                                 SAME, R, IGNORED, IGNORED, R, R, SAME},
	[SESSION_ESTABLISHED] = {IGNORED, IGNORED, R, SAME, R, IGNORED, IGNORED, SAME, IGNORED, R,
                                 R, IGNORED, R, R, R, R, IGNORED, SAME},
	[SESSION_RELEASING] = {IGNORED, IGNORED, IGNORED, SAME, SAME, IGNORED, IGNORED, SAME,
                               IGNORED, SAME, SAME, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED,
                               SESSION_READY, IGNORED},
	[SESSION_HOLDDOWN] = {IGNORED, SESSION_CALLING, SESSION_READY, IGNORED, IGNORED, IGNORED,
                              IGNORED, SESSION_RINGING, IGNORED, IGNORED, IGNORED, IGNORED, IGNORED,
                              IGNORED, IGNORED, IGNORED, SESSION_READY, IGNORED},
};

static void deliver(struct world *world, enum session_event_type type)
{
	struct media media = offer_media(512, VPNSIP__SETUP_ROLE__PASSIVE);
	const struct call_report call = {
		.call_id = type == EVENT_CALL_OFFERED ? "another" : "own",
		.media = &media,
		.attempt = world->session->attempt,
		.direction = VPNSIP__DIRECTION__OUTGOING,
		.local_number = world->line.number,
		.remote_number = PEER,
		.sip_status = 500,
		.cause = "test",
	};
	const struct session_event event = {.type = type,
	                                    .step = STEP_SET_PEER,
	                                    .cause = "test",
	                                    .kind = VPNSIP__FAILURE_KIND__SYSTEM,
	                                    .call = &call};

	session_handle(world->session, &event);
}

static void check_pair(enum session_state state, enum session_event_type type, bool is_incoming)
{
	struct world *world = world_create(OWN_LOW);
	uint32_t ignored;
	int expected = expected_outgoing[state][type], now;

	world_to_state(world, state, is_incoming);
	ignored = world->session->ignored_events;
	deliver(world, type);
	now = world->session->state;
	if (is_incoming && state == SESSION_RINGING && type == EVENT_CALL_ANSWERED)
		expected = SAME; /* an answer to a call that we did not make */
	if (is_incoming && state == SESSION_RINGING && type == EVENT_CALL_OFFERED)
		expected = R; /* the caller calls anew: the older call gives way */
	if (expected == IGNORED) {
		assert_int_equal(world->session->ignored_events, ignored + 1);
		assert_int_equal(now, state);
		assert_int_equal(world->ordered, 0);
	} else {
		assert_int_equal(world->session->ignored_events, ignored);
		assert_int_equal(now, expected == SAME ? state : (enum session_state)expected);
	}
	world_destroy(world);
}

static void every_state_meets_every_event(void **unused)
{
	(void)unused;
	for (enum session_state state = 0; state < SESSION_STATE_COUNT; state++)
		for (enum session_event_type type = 0; type < SESSION_EVENT_COUNT; type++) {
			check_pair(state, type, false);
			if (state >= SESSION_RINGING && state <= SESSION_RELEASING)
				check_pair(state, type, true);
		}
}

static void tables_are_closed(void **unused)
{
	(void)unused;
	for (enum session_state state = 0; state < SESSION_STATE_COUNT; state++) {
		const struct session_state_description *description = &session_states[state];

		assert_non_null(description->name);
		assert_non_null(description->handle);
		assert_int_equal(description->accepts >> SESSION_EVENT_COUNT, 0);
		assert_int_equal(description->may_become >> SESSION_STATE_COUNT, 0);
		/* Only rest and the running session, guarded by idle and peer-dead, may last for ever. */
		if (state != SESSION_READY && state != SESSION_ESTABLISHED)
			assert_true(description->timer >= 0);
	}
}

static void own_call_from_trigger_to_rest(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct tunnel_report idle = {.tunnel = TUNNEL, .is_idle = true};
	(void)unused;

	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	assert_int_equal(world->ordered, STEPS_PREPARING);
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_PLACE_CALL));
	assert_int_equal(address_port(&world->session->local.address), 50001);
	world_destroy(world);

	world = world_create(OWN_LOW);
	walk_outgoing(world, SESSION_NEGOTIATING);
	assert_int_equal(world->session->negotiated_kbit, 512);
	assert_int_equal(world->ordered, BIT(STEP_START_IKE));
	finish_ordered(world);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->ordered, BIT(STEP_OPEN_TUNNEL));
	finish_ordered(world);

	idle.attempt = world->session->attempt;
	core_tunnel_changed(world->core, &idle);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->ordered, STEPS_RELEASING & ~BIT(STEP_REJECT_CALL));
	assert_string_equal(world->session->cause, "idle for 120 s");
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, 0);
	assert_int_equal(world->session->attempt, 0);
	world_destroy(world);
}

static void incoming_call_is_answered_last(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	offer_call(world, "theirs");
	assert_int_equal(world->session->state, SESSION_RINGING);
	assert_int_equal(world->ordered, STEPS_PREPARING);
	finish_ordered(world);
	assert_int_equal(world->ordered, STEPS_PATH | BIT(STEP_START_IKE));
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_ANSWER_CALL));
	assert_int_equal(world->session->local.bandwidth_kbit, 512);
	assert_int_equal(world->session->local.role, VPNSIP__SETUP_ROLE__PASSIVE);
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_NEGOTIATING);
	/* IKE may be faster than the ACK. */
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->session->state, SESSION_NEGOTIATING);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "theirs",
	            VPNSIP__CALL_STATUS__CALL_CONFIRMED, NULL, 0);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	world_destroy(world);
}

static void offers_that_cannot_be_served_are_refused(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct media low = offer_media(32, VPNSIP__SETUP_ROLE__ACTIVE);
	struct call_report stranger = {
		.call_id = "x",
		.direction = VPNSIP__DIRECTION__INCOMING,
		.local_number = OWN_LOW,
		.remote_number = "0311112222",
		.status = VPNSIP__CALL_STATUS__CALL_OFFERED,
		.media = &low,
	};
	(void)unused;

	core_call_changed(world->core, &stranger);
	assert_int_equal(world->rejected, 403);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "low", VPNSIP__CALL_STATUS__CALL_OFFERED,
	            &low, 0);
	assert_int_equal(world->rejected, 488);
	world->peer.has_fingerprint = true;
	world->peer.fingerprint_size = 32;
	strcpy(world->peer.fingerprint_hash, "SHA-256");
	offer_call(world, "unpinned");
	assert_int_equal(world->rejected, 488);
	assert_int_equal(world->rejections, 3);
	assert_int_equal(world->session->state, SESSION_READY);
	world_destroy(world);
}

static void psk_fingerprint_of_another_key_is_never_answered(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct media offer = offer_media(512, VPNSIP__SETUP_ROLE__ACTIVE);
	struct media ours = {.fingerprint_count = 1};
	struct step_result prepared = {.is_done = true, .media = &ours};
	(void)unused;

	ours.fingerprints[0] =
		(struct fingerprint){.subject = VPNSIP__FINGERPRINT_SUBJECT__PRE_SHARED_KEY,
	                             .hash = "SHA-256",
	                             .value = {1},
	                             .size = 32};
	offer.fingerprint_count = 1;
	offer.fingerprints[0] = ours.fingerprints[0];
	offer.fingerprints[0].value[0] = 2;
	report_call(world, VPNSIP__DIRECTION__INCOMING, "theirs", VPNSIP__CALL_STATUS__CALL_OFFERED,
	            &offer, 0);
	core_step_finished(world->core, world->session, world->session->attempt, STEP_PREPARE_IKE,
	                   &prepared);
	world->ordered = 0;
	finish(world, STEP_RESERVE_PORT, true);
	finish(world, STEP_CHECK_TUNNEL, true);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_int_equal(world->session->reject_status, 488);
	assert_int_equal(world->ordered, BIT(STEP_REJECT_CALL) | BIT(STEP_REMOVE_TRANSLATION));
	world_destroy(world);
}

static void crossing_calls_lower_number_wins(void **unused)
{
	struct world *low = world_create(OWN_LOW), *high = world_create(OWN_HIGH);
	(void)unused;

	walk_outgoing(low, SESSION_CALLING);
	offer_call(low, "theirs");
	assert_int_equal(low->rejected, 486);
	assert_int_equal(low->session->state, SESSION_CALLING);

	walk_outgoing(high, SESSION_CALLING);
	offer_call(high, "theirs");
	assert_int_equal(high->rejections, 0);
	assert_int_equal(high->session->state, SESSION_RELEASING);
	assert_true(high->ordered & BIT(STEP_HANG_UP));
	finish_ordered(high);
	assert_int_equal(high->session->state, SESSION_RINGING);
	assert_int_equal(high->session->direction, VPNSIP__DIRECTION__INCOMING);
	assert_string_equal(high->session->call_id, "theirs");
	world_destroy(low);
	world_destroy(high);
}

static void busy_right_away_is_glare_once_then_hold_down_doubles(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	uint64_t waits_msec[4];
	(void)unused;

	for (int i = 0; i < 4; i++) {
		walk_outgoing(world, SESSION_CALLING);
		world->now_usec += 100000;
		report_call(world, VPNSIP__DIRECTION__OUTGOING, "own",
		            VPNSIP__CALL_STATUS__CALL_ENDED, NULL, 486);
		finish_ordered(world);
		assert_int_equal(world->session->state, SESSION_HOLDDOWN);
		waits_msec[i] = world->state_timer_msec;
		world->session->wants_peer = false;
		core_session_timeout(world->core, world->session, false);
		assert_int_equal(world->session->state, SESSION_READY);
	}
	assert_in_range(waits_msec[0], 200, 600);
	assert_int_equal(waits_msec[1], 30000);
	assert_int_equal(waits_msec[2], 60000);
	assert_int_equal(waits_msec[3], 120000);
	world_destroy(world);
}

static void second_call_of_a_running_peer_is_decided_by_a_probe(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct tunnel_report heard = {.tunnel = TUNNEL};
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	offer_call(world, "again");
	assert_int_equal(world->ordered, BIT(STEP_PROBE_PEER));
	assert_int_equal(world->probe_timer_msec, 2000);
	heard.last_received_usec = world->now_usec + 1;
	core_tunnel_changed(world->core, &heard);
	assert_int_equal(world->rejected, 486);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);

	world->now_usec += 10000000;
	offer_call(world, "once-more");
	core_session_timeout(world->core, world->session, true);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	world->ordered &= STEPS_RELEASING;
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_RINGING);
	assert_string_equal(world->session->call_id, "once-more");
	world_destroy(world);
}

static void unconfirmed_release_is_owed(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	world->session->wants_peer = false;
	core_operator_release(world->core, PEER, false, "hangup");
	finish(world, STEP_HANG_UP, true);
	finish(world, STEP_STOP_IKE, false);
	assert_int_equal(world->session->state, SESSION_RELEASING);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->owed, BIT(STEP_STOP_IKE) | BIT(STEP_REMOVE_TRANSLATION) |
	                                      BIT(STEP_REMOVE_SHAPER) | BIT(STEP_CLEAR_PEER));
	world_destroy(world);
}

static void unregistered_line_fails_without_hold_down(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	core_registration_changed(world->core, OWN_LOW, VPNSIP__REGISTRATION_STATUS__REGISTERING,
	                          "no answer from the registrar");
	trigger(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_string_equal(world->session->cause, "no answer from the registrar");
	/* The trigger is a level: registration alone lets the call go out. */
	core_registration_changed(world->core, OWN_LOW, VPNSIP__REGISTRATION_STATUS__REGISTERED,
	                          "");
	assert_int_equal(world->session->state, SESSION_CALLING);
	/* Losing the registration never ends a session. */
	walk_outgoing(world, SESSION_CALLING);
	core_registration_changed(world->core, OWN_LOW, VPNSIP__REGISTRATION_STATUS__REGISTERING,
	                          "x");
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

static void changed_wan_address_releases_and_registers_anew(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	struct sockaddr_storage other;
	unsigned registrations;
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	registrations = world->registrations;
	address_parse("198.51.100.11", &other);
	core_wan_changed(world->core, "wan0", true, &other, "");
	assert_int_equal(world->session->state, SESSION_RELEASING);
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	assert_int_equal(world->registrations, registrations + 1);
	world->ordered &= STEPS_RELEASING;
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_READY);
	world_destroy(world);
}

static void late_replies_of_older_attempts_do_nothing(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	const struct step_result failed = {.cause = "late", .kind = VPNSIP__FAILURE_KIND__SYSTEM};
	(void)unused;

	walk_outgoing(world, SESSION_CALLING);
	core_step_finished(world->core, world->session, world->session->attempt - 1,
	                   STEP_PLACE_CALL, &failed);
	core_ike_changed(world->core, TUNNEL, world->session->attempt - 1,
	                 VPNSIP__IKE_STATUS__IKE_FAILED, "late");
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

static void the_cause_of_ike_outlives_the_release(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	uint64_t attempt;
	(void)unused;

	walk_outgoing(world, SESSION_NEGOTIATING);
	attempt = world->session->attempt;
	report_call(world, VPNSIP__DIRECTION__OUTGOING, "own", VPNSIP__CALL_STATUS__CALL_ENDED,
	            NULL, 0);
	world->ordered &= STEPS_RELEASING;
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	core_ike_changed(world->core, TUNNEL, attempt, VPNSIP__IKE_STATUS__IKE_FAILED, "wrong key");
	assert_string_equal(world->session->cause, "wrong key");
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	world_destroy(world);
}

static void call_without_session_is_hung_up(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	report_call(world, VPNSIP__DIRECTION__INCOMING, "ghost",
	            VPNSIP__CALL_STATUS__CALL_CONFIRMED, NULL, 0);
	assert_int_equal(world->strays, 1);
	report_call(world, VPNSIP__DIRECTION__INCOMING, "ghost", VPNSIP__CALL_STATUS__CALL_ENDED,
	            NULL, 0);
	assert_int_equal(world->strays, 1);
	world_destroy(world);
}

static void hourly_limit_stops_own_calls(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world->config.maximum_calls_per_hour = 2;
	core_count_call(world->core);
	assert_null(core_call_refusal(world->core, world->session));
	core_count_call(world->core);
	assert_non_null(core_call_refusal(world->core, world->session));
	world->now_usec += 3600000000ull;
	assert_null(core_call_refusal(world->core, world->session));
	world_destroy(world);
}

/* Next line state for each event; -1 = ignored. */
static const int expected_line[LINE_STATE_COUNT][LINE_EVENT_COUNT] = {
	[LINE_STATE_DISABLED] = {LINE_STATE_REGISTERING, -1, -1, -1, -1, -1, -1},
	[LINE_STATE_WAIT_WAN] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                 LINE_STATE_WAIT_WAN, -1, -1, -1},
	[LINE_STATE_REGISTERING] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                    LINE_STATE_WAIT_WAN, LINE_STATE_REGISTERED,
                                    LINE_STATE_REGISTERING, LINE_STATE_REGISTERING},
	[LINE_STATE_REGISTERED] = {-1, LINE_STATE_DISABLED, LINE_STATE_REGISTERING,
                                   LINE_STATE_WAIT_WAN, -1, LINE_STATE_REGISTERING, -1},
};

static void every_line_state_meets_every_event(void **unused)
{
	(void)unused;
	for (enum line_state state = 0; state < LINE_STATE_COUNT; state++)
		for (enum line_event event = 0; event < LINE_EVENT_COUNT; event++) {
			struct world *world = world_create(OWN_LOW);
			struct line *line = &world->core->lines[0];
			int expected = expected_line[state][event];

			line->state = state;
			line_handle(line, event, "test");
			assert_int_equal(line->state, expected < 0 ? (int)state : expected);
			assert_int_equal(line->ignored_events, expected < 0);
			world_destroy(world);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tables_are_closed),
		cmocka_unit_test(every_state_meets_every_event),
		cmocka_unit_test(every_line_state_meets_every_event),
		cmocka_unit_test(own_call_from_trigger_to_rest),
		cmocka_unit_test(incoming_call_is_answered_last),
		cmocka_unit_test(offers_that_cannot_be_served_are_refused),
		cmocka_unit_test(psk_fingerprint_of_another_key_is_never_answered),
		cmocka_unit_test(crossing_calls_lower_number_wins),
		cmocka_unit_test(busy_right_away_is_glare_once_then_hold_down_doubles),
		cmocka_unit_test(second_call_of_a_running_peer_is_decided_by_a_probe),
		cmocka_unit_test(unconfirmed_release_is_owed),
		cmocka_unit_test(unregistered_line_fails_without_hold_down),
		cmocka_unit_test(changed_wan_address_releases_and_registers_anew),
		cmocka_unit_test(late_replies_of_older_attempts_do_nothing),
		cmocka_unit_test(the_cause_of_ike_outlives_the_release),
		cmocka_unit_test(call_without_session_is_hung_up),
		cmocka_unit_test(hourly_limit_stops_own_calls),
	};

	return cmocka_run_group_tests_name("coordinator", tests, NULL, NULL);
}
