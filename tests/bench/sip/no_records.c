/* SPDX-License-Identifier: GPL-3.0-or-later */
/* In place of services/sip-agent/dialog_store.c: nothing is kept. */
#include "services/sip-agent/dialog_store.h"

#include <stdio.h>

bool dialog_store_write(const char *directory, const struct dialog_record *record, bool is_lasting,
                        char *why, size_t why_size)
{
	(void)directory;
	(void)record;
	(void)is_lasting;
	snprintf(why, why_size, "%s", "");
	return true;
}

bool dialog_store_write_state(const char *directory, const struct dialog_record *record, char *why,
                              size_t why_size)
{
	return dialog_store_write(directory, record, false, why, why_size);
}

void dialog_store_take_attempt(const char *directory, const struct call *call)
{
	(void)directory;
	(void)call;
}

void dialog_store_remove(const char *directory, const struct call *call)
{
	(void)directory;
	(void)call;
}

void dialog_store_read(const char *directory,
                       void (*take)(void *context, const struct dialog_record *record),
                       void *context)
{
	(void)directory;
	(void)take;
	(void)context;
}
