/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands of vpnsip: a table of patterns, help and what to do. */
#ifndef VPNSIP_CLI_COMMANDS_H
#define VPNSIP_CLI_COMMANDS_H

#include "services/cli/gather.h"
#include "services/cli/show.h"
#include "services/cli/words.h"

/** Exit statuses. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_PARTIAL = 2 };

/** The options of the command line. */
struct cli {
	struct gather_options bus;
	const char *config_file; /* -c; NULL = what the services loaded */
	bool wants_json;
	bool is_sure; /* --yes */
};

struct command {
	const char *pattern;
	const char *help;
	/** For show commands: whom to ask, for snapshots or only for their status, and how to show it. */
	unsigned services, services_for_detail;
	bool wants_snapshots;
	show_model_fn *model;
	show_text_fn *text;
	/** For the others. Returns an exit status. */
	int (*run)(const struct cli *cli, const struct words *words);
};

extern const struct command commands[];
extern const size_t command_count;

/** Finds and runs the command. Returns an exit status. */
int command_execute(const struct cli *cli, char *const *argv, size_t argc);

void command_print_help(FILE *stream);

/* order.c, monitor.c, check.c */
int command_call(const struct cli *cli, const struct words *words);
int command_hangup(const struct cli *cli, const struct words *words);
int command_clear(const struct cli *cli, const struct words *words);
int command_shutdown(const struct cli *cli, const struct words *words);
int command_purge(const struct cli *cli, const struct words *words);
int command_monitor(const struct cli *cli, const struct words *words);
int command_check(const struct cli *cli, const struct words *words);
int command_help(const struct cli *cli, const struct words *words);

/** A finding about the command itself, on stderr: "vpnsip: ...". */
void command_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
