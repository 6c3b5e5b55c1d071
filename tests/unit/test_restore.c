/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a starting coordinator takes over from the call records, and what bars calls. */
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

static void test_a_holddown_goes_on_and_doubles_on(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	core_restore_holddown(world->core, TUNNEL, 60000, 20000, "486 Busy Here");
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	assert_int_equal(world->state_timer_msec, 20000);
	assert_string_equal(world->session->cause, "486 Busy Here");
	trigger(world);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	world->now_usec += 20000000;
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_CALLING);
	core_session_timeout(world->core, world->session, false);
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	assert_int_equal(world->state_timer_msec, 60000);
	world_destroy(world);
}

static void test_a_holddown_waits_for_the_adoption(void **unused)
{
	struct world *world = world_start(OWN_LOW, 1);
	(void)unused;

	assert_int_equal(world->session->state, SESSION_ADOPTING);
	core_restore_holddown(world->core, TUNNEL, 60000, 20000, "486 Busy Here");
	assert_int_equal(world->session->state, SESSION_ADOPTING);
	world->now_usec += 5000000;
	core_session_timeout(world->core, world->session, false);
	assert_int_equal(world->session->state, SESSION_HOLDDOWN);
	assert_int_equal(world->state_timer_msec, 15000);
	world_destroy(world);
}

static void test_a_holddown_that_is_over_leaves_its_doubling(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	core_restore_holddown(world->core, TUNNEL, 60000, 0, "486 Busy Here");
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->session->holddown_msec, 60000);
	core_restore_holddown(world->core, "vsip99", 60000, 1000, "of a peer that is gone");
	world_destroy(world);
}

/* A clock that was set back would hold a session down for years. */
static void test_no_holddown_is_longer_than_the_longest(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	core_restore_holddown(world->core, TUNNEL, 60000, 1000000000, "486 Busy Here");
	assert_int_equal(world->state_timer_msec, 3600000);
	world_destroy(world);
}

static void test_calls_of_the_last_hour_count(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	world->config.maximum_calls_per_hour = 2;
	core_restore_call(world->core, TUNNEL, 3599000000ull);
	assert_null(core_call_refusal(world->core, world->session));
	core_restore_call(world->core, TUNNEL, 1000000ull);
	assert_string_equal(core_call_refusal(world->core, world->session),
	                    "the maximum number of calls per hour is reached");
	world->now_usec += 2000000;
	assert_null(core_call_refusal(world->core, world->session));
	world_destroy(world);
}

static void test_barred_calls(void **unused)
{
	struct world *world = world_create(OWN_LOW);
	(void)unused;

	core_bar_calls(world->core, "the call records cannot be kept: disk full");
	trigger(world);
	assert_int_equal(world->session->state, SESSION_READY);
	assert_int_equal(world->ordered, 0);
	assert_string_equal(world->session->cause, "the call records cannot be kept: disk full");
	offer_call(world, "theirs");
	assert_int_equal(world->session->state, SESSION_RINGING);
	world_destroy(world);

	/* Also a call that is being prepared does not go out. */
	world = world_create(OWN_LOW);
	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	core_bar_calls(world->core, "disk full");
	finish_ordered(world);
	assert_false(world->ordered & BIT(STEP_PLACE_CALL));
	finish_ordered(world);
	assert_int_equal(world->session->state, SESSION_READY);
	core_bar_calls(world->core, NULL);
	trigger(world);
	assert_int_equal(world->session->state, SESSION_CALLING);
	world_destroy(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_holddown_goes_on_and_doubles_on),
		cmocka_unit_test(test_a_holddown_waits_for_the_adoption),
		cmocka_unit_test(test_a_holddown_that_is_over_leaves_its_doubling),
		cmocka_unit_test(test_no_holddown_is_longer_than_the_longest),
		cmocka_unit_test(test_calls_of_the_last_hour_count),
		cmocka_unit_test(test_barred_calls),
	};

	return cmocka_run_group_tests_name("restore", tests, NULL, NULL);
}
