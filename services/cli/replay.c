/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * replay FILE SERVICE: the service's own program feeds its core with a recording, on a virtual clock, and compares what comes
 * out. It takes this process's place, so that its exit status is the command's.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "services/cli/commands.h"

#define CORE_SUFFIX "-core"

/* "track-core" is a part of track-agent. */
static bool read_service(const char *name, Vpnsip__Service *service)
{
	size_t length = strlen(name), suffix = strlen(CORE_SUFFIX);
	char agent[64];

	if (length <= suffix || strcmp(name + length - suffix, CORE_SUFFIX) != 0)
		return command_service(name, service);
	snprintf(agent, sizeof(agent), "%.*s-agent", (int)(length - suffix), name);
	return command_service(agent, service);
}

/* The path of a program that stands beside this one, if there is one. */
static bool find_beside(const char *program, char *path, size_t size)
{
	char own[PATH_MAX];
	ssize_t length = readlink("/proc/self/exe", own, sizeof(own) - 1);

	if (length < 0)
		return false;
	own[length] = '\0';
	return (size_t)snprintf(path, size, "%s/%s", dirname(own), program) < size &&
	       access(path, X_OK) == 0;
}

int command_replay(const struct cli *cli, const struct words *words)
{
	const char *file = words_get(words, "FILE"), *program;
	char path[PATH_MAX];
	char *arguments[] = {NULL, (char *)"--replay", (char *)file, NULL, NULL, NULL};
	Vpnsip__Service service;

	if (!read_service(words_get(words, "SERVICE"), &service))
		return CLI_FAILED;
	if (access(file, R_OK) != 0) {
		command_complain("%s: %s", file, strerror(errno));
		return CLI_FAILED;
	}
	program = bus_service_name(service);
	arguments[0] = (char *)program;
	if (cli->config_file) {
		arguments[3] = (char *)"-c";
		arguments[4] = (char *)cli->config_file;
	}
	if (find_beside(program, path, sizeof(path)))
		execv(path, arguments);
	else
		execvp(program, arguments);
	command_complain("%s cannot be started: %s (looked beside vpnsip and in PATH)", program,
	                 strerror(errno));
	return CLI_FAILED;
}
