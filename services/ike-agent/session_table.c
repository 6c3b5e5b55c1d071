/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/session_table.h"

#include <stdlib.h>
#include <uthash.h>

/** Stays for ever once its tunnel had a session: it remembers the highest attempt. One a configured tunnel. */
struct slot {
	uint32_t if_id;
	uint64_t highest_attempt;
	uint64_t ended_attempt;
	struct ike_session *session; /* NULL = none */
	UT_hash_handle hh;
};

struct session_table {
	struct slot *slots;
	size_t count; /* of sessions */
};

struct session_table *session_table_new(void)
{
	return calloc(1, sizeof(struct session_table));
}

static void free_session(struct slot *slot)
{
	if (slot->session)
		ike_session_clear(slot->session);
	free(slot->session);
	slot->session = NULL;
}

void session_table_free(struct session_table *table)
{
	struct slot *slot, *next;

	if (!table)
		return;
	HASH_ITER (hh, table->slots, slot, next) {
		HASH_DEL(table->slots, slot);
		free_session(slot);
		free(slot);
	}
	free(table);
}

static struct slot *find_slot(struct session_table *table, uint32_t if_id)
{
	struct slot *slot;

	HASH_FIND(hh, table->slots, &if_id, sizeof(if_id), slot);
	return slot;
}

struct ike_session *session_table_find(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = find_slot(table, if_id);

	return slot ? slot->session : NULL;
}

/* The tunnel's slot, made if need be; NULL when out of memory. */
static struct slot *make_slot(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = find_slot(table, if_id);

	if (slot)
		return slot;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return NULL;
	slot->if_id = if_id;
	HASH_ADD(hh, table->slots, if_id, sizeof(slot->if_id), slot);
	return slot;
}

enum session_admission session_table_admit(struct session_table *table, uint32_t if_id,
                                           uint64_t attempt, struct ike_session **session)
{
	struct slot *slot = make_slot(table, if_id);

	*session = NULL;
	if (!slot)
		return SESSION_NEW;
	if (attempt < slot->highest_attempt || attempt <= slot->ended_attempt)
		return SESSION_STALE;
	if (slot->session) {
		*session = slot->session;
		return attempt == slot->session->attempt ? SESSION_SAME : SESSION_REPLACES;
	}
	slot->session = calloc(1, sizeof(*slot->session));
	if (!slot->session)
		return SESSION_NEW;
	slot->highest_attempt = attempt;
	table->count++;
	*session = slot->session;
	return SESSION_NEW;
}

void session_table_remove(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = find_slot(table, if_id);

	if (!slot || !slot->session)
		return;
	free_session(slot);
	table->count--;
}

void session_table_end_attempt(struct session_table *table, uint32_t if_id, uint64_t attempt)
{
	struct slot *slot = make_slot(table, if_id);

	if (slot && attempt > slot->ended_attempt)
		slot->ended_attempt = attempt;
}

void session_table_each(struct session_table *table, session_table_visit_fn *visit, void *context)
{
	struct slot *slot, *next;

	HASH_ITER (hh, table->slots, slot, next)
		if (slot->session)
			visit(context, slot->session);
}

size_t session_table_count(const struct session_table *table)
{
	return table->count;
}
