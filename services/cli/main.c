/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vpnsip: the operator's command line. */
#include <stdio.h>

#include "services/cli/commands.h"

int main(int argc, char **argv)
{
	struct cli cli = {.bus = {.run_directory = "/run/vpnsip"}};
	int first;

	if (!options_read(argc, argv, &cli, &first))
		return CLI_FAILED;
	if (cli.wants_version) {
		printf("vpnsip %s\n", VPNSIP_VERSION);
		return CLI_DONE;
	}
	if (first == argc && !cli.wants_help) {
		command_print_help(stderr);
		return CLI_FAILED;
	}
	return command_execute(&cli, argv + first, (size_t)(argc - first));
}
