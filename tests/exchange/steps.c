/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "tests/exchange/steps.h"

#include <assert.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utlist.h>

#include "bus/json.h"
#include "tests/exchange/pattern.h"

#define DEFAULT_LIMIT_SEC  5
#define ORDER_TIMEOUT_MSEC 5000
#define WHY_SIZE           1024

/** A play under way. */
struct play {
	struct stage *stage;
	double limit_sec;
	const struct step *step;
};

static bool fail(const struct play *play, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static bool fail(const struct play *play, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: ", play->stage->story->path, play->step->line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return false;
}

static void print_arrival(const char *what, const struct arrival *arrival)
{
	char *json = json_dumps(arrival->json, JSON_COMPACT);

	fprintf(stderr, "  %s %s%s%s %s\n", what,
	        arrival->peer != 0 ? bus_service_name(arrival->peer) : "",
	        arrival->peer != 0 ? " " : "", arrival->body->short_name, json);
	free(json);
}

static struct arrival **queue_of(struct stage *stage, enum step_kind kind)
{
	return kind == STEP_EXPECT_REQUEST ? &stage->requests
	       : kind == STEP_EXPECT_EVENT ? &stage->events
	                                   : &stage->replies;
}

static bool is_expectation(const struct step *step)
{
	return step->kind == STEP_EXPECT_REQUEST || step->kind == STEP_EXPECT_EVENT ||
	       step->kind == STEP_EXPECT_REPLY;
}

/** 1 = it is what the step expects, 0 = it is not, -1 = the step itself is wrong. */
static int compare(const struct play *play, const struct step *step, const struct arrival *arrival,
                   char *why)
{
	json_t *pattern;
	int result;

	if (arrival->body != step->body || arrival->peer != step->peer) {
		snprintf(why, WHY_SIZE, "another message");
		return 0;
	}
	pattern = pattern_read(step->text, play->stage->variables, why, WHY_SIZE);
	if (pattern == NULL)
		return -1;
	result = pattern_matches(pattern, arrival->json, play->stage->variables, why, WHY_SIZE);
	json_decref(pattern);
	return result;
}

/** Takes the arrival that the step expects from its queue. Events before it are dropped, other messages are a fault. */
static int take_expected(struct play *play, const struct step *step, struct arrival **taken,
                         char *why)
{
	struct arrival **queue = queue_of(play->stage, step->kind), *arrival, *next;

	*taken = NULL;
	DL_FOREACH_SAFE (*queue, arrival, next) {
		int result = compare(play, step, arrival, why);

		if (result < 0)
			return -1;
		if (result == 1) {
			DL_DELETE(*queue, arrival); // NOLINT(clang-analyzer-core.NullDereference)
			*taken = arrival;
			return 1;
		}
		if (step->kind != STEP_EXPECT_EVENT)
			return 0;
		/* In a group another step may want this event. */
		if (step->group == 0) {
			DL_DELETE(*queue, arrival); // NOLINT(clang-analyzer-core.NullDereference)
			arrival_free(arrival);
		}
	}
	return 0;
}

static ProtobufCMessage *read_message(const struct play *play, const struct step *step)
{
	char why[WHY_SIZE];
	json_t *json = pattern_read(step->text, play->stage->variables, why, sizeof(why));
	ProtobufCMessage *message = NULL;

	assert(step->body != NULL); /* of every step that sends */
	if (json != NULL && pattern_has_captures(json))
		snprintf(why, sizeof(why), "a variable has no value yet");
	else if (json != NULL)
		message = bus_message_from_json(step->body, json, why, sizeof(why));
	json_decref(json);
	if (message == NULL)
		fail(play, "%s: %s", step->body->short_name, why);
	return message;
}

static bool reply(const struct play *play, const struct step *step, struct arrival *arrival)
{
	ProtobufCMessage *message = read_message(play, step);

	if (message == NULL)
		return false;
	bus_reply(arrival->request, message);
	protobuf_c_message_free_unpacked(message, NULL);
	arrival_free(arrival);
	return true;
}

/** A `> reply` right after what it answers belongs to it, in a group too. */
static const struct step *own_reply(const struct step *step)
{
	return step->kind == STEP_EXPECT_REQUEST && step->next != NULL &&
	                       step->next->kind == STEP_REPLY && step->next->group == step->group
	               ? step->next
	               : NULL;
}

static bool accept(const struct play *play, const struct step *step, struct arrival *arrival)
{
	if (step->kind != STEP_EXPECT_REQUEST) {
		arrival_free(arrival);
		return true;
	}
	if (own_reply(step) != NULL)
		return reply(play, own_reply(step), arrival);
	DL_APPEND(play->stage->unanswered, arrival);
	return true;
}

static bool has_news(void *context)
{
	const struct stage *stage = context;

	return stage->requests != NULL || stage->events != NULL || stage->replies != NULL;
}

static size_t count_arrivals(const struct stage *stage)
{
	const struct arrival *queues[] = {stage->requests, stage->events, stage->replies};
	size_t count = 0;

	for (size_t at = 0; at < 3; at++)
		for (const struct arrival *arrival = queues[at]; arrival != NULL;
		     arrival = arrival->next)
			count++;
	return count;
}

/** Lets time pass until something new is there. false when the time is over or the service is dead. */
static bool await_news(const struct play *play, double *left)
{
	const double slice = 0.01;
	const size_t known = count_arrivals(play->stage);

	while (count_arrivals(play->stage) == known) {
		if (*left <= 0 || !stage_is_alive(play->stage))
			return false;
		stage_run(play->stage, slice, known == 0 ? has_news : NULL, play->stage);
		*left -= slice;
	}
	return true;
}

static bool fail_expectation(const struct play *play, const struct step *step, const char *why)
{
	struct arrival *queue = *queue_of(play->stage, step->kind), *arrival;
	const bool has_peer = step->peer != VPNSIP__SERVICE__SERVICE_UNSPECIFIED;

	fprintf(stderr, "%s:%d: expected %s%s%s %s\n", play->stage->story->path, step->line,
	        has_peer ? bus_service_name(step->peer) : "", has_peer ? " " : "",
	        step->body->short_name, step->text);
	if (why[0] != '\0')
		fprintf(stderr, "  %s\n", why);
	if (!stage_is_alive(play->stage))
		fprintf(stderr, "  the service has ended (status 0x%x)\n",
		        play->stage->exit_status);
	if (queue == NULL)
		fprintf(stderr, "  nothing came\n");
	DL_FOREACH (queue, arrival)
		print_arrival("came:", arrival);
	return false;
}

static bool expect_one(struct play *play, const struct step *step)
{
	char why[WHY_SIZE] = "";
	struct arrival *arrival;
	double left = play->limit_sec;

	for (;;) {
		int result = take_expected(play, step, &arrival, why);

		if (result == 1)
			return accept(play, step, arrival);
		if (result < 0)
			return fail(play, "%s", why);
		/* What must come next in order and is something else will not change. */
		if (step->kind != STEP_EXPECT_EVENT && *queue_of(play->stage, step->kind) != NULL)
			return fail_expectation(play, step, why);
		if (!await_news(play, &left))
			return fail_expectation(play, step, why);
	}
}

/** Orders of a group come in any order: each arrival goes to the first step that it fits. */
static bool fits_somewhere(struct play *play, const struct step **open, size_t count,
                           struct arrival **queue, struct arrival *arrival, bool *is_good)
{
	char why[WHY_SIZE];

	for (size_t i = 0; i < count; i++) {
		int result;

		if (open[i] == NULL || queue_of(play->stage, open[i]->kind) != queue)
			continue;
		result = compare(play, open[i], arrival, why);
		if (result < 0)
			*is_good = fail(play, "%s", why);
		if (result != 1)
			continue;
		DL_DELETE(*queue, arrival);
		*is_good = accept(play, open[i], arrival);
		open[i] = NULL;
		return true;
	}
	return false;
}

static bool take_for_group(struct play *play, const struct step **open, size_t count)
{
	struct arrival **queues[] = {&play->stage->requests, &play->stage->events,
	                             &play->stage->replies};
	bool is_good = true;

	for (size_t at = 0; at < 3; at++) {
		struct arrival *arrival, *next;

		DL_FOREACH_SAFE (*queues[at], arrival, next)
			if (is_good)
				fits_somewhere(play, open, count, queues[at], arrival, &is_good);
	}
	return is_good;
}

static bool is_group_done(const struct step **open, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (open[i] != NULL)
			return false;
	return true;
}

/** Plays the steps of a group; `*step` becomes its last one. */
static bool expect_group(struct play *play, const struct step **step)
{
	const struct step *open[32], *last = *step;
	const int group = (*step)->group;
	double left = play->limit_sec;
	size_t count = 0;

	for (const struct step *one = *step; one != NULL && one->group == group; one = one->next) {
		last = one;
		if (is_expectation(one) && count < sizeof(open) / sizeof(open[0]))
			open[count++] = one;
		else if (one->kind != STEP_REPLY)
			return fail(play, "in a group only '<' steps and their replies can stand");
	}
	*step = last;
	for (;;) {
		if (!take_for_group(play, open, count))
			return false;
		if (is_group_done(open, count))
			return true;
		if (play->stage->requests != NULL || !await_news(play, &left))
			break;
	}
	for (size_t i = 0; i < count; i++)
		if (open[i] != NULL)
			fail_expectation(play, open[i], "");
	return false;
}

static bool reply_late(struct play *play)
{
	struct arrival *arrival = play->stage->unanswered;

	if (arrival == NULL)
		return fail(play, "no request is waiting for a reply");
	DL_DELETE(play->stage->unanswered, arrival);
	return reply(play, play->step, arrival);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *envelope)
{
	struct stage *stage = context;
	struct arrival *arrival = calloc(1, sizeof(*arrival));

	(void)outcome; /* a lost reply is a Failed that no story expects */
	arrival->body = bus_body(envelope)->descriptor;
	arrival->json = bus_json_from_message(bus_body(envelope));
	DL_APPEND(stage->replies, arrival);
}

static bool send(struct play *play)
{
	struct stage *stage = play->stage;
	struct bus *bus = stage->players[play->step->peer].bus;
	ProtobufCMessage *message = read_message(play, play->step);

	if (message == NULL)
		return false;
	if (bus == NULL)
		fail(play, "%s does not run", bus_service_name(play->step->peer));
	else if (play->step->kind == STEP_EVENT)
		bus_publish(bus, NULL, message);
	else
		bus_call(bus, stage->story->service, NULL, message, ORDER_TIMEOUT_MSEC, on_reply,
		         stage);
	protobuf_c_message_free_unpacked(message, NULL);
	return bus != NULL;
}

static void drop_events(struct stage *stage)
{
	struct arrival *arrival, *next;

	DL_FOREACH_SAFE (stage->events, arrival, next) {
		DL_DELETE(stage->events, arrival); // NOLINT(clang-analyzer-core.NullDereference)
		arrival_free(arrival);
	}
}

/** Nothing but heartbeats. Events that came before do not count, orders do. */
static bool stay_quiet(struct play *play)
{
	struct stage *stage = play->stage;

	drop_events(stage);
	if (!stage_run(stage, play->step->seconds, has_news, stage))
		return stage_is_alive(stage) || fail(play, "the service has ended");
	fail(play, "expected quiet");
	if (stage->requests != NULL)
		print_arrival("came: request", stage->requests);
	if (stage->events != NULL)
		print_arrival("came: event", stage->events);
	if (stage->replies != NULL)
		print_arrival("came: reply", stage->replies);
	return false;
}

static bool set_snapshot(struct play *play)
{
	struct player *player = &play->stage->players[play->step->peer];
	ProtobufCMessage *message = read_message(play, play->step);

	if (message == NULL)
		return false;
	if (player->snapshot != NULL)
		protobuf_c_message_free_unpacked(player->snapshot, NULL);
	player->snapshot = message;
	return true;
}

static bool add_answer(struct play *play)
{
	struct answer *answer = calloc(1, sizeof(*answer));

	answer->peer = play->step->peer;
	answer->order = play->step->order;
	answer->reply = read_message(play, play->step);
	if (answer->reply == NULL) {
		free(answer);
		return false;
	}
	answer->next = play->stage->answers;
	play->stage->answers = answer;
	return true;
}

struct fetched {
	bool is_there;
	json_t *json;
};

static void on_fetched(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct fetched *fetched = context;

	(void)outcome;
	fetched->is_there = true;
	fetched->json = bus_json_from_message(bus_body(reply));
}

static bool is_fetched(void *context)
{
	return ((struct fetched *)context)->is_there;
}

static bool check_snapshot_once(struct play *play, char *why)
{
	Vpnsip__GetSnapshot order = VPNSIP__GET_SNAPSHOT__INIT;
	struct fetched fetched = {0};
	json_t *pattern = pattern_read(play->step->text, play->stage->variables, why, WHY_SIZE);
	struct bus *bus = play->stage->players[VPNSIP__SERVICE__CLI].bus;
	bool is_match = false;
	uint64_t id;

	if (pattern == NULL)
		return false;
	id = bus_call(bus, play->stage->story->service, NULL, &order.base, 1000, on_fetched,
	              &fetched);
	stage_run(play->stage, 2, is_fetched, &fetched);
	bus_cancel(bus, id); /* `fetched` ends here */
	if (fetched.json != NULL)
		is_match = pattern_matches(pattern, fetched.json, play->stage->variables, why,
		                           WHY_SIZE);
	json_decref(fetched.json);
	json_decref(pattern);
	return is_match;
}

/** The state may need a moment to become what the story says. */
static bool check_snapshot(struct play *play)
{
	const unsigned slice_msec = 50;
	const unsigned limit_msec = (unsigned)(play->limit_sec * 1000);
	char why[WHY_SIZE] = "no answer";

	for (unsigned passed = 0; passed < limit_msec; passed += slice_msec) {
		if (check_snapshot_once(play, why))
			return true;
		if (!stage_is_alive(play->stage))
			return fail(play, "the service has ended");
		stage_run(play->stage, slice_msec / 1000.0, NULL, NULL);
	}
	return fail(play, "snapshot: %s", why);
}

/** `= file NAME` or `= file NAME absent`: below the story's directory. */
static bool check_file(struct play *play)
{
	char name[128] = "", state[16] = "", path[256];
	struct stat status;
	bool is_there;

	sscanf(play->step->text, "%127s %15s", name, state);
	snprintf(path, sizeof(path), "%s/%s", play->stage->directory, name);
	is_there = stat(path, &status) == 0;
	if (is_there == (strcmp(state, "absent") != 0))
		return true;
	return fail(play, "%s is %s", name, is_there ? "there" : "not there");
}

/** Orders of the service that ended: nobody waits for their replies. */
static void dismiss(struct arrival **list)
{
	struct arrival *arrival, *next;

	DL_FOREACH_SAFE (*list, arrival, next) {
		DL_DELETE(*list, arrival); // NOLINT(clang-analyzer-core.NullDereference)
		bus_fail(arrival->request, VPNSIP__FAILURE_KIND__SYSTEM, "the story goes on");
		arrival_free(arrival);
	}
}

static bool start_again(struct play *play, int signal)
{
	if (!stage_end_service(play->stage, signal))
		return fail(play, "the service did not leave with status 0 (0x%x)",
		            play->stage->exit_status);
	dismiss(&play->stage->requests);
	dismiss(&play->stage->unanswered);
	return stage_start_service(play->stage) == 0 || fail(play, "the service did not start");
}

static bool play_one(struct play *play)
{
	const struct step *step = play->step;

	switch (step->kind) {
	case STEP_EXPECT_REQUEST:
	case STEP_EXPECT_EVENT:
	case STEP_EXPECT_REPLY:
		return expect_one(play, step);
	case STEP_REPLY:
		return reply_late(play);
	case STEP_EVENT:
	case STEP_REQUEST:
		return send(play);
	case STEP_QUIET:
		return stay_quiet(play);
	case STEP_WAIT:
		stage_run(play->stage, step->seconds, NULL, NULL);
		return true;
	case STEP_LIMIT:
		play->limit_sec = step->seconds;
		return true;
	case STEP_SNAPSHOT:
		return set_snapshot(play);
	case STEP_ANSWER:
		return add_answer(play);
	case STEP_KILL:
		stage_kill_player(play->stage, step->peer);
		return true;
	case STEP_START:
		return stage_start_player(play->stage, step->peer) == 0;
	case STEP_CRASH:
		return start_again(play, SIGKILL);
	case STEP_RESTART:
		return start_again(play, SIGTERM);
	case STEP_CHECK_SNAPSHOT:
		return check_snapshot(play);
	case STEP_CHECK_FILE:
		return check_file(play);
	}
	return false;
}

/** No order may be left that the story does not tell, and SIGTERM must be obeyed. */
static bool finish(struct play *play)
{
	struct arrival *arrival;

	stage_run(play->stage, 0.1, NULL, NULL);
	if (play->stage->requests != NULL) {
		fail(play, "after the end of the story");
		DL_FOREACH (play->stage->requests, arrival)
			print_arrival("came: request", arrival);
		return false;
	}
	return stage_end_service(play->stage, SIGTERM) ||
	       fail(play, "the service did not leave with status 0 (0x%x)",
	            play->stage->exit_status);
}

bool steps_play(struct stage *stage, bool is_verbose)
{
	struct play play = {.stage = stage, .limit_sec = DEFAULT_LIMIT_SEC};
	const struct step *step;

	for (step = stage->story->steps; step != NULL; step = step->next) {
		play.step = step;
		if (is_verbose)
			fprintf(stderr, "%s:%d: %s%s%s\n", stage->story->path, step->line,
			        step->body != NULL ? step->body->short_name : "", " ", step->text);
		if (step->group != 0) {
			if (!expect_group(&play, &step))
				return false;
			continue;
		}
		if (!play_one(&play))
			return false;
		if (own_reply(step) != NULL)
			step = step->next;
	}
	return play.step == NULL || finish(&play);
}
