/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A story file, read: what surrounds the service, and the steps. The grammar is in README.md. */
#ifndef VPNSIP_EXCHANGE_STORY_H
#define VPNSIP_EXCHANGE_STORY_H

#include <stdbool.h>
#include <stddef.h>

#include "bus/bus.h"

enum step_kind {
	/* From the service ("<"). */
	STEP_EXPECT_REQUEST,
	STEP_EXPECT_EVENT,
	STEP_EXPECT_REPLY,
	/* To the service (">"). */
	STEP_REPLY,
	STEP_EVENT,
	STEP_REQUEST,
	/* The stage ("!"). */
	STEP_QUIET,
	STEP_WAIT,
	STEP_LIMIT,
	STEP_SNAPSHOT,
	STEP_ANSWER,
	STEP_KILL,
	STEP_START,
	STEP_CRASH,
	STEP_RESTART,
	/* Checks ("="). */
	STEP_CHECK_SNAPSHOT,
	STEP_CHECK_FILE,
};

struct step {
	enum step_kind kind;
	int line;
	Vpnsip__Service peer;                    /* where a step names one */
	const ProtobufCMessageDescriptor *body;  /* where a step names one */
	const ProtobufCMessageDescriptor *order; /* STEP_ANSWER: what is answered with `body` */
	char *text;                              /* fields of the body, or the rest of the line */
	double seconds;
	int group; /* steps of one { } have the same number; 0 = none */
	struct step *next;
};

/** A file that the service finds in its directory. */
struct story_file {
	char *name;
	unsigned mode;
	char *content;
	struct story_file *next;
};

struct story {
	const char *path;
	Vpnsip__Service service;  /* the one under test */
	struct story_file *files; /* the configuration is "vpnsip.conf" */
	char *arguments[16];      /* more of the command line, NULL at the end */
	struct step *steps;
};

/** NULL after a message on stderr. */
struct story *story_read(const char *path);
void story_free(struct story *story);

#endif
