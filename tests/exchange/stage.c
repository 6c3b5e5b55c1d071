/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/exchange/stage.h"

#include <event2/event.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utlist.h>

#include "bus/instance_lock.h"
#include "bus/json.h"

#define STATUS_TIMEOUT_MSEC 500
#define START_LIMIT_SEC     10
/** A service leaves within 1 s; a busy machine may need more to let it. */
#define LEAVE_LIMIT_MSEC    5000

static struct arrival *arrival_new(const Vpnsip__Envelope *envelope)
{
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	arrival->body = bus_body(envelope)->descriptor;
	arrival->json = bus_json_from_message(bus_body(envelope));
	return arrival;
}

void arrival_free(struct arrival *arrival)
{
	json_decref(arrival->json);
	free(arrival);
}

static void on_request(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct player *player = context;
	struct arrival *arrival;

	for (struct answer *answer = player->stage->answers; answer != NULL;
	     answer = answer->next) {
		if (answer->peer == player->service &&
		    answer->order == bus_body(order)->descriptor) {
			bus_reply(request, answer->reply);
			return;
		}
	}
	arrival = arrival_new(order);
	arrival->peer = player->service;
	arrival->request = request;
	DL_APPEND(player->stage->requests, arrival);
}

static void on_snapshot(void *context, struct bus_request *request)
{
	struct player *player = context;

	if (player->snapshot != NULL)
		bus_reply(request, player->snapshot);
	else
		bus_done(request);
}

static void on_event(void *context, const Vpnsip__Envelope *event)
{
	struct player *player = context;
	struct arrival *arrival = arrival_new(event);

	DL_APPEND(player->stage->events, arrival);
}

static const struct bus_handlers player_handlers = {.request = on_request, .snapshot = on_snapshot};
/* The CLI's connection sees the service's events; it keeps no state, so it never asks for snapshots by itself. */
static const struct bus_handlers onlooker_handlers = {.event = on_event};

int stage_start_player(struct stage *stage, Vpnsip__Service service)
{
	struct player *player = &stage->players[service];
	char run_directory[96], uid_map[96], why[256];
	const bool is_cli = service == VPNSIP__SERVICE__CLI;
	const unsigned tested = BUS_SERVICE(stage->story->service);

	snprintf(run_directory, sizeof(run_directory), "%s/run", stage->directory);
	snprintf(uid_map, sizeof(uid_map), "%s/uids", stage->directory);
	player->stage = stage;
	player->service = service;
	player->bus = bus_open(
		&(struct bus_options){.self = service,
	                              .run_directory = run_directory,
	                              .uid_map = uid_map,
	                              .base = stage->base,
	                              .environment = &bus_system_environment,
	                              .calls = tested,
	                              .subscribes = is_cli ? tested : 0,
	                              .is_listening = !is_cli,
	                              .handlers = is_cli ? &onlooker_handlers : &player_handlers,
	                              .context = player},
		why, sizeof(why));
	if (player->bus != NULL)
		return 0;
	fprintf(stderr, "cannot play %s: %s\n", bus_service_name(service), why);
	return -1;
}

/** Requests to this player can no longer be answered. */
static void forget_requests(struct arrival **list, Vpnsip__Service peer)
{
	struct arrival *arrival, *next;

	DL_FOREACH_SAFE (*list, arrival, next) {
		if (arrival->peer != peer)
			continue;
		DL_DELETE(*list, arrival);
		arrival_free(arrival);
	}
}

void stage_kill_player(struct stage *stage, Vpnsip__Service service)
{
	forget_requests(&stage->requests, service);
	forget_requests(&stage->unanswered, service);
	bus_close(stage->players[service].bus);
	stage->players[service].bus = NULL;
}

struct turn {
	struct event_base *base;
	bool is_over;
};

static void on_turn(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	((struct turn *)context)->is_over = true;
}

bool stage_run(struct stage *stage, double seconds, bool (*condition)(void *context), void *context)
{
	const struct timeval limit = {.tv_sec = (time_t)seconds,
	                              .tv_usec = (suseconds_t)((seconds - (time_t)seconds) * 1e6)};
	struct turn turn = {.base = stage->base};
	struct event *timer = evtimer_new(stage->base, on_turn, &turn);
	bool is_true = condition != NULL && condition(context);

	event_add(timer, &limit);
	while (!is_true && !turn.is_over) {
		event_base_loop(stage->base, EVLOOP_ONCE);
		is_true = condition != NULL && condition(context);
	}
	event_free(timer);
	return is_true;
}

/* The folders on the way to a file. */
static void make_parents(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0755);
		*slash = '/';
	}
}

static int write_file(const char *directory, const char *name, unsigned mode, const char *content)
{
	char path[256];
	FILE *stream;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	make_parents(path);
	stream = fopen(path, "we");
	if (stream == NULL) {
		perror(path);
		return -1;
	}
	/* @DIR@ is where the story's files are. */
	for (const char *at = content; *at != '\0'; at++) {
		if (strncmp(at, "@DIR@", 5) == 0) {
			fputs(directory, stream);
			at += 4;
		} else {
			fputc(*at, stream);
		}
	}
	fchmod(fileno(stream), mode);
	fclose(stream);
	return 0;
}

static int write_uid_map(const struct stage *stage)
{
	char content[512] = "";

	for (int service = VPNSIP__SERVICE__COORDINATOR; service < VPNSIP__SERVICE__CLI; service++)
		snprintf(content + strlen(content), sizeof(content) - strlen(content), "%s %u\n",
		         bus_service_name(service), (unsigned)getuid());
	return write_file(stage->directory, "uids", 0644, content);
}

static int make_directory(struct stage *stage)
{
	char path[96];

	strcpy(stage->directory, "/tmp/vpnsip-exchange-XXXXXX");
	if (mkdtemp(stage->directory) == NULL) {
		perror("mkdtemp");
		return -1;
	}
	snprintf(path, sizeof(path), "%s/run", stage->directory);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/state", stage->directory);
	mkdir(path, 0755);
	if (write_uid_map(stage) != 0)
		return -1;
	for (const struct story_file *file = stage->story->files; file != NULL; file = file->next)
		if (write_file(stage->directory, file->name, file->mode, file->content) != 0)
			return -1;
	return 0;
}

static int spawn_service(struct stage *stage)
{
	char config[96], run[96], state[96], uids[96], log[96];
	char *arguments[32] = {(char *)stage->program,
	                       "-c",
	                       config,
	                       "--run-dir",
	                       run,
	                       "--state-dir",
	                       state,
	                       "--uid-map",
	                       uids,
	                       "--user",
	                       "",
	                       NULL};
	size_t count = 11;
	posix_spawn_file_actions_t actions;
	int error;

	snprintf(config, sizeof(config), "%s/vpnsip.conf", stage->directory);
	snprintf(run, sizeof(run), "%s/run", stage->directory);
	snprintf(state, sizeof(state), "%s/state", stage->directory);
	snprintf(uids, sizeof(uids), "%s/uids", stage->directory);
	snprintf(log, sizeof(log), "%s/log", stage->directory);
	for (size_t i = 0; stage->story->arguments[i] != NULL; i++)
		arguments[count++] = stage->story->arguments[i];
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, log,
	                                 O_WRONLY | O_CREAT | O_APPEND, 0644);
	error = posix_spawn(&stage->service_pid, stage->program, &actions, NULL, arguments,
	                    environ);
	posix_spawn_file_actions_destroy(&actions);
	if (error == 0)
		return 0;
	stage->service_pid = 0;
	fprintf(stderr, "%s: %s\n", stage->program, strerror(error));
	return -1;
}

bool stage_is_alive(struct stage *stage)
{
	if (stage->service_pid != 0 &&
	    waitpid(stage->service_pid, &stage->exit_status, WNOHANG) == stage->service_pid)
		stage->service_pid = 0;
	return stage->service_pid != 0;
}

struct inquiry {
	bool is_there, are_all_up;
};

static void on_status(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct inquiry *inquiry = context;

	inquiry->is_there = true;
	inquiry->are_all_up = outcome == BUS_DONE;
	for (size_t i = 0; outcome == BUS_DONE && i < reply->service_status->n_peers; i++)
		if (reply->service_status->peers[i]->health != VPNSIP__PEER_HEALTH__PEER_UP)
			inquiry->are_all_up = false;
}

static bool is_inquired(void *context)
{
	return ((struct inquiry *)context)->is_there;
}

static bool is_onlooker_up(void *context)
{
	const struct stage *stage = context;

	return bus_peer_health(stage->players[VPNSIP__SERVICE__CLI].bus, stage->story->service) ==
	       VPNSIP__PEER_HEALTH__PEER_UP;
}

/** Until the service has its peers' snapshots: an event before that would be lost. */
static int wait_until_known(struct stage *stage)
{
	Vpnsip__GetServiceStatus order = VPNSIP__GET_SERVICE_STATUS__INIT;
	const uint64_t limit = bus_mono_usec(stage->players[VPNSIP__SERVICE__CLI].bus) +
	                       START_LIMIT_SEC * UINT64_C(1000000);

	while (bus_mono_usec(stage->players[VPNSIP__SERVICE__CLI].bus) < limit) {
		struct inquiry inquiry = {0};
		uint64_t id;

		id = bus_call(stage->players[VPNSIP__SERVICE__CLI].bus, stage->story->service, NULL,
		              &order.base, STATUS_TIMEOUT_MSEC, on_status, &inquiry);
		stage_run(stage, 2.0 * STATUS_TIMEOUT_MSEC / 1000, is_inquired, &inquiry);
		bus_cancel(stage->players[VPNSIP__SERVICE__CLI].bus, id); /* `inquiry` ends here */
		if (inquiry.are_all_up)
			return stage_run(stage, START_LIMIT_SEC, is_onlooker_up, stage) ? 0 : -1;
		if (!stage_is_alive(stage))
			break;
		stage_run(stage, 0.02, NULL, NULL);
	}
	fprintf(stderr, "%s did not start\n", stage->program);
	return -1;
}

/** When the service began to listen; see instance_lock_announce(). */
static int64_t announced_nsec(const struct stage *stage)
{
	struct stat file;
	char path[128];

	snprintf(path, sizeof(path), "%s/run/%s/" INSTANCE_LOCK_FILE, stage->directory,
	         bus_service_name(stage->story->service));
	return stat(path, &file) == 0
	               ? file.st_mtim.tv_sec * INT64_C(1000000000) + file.st_mtim.tv_nsec
	               : 0;
}

/*
 * The onlooker dials anew as soon as the service listens. By itself it would try now and then, and the story went on after
 * the limits of a second that the service's orders have.
 */
int stage_start_service(struct stage *stage)
{
	struct player *onlooker = &stage->players[VPNSIP__SERVICE__CLI];
	const int64_t before_nsec = announced_nsec(stage);

	bus_close(onlooker->bus);
	onlooker->bus = NULL;
	if (spawn_service(stage) != 0)
		return -1;
	for (unsigned tries = 0; announced_nsec(stage) == before_nsec && stage_is_alive(stage) &&
	                         tries < START_LIMIT_SEC * 100;
	     tries++)
		stage_run(stage, 0.01, NULL, NULL);
	if (stage_start_player(stage, VPNSIP__SERVICE__CLI) != 0)
		return -1;
	return wait_until_known(stage);
}

static bool is_dead(void *context)
{
	return !stage_is_alive(context);
}

bool stage_end_service(struct stage *stage, int signal)
{
	const unsigned slice_msec = 20;

	if (!stage_is_alive(stage))
		return false;
	kill(stage->service_pid, signal);
	for (unsigned passed = 0; passed < LEAVE_LIMIT_MSEC; passed += slice_msec)
		if (stage_run(stage, slice_msec / 1000.0, is_dead, stage) || is_dead(stage))
			return signal == SIGKILL || (WIFEXITED(stage->exit_status) &&
			                             WEXITSTATUS(stage->exit_status) == 0);
	return false;
}

int stage_open(struct stage *stage, const struct story *story, const char *program)
{
	stage->story = story;
	stage->program = program;
	stage->base = event_base_new();
	stage->variables = json_object();
	if (make_directory(stage) != 0)
		return -1;
	for (int service = VPNSIP__SERVICE__COORDINATOR; service < VPNSIP__SERVICE__CLI; service++)
		if (service != (int)story->service && stage_start_player(stage, service) != 0)
			return -1;
	return stage_start_service(stage);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
	(void)status;
	(void)type;
	(void)walk;
	return remove(path);
}

static void free_arrivals(struct arrival *list)
{
	struct arrival *arrival, *next;

	DL_FOREACH_SAFE (list, arrival, next)
		arrival_free(arrival);
}

void stage_close(struct stage *stage)
{
	struct answer *answer, *next;

	if (stage_is_alive(stage)) {
		kill(stage->service_pid, SIGKILL);
		waitpid(stage->service_pid, NULL, 0);
	}
	for (int service = 0; service < PLAYER_COUNT; service++) {
		bus_close(stage->players[service].bus);
		if (stage->players[service].snapshot != NULL)
			protobuf_c_message_free_unpacked(stage->players[service].snapshot, NULL);
	}
	for (answer = stage->answers; answer != NULL; answer = next) {
		next = answer->next;
		protobuf_c_message_free_unpacked(answer->reply, NULL);
		free(answer);
	}
	free_arrivals(stage->requests);
	free_arrivals(stage->events);
	free_arrivals(stage->replies);
	free_arrivals(stage->unanswered);
	json_decref(stage->variables);
	event_base_free(stage->base);
	if (stage->directory[0] != '\0')
		nftw(stage->directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void stage_print_log(const struct stage *stage)
{
	char path[96], line[1024];
	FILE *stream;

	snprintf(path, sizeof(path), "%s/log", stage->directory);
	stream = fopen(path, "re");
	if (stream == NULL)
		return;
	fprintf(stderr, "--- log of %s\n", bus_service_name(stage->story->service));
	while (fgets(line, sizeof(line), stream) != NULL)
		fputs(line, stderr);
	fclose(stream);
}
