/* SPDX-License-Identifier: GPL-3.0-or-later */
/* vpnsip: the operator's command line. */
#include <getopt.h>
#include <stdio.h>

#include "services/cli/commands.h"

enum { OPTION_RUN_DIR = 256, OPTION_UID_MAP, OPTION_JSON, OPTION_YES, OPTION_VERSION };

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
		{"uid-map", required_argument, NULL, OPTION_UID_MAP},
		{"json", no_argument, NULL, OPTION_JSON},
		{"yes", no_argument, NULL, OPTION_YES},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct cli cli = {.bus = {.run_directory = "/run/vpnsip"}};
	int option;

	while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
		switch (option) {
		case 'c':
			cli.config_file = optarg;
			break;
		case OPTION_RUN_DIR:
			cli.bus.run_directory = optarg;
			break;
		case OPTION_UID_MAP:
			cli.bus.uid_map = optarg;
			break;
		case OPTION_JSON:
			cli.wants_json = true;
			break;
		case OPTION_YES:
			cli.is_sure = true;
			break;
		case OPTION_VERSION:
			printf("vpnsip %s\n", VPNSIP_VERSION);
			return CLI_DONE;
		case 'h':
			command_print_help(stdout);
			return CLI_DONE;
		default:
			return CLI_FAILED;
		}
	}
	if (optind == argc) {
		command_print_help(stderr);
		return CLI_FAILED;
	}
	return command_execute(&cli, argv + optind, (size_t)(argc - optind));
}
