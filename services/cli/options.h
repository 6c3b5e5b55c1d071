/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The options of the command line: those of every command, and those of single ones. */
#ifndef VPNSIP_CLI_OPTIONS_H
#define VPNSIP_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "services/cli/gather.h"

#define CLI_OPTIONS_MAXIMUM 16

/** The options of the command line. */
struct cli {
	struct gather_options bus;
	const char *config_file; /* -c; NULL = what the services loaded */
	bool wants_json;
	bool is_sure; /* --yes */
	bool wants_help;
	bool wants_version;
	/** Those of single commands, as given. */
	struct {
		const char *name, *value; /* "since", "1h"; "" when it takes no value */
	} options[CLI_OPTIONS_MAXIMUM];
	size_t option_count;
};

/** An option that only some commands take. */
struct option_of_command {
	const char *name;     /* "since" */
	const char *argument; /* "TIME"; NULL = takes none */
	const char *help;
	char letter; /* '\0' = none */
};

extern const struct option_of_command command_options[];
extern const size_t command_option_count;

/**
 * Reads the options, which may stand anywhere, and moves the words of the command to argv[*first]. False after getopt's
 * complaint on stderr. May be called again with another line.
 */
bool options_read(int argc, char **argv, struct cli *cli, int *first);

/** Value of a command's option, or NULL when it was not given. */
const char *options_get(const struct cli *cli, const char *name);

/**
 * A number from `minimum` to `maximum`, or `otherwise` when the option was not given. False after a complaint.
 */
bool options_number(const struct cli *cli, const char *name, unsigned long long minimum,
                    unsigned long long maximum, unsigned long long otherwise,
                    unsigned long long *number);

/** Is `name` one of the words of `names` ("peer session skip"; NULL = none)? */
bool options_are_taken(const char *names, const char *name);

#endif
