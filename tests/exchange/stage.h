/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The stage: one real service in a directory of its own, and all its peers played on the bus. */
#ifndef VPNSIP_EXCHANGE_STAGE_H
#define VPNSIP_EXCHANGE_STAGE_H

#include <jansson.h>
#include <sys/types.h>

#include "bus/bus.h"
#include "tests/exchange/story.h"

#define PLAYER_COUNT (VPNSIP__SERVICE__CLI + 1)

/** Something that came from the service and that no step has taken yet. */
struct arrival {
	struct arrival *prev, *next;
	Vpnsip__Service peer; /* whom it was sent to; of events: none */
	const ProtobufCMessageDescriptor *body;
	json_t *json;
	struct bus_request *request; /* to be answered; only of requests */
};

/** Orders that are answered without being told in the story. */
struct answer {
	struct answer *next;
	Vpnsip__Service peer;
	const ProtobufCMessageDescriptor *order;
	ProtobufCMessage *reply;
};

struct stage;

/** One played service, or the CLI. */
struct player {
	struct stage *stage;
	Vpnsip__Service service;
	struct bus *bus;            /* NULL while killed */
	ProtobufCMessage *snapshot; /* what it answers to GetSnapshot; NULL = an empty one */
};

struct stage {
	const struct story *story;
	const char *program;
	struct event_base *base;
	char directory[64];
	pid_t service_pid; /* 0 = not running */
	int exit_status;   /* of the last one that ended */
	struct player players[PLAYER_COUNT];
	struct arrival *requests, *events, *replies;
	struct arrival *unanswered; /* requests that a step has taken */
	struct answer *answers;
	json_t *variables;
};

/** Makes the directory, starts players and service, waits until they know each other. 0, or -1 after a message. */
int stage_open(struct stage *stage, const struct story *story, const char *program);

/** Ends the service if it runs, removes everything. */
void stage_close(struct stage *stage);

/** Runs the loop until `condition` or for `seconds`. Tells whether it became true. */
bool stage_run(struct stage *stage, double seconds, bool (*condition)(void *context),
               void *context);

/** Ends the service: SIGTERM or SIGKILL. Tells whether it ended within a second and, after SIGTERM, with status 0. */
bool stage_end_service(struct stage *stage, int signal);

/** Starts it again, and waits until all know each other. 0, or -1 after a message. */
int stage_start_service(struct stage *stage);

/** Opens a player that was killed. */
int stage_start_player(struct stage *stage, Vpnsip__Service service);
void stage_kill_player(struct stage *stage, Vpnsip__Service service);

/** Is the service still running? */
bool stage_is_alive(struct stage *stage);

/** Prints the end of the service's log. */
void stage_print_log(const struct stage *stage);

void arrival_free(struct arrival *arrival);

#endif
