/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * What was ordered for each tunnel: port, translation, shaper. Pure; the kernel is made to follow by the caller.
 *
 * Orders are idempotent by tunnel and attempt. Once a higher attempt was seen, orders of a lower one are stale; their
 * removals are carried out as far as something of theirs is left. One thread.
 */
#ifndef VPNSIP_TRANSLATION_CORE_H
#define VPNSIP_TRANSLATION_CORE_H

#include <sys/socket.h>

#include "port_pool.h"
#include "services/common/config.h"

/** Who may send to the session port. */
enum remote_match { REMOTE_EXACT = 1, REMOTE_ADDRESS, REMOTE_ANY };

struct translation {
	struct sockaddr_storage wan; /* address and session port */
	struct sockaddr_storage remote;
	uint64_t attempt; /* 0 = none */
	uint32_t if_id;   /* the mark */
	enum remote_match match;
};

struct shaper {
	uint64_t attempt; /* 0 = none */
	uint32_t rate_kbit;
	uint32_t overhead_byte;
};

/** One a configured tunnel. */
struct tunnel_orders {
	const struct config_peer *peer;
	uint64_t highest_attempt;
	uint64_t ended_attempt; /* removed: orders can overtake each other, and none may bring it back */
	uint64_t reserved_attempt; /* of the newest port; 0 = none */
	uint16_t reserved_port;
	struct translation translation;
	struct shaper shaper;
	bool is_suspect; /* the kernel told of a change on its interface that was not looked at yet */
	bool is_displaced; /* a foreign qdisc took the place of the shaper, and it was said */
};

enum order_outcome {
	ORDER_ACCEPTED,
	ORDER_UNCHANGED, /* already in force */
	ORDER_STALE,     /* a higher attempt was seen, or this one was removed */
	ORDER_UNKNOWN_TUNNEL,
	ORDER_NO_PORT,     /* all are taken or rest */
	ORDER_PORT_TAKEN,  /* the port is not the one reserved for this attempt */
	ORDER_WRONG_IF_ID, /* not the tunnel's */
	ORDER_OUTCOME_COUNT
};

/** For the operator. */
extern const char *const order_outcome_texts[ORDER_OUTCOME_COUNT];

struct translation_core {
	struct port_pool *ports;
	struct tunnel_orders *tunnels;
	struct tunnel_orders **by_name; /* the same in the order of their names */
	size_t tunnel_count;
};

/** `start` is random: where the search for ports begins. NULL when out of memory. `config` must live as long. */
struct translation_core *translation_core_new(const struct config *config, uint32_t start);

void translation_core_free(struct translation_core *core);

/** NULL when no peer has this tunnel. */
struct tunnel_orders *translation_core_find(struct translation_core *core, const char *tunnel);

/**
 * Takes over a translation found in the kernel after a restart, before any order. False when no tunnel has its if_id, or its port
 * is not free.
 */
bool translation_core_adopt(struct translation_core *core, const struct translation *found);

/** ORDER_ACCEPTED also when it was reserved before: `port` is the same then. */
enum order_outcome translation_core_reserve(struct translation_core *core, const char *tunnel,
                                            uint64_t attempt, uint64_t now_usec, uint16_t *port);

/**
 * Puts the translation in force. A translation of a lower attempt is replaced (copied to `replaced`, attempt 0 if there
 * was none) and its port rests. Without a reservation (from before a restart) the port is claimed.
 */
enum order_outcome translation_core_install(struct translation_core *core, const char *tunnel,
                                            const struct translation *wanted, uint64_t now_usec,
                                            struct translation *replaced);

/** Gives the attempt's port back. `removed` is the translation that has to go, attempt 0 if none. Never fails. */
void translation_core_remove(struct translation_core *core, const char *tunnel, uint64_t attempt,
                             uint64_t now_usec, struct translation *removed);

enum order_outcome translation_core_shape(struct translation_core *core, const char *tunnel,
                                          const struct shaper *wanted);

/** True when there was a shaper of this attempt: the qdisc has to go. */
bool translation_core_unshape(struct translation_core *core, const char *tunnel, uint64_t attempt);

#endif
