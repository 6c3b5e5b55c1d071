/* SPDX-License-Identifier: GPL-3.0-or-later */
/* check [FILE]: what a service's -n says, and what only the machine can tell. */
#include <stdio.h>

#include "services/cli/commands.h"
#include "services/common/config.h"

int command_check(const struct cli *cli, const struct words *words)
{
	const char *file = words_get(words, "FILE");
	struct config *config;
	int errors;

	if (!file)
		file = cli->config_file ? cli->config_file : CONFIG_DEFAULT_FILE;
	config = config_load(file, config_report_to_stream, stdout);
	if (!config)
		return CLI_FAILED;
	errors = config_check_reality(config, config_report_to_stream, stdout);
	if (errors == 0)
		printf("%s: good: %zu lines, %zu peers, %zu routes\n", file, config->line_count,
		       config->peer_count, config->route_count);
	config_free(config);
	return errors ? CLI_FAILED : CLI_DONE;
}
