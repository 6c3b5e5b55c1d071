/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A session's call records, and the reports that change them, on a clock of the test's. */
#ifndef VPNSIP_TESTS_RECORDS_WORLD_H
#define VPNSIP_TESTS_RECORDS_WORLD_H

/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/common/log.h"
#include "services/coordinator/core.h"
#include "services/coordinator/records.h"

#define SECOND  1000000ull
#define TUNNEL  "vsip2"
#define CALL_ID "call@198.51.100.10"
#define START   (1700000000 * SECOND)
#define RUNNING VPNSIP__RECORD_END__RECORD_RUNNING
#define EXACT   VPNSIP__RECORD_END__RECORD_EXACT
#define GUESS   VPNSIP__RECORD_END__RECORD_ESTIMATED

struct world {
	char folder[64], file[96];
	struct records *records;
	struct record_time now;
	struct config config;
	struct config_line line_config;
	struct config_peer peer;
	struct core core;
	struct line line;
	struct session session;
	char obstacle[1024];
	unsigned obstructions, readable;
};

static inline uint64_t wall(void *context)
{
	return ((struct world *)context)->now.wall_usec;
}

static inline uint64_t mono(void *context)
{
	return ((struct world *)context)->now.mono_usec;
}

static inline void obstructed(void *context, const char *why)
{
	struct world *world = context;

	world->obstructions++;
	snprintf(world->obstacle, sizeof(world->obstacle), "%s", why ? why : "");
}

static inline void readable(void *context, struct records *records)
{
	(void)records;
	((struct world *)context)->readable++;
}

static inline void open_records(struct world *world)
{
	const struct records_options options = {
		.folder = world->folder,
		.keep_days = 400,
		.wall_usec = wall,
		.mono_usec = mono,
		.obstructed = obstructed,
		.readable = readable,
		.context = world,
	};

	world->records = records_create(&options);
	assert_non_null(world->records);
}

/* As after a kill: nothing is written at the end. */
static inline void restart(struct world *world)
{
	records_destroy(world->records);
	world->session.attempt = 0;
	open_records(world);
}

static inline int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));

	log_set_level(getenv("ALLOC_FAILURE") != NULL ? LOG_ERR : -1);
	snprintf(world->folder, sizeof(world->folder), "/tmp/vpnsip-records-XXXXXX");
	assert_non_null(mkdtemp(world->folder));
	snprintf(world->file, sizeof(world->file), "%s/calls.db", world->folder);
	world->now = (struct record_time){START, 50 * SECOND};
	world->line_config.number = "0388881001";
	world->peer.number = "0388882001";
	world->peer.tunnel = TUNNEL;
	world->line.config = &world->line_config;
	world->session =
		(struct session){.core = &world->core, .peer = &world->peer, .line = &world->line};
	open_records(world);
	*state = world;
	return 0;
}

static inline int remove_one(const char *path, const struct stat *status, int type,
                             struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

static inline int tear_down(void **state)
{
	struct world *world = *state;

	records_destroy(world->records);
	nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(world);
	return 0;
}

static inline void pass(struct world *world, uint64_t usec)
{
	world->now.wall_usec += usec;
	world->now.mono_usec += usec;
}

static inline void become(struct world *world, enum session_state state)
{
	world->session.state = state;
	records_session_changed(world->records, &world->session);
}

static inline void begin_own(struct world *world, uint64_t attempt)
{
	world->session.attempt = attempt;
	world->session.direction = VPNSIP__DIRECTION__OUTGOING;
	world->session.ordered = 0;
	world->session.call_id[0] = '\0';
	world->session.cause[0] = '\0';
	become(world, SESSION_CALLING);
	world->session.ordered = BIT(STEP_PLACE_CALL);
}

static inline Vpnsip__CallChanged call_of(struct world *world, Vpnsip__CallStatus status)
{
	Vpnsip__CallChanged call = VPNSIP__CALL_CHANGED__INIT;

	call.call_id = CALL_ID;
	call.attempt = world->session.attempt;
	call.tunnel = TUNNEL;
	call.direction = VPNSIP__DIRECTION__OUTGOING;
	call.local_number = (char *)world->line_config.number;
	call.remote_number = (char *)world->peer.number;
	call.status = status;
	call.started_at_usec = START;
	return call;
}

static inline void answer(struct world *world)
{
	Vpnsip__CallChanged call = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);

	call.answered_at_usec = world->now.wall_usec;
	records_call_changed(world->records, &call);
}

static inline Vpnsip__CallChanged ended(struct world *world, uint64_t answered_at_usec)
{
	Vpnsip__CallChanged call = call_of(world, VPNSIP__CALL_STATUS__CALL_ENDED);

	call.answered_at_usec = answered_at_usec;
	call.ended_at_usec = world->now.wall_usec;
	call.ended_by = VPNSIP__ENDED_BY__ENDED_BY_PEER;
	call.cause = "the other side hung up";
	return call;
}

static inline void snapshot(struct world *world, Vpnsip__CallChanged *call)
{
	Vpnsip__SipSnapshot all = VPNSIP__SIP_SNAPSHOT__INIT;

	all.n_calls = call != NULL;
	all.calls = &call;
	records_sip_snapshot(world->records, &all);
}

static inline void tunnel(struct world *world, uint64_t attempt, uint64_t in, uint64_t out)
{
	Vpnsip__TunnelChanged report = VPNSIP__TUNNEL_CHANGED__INIT;

	report.tunnel = TUNNEL;
	report.attempt = attempt;
	report.packets_in = in;
	report.bytes_in = in * 100;
	report.packets_out = out;
	report.bytes_out = out * 100;
	records_tunnel_changed(world->records, &report);
}

static inline void rest(struct world *world, const char *cause)
{
	snprintf(world->session.cause, sizeof(world->session.cause), "%s", cause);
	become(world, SESSION_RELEASING);
	world->session.attempt = 0;
	world->session.ordered = 0;
	become(world, SESSION_READY);
}

static inline bool keep_row(void *context, const struct record *record)
{
	*(struct record *)context = *record;
	return false;
}

/* Row of the attempt, read by a second connection; `attempt` 0 when there is none. */
static inline struct record stored(struct world *world, uint64_t attempt)
{
	Vpnsip__GetCallRecords query = VPNSIP__GET_CALL_RECORDS__INIT;
	struct record record = {0};
	struct records_store *store;
	char why[1024];

	records_tick(world->records);
	records_destroy(world->records);
	store = records_store_open(world->file, why, sizeof(why));
	assert_non_null(store);
	query.before_record = attempt + 1;
	assert_int_equal(records_store_select(store, &query, 1, keep_row, &record), 0);
	records_store_close(store);
	open_records(world);
	return record.attempt == attempt ? record : (struct record){0};
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
