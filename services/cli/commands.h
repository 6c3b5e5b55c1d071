/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The commands of vpnsip: a table of patterns, help and what to do. */
#ifndef VPNSIP_CLI_COMMANDS_H
#define VPNSIP_CLI_COMMANDS_H

#include "services/cli/options.h"
#include "services/cli/show.h"
#include "services/cli/words.h"

/** Exit statuses. */
enum { CLI_DONE = 0, CLI_FAILED = 1, CLI_PARTIAL = 2 };

struct command {
	const char *pattern;
	const char *help;    /* half a line */
	const char *options; /* those of command_options that it takes: "since csv"; NULL = none */
	const char *details; /* what else --help tells; NULL = nothing */
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

/** Finds and runs the command, or prints its help. Returns an exit status. */
int command_execute(const struct cli *cli, char *const *argv, size_t argc);

void command_print_help(FILE *stream);

/** Help of all commands that begin with these words. False if none does. */
bool command_print_help_of(FILE *stream, char *const *argv, size_t argc);

/* One file each, or one for those that belong together. */
int command_call(const struct cli *cli, const struct words *words);
int command_hangup(const struct cli *cli, const struct words *words);
int command_clear(const struct cli *cli, const struct words *words);
int command_shutdown(const struct cli *cli, const struct words *words);
int command_purge(const struct cli *cli, const struct words *words);
int command_monitor(const struct cli *cli, const struct words *words);
int command_check(const struct cli *cli, const struct words *words);
int command_help(const struct cli *cli, const struct words *words);
int command_health(const struct cli *cli, const struct words *words);
int command_replay(const struct cli *cli, const struct words *words);
int command_trace(const struct cli *cli, const struct words *words);
int command_debug_state(const struct cli *cli, const struct words *words);
int command_debug_stats(const struct cli *cli, const struct words *words);
int command_debug_peers(const struct cli *cli, const struct words *words);
int command_debug_snapshot(const struct cli *cli, const struct words *words);
int command_debug_log(const struct cli *cli, const struct words *words);
int command_debug_fault(const struct cli *cli, const struct words *words);
int command_debug_fault_clear(const struct cli *cli, const struct words *words);
int command_debug_faults(const struct cli *cli, const struct words *words);
int command_debug_send(const struct cli *cli, const struct words *words);
int command_debug_record_start(const struct cli *cli, const struct words *words);
int command_debug_record_stop(const struct cli *cli, const struct words *words);
int command_debug_switch(const struct cli *cli, const struct words *words);
int command_undebug_switch(const struct cli *cli, const struct words *words);
int command_undebug_all(const struct cli *cli, const struct words *words);
int command_pki_key(const struct cli *cli, const struct words *words);
int command_pki_self_signed(const struct cli *cli, const struct words *words);
int command_pki_request(const struct cli *cli, const struct words *words);
int command_pki_authenticate(const struct cli *cli, const struct words *words);
int command_pki_import(const struct cli *cli, const struct words *words);
int command_pki_export(const struct cli *cli, const struct words *words);
int command_pki_enroll(const struct cli *cli, const struct words *words);
int command_pki_renew(const struct cli *cli, const struct words *words);
int command_pki_refresh(const struct cli *cli, const struct words *words);
int command_pki_show(const struct cli *cli, const struct words *words);
int command_show_admission(const struct cli *cli, const struct words *words);
int command_show_guard(const struct cli *cli, const struct words *words);
int command_show_calls(const struct cli *cli, const struct words *words);
int command_show_connections_udp(const struct cli *cli, const struct words *words);
int command_show_connections_tcp(const struct cli *cli, const struct words *words);
int command_show_connections_tls(const struct cli *cli, const struct words *words);
int command_show_sip_ua_status(const struct cli *cli, const struct words *words);
int command_clear_connection_udp(const struct cli *cli, const struct words *words);
int command_clear_connection_tcp(const struct cli *cli, const struct words *words);
int command_clear_connection_tls(const struct cli *cli, const struct words *words);
int command_clear_crypto_session(const struct cli *cli, const struct words *words);
int command_clear_crypto_sa(const struct cli *cli, const struct words *words);
int command_show_crypto_pki(const struct cli *cli, const struct words *words);
int command_debug_crypto(const struct cli *cli, const struct words *words);
int command_undebug_crypto(const struct cli *cli, const struct words *words);
int command_show_crypto_debug_condition(const struct cli *cli, const struct words *words);
int command_show_debugging(const struct cli *cli, const struct words *words);

/** A finding about the command itself, on stderr: "vpnsip: ...". */
void command_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** The service of that name; "coordinator" will do. False after a complaint. */
bool command_service(const char *name, Vpnsip__Service *service);

/** Prints a model as JSON or by `text`, to stdout. */
void command_print(const struct cli *cli, const json_t *model, show_text_fn *text);

#endif
