/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A running coordinator and services that die, hang, or lose something: what is missing is ordered again, what is foreign is
 * removed, what is on its way up fails with the service's name, and nothing of it costs a hold-down.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_holdings.h"

#define SIP    VPNSIP__SERVICE__SIP_AGENT
#define IKE    VPNSIP__SERVICE__IKE_AGENT
#define TUN    VPNSIP__SERVICE__TUNNEL_AGENT
#define NAT    VPNSIP__SERVICE__NAT_QOS_AGENT
#define ABSENT VPNSIP__PEER_HEALTH__PEER_ABSENT
#define SILENT VPNSIP__PEER_HEALTH__PEER_SILENT
#define ALIVE  VPNSIP__PEER_HEALTH__PEER_UP

static const struct found running = {
	VPNSIP__DIRECTION__OUTGOING, VPNSIP__CALL_STATUS__CALL_ANSWERED,
	.ike = VPNSIP__IKE_STATUS__IKE_UP, .peer = PEER_WITH_SAS, .nat = NAT_ALL};
static const struct found nothing = {0};

/* Up for long, so that every snapshot is newer than the session. */
static struct world *run(void)
{
	struct world *world = world_start(OWN_LOW, 1);

	world_services_up(world);
	world_wan(world, "198.51.100.10");
	survey(world, 0, &running);
	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERED, "");
	world->now_usec += 10000000;
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	return world;
}

static void restart(struct world *world, Vpnsip__Service service, const struct found *found)
{
	core_service_changed(world->core, service, ABSENT);
	assert_int_equal(session_states[world->session->state].status,
	                 VPNSIP__SESSION_STATUS__SESSION_UP);
	core_service_changed(world->core, service, ALIVE);
	survey_service(world, service, 0, found);
}

static void comparing_what_is_there_orders_nothing(void **unused)
{
	struct world *world = run();
	(void)unused;

	for (int i = 0; i < 3; i++) {
		survey(world, 0, &running);
		world->now_usec += 30000000;
	}
	assert_int_equal(world->orders, 0);
	assert_int_equal(world->disowned, 0);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	world_destroy(world);
}

static void restarted_ike_agent_gets_its_session_back(void **unused)
{
	struct world *world = run();
	(void)unused;

	restart(world, IKE, &nothing);
	assert_int_equal(world->session->state, SESSION_MENDING);
	assert_int_equal(session_states[SESSION_MENDING].status,
	                 VPNSIP__SESSION_STATUS__SESSION_UP);
	assert_int_equal(world->ordered, BIT(STEP_START_IKE));
	assert_true(world->session->is_ike_pending);
	assert_int_equal(world->state_timer_msec, 30000);
	/* Comparing again while the order is under way orders nothing. */
	world->now_usec += 10000000;
	survey_service(world, IKE, 0, &nothing);
	assert_int_equal(world->orders, 1);
	finish_ordered(world);
	/* The end of the old IKE_SA is no end of the session. */
	core_ike_changed(world->core, TUNNEL, FOUND_ATTEMPT, VPNSIP__IKE_STATUS__IKE_ENDED, "old");
	assert_int_equal(world->session->state, SESSION_MENDING);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_false(world->session->is_ike_pending);
	assert_int_equal(world->ordered, 0);
	world_destroy(world);
}

static void new_ike_that_fails_or_never_comes_hangs_up(void **unused)
{
	struct world *world = run();
	(void)unused;

	restart(world, IKE, &nothing);
	finish_ordered(world);
	ike(world, VPNSIP__IKE_STATUS__IKE_FAILED, "wrong key");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	assert_string_equal(world->session->cause, "the new IKE_SA failed: wrong key");
	finish_release(world);
	assert_int_equal(world->session->state, SESSION_READY);
	world_destroy(world);

	world = run();
	restart(world, IKE, &nothing);
	finish_ordered(world);
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_string_equal(world->session->cause,
	                    "the session could not be mended within 30 s: IKE");
	world_destroy(world);
}

static void restarted_tunnel_agent_gets_peer_and_opening(void **unused)
{
	struct world *world = run();
	(void)unused;

	restart(world, TUN, &nothing);
	assert_int_equal(world->session->state, SESSION_MENDING);
	assert_int_equal(world->ordered, BIT(STEP_SET_PEER));
	finish_ordered(world);
	assert_int_equal(world->ordered, BIT(STEP_OPEN_TUNNEL));
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->core->counters.ike_resumed, 0);
	world_destroy(world);
}

static void restarted_nat_qos_agent_is_compared(void **unused)
{
	struct found partly = running;
	struct world *world = run();
	(void)unused;

	restart(world, NAT, &running);
	assert_int_equal(world->orders, 0);
	partly.nat = NAT_TRANSLATION;
	restart(world, NAT, &partly);
	assert_int_equal(world->ordered, BIT(STEP_INSTALL_SHAPER));
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	world->now_usec += 10000000;
	restart(world, NAT, &nothing);
	assert_int_equal(world->ordered, BIT(STEP_INSTALL_TRANSLATION) | BIT(STEP_INSTALL_SHAPER));
	world_destroy(world);
}

static void call_that_sip_agent_forgot_ends_the_session(void **unused)
{
	struct world *world = run();
	(void)unused;

	restart(world, SIP, &running);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	restart(world, SIP, &nothing);
	assert_int_equal(world->session->state, SESSION_STOPPING_IKE);
	assert_string_equal(world->session->cause, "sip-agent does not know the call any more");
	world_destroy(world);
}

/* A snapshot may have been on its way before the order that it does not show was carried out. */
static void unsettled_session_is_looked_at_again(void **unused)
{
	struct world *world = run();
	(void)unused;

	world->session->changed_usec = world->now_usec - 500000;
	survey_service(world, TUN, 0, &nothing);
	assert_int_equal(world->orders, 0);
	assert_int_equal(world->looks_again, BIT(TUN));
	world->now_usec += 1000000;
	survey_service(world, TUN, 0, &nothing);
	assert_int_equal(world->ordered, BIT(STEP_SET_PEER));
	world_destroy(world);
}

static void what_belongs_to_no_session_is_removed(void **unused)
{
	struct found old = running;
	struct world *world = run();
	(void)unused;

	old.attempt = FOUND_ATTEMPT - 1;
	for (size_t i = 0; i < SURVEYED_COUNT; i++) {
		world->now_usec += 10000000;
		if (surveyed_services[i] != SIP)
			survey_service(world, surveyed_services[i], 0, &old);
	}
	assert_int_equal(world->disowned, BIT(STEP_STOP_IKE) | BIT(STEP_CLEAR_PEER) |
	                                          BIT(STEP_REMOVE_TRANSLATION) |
	                                          BIT(STEP_REMOVE_SHAPER));
	assert_int_equal(world->disowned_attempt, FOUND_ATTEMPT - 1);
	old.direction = VPNSIP__DIRECTION__OUTGOING;
	tell_call(world, 0, &old);
	assert_int_equal(world->strays, 1);
	world_destroy(world);
}

static void lost_reply_is_ordered_again_and_bounded(void **unused)
{
	const struct step_result lost = {.is_unanswered = true, .cause = "late"};
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_NEGOTIATING);
	finish_ordered(world);
	ike(world, VPNSIP__IKE_STATUS__IKE_UP, "");
	assert_int_equal(world->ordered, BIT(STEP_OPEN_TUNNEL));
	world->ordered = 0;
	core_step_finished(world->core, world->session, world->session->attempt, STEP_OPEN_TUNNEL,
	                   &lost);
	assert_int_equal(world->session->state, SESSION_MENDING);
	assert_int_equal(world->ordered, BIT(STEP_OPEN_TUNNEL));
	core_step_finished(world->core, world->session, world->session->attempt, STEP_OPEN_TUNNEL,
	                   &lost);
	core_session_timeout(world->core, world->session, false);
	assert_string_equal(world->session->cause,
	                    "the session could not be mended within 30 s: OpenTunnel");
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	world_destroy(world);
}

static void setup_fails_with_the_name_of_the_service_and_rests(void **unused)
{
	static const Vpnsip__Service services[] = {SIP, IKE, TUN, NAT};
	static const Vpnsip__PeerHealth healths[] = {ABSENT, SILENT};
	(void)unused;

	for (enum session_state state = SESSION_CALLING; state <= SESSION_NEGOTIATING; state++)
		for (size_t i = 0; i < 4; i++)
			for (size_t j = 0; j < 2; j++) {
				struct world *world = world_create(OWN_LOW);
				bool survives = state == SESSION_NEGOTIATING && services[i] == SIP;

				world_to_state(world, state, false);
				core_service_changed(world->core, services[i], healths[j]);
				if (survives) {
					assert_int_equal(world->session->state, state);
					world_destroy(world);
					continue;
				}
				assert_int_equal(world->session->state, SESSION_HANGING_UP);
				assert_true(world->ordered & BIT(STEP_HANG_UP));
				assert_non_null(strstr(world->session->cause, "agent"));
				finish_release(world);
				assert_int_equal(world->session->state, SESSION_READY);
				/* Refused without an attempt until it is back, then the next trigger calls. */
				trigger(world);
				assert_int_equal(world->session->state, SESSION_READY);
				assert_non_null(strstr(world->session->cause,
				                       j ? "is silent" : "is not running"));
				assert_int_equal(world->core->counters.triggers_refused, 1);
				core_service_changed(world->core, services[i], ALIVE);
				trigger(world);
				assert_int_equal(world->session->state, SESSION_CALLING);
				world_destroy(world);
			}
}

/* One call lost to ourselves is forgiven; a service that dies of every call would cost one each time. */
static void second_call_lost_to_ourselves_holds_down(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	for (int i = 0; i < 2; i++) {
		walk_outgoing(world, SESSION_NEGOTIATING);
		world->session->wants_peer = false;
		core_service_changed(world->core, NAT, ABSENT);
		core_service_changed(world->core, NAT, ALIVE);
		finish_release(world);
		assert_int_equal(world->session->state, i ? SESSION_HOLDDOWN : SESSION_READY);
	}
	world_destroy(world);
}

static void running_sessions_do_not_need_the_others(void **unused)
{
	static const Vpnsip__Service services[] = {SIP, IKE, TUN, NAT};
	struct world *world = run();
	(void)unused;

	for (size_t i = 0; i < 4; i++) {
		core_service_changed(world->core, services[i], SILENT);
		core_service_changed(world->core, services[i], ABSENT);
	}
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->orders, 0);
	/* But for a minute without tunnel-agent: nobody would hang up an idle call. */
	core_unwatched(world->core, "away");
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	assert_true(world->ordered & BIT(STEP_HANG_UP));
	world_destroy(world);
}

#define SETUPS 5

static void crowd_sheds_triggers_and_offers_but_no_release(void **unused)
{
	struct world *world = world_start(OWN_LOW, SETUPS + 3);
	const struct found none = {0};
	struct session *sessions = world->core->sessions;
	struct media offer = offer_media(512, VPNSIP__SETUP_ROLE__ACTIVE);
	struct call_report call = {
		.call_id = "offered",
		.direction = VPNSIP__DIRECTION__INCOMING,
		.local_number = OWN_LOW,
		.remote_number = sessions[SETUPS + 1].peer->number,
		.status = VPNSIP__CALL_STATUS__CALL_OFFERED,
		.media = &offer,
	};
	(void)unused;

	world->config.maximum_calls_per_hour = 0;
	world->config.maximum_setups = SETUPS;
	world_services_up(world);
	world_wan(world, "198.51.100.10");
	survey_all(world, SETUPS + 3, &none);
	world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERED, "");
	for (size_t i = 0; i < SETUPS + 1; i++) {
		const struct tunnel_report wants = {.tunnel = sessions[i].peer->tunnel,
		                                    .wants_peer = true};

		core_tunnel_changed(world->core, &wants);
	}
	assert_int_equal(sessions[SETUPS - 1].state, SESSION_CALLING);
	assert_int_equal(sessions[SETUPS].state, SESSION_READY);
	assert_string_equal(sessions[SETUPS].cause, "too many sessions are being set up");
	assert_int_equal(world->core->counters.triggers_shed, 1);
	core_call_changed(world->core, &call);
	assert_int_equal(world->rejected, 503);
	assert_int_equal(world->core->counters.offers_shed, 1);
	sessions[0].wants_peer = false;
	core_operator_release(world->core, sessions[0].peer->number, false, "hangup");
	assert_int_equal(sessions[0].state, SESSION_RELEASING);
	world_destroy(world);
}

static void unwritable_state_folder_is_told_once_and_bars_calls(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world->attempt_obstacle = "no space";
	trigger(world);
	trigger(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_string_equal(world->session->cause, "no space");
	assert_int_equal(world->orders, 0);
	assert_string_equal(core_operator_call(world->core, PEER), "no space");
	offer_call(world, "theirs");
	assert_int_equal(world->rejected, 503);
	world->attempt_obstacle = NULL;
	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comparing_what_is_there_orders_nothing),
		cmocka_unit_test(restarted_ike_agent_gets_its_session_back),
		cmocka_unit_test(new_ike_that_fails_or_never_comes_hangs_up),
		cmocka_unit_test(restarted_tunnel_agent_gets_peer_and_opening),
		cmocka_unit_test(restarted_nat_qos_agent_is_compared),
		cmocka_unit_test(call_that_sip_agent_forgot_ends_the_session),
		cmocka_unit_test(unsettled_session_is_looked_at_again),
		cmocka_unit_test(what_belongs_to_no_session_is_removed),
		cmocka_unit_test(lost_reply_is_ordered_again_and_bounded),
		cmocka_unit_test(setup_fails_with_the_name_of_the_service_and_rests),
		cmocka_unit_test(second_call_lost_to_ourselves_holds_down),
		cmocka_unit_test(running_sessions_do_not_need_the_others),
		cmocka_unit_test(crowd_sheds_triggers_and_offers_but_no_release),
		cmocka_unit_test(unwritable_state_folder_is_told_once_and_bars_calls),
	};

	return cmocka_run_group_tests_name("coordinator_reconcile", tests, NULL, NULL);
}
