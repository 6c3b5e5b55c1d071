/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Call records: what becomes of reports, and what the file survives. */
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

static uint64_t wall(void *context)
{
	return ((struct world *)context)->now.wall_usec;
}

static uint64_t mono(void *context)
{
	return ((struct world *)context)->now.mono_usec;
}

static void obstructed(void *context, const char *why)
{
	struct world *world = context;

	world->obstructions++;
	snprintf(world->obstacle, sizeof(world->obstacle), "%s", why ? why : "");
}

static void readable(void *context, struct records *records)
{
	(void)records;
	((struct world *)context)->readable++;
}

static void open_records(struct world *world)
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
static void restart(struct world *world)
{
	records_destroy(world->records);
	world->session.attempt = 0;
	open_records(world);
}

static int set_up(void **state)
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

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status, (void)type, (void)walk;
	return remove(path);
}

static int tear_down(void **state)
{
	struct world *world = *state;

	records_destroy(world->records);
	nftw(world->folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(world);
	return 0;
}

static void pass(struct world *world, uint64_t usec)
{
	world->now.wall_usec += usec;
	world->now.mono_usec += usec;
}

static void become(struct world *world, enum session_state state)
{
	world->session.state = state;
	records_session_changed(world->records, &world->session);
}

static void begin_own(struct world *world, uint64_t attempt)
{
	world->session.attempt = attempt;
	world->session.direction = VPNSIP__DIRECTION__OUTGOING;
	world->session.ordered = 0;
	world->session.call_id[0] = '\0';
	world->session.cause[0] = '\0';
	become(world, SESSION_CALLING);
	world->session.ordered = BIT(STEP_PLACE_CALL);
}

static Vpnsip__CallChanged call_of(struct world *world, Vpnsip__CallStatus status)
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

static void answer(struct world *world)
{
	Vpnsip__CallChanged call = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);

	call.answered_at_usec = world->now.wall_usec;
	records_call_changed(world->records, &call);
}

static Vpnsip__CallChanged ended(struct world *world, uint64_t answered_at_usec)
{
	Vpnsip__CallChanged call = call_of(world, VPNSIP__CALL_STATUS__CALL_ENDED);

	call.answered_at_usec = answered_at_usec;
	call.ended_at_usec = world->now.wall_usec;
	call.ended_by = VPNSIP__ENDED_BY__ENDED_BY_PEER;
	call.cause = "the other side hung up";
	return call;
}

static void snapshot(struct world *world, Vpnsip__CallChanged *call)
{
	Vpnsip__SipSnapshot all = VPNSIP__SIP_SNAPSHOT__INIT;

	all.n_calls = call != NULL;
	all.calls = &call;
	records_sip_snapshot(world->records, &all);
}

static void tunnel(struct world *world, uint64_t attempt, uint64_t in, uint64_t out)
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

static void rest(struct world *world, const char *cause)
{
	snprintf(world->session.cause, sizeof(world->session.cause), "%s", cause);
	become(world, SESSION_RELEASING);
	world->session.attempt = 0;
	world->session.ordered = 0;
	become(world, SESSION_READY);
}

static bool keep_row(void *context, const struct record *record)
{
	*(struct record *)context = *record;
	return false;
}

/* Row of the attempt, read by a second connection; `attempt` 0 when there is none. */
static struct record stored(struct world *world, uint64_t attempt)
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

static void test_an_answered_call(void **state)
{
	struct world *world = *state;
	struct record row;
	uint64_t answered;

	tunnel(world, 0, 10, 10);
	begin_own(world, 7);
	pass(world, SECOND);
	answered = world->now.wall_usec;
	answer(world);
	world->session.negotiated_kbit = 512;
	tunnel(world, 7, 10, 10);
	pass(world, SECOND);
	become(world, SESSION_ESTABLISHED);
	tunnel(world, 7, 15, 17);
	pass(world, 9 * SECOND);
	world->session.ordered |= BIT(STEP_HANG_UP);
	rest(world, "idle for 2 s");
	tunnel(world, 0, 16, 18);
	Vpnsip__CallChanged over = ended(world, answered);
	over.ended_by = VPNSIP__ENDED_BY__ENDED_BY_US;
	records_call_changed(world->records, &over);

	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.started_at_usec, START);
	assert_int_equal(row.answered_at_usec, answered);
	assert_int_equal(row.up_at_usec, answered + SECOND);
	assert_int_equal(row.ended_at_usec, answered + 10 * SECOND);
	assert_int_equal(row.ended_by, VPNSIP__ENDED_BY__ENDED_BY_US);
	assert_int_equal(row.negotiated_kbit, 512);
	assert_int_equal(row.direction, VPNSIP__DIRECTION__OUTGOING);
	assert_string_equal(row.cause, "idle for 2 s");
	assert_string_equal(row.local_number, "0388881001");
	assert_string_equal(row.remote_number, "0388882001");
	assert_string_equal(row.call_id, CALL_ID);
	assert_int_equal(row.traffic.packets_in, 6);
	assert_int_equal(row.traffic.packets_out, 8);
	assert_int_equal(row.traffic.bytes_out, 800);
}

static void test_a_call_that_is_never_ordered_is_not_billed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	world->session.ordered = 0;
	rest(world, "vsip2 has a foreign qdisc");
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
	assert_string_equal(row.cause, "vsip2 has a foreign qdisc");
}

static void test_a_refused_order_is_not_billed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	records_refused(world->records, 7);
	pass(world, 100 * SECOND);
	rest(world, "the line has no open SIP transport");
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
}

static void test_an_end_that_nobody_saw_is_estimated_late(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	rest(world, "peer dead");
	row = stored(world, 7);
	assert_int_equal(row.end, RUNNING);
	pass(world, 20 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.answered_at_usec, answered);
	assert_int_equal(row.ended_at_usec, answered + 60 * SECOND);
}

static void test_an_estimate_of_sip_agent_is_marked(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_end_estimated = true;
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.ended_at_usec, answered + 40 * SECOND);
}

/* Its BYE may be answered 200 by a carrier that ended the call long ago. */
static void test_a_call_taken_up_after_its_session_is_estimated(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_restored = true;
	rest(world, "idle for 2 s");
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 7).end, GUESS);
}

static void test_a_call_taken_up_in_its_session_is_exact(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	over.is_restored = true;
	become(world, SESSION_RELEASING);
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 7).end, EXACT);
}

/* An event may be damaged on its way. */
static void test_a_snapshot_mends_what_an_event_said(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over, live;
	struct record row;

	begin_own(world, 7);
	answer(world);
	live = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);
	live.answered_at_usec = answered;
	over = ended(world, answered);
	records_call_changed(world->records, &over);
	pass(world, 30 * SECOND);
	snapshot(world, &live);
	pass(world, SECOND);
	over.ended_at_usec = world->now.wall_usec - 20 * SECOND;
	records_call_changed(world->records, &over);
	pass(world, SECOND);
	over.ended_at_usec = world->now.wall_usec;
	snapshot(world, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 32 * SECOND);

	over.attempt = 123456;
	over.status = VPNSIP__CALL_STATUS__CALL_ANSWERED;
	records_call_changed(world->records, &over);
	assert_int_equal(stored(world, 123456).attempt, 0);
}

static void test_an_exact_end_replaces_an_estimate(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 40 * SECOND);
	over = ended(world, answered);
	pass(world, 5 * SECOND);
	snapshot(world, NULL);
	assert_int_equal(stored(world, 7).end, GUESS);
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 40 * SECOND);
}

/* A 200 may have come while the coordinator was dead, and sip-agent may have forgotten it since. */
static void test_an_unseen_answer_is_never_undercounted(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	restart(world);
	pass(world, 100 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, GUESS);
	assert_int_equal(row.answered_at_usec, START);
	assert_int_equal(row.ended_at_usec, START + 100 * SECOND);
}

static void test_a_young_call_unknown_to_sip_agent_was_never_placed(void **state)
{
	struct world *world = *state;
	struct record row;

	begin_own(world, 7);
	restart(world);
	pass(world, 5 * SECOND);
	snapshot(world, NULL);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
}

static void test_an_adopted_session_goes_on(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged call, over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	become(world, SESSION_ESTABLISHED);
	tunnel(world, 7, 0, 0);
	tunnel(world, 7, 5, 5);
	restart(world);
	call = call_of(world, VPNSIP__CALL_STATUS__CALL_ANSWERED);
	call.attempt = 7;
	call.answered_at_usec = answered;
	pass(world, 10 * SECOND);
	snapshot(world, &call);
	assert_int_equal(stored(world, 7).end, RUNNING);
	/* What passed while the coordinator was dead is not lost. */
	tunnel(world, 7, 50, 60);
	world->session.attempt = 7;
	become(world, SESSION_ESTABLISHED);
	/* tunnel-agent is restarted */
	tunnel(world, 7, 2, 3);
	pass(world, 10 * SECOND);
	over = ended(world, answered);
	over.attempt = 7;
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec, answered + 20 * SECOND);
	assert_int_equal(row.traffic.packets_in, 52);
	assert_int_equal(row.traffic.packets_out, 63);
}

static void test_a_clock_that_is_set_does_not_change_the_duration(void **state)
{
	struct world *world = *state;
	uint64_t answered = world->now.wall_usec;
	Vpnsip__CallChanged over;
	struct record row;

	begin_own(world, 7);
	answer(world);
	pass(world, 20 * SECOND);
	world->now.wall_usec += 3600 * SECOND;
	pass(world, 10 * SECOND);
	over = ended(world, answered);
	records_call_changed(world->records, &over);
	row = stored(world, 7);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.ended_at_usec - row.answered_at_usec, 30 * SECOND);
}

static void test_an_incoming_call_that_is_refused(void **state)
{
	struct world *world = *state;
	Vpnsip__CallChanged over;
	struct record row;

	world->session.attempt = 9;
	world->session.direction = VPNSIP__DIRECTION__INCOMING;
	snprintf(world->session.call_id, sizeof(world->session.call_id), CALL_ID);
	become(world, SESSION_RINGING);
	pass(world, SECOND);
	rest(world, "psk-fingerprint of the offer is of another key than ours");
	over = ended(world, 0);
	over.attempt = 0;
	over.direction = VPNSIP__DIRECTION__INCOMING;
	over.sip_status = 488;
	records_call_changed(world->records, &over);
	row = stored(world, 9);
	assert_int_equal(row.end, EXACT);
	assert_int_equal(row.answered_at_usec, 0);
	assert_int_equal(row.direction, VPNSIP__DIRECTION__INCOMING);
}

static void keep_holddown(void *context, const struct record_holddown *holddown)
{
	*(struct record_holddown *)context = *holddown;
}

static void add_age(void *context, const char *tunnel, uint64_t age_usec)
{
	uint64_t *ages = context;

	assert_string_equal(tunnel, TUNNEL);
	ages[0]++;
	ages[1] = age_usec;
}

static void test_holddown_and_recent_calls_outlive_a_restart(void **state)
{
	struct world *world = *state;
	struct record_holddown holddown = {0};
	uint64_t ages[2] = {0};

	begin_own(world, 7);
	rest(world, "486 Busy Here");
	world->session.holddown_msec = 4000;
	world->session.holddown_until_usec = world->now.mono_usec + 2 * SECOND;
	become(world, SESSION_HOLDDOWN);
	restart(world);
	assert_int_equal(world->readable, 2);
	records_give_holddowns(world->records, keep_holddown, &holddown);
	assert_string_equal(holddown.tunnel, TUNNEL);
	assert_int_equal(holddown.until_usec, world->now.wall_usec + 2 * SECOND);
	assert_int_equal(holddown.next_msec, 4000);
	assert_string_equal(holddown.cause, "486 Busy Here");
	pass(world, 60 * SECOND);
	records_give_recent_calls(world->records, add_age, ages);
	assert_int_equal(ages[0], 1);
	assert_int_equal(ages[1], 60 * SECOND);
	assert_int_equal(records_last_attempt(world->records), 7);

	/* Once it is over, it is over. */
	world->session.holddown_msec = 0;
	become(world, SESSION_READY);
	restart(world);
	records_give_holddowns(world->records, keep_holddown, &holddown);
	assert_int_equal(holddown.until_usec, 0);
	assert_int_equal(holddown.next_msec, 0);

	/* Without the file there is nothing to go by: the control. */
	records_destroy(world->records);
	remove(world->file);
	open_records(world);
	holddown = (struct record_holddown){0};
	records_give_holddowns(world->records, keep_holddown, &holddown);
	assert_string_equal(holddown.tunnel, "");
}

/* The child confirms each attempt through a pipe when it is told to be on the disk, and is killed at any moment. */
static void test_nothing_confirmed_is_lost_by_a_kill(void **state)
{
	struct world *world = *state;
	unsigned seed = (unsigned)time(NULL);
	uint64_t confirmed = 0, number;
	int ends[2];

	print_message("seed %u\n", seed);
	for (int round = 0; round < 10; round++) {
		records_destroy(world->records);
		assert_int_equal(pipe(ends), 0);
		pid_t child = fork();
		if (child == 0) {
			open_records(world);
			for (number = confirmed + 1;; number++) {
				begin_own(world, number);
				if (write(ends[1], &number, sizeof(number)) < 0)
					_exit(1);
				answer(world);
			}
		}
		close(ends[1]);
		assert_int_equal(read(ends[0], &number, sizeof(number)), sizeof(number));
		confirmed = number;
		usleep(rand_r(&seed) % 30000);
		kill(child, SIGKILL);
		while (read(ends[0], &number, sizeof(number)) == sizeof(number))
			confirmed = number;
		close(ends[0]);
		waitpid(child, NULL, 0);
		open_records(world);
		assert_int_equal(world->obstructions, 0);
		assert_true(records_last_attempt(world->records) >= confirmed);
		confirmed = records_last_attempt(world->records);
	}
	assert_true(confirmed >= 10);
	for (number = 1; number <= confirmed; number += confirmed / 10)
		assert_int_equal(stored(world, number).attempt, number);
}

static void limit_file_size(rlim_t octets)
{
	struct rlimit limit;

	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = octets;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void test_a_full_disk_bars_calls_until_it_has_room(void **state)
{
	struct world *world = *state;
	uint64_t attempt = 1;

	signal(SIGXFSZ, SIG_IGN);
	limit_file_size(32768);
	while (attempt < 1000 && !world->obstacle[0])
		begin_own(world, attempt++);
	limit_file_size(RLIM_INFINITY);
	assert_true(attempt < 1000);
	assert_non_null(strstr(world->obstacle, world->file));
	assert_true(strlen(world->obstacle) > strlen(world->file) + 40);
	assert_int_equal(world->obstructions, 1);

	/* What happened meanwhile is written as soon as there is room. */
	begin_own(world, attempt);
	pass(world, RECORDS_TICK_MSEC * 1000ull);
	records_tick(world->records);
	assert_string_equal(world->obstacle, "");
	assert_int_equal(world->obstructions, 2);
	assert_int_equal(stored(world, attempt).attempt, attempt);
	assert_int_equal(stored(world, attempt - 1).attempt, attempt - 1);
}

static void test_a_folder_that_is_not_there_bars_calls(void **state)
{
	struct world *world = *state;
	char good[sizeof(world->folder)];

	records_destroy(world->records);
	memcpy(good, world->folder, sizeof(good));
	snprintf(world->folder, sizeof(world->folder), "/tmp/vpnsip-no-such-folder");
	open_records(world);
	assert_non_null(strstr(world->obstacle, "/tmp/vpnsip-no-such-folder/calls.db"));
	assert_non_null(strstr(world->obstacle, "No such file or directory"));
	begin_own(world, 7);
	records_tick(world->records);
	assert_int_equal(world->obstructions, 1);
	memcpy(world->folder, good, sizeof(good));
}

/* Each attempt ends before anything was ordered of sip-agent. */
static void fail_own(struct world *world, uint64_t attempt)
{
	begin_own(world, attempt);
	world->session.ordered = 0;
	become(world, SESSION_RELEASING);
	world->session.attempt = 0;
	become(world, SESSION_READY);
}

static void test_what_cannot_be_written_is_bounded(void **state)
{
	struct world *world = *state;
	char away[sizeof(world->folder) + 8];
	uint64_t attempt = 7;

	records_destroy(world->records);
	snprintf(away, sizeof(away), "%s.away", world->folder);
	assert_int_equal(rename(world->folder, away), 0);
	open_records(world);
	assert_true(world->obstacle[0] != '\0');
	begin_own(world, 1);
	answer(world);
	world->session = (struct session){
		.core = &world->core,
		.peer = &(struct config_peer){.number = "0388882002", .tunnel = "vsip3"},
		.line = &world->line};
	for (int i = 0; i < 1010; i++)
		fail_own(world, attempt++);
	assert_int_equal(rename(away, world->folder), 0);
	pass(world, RECORDS_TICK_MSEC * 1000ull);
	records_tick(world->records);
	assert_string_equal(world->obstacle, "");
	/* The oldest are lost, but not the call that runs. */
	assert_int_equal(stored(world, 1).attempt, 1);
	assert_int_equal(stored(world, 1).end, RUNNING);
	assert_int_equal(stored(world, 16).attempt, 0);
	assert_int_equal(stored(world, 17).attempt, 17);
	assert_int_equal(stored(world, attempt - 1).attempt, attempt - 1);
}

static void overwrite(const char *file, long from, long octets)
{
	int fd = open(file, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	for (long i = 0; i < octets; i++)
		assert_int_equal(pwrite(fd, "\xa5", 1, from + i), 1);
	close(fd);
}

static bool is_set_aside(struct world *world)
{
	char command[160];

	snprintf(command, sizeof(command), "ls %s/calls.db.damaged-* >/dev/null 2>&1",
	         world->folder);
	return system(command) == 0; /* NOLINT(cert-env33-c): a test's own folder */
}

static void test_a_damaged_file_is_set_aside(void **state)
{
	struct world *world = *state;

	begin_own(world, 7);
	records_destroy(world->records);
	overwrite(world->file, 0, 4096);
	open_records(world);
	assert_true(is_set_aside(world));
	assert_string_equal(world->obstacle, "");
	begin_own(world, 8);
	assert_int_equal(stored(world, 8).attempt, 8);
	assert_int_equal(stored(world, 7).attempt, 0);
}

static void test_damage_that_is_found_later(void **state)
{
	struct world *world = *state;
	struct stat status;

	for (uint64_t attempt = 1; attempt <= 200; attempt++)
		begin_own(world, attempt);
	answer(world);
	records_destroy(world->records);
	assert_int_equal(stat(world->file, &status), 0);
	overwrite(world->file, 4096, status.st_size - 4096);
	open_records(world);
	for (int i = 0; i < 3; i++) {
		pass(world, RECORDS_TICK_MSEC * 1000ull);
		records_tick(world->records);
	}
	assert_true(is_set_aside(world));
	assert_string_equal(world->obstacle, "");
	begin_own(world, 300);
	assert_int_equal(stored(world, 300).attempt, 300);
}

static void test_old_rows_are_deleted(void **state)
{
	struct world *world = *state;

	begin_own(world, 7);
	world->session.ordered = 0;
	rest(world, "test");
	pass(world, 401 * 86400 * SECOND);
	begin_own(world, 8);
	assert_int_equal(stored(world, 7).attempt, 0);
	assert_int_equal(stored(world, 8).attempt, 8);
}

static bool count_row(void *context, const struct record *record)
{
	(void)record;
	++*(int *)context;
	return true;
}

static void test_queries(void **state)
{
	struct world *world = *state;
	Vpnsip__GetCallRecords query = VPNSIP__GET_CALL_RECORDS__INIT;
	struct records_store *store;
	char why[1024];
	int count = 0;

	for (uint64_t attempt = 1; attempt <= 20; attempt++) {
		begin_own(world, attempt);
		pass(world, 60 * SECOND);
	}
	records_destroy(world->records);
	store = records_store_open(world->file, why, sizeof(why));
	records_store_select(store, &query, 5, count_row, &count);
	assert_int_equal(count, 6); /* one more than the limit tells that there are more */
	query.before_record = 4;
	count = 0;
	records_store_select(store, &query, 100, count_row, &count);
	assert_int_equal(count, 3);
	query.before_record = 0;
	query.since_usec = START + 18 * 60 * SECOND;
	count = 0;
	records_store_select(store, &query, 100, count_row, &count);
	assert_int_equal(count, 2);
	query.remote_number = "0399999999";
	count = 0;
	records_store_select(store, &query, 100, count_row, &count);
	assert_int_equal(count, 0);
	records_store_close(store);
	open_records(world);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_an_answered_call),
		TEST(test_a_call_that_is_never_ordered_is_not_billed),
		TEST(test_a_refused_order_is_not_billed),
		TEST(test_an_end_that_nobody_saw_is_estimated_late),
		TEST(test_an_estimate_of_sip_agent_is_marked),
		TEST(test_a_call_taken_up_after_its_session_is_estimated),
		TEST(test_a_call_taken_up_in_its_session_is_exact),
		TEST(test_a_snapshot_mends_what_an_event_said),
		TEST(test_an_exact_end_replaces_an_estimate),
		TEST(test_an_unseen_answer_is_never_undercounted),
		TEST(test_a_young_call_unknown_to_sip_agent_was_never_placed),
		TEST(test_an_adopted_session_goes_on),
		TEST(test_a_clock_that_is_set_does_not_change_the_duration),
		TEST(test_an_incoming_call_that_is_refused),
		TEST(test_holddown_and_recent_calls_outlive_a_restart),
		TEST(test_nothing_confirmed_is_lost_by_a_kill),
		TEST(test_a_full_disk_bars_calls_until_it_has_room),
		TEST(test_a_folder_that_is_not_there_bars_calls),
		TEST(test_what_cannot_be_written_is_bounded),
		TEST(test_a_damaged_file_is_set_aside),
		TEST(test_damage_that_is_found_later),
		TEST(test_old_rows_are_deleted),
		TEST(test_queries),
	};

	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
