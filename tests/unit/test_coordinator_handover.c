/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What sip-agent found out reaches nat-qos-agent and track-agent, whatever is lost on the way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "services/common/log.h"
#include "services/coordinator/handover.h"

#define LINE_A "0388881001"
#define LINE_B "0388881002"
#define LINE_C "0388881003"

struct scene {
	struct config config;
	struct config_line lines[3];
	struct handover *handover;
	struct handover_item *ordered; /* the last */
	unsigned orders, timers;
};

static void fake_order(void *context, struct handover_item *item)
{
	struct scene *scene = context;

	scene->ordered = item;
	scene->orders++;
}

static void fake_timer(void *context, uint64_t msec)
{
	assert_int_equal(msec, 1000);
	((struct scene *)context)->timers++;
}

/* A and B are on one WAN. */
static int set_up(void **state)
{
	struct scene *scene = calloc(1, sizeof(*scene));
	const struct handover_port port = {fake_order, fake_timer, scene};

	log_set_level(-1);
	scene->lines[0] = (struct config_line){.number = LINE_A, .wan_interface = "wan0"};
	scene->lines[1] = (struct config_line){.number = LINE_B, .wan_interface = "wan0"};
	scene->lines[2] = (struct config_line){.number = LINE_C, .wan_interface = "wan1"};
	scene->config = (struct config){.lines = scene->lines, .line_count = 3};
	scene->handover = handover_create(&scene->config, &port);
	assert_non_null(scene->handover);
	*state = scene;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *scene = *state;

	handover_destroy(scene->handover);
	free(scene);
	return 0;
}

static struct handover_set set_of(const uint32_t *addresses, size_t count)
{
	struct handover_set set = {.count = 0};

	for (size_t i = 0; i < count; i++) {
		const struct handover_entry entry = {.address = addresses[i], .prefix_length = 32};

		handover_add(&set, &entry);
	}
	return set;
}

static void tell(struct scene *scene, const char *number, const uint32_t *addresses, size_t count)
{
	const struct handover_set set = set_of(addresses, count);

	handover_servers_told(scene->handover, number, &set);
}

static void lease(struct scene *scene, const char *number, const uint32_t *addresses, size_t count)
{
	const struct handover_set set = set_of(addresses, count);

	handover_routes_told(scene->handover, number, &set);
}

static void show(struct scene *scene, const char *number, const uint32_t *addresses, size_t count)
{
	const struct handover_set set = set_of(addresses, count);

	handover_servers_shown(scene->handover, number, &set);
}

static void reply(struct scene *scene, enum handover_outcome outcome)
{
	handover_replied(scene->ordered, outcome, outcome == HANDOVER_DONE ? "" : "why");
}

static void servers_are_ordered_when_they_change(void **state)
{
	struct scene *scene = *state;

	tell(scene, LINE_A, (uint32_t[]){5, 7, 5}, 3);
	assert_int_equal(scene->orders, 1);
	assert_string_equal(scene->ordered->key, LINE_A);
	assert_int_equal(scene->ordered->kind, HANDOVER_SERVERS);
	assert_int_equal(scene->ordered->wanted.count, 2);
	reply(scene, HANDOVER_DONE);
	/* The same in another order is the same. */
	tell(scene, LINE_A, (uint32_t[]){7, 5}, 2);
	assert_int_equal(scene->orders, 1);
	tell(scene, LINE_A, (uint32_t[]){7}, 1);
	assert_int_equal(scene->orders, 2);
	assert_int_equal(scene->ordered->wanted.count, 1);
	tell(scene, "0311112222", (uint32_t[]){7}, 1);
	assert_int_equal(scene->orders, 2);
}

/* A sip-agent that has just started knows none: its calls of before still get their BYE. */
static void no_servers_are_no_order(void **state)
{
	struct scene *scene = *state;

	tell(scene, LINE_A, NULL, 0);
	assert_int_equal(scene->orders, 0);
	tell(scene, LINE_A, (uint32_t[]){5}, 1);
	reply(scene, HANDOVER_DONE);
	tell(scene, LINE_A, NULL, 0);
	assert_int_equal(scene->orders, 1);
}

static void a_lost_order_is_repeated_and_a_refused_one_waits(void **state)
{
	struct scene *scene = *state;

	tell(scene, LINE_A, (uint32_t[]){5}, 1);
	reply(scene, HANDOVER_UNANSWERED);
	assert_int_equal(scene->timers, 1);
	handover_retry(scene->handover);
	assert_int_equal(scene->orders, 2);
	reply(scene, HANDOVER_REFUSED);
	assert_int_equal(scene->timers, 1);
	handover_retry(scene->handover);
	assert_int_equal(scene->orders, 2);
	/* Its next snapshot still lacks it. */
	show(scene, LINE_A, NULL, 0);
	assert_int_equal(scene->orders, 3);
	reply(scene, HANDOVER_DONE);
	handover_retry(scene->handover);
	assert_int_equal(scene->orders, 3);
}

static void a_change_meanwhile_is_ordered_next(void **state)
{
	struct scene *scene = *state;

	tell(scene, LINE_A, (uint32_t[]){5}, 1);
	tell(scene, LINE_A, (uint32_t[]){6}, 1);
	assert_int_equal(scene->orders, 1);
	reply(scene, HANDOVER_DONE);
	assert_int_equal(scene->orders, 2);
	assert_false(scene->ordered->is_confirmed);
	assert_int_equal(scene->ordered->wanted.entries[0].address, 6);
	reply(scene, HANDOVER_DONE);
	assert_int_equal(scene->orders, 2);
	assert_true(scene->ordered->is_confirmed);
}

static void a_snapshot_with_other_servers_is_mended(void **state)
{
	struct scene *scene = *state;

	show(scene, LINE_A, (uint32_t[]){9}, 1); /* nothing is known of the line yet */
	assert_int_equal(scene->orders, 0);
	tell(scene, LINE_A, (uint32_t[]){5, 6}, 2);
	show(scene, LINE_A, NULL, 0); /* under way */
	assert_int_equal(scene->orders, 1);
	reply(scene, HANDOVER_DONE);
	show(scene, LINE_A, (uint32_t[]){6, 5}, 2);
	assert_int_equal(scene->orders, 1);
	show(scene, LINE_A, (uint32_t[]){5, 6, 9}, 3);
	assert_int_equal(scene->orders, 2);
}

static void lines_of_one_wan_have_one_set_of_routes(void **state)
{
	struct scene *scene = *state;

	lease(scene, LINE_A, (uint32_t[]){1, 2}, 2);
	assert_int_equal(scene->orders, 1);
	assert_string_equal(scene->ordered->key, "wan0");
	assert_int_equal(scene->ordered->kind, HANDOVER_ROUTES);
	reply(scene, HANDOVER_DONE);
	lease(scene, LINE_B, (uint32_t[]){1, 2}, 2);
	assert_int_equal(scene->orders, 1);
	/* The lease changes: one line is told first, then the other. */
	lease(scene, LINE_A, (uint32_t[]){2, 3}, 2);
	assert_int_equal(scene->ordered->wanted.count, 3);
	reply(scene, HANDOVER_DONE);
	lease(scene, LINE_B, (uint32_t[]){2, 3}, 2);
	assert_int_equal(scene->ordered->wanted.count, 2);
	reply(scene, HANDOVER_DONE);
	assert_int_equal(scene->orders, 3);
}

static void routes_are_ordered_again_when_track_agent_is_back(void **state)
{
	struct scene *scene = *state;

	handover_routes_shown(scene->handover); /* sip-agent has not told */
	assert_int_equal(scene->orders, 0);
	lease(scene, LINE_C, NULL, 0); /* there may be some of before */
	assert_int_equal(scene->orders, 1);
	assert_string_equal(scene->ordered->key, "wan1");
	reply(scene, HANDOVER_DONE);
	handover_routes_shown(scene->handover);
	assert_int_equal(scene->orders, 2);
}

static void a_set_has_a_limit(void **state)
{
	struct handover_set set = {.count = 0};
	(void)state;

	for (uint32_t i = 1; i <= HANDOVER_ENTRIES + 10; i++) {
		const struct handover_entry entry = {.address = i};

		handover_add(&set, &entry);
	}
	assert_int_equal(set.count, HANDOVER_ENTRIES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(servers_are_ordered_when_they_change, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(no_servers_are_no_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lost_order_is_repeated_and_a_refused_one_waits,
	                                        set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_change_meanwhile_is_ordered_next, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(a_snapshot_with_other_servers_is_mended, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(lines_of_one_wan_have_one_set_of_routes, set_up,
	                                        tear_down),
		cmocka_unit_test_setup_teardown(routes_are_ordered_again_when_track_agent_is_back,
	                                        set_up, tear_down),
		cmocka_unit_test(a_set_has_a_limit),
	};

	return cmocka_run_group_tests_name("coordinator-handover", tests, NULL, NULL);
}
