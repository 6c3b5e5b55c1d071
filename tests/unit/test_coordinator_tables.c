/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The coordinator's state machines: every state x event pair against a table of expectations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "coordinator_world.h"

/* Short names for the table below: ignored, the same state, and the states. */
enum {
	IGNORED = SESSION_STATE_COUNT + 1,
	SAME = SESSION_STATE_COUNT,
	CALL = SESSION_CALLING,
	RING = SESSION_RINGING,
	NEGO = SESSION_NEGOTIATING,
	MEND = SESSION_MENDING,
	HANG = SESSION_HANGING_UP,
	STOP = SESSION_STOPPING_IKE,
	RELE = SESSION_RELEASING,
	REST = SESSION_READY,
};
#define _ IGNORED

/* The next state for each event, own call; the columns are enum session_event_type. The failed step is one that matters. */
/* clang-format off */
static const int expected_outgoing[SESSION_STATE_COUNT][SESSION_EVENT_COUNT] = {
	/*                 trigger      release      stepfail     answered     confirmed    ended        ikedown      dead         timeout      surveyed    lost        toolong
	                          opcall       stepdone     ringing      offered      failed       ikeup        idle         linelost     probe       compared    unwatched */
	[SESSION_READY]       = { CALL, CALL,  _,    _,    _,    _,    _,    RING, _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _,    _ },
	[SESSION_CALLING]     = { _,    _,     HANG, SAME, HANG, RING, NEGO, SAME, _,    HANG, HANG, _,    _,    _,    _,    HANG, HANG, _,    _,    _,    HANG, _,    _ },
	[SESSION_RINGING]     = { _,    _,     HANG, SAME, HANG, _,    NEGO, SAME, SAME, HANG, HANG, SAME, HANG, _,    _,    HANG, HANG, _,    _,    _,    HANG, _,    _ },
	[SESSION_NEGOTIATING] = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, SAME, HANG, HANG, SAME, HANG, _,    _,    HANG, HANG, SAME, _,    _,    HANG, _,    HANG },
	[SESSION_ESTABLISHED] = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, _,    HANG, HANG, _,    HANG, HANG, HANG, HANG, _,    SAME, _,    SAME, _,    HANG, HANG },
	[SESSION_HANGING_UP]  = { _,    _,     _,    SAME, SAME, _,    _,    SAME, _,    STOP, STOP, _,    _,    _,    _,    _,    STOP, _,    _,    _,    _,    _,    _ },
	[SESSION_STOPPING_IKE] = { _,   _,     _,    SAME, SAME, _,    _,    SAME, _,    SAME, SAME, _,    _,    _,    _,    _,    RELE, _,    _,    _,    _,    _,    _ },
	[SESSION_RELEASING]   = { _,    _,     _,    SAME, SAME, _,    _,    SAME, _,    SAME, SAME, _,    _,    _,    _,    _,    REST, _,    _,    _,    _,    _,    _ },
	[SESSION_HOLDDOWN]    = { _,    CALL,  REST, _,    _,    _,    _,    RING, _,    _,    _,    _,    _,    _,    _,    _,    REST, _,    _,    _,    _,    _,    _ },
	[SESSION_ADOPTING]    = { _,    _,     SAME, _,    _,    _,    _,    SAME, _,    _,    _,    _,    _,    _,    _,    _,    REST, _,    REST, _,    _,    _,    _ },
	[SESSION_MENDING]     = { _,    _,     HANG, SAME, HANG, _,    _,    SAME, _,    HANG, HANG, SAME, SAME, HANG, HANG, HANG, HANG, SAME, _,    SAME, _,    HANG, HANG },
	[SESSION_PARTING]     = { _,    _,     HANG, SAME, SAME, _,    _,    HANG, _,    HANG, HANG, _,    _,    HANG, HANG, HANG, HANG, _,    _,    _,    _,    HANG, HANG },
};
/* clang-format on */
#undef _

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
		expected = HANG; /* the caller calls anew: the older call gives way */
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
			if ((state >= SESSION_RINGING && state <= SESSION_RELEASING) ||
			    state == SESSION_MENDING || state == SESSION_PARTING)
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
			assert_true(description->timer >= 0 || description->limit_msec > 0);
	}
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
			line->registration =
				VPNSIP__REGISTRATION_STATUS__REGISTRATION_STATUS_UNSPECIFIED;
			line_handle(line, event, "test");
			assert_int_equal(line->state, expected < 0 ? (int)state : expected);
			assert_int_equal(line->ignored_events, expected < 0);
			world_destroy(world);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_meets_every_event),
		cmocka_unit_test(tables_are_closed),
		cmocka_unit_test(every_line_state_meets_every_event),
	};

	return cmocka_run_group_tests_name("coordinator tables", tests, NULL, NULL);
}
