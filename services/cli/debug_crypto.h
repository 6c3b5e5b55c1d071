/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The pure part of debug crypto. */
#ifndef VPNSIP_CLI_DEBUG_CRYPTO_H
#define VPNSIP_CLI_DEBUG_CRYPTO_H

#include "services/cli/commands.h"

/** What stands after `debug crypto`. */
struct crypto_order {
	char condition[96];   /* as log_condition_change() reads it; "" = a switch */
	const char *category; /* "ike", "ike error", "tunnel", "tunnel error"; NULL = a condition */
	unsigned services;    /* whom it concerns: BUS_SERVICE(...) */
};

/** False and a sentence in `why`. */
bool crypto_read(const struct words *words, struct crypto_order *order, char *why, size_t why_size);

/** show crypto debug-condition, of {"conditions": {"ike-agent": [...], "tunnel-agent": [...]}}. */
show_text_fn crypto_conditions_text;

#endif
