/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/common/service.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/common/config.h"
#include "services/common/log.h"
#include "services/common/log_condition.h"
#include "services/common/memory.h"
#include "services/common/privileges.h"

#define DEFAULT_RUN_DIRECTORY   "/run/vpnsip"
#define DEFAULT_STATE_DIRECTORY "/var/lib/vpnsip"
/* Exit status of --replay when nothing could be compared. */
#define REPLAY_UNUSABLE         2

enum {
	OPTION_RUN_DIR = 256,
	OPTION_STATE_DIR,
	OPTION_UID_MAP,
	OPTION_USER,
	OPTION_ALLOW_FAULTS,
	OPTION_RECORD,
	OPTION_REPLAY,
	OPTION_VERSION
};

/** The command line. */
struct service_options {
	const char *config_file;
	const char *run_directory;
	const char *state_directory;
	const char *uid_map;
	const char *user;
	bool only_checks;
	bool allows_faults;
	const char *record_name;
	const char *replay_file;
};

static void print_help(const struct service *service)
{
	printf("Usage: %s [option]...\n\n"
	       "  -c FILE            configuration, default " CONFIG_DEFAULT_FILE "\n"
	       "  -n                 check the configuration and exit: 0 = good, 1 = errors\n"
	       "  --run-dir DIR      sockets, default " DEFAULT_RUN_DIRECTORY "\n"
	       "  --state-dir DIR    state kept over restarts, default " DEFAULT_STATE_DIRECTORY
	       "\n"
	       "  --uid-map FILE     lines \"SERVICE UID\" instead of the system users\n"
	       "  --user NAME        user to run as when started by root, default %s; \"\" = stay\n"
	       "  --allow-faults     obey `vpnsip debug SERVICE fault`: for tests\n"
	       "  --record NAME      write what comes and goes to the state directory, "
	       "NAME.record\n"
	       "  --replay FILE      play such a file instead of running; tells what is different "
	       "now\n"
	       "  --version\n"
	       "  --help\n",
	       service->name, service->user);
}

/* Returns -1 to go on, else the exit status. */
static int read_options(const struct service *service, int argc, char **argv,
                        struct service_options *options)
{
	static const struct option long_options[] = {
		{"run-dir", required_argument, NULL, OPTION_RUN_DIR},
		{"state-dir", required_argument, NULL, OPTION_STATE_DIR},
		{"uid-map", required_argument, NULL, OPTION_UID_MAP},
		{"user", required_argument, NULL, OPTION_USER},
		{"allow-faults", no_argument, NULL, OPTION_ALLOW_FAULTS},
		{"record", required_argument, NULL, OPTION_RECORD},
		{"replay", required_argument, NULL, OPTION_REPLAY},
		{"version", no_argument, NULL, OPTION_VERSION},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:nh", long_options, NULL)) != -1) {
		switch (option) {
		case 'c':
			options->config_file = optarg;
			break;
		case 'n':
			options->only_checks = true;
			break;
		case OPTION_RUN_DIR:
			options->run_directory = optarg;
			break;
		case OPTION_STATE_DIR:
			options->state_directory = optarg;
			break;
		case OPTION_UID_MAP:
			options->uid_map = optarg;
			break;
		case OPTION_USER:
			options->user = optarg;
			break;
		case OPTION_ALLOW_FAULTS:
			options->allows_faults = true;
			break;
		case OPTION_RECORD:
			options->record_name = optarg;
			break;
		case OPTION_REPLAY:
			options->replay_file = optarg;
			break;
		case OPTION_VERSION:
			printf("%s %s\n", service->name, VPNSIP_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			print_help(service);
			return EXIT_SUCCESS;
		default:
			return EXIT_FAILURE;
		}
	}
	if (optind < argc) {
		log_line(LOG_ERR, "unexpected argument '%s'", argv[optind]);
		return EXIT_FAILURE;
	}
	return -1;
}

/* nng starts threads, and no signal may be delivered to them. libevent reads SIGTERM and the others from its own mask. */
static void block_signals(void)
{
	sigset_t all;

	signal(SIGPIPE, SIG_IGN);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

/* The loop's thread alone receives these, after every other thread has been started with all blocked. */
static void unblock_signals(void)
{
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGTERM);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGHUP);
	pthread_sigmask(SIG_UNBLOCK, &wanted, NULL);
}

static void leave_on_signal(evutil_socket_t number, short what, void *context)
{
	struct service_context *service = context;

	(void)what;
	log_line(LOG_INFO, "leaving: %s", strsignal(number));
	event_base_loopexit(service->base, NULL);
}

static void refuse_reload(evutil_socket_t number, short what, void *context)
{
	(void)number;
	(void)what;
	(void)context;
	log_line(LOG_NOTICE, "SIGHUP is ignored: the configuration is read at start");
}

static int run_loop(const struct service *service, struct service_context *context)
{
	struct event *terminate = evsignal_new(context->base, SIGTERM, leave_on_signal, context);
	struct event *interrupt = evsignal_new(context->base, SIGINT, leave_on_signal, context);
	struct event *hang_up = evsignal_new(context->base, SIGHUP, refuse_reload, context);
	struct event *memory = memory_watch(context->base);
	int status = EXIT_FAILURE;

	if (!terminate || !interrupt || !hang_up || !memory || event_add(terminate, NULL) ||
	    event_add(interrupt, NULL) || event_add(hang_up, NULL)) {
		log_line(LOG_ERR, "cannot watch signals and memory");
		goto out;
	}
	if (service->start && service->start(context) != 0)
		goto out;
	/* What the parser and the start took, several times the size of what stays, lies between that. */
	memory_give_back();
	unblock_signals();
	log_line(LOG_INFO, "started, version " VPNSIP_VERSION ", configuration %s",
	         context->config->file);
	status = event_base_dispatch(context->base) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
	block_signals(); /* a second SIGTERM must not end what is leaving */
	bus_stop_recording(context->bus);
	if (service->stop)
		service->stop(context);
out:
	if (terminate)
		event_free(terminate);
	if (interrupt)
		event_free(interrupt);
	if (hang_up)
		event_free(hang_up);
	if (memory)
		event_free(memory);
	return status;
}

static void print_difference(void *context, const char *difference)
{
	(void)context;
	puts(difference);
}

/* The exit status of --replay. */
static int replay(const struct service *service, struct service_context *context)
{
	struct bus_replay_result result;

	if (service->start && service->start(context) != 0)
		return REPLAY_UNUSABLE;
	bus_replay(context->bus, print_difference, NULL, &result);
	if (result.is_of_other_config)
		printf("recorded with another configuration than %s\n", context->config->file);
	printf("replayed %llu inputs, %llu outputs, %llu differences\n",
	       (unsigned long long)result.inputs, (unsigned long long)result.outputs,
	       (unsigned long long)result.differences);
	fflush(stdout);
	if (service->stop)
		service->stop(context);
	return result.differences == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static void remove_directory(const char *path)
{
	DIR *directory = opendir(path);
	const struct dirent *entry;

	while (directory && (entry = readdir(directory)))
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory)
		closedir(directory);
	rmdir(path);
}

static int set_log(void *context, const Vpnsip__SetLog *order)
{
	(void)context;
	if (order->category[0] != '\0' &&
	    log_switch(order->category, order->session, !order->is_off) != 0)
		return -1;
	if (order->condition[0] != '\0' &&
	    log_condition_change(order->condition, !order->is_off) != 0)
		return -1;
	if (order->level > 0 && order->level <= LOG_DEBUG)
		log_set_level((int)order->level);
	return 0;
}

static void describe_switch(void *context, const char *text)
{
	bus_describe(context, "%s", text);
}

static void describe_log(void *context, struct bus_description *description)
{
	(void)context;
	log_describe(describe_switch, description);
}

static void describe_conditions(void *context, struct bus_description *description)
{
	(void)context;
	log_condition_describe(describe_switch, description);
}

/* The service's own, and the skeleton's where it has none. */
static struct bus_handlers complete_handlers(const struct service *service)
{
	struct bus_handlers handlers = service->handlers;

	if (!handlers.set_log)
		handlers.set_log = set_log;
	if (!handlers.describe_log)
		handlers.describe_log = describe_log;
	if (!handlers.describe_conditions)
		handlers.describe_conditions = describe_conditions;
	return handlers;
}

static int run(const struct service *service, const struct service_options *options,
               struct service_context *context)
{
	const struct bus_handlers handlers = complete_handlers(service);
	struct bus_options bus_options = {
		.self = service->id,
		.run_directory = options->run_directory,
		.uid_map = options->uid_map,
		.environment = &bus_system_environment,
		.subscribes = service->subscribes,
		.calls = service->calls,
		.is_listening = true,
		.allows_faults = options->allows_faults,
		.state_directory = context->state_directory,
		.record_name = options->record_name,
		.records_state = service->is_replayable,
		.replay_file = options->replay_file,
		.handlers = &handlers,
		.context = context,
		.version = VPNSIP_VERSION,
		.config_file = context->config->file,
		.config_digest = context->config->digest,
		.log = log_line,
	};
	char why[256];
	int status = options->replay_file ? REPLAY_UNUSABLE : EXIT_FAILURE;

	block_signals();
	context->base = event_base_new();
	if (!context->base) {
		log_line(LOG_ERR, "cannot create the event loop");
		return EXIT_FAILURE;
	}
	bus_options.base = context->base;
	context->bus = bus_open(&bus_options, why, sizeof(why));
	if (!context->bus)
		log_line(LOG_ERR, "cannot open the bus: %s", why);
	else if (options->replay_file)
		status = replay(service, context);
	else
		status = run_loop(service, context);
	if (context->bus)
		bus_close(context->bus);
	event_base_free(context->base);
	return status;
}

/* Nothing of the real service is touched: its state is a directory of its own. */
static int run_replay(const struct service *service, const struct service_options *options,
                      struct service_context *context)
{
	char directory[] = "/tmp/vpnsip-replay-XXXXXX";
	int status;

	if (!service->is_replayable) {
		log_line(LOG_ERR, "%s cannot be replayed", service->name);
		return REPLAY_UNUSABLE;
	}
	if (!mkdtemp(directory)) {
		log_line(LOG_ERR, "cannot create %s: %s", directory, strerror(errno));
		return REPLAY_UNUSABLE;
	}
	context->state_directory = directory;
	status = run(service, options, context);
	context->state_directory = NULL;
	remove_directory(directory);
	return status;
}

/* -n: everything that can be found without starting, the machine and the secret files included. */
static int check_only(const struct config *config)
{
	if (!config || config_check_reality(config, config_report_to_stream, NULL) > 0)
		return EXIT_FAILURE;
	return EXIT_SUCCESS;
}

/* All six read the same file: one of them tells its warnings, all tell its errors. */
static void report_at_start(void *context, int level, const char *file, int line, const char *text)
{
	const struct service *service = context;

	if (level <= LOG_ERR || service->id == VPNSIP__SERVICE__COORDINATOR)
		config_report_to_stream(NULL, level, file, line, text);
}

int service_main(const struct service *service, int argc, char **argv)
{
	struct service_options options = {
		.config_file = CONFIG_DEFAULT_FILE,
		.run_directory = DEFAULT_RUN_DIRECTORY,
		.state_directory = DEFAULT_STATE_DIRECTORY,
		.user = service->user,
	};
	struct service_context context = {0};
	struct config *config;
	char *state_directory = NULL;
	int status;

	memory_keep_no_peaks();
	log_set_name(service->name);
	status = read_options(service, argc, argv, &options);
	if (status >= 0)
		return status;
	config = config_load(options.config_file,
	                     options.only_checks ? config_report_to_stream : report_at_start,
	                     options.only_checks ? NULL : (void *)service);
	status = options.only_checks   ? check_only(config)
	         : options.replay_file ? REPLAY_UNUSABLE
	                               : EXIT_FAILURE;
	if (!config || options.only_checks)
		goto out;
	log_set_level(config->log_level);
	if (asprintf(&state_directory, "%s/%s", options.state_directory, service->name) < 0)
		goto out;
	context.config = config;
	context.run_directory = options.run_directory;
	if (options.replay_file) {
		status = run_replay(service, &options, &context);
		goto out;
	}
	context.state_directory = state_directory;
	context.allows_faults = options.allows_faults;
	umask(007);
	if (privileges_make_directories(service, options.user, options.run_directory,
	                                state_directory) != 0 ||
	    (service->prepare && service->prepare(&context) != 0) ||
	    privileges_drop(options.user, service->capabilities) != 0)
		goto out;
	status = run(service, &options, &context);
out:
	free(state_directory);
	config_free(config);
	return status;
}
