/* SPDX-License-Identifier: GPL-3.0-or-later */
/* exchange [-v] PROGRAM STORY: one real service against played peers, as the story tells. README.md has the grammar. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/exchange/steps.h"

int main(int argc, char **argv)
{
	struct stage stage = {0};
	struct story *story;
	bool is_verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
	bool is_good;

	argv += is_verbose;
	if (argc - is_verbose != 3) {
		fprintf(stderr, "usage: exchange [-v] PROGRAM STORY\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	story = story_read(argv[2]);
	if (story == NULL)
		return 2;
	is_good = stage_open(&stage, story, argv[1]) == 0 && steps_play(&stage, is_verbose);
	if (!is_good || is_verbose)
		stage_print_log(&stage);
	stage_close(&stage);
	story_free(story);
	if (is_good)
		printf("%s held\n", argv[2]);
	return is_good ? 0 : 1;
}
