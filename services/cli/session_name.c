/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/cli/session_name.h"

#include <stdio.h>
#include <string.h>

#include "services/common/suggest.h"

#define MOST_NAMES 512

const Vpnsip__SessionChanged *session_find(const Vpnsip__CoordinatorSnapshot *snapshot,
                                           const char *name)
{
	for (size_t i = 0; i < snapshot->n_sessions; i++)
		if (strcmp(snapshot->sessions[i]->tunnel, name) == 0 ||
		    strcmp(snapshot->sessions[i]->remote_number, name) == 0)
			return snapshot->sessions[i];
	return NULL;
}

void session_explain_unknown(const Vpnsip__CoordinatorSnapshot *snapshot, const char *name,
                             char *text, size_t size)
{
	const char *names[MOST_NAMES], *near;
	size_t count = 0;

	for (size_t i = 0; i < snapshot->n_sessions && count + 1 < MOST_NAMES; i++) {
		names[count++] = snapshot->sessions[i]->tunnel;
		names[count++] = snapshot->sessions[i]->remote_number;
	}
	near = suggest_word(name, names, count);
	snprintf(text, size, "there is no session '%s'%s%s%s", name, near ? "; did you mean '" : "",
	         near ? near : "", near ? "'?" : "");
}

bool session_is_number(const char *name)
{
	return *name && name[strspn(name, "0123456789")] == '\0';
}
