/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Call records: what the file survives, and what is found in it. */
#include <sys/syscall.h>

#include "records_world.h"

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

static unsigned waits_for_disk;

/* In place of libc's, for sqlite too. */
int fsync(int fd)
{
	(void)fd;
	waits_for_disk++;
	return 0;
}

int fdatasync(int fildes)
{
	return fsync(fildes);
}

static void test_only_the_begin_of_a_call_waits_for_the_disk(void **state)
{
	struct world *world = *state;
	unsigned waits;

	for (uint64_t attempt = 7; attempt < 10; attempt++) {
		waits = waits_for_disk;
		begin_own(world, attempt);
		assert_true(waits_for_disk > waits);
		waits = waits_for_disk;
		answer(world);
		become(world, SESSION_ESTABLISHED);
		tunnel(world, attempt, 5, 5);
		rest(world, "idle for 2 s");
		assert_int_equal(waits_for_disk, waits);
	}
	/* One that another process began is no new one. A new file of the log is begun with the first row. */
	begin_own(world, 10);
	restart(world);
	begin_own(world, 11);
	waits = waits_for_disk;
	world->session.attempt = 10;
	answer(world);
	assert_int_equal(waits_for_disk, waits);
	assert_true(stored(world, 10).answered_at_usec > 0);
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
		world->records = NULL;
		assert_int_equal(pipe(ends), 0);
		pid_t child = fork();
		if (child == 0) {
			open_records(world);
			for (number = confirmed + 1;; number++) {
				begin_own(world, number);
				if (write(ends[1], &number, sizeof(number)) < 0)
					_exit(1);
				answer(world);
				usleep(1000); /* few enough to be read again */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_holddown_and_recent_calls_outlive_a_restart),
		TEST(test_only_the_begin_of_a_call_waits_for_the_disk),
		TEST(test_nothing_confirmed_is_lost_by_a_kill),
		TEST(test_a_full_disk_bars_calls_until_it_has_room),
		TEST(test_a_folder_that_is_not_there_bars_calls),
		TEST(test_what_cannot_be_written_is_bounded),
		TEST(test_a_damaged_file_is_set_aside),
		TEST(test_damage_that_is_found_later),
		TEST(test_old_rows_are_deleted),
		TEST(test_queries),
	};

	return cmocka_run_group_tests_name("records file", tests, NULL, NULL);
}
