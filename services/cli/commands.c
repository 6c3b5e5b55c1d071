/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/commands.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "services/common/config.h"

#define COORDINATOR   BUS_SERVICE(VPNSIP__SERVICE__COORDINATOR)
#define SIP_AGENT     BUS_SERVICE(VPNSIP__SERVICE__SIP_AGENT)
#define TUNNEL_AGENT  BUS_SERVICE(VPNSIP__SERVICE__TUNNEL_AGENT)
#define TRACK_AGENT   BUS_SERVICE(VPNSIP__SERVICE__TRACK_AGENT)
#define NAT_QOS_AGENT BUS_SERVICE(VPNSIP__SERVICE__NAT_QOS_AGENT)

#define SHOW(words, explanation, whom, name)                                                       \
	{                                                                                          \
		.pattern = "show " words, .help = (explanation), .services = (whom),               \
		.wants_snapshots = true, .model = show_##name##_model, .text = show_##name##_text, \
	}
/* The library of each service answers these, whatever the service does. */
#define SHOW_STATUS(words, explanation, name)                                              \
	{                                                                                  \
		.pattern = "show " words, .help = (explanation), .services = ALL_SERVICES, \
		.model = show_##name##_model, .text = show_##name##_text,                  \
	}
#define ORDER(words, explanation, function)                                   \
	{                                                                     \
		.pattern = (words), .help = (explanation), .run = (function), \
	}

const struct command commands[] = {
	{
		.pattern = "show vpn-sip session [remote-number NUMBER] [detail]",
		.help = "sessions, one a tunnel",
		.services = COORDINATOR,
		.services_for_detail = TUNNEL_AGENT,
		.wants_snapshots = true,
		.model = show_session_model,
		.text = show_session_text,
	},
	SHOW("vpn-sip registration-status", "registration of each local number", SIP_AGENT,
             registration),
	SHOW("vpn-sip sip registrar", "registrar, expiry and Call-ID of each registration",
             SIP_AGENT, registrar),
	SHOW("ip nat translations", "session ports and what they are translated to", NAT_QOS_AGENT,
             nat),
	SHOW("track [NUMBER]", "track objects, their probes and routes", TRACK_AGENT, track),
	SHOW("interface [NAME] [brief]", "tunnels and WAN interfaces, counters, drops, SAs",
             TUNNEL_AGENT | TRACK_AGENT, interface),
	SHOW("timers", "every timer with its value, default and meaning", COORDINATOR, timers),
	SHOW_STATUS("services", "the six services: health, process, configuration", services),
	SHOW_STATUS("running-config", "the configuration that the services loaded", config),
	ORDER("call NUMBER", "call this number now, as a packet would", command_call),
	ORDER("hangup NUMBER|all", "hang up; the next packet may call again", command_hangup),
	ORDER("clear session NUMBER|all", "as hangup, recorded as cleared", command_clear),
	ORDER("shutdown", "hang up everything, end the registrations, call no more",
              command_shutdown),
	ORDER("purge", "remove routes, rules, firewall, qdiscs and tunnels, the fail-closed too",
              command_purge),
	ORDER("check [FILE]", "check a configuration file, the machine and the keyring",
              command_check),
	ORDER("monitor [SERVICE...]", "every message between the services, until interrupted",
              command_monitor),
	ORDER("help", "this list", command_help),
};

const size_t command_count = sizeof(commands) / sizeof(commands[0]);

void command_complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("vpnsip: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

void command_print_help(FILE *stream)
{
	fprintf(stream, "Usage: vpnsip [option]... COMMAND\n\n"
	                "  -c FILE          configuration; default: the one the services loaded\n"
	                "  --run-dir DIR    where the services' sockets are, default /run/vpnsip\n"
	                "  --uid-map FILE   lines \"SERVICE UID\" instead of the system users\n"
	                "  --json           JSON instead of text\n"
	                "  --yes            do not ask before purge\n"
	                "  --version, --help\n\n"
	                "Commands (keywords may be shortened):\n\n");
	for (size_t i = 0; i < command_count; i++)
		fprintf(stream, "  %-52s %s\n", commands[i].pattern, commands[i].help);
}

int command_help(const struct cli *cli, const struct words *words)
{
	(void)cli;
	(void)words;
	command_print_help(stdout);
	return CLI_DONE;
}

static void ignore_finding(void *context, int level, const char *file, int line, const char *text)
{
	(void)context;
	(void)level;
	(void)file;
	(void)line;
	(void)text;
}

/* -c, else the file of the first service that answers, else the default. */
static const char *config_file_of(const struct cli *cli, const struct gathered *gathered)
{
	if (cli->config_file)
		return cli->config_file;
	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		const Vpnsip__Envelope *reply = gathered->services[i].status;

		if (reply && reply->body_case == VPNSIP__ENVELOPE__BODY_SERVICE_STATUS &&
		    *reply->service_status->config_file)
			return reply->service_status->config_file;
	}
	return CONFIG_DEFAULT_FILE;
}

static json_t *unanswered_model(const struct gathered *gathered)
{
	json_t *unanswered = json_array();
	char text[128];

	for (int i = 0; i < VPNSIP__SERVICE__CLI; i++) {
		const struct gathered_service *service = &gathered->services[i];

		if (!service->is_asked || gather_has_answered(service))
			continue;
		gather_explain(gathered, (Vpnsip__Service)i, text, sizeof(text));
		json_array_append_new(unanswered, json_pack("{s:s, s:s}", "service",
		                                            bus_service_name((Vpnsip__Service)i),
		                                            "cause", text));
	}
	return unanswered;
}

static void render(const struct cli *cli, const struct command *command, json_t *model)
{
	const json_t *entry;
	size_t index;

	if (cli->wants_json) {
		json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		fputc('\n', stdout);
	} else {
		command->text(stdout, model);
	}
	fflush(stdout);
	json_array_foreach (json_object_get(model, "unanswered"), index, entry)
		command_complain("%s", text_of(entry, "cause"));
}

static int show(const struct cli *cli, const struct command *command, const struct words *words)
{
	struct gathered gathered;
	struct show_input input = {.gathered = &gathered, .words = words};
	struct config *config;
	unsigned services = command->services;
	json_t *model;
	char why[256];
	int status;

	if (words_has(words, "detail"))
		services |= command->services_for_detail;
	if (!gather(&cli->bus, services, command->wants_snapshots, &gathered, why, sizeof(why))) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	input.config_file = config_file_of(cli, &gathered);
	config = config_load(input.config_file, ignore_finding, NULL);
	input.config = config;
	status = gather_is_complete(&gathered) ? CLI_DONE : CLI_PARTIAL;
	model = command->model(&input);
	json_object_set_new(model, "unanswered", unanswered_model(&gathered));
	render(cli, command, model);
	json_decref(model);
	config_free(config);
	gather_free(&gathered);
	return status;
}

int command_execute(const struct cli *cli, char *const *argv, size_t argc)
{
	const char *patterns[sizeof(commands) / sizeof(commands[0])];
	struct words words;
	char why[512];
	int found;

	for (size_t i = 0; i < command_count; i++)
		patterns[i] = commands[i].pattern;
	found = words_match(patterns, command_count, argv, argc, &words, why, sizeof(why));
	if (found < 0) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	return commands[found].run ? commands[found].run(cli, &words)
	                           : show(cli, &commands[found], &words);
}
