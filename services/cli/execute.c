/* SPDX-License-Identifier: GPL-3.0-or-later */
/* From the words of a command line to what is done: the command found, its options checked, show commands carried out. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/commands.h"
#include "services/common/config.h"
#include "services/common/suggest.h"

#define MOST_COMMANDS 128

void command_complain(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("vpnsip: ", stderr);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

bool command_service(const char *name, Vpnsip__Service *service)
{
	const char *names[VPNSIP__SERVICE__CLI] = {"coordinator"}, *near;

	*service = bus_service_by_name(strcmp(name, names[0]) == 0 ? "vpnsip-coordinator" : name);
	if (*service != VPNSIP__SERVICE__SERVICE_UNSPECIFIED && *service != VPNSIP__SERVICE__CLI)
		return true;
	for (int i = VPNSIP__SERVICE__COORDINATOR; i < VPNSIP__SERVICE__CLI; i++)
		names[i] = bus_service_name((Vpnsip__Service)i);
	near = suggest_word(name, names, VPNSIP__SERVICE__CLI);
	if (near)
		command_complain("there is no service '%s'; did you mean '%s'?", name, near);
	else
		command_complain("there is no service '%s': there are vpnsip-coordinator, "
		                 "sip-agent, ike-agent, tunnel-agent, track-agent and "
		                 "nat-qos-agent",
		                 name);
	return false;
}

void command_print(const struct cli *cli, const json_t *model, show_text_fn *text)
{
	if (cli->wants_json) {
		json_dumpf(model, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
		fputc('\n', stdout);
	} else {
		text(stdout, model);
	}
	fflush(stdout);
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

static void render(const struct cli *cli, const struct command *command, const json_t *model)
{
	const json_t *entry;
	size_t index;

	command_print(cli, model, command->text);
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

/* False after a complaint about an option that this command does not take. */
static bool options_fit(const struct cli *cli, const struct command *command)
{
	for (size_t i = 0; i < cli->option_count; i++) {
		if (options_are_taken(command->options, cli->options[i].name))
			continue;
		command_complain("'%s' takes no --%s", command->pattern, cli->options[i].name);
		return false;
	}
	return true;
}

int command_execute(const struct cli *cli, char *const *argv, size_t argc)
{
	const char *patterns[MOST_COMMANDS];
	struct words words;
	char why[512];
	int found;

	if (cli->wants_help && command_print_help_of(stdout, argv, argc))
		return CLI_DONE;
	for (size_t i = 0; i < command_count; i++)
		patterns[i] = commands[i].pattern;
	found = words_match(patterns, command_count, argv, argc, &words, why, sizeof(why));
	if (found < 0) {
		command_complain("%s", why);
		return CLI_FAILED;
	}
	if (!options_fit(cli, &commands[found]))
		return CLI_FAILED;
	return commands[found].run ? commands[found].run(cli, &words)
	                           : show(cli, &commands[found], &words);
}
