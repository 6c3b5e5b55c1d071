/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/session_table.h"

#include <stdlib.h>
#include <string.h>

#define BUCKETS 256

/** Stays for ever once its tunnel had a session: it remembers the highest attempt. One a configured tunnel. */
struct slot {
	struct slot *next;
	uint32_t if_id;
	uint64_t highest_attempt;
	uint64_t ended_attempt;
	bool is_occupied;
	struct ike_session session;
};

struct session_table {
	struct slot *buckets[BUCKETS];
	size_t count;
};

struct session_table *session_table_new(void)
{
	return calloc(1, sizeof(struct session_table));
}

void session_table_free(struct session_table *table)
{
	if (!table)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		while (table->buckets[i]) {
			struct slot *slot = table->buckets[i];

			table->buckets[i] = slot->next;
			free(slot);
		}
	}
	free(table);
}

static struct slot *find_slot(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = table->buckets[if_id % BUCKETS];

	while (slot && slot->if_id != if_id)
		slot = slot->next;
	return slot;
}

struct ike_session *session_table_find(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = find_slot(table, if_id);

	return slot && slot->is_occupied ? &slot->session : NULL;
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
	slot->next = table->buckets[if_id % BUCKETS];
	table->buckets[if_id % BUCKETS] = slot;
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
	if (slot->is_occupied) {
		*session = &slot->session;
		return attempt == slot->session.attempt ? SESSION_SAME : SESSION_REPLACES;
	}
	slot->highest_attempt = attempt;
	slot->is_occupied = true;
	memset(&slot->session, 0, sizeof(slot->session));
	table->count++;
	*session = &slot->session;
	return SESSION_NEW;
}

void session_table_remove(struct session_table *table, uint32_t if_id)
{
	struct slot *slot = find_slot(table, if_id);

	if (!slot || !slot->is_occupied)
		return;
	slot->is_occupied = false;
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
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct slot *slot = table->buckets[i]; slot; slot = slot->next)
			if (slot->is_occupied)
				visit(context, &slot->session);
}

size_t session_table_count(const struct session_table *table)
{
	return table->count;
}
