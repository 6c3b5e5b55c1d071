/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls on the wire: set-ups with the options that matter to them, and what all their tests do. */
#ifndef VPNSIP_TEST_SIP_CALLS_SCENE_H
#define VPNSIP_TEST_SIP_CALLS_SCENE_H

#include "sip_ua_scene.h"

#define WITH(name, prepare) cmocka_unit_test_setup_teardown(name, prepare, tear_down)
#define RETRY_ONCE          "retry-invite = 1"
#define SHORT_TIMERS        "timers { session-expires = 4 session-minimum = 2 }\n"

static char invite[8192];

static inline int set_up_with(void **state, const char *line_options, const char *options)
{
	scene_line_options = line_options;
	scene_options = options;
	return set_up_registered(state);
}

static inline int set_up_plain(void **state)
{
	return set_up_with(state, "", "");
}

static inline int set_up_off(void **state)
{
	return set_up_with(state, "reliable-provisional = off", "");
}

static inline int set_up_required(void **state)
{
	return set_up_with(state, "reliable-provisional = required", "");
}

static inline int set_up_two_servers(void **state)
{
	return set_up_with(state, RETRY_ONCE " secondary-registrar = \"" STRANGER ":5060\"", "");
}

static inline int set_up_short(void **state)
{
	return set_up_with(state, RETRY_ONCE, SHORT_TIMERS);
}

/* Places attempt `attempt` and keeps its INVITE. */
static inline void call_out(uint64_t attempt)
{
	place_call(attempt);
	memcpy(invite, scene.received, sizeof(invite));
}

static inline void call_out_answered(uint64_t attempt, const char *headers)
{
	call_out(attempt);
	answer(invite, 200, headers, ANSWER);
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
}

static inline unsigned sequence(void)
{
	char line[64];
	unsigned number = 0;

	copy_header(scene.received, "CSeq", line, sizeof(line));
	sscanf(line, "CSeq: %u", &number);
	return number;
}

static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void hang_up(uint64_t attempt)
{
	assert_int_equal(sofia_hang_up(scene.sofia, "", attempt, "changed our mind"), SOFIA_DONE);
}

#endif
