/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sessions of ike-agent, one a tunnel, found by if_id. Pure. */
#ifndef VPNSIP_IKE_SESSION_TABLE_H
#define VPNSIP_IKE_SESSION_TABLE_H

#include "services/ike-agent/ike_core.h"

struct session_table;

enum session_admission {
	SESSION_NEW = 1, /* *session is a new one to be filled by ike_session_init() */
	SESSION_SAME,    /* this attempt is in force */
	SESSION_REPLACES, /* a lower attempt is in force: *session is the old one, remove it and ask again */
	SESSION_STALE, /* a higher attempt is or was in force, or this one has been ended */
};

/** NULL when out of memory. */
struct session_table *session_table_new(void);
void session_table_free(struct session_table *table);

/** The session of the tunnel, or NULL. */
struct ike_session *session_table_find(struct session_table *table, uint32_t if_id);

/** Whether a session of this attempt may begin. *session is NULL when stale or out of memory (SESSION_NEW). */
enum session_admission session_table_admit(struct session_table *table, uint32_t if_id,
                                           uint64_t attempt, struct ike_session **session);

/** Frees the session; its attempt stays known as used. */
void session_table_remove(struct session_table *table, uint32_t if_id);

/** This attempt and all before it may not begin any more: orders can overtake each other, an end its own beginning too. */
void session_table_end_attempt(struct session_table *table, uint32_t if_id, uint64_t attempt);

typedef void session_table_visit_fn(void *context, struct ike_session *session);
void session_table_each(struct session_table *table, session_table_visit_fn *visit, void *context);

size_t session_table_count(const struct session_table *table);

#endif
