/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The records of calls: a torn line, their growth, and a disk that takes nothing. */
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "sip_ua_scene.h"

/* The power went while a line was written: what was written before counts. */
static void a_line_that_was_cut_off_is_left_out(void **state)
{
	char path[128];

	(void)state;
	place_call(12);
	answer(scene.received, 200, "", ANSWER);
	expect("ACK ");
	wait_for_state(CALL_STATE_ANSWERED);
	record_path(12, path);
	FILE *file = fopen(path, "a");
	assert_non_null(file);
	fputs("{\"state\":11,\"cau", file);
	fclose(file);
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_ANSWERED);
}

/* A line with each refresh, but not for ever. */
static void a_record_does_not_grow_without_end(void **state)
{
	const off_t maximum = 65536 + 8192;
	char tag[64], path[128];
	struct stat file;

	(void)state;
	take_call("long", "Allow: UPDATE\r\n");
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "long", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	record_path(scene.call.attempt, path);
	for (unsigned i = 0; i < 100; i++) {
		ASK(.method = "UPDATE", .call_id = "long", .cseq = 2 + i, .tag = tag);
		expect("SIP/2.0 200");
		assert_int_equal(stat(path, &file), 0);
		assert_true(file.st_size < maximum);
	}
	restart();
	assert_non_null(only_call());
	assert_int_equal(scene.call.state, CALL_STATE_CONFIRMED);
}

/* A call, an attempt and an offer against a state directory that takes nothing; `repair` makes it take things again. */
static void nothing_is_begun_that_cannot_be_stored(void (*spoil)(void), void (*repair)(void),
                                                   const char *error)
{
	struct sofia_call_order order = {31, "vsip2", OURS, THEIRS, tunnel(SDP_ACTIVE)};
	const struct sdp_tunnel ours = tunnel(SDP_PASSIVE);
	char tag[64], path[128];

	take_call("up", "Allow: UPDATE\r\n");
	to_tag(tag, sizeof(tag));
	ASK(.method = "ACK", .call_id = "up", .cseq = 1, .tag = tag);
	wait_for_state(CALL_STATE_CONFIRMED);
	log_set_level(LOG_EMERG);
	spoil();
	order.tunnel = "vsip3";
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_UNSTORED);
	record_path(31, path);
	assert_non_null(strstr(sofia_store_failure(scene.sofia), path));
	assert_non_null(strstr(sofia_store_failure(scene.sofia), error));
	expect_nothing("INVITE ");
	ASK(.method = "INVITE", .call_id = "full", .cseq = 1, .body = OFFER);
	expect("SIP/2.0 100");
	assert_int_equal(sofia_answer_call(scene.sofia, "full", 32, "vsip3", &ours),
	                 SOFIA_UNSTORED);
	expect("SIP/2.0 503");
	ASK(.method = "ACK", .call_id = "full", .cseq = 1);
	/* the one that is up goes on, and ends as it should */
	ASK(.method = "UPDATE", .call_id = "up", .cseq = 2, .tag = tag);
	expect("SIP/2.0 200");
	repair();
	log_set_level(LOG_ERR);
	order.attempt = 33;
	assert_int_equal(sofia_place_call(scene.sofia, &order), SOFIA_DONE);
	expect("INVITE ");
	assert_string_equal(sofia_store_failure(scene.sofia), "");
	ASK(.method = "BYE", .call_id = "up", .cseq = 3, .tag = tag);
	expect("SIP/2.0 200");
}

static struct rlimit file_size;

static void limit_files(void)
{
	struct rlimit small;

	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &file_size);
	small = file_size;
	small.rlim_cur = 512;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
}

static void unlimit_files(void)
{
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &file_size), 0);
}

static void files_may_not_grow(void **state)
{
	(void)state;
	nothing_is_begun_that_cannot_be_stored(limit_files, unlimit_files, "File too large");
}

static char filler[128];

static void fill_disk(void)
{
	char block[4096] = {0};

	snprintf(filler, sizeof(filler), "%s/filler", scene.fixture->run_directory);
	FILE *file = fopen(filler, "w");
	assert_non_null(file);
	setvbuf(file, NULL, _IONBF, 0);
	while (fwrite(block, sizeof(block), 1, file) == 1)
		;
	fclose(file);
}

static void empty_disk(void)
{
	assert_int_equal(unlink(filler), 0);
}

static int set_up_on_small_disk(void **state)
{
	(void)state;
	set_up(state);
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0)
		return 0;
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	sofia_close(scene.sofia);
	assert_int_equal(mount("none", scene.fixture->run_directory, "tmpfs", 0, "size=128k"), 0);
	config_free(scene.config);
	scene.config = load_config();
	open_agent();
	order_registration();
	accept_registration(3600);
	return 0;
}

static int tear_down_small_disk(void **state)
{
	umount2(scene.fixture->run_directory, MNT_DETACH);
	return tear_down(state);
}

static void the_disk_is_full(void **state)
{
	struct stat above, here;
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/..", scene.fixture->run_directory);
	if (stat(path, &above) != 0 || stat(scene.fixture->run_directory, &here) != 0 ||
	    above.st_dev == here.st_dev)
		skip(); /* mounting needs root */
	nothing_is_begun_that_cannot_be_stored(fill_disk, empty_disk, "No space left");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		REGISTERED(a_line_that_was_cut_off_is_left_out),
		REGISTERED(a_record_does_not_grow_without_end),
		REGISTERED(files_may_not_grow),
		cmocka_unit_test_setup_teardown(the_disk_is_full, set_up_on_small_disk,
	                                        tear_down_small_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
