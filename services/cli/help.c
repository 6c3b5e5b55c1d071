/* SPDX-License-Identifier: GPL-3.0-or-later */
/* --help: all commands on a line each, or some with their options and details. */
#include "services/cli/commands.h"

void command_print_help(FILE *stream)
{
	fprintf(stream,
	        "Usage: vpnsip [option]... COMMAND\n\n"
	        "  -c FILE          configuration; default: the one the services loaded\n"
	        "  --run-dir DIR    where the services' sockets are, default /run/vpnsip\n"
	        "  --uid-map FILE   lines \"SERVICE UID\" instead of the system users\n"
	        "  --json           JSON instead of text\n"
	        "  --yes            do not ask before something is removed or replaced\n"
	        "  --version, --help\n\n"
	        "Commands (keywords may be shortened; COMMAND --help tells more of it):\n\n");
	for (size_t i = 0; i < command_count; i++)
		fprintf(stream, "  %-52s %s\n", commands[i].pattern, commands[i].help);
}

static void print_options(FILE *stream, const struct command *command)
{
	for (size_t i = 0; i < command_option_count; i++) {
		const struct option_of_command *option = &command_options[i];
		char usage[64];

		if (!options_are_taken(command->options, option->name))
			continue;
		snprintf(usage, sizeof(usage), "%s%.1s%s--%s%s%s", option->letter ? "-" : "",
		         option->letter ? &option->letter : "", option->letter ? ", " : "",
		         option->name, option->argument ? " " : "",
		         option->argument ? option->argument : "");
		fprintf(stream, "  %-20s %s\n", usage, option->help);
	}
}

bool command_print_help_of(FILE *stream, char *const *argv, size_t argc)
{
	bool has_printed = false;

	if (argc == 0) {
		command_print_help(stream);
		return true;
	}
	for (size_t i = 0; i < command_count; i++) {
		const struct command *command = &commands[i];

		if (!words_begin(command->pattern, argv, argc))
			continue;
		fprintf(stream, "%svpnsip %s\n  %s\n", has_printed ? "\n" : "", command->pattern,
		        command->help);
		if (command->details)
			fprintf(stream, "%s\n", command->details);
		print_options(stream, command);
		has_printed = true;
	}
	return has_printed;
}

int command_help(const struct cli *cli, const struct words *words)
{
	(void)cli;
	(void)words;
	command_print_help(stdout);
	return CLI_DONE;
}
