/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "services/cli/commands.h"

/* Values of getopt's table; those of single commands follow, by their place in command_options. */
enum {
	OPTION_RUN_DIR = 256,
	OPTION_UID_MAP,
	OPTION_JSON,
	OPTION_YES,
	OPTION_VERSION,
	OPTION_OF_COMMAND
};

const struct option_of_command command_options[] = {
	{"since", "TIME",
         "only what began since then: 2026-01-31, \"2026-01-31 14:00\", 90m, 2h, 7d", '\0'},
	{"number", "NUMBER", "only calls with this remote number", '\0'},
	{"limit", "N", "the last so many", '\0'},
	{"csv", NULL, "comma-separated values instead of text", '\0'},
	{"peer", "SERVICE", "only messages from or to this service", '\0'},
	{"session", "SESSION", "only messages of this session (name of its tunnel)", '\0'},
	{"skip", "N", "let so many matching messages pass first", '\0'},
	{"count", "N", "so many times or messages, then no more", '\0'},
	{"probability", "P", "0 to 1; default 1", '\0'},
	{"delay", "MS", "milliseconds, of the action delay", '\0'},
	{"seed", "N", "of the probability and of what is corrupted; default random", '\0'},
	{"as", "SERVICE", "sender of the order, when several may send it", '\0'},
	{"message", "NAME", "only messages of this name", '\0'},
	{"kind", "KIND", "only events, requests or replies", '\0'},
	{"from", "SERVICE", "only what this service sent", '\0'},
	{"to", "SERVICE", "only what was sent to this service", '\0'},
	{"latency", NULL, "with each reply, how long after its request it came", '\0'},
	{"write", "FILE", "write the messages to FILE, and show none", 'w'},
	{"read", "FILE", "show the messages of FILE, instead of those of now", 'r'},
	{"list", NULL, "the attempts that can be shown", '\0'},
	{"narrow", NULL, "a list instead of columns", '\0'},
	{"for", "PURPOSE", "whose keys and certificates: sip or ike", '\0'},
	{"type", "TYPE", "rsa:2048, rsa:3072, rsa:4096, ec:p256 (default) or ec:p384", '\0'},
	{"subject", "NAME", "\"CN=sip.example.ne.jp,O=Example\"; default: as configured", '\0'},
	{"name", "NAME", "also this host, address or SIP domain (sip:example.ne.jp); several times",
         '\0'},
	{"days", "N", "valid for so long; default 1825", '\0'},
	{"fingerprint", "HEX", "do not ask: it must be this, SHA-256 or SHA-1", '\0'},
	{"passphrase-file", "FILE", "its first line; else it is asked for on the terminal", '\0'},
	{"retries", "N", "attempts after the first when the server is not reached; default 3",
         '\0'},
	{"interval", "S",
         "seconds between attempts, and between questions whether the CA has decided; default 10",
         '\0'},
	{"wait", "S", "so long for a CA to decide; default 300", '\0'},
	{"all", NULL, "every trustpoint with an enrollment", '\0'},
	{"force", NULL, "also when it is not due", '\0'},
	{"pkcs12", "FILE", "write key and certificates to FILE", '\0'},
};

const size_t command_option_count = sizeof(command_options) / sizeof(command_options[0]);

#define COMMAND_OPTIONS (sizeof(command_options) / sizeof(command_options[0]))

static const struct option general[] = {
	{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
	{"uid-map", required_argument, NULL, OPTION_UID_MAP},
	{"json", no_argument, NULL, OPTION_JSON},
	{"yes", no_argument, NULL, OPTION_YES},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, 'h'},
};

#define GENERAL_OPTIONS (sizeof(general) / sizeof(general[0]))

static void keep(struct cli *cli, const struct option_of_command *option, const char *value)
{
	if (cli->option_count == CLI_OPTIONS_MAXIMUM)
		return;
	cli->options[cli->option_count].name = option->name;
	cli->options[cli->option_count++].value = value ? value : "";
}

static void take(struct cli *cli, int option, const char *value)
{
	switch (option) {
	case 'c':
		cli->config_file = value;
		break;
	case OPTION_RUN_DIR:
		cli->bus.run_directory = value;
		break;
	case OPTION_UID_MAP:
		cli->bus.uid_map = value;
		break;
	case OPTION_JSON:
		cli->wants_json = true;
		break;
	case OPTION_YES:
		cli->is_sure = true;
		break;
	case OPTION_VERSION:
		cli->wants_version = true;
		break;
	case 'h':
		cli->wants_help = true;
		break;
	default:
		for (size_t i = 0; i < COMMAND_OPTIONS; i++)
			if (option == OPTION_OF_COMMAND + (int)i ||
			    option == command_options[i].letter)
				keep(cli, &command_options[i], value);
		break;
	}
}

bool options_read(int argc, char **argv, struct cli *cli, int *first)
{
	struct option options[GENERAL_OPTIONS + COMMAND_OPTIONS + 1] = {0};
	char letters[sizeof("c:h") + 2 * COMMAND_OPTIONS] = "c:h",
					 *letter = letters + strlen(letters);
	int option;

	memcpy(options, general, sizeof(general));
	for (size_t i = 0; i < COMMAND_OPTIONS; i++) {
		const struct option_of_command *own = &command_options[i];

		options[GENERAL_OPTIONS + i] =
			(struct option){own->name, own->argument ? required_argument : no_argument,
		                        NULL, OPTION_OF_COMMAND + (int)i};
		if (own->letter)
			*letter++ = own->letter;
		if (own->letter && own->argument)
			*letter++ = ':';
	}
	optind = 0; /* all anew, also getopt's own state */
	while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
		if (option == '?')
			return false;
		take(cli, option, optarg);
	}
	*first = optind;
	return true;
}

const char *options_get(const struct cli *cli, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < cli->option_count; i++)
		if (strcmp(cli->options[i].name, name) == 0)
			value = cli->options[i].value;
	return value;
}

bool options_number(const struct cli *cli, const char *name, unsigned long long minimum,
                    unsigned long long maximum, unsigned long long otherwise,
                    unsigned long long *number)
{
	const char *value = options_get(cli, name);
	char *end;

	*number = otherwise;
	if (!value)
		return true;
	errno = 0;
	*number = strtoull(value, &end, 10);
	if (errno == 0 && *value >= '0' && *value <= '9' && *end == '\0' && *number >= minimum &&
	    *number <= maximum)
		return true;
	command_complain("--%s: '%s' is no number from %llu to %llu", name, value, minimum,
	                 maximum);
	return false;
}

bool options_are_taken(const char *names, const char *name)
{
	size_t length = strlen(name);

	for (const char *at = names; at && (at = strstr(at, name)); at += length)
		if ((at == names || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0'))
			return true;
	return false;
}
