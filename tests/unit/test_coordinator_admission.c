/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Cost guards: how many calls, how long, how soon after a failure. Each beside the same without the guard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_world.h"
#include "services/coordinator/restore.h"

#define SECOND_USEC 1000000ull

static struct admission_subject subject_of(const struct world *world)
{
	return (struct admission_subject){world->core, world->session->line, world->session};
}

static const struct admission_tally *tally_of(const struct world *world, enum admission_guard guard)
{
	const struct admission_subject subject = subject_of(world);

	return admission_tally(&subject, guard);
}

static unsigned used_of(const struct world *world, enum admission_guard guard)
{
	const struct admission_subject subject = subject_of(world);

	return admission_guards[guard].used(&subject);
}

/* A packet, the call, its final response; the pause that follows in milliseconds. */
static uint64_t fail_call(struct world *world, uint32_t sip_status, uint32_t retry_after_sec)
{
	struct call_report report = {
		.call_id = "own",
		.direction = VPNSIP__DIRECTION__OUTGOING,
		.local_number = OWN_LOW,
		.remote_number = PEER,
		.status = VPNSIP__CALL_STATUS__CALL_ENDED,
		.sip_status = sip_status,
		.retry_after_sec = retry_after_sec,
		.cause = "refused",
	};

	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	finish_ordered(world);
	finish_ordered(world);
	world->now_usec += 6 * SECOND_USEC; /* beyond crossing calls */
	report.attempt = world->session->attempt;
	core_call_changed(world->core, &report);
	finish_release(world);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	return world->state_timer_msec;
}

static void end_pause(struct world *world)
{
	world->session->wants_peer = false;
	world->now_usec += world->state_timer_msec * 1000;
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_READY);
}

static void every_final_response_has_its_pause(void **unused)
{
	static const struct {
		uint32_t sip_status;
		unsigned pauses_sec[7]; /* from failure to failure */
	} rows[] = {
		{403, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{404, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{410, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{484, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{603, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{604, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{302, {300, 600, 1200, 2400, 3600, 3600, 3600}},
		{401, {300, 300, 300, 300, 300, 300, 300}},
		{407, {300, 300, 300, 300, 300, 300, 300}},
		{488, {300, 300, 300, 300, 300, 300, 300}},
		{606, {300, 300, 300, 300, 300, 300, 300}},
		{0, {30, 60, 120, 240, 300, 300, 300}},
		{408, {30, 60, 120, 240, 300, 300, 300}},
		{480, {30, 60, 120, 240, 300, 300, 300}},
		{486, {30, 60, 120, 240, 300, 300, 300}},
		{487, {30, 60, 120, 240, 300, 300, 300}},
		{500, {30, 60, 120, 240, 300, 300, 300}},
		{502, {30, 60, 120, 240, 300, 300, 300}},
		{503, {30, 60, 120, 240, 300, 300, 300}},
		{504, {30, 60, 120, 240, 300, 300, 300}},
		{600, {30, 60, 120, 240, 300, 300, 300}},
	};
	(void)unused;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world *world = world_create(OWN_LOW);

		for (size_t failure = 0; failure < 7; failure++) {
			assert_int_equal(fail_call(world, rows[i].sip_status, 0),
			                 rows[i].pauses_sec[failure] * 1000ull);
			assert_int_equal(world->session->failures, failure + 1);
			assert_int_equal(world->session->pause_msec, world->state_timer_msec);
			end_pause(world);
		}
		world_destroy(world);
	}
}

static void a_redirection_says_that_it_is_not_followed(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	fail_call(world, 302, 0);
	assert_string_equal(world->session->cause, "refused (a redirection is never followed)");
	end_pause(world);
	fail_call(world, 404, 0);
	assert_string_equal(world->session->cause, "refused");
	world_destroy(world);
}

static void glare_is_no_failure(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	for (int i = 0; i < 5; i++) {
		uint64_t pause_msec = fail_call(world, 491, 0);

		assert_in_range(pause_msec, 2100, 4000);
		end_pause(world);
	}
	assert_int_equal(world->session->failures, 0);
	assert_int_equal(fail_call(world, 486, 0), 30000);
	world_destroy(world);
}

static void retry_after_is_heeded_within_bounds(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	assert_int_equal(fail_call(world, 503, 10),
	                 10000); /* sooner than we would: it is back then */
	end_pause(world);
	assert_int_equal(fail_call(world, 503, 10), 60000); /* it was not */
	end_pause(world);
	assert_int_equal(fail_call(world, 503, 500), 500000);
	end_pause(world);
	assert_int_equal(fail_call(world, 503, 4000000000u), 3600000);
	world_destroy(world);

	world = world_create(OWN_LOW);
	assert_int_equal(fail_call(world, 480, 1), 5000);
	world_destroy(world);
}

static void success_begins_anew(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	fail_call(world, 404, 0);
	end_pause(world);
	assert_int_equal(fail_call(world, 404, 0), 600000);
	end_pause(world);
	walk_outgoing(world, SESSION_ESTABLISHED);
	core_operator_release(world->core, PEER, false, "test");
	world->session->wants_peer = false;
	finish_release(world);
	assert_int_equal(fail_call(world, 404, 0), 300000);
	world_destroy(world);
}

static void a_long_pause_outlives_a_restart(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	unsigned next_msec;
	(void)unused;

	fail_call(world, 404, 0);
	end_pause(world);
	fail_call(world, 404, 0);
	next_msec = world->session->holddown_msec;
	world_destroy(world);

	world = world_create(OWN_LOW);
	core_restore_holddown(world->core, TUNNEL, next_msec, 400000, "404 Not Found");
	assert_int_equal(world->state_timer_msec, 400000);
	assert_int_equal(world->session->failures, 2);
	end_pause(world);
	assert_int_equal(fail_call(world, 404, 0), 1200000);
	world_destroy(world);
}

static void calls_to_one_peer_are_counted_apart(void **unused)
{
	struct world *world = world_start(OWN_LOW, 1);
	(void)unused;

	core_destroy(world->core);
	world->peer.maximum_calls_per_hour = 2;
	world->core = core_create(&world->config, &world->port);
	world->session = &world->core->sessions[0];
	assert_int_equal(admission_bars_call(world->session), GUARD_COUNT);
	core_restore_call(world->core, "vsip9", 10); /* of a peer that is gone */
	core_restore_call(world->core, TUNNEL, 3000 * SECOND_USEC);
	assert_int_equal(admission_bars_call(world->session), GUARD_COUNT);
	admission_call_placed(world->session, world->now_usec);
	assert_int_equal(admission_bars_call(world->session), GUARD_PEER_CALLS_PER_HOUR);
	assert_int_equal(used_of(world, GUARD_PEER_CALLS_PER_HOUR), 2);
	assert_int_equal(used_of(world, GUARD_CALLS_PER_HOUR), 3);
	/* The hour of the first is over. */
	world->now_usec += 600 * SECOND_USEC;
	assert_int_equal(admission_bars_call(world->session), GUARD_COUNT);
	world_destroy(world);
}

static void a_refused_trigger_is_counted_once(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	const struct admission_tally *tally = tally_of(world, GUARD_CALLS_PER_HOUR);
	(void)unused;

	world->config.maximum_calls_per_hour = 1;
	admission_call_placed(world->session, world->now_usec);
	for (int second = 0; second < 10; second++)
		trigger(world);
	assert_int_equal(tally->refused, 1);
	assert_int_equal(tally->refused_wall_usec, world->now_usec);
	assert_string_equal(tally->cause,
	                    TUNNEL ": the maximum number of calls per hour is reached");
	assert_non_null(core_operator_call(world->core, PEER));
	assert_int_equal(tally->refused, 2);
	assert_int_equal(tally_of(world, GUARD_SESSIONS)->refused, 0);
	world_destroy(world);
}

static void the_hourly_limit_has_no_limit_of_its_own(void **unused)
{
	struct world *world = world_start(OWN_LOW, 1);
	(void)unused;

	core_destroy(world->core);
	world->config.maximum_calls_per_hour = 3000;
	world->core = core_create(&world->config, &world->port);
	world->session = &world->core->sessions[0];
	for (int i = 0; i < 2999; i++)
		admission_call_placed(world->session, world->now_usec);
	assert_int_equal(admission_bars_call(world->session), GUARD_COUNT);
	admission_call_placed(world->session, world->now_usec);
	assert_int_equal(admission_bars_call(world->session), GUARD_CALLS_PER_HOUR);
	world_destroy(world);
}

static void offers_are_refused_as_busy(void **unused)
{
	static const struct {
		unsigned sessions, line_calls, setups;
		uint32_t sip_status;
		enum admission_guard guard;
	} rows[] = {
		{1, 0, 50, 486, GUARD_SESSIONS},
		{300, 1, 50, 486, GUARD_LINE_CALLS},
		{300, 0, 1, 503, GUARD_SETUPS},
		{300, 0, 50, 0, GUARD_COUNT}, /* without any: it is served */
	};
	(void)unused;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct world *world = world_start(OWN_LOW, 2);
		struct media media = offer_media(512, VPNSIP__SETUP_ROLE__ACTIVE);
		const struct call_report offer = {
			.call_id = "theirs",
			.direction = VPNSIP__DIRECTION__INCOMING,
			.local_number = OWN_LOW,
			.remote_number = world->peers[1].number,
			.status = VPNSIP__CALL_STATUS__CALL_OFFERED,
			.media = &media,
		};
		const struct tunnel_report waits = {.tunnel = TUNNEL, .wants_peer = true};

		world_services_up(world);
		for (size_t service = 0; service < SURVEYED_COUNT; service++)
			core_surveyed(world->core, surveyed_services[service]);
		world_wan(world, "198.51.100.10");
		world_register(world, VPNSIP__REGISTRATION_STATUS__REGISTERED, "");
		world->config.maximum_sessions = rows[i].sessions;
		world->config.maximum_setups = rows[i].setups;
		world->line.maximum_calls = rows[i].line_calls;
		core_tunnel_changed(world->core, &waits);
		assert_int_equal(world->session->state, SESSION_CALLING);
		core_call_changed(world->core, &offer);
		assert_int_equal(world->rejected, rows[i].sip_status);
		assert_int_equal(world->core->sessions[1].state,
		                 rows[i].sip_status ? SESSION_READY : SESSION_RINGING);
		if (rows[i].guard != GUARD_COUNT) {
			assert_string_equal(world->core->sessions[1].cause +
			                            strlen("incoming call refused with 486: "),
			                    admission_guards[rows[i].guard].cause);
			world->session = &world->core->sessions[1];
			assert_int_equal(tally_of(world, rows[i].guard)->refused, 1);
		}
		world_destroy(world);
	}
}

static void a_call_of_the_longest_length_is_hung_up(void **unused)
{
	static const bool incoming[] = {false, true};
	(void)unused;

	for (size_t i = 0; i < 2; i++) {
		struct world *world = world_create(OWN_LOW);

		world->peer.maximum_call_sec = 600;
		(incoming[i] ? walk_incoming : walk_outgoing)(world, SESSION_ESTABLISHED);
		world->session->wants_peer = false;
		assert_int_equal(world->call_timer_msec, 600000);
		world->now_usec += 599 * SECOND_USEC;
		core_call_timeout(world->core, world->session);
		assert_int_equal(world->session->state, SESSION_ESTABLISHED);
		assert_int_equal(world->call_timer_msec, 1000);
		assert_int_equal(used_of(world, GUARD_CALL_LENGTH), 599);
		world->now_usec += SECOND_USEC;
		world->ordered = 0;
		core_call_timeout(world->core, world->session);
		assert_int_equal(world->session->state, SESSION_HANGING_UP);
		assert_int_equal(world->ordered, BIT(STEP_HANG_UP));
		assert_string_equal(world->session->cause, "maximum-call 600 s");
		assert_int_equal(world->call_timer_msec, 0);
		assert_int_equal(tally_of(world, GUARD_CALL_LENGTH)->refused, 1);
		finish_release(world);
		assert_int_equal(world->session->state, SESSION_READY);
		assert_int_equal(used_of(world, GUARD_CALL_LENGTH), 0);
		world_destroy(world);
	}
}

/* Without a limit it is warned about once, and goes on. */
static void a_long_call_is_warned_about_once(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	walk_outgoing(world, SESSION_ESTABLISHED);
	assert_int_equal(world->call_timer_msec, 3600000);
	world->now_usec += 3600 * SECOND_USEC;
	core_call_timeout(world->core, world->session);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_true(world->session->is_length_warned);
	assert_int_equal(world->call_timer_msec, 0);
	world_destroy(world);

	world = world_create(OWN_LOW);
	world->peer.maximum_call_sec = 7200;
	walk_outgoing(world, SESSION_ESTABLISHED);
	assert_int_equal(world->call_timer_msec, 3600000);
	world->now_usec += 3600 * SECOND_USEC;
	core_call_timeout(world->core, world->session);
	assert_int_equal(world->call_timer_msec, 3600000);
	world->now_usec += 3600 * SECOND_USEC;
	core_call_timeout(world->core, world->session);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	world_destroy(world);
}

/* A restart of ours does not make the call younger. */
static void an_adopted_call_has_its_age(void **unused)
{
	struct world *world = world_start(OWN_LOW, 1);
	struct media media = offer_media(512, VPNSIP__SETUP_ROLE__PASSIVE);
	struct call_report call = {
		.call_id = "own",
		.attempt = 7,
		.tunnel = TUNNEL,
		.direction = VPNSIP__DIRECTION__OUTGOING,
		.local_number = OWN_LOW,
		.remote_number = PEER,
		.status = VPNSIP__CALL_STATUS__CALL_ANSWERED,
		.media = &media,
		.local = &media,
		.started_wall_usec = world->now_usec - 610 * SECOND_USEC,
		.answered_wall_usec = world->now_usec - 590 * SECOND_USEC,
	};
	const struct tunnel_report tunnel = {
		.tunnel = TUNNEL, .attempt = 7, .is_open = true, .has_sas = true};
	(void)unused;

	world->peer.maximum_call_sec = 600;
	world_services_up(world);
	world_wan(world, "198.51.100.20");
	core_call_changed(world->core, &call);
	core_tunnel_changed(world->core, &tunnel);
	core_ike_changed(world->core, TUNNEL, 7, VPNSIP__IKE_STATUS__IKE_UP, "");
	core_translation_found(world->core, TUNNEL, 7, true);
	core_shaper_found(world->core, TUNNEL, 7);
	for (size_t i = 0; i < SURVEYED_COUNT; i++)
		core_surveyed(world->core, surveyed_services[i]);
	assert_int_equal(world->session->state, SESSION_ESTABLISHED);
	assert_int_equal(world->call_timer_msec, 10000);
	world->now_usec += 10 * SECOND_USEC;
	core_call_timeout(world->core, world->session);
	assert_int_equal(world->session->state, SESSION_HANGING_UP);
	world_destroy(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_final_response_has_its_pause),
		cmocka_unit_test(a_redirection_says_that_it_is_not_followed),
		cmocka_unit_test(glare_is_no_failure),
		cmocka_unit_test(retry_after_is_heeded_within_bounds),
		cmocka_unit_test(success_begins_anew),
		cmocka_unit_test(a_long_pause_outlives_a_restart),
		cmocka_unit_test(calls_to_one_peer_are_counted_apart),
		cmocka_unit_test(a_refused_trigger_is_counted_once),
		cmocka_unit_test(the_hourly_limit_has_no_limit_of_its_own),
		cmocka_unit_test(offers_are_refused_as_busy),
		cmocka_unit_test(a_call_of_the_longest_length_is_hung_up),
		cmocka_unit_test(a_long_call_is_warned_about_once),
		cmocka_unit_test(an_adopted_call_has_its_age),
	};

	return cmocka_run_group_tests_name("coordinator-admission", tests, NULL, NULL);
}
