/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Command lines run against scripted services, each in a process of its own, in a directory of the test's. */
#ifndef VPNSIP_TESTS_CLI_FIXTURE_H
#define VPNSIP_TESTS_CLI_FIXTURE_H

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "services/cli/commands.h"
#include "services/common/service.h"

#define SCRIPTED_MAXIMUM 4
/** A command that misses services ends by itself. A limit, not a measure: the machine may be busy. */
#define BOUNDED_SECONDS  10

static char directory[64], run_directory[128], state_directory[128], config_file[128], uid_map[128];
/** What the services write to standard error. */
static char log_file[128];
static pid_t scripted[SCRIPTED_MAXIMUM];

static pid_t start(const struct service *service, bool allows_faults)
{
	char *arguments[] = {
		(char *)service->name,
		(char *)"-c",
		config_file,
		(char *)"--run-dir",
		run_directory,
		(char *)"--state-dir",
		state_directory,
		(char *)"--user",
		(char *)"",
		(char *)"--uid-map",
		uid_map,
		NULL,
		NULL,
	};
	pid_t process = fork();

	if (process == 0) {
		int log = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		dup2(log, STDERR_FILENO);
		if (allows_faults)
			arguments[11] = (char *)"--allow-faults";
		_exit(service_main(service, allows_faults ? 12 : 11, arguments));
	}
	return process;
}

/** What a command wrote and how it ended. */
struct outcome {
	int status;
	double seconds;
	char out[8192], err[2048];
};

static void read_file(const char *path, char *text, size_t size)
{
	FILE *stream = fopen(path, "re");
	size_t length = stream ? fread(text, 1, size - 1, stream) : 0;

	text[length] = '\0';
	if (stream)
		fclose(stream);
}

/* In a child of its own: the parent stays without nng and may fork again. `words` may contain options. */
static pid_t begin_command(const char *out, const char *err, char *const *words, size_t count)
{
	char *argv[32] = {(char *)"vpnsip", (char *)"--run-dir", run_directory, (char *)"--uid-map",
	                  uid_map,          (char *)"--yes"};
	struct cli cli = {0};
	int first, argc = 6, status = CLI_FAILED;
	pid_t process;

	for (size_t i = 0; i < count; i++)
		argv[argc++] = words[i];
	process = fork();
	if (process == 0) {
		if (!freopen(out, "w", stdout) || !freopen(err, "w", stderr))
			_exit(99);
		if (options_read(argc, argv, &cli, &first))
			status = command_execute(&cli, argv + first, (size_t)(argc - first));
		fflush(stdout);
		fflush(stderr);
		_exit(status);
	}
	return process;
}

static void run(struct outcome *outcome, char *const *words, size_t count)
{
	struct timespec before, after;
	char out[128], err[128];
	pid_t process;
	int status;

	snprintf(out, sizeof(out), "%s/out", directory);
	snprintf(err, sizeof(err), "%s/err", directory);
	clock_gettime(CLOCK_MONOTONIC, &before);
	process = begin_command(out, err, words, count);
	assert_int_equal(waitpid(process, &status, 0), process);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(WIFEXITED(status));
	outcome->status = WEXITSTATUS(status);
	outcome->seconds = (double)(after.tv_sec - before.tv_sec) +
	                   (double)(after.tv_nsec - before.tv_nsec) / 1e9;
	read_file(out, outcome->out, sizeof(outcome->out));
	read_file(err, outcome->err, sizeof(outcome->err));
}

#define RUN(outcome, ...)                          \
	run(outcome, (char *const[]){__VA_ARGS__}, \
	    sizeof((char *const[]){__VA_ARGS__}) / sizeof(char *))

static bool has_socket(const char *service)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s/requests.sock", run_directory, service);
	return access(path, F_OK) == 0;
}

static int stop_services(void **state)
{
	char command[128];

	(void)state;
	for (int i = 0; i < SCRIPTED_MAXIMUM; i++) {
		if (scripted[i] <= 0)
			continue;
		kill(scripted[i], SIGKILL);
		waitpid(scripted[i], NULL, 0);
	}
	snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static int write_file(const char *path, const char *text)
{
	FILE *stream = fopen(path, "we");

	if (!stream)
		return -1;
	fputs(text, stream);
	return fclose(stream);
}

/** Starts them all; whoever runs the test is these services. */
static int start_scripted(const struct service *const *services, size_t count, bool allows_faults)
{
	char map[512] = "";
	size_t used = 0, ready = 0;

	snprintf(directory, sizeof(directory), "/tmp/vpnsip-test-XXXXXX");
	if (count > SCRIPTED_MAXIMUM || !mkdtemp(directory))
		return -1;
	snprintf(run_directory, sizeof(run_directory), "%s/run", directory);
	snprintf(state_directory, sizeof(state_directory), "%s/state", directory);
	snprintf(config_file, sizeof(config_file), "%s/vpnsip.conf", directory);
	snprintf(uid_map, sizeof(uid_map), "%s/uids", directory);
	snprintf(log_file, sizeof(log_file), "%s/log", directory);
	for (size_t i = 0; i < count; i++)
		used += (size_t)snprintf(map + used, sizeof(map) - used, "%s %u\n",
		                         services[i]->name, getuid());
	if (write_file(config_file, "enabled = true\n") != 0 || write_file(uid_map, map) != 0)
		return -1;
	for (size_t i = 0; i < count; i++)
		scripted[i] = start(services[i], allows_faults);
	for (int i = 0; i < 500 && ready < count; i++) {
		for (ready = 0; ready < count && has_socket(services[ready]->name); ready++)
			;
		usleep(10000);
	}
	if (ready == count)
		return 0;
	stop_services(NULL); /* cmocka does not call it after a failed start */
	return -1;
}

#endif
