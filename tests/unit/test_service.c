/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The skeleton: a service as a process of its own, from its options to its end by a signal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/common/config.h"
#include "services/common/log.h"
#include "services/common/service.h"

#define SERVICE_USER "vpnsip-track"
#define WAIT_MSEC    5000

static char directory[64], config_file[128], bad_config_file[128], run_directory[128],
	state_directory[128];

/** A service in a child process, and what it has written on stderr so far. */
struct child {
	pid_t process;
	int output;
	char text[16384];
	size_t used;
};

/* What the process may do, as the kernel sees it, into the log. */
static int log_own_status(struct service_context *service)
{
	FILE *status = fopen("/proc/self/status", "re");
	char line[256];

	while (status && fgets(line, sizeof(line), status))
		if (strncmp(line, "Uid", 3) == 0 || strncmp(line, "Gid", 3) == 0 ||
		    strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNew", 5) == 0 ||
		    strncmp(line, "Groups", 6) == 0)
			log_line(LOG_NOTICE, "status %s", line);
	if (status)
		fclose(status);
	log_line(LOG_NOTICE, "state in %s", service->state_directory);
	return 0;
}

static void log_stop(struct service_context *service)
{
	(void)service;
	log_line(LOG_NOTICE, "stopped");
}

static const int capabilities[] = {CAP_NET_RAW, -1};

static const struct service service = {
	.id = VPNSIP__SERVICE__TRACK_AGENT,
	.name = "track-agent",
	.user = SERVICE_USER,
	.capabilities = capabilities,
	.start = log_own_status,
	.stop = log_stop,
};

static uint64_t now_msec(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The parent never touches the bus: nng does not survive a fork. */
static void start(struct child *child, const char *file, const char *option, const char *value)
{
	char *arguments[] = {
		(char *)service.name, (char *)"-c",
		(char *)file,         (char *)"--run-dir",
		run_directory,        (char *)"--state-dir",
		state_directory,      (char *)option,
		(char *)value,        NULL,
	};
	int ends[2], count = 7 + (option != NULL) + (value != NULL);

	*child = (struct child){0};
	assert_int_equal(pipe(ends), 0);
	child->process = fork();
	assert_true(child->process >= 0);
	if (child->process == 0) {
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		_exit(service_main(&service, count, arguments));
	}
	close(ends[1]);
	child->output = ends[0];
}

static bool read_until(struct child *child, const char *text)
{
	uint64_t deadline = now_msec() + WAIT_MSEC;

	while (!text || !strstr(child->text, text)) {
		struct pollfd poll_entry = {.fd = child->output, .events = POLLIN};
		uint64_t now = now_msec();
		ssize_t length;

		if (now >= deadline || poll(&poll_entry, 1, (int)(deadline - now)) <= 0)
			return false;
		length = read(child->output, child->text + child->used,
		              sizeof(child->text) - child->used - 1);
		if (length <= 0)
			return text == NULL;
		child->used += (size_t)length;
		child->text[child->used] = '\0';
	}
	return true;
}

/* Reads the rest and returns the exit status; a process that does not end is killed and fails the test. */
static int finish(struct child *child)
{
	int status;

	if (!read_until(child, NULL))
		kill(child->process, SIGKILL);
	assert_int_equal(waitpid(child->process, &status, 0), child->process);
	close(child->output);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_check_only(void **state)
{
	struct child child;

	(void)state;
	start(&child, config_file, "-n", NULL);
	assert_int_equal(finish(&child), 0);
	start(&child, bad_config_file, "-n", NULL);
	assert_int_equal(finish(&child), 1);
	assert_non_null(strstr(child.text,
	                       "/bad.conf:1: error: unknown option or section 'enabeld'; "
	                       "did you mean 'enabled'?"));
	start(&child, "/nonexistent", NULL, NULL);
	assert_int_equal(finish(&child), 1);
	assert_int_not_equal(access(run_directory, F_OK), 0);
	start(&child, config_file, "surplus", NULL);
	assert_int_equal(finish(&child), 1);
	assert_non_null(strstr(child.text, "unexpected argument 'surplus'"));
}

static void test_runs_and_leaves(void **state)
{
	struct child child, second;
	uint64_t asked;

	(void)state;
	start(&child, config_file, "--user", "");
	assert_true(read_until(&child, "started"));
	assert_non_null(strstr(child.text, "track-agent notice: state in "));
	kill(child.process, SIGHUP);
	assert_true(read_until(&child, "SIGHUP is ignored"));

	start(&second, config_file, "--user", "");
	assert_int_equal(finish(&second), 1);
	assert_non_null(strstr(second.text, "track-agent error: cannot open the bus: "));

	asked = now_msec();
	kill(child.process, SIGTERM);
	assert_int_equal(finish(&child), 0);
	assert_true(now_msec() - asked < 1000);
	assert_non_null(strstr(child.text, "track-agent notice: stopped\n"));

	/* And again in the same directories. */
	start(&child, config_file, "--user", "");
	assert_true(read_until(&child, "started"));
	kill(child.process, SIGINT);
	assert_int_equal(finish(&child), 0);
}

static void expect_mode(const char *parent, const char *name, unsigned mode, uid_t uid)
{
	struct stat status;
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, mode);
	assert_int_equal(status.st_uid, uid);
}

static void test_privileges(void **state)
{
	const struct passwd *user = getpwnam(SERVICE_USER);
	const struct group *group = getgrnam("vpnsip");
	struct child child;
	char expected[128];

	(void)state;
	if (geteuid() != 0 || !user || !group) {
		skip();
		return;
	}
	start(&child, config_file, NULL, NULL);
	assert_true(read_until(&child, "started"));
	snprintf(expected, sizeof(expected), "Uid: %u %u %u %u", user->pw_uid, user->pw_uid,
	         user->pw_uid, user->pw_uid);
	assert_non_null(strstr(child.text, expected));
	snprintf(expected, sizeof(expected), "Gid: %u %u %u %u", group->gr_gid, group->gr_gid,
	         group->gr_gid, group->gr_gid);
	assert_non_null(strstr(child.text, expected));
	/* 1 << CAP_NET_RAW and nothing else, anywhere. */
	assert_non_null(strstr(child.text, "CapEff: 0000000000002000"));
	assert_non_null(strstr(child.text, "CapPrm: 0000000000002000"));
	assert_non_null(strstr(child.text, "CapInh: 0000000000000000"));
	assert_non_null(strstr(child.text, "CapAmb: 0000000000000000"));
	assert_non_null(strstr(child.text, "NoNewPrivs: 1"));
	expect_mode(run_directory, "", 0755, 0);
	expect_mode(run_directory, "track-agent", 02750, user->pw_uid);
	expect_mode(state_directory, "track-agent", 0700, user->pw_uid);
	kill(child.process, SIGTERM);
	assert_int_equal(finish(&child), 0);

	start(&child, config_file, "--user", "vpnsip-nobody-has-this");
	assert_int_equal(finish(&child), 1);
	assert_non_null(strstr(child.text, "there is no user 'vpnsip-nobody-has-this'"));
}

/* What a peer sent may be in a line; it cannot make a line. */
static void test_log(void **state)
{
	struct child child = {0};
	int ends[2], saved = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_set_name("sip-agent");
	log_set_level(LOG_INFO);
	log_session(LOG_NOTICE, "vsip7", "0388884001", "cause \"%s\"",
	            "busy\nsip-agent error: forged");
	log_line(LOG_DEBUG, "not written");
	log_session(LOG_WARNING, NULL, "0388884001", "number alone");
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(ends[1]);
	child.output = ends[0];
	read_until(&child, NULL);
	close(ends[0]);
	assert_string_equal(
		child.text,
		"sip-agent notice: vsip7 0388884001: cause \"busy sip-agent error: forged\"\n"
		"sip-agent warning: 0388884001: number alone\n");
}

static void write_file(const char *path, const char *text)
{
	FILE *stream = fopen(path, "we");

	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
}

static int make_directory(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "/tmp/vpnsip-test-XXXXXX");
	if (!mkdtemp(directory) || chmod(directory, 0755) != 0)
		return -1;
	snprintf(config_file, sizeof(config_file), "%s/good.conf", directory);
	snprintf(bad_config_file, sizeof(bad_config_file), "%s/bad.conf", directory);
	snprintf(run_directory, sizeof(run_directory), "%s/run", directory);
	snprintf(state_directory, sizeof(state_directory), "%s/state", directory);
	write_file(config_file, "enabled = true\n");
	write_file(bad_config_file, "enabeld = true\n");
	return 0;
}

static int remove_directory(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check_only),
		cmocka_unit_test(test_runs_and_leaves),
		cmocka_unit_test(test_privileges),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
